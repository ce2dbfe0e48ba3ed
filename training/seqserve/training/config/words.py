"""Configuration that tasks on words or characters of complete sequences share."""

from enum import StrEnum

from pydantic import Field, model_validator

from seqserve.training.config.training import TrainingConfig


class ReadingLevel(StrEnum):
    """Unit of a token."""

    WORD = "word"
    CHARACTER = "character"


class SequenceConfig(TrainingConfig, frozen=True):
    """Configuration of sequences of words or characters, and of the regularization."""

    level: ReadingLevel = Field(default=ReadingLevel.WORD, description="Unit of a token.")
    batch_size: int = Field(default=32, ge=1, description="Number of sequences per batch.")
    bidirectional: bool = Field(
        default=True,
        description="Also read from the end. Without it the model carries state and can respond while input arrives.",
    )
    vocabulary_max: int = Field(
        default=6000, ge=3, description="Maximum size of the vocabulary, unknown token included."
    )
    count_min: int = Field(default=2, ge=1, description="Minimum number of occurrences of a token in the vocabulary.")
    lowercase: bool = Field(default=True, description="Look words up in lower case; spelling features keep the case.")
    word_dropout: float = Field(
        default=0.25,
        ge=0,
        description="a in the probability a / (a + count) of replacing a token by the unknown token in training.",
    )
    embedding_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Fraction of the tokens whose embedding is zeroed in training."
    )
    locked_dropout: bool = Field(
        default=False, description="Drop the same units at all steps of a sequence, around the recurrent layers."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Fraction of the probability to spread over all labels."
    )


class WordsConfig(SequenceConfig, frozen=True):
    """Configuration of sequences whose tokens have features of their spelling and their neighbors."""

    spelling: bool = Field(
        default=False, description="Use the bytes of each word as features; not for character tokens."
    )
    word_bytes_max: int = Field(
        default=24, ge=2, description="Maximum number of bytes per word in the spelling features."
    )
    byte_embedding_size: int = Field(default=16, ge=1, description="Width of the byte embeddings.")
    byte_hidden_size: int = Field(
        default=48, ge=1, description="Number of units per direction of the spelling features."
    )
    count_ratios: bool = Field(
        default=False, description="Initialize embeddings from the log-count ratios of tokens and labels."
    )
    bigrams: int = Field(default=0, ge=0, description="Maximum number of token pairs with separate features. 0: none.")

    @property
    def spells(self) -> bool:
        """Whether the bytes of each token are features."""
        return self.spelling and self.level is ReadingLevel.WORD

    @model_validator(mode="after")
    def _features_fit(self) -> "WordsConfig":
        if self.bigrams and not self.bidirectional:
            raise ValueError("bigrams need the next token, which a unidirectional model does not have: leave them out")
        return self
