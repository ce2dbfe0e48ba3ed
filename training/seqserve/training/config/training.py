"""Configuration that all tasks share: network, optimization, data, and metadata of the result.

The name of a field is its flag (``hidden_size`` is ``--hidden-size``), and its description is the help text. The
checkpoint and the manifest contain the complete configuration.
"""

import codecs
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from seqserve.training.config.network import UNBOUNDED, NetworkConfig
from seqserve.training.config.optimisation import OptimisationConfig, Precision


class TrainingConfig(NetworkConfig, OptimisationConfig, frozen=True):
    """Configuration that all tasks share."""

    FIGURES: ClassVar[tuple[str, ...]] = ("loss",)
    """Metrics of a validation; best_metric is one of them."""

    data: tuple[Path, ...] = Field(
        min_length=1,
        description="Files, directories, or patterns for training; .gz files are decompressed.",
    )
    validation: tuple[Path, ...] = Field(default=(), description="Files, directories, or patterns for validation.")
    encoding: str = Field(default="utf-8", description="Encoding of the data files.")
    batch_size: int = Field(default=32, ge=1, description="Number of sequences per batch.")
    data_name: str = Field(default="", description="Common name of the data. Default: the file names.")
    data_license: str = Field(default="", description="License of the data, as an SPDX expression.")
    license: str = Field(default="", description="License of the trained weights, as an SPDX expression.")
    description: str = Field(default="", description="Purpose of the model, in one sentence.")

    @model_validator(mode="after")
    def _bounded_for_int8(self) -> "TrainingConfig":
        if self.precision is Precision.INT8 and self.cell in UNBOUNDED:
            raise ValueError(
                f"precision int8 needs hidden states of a fixed range, and {self.cell} has none:"
                f" {UNBOUNDED[self.cell]}; choose another cell, or fp32"
            )
        return self

    @field_validator("best_metric")
    @classmethod
    def _known_figure(cls, name: str) -> str:
        if name not in cls.FIGURES:
            raise ValueError(f"must be one of {', '.join(cls.FIGURES)}")
        return name

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError as error:
            raise ValueError(f"unknown encoding {name!r}; examples: utf-8, latin-1, cp1252") from error
