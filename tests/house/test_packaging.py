"""The shape of the distribution: one namespace out of four roots, and a wheel that holds all of it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"proto": "v1", "server": "server", "training": "training", "client": "client"}  # by root


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel that was built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "out", "."]
    subprocess.run(build, cwd=folder, check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (wheel,) = (folder / "out").glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize("root", PACKAGES)
def test_roots_are_parts_of_one_namespace(root: str) -> None:
    assert not (ROOT / root / "__init__.py").exists()
    assert not (ROOT / root / "seqserve" / "__init__.py").exists(), "would hide the other roots' packages"


@pytest.mark.parametrize(("root", "package"), PACKAGES.items())
def test_packages_are_packages_and_typed(root: str, package: str) -> None:
    folder = ROOT / root / "seqserve" / package
    assert (folder / "__init__.py").exists()
    assert (folder / "py.typed").exists()
    bare = [f.parent for f in folder.rglob("*.py") if not (f.parent / "__init__.py").exists()]
    assert not bare, "folders without __init__.py"


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("root", "package"), PACKAGES.items())
def test_wheel_holds_every_module(wheel_names: list[str], root: str, package: str) -> None:
    base = ROOT / root
    wanted = [
        f
        for f in (base / "seqserve" / package).rglob("*")
        if f.suffix in {".py", ".pyi", ".lua"} or f.name == "py.typed"
    ]
    assert wanted
    assert {file.relative_to(base).as_posix() for file in wanted} <= set(wheel_names)


@pytest.mark.timeout(600)
def test_wheel_holds_nothing_else(wheel_names: list[str]) -> None:
    strange = [name for name in wheel_names if not name.startswith(("seqserve/", "seqserve-"))]
    assert not strange
    assert not [name for name in wheel_names if "test_" in name or name.endswith(".proto")]
    assert "seqserve/__init__.py" not in wheel_names
