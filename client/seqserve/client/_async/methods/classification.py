"""Classify texts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Unpack, overload

from seqserve.client._async.bulk import answer_many
from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.duplex_stream import AsyncClassifyStream
from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.core.bulk import CHUNK_SIZE_DEFAULT, CONCURRENCY_DEFAULT, check_bulk
from seqserve.client.core.classify_stream import (
    ClassifyItem,
    ClassifyStreamOptions,
    classify_codec,
)
from seqserve.client.core.signatures import show_options
from seqserve.client.core.stream import check_source
from seqserve.client.types.classification import TextClassification, classifications_from_wire, classify_request
from seqserve.client.types.texts import WholeText


class AsyncClassificationMethods(AsyncMethods):
    """Classes."""

    @overload
    async def classify(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
        self,
        model: str,
        texts: str,
        *,
        version: int | None = None,
        top_labels: int | None = None,
        timeout_s: float | None = None,
    ) -> TextClassification: ...

    @overload
    async def classify(
        self,
        model: str,
        texts: Sequence[WholeText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        timeout_s: float | None = None,
    ) -> list[TextClassification]: ...

    async def classify(
        self,
        model: str,
        texts: str | Sequence[WholeText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        timeout_s: float | None = None,
    ) -> TextClassification | list[TextClassification]:
        """Classifies one text, or several independent texts.

        Args:
            model: Name of the model.
            texts: A text, for one answer; or a list of texts, for a list of answers. In the list a text is a str, a
                list of words, which stay as they are, or a list of token ids: ``["a b", "c"]`` are two texts,
                ``[["a", "b"]]`` is one of two words.
            version: Version of the model. Default: the newest version that serves.
            top_labels: Best labels to return for each text, in [1, 100]. Default: all.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            TypeError: If a text is neither a str, nor words, nor token ids.
            SeqserveError: If the call failed.
        """
        one = isinstance(texts, str)
        sent = [texts] if isinstance(texts, str) else texts
        request = classify_request(model, sent, version=version, top_labels=top_labels)
        answer = await self._calls.call(self._calls.classification.Classify, request, timeout_s)
        classified = classifications_from_wire(answer, len(sent))
        return classified[0] if one else classified

    def classify_many(
        self,
        model: str,
        texts: AsyncSource[WholeText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        timeout_s: float | None = None,
        chunk_size: int = CHUNK_SIZE_DEFAULT,
        concurrency: int = CONCURRENCY_DEFAULT,
    ) -> AsyncIterator[TextClassification | Exception]:
        """Classifies any number of texts.

        Args:
            model: Name of the model.
            texts: Any number of texts from an iterable, including generators, each as in `classify`. It is read as
                fast as the answers are taken.
            version: As in `classify`.
            top_labels: As in `classify`.
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
        classify_request(model, [], version=version, top_labels=top_labels)

        async def call(chunk: list[WholeText]) -> list[TextClassification]:
            return await self.classify(model, chunk, version=version, top_labels=top_labels, timeout_s=timeout_s)

        return answer_many(self._calls, call, texts, chunk_size=chunk_size, concurrency=concurrency)

    @show_options(ClassifyStreamOptions)
    def stream_classify(
        self,
        model: str,
        source: AsyncSource[ClassifyItem],
        *,
        timeout_s: float | None = None,
        **options: Unpack[ClassifyStreamOptions],
    ) -> AsyncClassifyStream:
        """Classifies a text while it arrives; each piece that completes a token gives a new classification.

        Args:
            model: Name of the model, which has to be one-directional.
            source: The pieces, all of one form: text cut anywhere (str), words (a list of str) or token ids (a list of
                int); and FLUSH, which completes a word whose end is not to be seen yet. It is read as it goes, so it
                may wait for input, or for the answers.
            timeout_s: As in `stream_tag`.
            options: As `ClassifyStreamOptions` says: top_labels, idle_timeout_s, and so on.

        Raises:
            TypeError, ValueError, SeqserveError: as in `stream_tag`.
        """
        codec = classify_codec(model, **options)
        return self._calls.feed(lambda: self._calls.classification.StreamClassify, codec, source, timeout_s)
