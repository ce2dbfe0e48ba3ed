"""The servable that the benchmarks run: a language model with random weights, exported and proven as any other.

Weights do not matter for speed, so nothing is trained. There is no end token: every request runs to its full length.

    python -m benchmarks.model --out FOLDER [--cell gru] [--hidden 512] [--layers 2]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from seqserve.v1 import manifest_pb2

NAME = "bench"
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
SEED = 0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which network to build."""

    cell: str = "lstm"
    hidden: int = 512
    layers: int = 2


def build(root: Path, spec: ModelSpec) -> None:
    """Write the servable into the model repository ``root``, in a process of its own: torch stays out of this one."""
    arguments = [f"--cell={spec.cell}", f"--hidden={spec.hidden}", f"--layers={spec.layers}"]
    subprocess.run([sys.executable, "-m", "benchmarks.model", f"--out={root}", *arguments], check=True)


def write(root: Path, spec: ModelSpec) -> Path:
    """As `build`, in this process. Returns: the servable's folder."""
    import torch
    from google.protobuf import json_format

    from seqserve.training import checkpoint, run
    from seqserve.training.config import CellKind, LanguageModelConfig
    from seqserve.training.networks import LanguageModel
    from seqserve.training.tokenizer import character_tokenizer

    torch.manual_seed(SEED)
    config = LanguageModelConfig(
        data=(Path("none"),),
        description="Random weights, for benchmarks.",
        cell=CellKind(spec.cell),
        layers=spec.layers,
        hidden_size=spec.hidden,
        embedding_size=spec.hidden,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pt"
        record = manifest_pb2.TrainingRecord(command="python -m benchmarks.model", device="cpu")
        random = checkpoint.Checkpoint(
            task="lm",
            config=config.model_dump_json(),
            weights=LanguageModel(config, len(CHARACTERS)).state_dict(),
            tokenizer=character_tokenizer(CHARACTERS).to_str(),
            labels=(),
            record=json_format.MessageToJson(record, preserving_proto_field_name=True),
            metrics={},
        )
        checkpoint.save(path, random)
        return run.export(path, root / NAME)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that make a `ModelSpec`."""
    default = ModelSpec()
    parser.add_argument("--cell", default=default.cell, choices=("lstm", "gru"), help="recurrent cell (%(default)s)")
    parser.add_argument("--hidden", type=int, default=default.hidden, help="units a layer (%(default)s)")
    parser.add_argument("--layers", type=int, default=default.layers, help="recurrent layers (%(default)s)")


def spec_of(arguments: argparse.Namespace) -> ModelSpec:
    """The `ModelSpec` that the flags of `add_arguments` describe."""
    return ModelSpec(cell=arguments.cell, hidden=arguments.hidden, layers=arguments.layers)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description="Write the benchmarks' servable.")
    _parser.add_argument("--out", type=Path, required=True, help="model repository to write into")
    add_arguments(_parser)
    _arguments = _parser.parse_args()
    write(_arguments.out, spec_of(_arguments))
