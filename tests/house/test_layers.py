"""The import contracts of pyproject.toml notice a forbidden import, wherever it is planted.

`make lint` checks the contracts. Here each of them meets a copy of the packages with one import too many, so that a
contract that no longer checks anything fails a test.
"""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("proto", "server", "training", "client")
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]
CYCLE = {
    "one.py": "from seqserve.{0} import other\n",
    "other.py": "def f() -> None:\n    from seqserve.{0} import one\n",
}


@dataclass(frozen=True)
class Plant:
    """Files written into a package.

    Attributes:
        contract: Identifier of the contract that has to notice them.
        package: Folder at the top of the repository: the package is ``seqserve.<package>``.
        files: Text by path below the package's folder; it is appended to a file that exists.
        message: Words of the report.
    """

    contract: str
    package: str
    files: dict[str, str]
    message: str

    def __str__(self) -> str:
        return f"{self.contract}: {next(iter(self.files.values())).strip().splitlines()[-1].strip()}"


def planted_layers(contract: dict[str, Any]) -> Iterator[Plant]:
    """An import from the lowest layer of a contract to its highest one, and a folder without a layer."""
    (container,) = contract["containers"]
    package = container.split(".")[1]
    below = container.split(".")[2:]
    lowest, highest = (next(name.strip("() ") for name in contract["layers"][end].split("|")) for end in (-1, 0))
    folder = ROOT / package / "seqserve" / package / Path(*below)
    file = Path(*below) / (f"{lowest}/__init__.py" if (folder / lowest).is_dir() else f"{lowest}.py")
    upward = f"import {container}.{highest}\n"
    yield Plant(contract["id"], package, {str(file): upward}, f"{container}.{lowest} -> {container}.{highest}")
    if contract.get("exhaustive"):
        yield Plant(
            contract["id"],
            package,
            {str(Path(*below) / "attic" / "__init__.py"): "import json\n"},
            f"{container}.attic",
        )


PLANTS = [
    *(plant for contract in CONTRACTS if contract["type"] == "layers" for plant in planted_layers(contract)),
    Plant("server-packages", "server", {"engine/__init__.py": "import torch.nn\n"}, "seqserve.server.engine -> torch"),
    Plant("server-packages", "server", {"errors.py": "def f():\n    import onnx\n"}, "seqserve.server.errors -> onnx"),
    Plant("server-packages", "server", {"app.py": "from ..client import errors\n"}, "app -> seqserve.client.errors"),
    Plant("server-packages", "server", {"app.py": "from seqserve import training\n"}, "app -> seqserve.training"),
    Plant(
        "server-wire", "server", {"engine/one.py": "from seqserve.v1 import tagging_pb2\n"}, "seqserve.v1.tagging_pb2"
    ),
    Plant(
        "training-packages",
        "training",
        {"errors.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from seqserve.server import errors\n"},
        "seqserve.training.errors -> seqserve.server.errors",
    ),
    Plant("training-packages", "training", {"one.py": "from seqserve import client\n"}, "one -> seqserve.client"),
    Plant("client-packages", "client", {"errors.py": "import numpy as np\n"}, "seqserve.client.errors -> numpy"),
    Plant("client-packages", "client", {"one.py": "from ..server import errors\n"}, "one -> seqserve.server"),
    *(
        Plant(
            f"{package}-cycles",
            package,
            {name: text.format(package) for name, text in CYCLE.items()},
            f"seqserve.{package}.one -> seqserve.{package}.other",
        )
        for package in ("server", "training", "client")
    ),
]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and of the contracts; copy it again before planting."""
    root = tmp_path_factory.mktemp("layers")
    for name in PACKAGES:
        shutil.copytree(
            ROOT / name / "seqserve", root / name / "seqserve", ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("pyproject.toml", "tests/house/import_contracts.py"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    return root


def lint(root: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Runs lint-imports on the packages below ``root``."""
    search = [str(root), *(str(root / name) for name in PACKAGES)]
    program = f"import sys; sys.path[:0] = {search!r}; from importlinter.cli import lint_imports_command as c; c()"
    arguments = ["--no-logo", "--no-cache", *(word for contract in contracts for word in ("--contract", contract))]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=root,
        env={"COLUMNS": "300", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_keep_the_contracts(untouched: Path) -> None:
    result = lint(untouched)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize("plant", PLANTS, ids=str)
def test_a_forbidden_import_breaks_its_contract(plant: Plant, untouched: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(untouched, tmp_path / "copy"))
    for name, text in plant.files.items():
        file = root / plant.package / "seqserve" / plant.package / name
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as end:
            end.write(text)
    result = lint(root, plant.contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert plant.message in " ".join(result.stdout.split())


def test_every_contract_is_seen_to_fail() -> None:
    assert {plant.contract for plant in PLANTS} == {contract["id"] for contract in CONTRACTS}
