"""What is to be known of data before anything is trained on them."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field

from seqserve.training.config.tagger import TagColumn
from seqserve.training.config.words import ReadingLevel


class DataKind(StrEnum):
    """What data files hold."""

    TEXT = "text"
    TAGGED = "tagged"
    LABELLED = "labelled"


class InspectionConfig(BaseModel, frozen=True, extra="forbid"):
    """Which data to look at, and how they are read."""

    data: tuple[Path, ...] = Field(min_length=1, description="Files, directories or patterns to train on.")
    validation: tuple[Path, ...] = Field(default=(), description="Files, directories or patterns to validate on.")
    kind: DataKind | None = Field(default=None, description="What the files hold. Default: what their endings say.")
    level: ReadingLevel = Field(default=ReadingLevel.WORD, description="What one token is.")
    encoding: str = Field(default="utf-8", description="Encoding of the data files.")
    vocabulary_max: int = Field(default=10_000, ge=1, description="Most tokens that a model would know.")
    count_min: int = Field(default=1, ge=1, description="Occurrences from which it would know one.")
    lowercase: bool = Field(default=False, description="Look at text in lower case.")
    letters_only: bool = Field(default=False, description="Of text: what is no letter is one space.")
    documents: bool = Field(default=False, description="Of text: each file is a document.")
    document_separator: str = Field(default="", description="Of text: what stands between documents.")
    column: TagColumn = Field(default=TagColumn.UPOS, description="Of CoNLL-U: the column of tags.")
    word_column: int | None = Field(default=None, ge=1, description="Of other columns: where the words are.")
    tag_column: int | None = Field(default=None, ge=1, description="Of other columns: where the tags are.")
    text_column: str = Field(default="text", description="Of labelled texts: column, by name or number.")
    label_column: str = Field(default="label", description="Of labels: column, by name or number.")
    label_separator: str = Field(default="", description="Between several labels of a text.")
