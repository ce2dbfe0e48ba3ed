"""The deadlines of one engine's sequences."""

from __future__ import annotations

import heapq
import itertools

from seqserve.server.engine.sequence import Sequence

_CLEAN_AT = 64  # deadlines, before those of ended sequences are removed


class Deadlines:
    """The deadlines of sequences, earliest first. Those of ended sequences may be kept for a while."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sequence]] = []
        self._order = itertools.count()  # among equals; sequences do not compare
        self._clean_at = _CLEAN_AT

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, sequence: Sequence) -> None:
        """Adds a sequence, if it has a deadline."""
        if sequence.admission.deadline_s is None:
            return
        if len(self._heap) >= self._clean_at:
            self._heap = [entry for entry in self._heap if _is_live(entry[2])]
            heapq.heapify(self._heap)
            self._clean_at = 2 * len(self._heap) + _CLEAN_AT
        heapq.heappush(self._heap, (sequence.admission.deadline_s, next(self._order), sequence))

    def passed(self, now_s: float) -> list[Sequence]:
        """Removes the sequences whose deadline has passed, and returns those that have not ended."""
        late: list[Sequence] = []
        while self._heap and (self._heap[0][0] <= now_s or not _is_live(self._heap[0][2])):
            sequence = heapq.heappop(self._heap)[2]
            if _is_live(sequence):
                late.append(sequence)
        return late


def _is_live(sequence: Sequence) -> bool:
    """Whether a sequence, or one of its forks, has not ended."""
    return not all(member.ended for member in sequence.members)
