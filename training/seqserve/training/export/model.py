"""What every exported model is made of: the graph, and the specification of its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from seqserve.training.config import CellKind
from seqserve.training.layers import RecurrentStack
from seqserve.training.runner import STATE_OUTPUT_SUFFIX, Runner
from seqserve.training.tensors import array
from seqserve.v1 import manifest_pb2, state_pb2

CELLS = {
    CellKind.RNN: manifest_pb2.CELL_RNN_TANH,
    CellKind.RNN_RELU: manifest_pb2.CELL_RNN_RELU,
    CellKind.LSTM: manifest_pb2.CELL_LSTM,
    CellKind.LSTM_PEEPHOLE: manifest_pb2.CELL_LSTM_PEEPHOLE,
    CellKind.LSTM_COUPLED: manifest_pb2.CELL_LSTM_COUPLED,
    CellKind.GRU: manifest_pb2.CELL_GRU,
    CellKind.GRU_RESET_BEFORE: manifest_pb2.CELL_GRU_RESET_BEFORE,
    CellKind.GRU_UPDATE_ONLY: manifest_pb2.CELL_GRU_UPDATE_ONLY,
    CellKind.MGU: manifest_pb2.CELL_MGU,
    CellKind.SRU: manifest_pb2.CELL_SRU,
    CellKind.LEAKY: manifest_pb2.CELL_LEAKY,
}
INTEGER_ROLES = (
    manifest_pb2.TENSOR_ROLE_TOKENS,
    manifest_pb2.TENSOR_ROLE_LENGTHS,
    manifest_pb2.TENSOR_ROLE_WORD_BYTES,
    manifest_pb2.TENSOR_ROLE_WORD_LENGTHS,
    manifest_pb2.TENSOR_ROLE_CARRY_LENGTHS,
)


@dataclass(frozen=True)
class ExportedModel:
    """A graph and its tensors; the state's tensors in the order of the graph, none if it carries no state."""

    graph: bytes
    inputs: tuple[manifest_pb2.TensorSpec, ...]
    outputs: tuple[manifest_pb2.TensorSpec, ...]
    states: tuple[manifest_pb2.StateSpec, ...]


class TorchRunner(Runner, Protocol):
    """A runner of a network in torch, whatever its precision."""

    @property
    def network(self) -> nn.Module:
        """The network."""
        ...


@dataclass(frozen=True)
class Exportable:
    """A checkpoint on its way to a servable.

    Attributes:
        model: the graph and its tensors.
        reference: the trained network in torch.
        manifest: what only the task knows of the manifest: task, network, vocabulary, labels, limits, generation.
    """

    model: ExportedModel
    reference: TorchRunner
    manifest: manifest_pb2.Manifest


def tensor_spec(name: str, role: manifest_pb2.TensorRole, axes: Sequence[str]) -> manifest_pb2.TensorSpec:
    """Specification of an input or output; its role decides the element type."""
    element_type = state_pb2.ELEMENT_TYPE_INT32 if role in INTEGER_ROLES else state_pb2.ELEMENT_TYPE_FLOAT32
    return manifest_pb2.TensorSpec(name=name, role=role, element_type=element_type, axes=axes)


def state_specs(stack: RecurrentStack) -> tuple[manifest_pb2.StateSpec, ...]:
    """Specification of the state's tensors that a stack carries, its forward ones, and what they start from."""
    return tuple(
        manifest_pb2.StateSpec(
            name=name,
            input=name,
            output=name + STATE_OUTPUT_SUFFIX,
            element_type=state_pb2.ELEMENT_TYPE_FLOAT32,
            directions=1,
            size=stack.hidden_size,
            initial_values=array(stack.initial[name])[0].tolist() if stack.initial else (),
        )
        for name in stack.state_names
    )


def network_record(stack: RecurrentStack, parameters: int, details: dict[str, str]) -> manifest_pb2.Network:
    """What the manifest says of a network around ``stack``."""
    return manifest_pb2.Network(
        cell=CELLS[stack.cell],
        layers=len(stack.layers),
        hidden_size=stack.hidden_size,
        bidirectional=stack.directions == 2,
        input_size=stack.input_size,
        parameters=parameters,
        details=details,
    )
