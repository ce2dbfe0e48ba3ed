"""The configuration of each task: one frozen model a task, which is also its command line and its file."""

from seqserve.training.config.language_model import LanguageModelConfig
from seqserve.training.config.network import CellKind, NetworkConfig
from seqserve.training.config.tagger import TagColumn, TaggerConfig
from seqserve.training.config.training import TrainingConfig

__all__ = ["CellKind", "LanguageModelConfig", "NetworkConfig", "TagColumn", "TaggerConfig", "TrainingConfig"]
