"""Small networks with random weights, and what the manifest says of their vocabulary."""

from collections.abc import Mapping
from typing import TypeVar

import torch

from seqserve.training.config import (
    CellKind,
    ClassifierConfig,
    InfillingConfig,
    LanguageModelConfig,
    TaggerConfig,
    TrainingConfig,
)
from seqserve.training.networks import Classifier, Infiller, LanguageModel, Tagger
from seqserve.v1 import manifest_pb2

VOCABULARY = 11
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
CHARACTERS = manifest_pb2.Vocabulary(size=VOCABULARY)
WORDS = manifest_pb2.Vocabulary(size=VOCABULARY, word_bytes_max=6)


def random_weights(network: torch.nn.Module, scale: float = 0.5) -> None:
    """Biases too: the ones that a network begins with are zero and would hide a gate in the wrong place."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.uniform_(-scale, scale)


def a_language_model(cell: CellKind = CellKind.LSTM, layers: int = 2, **more: object) -> LanguageModel:
    torch.manual_seed(1)
    sizes = {"layers": layers, "hidden_size": 7, "embedding_size": 4, "dropout": 0.5}
    config = LanguageModelConfig.model_validate({"data": ["text"], "cell": cell, **sizes, **more})
    network = LanguageModel(config, VOCABULARY)
    random_weights(network)
    return network.eval()


SIZES: dict[str, object] = {"hidden_size": 6, "embedding_size": 4}
BYTE_SIZES: dict[str, object] = {"byte_embedding_size": 3, "byte_hidden_size": 5}
ConfigT = TypeVar("ConfigT", bound=TrainingConfig)


def a_config(kind: type[ConfigT], *sizes: Mapping[str, object], **more: object) -> ConfigT:
    settings: dict[str, object] = {"data": ["train"], "validation": ["dev"], "layers": 2, "dropout": 0.5}
    for each in [*sizes, more]:
        settings.update(each)
    return kind.model_validate(settings)


def a_tagger(cell: CellKind = CellKind.LSTM, layers: int = 2, **more: object) -> Tagger:
    torch.manual_seed(1)
    config = a_config(TaggerConfig, SIZES, BYTE_SIZES, cell=cell, layers=layers, **more)
    network = Tagger(config, VOCABULARY, LABELS)
    random_weights(network)
    return network.eval()


def a_classifier(**more: object) -> Classifier:
    torch.manual_seed(1)
    network = Classifier(a_config(ClassifierConfig, SIZES, BYTE_SIZES, **more), VOCABULARY, 3)
    random_weights(network)
    return network.eval()


def an_infiller(**more: object) -> Infiller:
    torch.manual_seed(1)
    network = Infiller(a_config(InfillingConfig, SIZES, **more), VOCABULARY)
    random_weights(network)
    return network.eval()
