"""Configuration of the optimization, for all tasks: steps, rates, limits, and device."""

from enum import StrEnum

from pydantic import BaseModel, Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle


class OptimizerKind(StrEnum):
    """Optimizers."""

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"
    RMSPROP = "rmsprop"


class ScheduleKind(StrEnum):
    """Schedules of the learning rate after the warmup."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"
    STEP = "step"
    PLATEAU = "plateau"


class DeviceKind(StrEnum):
    """Device of the network; ``auto`` is CUDA if available."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """Precision of the forward pass. Weights and their updates are always float32; int8 affects only the servable."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class OptimisationConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Configuration of the optimization."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of all random numbers.")
    device: DeviceKind = Field(default=DeviceKind.AUTO, description="Device; auto: CUDA if available.")
    precision: Precision = Field(
        default=Precision.FP32,
        description="Precision of the forward pass; bf16 and fp16 require CUDA. int8: train in fp32, serve in int8.",
    )
    threads: int | None = Field(default=None, ge=1, description="Number of torch threads. Default: torch decides.")
    epochs: int = Field(default=10, ge=1, description="Number of passes over the training data.")
    optimizer: OptimizerKind = Field(default=OptimizerKind.ADAMW, description="Optimizer.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Maximum learning rate.")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="Momentum of sgd and rmsprop.")
    nesterov: bool = Field(default=False, description="Use Nesterov momentum with sgd.")
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of matrices (decoupled in adamw); never of embeddings and biases."
    )
    schedule: ScheduleKind = Field(
        default=ScheduleKind.COSINE,
        description="Schedule after the warmup: cosine, linear decay to 0; step, plateau multiply by decay_factor.",
    )
    warmup: float = Field(default=0.02, ge=0, lt=1, description="Fraction of all steps in which the rate rises from 0.")
    decay_factor: float = Field(
        default=0.5, gt=0, lt=1, description="Factor by which step and plateau multiply the rate."
    )
    decay_epochs: int = Field(
        default=5, ge=1, description="Number of epochs between decays (step), or without a better validation (plateau)."
    )
    clip_norm: float = Field(
        default=1.0, ge=0, description="Maximum norm of the gradients; larger ones are scaled down. 0: no clipping."
    )
    clip_value: float | None = Field(
        default=None, gt=0, description="Maximum absolute value of gradient elements, applied before the norm."
    )
    accumulate: int = Field(default=1, ge=1, description="Number of batches per step.")
    average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights, which is validated and saved instead of them. 0: none.",
    )
    best_metric: str = Field(default="loss", description="Metric that selects the best network.")
    validate_epochs: int = Field(default=1, ge=1, description="Number of epochs between validations.")
    patience: int | None = Field(
        default=None, ge=1, description="Number of validations without improvement after which training ends."
    )
    checkpoint_every: int | None = Field(
        default=None,
        ge=1,
        description="Number of steps between checkpoints for --resume, in addition to those at validations.",
    )

    @model_validator(mode="after")
    def _nothing_is_idle(self) -> "OptimisationConfig":
        falling = (ScheduleKind.STEP, ScheduleKind.PLATEAU)
        refuse_idle(
            self,
            Only("momentum", "optimizer", (OptimizerKind.SGD, OptimizerKind.RMSPROP)),
            Only("nesterov", "optimizer", (OptimizerKind.SGD,)),
            Only("decay_factor", "schedule", falling),
            Only("decay_epochs", "schedule", falling),
        )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov requires momentum: set momentum above 0")
        return self
