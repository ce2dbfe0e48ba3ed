"""The generator of the blocking client: what it translates, and that the committed code is what it generates."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "client" / "generate_sync.py"


@pytest.fixture
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_sync", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copied(generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator with a copy of both packages, for tests that change one of them."""
    for name in ("ASYNC", "SYNC"):
        folder = getattr(generator, name)
        monkeypatch.setattr(generator, name, Path(shutil.copytree(folder, tmp_path / folder.name)))
    return generator


def check(generator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--check"])
    code: int = generator.main()
    return code


def test_committed_code_is_what_the_asyncio_client_generates(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(generator, monkeypatch) == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("folder", "old", "new"),
    [("ASYNC", "SessionExistsError:", "KeyError:"), ("SYNC", "SessionExistsError:", "LookupError:")],
)
def test_a_change_of_one_form_alone_fails_the_check(
    copied: ModuleType,
    folder: str,
    old: str,
    new: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = getattr(copied, folder) / "session.py"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert check(copied, monkeypatch) == 1
    out, err = capsys.readouterr()
    assert "except SessionExistsError:" in out
    assert f"except {new}" in out
    assert err == "_sync/ is not what _async/ generates: run 'make sync' and commit the result\n"


def test_a_module_too_many_or_missing_fails_the_check(
    copied: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied.SYNC / "calls.py").unlink()
    (copied.SYNC / "leftover.py").write_text("x = 1\n", encoding="utf-8")
    assert check(copied, monkeypatch) == 1
    out = capsys.readouterr().out
    assert "+++ _sync/calls.py (generated)" in out
    assert "-x = 1" in out


def test_asyncio_in_a_generated_module_is_refused(
    copied: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied.ASYNC / "calls.py").write_text("import asyncio\n", encoding="utf-8")
    assert check(copied, monkeypatch) == 1
    assert capsys.readouterr().err.startswith("_async/calls.py: it imports asyncio")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("async with a as b:\n    async for c in b:\n        await c()", "with a as b:\n    for c in b:\n        c()"),
        ("x: grpc.aio.Channel = grpc.aio.insecure_channel()", "x: grpc.Channel = grpc.insecure_channel()"),
        ("from seqserve.client._async.client import AsyncClient", "from seqserve.client._sync.client import Client"),
        ("generation_pb2_grpc.GenerationServiceAsyncStub", "generation_pb2_grpc.GenerationServiceStub"),
        ("def f() -> AsyncGenerator[T, None]:", "def f() -> Generator[T, None, None]:"),
        ("async def __aenter__(self): return anext(aiter(x))", "def __enter__(self): return next(iter(x))"),
        ("contextlib.aclosing(x)", "contextlib.closing(x)"),
    ],
)
def test_words_become_their_blocking_counterparts(generator: ModuleType, text: str, expected: str) -> None:
    assert generator.translate(text) == expected


def test_every_phrase_has_its_place(generator: ModuleType) -> None:
    whole = "".join((generator.ASYNC / path).read_text(encoding="utf-8") for path in generator.sources())
    assert all(phrase in whole for phrase, _ in generator.PHRASES)


def test_hand_written_modules_exist_in_both_forms(generator: ModuleType) -> None:
    for name in generator.HAND_WRITTEN - {"wrapped_stream.py"}:
        assert (generator.ASYNC / name).exists()
        assert (generator.SYNC / name).exists()
