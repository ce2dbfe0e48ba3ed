"""Configuration of classifiers."""

from enum import StrEnum
from typing import ClassVar

from pydantic import Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle
from seqserve.training.config.words import WordsConfig


class Pooling(StrEnum):
    """Reduction of the steps of a sequence to one vector."""

    LAST = "last"
    MEAN = "mean"
    MAX = "max"
    ATTENTION = "attention"


class ClassifierConfig(WordsConfig, frozen=True):
    """Configuration of a text classifier with one label per text, or several independent ones."""

    FIGURES: ClassVar = ("loss", "accuracy", "label_precision", "label_recall", "label_f1")

    hidden_size: int = Field(default=128, ge=1, description="Number of units per layer and direction.")
    embedding_size: int = Field(default=100, ge=1, description="Width of the token embeddings.")
    pooling: Pooling = Field(default=Pooling.MAX, description="How to reduce the steps of a text to one vector.")
    multiple: bool = Field(default=False, description="Allow several labels, or none, per text.")
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="With multiple: minimum probability of a predicted label."
    )
    text_column: str = Field(
        default="text", description="Column of the texts: a name, a JSON key, or a number in files without a header."
    )
    label_column: str = Field(default="label", description="Column of the labels: as for text_column.")
    label_separator: str = Field(
        default=",", min_length=1, description="With multiple: separator between the labels of a text."
    )
    validation_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="Fraction of the texts for validation. Default: 0.1 without --validation."
    )
    test_fraction: float = Field(default=0.0, ge=0, lt=1, description="Fraction of the texts to reserve for a test.")
    split_seed: int = Field(default=0, ge=0, description="Seed for the split of the texts.")

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
            raise ValueError(
                f"best_metric {self.best_metric} is computed only with multiple; use accuracy, or add multiple"
            )
        return self
