"""Who may import whom: between the packages, and between the rooms of the server."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "training", "client")

# From the ground up: a room imports only rooms that stand before it. `__init__` and `__main__` stand above all.
SERVER_ROOMS = (
    "errors",
    "settings",
    "stores",
    "model",
    "text",
    "decoding",
    "engine",
    "repository",
    "sessions",
    "api",
    "metrics",
    "app",
    "testing",
)

CLIENT_MAY_IMPORT = ("google", "grpc", "grpc_health", "rich", "seqserve.v1", "seqserve.client")
SERVER_NEVER_IMPORTS = ("torch", "onnx", "seqserve.training", "seqserve.client")
TRAINING_NEVER_IMPORTS = ("seqserve.server", "seqserve.client")


class Import(NamedTuple):
    """One import statement's target, as far as it names a module."""

    importer: str
    target: str
    where: str

    def __str__(self) -> str:
        return f"{self.where}: {self.importer} imports {self.target}"


def modules(package: str) -> dict[str, Path]:
    """Name and file of every module in a package of ours; a package goes by its own name."""
    root = ROOT / package
    files = sorted((root / "seqserve" / package).rglob("*.py"))
    return {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def imports(name: str, source: str, *, is_package: bool, known: frozenset[str], where: str = "") -> Iterator[Import]:
    """Every import in a module's source, wherever it stands: under a condition or in a function too.

    ``from a import b`` is an import of ``a.b`` where that is one of the ``known`` modules, and of ``a`` otherwise.
    """
    for node in ast.walk(ast.parse(source)):
        at = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name, at) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield Import(name, inner if inner in known else base, at)


def imports_of(package: str) -> list[Import]:
    found = modules(package)
    known = frozenset(found)
    return [
        each
        for name, file in found.items()
        for each in imports(
            name,
            file.read_text(encoding="utf-8"),
            is_package=file.name == "__init__.py",
            known=known,
            where=str(file.relative_to(ROOT)),
        )
    ]


def lies_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def room(module: str) -> str:
    """The room of a server module: the first name below seqserve.server, `__init__` for the package itself."""
    return (module.removeprefix("seqserve.server").lstrip(".") or "__init__").split(".")[0]


def floor(room_name: str) -> int:
    """How high a room stands; a room without a place is another test's business and stands above all."""
    return SERVER_ROOMS.index(room_name) if room_name in SERVER_ROOMS else len(SERVER_ROOMS)


def upward(found: list[Import]) -> list[Import]:
    """The imports between rooms of the server that do not point down."""
    inside = [each for each in found if lies_in(each.target, "seqserve.server")]
    return [
        each
        for each in inside
        if room(each.importer) != room(each.target) and floor(room(each.target)) >= floor(room(each.importer))
    ]


def assert_none(found: list[Import]) -> None:
    assert not found, "\n".join(map(str, found))


def test_server_imports_neither_torch_nor_the_other_packages() -> None:
    assert_none([each for each in imports_of("server") if lies_in(each.target, *SERVER_NEVER_IMPORTS)])


def test_training_imports_neither_server_nor_client() -> None:
    assert_none([each for each in imports_of("training") if lies_in(each.target, *TRAINING_NEVER_IMPORTS)])


def test_client_imports_nothing_beyond_the_wire() -> None:
    foreign = [each for each in imports_of("client") if each.target.split(".")[0] not in sys.stdlib_module_names]
    assert_none([each for each in foreign if not lies_in(each.target, *CLIENT_MAY_IMPORT)])


def test_every_module_of_the_server_is_in_a_room() -> None:
    rooms = {room(module) for module in modules("server")}
    assert rooms <= {*SERVER_ROOMS, "__init__", "__main__"}, "give the new room its place in SERVER_ROOMS"


def test_rooms_of_the_server_import_downward_only() -> None:
    assert_none(upward(imports_of("server")))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(package: str) -> None:
    known = modules(package)
    graph: dict[str, set[str]] = {name: set() for name in known}
    for each in imports_of(package):
        if each.target in known and each.target != each.importer:
            graph[each.importer].add(each.target)
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("import torch.nn", "torch.nn"),
        ("def f():\n    from torch import nn", "torch"),
        ("from . import engine", "seqserve.server.engine"),
        ("from .engine import run", "seqserve.server.engine"),
        ("from seqserve.server import engine", "seqserve.server.engine"),
        ("from seqserve.server import anything", "seqserve.server"),
    ],
)
def test_imports_are_seen_in_every_form(source: str, target: str) -> None:
    known = frozenset({"seqserve.server", "seqserve.server.engine", "seqserve.server.state"})
    (found,) = imports("seqserve.server.state", source, is_package=False, known=known)
    assert found.target == target


def test_an_import_that_points_up_is_reported() -> None:
    down = Import("seqserve.server.engine", "seqserve.server.model", "engine.py:1")
    up = Import("seqserve.server.model", "seqserve.server.engine", "state.py:7")
    assert upward([down, up]) == [up]
