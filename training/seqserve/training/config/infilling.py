"""The configuration of an infilling model."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from seqserve.training.config.words import SequenceConfig


class InfillingConfig(SequenceConfig, frozen=True):
    """A model of words for blanks: each token from those before it and, unless one-directional, those after it."""

    FIGURES: ClassVar = ("loss", "top_1", "top_5")

    validation: tuple[Path, ...] = Field(min_length=1, description="Files to validate on; required.")
    hidden_size: int = Field(default=200, ge=1, description="Units of each layer and direction.")
    embedding_size: int = Field(default=128, ge=1, description="Width of a token's embedding.")
    vocabulary_max: int = Field(default=8000, ge=4, description="Most tokens in the vocabulary, special ones included.")
    blank_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="Part of the tokens that are blank, in training and in validation."
    )
    tied_weights: bool = Field(default=True, description="Score tokens with the weights of their embeddings.")
