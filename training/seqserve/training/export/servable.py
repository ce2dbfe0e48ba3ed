"""Writing a servable: all of its files, or none.

A servable is the folder ``<root>/<model>/<version>`` with model.onnx, manifest.json and, for text, tokenizer.json. It
is written under a temporary name in ``<root>/<model>`` and renamed, so a reader never sees half of one.
"""

import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path

from google.protobuf import json_format

from seqserve.training.errors import ExportError
from seqserve.v1 import manifest_pb2

GRAPH_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
FOLDER_MODE = 0o755
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]*")


def sha256(content: bytes) -> str:
    """SHA-256, 64 lower-case hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def write(model: Path, *, graph: bytes, tokenizer: str, manifest: manifest_pb2.Manifest) -> Path:
    """Write the next version of a model.

    Args:
        model: the model's folder, <root>/<model>; made if it is not there.
        graph: content of model.onnx.
        tokenizer: content of tokenizer.json.
        manifest: content of manifest.json.
    Returns: the version's folder.
    Raises: ExportError if the model's name is not allowed or the folder cannot be written.
    """
    refuse_model(model)
    try:
        model.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=model))
        try:
            (unfinished / GRAPH_FILE).write_bytes(graph)
            (unfinished / TOKENIZER_FILE).write_text(tokenizer, encoding="utf-8")
            (unfinished / MANIFEST_FILE).write_text(manifest_json(manifest), encoding="utf-8")
            unfinished.chmod(FOLDER_MODE)
            return unfinished.rename(model / str(next_version(model)))
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"{model}: the servable cannot be written: {error.strerror or error}") from error


def refuse_model(model: Path) -> None:
    """Refuse a folder that no model can be written to. Raises: ExportError."""
    if not _NAME.fullmatch(model.name):
        raise ExportError(
            f"{model}: {model.name!r} cannot be a model's name: letters, digits, '.', '_' and '-' are allowed, at most"
            " 128, beginning with a letter or digit"
        )
    if files := [path for path in (model, *model.parents) if path.exists() and not path.is_dir()]:
        raise ExportError(f"{model}: no folder for a model: {files[0]} is a file; --out is models/NAME, for instance")


def next_version(model: Path) -> int:
    """The version after the newest in a model's folder; 1 if there is none."""
    return 1 + max((int(entry.name) for entry in model.iterdir() if _VERSION.fullmatch(entry.name)), default=0)


def manifest_json(manifest: manifest_pb2.Manifest) -> str:
    """A manifest in protobuf's JSON form with the field names of the .proto."""
    content = json_format.MessageToDict(manifest, preserving_proto_field_name=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_manifest(servable: Path) -> manifest_pb2.Manifest:
    """Read a servable's manifest.

    Raises: ExportError if it is not there or not a manifest.
    """
    path = servable / MANIFEST_FILE
    if not path.exists():
        raise ExportError(f"{servable}: no servable: it has no {MANIFEST_FILE}; one is models/NAME/1, for instance")
    try:
        return json_format.Parse(path.read_bytes(), manifest_pb2.Manifest())
    except (OSError, json_format.ParseError) as error:
        raise ExportError(f"{path}: not a manifest: {error}") from error
