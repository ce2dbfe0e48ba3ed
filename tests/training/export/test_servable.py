import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from seqserve.training.errors import ExportError
from seqserve.training.export import servable
from seqserve.v1 import manifest_pb2

MANIFEST = manifest_pb2.Manifest(format_version=1, task=manifest_pb2.TASK_TAGGING, description="größer")


def write(model: Path) -> Path:
    return servable.write(model, graph=b"graph", tokenizer='{"a": "é"}', manifest=MANIFEST)


def test_versions_count_up_from_the_newest(tmp_path: Path) -> None:
    model = tmp_path / "repository" / "tagger"
    assert write(model) == model / "1"
    (model / "7").mkdir()
    (model / "notes").mkdir()
    assert write(model) == model / "8"


def test_a_servable_has_all_its_files_and_can_be_read_back(tmp_path: Path) -> None:
    version = write(tmp_path / "tagger")
    assert sorted(path.name for path in version.iterdir()) == ["manifest.json", "model.onnx", "tokenizer.json"]
    assert (version / "model.onnx").read_bytes() == b"graph"
    assert servable.read_manifest(version) == MANIFEST
    names = json.loads((version / "manifest.json").read_text(encoding="utf-8"))
    assert names == {"format_version": 1, "task": "TASK_TAGGING", "description": "größer"}


def test_nothing_is_left_behind_when_the_last_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(manifest: manifest_pb2.Manifest) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(servable, "manifest_json", full_disk)
    with pytest.raises(ExportError, match="the servable cannot be written: No space left on device"):
        write(tmp_path / "tagger")
    assert list((tmp_path / "tagger").iterdir()) == []


def test_a_reader_never_sees_a_version_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tmp_path / "tagger", list[list[str]]()
    manifest_json = servable.manifest_json

    def looking(manifest: manifest_pb2.Manifest) -> str:
        seen.append([path.name for path in model.iterdir() if not path.name.startswith(".")])
        return manifest_json(manifest)

    monkeypatch.setattr(servable, "manifest_json", looking)
    write(model)
    assert seen == [[]]


@pytest.mark.parametrize("name", [".hidden", "with space", "-flag", "a" * 129])
def test_a_name_that_a_server_would_not_load_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="cannot be a model's name: letters, digits"):
        write(tmp_path / name)


def test_a_broken_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(ExportError, match=r"manifest\.json: not a manifest"):
        servable.read_manifest(tmp_path)


def test_the_json_form_is_protobufs_own() -> None:
    assert json_format.Parse(servable.manifest_json(MANIFEST), manifest_pb2.Manifest()) == MANIFEST
