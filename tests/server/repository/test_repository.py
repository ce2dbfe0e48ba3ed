from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from seqserve.server.errors import ModelNotFoundError, ModelNotReadyError, ProviderError, VersionNotFoundError
from seqserve.server.repository import Repository
from seqserve.server.settings import RuntimeSettings, ServerSettings
from seqserve.v1 import manifest_pb2 as pb
from tests.conftest import MadeRepository
from tests.servables import edit_manifest


def nowhere(published: object) -> None:
    """No one asks these engines for anything."""


@contextmanager
def loaded(root: Path) -> Iterator[Repository]:
    repository = Repository(ServerSettings(models=root), nowhere)
    try:
        repository.load()
        yield repository
    finally:
        repository.close()


def copy(made: MadeRepository, root: Path, name: str, version: int) -> Path:
    return Path(shutil.copytree(made.lstm.folder, root / name / str(version)))


def truncate_graph(folder: Path) -> None:
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:100])


def drop_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def contradict_the_graph(folder: Path) -> None:
    def rename(manifest: pb.Manifest) -> None:
        manifest.inputs[0].name = "words"

    edit_manifest(folder, rename)


def start_from_too_few_numbers(folder: Path) -> None:
    def shorten(manifest: pb.Manifest) -> None:
        manifest.states[0].initial_values[:] = [1.0, 2.0]

    edit_manifest(folder, shorten)


def tokenize_differently(folder: Path) -> None:
    def expect(manifest: pb.Manifest) -> None:
        manifest.vocabulary.probes.add(text="a", token_ids=[0, 0])

    edit_manifest(folder, expect)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (tokenize_differently, "tokenizer.json no longer tokenizes as it did at the export"),
        (truncate_graph, "model.onnx is not the file that the manifest names"),
        (drop_manifest, "manifest.json is missing"),
        (contradict_the_graph, "the graph's inputs must be those of the manifest"),
        (start_from_too_few_numbers, "the manifest's states[0].initial_values must be 0 or "),
    ],
)
def test_a_broken_servable_is_listed_with_its_reason_and_the_others_serve(
    made: MadeRepository, root: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy(made, root, "broken", 1))
    copy(made, root, "sound", 1)
    with loaded(root) as repository:
        assert [(entry.name, entry.model is not None) for entry in repository.entries()] == [
            ("broken", False),
            ("sound", True),
        ]
        assert repository.entry("broken", None).reason.startswith(message)
        with pytest.raises(ModelNotReadyError, match=re.escape(f"model 'broken' version 1 does not serve: {message}")):
            repository.model("broken", None)
        assert repository.model("sound", None).servable.id.version == 1


def test_without_a_version_the_newest_that_serves_answers(made: MadeRepository, root: Path) -> None:
    for version in (2, 9, 10, 11):
        copy(made, root, "lm", version)
    drop_manifest(root / "lm" / "11")
    with loaded(root) as repository:
        assert repository.model("lm", None).servable.id.version == 10  # by number, not by name
        assert repository.model("lm", 2).servable.id.version == 2
        with pytest.raises(ModelNotReadyError, match="version 11 does not serve: manifest"):
            repository.model("lm", 11)
        with pytest.raises(VersionNotFoundError, match="model 'lm' has no version 3; available: 2, 9, 10, 11"):
            repository.model("lm", 3)


def test_where_no_version_serves_the_newest_tells_why(made: MadeRepository, root: Path) -> None:
    for version in (1, 2):
        drop_manifest(copy(made, root, "lm", version))
    with loaded(root) as repository, pytest.raises(ModelNotReadyError, match="version 2 does not serve"):
        repository.model("lm", None)


def test_a_name_that_is_nearly_right_is_suggested(made: MadeRepository, root: Path) -> None:
    copy(made, root, "shakespeare", 1)
    copy(made, root, "tagger", 1)
    with loaded(root) as repository:
        with pytest.raises(ModelNotFoundError, match=r"unknown model 'shakespear'; did you mean 'shakespeare'\?"):
            repository.model("shakespear", None)
        with pytest.raises(ModelNotFoundError, match="unknown model 'x'; available: shakespeare, tagger"):
            repository.model("x", None)


def test_what_is_no_version_of_a_model_is_left_alone(made: MadeRepository, root: Path) -> None:
    copy(made, root, "lm", 1)
    (root / "README.md").write_text("about")
    (root / "lm" / "README.md").write_text("about")
    (root / "lm" / "2").write_text("a file, not a folder")
    for junk in ("lm/.unfinished-x1y2", "lm/0", "lm/03", "lm/latest", ".git/1", "un named/1", "lm/-4", "lm/٣"):
        (root / junk).mkdir(parents=True)
    with loaded(root) as repository:
        assert [(entry.name, entry.version) for entry in repository.entries()] == [("lm", 1)]


def test_an_empty_repository_is_no_error(root: Path) -> None:
    with loaded(root) as repository:
        assert repository.entries() == []
        with pytest.raises(ModelNotFoundError, match="unknown model 'lm'; available: none"):
            repository.model("lm", None)


def test_a_repository_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"the model repository .*nowhere is not a folder"),
        loaded(tmp_path / "nowhere"),
    ):
        pass


def test_a_provider_that_is_not_there_is_an_error_even_without_models(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])  # a machine without
    repository = Repository(ServerSettings(models=root, runtime=RuntimeSettings(provider="cuda")), nowhere)
    with pytest.raises(ProviderError, match=r"provider 'cuda' is required, .* pip install onnxruntime-gpu"):
        repository.load()


def test_a_version_that_never_finishes_loading_does_not_keep_the_others_from_serving(
    made: MadeRepository, root: Path
) -> None:
    stuck = copy(made, root, "stuck", 1)
    (stuck / "manifest.json").unlink()
    os.mkfifo(stuck / "manifest.json")  # nobody ever writes into it
    copy(made, root, "sound", 1)
    repository = Repository(ServerSettings(models=root, runtime=RuntimeSettings(load_timeout_s=5.0)), nowhere)
    repository.load()
    assert repository.model("sound", None)
    with pytest.raises(ModelNotReadyError, match="it has not loaded within 5 s"):
        repository.model("stuck", None)
    repository.close()
    with (stuck / "manifest.json").open("w"):
        pass  # lets the thread go


async def test_loading_a_version_again_whose_files_have_changed_says_so(made: MadeRepository, root: Path) -> None:
    folder = copy(made, root, "lm", 1)
    with loaded(root) as repository:
        assert (await repository.load_version("lm", 1)).model is repository.model("lm", 1)

        def describe(manifest: pb.Manifest) -> None:
            manifest.description = "another one"

        edit_manifest(folder, describe)
        with pytest.raises(ModelNotReadyError, match="is loaded, but its files have changed on disk since; unload"):
            await repository.load_version("lm", 1)
        truncate_graph(folder)
        with pytest.raises(ModelNotReadyError, match=r"its files on disk are broken: model\.onnx is not the file"):
            await repository.load_version("lm", 1)
        assert repository.model("lm", 1)  # as it was loaded, it serves on
