"""What every task needs to know: data, optimisation, and what is written about the result.

A field's name is its flag (``hidden_size`` is ``--hidden-size``), its description is the flag's help, and the whole is
saved in the checkpoint and in the manifest.
"""

from pathlib import Path

from pydantic import Field

from seqserve.training.config.network import NetworkConfig


class TrainingConfig(NetworkConfig, frozen=True):
    """What every task needs to know: data, optimisation, and what is written about the result."""

    data: tuple[Path, ...] = Field(min_length=1, description="Files to train on; those named .gz are decompressed.")
    validation: tuple[Path, ...] = Field(default=(), description="Files to validate on.")
    data_name: str = Field(default="", description="Name of the data, as people know it; default: the file names.")
    data_license: str = Field(default="", description="Licence of the data, as an SPDX expression.")
    license: str = Field(default="", description="Licence of the trained weights, as an SPDX expression.")
    description: str = Field(default="", description="What the model is for, in a sentence.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything that is random.")
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; default: torch's own choice.")
    epochs: int = Field(default=10, ge=1, description="Passes over the training data.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Highest learning rate of AdamW.")
    warmup: float = Field(default=0.02, ge=0, lt=1, description="Part of all steps in which the rate rises from 0.")
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay of AdamW.")
    clip_norm: float = Field(default=1.0, gt=0, description="Gradients with a greater norm are scaled down to it.")
