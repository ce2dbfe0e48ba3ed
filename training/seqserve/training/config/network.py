"""What a recurrent network is made of, whatever it learns."""

from enum import StrEnum

from pydantic import BaseModel, Field


class CellKind(StrEnum):
    """Recurrent cells that can be trained and exported."""

    LSTM = "lstm"
    GRU = "gru"


class NetworkConfig(BaseModel, frozen=True, extra="forbid"):
    """The recurrent layers and what goes into them."""

    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Part of activations dropped around and between layers."
    )
    cell: CellKind = Field(default=CellKind.LSTM, description="Recurrent cell.")
    layers: int = Field(default=1, ge=1, description="Recurrent layers.")
    hidden_size: int = Field(default=256, ge=1, description="Units of each layer and direction.")
    embedding_size: int = Field(default=32, ge=1, description="Width of a token's embedding.")
