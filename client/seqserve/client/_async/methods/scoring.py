"""Score texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack, overload

from seqserve.client._async.duplex_stream import AsyncScoreStream
from seqserve.client._async.input_pump import AsyncSource
from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.core.score_stream import ScoreItem, ScoreStreamOptions, score_codec
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
