"""The configuration of a language model."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle
from seqserve.training.config.training import TrainingConfig

BYTES = 256


class TextLevel(StrEnum):
    """What one token of a text is."""

    CHARACTER = "character"
    BYTE = "byte"
    WORD = "word"
    BPE = "bpe"


class Truncation(StrEnum):
    """Where gradients stop on their way back through time."""

    REGULAR = "regular"
    RANDOM = "random"
    FULL = "full"


class LanguageModelConfig(TrainingConfig, frozen=True):
    """A language model, trained by truncated backpropagation through time with carried state."""

    FIGURES: ClassVar = ("loss", "perplexity", "bits_per_character")

    level: TextLevel = Field(
        default=TextLevel.CHARACTER, description="What one token is; bpe: pieces of words, by byte-pair encoding."
    )
    vocabulary_max: int = Field(
        default=10_000, ge=3, description="Most tokens in the vocabulary of words or pieces, special ones included."
    )
    count_min: int = Field(default=1, ge=1, description="Occurrences from which a word is in the vocabulary.")
    unknown_token: bool = Field(
        default=False, description="Map unseen characters to a token instead of refusing them; words always do."
    )
    start_token: bool = Field(default=False, description="Begin each document with a token of its own.")
    end_token: bool = Field(default=False, description="End each document with a token of its own, which ends a text.")
    lowercase: bool = Field(default=False, description="Read text in lower case.")
    letters_only: bool = Field(default=False, description="Read everything that is no letter as one space.")
    characters_max: int | None = Field(
        default=None, ge=2, description="Characters of the data that are used, from the beginning. Default: all."
    )
    documents: bool = Field(
        default=False, description="Each file is a document of its own: no state is carried from one to the next."
    )
    document_separator: str = Field(
        default="", description="What stands between the documents of a file; the state ends there too."
    )
    batch_size: int = Field(default=64, ge=1, description="Streams that the text is cut into.")
    window: int = Field(default=64, ge=1, description="Steps that gradients go back, or of one border to the next.")
    truncation: Truncation = Field(
        default=Truncation.REGULAR,
        description="Where gradients stop: at every window's border, at some, or where streams begin.",
    )
    cut: float = Field(
        default=0.5, gt=0, le=1, description="Probability that gradients stop at a border of random truncation."
    )
    validation_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Last part of the text, or of the documents, to validate on. Default: 0.1 without --validation.",
    )
    tied_weights: bool = Field(
        default=False, description="Score tokens with the weights of their embeddings, which are as wide as the layers."
    )
    state_reset: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Probability that a stream starts from the initial state at a window.",
    )
    bidirectional: bool = Field(default=False, description="Refused: what is to be written cannot be read first.")

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
                "a language model cannot be bidirectional: in training the backward direction has read the very token"
                " that is to be predicted, so the model learns to copy it; when it writes there is nothing to copy, and"
                " 'time travellerererer' comes out. For blanks with text on both sides there is infilling"
            )
        return self

    @model_validator(mode="after")
    def _widths_of_tied_weights(self) -> "LanguageModelConfig":
        if self.tied_weights and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tied_weights: embedding_size {self.embedding_size} has to be hidden_size, {self.hidden_size}"
            )
        return self

    @model_validator(mode="after")
    def _vocabulary_holds_bytes(self) -> "LanguageModelConfig":
        if self.level is TextLevel.BPE and self.vocabulary_max < BYTES + self.start_token + self.end_token:
            raise ValueError(
                f"vocabulary_max: pieces are made of bytes, so bpe needs at least {BYTES} and the specials"
            )
        return self
