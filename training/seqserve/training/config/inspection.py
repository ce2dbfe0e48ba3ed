"""Configuration of the data inspection before a training."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field

from seqserve.training.config.tagger import TagColumn
from seqserve.training.config.words import ReadingLevel


class DataKind(StrEnum):
    """Content of data files."""

    TEXT = "text"
    TAGGED = "tagged"
    LABELLED = "labelled"


class InspectionConfig(BaseModel, frozen=True, extra="forbid"):
    """Configuration of a data inspection: files, and how to read them."""

    data: tuple[Path, ...] = Field(min_length=1, description="Files, directories, or patterns for training.")
    validation: tuple[Path, ...] = Field(default=(), description="Files, directories, or patterns for validation.")
    kind: DataKind | None = Field(default=None, description="Content of the files. Default: by their suffixes.")
    level: ReadingLevel = Field(default=ReadingLevel.WORD, description="Unit of a token.")
    encoding: str = Field(default="utf-8", description="Encoding of the data files.")
    vocabulary_max: int = Field(default=10_000, ge=1, description="Maximum size of the vocabulary.")
    count_min: int = Field(default=1, ge=1, description="Minimum number of occurrences of a token in the vocabulary.")
    lowercase: bool = Field(default=False, description="Convert text to lower case.")
    letters_only: bool = Field(default=False, description="For text: replace everything except letters by one space.")
    documents: bool = Field(default=False, description="For text: treat each file as a document.")
    document_separator: str = Field(default="", description="For text: separator between documents.")
    column: TagColumn = Field(default=TagColumn.UPOS, description="For CoNLL-U: column of the tags.")
    word_column: int | None = Field(default=None, ge=1, description="For other column formats: column of the words.")
    tag_column: int | None = Field(default=None, ge=1, description="For other column formats: column of the tags.")
    text_column: str = Field(default="text", description="For labeled texts: column of the texts, by name or number.")
    label_column: str = Field(
        default="label", description="For labeled texts: column of the labels, by name or number."
    )
    label_separator: str = Field(default="", description="Separator between the labels of a text.")
