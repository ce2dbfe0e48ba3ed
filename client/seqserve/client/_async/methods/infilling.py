"""Fill blanks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import overload

from seqserve.client._async.bulk import answer_many
from seqserve.client._async.concurrency import AsyncSource
from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.core.bulk import CHUNK_SIZE_DEFAULT, CONCURRENCY_DEFAULT, check_bulk
from seqserve.client.core.stream import check_source
from seqserve.client.types.infilling import FilledText, fill_request, filled_texts_from_wire
from seqserve.client.types.tagging import OffsetUnit
from seqserve.client.types.texts import WholeText


class AsyncInfillingMethods(AsyncMethods):
    """Blanks."""

    @overload
    async def fill(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
        self,
        model: str,
        texts: str,
        *,
        blank: str | None = None,
        version: int | None = None,
        top_k: int | None = None,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> FilledText: ...

    @overload
    async def fill(
        self,
        model: str,
        texts: Sequence[WholeText],
        *,
        blank: str | None = None,
        version: int | None = None,
        top_k: int | None = None,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> list[FilledText]: ...

    async def fill(
        self,
        model: str,
        texts: str | Sequence[WholeText],
        *,
        blank: str | None = None,
        version: int | None = None,
        top_k: int | None = None,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
    ) -> FilledText | list[FilledText]:
        """Fills the blanks of one text, or of several, from the context on both sides.

        Args:
            model: Name of the model.
            texts: A text, for one answer; or a list of texts, for a list of answers. In the list a text is a str, a
                list of words, of which the blanks are some, or a list of token ids, where the model's mask token stands
                for a blank.
            blank: What stands for a blank in texts and words. Default: "___".
            version: Version of the model. Default: the newest version that serves.
            top_k: Best tokens to return for each blank, in [1, 100]. Default: 5.
            offset_unit: Unit of the offsets. Default: characters.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            TypeError: If a text is neither a str, nor words, nor token ids.
            SeqserveError: If the call failed; InvalidFieldError for a text without a blank.
        """
        one = isinstance(texts, str)
        sent = [texts] if isinstance(texts, str) else texts
        request = fill_request(model, sent, blank=blank, version=version, top_k=top_k, offset_unit=offset_unit)
        answer = await self._calls.call(self._calls.infilling.FillIn, request, timeout_s)
        filled = filled_texts_from_wire(answer, len(sent))
        return filled[0] if one else filled

    fill_in = fill  # the former name

    def fill_many(
        self,
        model: str,
        texts: AsyncSource[WholeText],
        *,
        blank: str | None = None,
        version: int | None = None,
        top_k: int | None = None,
        offset_unit: OffsetUnit | None = None,
        timeout_s: float | None = None,
        chunk_size: int = CHUNK_SIZE_DEFAULT,
        concurrency: int = CONCURRENCY_DEFAULT,
    ) -> AsyncIterator[FilledText | Exception]:
        """Fills the blanks of any number of texts.

        Args:
            model: Name of the model.
            texts: Any number of texts from an iterable, including generators, each as in `fill`. It is read as
                fast as the answers are taken.
            blank: As in `fill`.
            version: As in `fill`.
            top_k: As in `fill`.
            offset_unit: As in `fill`.
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
        fill_request(model, [], blank=blank, version=version, top_k=top_k, offset_unit=offset_unit)

        async def call(chunk: list[WholeText]) -> list[FilledText]:
            return await self.fill(
                model,
                chunk,
                blank=blank,
                version=version,
                top_k=top_k,
                offset_unit=offset_unit,
                timeout_s=timeout_s,
            )

        return answer_many(self._calls, call, texts, chunk_size=chunk_size, concurrency=concurrency)
