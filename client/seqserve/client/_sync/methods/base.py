"""The methods of a client, a module a kind of answer; `Client` puts them together."""

from __future__ import annotations

from seqserve.client._sync.calls import Calls


class Methods:
    """What the methods of a blocking client go by."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
