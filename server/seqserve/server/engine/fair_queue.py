"""The waiting line of one engine: higher priority first, callers in turn, each caller's own in order of arrival."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Who waits. One caller with many items does not keep another with one from its turn."""

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[str, deque[Item]]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Item]:
        for level in self._levels.values():
            for items in level.values():
                yield from items

    def add(self, item: Item, caller: str, priority: int) -> None:
        """Put an item at the end of its caller's queue."""
        self._levels.setdefault(priority, OrderedDict()).setdefault(caller, deque()).append(item)
        self._size += 1

    def first_priority(self) -> int | None:
        """The priority of the item whose turn it is; None if the line is empty."""
        return max(self._levels, default=None)

    def first(self) -> Item:
        """The item whose turn it is.

        Raises: IndexError if the line is empty.
        """
        if not self._levels:
            raise IndexError("the line is empty")
        callers = self._levels[max(self._levels)]
        return next(iter(callers.values()))[0]

    def pop(self) -> Item:
        """Take out the item whose turn it is; its caller goes to the end of the round.

        Raises: IndexError if the line is empty.
        """
        if not self._levels:
            raise IndexError("the line is empty")
        priority = max(self._levels)
        callers = self._levels[priority]
        caller, items = callers.popitem(last=False)
        item = items.popleft()
        if items:
            callers[caller] = items
        elif not callers:
            del self._levels[priority]
        self._size -= 1
        return item

    def remove(self, item: Item) -> bool:
        """Take an item out wherever it is. Returns whether it was there."""
        for priority, callers in self._levels.items():
            for caller, items in callers.items():
                if item in items:
                    items.remove(item)
                    self._size -= 1
                    if not items:
                        del callers[caller]
                        if not callers:
                            del self._levels[priority]
                    return True
        return False
