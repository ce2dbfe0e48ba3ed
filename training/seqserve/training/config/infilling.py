"""Configuration of infilling models."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from seqserve.training.config.words import SequenceConfig


class InfillingConfig(SequenceConfig, frozen=True):
    """Configuration of a model that predicts each token from those before it and, if bidirectional, after it."""

    FIGURES: ClassVar = ("loss", "top_1", "top_5")

    validation: tuple[Path, ...] = Field(min_length=1, description="Files for validation. Required.")
    hidden_size: int = Field(default=200, ge=1, description="Number of units per layer and direction.")
    embedding_size: int = Field(default=128, ge=1, description="Width of the token embeddings.")
    vocabulary_max: int = Field(
        default=8000, ge=4, description="Maximum size of the vocabulary, special tokens included."
    )
    blank_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Fraction of the tokens that are blank, in training and validation."
    )
    tied_weights: bool = Field(default=True, description="Use the embeddings as output weights.")
