"""How a network is trained, whatever it is and whatever it learns: steps, rates, limits, and where it all runs."""

from enum import StrEnum

from pydantic import BaseModel, Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle


class OptimizerKind(StrEnum):
    """Rules by which a gradient changes the weights."""

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"
    RMSPROP = "rmsprop"


class ScheduleKind(StrEnum):
    """What becomes of the learning rate after the warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"
    STEP = "step"
    PLATEAU = "plateau"


class DeviceKind(StrEnum):
    """Where the network lives; ``auto`` is CUDA where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """Numbers of the forward pass; weights and their changes are float32 always. int8 is for the servable alone."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class OptimisationConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a network is trained, whatever it is and whatever it learns."""

    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of everything that is random.")
    device: DeviceKind = Field(default=DeviceKind.AUTO, description="Where to train; auto: CUDA where there is one.")
    precision: Precision = Field(
        default=Precision.FP32,
        description="Numbers of the forward pass; bf16 and fp16 need CUDA. int8: train in fp32, serve in int8.",
    )
    threads: int | None = Field(default=None, ge=1, description="Threads of torch; default: torch's own choice.")
    epochs: int = Field(default=10, ge=1, description="Passes over the training data.")
    optimizer: OptimizerKind = Field(default=OptimizerKind.ADAMW, description="Rule by which weights are changed.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Highest learning rate.")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="Momentum of sgd and rmsprop.")
    nesterov: bool = Field(default=False, description="Nesterov's form of sgd's momentum.")
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay of matrices (decoupled in adamw); never of embeddings and biases."
    )
    schedule: ScheduleKind = Field(
        default=ScheduleKind.COSINE,
        description="Learning rate after the warm-up: cosine and linear fall to 0; step and plateau are multiplied.",
    )
    warmup: float = Field(default=0.02, ge=0, lt=1, description="Part of all steps in which the rate rises from 0.")
    decay_factor: float = Field(default=0.5, gt=0, lt=1, description="What step and plateau multiply the rate by.")
    decay_epochs: int = Field(
        default=5, ge=1, description="Epochs between two decays (step), or without a better validation (plateau)."
    )
    clip_norm: float = Field(
        default=1.0, ge=0, description="Gradients with a greater norm are scaled down to it; 0 does not clip."
    )
    clip_value: float | None = Field(
        default=None, gt=0, description="Elements of gradients are cut to at most this, before the norm is taken."
    )
    accumulate: int = Field(default=1, ge=1, description="Batches whose gradients make one step.")
    average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights, which is validated and kept in their place; 0: none.",
    )
    best_metric: str = Field(default="loss", description="Figure that says which network is the best.")
    validate_epochs: int = Field(default=1, ge=1, description="Epochs from one validation to the next.")
    patience: int | None = Field(
        default=None, ge=1, description="Validations without a better one after which training ends."
    )
    checkpoint_every: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints to resume from, besides those at validations."
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
            raise ValueError("nesterov is a form of momentum: give a momentum above 0")
        return self
