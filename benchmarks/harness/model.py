"""The servables that the benchmarks run: random weights, exported and checked like any other.

A language model and a unidirectional tagger of the same size, so that a step of both costs the same. Weights do not
affect speed, so nothing is trained. There is no end token: every request runs to its full length.

    python -m benchmarks model --out FOLDER [--cell gru] [--hidden 512] [--layers 2] [--precision int8]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seqserve.v1 import manifest_pb2

if TYPE_CHECKING:  # torch takes seconds to import, and memory under measurement
    from pydantic import BaseModel
    from tokenizers import Tokenizer
    from torch import nn

NAME = "bench"
TAGGER = "bench-tagger"
LABELS = tuple(f"L{number}" for number in range(17))  # as many as UPOS has
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
SEED = 0
FP32, INT8 = "fp32", "int8"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The network to build.

    Attributes:
        cell: Kind of recurrent cell.
        hidden: Hidden units per layer.
        layers: Recurrent layers.
        precision: FP32 or INT8.
    """

    cell: str = "lstm"
    hidden: int = 512
    layers: int = 2
    precision: str = "fp32"


DEFAULT = ModelSpec()


def build(root: Path, spec: ModelSpec) -> None:
    """Writes the servables into the model repository ``root`` in a separate process: torch stays out of this one."""
    arguments = [f"--{name}={value}" for name, value in asdict(spec).items()]
    subprocess.run([sys.executable, "-m", "benchmarks", "model", f"--out={root}", *arguments], check=True)


def write(root: Path, spec: ModelSpec) -> None:
    """Does the work of `build` in this process; in int8, writes only the language model."""
    import torch

    from seqserve.training.config import CellKind, LanguageModelConfig, TaggerConfig
    from seqserve.training.config.network import RecurrentWeights
    from seqserve.training.config.words import ReadingLevel
    from seqserve.training.networks import LanguageModel, Tagger
    from seqserve.training.tokenizers.sequences import character_tokenizer

    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the parity check makes many short products, where threads mostly wait
    network = {
        "data": (Path("none"),),
        "description": "Random weights, for benchmarks.",
        "cell": CellKind(spec.cell),
        "layers": spec.layers,
        "hidden_size": spec.hidden,
        "embedding_size": spec.hidden,
        "recurrent_weights": RecurrentWeights.UNIFORM,  # orthogonal weights take seconds to draw
    }
    language = LanguageModelConfig.model_validate(network)
    tokenizer = character_tokenizer(CHARACTERS)
    _export(root / NAME, "lm", language, LanguageModel(language, len(CHARACTERS)), tokenizer, precision=spec.precision)
    if spec.precision == INT8:
        return
    characters = {"level": ReadingLevel.CHARACTER, "bidirectional": False, "validation": (Path("none"),)}
    tagger = TaggerConfig.model_validate(network | characters)
    tokenizer = character_tokenizer(CHARACTERS[1:], unknown_token=True)  # the unknown token takes a character's place
    _export(root / TAGGER, "tagger", tagger, Tagger(tagger, len(CHARACTERS), LABELS), tokenizer, LABELS)


def _export(
    out: Path,
    task: str,
    config: BaseModel,
    network: nn.Module,
    tokenizer: Tokenizer,
    labels: tuple[str, ...] = (),
    precision: str = FP32,
) -> None:
    """Writes a network as the next version of the model in the folder ``out``."""
    from google.protobuf import json_format

    from seqserve.training import run
    from seqserve.training.config.optimisation import Precision
    from seqserve.training.trainer import checkpoint

    record = manifest_pb2.TrainingRecord(command="python -m benchmarks model", device="cpu")
    random = checkpoint.Checkpoint(
        task=task,
        config=config.model_dump_json(),
        weights=network.state_dict(),
        tokenizer=tokenizer.to_str(),
        labels=labels,
        record=json_format.MessageToJson(record, preserving_proto_field_name=True),
        metrics={},
    )
    with tempfile.TemporaryDirectory() as folder:
        path, text = Path(folder) / "random.pt", Path(folder) / "text.txt"
        text.write_text(CHARACTERS * 10, encoding="utf-8")
        checkpoint.save(path, random)
        data = [text] if precision == INT8 else []  # int8 measures its loss on these; meaningless here
        run.export(path, out, precision=Precision(precision), data=data)


def add_arguments(parser: argparse.ArgumentParser, default: ModelSpec = DEFAULT) -> None:
    """Adds the flags that describe a `ModelSpec`."""
    parser.add_argument("--cell", default=default.cell, choices=("lstm", "gru"), help="recurrent cell (%(default)s)")
    parser.add_argument("--hidden", type=int, default=default.hidden, help="hidden units per layer (%(default)s)")
    parser.add_argument("--layers", type=int, default=default.layers, help="recurrent layers (%(default)s)")
    parser.add_argument("--precision", default=default.precision, choices=(FP32, INT8), help="(%(default)s)")


def spec_of(arguments: argparse.Namespace) -> ModelSpec:
    """Returns the `ModelSpec` that the flags of `add_arguments` describe."""
    return ModelSpec(arguments.cell, arguments.hidden, arguments.layers, arguments.precision)


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks model", description="Write the benchmarks' servables.")
    parser.add_argument("--out", type=Path, required=True, help="model repository to write into")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    write(arguments.out, spec_of(arguments))
