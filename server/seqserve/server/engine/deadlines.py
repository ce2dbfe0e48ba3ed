"""When the sequences of one engine have to be done."""

from __future__ import annotations

import heapq
import itertools

from seqserve.server.engine.sequence import Sequence

_LOOK_AT = 64  # deadlines, before those of sequences that have ended are looked for


class Deadlines:
    """The deadlines of sequences, first to come first. One that has ended may be kept for a while."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sequence]] = []
        self._order = itertools.count()  # among equals; sequences do not compare
        self._look_at = _LOOK_AT

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, sequence: Sequence) -> None:
        """Take note of a sequence's deadline, if it has one."""
        if sequence.admission.deadline_s is None:
            return
        if len(self._heap) >= self._look_at:
            self._heap = [entry for entry in self._heap if _lives(entry[2])]
            heapq.heapify(self._heap)
            self._look_at = 2 * len(self._heap) + _LOOK_AT
        heapq.heappush(self._heap, (sequence.admission.deadline_s, next(self._order), sequence))

    def passed(self, now_s: float) -> list[Sequence]:
        """Take out the sequences whose deadline has passed, and return those that have not ended."""
        late: list[Sequence] = []
        while self._heap and (self._heap[0][0] <= now_s or not _lives(self._heap[0][2])):
            sequence = heapq.heappop(self._heap)[2]
            if _lives(sequence):
                late.append(sequence)
        return late


def _lives(sequence: Sequence) -> bool:
    """Whether it, or one of its forks, has not ended."""
    return not all(member.ended for member in sequence.members)
