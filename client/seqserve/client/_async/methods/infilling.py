"""Fill blanks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.types.infilling import FilledText, fill_in_request, filled_texts_from_wire
from seqserve.client.types.tagging import OffsetUnit
from seqserve.client.types.texts import WholeText


class AsyncInfillingMethods(AsyncMethods):
    """Blanks."""

    @overload
    async def fill_in(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload] - str is Sequence[str]
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
    async def fill_in(
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

    async def fill_in(
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
        request = fill_in_request(model, sent, blank=blank, version=version, top_k=top_k, offset_unit=offset_unit)
        answer = await self._calls.call(self._calls.infilling.FillIn, request, timeout_s)
        filled = filled_texts_from_wire(answer, len(sent))
        return filled[0] if one else filled
