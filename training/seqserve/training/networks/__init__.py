"""Networks of the tasks, in torch: input features, a recurrent stack, and a head.

Axes: T time, B batch, V vocabulary, L labels, U distinct words of a batch, W bytes of a word, E and H
widths.
"""

from torch import nn

from seqserve.training.networks.classifier import Classifier
from seqserve.training.networks.infiller import Infiller
from seqserve.training.networks.language_model import LanguageModel
from seqserve.training.networks.tagger import Tagger
from seqserve.training.networks.words import Spellings

__all__ = ["Classifier", "Infiller", "LanguageModel", "Spellings", "Tagger", "parameter_count"]


def parameter_count(network: nn.Module) -> int:
    """Counts the trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
