"""The configuration of a tagger."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from seqserve.training.config.training import TrainingConfig


class TagColumn(StrEnum):
    """Columns of CoNLL-U that can be learned as tags."""

    UPOS = "upos"
    XPOS = "xpos"


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
