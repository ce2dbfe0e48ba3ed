"""Runs the tests against a mutant, in a copy of the repository that the mutant may spoil."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("proto", "server", "training", "client")
_COPIED = (*SOURCES, "tests", "benchmarks", "examples", "models", "docs", "deploy", "pyproject.toml", "README.md")
_FAILED, _NO_TESTS = 1, 5


class Outcome(StrEnum):
    """What became of a mutant."""

    MIRRORED = "killed by the mirrored tests"
    WIDER = "killed by wider tests"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the repository."""
    with tempfile.TemporaryDirectory(prefix="seqserve-mutation-") as folder:
        for name in _COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, Path(folder, name))
        yield Path(folder)


def stages(file: Path) -> list[list[str]]:
    """The tests of a module, from its mirror to those of its package, as paths below the repository.

    Args:
        file: The module, below the repository, for example ``server/seqserve/server/engine/scheduler.py``.
    """
    package, inner = file.parts[0], file.parts[3:]
    folder = Path("tests", package, *inner[:-1])
    own = sorted(str(each.relative_to(ROOT)) for each in (ROOT / folder).glob(f"test_{file.stem}*.py"))
    while not (ROOT / folder).is_dir():
        folder = folder.parent
    mirrored = [*own, *([str(folder)] if len(folder.parts) > 2 or not own else [])]
    wider = {
        "server": [
            "tests/server/engine",
            "tests/server/sessions",
            "tests/server/api",
            "tests/server",
            "tests/contract",
        ],
        "client": ["tests/client", "tests/contract"],
        "training": ["tests/training", "tests/contract/test_served_equals_trained.py"],
    }[package]
    return [mirrored, wider]


def passes(copy: Path, tests: list[str], timeout_s: float) -> bool:
    """Whether all ``tests`` pass on a copy of the repository.

    Args:
        copy: The copy.
        tests: Paths below it.
        timeout_s: Seconds after which a run has failed: the mutant waits for what never comes.
    """
    search = os.pathsep.join(str(copy / name) for name in SOURCES)
    environment = os.environ | {"PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
    environment.setdefault("SEQSERVE_DATA", str(ROOT.parent / "shared" / "data"))
    command = [sys.executable, "-m", "pytest", "--quiet", "--exitfirst", "-p", "no:cacheprovider", "--timeout=60"]
    with subprocess.Popen(
        [*command, *dict.fromkeys(tests)],
        cwd=copy,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(timeout_s) in {0, _NO_TESTS}
        except subprocess.TimeoutExpired:
            return False
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)


def judge(copy: Path, file: Path, mutated: str, timeout_s: float, *, wider: bool = True) -> Outcome:
    """Runs the tests of a module against one mutant of it.

    Args:
        copy: A copy of the repository, which is as before afterwards.
        file: The module, below the repository.
        mutated: Its text with the change.
        timeout_s: Seconds for each of the two runs.
        wider: Run wider tests on a mutant that the mirrored ones pass.
    """
    before = (copy / file).read_text(encoding="utf-8")
    (copy / file).write_text(mutated, encoding="utf-8")
    try:
        for outcome, tests in zip((Outcome.MIRRORED, Outcome.WIDER), stages(file), strict=True):
            if outcome is Outcome.WIDER and not wider:
                break
            if not passes(copy, tests, timeout_s):
                return outcome
        return Outcome.SURVIVED
    finally:
        (copy / file).write_text(before, encoding="utf-8")
