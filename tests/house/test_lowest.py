"""The lowest versions that pyproject.toml allows are known, so that tests can run on them."""

import re
from pathlib import Path

import pytest

from tests.house import lowest

ROOT = Path(__file__).parents[2]


def test_every_dependency_has_one_lower_bound() -> None:
    found = lowest.lowest_versions()
    assert {"grpcio", "protobuf", "tokenizers", "onnxruntime", "torch", "redis"} <= found.keys()
    assert not {name for name in found if lowest.normalized(name) != name}


def test_constraints_pin_the_lowest_or_the_tested_version() -> None:
    lines = lowest.constraints()
    assert f"tokenizers=={lowest.lowest_versions()['tokenizers']}" in lines
    assert [line for line in lines if line.startswith("torch==")] == re.findall(
        r"^torch==.*$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len({line.split("==")[0] for line in lines}) == len(lines)


def test_a_dependency_without_a_lower_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    monkeypatch.setattr(lowest, "ROOT", tmp_path)
    for changed, message in (
        (re.sub(r'"rich>=[0-9.]+"', '"rich<15"', text), "'rich<15' has no lower bound"),
        (text.replace('"numpy>=', '"numpy>=9', 1), "numpy has the lower bounds"),
    ):
        (tmp_path / "pyproject.toml").write_text(changed, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            lowest.lowest_versions()


def test_the_tests_that_run_on_them_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (paths,) = re.findall(r"^LOWEST_TESTS = (.*)$", makefile, re.MULTILINE)
    assert len(paths.split()) > 5
    assert [path for path in paths.split() if not (ROOT / path).exists()] == []
