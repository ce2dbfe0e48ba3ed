"""Tag texts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Unpack, overload

from seqserve.client._async.bulk import answer_many
from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.duplex_stream import AsyncTagStream
from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.core.bulk import CHUNK_SIZE_DEFAULT, CONCURRENCY_DEFAULT, check_bulk
from seqserve.client.core.signatures import show_options
from seqserve.client.core.stream import check_source
from seqserve.client.core.tag_stream import TagItem, TagStreamOptions, tag_codec
from seqserve.client.types.tagging import OffsetUnit, TaggedText, TagText, tag_request, tagged_texts_from_wire


class AsyncTaggingMethods(AsyncMethods):
    """Tags."""

    @overload
    async def tag(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
        self,
        model: str,
        texts: str,
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> TaggedText: ...

    @overload
    async def tag(
        self,
        model: str,
        texts: Sequence[TagText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> list[TaggedText]: ...

    async def tag(
        self,
        model: str,
        texts: str | Sequence[TagText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> TaggedText | list[TaggedText]:
        """Label every token of one text or of several; each text is one sentence to the model.

        Args:
            model: Name of the model.
            texts: A text, for one answer; or a list of texts, for a list of answers. In the list a text is a str, which
                the model cuts into tokens, or a list of words, which stay as they are: ``["a b", "c"]`` are two
                texts, ``[["a", "b"]]`` is one of two words.
            version: Version of the model. Default: the newest version that serves.
            top_labels: Best labels to return for each token, in [0, 20]. Default: 0.
            spans: Also return spans, for models whose labels are BIO or BIOES.
            offset_unit: Unit of the offsets. Default: characters.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            SeqserveError: If the call failed.
        """
        one = isinstance(texts, str)
        sent = [texts] if isinstance(texts, str) else texts
        request = tag_request(model, sent, version=version, top_labels=top_labels, spans=spans, offset_unit=offset_unit)
        answer = await self._calls.call(self._calls.tagging.Tag, request, timeout_s)
        tagged = tagged_texts_from_wire(sent, answer)
        return tagged[0] if one else tagged

    def tag_many(
        self,
        model: str,
        texts: AsyncSource[TagText],
        *,
        version: int | None = None,
        top_labels: int | None = None,
        spans: bool = False,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
        chunk_size: int = CHUNK_SIZE_DEFAULT,
        concurrency: int = CONCURRENCY_DEFAULT,
    ) -> AsyncIterator[TaggedText | Exception]:
        """Labels every token of any number of texts.

        Args:
            model: Name of the model.
            texts: Any number of texts from an iterable, including generators, each as in `tag`. It is read as
                fast as the answers are taken.
            version: As in `tag`.
            top_labels: As in `tag`.
            spans: As in `tag`.
            offset_unit: As in `tag`.
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
        tag_request(model, [], version=version, top_labels=top_labels, spans=spans, offset_unit=offset_unit)

        async def call(chunk: list[TagText]) -> list[TaggedText]:
            return await self.tag(
                model,
                chunk,
                version=version,
                top_labels=top_labels,
                spans=spans,
                offset_unit=offset_unit,
                timeout_s=timeout_s,
            )

        return answer_many(self._calls, call, texts, chunk_size=chunk_size, concurrency=concurrency)

    @show_options(TagStreamOptions)
    def stream_tag(
        self,
        model: str,
        source: AsyncSource[TagItem],
        *,
        timeout_s: float | None = None,
        **options: Unpack[TagStreamOptions],
    ) -> AsyncTagStream:
        """Label the tokens of a text as it comes. The call is made when the stream is first read.

        Args:
            model: Name of the model.
            source: The pieces, all of one form: text cut anywhere (str), words (a list of str) or token ids (a list of
                int); and SENTENCE_END and FLUSH. It is read as it goes, so it may wait for input, or for the answers.
            timeout_s: Longest wait for the server, in seconds: until it admits the stream, and, once the source has
                ended, for each next message. Default: the client's.
            options: As `TagStreamOptions` says: lookahead, sentence_rule, spans, and so on.

        Raises:
            TypeError, ValueError: If the source is one text, or an option does not fit its field. What the server
                refuses comes as a SeqserveError from the first read. A stream that breaks is not resumed: what the
                source gave is gone.
        """
        codec = tag_codec(model, **options)
        return self._calls.feed(lambda: self._calls.tagging.StreamTag, codec, source, timeout_s)
