"""What tasks that read words or characters of whole sequences have in common."""

from enum import StrEnum

from pydantic import Field, model_validator

from seqserve.training.config.training import TrainingConfig


class ReadingLevel(StrEnum):
    """What one token of a sequence is."""

    WORD = "word"
    CHARACTER = "character"


class SequenceConfig(TrainingConfig, frozen=True):
    """Sequences of words or characters, and how they are kept from being learned by heart."""

    level: ReadingLevel = Field(default=ReadingLevel.WORD, description="What one token is.")
    batch_size: int = Field(default=32, ge=1, description="Sequences in a batch.")
    bidirectional: bool = Field(
        default=True,
        description="Also read from the end. Without it the model carries state and answers as input comes.",
    )
    vocabulary_max: int = Field(default=6000, ge=3, description="Most tokens in the vocabulary, unknown included.")
    count_min: int = Field(default=2, ge=1, description="Occurrences from which a token is in the vocabulary.")
    lowercase: bool = Field(default=True, description="Look words up in lower case; spelling features see the case.")
    word_dropout: float = Field(
        default=0.25, ge=0, description="a in the probability a / (a + count) that a token is trained as unknown."
    )
    embedding_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Part of the tokens whose embedding is trained as zeros."
    )
    locked_dropout: bool = Field(
        default=False, description="Drop the same units at all steps of a sequence, around the recurrent layers."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Part of the probability that is spread over all labels."
    )


class WordsConfig(SequenceConfig, frozen=True):
    """Sequences whose tokens are known in full: by their letters too, and by their neighbours."""

    spelling: bool = Field(default=False, description="Also read the bytes of each word; not of characters.")
    word_bytes_max: int = Field(default=24, ge=2, description="Most bytes of a word that its spelling features see.")
    byte_embedding_size: int = Field(default=16, ge=1, description="Width of a byte's embedding.")
    byte_hidden_size: int = Field(default=48, ge=1, description="Units of each direction of the spelling features.")
    count_ratios: bool = Field(
        default=False, description="Begin each token's embedding with how much more often it occurs with each label."
    )
    bigrams: int = Field(
        default=0, ge=0, description="Most pairs of a token with the next that have features, one row each; 0 is none."
    )

    @property
    def spells(self) -> bool:
        """Whether the bytes of each token are read."""
        return self.spelling and self.level is ReadingLevel.WORD

    @model_validator(mode="after")
    def _features_fit(self) -> "WordsConfig":
        if self.bigrams and not self.bidirectional:
            raise ValueError("bigrams look one token ahead, which a one-directional model cannot: leave them out")
        return self
