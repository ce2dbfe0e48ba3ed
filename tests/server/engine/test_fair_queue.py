from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.engine.fair_queue import FairQueue

CALLERS = st.sampled_from(["ann", "bob", "cid"])
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), CALLERS, st.integers(-2, 2)),
        st.tuples(st.just("pop"), st.just(""), st.just(0)),
        st.tuples(st.just("remove"), st.just(""), st.integers(0, 40)),
    ),
    max_size=60,
)


class NaiveLine:
    """The same, told another way: a list of all that wait, and when each caller of a level last had its turn.

    A caller takes its place in the round of its level when it begins to wait there, and a new one with each turn.
    """

    def __init__(self) -> None:
        self.items: list[tuple[int, str, int]] = []  # priority, caller, item
        self.places: dict[tuple[int, str], int] = {}
        self.moments = itertools.count()

    def add(self, item: int, caller: str, priority: int) -> None:
        if not any((level, name) == (priority, caller) for level, name, _ in self.items):
            self.places[priority, caller] = next(self.moments)
        self.items.append((priority, caller, item))

    def first(self) -> tuple[int, str, int]:
        level = max(priority for priority, _, _ in self.items)
        return min(
            (entry for entry in self.items if entry[0] == level), key=lambda entry: self.places[entry[0], entry[1]]
        )

    def pop(self) -> int:
        entry = self.first()
        self.items.remove(entry)
        self.places[entry[0], entry[1]] = next(self.moments)
        return entry[2]

    def remove(self, item: int) -> bool:
        before = len(self.items)
        self.items = [entry for entry in self.items if entry[2] != item]
        return len(self.items) < before


@given(OPERATIONS)
def test_the_line_does_what_a_naive_one_does(operations: list[tuple[str, str, int]]) -> None:
    line: FairQueue[int] = FairQueue()
    naive = NaiveLine()
    numbers = itertools.count()
    for what, caller, number in operations:
        if what == "add":
            item = next(numbers)
            line.add(item, caller, number)
            naive.add(item, caller, number)
        elif what == "remove":
            assert line.remove(number) == naive.remove(number)
        elif naive.items:
            assert (line.first_priority(), line.first()) == (naive.first()[0], naive.first()[2])
            assert line.pop() == naive.pop()
        assert len(line) == len(naive.items)
        assert bool(line) == bool(naive.items)
        assert sorted(line) == sorted(item for _, _, item in naive.items)
    assert [line.pop() for _ in range(len(line))] == [naive.pop() for _ in range(len(naive.items))]


def test_the_higher_priority_goes_first_whoever_came_before() -> None:
    line: FairQueue[str] = FairQueue()
    for item, priority in (("low", -1), ("usual", 0), ("high", 5), ("usual too", 0)):
        line.add(item, "ann", priority)
    assert [line.pop() for _ in range(4)] == ["high", "usual", "usual too", "low"]


def test_a_caller_with_many_does_not_keep_another_with_one_from_its_turn() -> None:
    line: FairQueue[str] = FairQueue()
    for number in range(100):
        line.add(f"greedy {number}", "greedy", 0)
    line.add("modest", "modest", 0)
    assert [line.pop(), line.pop(), line.pop()] == ["greedy 0", "modest", "greedy 1"]


def test_an_empty_line_has_nobody_to_give() -> None:
    line: FairQueue[str] = FairQueue()
    assert not line
    assert line.first_priority() is None
    assert not line.remove("nobody")
    with pytest.raises(IndexError, match="empty"):
        line.pop()
    with pytest.raises(IndexError, match="empty"):
        line.first()
