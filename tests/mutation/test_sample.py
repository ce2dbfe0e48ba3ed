"""The sample of mutants, and where their tests are."""

from pathlib import Path

import pytest

from tests.mutation.__main__ import equivalents, main, sample
from tests.mutation.mutants import mutants
from tests.mutation.runs import ROOT, stages

SETTINGS = ROOT / "server/seqserve/server/settings.py"


def test_equal_seeds_draw_equal_samples() -> None:
    first, again, other = (sample([SETTINGS], 5, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 5


def test_a_listing_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--sample", "3", str(SETTINGS)]) == 0
    assert capsys.readouterr().out.count("server/seqserve/server/settings.py:") == 3


@pytest.mark.parametrize(
    ("file", "first"),
    [
        ("server/seqserve/server/engine/scheduler.py", "tests/server/engine/test_scheduler.py"),
        ("server/seqserve/server/settings.py", "tests/server/test_settings.py"),
    ],
)
def test_a_module_meets_its_own_tests_first(file: str, first: str) -> None:
    mirrored, wider = stages(Path(file))
    assert mirrored[0] == first
    assert all((ROOT / each).exists() for each in (*mirrored, *wider))


def test_every_equivalent_is_still_a_mutant_and_has_a_reason() -> None:
    for (file, function, change), reason in equivalents().items():
        found = mutants((ROOT / file).read_text(encoding="utf-8"))
        assert any((each.function, each.change) == (function, change) for each in found), (file, function, change)
        assert len(reason) > 10
