"""The mutants of a module: each is one change, and what no user sees is left alone."""

import ast
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants

ROOT = Path(__file__).parents[2]


def changes(source: str) -> set[str]:
    return {mutant.change for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a, b):\n    return a < b", {"a < b -> (a <= b)"}),
        ("def f(a):\n    return a is None", {"a is None -> (a is not None)"}),
        (
            "def f(a, b):\n    return a and b",
            {"a and b -> (a or b)", "a and b -> (a)", "a and b -> (b)"},
        ),
        ("def f(a):\n    if a:\n        g(a)", {"a -> True", "a -> False", "g(a) -> pass"}),
        ("def f(a):\n    while a:\n        a -= 2", {"a -> False", "a -= 2 -> a += 2", "a -= 2 -> pass", "2 -> 3"}),
        ("def f(a):\n    return not a", {"not a -> (a)"}),
        ("def f(a):\n    return a[1:b]", {"1:b -> 1 + 1:b", "1:b -> 1:b - 1", "1 -> 2"}),
        ("async def f(a):\n    await a.close()", {"await a.close() -> pass"}),
        (
            "def f(a, b):\n    return max(a, b) + 1",
            {"max(a, b) -> min(a, b)", "max(a, b) + 1 -> (max(a, b) - 1)", "1 -> 2"},
        ),
        ("def f(a):\n    return 'x' if a else b", {"'x' if a else b -> ('x')", "'x' if a else b -> (b)"}),
        ("def f(flag=True): ...", {"True -> False"}),
    ],
)
def test_each_change_is_a_mutant(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""Words, 1 < 2."""\nimport os\n',
        "def f(self):\n    logger.warning('%d', 1 + 1)",
        "class A:\n    def __repr__(self):\n        return 1 < 2",
        "def f(a: 'int | None') -> 1: ...",
        "def f():\n    raise ValueError('a' + 'b', 1)",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 1",
        "def f(a):\n    return f'{a + 1}'",
    ],
)
def test_what_no_user_sees_is_left_alone(source: str) -> None:
    assert changes(source) == set()


def test_a_mutant_changes_one_place_and_keeps_the_lines() -> None:
    source = (ROOT / "server/seqserve/server/engine/scheduler.py").read_text(encoding="utf-8")
    every = mutants(source)
    assert len({mutant.source for mutant in every}) == len(every) > 50
    before = source.splitlines()
    for mutant in every:
        ast.parse(mutant.source)
        after = mutant.source.splitlines()
        assert after != before
        assert after[: mutant.line - 1] == before[: mutant.line - 1]


def test_functions_are_named_with_their_class() -> None:
    (mutant,) = mutants("class A:\n    async def f(self):\n        return self.n + self.m\n")
    assert (mutant.function, mutant.line) == ("A.f", 3)


def test_texts_beyond_ascii_keep_their_columns() -> None:
    (mutant,) = mutants("def f(a):\n    return g('äöü…', a < b)\n")
    assert mutant.source == "def f(a):\n    return g('äöü…', (a <= b))\n"
