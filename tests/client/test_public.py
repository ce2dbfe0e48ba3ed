"""The names that the package offers."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import seqserve.client
from seqserve.client import (
    AsyncClient,
    AsyncDuplexStream,
    AsyncGenerationStream,
    AsyncSession,
    AsyncSessions,
    Client,
    DuplexStream,
    GenerationStream,
    Session,
    Sessions,
    errors,
)


def test_every_public_name_is_there_and_documented() -> None:
    for name in seqserve.client.__all__:
        value = getattr(seqserve.client, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name} has no docstring"
    assert len(seqserve.client.__all__) == len(set(seqserve.client.__all__))


def test_every_exception_is_public() -> None:

    classes = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert classes <= set(seqserve.client.__all__)


@pytest.mark.parametrize(
    ("blocking", "asynchronous"),
    [
        (Client, AsyncClient),
        (Session, AsyncSession),
        (Sessions, AsyncSessions),
        (GenerationStream, AsyncGenerationStream),
        (DuplexStream, AsyncDuplexStream),
    ],
)
def test_both_kinds_have_the_same_methods_and_arguments(blocking: type, asynchronous: type) -> None:
    def signatures(kind: type) -> dict[str, list[str]]:
        public = inspect.getmembers(kind, lambda member: inspect.isfunction(member) or isinstance(member, property))
        return {
            name: list(inspect.signature(member).parameters) if inspect.isfunction(member) else []
            for name, member in public
            if not name.startswith("_") or name == "__init__"
        }

    assert signatures(blocking) == signatures(asynchronous)


def test_every_module_can_be_imported_by_itself() -> None:
    for module in pkgutil.walk_packages(seqserve.client.__path__, "seqserve.client."):
        importlib.import_module(module.name)


def test_importing_the_client_brings_none_of_the_heavy_packages() -> None:
    heavy = "{'numpy', 'onnxruntime', 'torch', 'pydantic', 'tokenizers', 'rich'}"
    program = f"import sys, seqserve.client; print(sorted({heavy} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "[]\n"
