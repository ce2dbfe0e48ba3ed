"""Conversion of trained networks to int8.

Hidden states of most cells lie between -1 and 1 for any input, so a fixed scale rounds them: it needs no data, and no
row of a batch affects another. Other inputs of products are rounded row by row. The network that reads the bytes of
words stays in float32, because it's small and int8 wouldn't speed up its batches of words. The head of a classifier
stays in float32 too, because it runs once per sequence.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from seqserve.training.config import CellKind
from seqserve.training.config.network import UNBOUNDED
from seqserve.training.errors import ExportError
from seqserve.training.int8.layers import Int8Direction, Int8Embedding, Int8Layer, Int8Linear, ProductTable, TableLookup
from seqserve.training.layers import RecurrentStack
from seqserve.training.layers.formulas import FORMULAS
from seqserve.training.layers.weights import direction_weights
from seqserve.training.networks import Classifier, Infiller, LanguageModel, Tagger, parameter_count
from seqserve.training.networks.words import Speller, WordFeatures
from seqserve.training.tensors import tensor

NetworkT = TypeVar("NetworkT", bound=nn.Module)

TABLE_PART_MAX = 0.05
"""Maximum size of a table with the first layer's product for each token, relative to the float32 network."""


def quantized(network: NetworkT) -> NetworkT:
    """Copies a trained network so that it computes in int8, in torch and as an exported graph.

    Args:
        network: Trained network in float32; not changed.

    Returns:
        The converted copy, in evaluation mode.

    Raises:
        ExportError: The hidden states have no fixed range.
    """
    result = copy.deepcopy(network).eval()
    stacks = [module for module in result.children() if isinstance(module, RecurrentStack)]
    for stack in stacks:
        _refuse_unbounded(stack)
    bound = max(_bounds(stack)[-1] for stack in stacks)
    _fold(result)
    for stack in stacks:
        _quantize_stack(stack)
    _quantize_rest(result, bound)
    return result


def _refuse_unbounded(stack: RecurrentStack) -> None:
    refused = (
        f"int8 rounds hidden states to steps of 1/127 of their range, from -1 to 1. {stack.cell} cannot be in int8"
    )
    if stack.cell in UNBOUNDED:
        raise ExportError(f"{refused}: {UNBOUNDED[stack.cell]}; export it in fp32")
    for name, initial in stack.initial.items():
        if name.startswith("h") and (greatest := float(initial.detach().abs().max())) > 1:
            raise ExportError(
                f"{refused} as it was trained: the learned initial state {name} reaches {greatest:.3g}; export it in"
                " fp32, or train it without --learned-initial-state"
            )


def _bounds(stack: RecurrentStack) -> list[float]:
    """Returns the maximum absolute output of each layer; residual connections add outputs."""
    return [float(index + 1) if stack.residual else 1.0 for index in range(len(stack.layers))]


def _quantize_stack(stack: RecurrentStack) -> None:
    """Converts the layers of a stack. The first may already be lookups in a table."""
    inputs = [None, *_bounds(stack)]
    layers = list(stack.layers)
    stack.layers = nn.ModuleList(
        layer
        if isinstance(layer, Int8Layer)
        else Int8Layer(_direction(stack, layer, direction, bound) for direction in range(stack.directions))
        for layer, bound in zip(layers, inputs, strict=False)
    )


def _direction(
    stack: RecurrentStack, layer: nn.Module, direction: int, bound: float | None, from_x: nn.Module | None = None
) -> Int8Direction:
    """Converts one direction of a trained layer, with ``from_x`` instead of the product of the input, if given."""
    weight_NI, bias_N, recurrent, vectors = formula_weights(stack.cell, layer, direction)
    product = from_x or Int8Linear(weight_NI, bias_N, bound)
    return Int8Direction(FORMULAS[stack.cell], product, recurrent, vectors)


def formula_weights(
    cell: CellKind, layer: nn.Module, direction: int
) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Returns W (N, I), b (N), and the recurrent weights and vectors by name, as in the formula of the cell."""
    of = direction_weights(layer, direction)
    bias, vectors = of.bias + of.recurrent_bias, dict(of.vectors)
    if cell is CellKind.GRU:  # the last bias is inside the reset gate
        hidden = len(bias) // 3
        bias[-hidden:] = of.bias[-hidden:]
        vectors["d_n"] = of.recurrent_bias[-hidden:]
    recurrent = {name: tensor(weight) for name, weight in of.recurrent.items()}
    return tensor(of.weight), tensor(bias), recurrent, {name: tensor(vector) for name, vector in vectors.items()}


def _fold(network: nn.Module) -> None:
    """Replaces the first layer's product by a float32 table, if only tokens are input and the vocabulary is small."""
    reader, stack = _only_reader(network), network.get_submodule("stack")
    if reader is None or not isinstance(stack, RecurrentStack):
        return
    first = stack.layers[0]
    sides = [formula_weights(stack.cell, first, direction) for direction in range(stack.directions)]
    embedded, width = reader.embedding.weight.double(), len(sides[0][1])
    if len(embedded) * width * len(sides) > TABLE_PART_MAX * parameter_count(network):
        return
    reader.embedding = ProductTable(torch.cat([embedded @ W.double().T + b.double() for W, b, *_ in sides], dim=1))
    lookups = [TableLookup(begin, begin + width) for begin in (0, width)] if len(sides) == 2 else [nn.Identity()]
    stack.layers[0] = Int8Layer(_direction(stack, first, side, None, lookup) for side, lookup in enumerate(lookups))


def _only_reader(network: nn.Module) -> LanguageModel | Infiller | WordFeatures | None:
    """Returns the module whose embedding is the only input of the first layer of the only stack, or None."""
    match network:
        case LanguageModel():
            return network
        case Infiller() if network.backward_stack is None:
            return network
        case Tagger() | Classifier() if network.features.speller is None and network.features.pairs is None:
            return network.features
        case _:
            return None


def _quantize_rest(module: nn.Module, bound: float) -> None:
    """Converts the products and tables outside the stacks; their inputs are outputs of stacks or of a tanh."""
    for name, child in module.named_children():
        match child:
            case RecurrentStack() | Speller() | ProductTable():
                pass
            case nn.Linear():
                if not isinstance(module, Classifier):
                    setattr(module, name, Int8Linear(child.weight, child.bias, bound))
            case nn.Embedding():
                setattr(module, name, Int8Embedding(child.weight))
            case _:
                _quantize_rest(child, bound)
