"""Small servables with random weights, made within a second by the training exporter, proof included."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from google.protobuf import json_format
from tokenizers import Tokenizer

from seqserve.training.config import (
    CellKind,
    ClassifierConfig,
    InfillingConfig,
    LanguageModelConfig,
    ReadingLevel,
    TaggerConfig,
)
from seqserve.training.config.optimisation import Precision
from seqserve.training.networks import Classifier, Infiller, LanguageModel, Tagger
from seqserve.training.run import export
from seqserve.training.tasks.infilling import MASK
from seqserve.training.tokenizers.sequences import character_tokenizer, word_tokenizer
from seqserve.training.tokenizers.text import text_tokenizer
from seqserve.training.trainer import checkpoint as checkpoints
from seqserve.training.trainer.checkpoint import Checkpoint
from seqserve.v1 import manifest_pb2 as pb

ALPHABET = "\n !,.abcdefghijklmnopqrstuvwxyzäé国😀"
WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", ".", ",", "0", "naïve", "国"]
TEXT = "the naïve cat sat on a mat, and 国 dogs sat there. " * 3
LABELS = ("NOUN", "VERB", "DET", "PUNCT", "X")

EVALUATED = {
    "lm": ("txt", ALPHABET),
    "tagger": ("txt", "".join(f"{word}\tLABEL\n" for word in WORDS)),
    "classifier": ("tsv", "label\ttext\n" + "".join(f"X\t{word}\n" for word in WORDS)),
    "infilling": ("txt", "".join(f"{word} cat\n" for word in WORDS)),
}
"""Data on which the cost of int8 is measured, by task: the suffix of a file, and its content."""

Edit = Callable[[pb.Manifest], None]


@dataclass(frozen=True)
class MadeLanguageModel:
    """A character model on disk, and the network that it was exported from."""

    folder: Path
    network: LanguageModel
    tokenizer: Tokenizer


@dataclass(frozen=True)
class MadeTagger:
    """A bidirectional tagger with byte features on disk, and the network that it was exported from."""

    folder: Path
    network: Tagger
    tokenizer: Tokenizer


def make_language_model(
    out: Path,
    *,
    cell: CellKind = CellKind.LSTM,
    layers: int = 2,
    hidden_size: int = 24,
    unknown_token: bool = False,
    precision: Precision = Precision.FP32,
    seed: int = 0,
    edit: Edit | None = None,
    **settings: Any,
) -> MadeLanguageModel:
    """Write the next version of the model whose folder is ``out``; ``edit`` may change its manifest.

    Args: settings: of LanguageModelConfig; a level other than characters reads the words of TEXT.
    """
    torch.manual_seed(seed)
    config = LanguageModelConfig(
        data=(Path("none"),),
        cell=cell,
        layers=layers,
        hidden_size=hidden_size,
        embedding_size=12,
        precision=precision,
        **settings,
    )
    tokenizer = character_tokenizer(ALPHABET, unknown_token=unknown_token)
    if settings:
        tokenizer = text_tokenizer(config, [TEXT])
    network = LanguageModel(config, tokenizer.get_vocab_size())
    with torch.no_grad():
        network.head.weight *= 8  # as decided as a trained model: some tokens are likely, most are not
    folder = _write(
        out, Checkpoint("lm", config.model_dump_json(), network.state_dict(), tokenizer.to_str(), (), "{}", {})
    )
    if edit is not None:
        edit_manifest(folder, edit)
    return MadeLanguageModel(folder, network, tokenizer)


def make_tagger(
    out: Path, *, seed: int = 0, labels: tuple[str, ...] = LABELS, edit: Edit | None = None, **settings: Any
) -> MadeTagger:
    """Write the next version of the model whose folder is ``out``; ``edit`` may change its manifest."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(WORDS, size_max=100, count_min=1, lowercase=True)
    config = TaggerConfig(
        data=(Path("none"),),
        validation=(Path("none"),),
        hidden_size=12,
        embedding_size=8,
        byte_embedding_size=6,
        byte_hidden_size=6,
        word_bytes_max=9,
        **settings,
    )
    network = Tagger(config, tokenizer.get_vocab_size(), labels)
    with torch.no_grad():
        network.head.weight *= 8
    checkpoint = Checkpoint(
        "tagger", config.model_dump_json(), network.state_dict(), tokenizer.to_str(), labels, "{}", {}
    )
    folder = _write(out, checkpoint)
    if edit is not None:
        edit_manifest(folder, edit)
    return MadeTagger(folder, network, tokenizer)


def make_classifier(out: Path, **settings: Any) -> Path:
    """Write the next version of the classifier whose folder is ``out``."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer(WORDS, size_max=100, count_min=1, lowercase=True)
    config = ClassifierConfig(data=(Path("none"),), hidden_size=12, embedding_size=8, **settings)
    network = Classifier(config, tokenizer.get_vocab_size(), len(LABELS))
    weights = network.state_dict()
    return _write(
        out, Checkpoint("classifier", config.model_dump_json(), weights, tokenizer.to_str(), LABELS, "{}", {})
    )


def make_infiller(out: Path, **settings: Any) -> Path:
    """Write the next version of the infilling model whose folder is ``out``."""
    torch.manual_seed(0)
    none = (Path("none"),)
    config = InfillingConfig(data=none, validation=none, hidden_size=12, embedding_size=8, **settings)
    if config.level is ReadingLevel.WORD:
        tokenizer = word_tokenizer(WORDS, size_max=100, count_min=1, lowercase=True, special=[MASK])
    else:
        tokenizer = character_tokenizer(ALPHABET, unknown_token=True, special=[MASK])
    network = Infiller(config, tokenizer.get_vocab_size())
    weights = network.state_dict()
    return _write(out, Checkpoint("infilling", config.model_dump_json(), weights, tokenizer.to_str(), (), "{}", {}))


def edit_manifest(folder: Path, edit: Edit) -> None:
    """Change what a servable says of itself."""
    path = folder / "manifest.json"
    manifest = json_format.Parse(path.read_text("utf-8"), pb.Manifest())
    edit(manifest)
    content = json_format.MessageToDict(manifest, preserving_proto_field_name=True)
    path.write_text(json.dumps(content), "utf-8")


def _write(out: Path, checkpoint: Checkpoint) -> Path:
    torch.set_num_threads(1)  # for networks this small threads cost more than they give
    out.parent.mkdir(parents=True, exist_ok=True)
    ending, content = EVALUATED[checkpoint.task]
    file, data = out.parent / f"{out.name}.pt", out.parent / f"{out.name}.{ending}"
    checkpoints.save(file, checkpoint)
    data.write_text(content.replace("LABEL", next(iter(checkpoint.labels), "")), "utf-8")
    try:
        if json.loads(checkpoint.config)["precision"] != Precision.INT8:
            return export(file, out)
        return export(file, out, data=[data], quality_loss_max=1.0)  # of random weights int8 costs anything
    finally:
        file.unlink()
        data.unlink()
