"""The configuration of each task: one frozen model a task, which is also its command line.

A field's name is its flag (``hidden_size`` is ``--hidden-size``), its description is the flag's help, and the whole is
saved in the checkpoint and in the manifest.
"""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field, model_validator


class CellKind(StrEnum):
    """Recurrent cells that can be trained and exported."""

    LSTM = "lstm"
    GRU = "gru"


class TagColumn(StrEnum):
    """Columns of CoNLL-U that can be learned as tags."""

    UPOS = "upos"
    XPOS = "xpos"


class TrainingConfig(BaseModel, frozen=True, extra="forbid"):
    """What every task needs to know: data, optimisation, and what is written about the result."""

    data: tuple[Path, ...] = Field(min_length=1, description="Files to train on; those named .gz are decompressed.")
    validation: tuple[Path, ...] = Field(default=(), description="Files to validate on.")
    data_name: str = Field(default="", description="Name of the data, as people know it; default: the file names.")
    data_license: str = Field(default="", description="Licence of the data, as an SPDX expression.")
    license: str = Field(default="", description="Licence of the trained weights, as an SPDX expression.")
    description: str = Field(default="", description="What the model is for, in a sentence.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything that is random.")
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; default: torch's own choice.")
    epochs: int = Field(default=10, ge=1, description="Passes over the training data.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Highest learning rate of AdamW.")
    warmup: float = Field(default=0.02, ge=0, lt=1, description="Part of all steps in which the rate rises from 0.")
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay of AdamW.")
    clip_norm: float = Field(default=1.0, gt=0, description="Gradients with a greater norm are scaled down to it.")
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Part of activations dropped around and between layers."
    )
    cell: CellKind = Field(default=CellKind.LSTM, description="Recurrent cell.")
    layers: int = Field(default=1, ge=1, description="Recurrent layers.")
    hidden_size: int = Field(default=256, ge=1, description="Units of each layer and direction.")
    embedding_size: int = Field(default=32, ge=1, description="Width of a token's embedding.")


class LanguageModelConfig(TrainingConfig, frozen=True):
    """A character-level language model, trained by truncated backpropagation through time with carried state."""

    batch_size: int = Field(default=64, ge=1, description="Streams that the text is cut into.")
    window: int = Field(default=64, ge=1, description="Steps that gradients go back.")
    validation_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Last part of the text, to validate on. Default: 0.1 without --validation.",
    )
    state_reset: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Probability that a stream starts from the initial state at a window.",
    )
    unknown_token: bool = Field(default=False, description="Map unseen characters to a token instead of refusing them.")

    @model_validator(mode="after")
    def _one_source_of_validation(self) -> "LanguageModelConfig":
        if self.validation and self.validation_fraction is not None:
            raise ValueError("validation and validation_fraction exclude each other: give one of them")
        return self


class TaggerConfig(TrainingConfig, frozen=True):
    """A tagger of words: word embeddings and byte-level spelling features under a bidirectional network."""

    validation: tuple[Path, ...] = Field(min_length=1, description="Files to validate on; required.")
    column: TagColumn = Field(default=TagColumn.UPOS, description="Column of CoNLL-U to learn.")
    hidden_size: int = Field(default=112, ge=1, description="Units of each layer and direction.")
    batch_size: int = Field(default=32, ge=1, description="Sentences in a batch.")
    vocabulary_max: int = Field(default=6000, ge=2, description="Most words in the vocabulary, unknown included.")
    count_min: int = Field(default=2, ge=1, description="Occurrences from which a word is in the vocabulary.")
    lowercase: bool = Field(default=True, description="Look words up in lower case; spelling features see the case.")
    word_dropout: float = Field(
        default=0.25, ge=0, description="a in the probability a / (a + count) that a word is trained as unknown."
    )
    word_bytes_max: int = Field(default=24, ge=2, description="Most bytes of a word that its spelling features see.")
    byte_embedding_size: int = Field(default=16, ge=1, description="Width of a byte's embedding.")
    byte_hidden_size: int = Field(default=48, ge=1, description="Units of each direction of the spelling features.")
