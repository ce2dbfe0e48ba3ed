"""Record of a training run: data, versions, times."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from google.protobuf import json_format, struct_pb2, timestamp_pb2

from seqserve.training.config import TrainingConfig
from seqserve.training.data.text import sha256_of
from seqserve.v1 import manifest_pb2

PACKAGES = ("seqserve", "torch", "numpy", "tokenizers", "onnx", "onnxruntime")


def data_source(config: TrainingConfig, path: Path, split: str, tokens: int) -> manifest_pb2.DataSource:
    """A file of the data, with its digest as it lies on disk."""
    return manifest_pb2.DataSource(
        name=config.data_name or path.name,
        split=split,
        sha256=sha256_of(path),
        license=config.data_license,
        tokens=tokens,
    )


def training_record(
    *,
    command: str,
    config: TrainingConfig,
    data: Sequence[manifest_pb2.DataSource],
    seconds: float,
    steps: int,
    finish_time: datetime,
    device: str,
) -> manifest_pb2.TrainingRecord:
    """How a model was trained; ``finish_time`` is aware of its time zone, ``device`` as torch names it."""
    finished = timestamp_pb2.Timestamp()
    finished.FromDatetime(finish_time.astimezone(UTC))
    return manifest_pb2.TrainingRecord(
        command=command,
        config=json_format.ParseDict(json.loads(config.model_dump_json()), struct_pb2.Struct()),
        data=data,
        seconds=seconds,
        steps=steps,
        finish_time=finished,
        versions={package: version(package) for package in PACKAGES},
        device=device,
    )
