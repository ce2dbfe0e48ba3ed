"""The benchmark of hostile requests at a tiny size: that it measures, never how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.harness import servers
from benchmarks.harness.targets import format_table
from benchmarks.serving import attacks, hostile

MODELS = Path(__file__).parents[3] / "models"
QUICK = ("hyphens", "stop_strings")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "STREAM_TOKENS", 2_000)


async def test_every_figure_of_an_attack_is_measured(small: None) -> None:
    with servers.start_server("seqserve", MODELS) as server:
        result = await hostile.measure(server, QUICK, seconds=0.2)
    figures = hostile.flatten(result, QUICK)
    targets = hostile.targets_of(QUICK)
    assert set(figures) == {target.key for target in targets}
    assert all(isinstance(value, float) for value in figures.values())
    table = format_table(figures, targets)
    assert all(target.key in table for target in targets)
    assert result["quiet"]["tokens_s"] > 0
    assert all(sum(result[name]["outcomes"].values()) >= attacks.CALLERS for name in QUICK)


def test_a_pause_is_told_in_steps_of_a_quiet_time() -> None:
    quiet = hostile.Probe(health_s=[0.001] * 10, gaps_s=[0.002] * 50, tokens=100)
    assert quiet.summary()["step_us"] == pytest.approx(1000)
    busy = hostile.Probe(health_s=[0.001] * 99 + [1.0], gaps_s=[0.002] * 50 + [0.05], tokens=100)
    assert busy.summary(step_s=0.001)["pause_steps"] == pytest.approx(50)
    assert busy.summary(step_s=0.001)["health_max_ms"] == pytest.approx(1000)


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_every_attack_says_what_it_sends(name: str) -> None:
    assert (attacks.ATTACKS[name].__doc__ or "").endswith(".")
