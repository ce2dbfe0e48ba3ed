"""The configuration of a classifier."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle
from seqserve.training.config.words import WordsConfig


class Pooling(StrEnum):
    """How the steps of a sequence become one vector."""

    LAST = "last"
    MEAN = "mean"
    MAX = "max"
    ATTENTION = "attention"


class ClassifierConfig(WordsConfig, frozen=True):
    """A classifier of texts: one label for each, or several that hold or not, each for itself."""

    FIGURES: ClassVar = ("loss", "accuracy", "label_precision", "label_recall", "label_f1")

    hidden_size: int = Field(default=128, ge=1, description="Units of each layer and direction.")
    embedding_size: int = Field(default=100, ge=1, description="Width of a token's embedding.")
    pooling: Pooling = Field(default=Pooling.MAX, description="How the steps of a text become one vector.")
    multiple: bool = Field(default=False, description="A text may have several labels, or none.")
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="With several labels: probability from which one holds."
    )
    text_column: str = Field(
        default="text", description="Column of the texts: a name, a JSON key, or a number in files without names."
    )
    label_column: str = Field(default="label", description="Column of the labels, likewise.")
    label_separator: str = Field(
        default=",", min_length=1, description="With several labels: what stands between them."
    )
    validation_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="Part of the texts to validate on. Default: 0.1 without --validation."
    )
    test_fraction: float = Field(default=0.0, ge=0, lt=1, description="Part of the texts to leave for a test, unread.")
    split_seed: int = Field(default=0, ge=0, description="Seed by which the texts are drawn for each part.")

    @model_validator(mode="after")
    def _one_source_of_validation(self) -> "ClassifierConfig":
        if self.validation and self.validation_fraction is not None:
            raise ValueError("validation and validation_fraction exclude each other: give one of them")
        if not self.validation and (self.validation_fraction or 0.1) + self.test_fraction >= 1:
            raise ValueError("validation_fraction and test_fraction leave nothing to train on")
        return self

    @model_validator(mode="after")
    def _several_labels(self) -> "ClassifierConfig":
        refuse_idle(self, Only("threshold", "multiple", (True,)), Only("label_separator", "multiple", (True,)))
        if self.best_metric.startswith("label_") and not self.multiple:
            raise ValueError(f"best_metric {self.best_metric} is counted with multiple alone; accuracy is there always")
        return self
