"""The queue of one engine: higher priority first, callers in turn, each caller's requests in order of arrival."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items that wait. A caller with many items does not delay another caller's only item."""

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
        """Adds an item after the others of its caller and priority."""
        self._levels.setdefault(priority, OrderedDict()).setdefault(caller, deque()).append(item)
        self._size += 1

    def first_priority(self) -> int | None:
        """Returns the priority of the next item; None if the queue is empty."""
        return max(self._levels, default=None)

    def first(self) -> Item:
        """Returns the next item.

        Raises:
            IndexError: The queue is empty.
        """
        if not self._levels:
            raise IndexError("the queue is empty")
        callers = self._levels[max(self._levels)]
        return next(iter(callers.values()))[0]

    def pop(self) -> Item:
        """Removes and returns the next item; its caller goes to the end of the round.

        Raises:
            IndexError: The queue is empty.
        """
        if not self._levels:
            raise IndexError("the queue is empty")
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

    def remove(self, item: object) -> bool:
        """Removes an item wherever it is. Returns whether it was in the queue."""
        for priority, callers in self._levels.items():
            for caller, items in callers.items():
                if item in items:
                    items.remove(item)  # type: ignore[arg-type]  # it is one of them
                    self._size -= 1
                    if not items:
                        del callers[caller]
                        if not callers:
                            del self._levels[priority]
                    return True
        return False
