"""Recurrent stacks with random weights: in torch, as a graph in ONNX Runtime, and in NumPy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx import TensorProto
from torch import nn

from seqserve.training.config import CellKind, NetworkConfig
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.layers import RecurrentStack
from seqserve.training.runner import GraphRunner

from . import reference
from .models import random_weights

Array = npt.NDArray[np.float32]
Lengths = npt.NDArray[np.int32]
States = dict[str, npt.NDArray[Any]]


@dataclass
class Stack:
    """One stack, three ways. Inputs float32 (T, B, I), lengths int32 (B), states by name (D, B, H) each."""

    torch: RecurrentStack
    graph: GraphRunner

    def in_torch(self, x: Array, lengths: Lengths, states: States) -> tuple[Array, States]:
        names = self.torch.state_names
        with torch.inference_mode():
            state = tuple(torch.from_numpy(states[name]) for name in names)
            y, finals = self.torch(torch.from_numpy(x), torch.from_numpy(lengths).long(), state)
        return y.numpy(), {name: final.numpy() for name, final in zip(names, finals, strict=True)}

    def in_onnx(self, x: Array, lengths: Lengths, states: States) -> tuple[Array, States]:
        """States in and out only for one direction."""
        given = states if self.torch.directions == 1 else {}
        outputs = self.graph({"tokens": x, "lengths": lengths, **given})
        return outputs["y"], {name: outputs[f"{name}_out"] for name in given}

    def in_numpy(self, x: Array, lengths: Lengths, states: States) -> tuple[npt.NDArray[np.float64], States]:
        return in_numpy(self.torch, x, lengths, states)

    def states(self, batch: int, generator: np.random.Generator) -> States:
        """Random states."""
        shape = (self.torch.directions, batch, self.torch.hidden_size)
        return {name: generator.uniform(-1, 1, shape).astype(np.float32) for name in self.torch.state_names}

    def initial(self, batch: int) -> States:
        """What rows start from."""
        initial = zip(self.torch.state_names, self.torch.initial_state(batch), strict=True)
        return {name: tensor.detach().numpy() for name, tensor in initial}


def a_stack(
    cell: CellKind,
    *,
    input_size: int = 5,
    hidden_size: int = 7,
    bidirectional: bool = False,
    seed: int = 0,
    scale: float = 0.5,
    **more: object,
) -> Stack:
    """With weights and biases uniform within ``scale``; ``more`` of NetworkConfig."""
    torch.manual_seed(seed)
    config = NetworkConfig.model_validate({"cell": cell, "hidden_size": hidden_size, "dropout": 0.0, **more})
    stack = RecurrentStack(config, input_size, bidirectional=bidirectional).eval()
    random_weights(stack, scale)
    return Stack(stack, graph_of(stack))


def in_numpy(
    stack: RecurrentStack, x: Array, lengths: Lengths, states: States
) -> tuple[npt.NDArray[np.float64], States]:
    """All layers by their formulas."""
    y = x.astype(np.float64)
    finals: States = {}
    for index, layer in enumerate(stack.layers):
        names = [name for name in stack.state_names if name[1:] == str(index)]
        state = tuple(states[name].astype(np.float64) for name in names)
        weights = [weights_of(layer, direction) for direction in range(stack.directions)]
        above, last = reference.run_layer(stack.cell, y, lengths, state, weights)
        y = above + y if index and stack.residual else above
        finals |= dict(zip(names, last, strict=True))
    return y, finals


def graph_of(stack: RecurrentStack) -> GraphRunner:
    build = GraphBuilder()
    x = build.input("tokens", TensorProto.FLOAT, ("T", "B", stack.input_size))
    lengths = build.input("lengths", TensorProto.INT32, ("B",))
    hidden, _ = build.recurrent("layer", stack, x, lengths, carries_state=stack.directions == 1)
    build.output(build.node("Identity", [hidden], "y"), TensorProto.FLOAT, ("T", "B", stack.output_size))
    return GraphRunner(build.serialized("stack"))


def weights_of(layer: nn.Module, direction: int) -> dict[str, npt.NDArray[np.float64]]:
    """Weights by the names of ``reference``, whatever the module calls them."""
    found = {name: parameter.detach().numpy().astype(np.float64) for name, parameter in layer.named_parameters()}
    if isinstance(layer, nn.RNNBase):
        suffix = "_l0_reverse" if direction else "_l0"
        names = {"W": "weight_ih", "R": "weight_hh", "b": "bias_ih", "r": "bias_hh"}
        return {short: found[name + suffix] for short, name in names.items()}
    own = {name.partition(f"directions.{direction}.")[2]: value for name, value in found.items()}
    named = {name.split(".")[-1]: value for name, value in own.items() if "." in name}
    return {"W": own["weight_ih"], "b": own["bias_ih"], **named}
