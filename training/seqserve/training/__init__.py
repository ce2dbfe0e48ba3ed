"""Training for seqserve: recurrent models from real files to proven servables.

The command is ``seqserve-train``; in Python, ``seqserve.training.run`` has ``train``, ``export`` and ``evaluate``, and
``seqserve.training.evaluation.generate`` draws text from a trained network. The configurations and errors are here.
"""

from seqserve.training.config import CellKind, LanguageModelConfig, TagColumn, TaggerConfig, TrainingConfig
from seqserve.training.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergenceError,
    ExportError,
    InterruptedRunError,
    TrainingError,
)

__all__ = [
    "CellKind",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergenceError",
    "ExportError",
    "InterruptedRunError",
    "LanguageModelConfig",
    "TagColumn",
    "TaggerConfig",
    "TrainingConfig",
    "TrainingError",
]
