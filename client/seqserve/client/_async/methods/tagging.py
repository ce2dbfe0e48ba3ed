"""Tag texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack, overload

from seqserve.client._async.duplex_stream import AsyncTagStream
from seqserve.client._async.input_pump import AsyncSource
from seqserve.client._async.methods.base import AsyncMethods
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
