"""Reads and checks the files of a servable: incomplete, changed or unproven ones are not served."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from google.protobuf import json_format

from seqserve.server.errors import BrokenServableError
from seqserve.server.model.graph_file import has_external_data
from seqserve.server.model.manifest_values import check_values
from seqserve.v1 import manifest_pb2 as pb

# The manifest is the one protobuf message that the model's other folders see; they take its types from here.
Labels = pb.Labels
LabelScheme = pb.LabelScheme
Manifest = pb.Manifest
Task = pb.Task
TokenLevel = pb.TokenLevel
Vocabulary = pb.Vocabulary

MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
FORMAT_VERSION = 1

# The output that a graph must have for each task.
_OUTPUT_OF_TASK: dict[pb.Task, pb.TensorRole] = {
    pb.TASK_LANGUAGE_MODEL: pb.TENSOR_ROLE_TOKEN_LOGITS,
    pb.TASK_TAGGING: pb.TENSOR_ROLE_LABEL_SCORES,
    pb.TASK_CLASSIFICATION: pb.TENSOR_ROLE_CLASS_LOGITS,
    pb.TASK_INFILLING: pb.TENSOR_ROLE_TOKEN_LOGITS,
}


def read_manifest(folder: Path) -> pb.Manifest:
    """Reads a servable's manifest and checks it and the files beside it.

    Args:
        folder: <root>/<model>/<version>.

    Raises:
        BrokenServableError: The message names the file, the problem and the remedy.
    """
    manifest = _parse(folder / MANIFEST_FILE)
    _check_digest(folder / GRAPH_FILE, manifest.graph.sha256)
    if manifest.HasField("vocabulary"):
        _check_digest(folder / TOKENIZER_FILE, manifest.graph.tokenizer_sha256)
    _check_proof(manifest)
    _check_shape(manifest)
    check_values(manifest)
    _check_one_file(folder / GRAPH_FILE)
    return manifest


def reads_ids_alone(manifest: pb.Manifest) -> bool:
    """Returns whether the model reads only token ids, so that kept tokens can be replayed."""
    return {spec.role for spec in manifest.inputs} == {pb.TENSOR_ROLE_TOKENS, pb.TENSOR_ROLE_LENGTHS}


def _parse(path: Path) -> pb.Manifest:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise BrokenServableError(f"{path.name} is missing: the servable is incomplete; export it again") from None
    except UnicodeDecodeError as error:
        raise BrokenServableError(f"{path.name} is not UTF-8 (byte {error.start}); export the servable again") from None
    content: Any
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BrokenServableError(
            f"{path.name} is not valid JSON ({error}): it is incomplete or was changed; export the servable again"
        ) from None
    fields: dict[str, Any] = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    version = fields.get("format_version")
    if version != FORMAT_VERSION:  # checked first: another format may have other keys
        raise BrokenServableError(
            f"{path.name} must have format version {FORMAT_VERSION}, got {version or 'none'}; "
            "export the servable with a matching version of seqserve"
        )
    try:
        return json_format.ParseDict(fields, pb.Manifest())
    except json_format.ParseError as error:
        cause = str(error).partition(" Available Fields")[0].removeprefix("Failed to parse ")
        raise BrokenServableError(f"{path.name} is not a manifest: {cause}; export the servable again") from None


def _check_digest(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise BrokenServableError(f"{path.name} is missing; export the servable again") from None
    if digest != expected:
        raise BrokenServableError(
            f"{path.name} is not the file that the manifest names: its SHA-256 must be "
            f"{f'{expected[:12]}…' if expected else 'set'}, got {digest[:12]}…; it was changed or damaged, export the "
            "servable again"
        )


def _check_one_file(path: Path) -> None:
    """Checks that the graph has no external data, which the digest would not cover."""
    try:
        external = has_external_data(path.read_bytes())
    except ValueError as error:
        raise BrokenServableError(f"{path.name} is not an ONNX graph: {error}; export the servable again") from None
    if external:
        raise BrokenServableError(
            f"{path.name} keeps weights in other files, which its digest does not cover; export the servable again, "
            "with the weights in the graph"
        )


def _check_proof(manifest: pb.Manifest) -> None:
    if not manifest.HasField("parity") or manifest.parity.cases < 1:
        raise BrokenServableError("the manifest has no parity proof; export the servable with seqserve-train")
    proof = manifest.parity
    if proof.graph_sha256 != manifest.graph.sha256:
        raise BrokenServableError("the parity proof was made for another graph; export the servable again")
    for what, error in (("outputs", proof.max_abs_error_outputs), ("states", proof.max_abs_error_states)):
        if not error <= proof.tolerance:  # NaN fails too
            raise BrokenServableError(
                f"the parity proof failed: the {what} differ by {error:g} from the trained network, "
                f"tolerance {proof.tolerance:g}"
            )


def _check_shape(manifest: pb.Manifest) -> None:
    if (wanted := _OUTPUT_OF_TASK.get(manifest.task)) is None:
        raise BrokenServableError("the manifest names no task")
    roles_in = {spec.role for spec in manifest.inputs}
    roles_out = {spec.role for spec in manifest.outputs}
    if wanted not in roles_out:
        raise BrokenServableError(
            f"a graph for {pb.Task.Name(manifest.task)} needs an output {pb.TensorRole.Name(wanted)}, "
            "the manifest has none"
        )
    if pb.TENSOR_ROLE_LENGTHS not in roles_in:
        raise BrokenServableError("the graph reads no lengths, so padded batches would be wrong")
    if not roles_in & {pb.TENSOR_ROLE_TOKENS, pb.TENSOR_ROLE_FEATURES}:
        raise BrokenServableError("the graph reads neither tokens nor features")
    if pb.TENSOR_ROLE_TOKENS in roles_in and manifest.vocabulary.size < 1:
        raise BrokenServableError("the graph reads tokens, but the manifest has no vocabulary")
    if manifest.task in (pb.TASK_TAGGING, pb.TASK_CLASSIFICATION) and len(manifest.labels.names) < 2:
        raise BrokenServableError(f"the manifest must have at least 2 labels, got {len(manifest.labels.names)}")
    _check_widths(manifest)
    _check_chain(manifest)
    _check_states(manifest, windowed=pb.TENSOR_ROLE_CARRY_LENGTHS in roles_in)
    if manifest.task == pb.TASK_LANGUAGE_MODEL and manifest.network.bidirectional:
        raise BrokenServableError(
            "a language model must not be bidirectional: it would read the future that it should predict"
        )


def _check_states(manifest: pb.Manifest, *, windowed: bool) -> None:
    """Checks that states have one direction, and that a bidirectional model has some only if it reads carry lengths."""
    bidirectional = manifest.network.bidirectional
    if bool(manifest.states) != (windowed or not bidirectional) or (windowed and not bidirectional):
        raise BrokenServableError(
            "a one-directional model must have states, a bidirectional one only if its graph reads carry lengths; "
            "export the servable again"
        )
    if any(state.directions != 1 for state in manifest.states):
        raise BrokenServableError("a state must have one direction, the manifest has more; export the servable again")


def _check_chain(manifest: pb.Manifest) -> None:
    """Checks that a CRF has a score for each label at both ends, and for each pair of labels."""
    labels = manifest.labels
    sizes = (len(labels.start_scores), len(labels.transitions), len(labels.end_scores))
    count = len(labels.names) if manifest.network.crf else 0
    if sizes != (count, count**2, count):
        raise BrokenServableError(
            f"the manifest has {sizes[0]} scores of starting, {sizes[1]} of following and {sizes[2]} of ending for the "
            f"labels of a model {'with' if manifest.network.crf else 'without'} CRF; {count}, {count**2} and {count} "
            "are expected; export the servable again"
        )


def _check_widths(manifest: pb.Manifest) -> None:
    """Checks that there is one score for each token or label."""
    widths = {
        pb.TENSOR_ROLE_TOKEN_LOGITS: ("tokens", manifest.vocabulary.size),
        pb.TENSOR_ROLE_LABEL_SCORES: ("labels", len(manifest.labels.names)),
        pb.TENSOR_ROLE_CLASS_LOGITS: ("labels", len(manifest.labels.names)),
    }
    for spec in manifest.outputs:
        if spec.role in widths:
            what, count = widths[spec.role]
            if (last := spec.axes[-1] if spec.axes else "none") != str(count):
                raise BrokenServableError(
                    f"the last axis of output {spec.name!r} must be {count}, the number of {what}, got {last}; "
                    "export the servable again"
                )
