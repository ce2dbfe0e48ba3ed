from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seqserve.server.errors import BrokenServableError
from seqserve.server.model.manifest import read_manifest
from seqserve.v1 import manifest_pb2 as pb
from tests.conftest import MadeRepository
from tests.servables import edit_manifest


@pytest.fixture
def lstm(made: MadeRepository, tmp_path: Path) -> Path:
    """A copy of a whole servable, to be broken."""
    return Path(shutil.copytree(made.lstm.folder, tmp_path / "1"))


@pytest.fixture
def tagger(made: MadeRepository, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.tagger.folder, tmp_path / "2"))


def reason(folder: Path) -> str:
    """Why a servable is refused."""
    with pytest.raises(BrokenServableError) as caught:
        read_manifest(folder)
    return str(caught.value)


def test_what_training_exports_is_accepted(made: MadeRepository) -> None:
    assert read_manifest(made.lstm.folder).task == pb.TASK_LANGUAGE_MODEL
    assert read_manifest(made.tagger.folder).network.bidirectional


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named_with_the_way_out(lstm: Path, name: str) -> None:
    (lstm / name).unlink()
    message = reason(lstm)
    assert message.startswith(f"{name} is missing")
    assert "export" in message


def test_a_half_written_manifest_is_told_from_a_wrong_one(lstm: Path) -> None:
    path = lstm / "manifest.json"
    text = path.read_text("utf-8")
    path.write_text(text[: len(text) // 2], "utf-8")
    message = reason(lstm)
    assert message.startswith("manifest.json is not valid JSON (")
    assert message.endswith("it is incomplete or was changed; export the servable again")


@pytest.mark.parametrize("text", ["", "[]", "null", '"text"', "{}", "[" * 100_000])
def test_json_that_is_no_manifest_is_refused(lstm: Path, text: str) -> None:
    (lstm / "manifest.json").write_text(text, "utf-8")
    assert reason(lstm).startswith("manifest.json ")


def test_a_manifest_that_is_not_utf8_is_refused_with_the_byte(lstm: Path) -> None:
    (lstm / "manifest.json").write_bytes(b'{"description": "\xff"}')
    assert reason(lstm).startswith("manifest.json is not UTF-8 (byte 17)")


def test_an_unknown_key_is_named(lstm: Path) -> None:
    path = lstm / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"colour": "red"}), "utf-8")
    message = reason(lstm)
    assert message.startswith("manifest.json is not a manifest")
    assert '"colour"' in message
    assert len(message) < 250  # and not drowned in all the keys that are known


def test_another_format_is_told_by_its_version_whatever_keys_it_has(lstm: Path) -> None:
    (lstm / "manifest.json").write_text('{"format_version": 2, "colour": "red"}', "utf-8")
    message = reason(lstm)
    assert "manifest.json must have format version 1, got 2" in message
    assert "export the servable with a matching version of seqserve" in message


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_one_changed_byte_is_seen(lstm: Path, name: str) -> None:
    path = lstm / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    message = reason(lstm)
    assert message.startswith(f"{name} is not the file that the manifest names: its SHA-256 must be ")
    assert message.endswith("it was changed or damaged, export the servable again")


def drop_proof(manifest: pb.Manifest) -> None:
    manifest.ClearField("parity")


def drop_cases(manifest: pb.Manifest) -> None:
    manifest.parity.cases = 0


def prove_another(manifest: pb.Manifest) -> None:
    manifest.parity.graph_sha256 = "0" * 64


def fail_outputs(manifest: pb.Manifest) -> None:
    manifest.parity.tolerance = 1e-5
    manifest.parity.max_abs_error_outputs = 0.25


def fail_states(manifest: pb.Manifest) -> None:
    manifest.parity.tolerance = 1e-5
    manifest.parity.max_abs_error_states = math.nan


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop_proof, "the manifest has no parity proof; export the servable with seqserve-train"),
        (drop_cases, "the manifest has no parity proof; export the servable with seqserve-train"),
        (prove_another, "the parity proof was made for another graph; export the servable again"),
        (
            fail_outputs,
            "the parity proof failed: the outputs differ by 0.25 from the trained network, tolerance 1e-05",
        ),
        (fail_states, "the parity proof failed: the states differ by nan from the trained network, tolerance 1e-05"),
    ],
)
def test_what_is_not_proven_is_not_served(lstm: Path, edit: Callable[[pb.Manifest], None], message: str) -> None:
    edit_manifest(lstm, edit)
    assert reason(lstm) == message


def no_task(manifest: pb.Manifest) -> None:
    manifest.task = pb.TASK_UNSPECIFIED


def no_logits(manifest: pb.Manifest) -> None:
    manifest.outputs[0].role = pb.TENSOR_ROLE_LABEL_SCORES


def no_lengths(manifest: pb.Manifest) -> None:
    del manifest.inputs[1]


def no_tokens(manifest: pb.Manifest) -> None:
    del manifest.inputs[0]


def no_vocabulary(manifest: pb.Manifest) -> None:
    manifest.ClearField("vocabulary")


def other_vocabulary(manifest: pb.Manifest) -> None:
    manifest.vocabulary.size -= 1


def no_states(manifest: pb.Manifest) -> None:
    del manifest.states[:]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (no_task, "the manifest names no task"),
        (no_logits, "a graph for TASK_LANGUAGE_MODEL needs an output TENSOR_ROLE_TOKEN_LOGITS"),
        (no_lengths, "the graph reads no lengths"),
        (no_tokens, "the graph reads neither tokens nor features"),
        (no_vocabulary, "the graph reads tokens, but the manifest has no vocabulary"),
        (other_vocabulary, "the last axis of output 'logits' must be 34, the number of tokens, got 35"),
        (no_states, "a one-directional model must have states, a bidirectional one only if its graph reads carry"),
    ],
)
def test_a_language_model_that_contradicts_itself_is_refused(
    lstm: Path, edit: Callable[[pb.Manifest], None], message: str
) -> None:
    edit_manifest(lstm, edit)
    assert message in reason(lstm)


def one_label(manifest: pb.Manifest) -> None:
    del manifest.labels.names[1:]


def another_label(manifest: pb.Manifest) -> None:
    manifest.labels.names.append("NEW")


def language_model(manifest: pb.Manifest) -> None:
    manifest.task = pb.TASK_LANGUAGE_MODEL
    manifest.outputs[0].role = pb.TENSOR_ROLE_TOKEN_LOGITS
    manifest.outputs[0].axes[-1] = str(manifest.vocabulary.size)


def no_carry_lengths(manifest: pb.Manifest) -> None:
    del manifest.inputs[-1]


def one_directional(manifest: pb.Manifest) -> None:
    manifest.network.bidirectional = False


def backward_states(manifest: pb.Manifest) -> None:
    manifest.states[0].directions = 2


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (no_carry_lengths, "a bidirectional one only if its graph reads carry lengths"),
        (no_states, "a bidirectional one only if its graph reads carry lengths"),
        (one_directional, "a bidirectional one only if its graph reads carry lengths"),
        (backward_states, "a state must have one direction, the manifest has more"),
        (one_label, "the manifest must have at least 2 labels, got 1"),
        (another_label, "the last axis of output 'scores' must be 6, the number of labels, got 5"),
        (language_model, "a language model must not be bidirectional: it would read the future that it should predict"),
    ],
)
def test_a_tagger_that_contradicts_itself_is_refused(
    tagger: Path, edit: Callable[[pb.Manifest], None], message: str
) -> None:
    edit_manifest(tagger, edit)
    assert message in reason(tagger)
