"""Score texts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Unpack, overload

from seqserve.client._async.bulk import answer_many
from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.duplex_stream import AsyncScoreStream
from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.core.bulk import CHUNK_SIZE_DEFAULT, CONCURRENCY_DEFAULT, check_bulk
from seqserve.client.core.score_stream import ScoreItem, ScoreStreamOptions, score_codec
from seqserve.client.core.signatures import show_options
from seqserve.client.core.stream import check_source
from seqserve.client.types.scoring import ScoreText, TextScore, score_request, text_scores_from_wire


class AsyncScoringMethods(AsyncMethods):
    """Scores."""

    @overload
    async def score(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
        self,
        model: str,
        texts: str,
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> TextScore: ...

    @overload
    async def score(
        self,
        model: str,
        texts: Sequence[ScoreText],
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> list[TextScore]: ...

    async def score(
        self,
        model: str,
        texts: str | Sequence[ScoreText],
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
    ) -> TextScore | list[TextScore]:
        """Tell how likely a language model finds one text or several, each for itself.

        Args:
            model: Name of the model.
            texts: A text, for one answer; or a list of texts, for a list of answers. In the list a text is a str or a
                list of token ids: ``["ab", "c"]`` are two texts, ``[[1, 2]]`` is one of two tokens.
            version: Version of the model. Default: the newest version that serves.
            logprobs: Return each token's log-probability with this many likeliest alternatives, in [0, 20]. Default:
                totals only.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            TypeError: If a text is neither a str nor token ids.
            SeqserveError: If the call failed.
        """
        one = isinstance(texts, str)
        sent = [texts] if isinstance(texts, str) else texts
        request = score_request(model, sent, version=version, logprobs=logprobs)
        answer = await self._calls.call(self._calls.generation.Score, request, timeout_s)
        scores = text_scores_from_wire(answer, len(sent))
        return scores[0] if one else scores

    def score_many(
        self,
        model: str,
        texts: AsyncSource[ScoreText],
        *,
        version: int | None = None,
        logprobs: int | None = None,
        timeout_s: float | None = None,
        chunk_size: int = CHUNK_SIZE_DEFAULT,
        concurrency: int = CONCURRENCY_DEFAULT,
    ) -> AsyncIterator[TextScore | Exception]:
        """Scores any number of texts.

        Args:
            model: Name of the model.
            texts: Any number of texts from an iterable, including generators, each as in `score`. It is read as
                fast as the answers are taken.
            version: As in `score`.
            logprobs: As in `score`.
            timeout_s: Maximum time for each request, in seconds. Default: the client's.
            chunk_size: Maximum number of texts in a request.
            concurrency: Maximum number of requests at the same time.

        Returns:
            The answers, in the order of the texts; iterate for them. In place of an answer stands the exception of a
            text that failed: a SeqserveError, or a TypeError or ValueError for something that is no text. An error of
            one text does not affect the others. A request that the server cannot admit or answer now is retried for
            the client's ``resume_s``. If the source raises an exception, it is raised after the answers before it.

        Raises:
            TypeError: ``texts`` is a single text.
            ValueError: An option does not fit its field.
        """
        check_source(texts)
        check_bulk(chunk_size, concurrency)
        score_request(model, [], version=version, logprobs=logprobs)

        async def call(chunk: list[ScoreText]) -> list[TextScore]:
            return await self.score(model, chunk, version=version, logprobs=logprobs, timeout_s=timeout_s)

        return answer_many(self._calls, call, texts, chunk_size=chunk_size, concurrency=concurrency)

    @show_options(ScoreStreamOptions)
    def stream_score(
        self,
        model: str,
        source: AsyncSource[ScoreItem],
        *,
        timeout_s: float | None = None,
        **options: Unpack[ScoreStreamOptions],
    ) -> AsyncScoreStream:
        """Tell how likely a language model finds each token of a text as it comes, after all that came before.

        Args:
            model: Name of the model.
            source: The pieces: text cut anywhere (str), token ids (a list of int) or FLUSH. It is read as it goes, so
                it may wait for input, or for the answers.
            timeout_s: As in `stream_tag`.
            options: As `ScoreStreamOptions` says: logprobs, idle_timeout_s, and so on.

        Raises:
            TypeError, ValueError, SeqserveError: as in `stream_tag`.
        """
        codec = score_codec(model, **options)
        return self._calls.feed(lambda: self._calls.generation.StreamScore, codec, source, timeout_s)
