"""The comparison of precisions at a tiny size: that it runs, never how fast."""

from pathlib import Path

from benchmarks.harness import model, servers
from benchmarks.harness.targets import format_table
from benchmarks.serving import precision
from benchmarks.serving.precision import Plan, count_differing_bits

TINY = Plan(rounds=1, seconds=0.01, served_rounds=1, served_s=0.2)


def test_every_figure_of_int8_is_there(tmp_path: Path) -> None:
    spec = model.ModelSpec(hidden=16, layers=1)
    model.write(tmp_path, spec)
    result = precision.measure(spec, servers.newest_version(tmp_path), TINY)
    targets = precision.targets_of("lstm")
    assert {target.key for target in targets} <= set(result)
    assert all(isinstance(value, float) for value in result.values())
    assert result["int8_bits_that_differ"] == 0
    table = format_table(result, targets)
    assert all(target.key in table for target in targets)


def test_bits_that_differ_are_seen(tmp_path: Path) -> None:
    """In the dynamic int8 of ONNX Runtime rows share a scale."""
    model.write(tmp_path, model.ModelSpec(hidden=16, layers=1))
    servable = servers.newest_version(tmp_path)
    assert count_differing_bits(servable) == 0
    dynamic = precision.quantize_dynamically(servable / precision.GRAPH, tmp_path / "dynamic.onnx")
    assert count_differing_bits(servable, dynamic) > 1000
