"""Configuration of language models."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle
from seqserve.training.config.training import TrainingConfig

BYTES = 256


class TextLevel(StrEnum):
    """Unit of a token."""

    CHARACTER = "character"
    BYTE = "byte"
    WORD = "word"
    BPE = "bpe"


class Truncation(StrEnum):
    """Where gradients through time stop."""

    REGULAR = "regular"
    RANDOM = "random"
    FULL = "full"


class LanguageModelConfig(TrainingConfig, frozen=True):
    """Configuration of a language model, trained by truncated backpropagation through time with carried state."""

    FIGURES: ClassVar = ("loss", "perplexity", "bits_per_character")

    level: TextLevel = Field(
        default=TextLevel.CHARACTER, description="Unit of a token; bpe: pieces of words, by byte-pair encoding."
    )
    vocabulary_max: int = Field(
        default=10_000, ge=3, description="Maximum size of a vocabulary of words or pieces, special tokens included."
    )
    count_min: int = Field(default=1, ge=1, description="Minimum number of occurrences of a word in the vocabulary.")
    unknown_token: bool = Field(
        default=False,
        description="Map unknown characters to a token instead of refusing them; unknown words always are.",
    )
    start_token: bool = Field(default=False, description="Start each document with a start token.")
    end_token: bool = Field(
        default=False, description="End each document with an end token, which ends a generated text."
    )
    lowercase: bool = Field(default=False, description="Convert text to lower case.")
    letters_only: bool = Field(default=False, description="Replace everything except letters by one space.")
    characters_max: int | None = Field(
        default=None, ge=2, description="Maximum number of characters to use, from the beginning. Default: all."
    )
    documents: bool = Field(
        default=False, description="Treat each file as a document: no state is carried from one to the next."
    )
    document_separator: str = Field(
        default="", description="Separator between the documents of a file; the state is reset there too."
    )
    batch_size: int = Field(default=64, ge=1, description="Number of streams that the text is split into.")
    window: int = Field(default=64, ge=1, description="Number of steps between the borders where gradients may stop.")
    truncation: Truncation = Field(
        default=Truncation.REGULAR,
        description="Where gradients stop: at the border of every window, of some, or at the start of a stream.",
    )
    cut: float = Field(
        default=0.5, gt=0, le=1, description="Probability that gradients stop at a border, with random truncation."
    )
    validation_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Last fraction of the text or the documents, for validation. Default: 0.1 if no --validation.",
    )
    tied_weights: bool = Field(
        default=False, description="Use the embeddings as output weights; requires embedding_size equal to hidden_size."
    )
    state_reset: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Probability that a stream is reset to the initial state at a window.",
    )
    bidirectional: bool = Field(
        default=False, description="Refused: a language model can't read the text that it generates."
    )

    @model_validator(mode="after")
    def _one_source_of_validation(self) -> "LanguageModelConfig":
        if self.validation and self.validation_fraction is not None:
            raise ValueError("validation and validation_fraction exclude each other: give one of them")
        return self

    @model_validator(mode="after")
    def _a_border_to_cut(self) -> "LanguageModelConfig":
        refuse_idle(self, Only("cut", "truncation", (Truncation.RANDOM,)))
        return self

    @model_validator(mode="after")
    def _one_direction(self) -> "LanguageModelConfig":
        if self.bidirectional:
            raise ValueError(
                "a language model cannot be bidirectional: in training the backward direction reads the token to"
                " predict, so the model learns to copy it; in generation there is nothing to copy, and the model writes"
                " 'time travellerererer'. To fill blanks with text on both sides, use infilling"
            )
        return self

    @model_validator(mode="after")
    def _widths_of_tied_weights(self) -> "LanguageModelConfig":
        if self.tied_weights and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tied_weights: embedding_size {self.embedding_size} must equal hidden_size, {self.hidden_size}"
            )
        return self

    @model_validator(mode="after")
    def _vocabulary_holds_bytes(self) -> "LanguageModelConfig":
        if self.level is TextLevel.BPE and self.vocabulary_max < BYTES + self.start_token + self.end_token:
            raise ValueError(
                f"vocabulary_max: pieces consist of bytes, so bpe needs at least {BYTES} plus the special tokens"
            )
        return self
