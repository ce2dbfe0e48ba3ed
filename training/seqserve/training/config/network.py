"""Configuration of the recurrent network, for all tasks."""

from enum import StrEnum

from pydantic import BaseModel, Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle


class CellKind(StrEnum):
    """Recurrent cells that can be trained and exported. For their formulas, see docs/cells.md."""

    RNN = "rnn"
    RNN_RELU = "rnn_relu"
    LSTM = "lstm"
    LSTM_PEEPHOLE = "lstm_peephole"
    LSTM_COUPLED = "lstm_coupled"
    GRU = "gru"
    GRU_RESET_BEFORE = "gru_reset_before"
    GRU_UPDATE_ONLY = "gru_update_only"
    MGU = "mgu"
    SRU = "sru"
    LEAKY = "leaky"


class InputWeights(StrEnum):
    """Initialization of the input weights."""

    XAVIER = "xavier"
    UNIFORM = "uniform"


class RecurrentWeights(StrEnum):
    """Initialization of the recurrent weights."""

    ORTHOGONAL = "orthogonal"
    UNIFORM = "uniform"


class Biases(StrEnum):
    """Initialization of the biases."""

    ZERO = "zero"
    UNIFORM = "uniform"


UNGATED = (CellKind.RNN, CellKind.RNN_RELU)
UNBOUNDED = {
    CellKind.RNN_RELU: "a rectifier is unbounded",
    CellKind.SRU: "its output contains the input unchanged, which is unbounded",
}
"""Cells with an unbounded output, and the reason."""


class NetworkConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Configuration of the recurrent layers and their input.

    The defaults of torch are uniform ``input_weights``, ``recurrent_weights``, and ``biases``, and ``forget_bias`` 0.
    """

    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Fraction of the activations to drop around and between layers."
    )
    cell: CellKind = Field(default=CellKind.LSTM, description="Recurrent cell.")
    layers: int = Field(default=1, ge=1, description="Number of recurrent layers.")
    hidden_size: int = Field(default=256, ge=1, description="Number of units per layer and direction.")
    embedding_size: int = Field(default=32, ge=1, description="Width of the token embeddings.")
    residual: bool = Field(default=False, description="Add the input of each layer above the first to its output.")
    learned_initial_state: bool = Field(default=False, description="Learn the initial state of sequences.")
    forget_bias: float = Field(default=1.0, description="Initial bias of the forget gate of LSTM cells.")
    chrono_span: int | None = Field(
        default=None,
        ge=2,
        description="Longest expected dependency, in steps; initializes the biases of the gates accordingly.",
    )
    input_weights: InputWeights = Field(
        default=InputWeights.XAVIER,
        description="Initial input weights: Xavier uniform, or uniform within 1/sqrt(hidden_size).",
    )
    recurrent_weights: RecurrentWeights = Field(
        default=RecurrentWeights.ORTHOGONAL,
        description="Initial recurrent weights: orthogonal per gate, or uniform within 1/sqrt(hidden_size).",
    )
    biases: Biases = Field(
        default=Biases.ZERO, description="Initial biases: zero, or uniform within 1/sqrt(hidden_size)."
    )
    leak: float = Field(
        default=0.5, gt=0, lt=1, description="Fraction of the state that leaky units keep at each step."
    )
    learned_leak: bool = Field(default=False, description="Learn the leak of each leaky unit, starting from --leak.")

    @model_validator(mode="after")
    def _a_gate_for_the_span(self) -> "NetworkConfig":
        if self.chrono_span is not None and self.cell in UNGATED:
            raise ValueError(f"chrono_span biases gates, and {self.cell} has none: leave it out or choose another cell")
        return self

    @model_validator(mode="after")
    def _a_unit_that_leaks(self) -> "NetworkConfig":
        leaky = (CellKind.LEAKY,)
        refuse_idle(self, Only("leak", "cell", leaky), Only("learned_leak", "cell", leaky))
        return self
