"""What every task needs to know: network, optimisation, data, and what is written about the result.

A field's name is its flag (``hidden_size`` is ``--hidden-size``), its description is the flag's help, and the whole is
saved in the checkpoint and in the manifest.
"""

import codecs
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from seqserve.training.config.network import UNBOUNDED, NetworkConfig
from seqserve.training.config.optimisation import OptimisationConfig, Precision


class TrainingConfig(NetworkConfig, OptimisationConfig, frozen=True):
    """What every task needs to know: network, optimisation, data, and what is written about the result."""

    FIGURES: ClassVar[tuple[str, ...]] = ("loss",)
    """What validations give, of which one decides."""

    data: tuple[Path, ...] = Field(
        min_length=1,
        description="Files, directories or patterns to train on; files named .gz are decompressed.",
    )
    validation: tuple[Path, ...] = Field(default=(), description="Files, directories or patterns to validate on.")
    encoding: str = Field(default="utf-8", description="Encoding of the data files.")
    batch_size: int = Field(default=32, ge=1, description="Rows of a batch.")
    data_name: str = Field(default="", description="Name of the data, as people know it; default: the file names.")
    data_license: str = Field(default="", description="Licence of the data, as an SPDX expression.")
    license: str = Field(default="", description="Licence of the trained weights, as an SPDX expression.")
    description: str = Field(default="", description="What the model is for, in a sentence.")

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
            raise ValueError(f"this task has {', '.join(cls.FIGURES)}")
        return name

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        try:
            return codecs.lookup(name).name
        except LookupError as error:
            raise ValueError("no such encoding; utf-8, latin-1 and cp1252 are some that there are") from error
