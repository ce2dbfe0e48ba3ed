"""Configuration of taggers."""

from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle
from seqserve.training.config.words import ReadingLevel, WordsConfig


class TagColumn(StrEnum):
    """Columns of CoNLL-U that can be the tags."""

    UPOS = "upos"
    XPOS = "xpos"


class TaggerConfig(WordsConfig, frozen=True):
    """Configuration of a tagger: labels for words or characters, independent or, with a CRF, joint."""

    FIGURES: ClassVar = ("loss", "accuracy", "span_precision", "span_recall", "span_f1")

    validation: tuple[Path, ...] = Field(min_length=1, description="Files for validation. Required.")
    column: TagColumn = Field(default=TagColumn.UPOS, description="Column of CoNLL-U with the tags.")
    word_column: int | None = Field(
        default=None, ge=1, description="Column of the words in other files. Default: by the file suffix."
    )
    tag_column: int | None = Field(
        default=None, ge=1, description="Column of the tags in other files. Default: by the file suffix."
    )
    repair: bool = Field(default=False, description="Correct tags that violate their scheme instead of refusing them.")
    hidden_size: int = Field(default=112, ge=1, description="Number of units per layer and direction.")
    spelling: bool = Field(
        default=True, description="Use the bytes of each word as features; not for character tokens."
    )
    crf: bool = Field(
        default=False, description="Score label sequences with a linear-chain CRF, and decode with Viterbi."
    )
    constraints: bool = Field(
        default=False, description="With a CRF: allow only the label transitions of the span scheme."
    )

    mention_replacement: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Fraction of the spans to replace in training by another span with the same label.",
    )
    word_edges: float = Field(
        default=0.0,
        ge=0,
        description="For character tokens: weight of the auxiliary loss for word boundaries. 0: none.",
    )

    @model_validator(mode="after")
    def _of_use(self) -> "TaggerConfig":
        refuse_idle(self, Only("constraints", "crf", (True,)))
        if self.label_smoothing and self.crf:
            raise ValueError("label_smoothing applies only to independent labels: leave it out with a CRF")
        refuse_idle(self, Only("word_edges", "level", (ReadingLevel.CHARACTER,)))
        return self
