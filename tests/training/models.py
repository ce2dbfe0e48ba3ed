"""Small networks with random weights, and what the manifest says of their vocabulary."""

import torch

from seqserve.training.config import CellKind, LanguageModelConfig, TaggerConfig
from seqserve.training.networks import LanguageModel, Tagger
from seqserve.v1 import manifest_pb2

VOCABULARY = 11
LABELS = ("NOUN", "VERB", "DET", "PUNCT", "X")
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


def a_tagger(cell: CellKind = CellKind.LSTM, layers: int = 2) -> Tagger:
    torch.manual_seed(1)
    sizes = {"hidden_size": 6, "embedding_size": 4, "byte_embedding_size": 3, "byte_hidden_size": 5}
    config = TaggerConfig.model_validate(
        {"data": ["train"], "validation": ["dev"], "cell": cell, "layers": layers, "dropout": 0.5, **sizes}
    )
    network = Tagger(config, VOCABULARY, LABELS)
    random_weights(network)
    return network.eval()
