"""The configuration of a tagger."""

from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle
from seqserve.training.config.words import ReadingLevel, WordsConfig


class TagColumn(StrEnum):
    """Columns of CoNLL-U that can be learned as tags."""

    UPOS = "upos"
    XPOS = "xpos"


class TaggerConfig(WordsConfig, frozen=True):
    """A tagger: a label for each word or character, each on its own or the whole row of them with a CRF."""

    FIGURES: ClassVar = ("loss", "accuracy", "span_precision", "span_recall", "span_f1")

    validation: tuple[Path, ...] = Field(min_length=1, description="Files to validate on; required.")
    column: TagColumn = Field(default=TagColumn.UPOS, description="Column of CoNLL-U to learn.")
    word_column: int | None = Field(
        default=None, ge=1, description="Column of the words in other files. Default: as the ending of the name says."
    )
    tag_column: int | None = Field(
        default=None, ge=1, description="Column of the tags in other files. Default: as the ending of the name says."
    )
    repair: bool = Field(default=False, description="Correct tags that break their scheme instead of refusing them.")
    hidden_size: int = Field(default=112, ge=1, description="Units of each layer and direction.")
    spelling: bool = Field(default=True, description="Also read the bytes of each word; not of characters.")
    crf: bool = Field(default=False, description="Score rows of labels with a linear-chain CRF, decode with Viterbi.")
    constraints: bool = Field(
        default=False, description="With a CRF: labels of spans may only follow one another as their scheme says."
    )

    mention_replacement: float = Field(
        default=0.0, ge=0, le=1, description="Part of the spans trained with another of their kind in their place."
    )
    word_edges: float = Field(
        default=0.0, ge=0, description="Of characters: weight of also learning where words begin and end; 0 is none."
    )

    @model_validator(mode="after")
    def _of_use(self) -> "TaggerConfig":
        refuse_idle(self, Only("constraints", "crf", (True,)))
        if self.label_smoothing and self.crf:
            raise ValueError("label_smoothing is of labels on their own: leave it out with a CRF")
        refuse_idle(self, Only("word_edges", "level", (ReadingLevel.CHARACTER,)))
        return self
