"""The benchmark of hostile requests at a tiny size: that it measures, never how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness import model, servers
from benchmarks.harness.targets import format_table
from benchmarks.serving import attacks, hostile

QUICK = ("hyphens", "stop_strings")


async def test_every_figure_of_an_attack_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "SETTLE_S", 0.2)
    model.write(tmp_path, model.ModelSpec(hidden=16, layers=1))
    (tmp_path / attacks.TAGGER).symlink_to(Path(__file__).parents[3] / "models" / attacks.TAGGER)
    with servers.start_server("seqserve", tmp_path) as server:
        result = await hostile.measure(server, QUICK, seconds=0.3)
    figures = hostile.flatten(result, QUICK)
    targets = hostile.targets_of(QUICK)
    assert set(figures) == {target.key for target in targets}
    assert all(isinstance(value, float) for value in figures.values())
    table = format_table(figures, targets)
    assert all(target.key in table for target in targets)
    assert all(sum(result[name]["outcomes"].values()) >= attacks.CALLERS for name in QUICK)


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_every_attack_says_what_it_sends(name: str) -> None:
    assert (attacks.ATTACKS[name].__doc__ or "").endswith(".")
