"""What a recurrent network is made of, whatever it learns."""

from enum import StrEnum

from pydantic import BaseModel, Field, model_validator

from seqserve.training.config.idle import Only, refuse_idle


class CellKind(StrEnum):
    """Recurrent cells that can be trained and exported; docs/cells.md has their formulas."""

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
    """How weights of a layer's input are drawn at first."""

    XAVIER = "xavier"
    UNIFORM = "uniform"


class RecurrentWeights(StrEnum):
    """How weights of a layer's own state are drawn at first."""

    ORTHOGONAL = "orthogonal"
    UNIFORM = "uniform"


class Biases(StrEnum):
    """How biases are drawn at first."""

    ZERO = "zero"
    UNIFORM = "uniform"


UNGATED = (CellKind.RNN, CellKind.RNN_RELU)
UNBOUNDED = {
    CellKind.RNN_RELU: "a rectifier has no greatest value",
    CellKind.SRU: "its output takes in the input as it is, and has no product of the state",
}
"""Cells whose output may have any size, and why."""


class NetworkConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The recurrent layers and what goes into them.

    Uniform ``input_weights``, ``recurrent_weights`` and ``biases``, and a ``forget_bias`` of 0: torch's defaults.
    """

    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Part of activations dropped around and between layers."
    )
    cell: CellKind = Field(default=CellKind.LSTM, description="Recurrent cell.")
    layers: int = Field(default=1, ge=1, description="Recurrent layers.")
    hidden_size: int = Field(default=256, ge=1, description="Units of each layer and direction.")
    embedding_size: int = Field(default=32, ge=1, description="Width of a token's embedding.")
    residual: bool = Field(default=False, description="Add the input of each layer above the first to its output.")
    learned_initial_state: bool = Field(default=False, description="Learn the state that sequences start from.")
    forget_bias: float = Field(default=1.0, description="First bias of the forget gate of LSTM cells.")
    chrono_span: int | None = Field(
        default=None, ge=2, description="Longest dependency expected, in steps: gates are biased to remember so long."
    )
    input_weights: InputWeights = Field(
        default=InputWeights.XAVIER,
        description="First weights of inputs: Xavier's uniform, or uniform within 1/sqrt(hidden_size).",
    )
    recurrent_weights: RecurrentWeights = Field(
        default=RecurrentWeights.ORTHOGONAL,
        description="First weights of states: orthogonal for each gate, or uniform within 1/sqrt(hidden_size).",
    )
    biases: Biases = Field(
        default=Biases.ZERO, description="First biases: zero, or uniform within 1/sqrt(hidden_size)."
    )
    leak: float = Field(default=0.5, gt=0, lt=1, description="Part of the state that leaky units keep at each step.")
    learned_leak: bool = Field(default=False, description="Learn the leak of each leaky unit, from --leak on.")

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
