"""Configuration of the tasks: one frozen model per task, which also defines its flags and its file format."""

from seqserve.training.config.classifier import ClassifierConfig, Pooling
from seqserve.training.config.infilling import InfillingConfig
from seqserve.training.config.language_model import LanguageModelConfig
from seqserve.training.config.network import CellKind, NetworkConfig
from seqserve.training.config.tagger import TagColumn, TaggerConfig
from seqserve.training.config.training import TrainingConfig
from seqserve.training.config.words import ReadingLevel, SequenceConfig, WordsConfig

__all__ = [
    "CellKind",
    "ClassifierConfig",
    "InfillingConfig",
    "LanguageModelConfig",
    "NetworkConfig",
    "Pooling",
    "ReadingLevel",
    "SequenceConfig",
    "TagColumn",
    "TaggerConfig",
    "TrainingConfig",
    "WordsConfig",
]
