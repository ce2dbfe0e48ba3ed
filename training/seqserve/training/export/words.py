"""Features of tokens as a part of a graph, and the inputs of such a graph as tensors.

Inputs ``tokens`` int32 (T, B), ``lengths`` int32 (B), with spelling features ``word_bytes`` int32 (T, B, W) and
``word_lengths`` int32 (T, B), and where forward states are carried from window to window ``carry_lengths`` int32 (B).
"""

from collections.abc import Mapping

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from seqserve.training.arrays import Array
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.model import tensor_spec
from seqserve.training.export.nodes import integers
from seqserve.training.layers import State
from seqserve.training.networks.words import PAIR_FACTOR, PAIR_SLOTS, Speller, Spellings, WordFeatures
from seqserve.training.tensors import long_tensor, tensor
from seqserve.v1 import manifest_pb2

TOKENS = tensor_spec("tokens", manifest_pb2.TENSOR_ROLE_TOKENS, ("T", "B"))
LENGTHS = tensor_spec("lengths", manifest_pb2.TENSOR_ROLE_LENGTHS, ("B",))
WORD_BYTES = tensor_spec("word_bytes", manifest_pb2.TENSOR_ROLE_WORD_BYTES, ("T", "B", "W"))
WORD_LENGTHS = tensor_spec("word_lengths", manifest_pb2.TENSOR_ROLE_WORD_LENGTHS, ("T", "B"))
CARRY_LENGTHS = tensor_spec("carry_lengths", manifest_pb2.TENSOR_ROLE_CARRY_LENGTHS, ("B",))


def declare_inputs(build: GraphBuilder, *, spells: bool, windowed: bool = False) -> tuple[manifest_pb2.TensorSpec, ...]:
    """Declare the inputs of a graph over tokens."""
    specs = (TOKENS, LENGTHS, *([WORD_BYTES, WORD_LENGTHS] if spells else []), *([CARRY_LENGTHS] if windowed else []))
    for spec in specs:
        build.input(spec.name, TensorProto.INT32, list(spec.axes))
    return specs


def add_features(build: GraphBuilder, features: WordFeatures) -> str:
    """Features (T, B, E) of the tokens that are the graph's inputs."""
    parts = [build.lookup("embedding", features.embedding, TOKENS.name)]
    if features.speller is not None:
        parts.append(_spell(build, features.speller))
    if features.pairs is not None:
        table = build.constant("pairs.row_of_slot", features.pair_rows_S.numpy(force=True))
        rows = build.node("Gather", [table, _pair_slots(build)], "pairs.rows")
        parts.append(build.lookup("pairs", features.pairs, rows))
    return build.node("Concat", parts, "features", axis=2) if len(parts) > 1 else parts[0]


def _spell(build: GraphBuilder, speller: Speller) -> str:
    """Spelling features (T, B, 2 H): all words of the batch as one batch of T * B byte sequences."""
    rows = build.node("Flatten", [WORD_BYTES.name], "spelling.rows", axis=2)  # (T * B, W)
    turned = build.node("Transpose", [rows], "spelling.bytes", perm=[1, 0])
    flat = build.constant("spelling.flat", integers([-1]))
    lengths = build.node("Reshape", [WORD_LENGTHS.name, flat], "spelling.lengths")
    embedded = build.lookup("spelling.embedding", speller.embedding, turned)
    _, finals = build.recurrent("spelling", speller.stack, embedded, lengths, carries_state=False)
    last = build.node("Transpose", [finals[0]], "spelling.last", perm=[1, 0, 2])  # (T * B, 2, H)
    grid = build.node("Shape", [TOKENS.name], "spelling.grid")
    shape = build.node("Concat", [grid, build.constant("spelling.width", integers([-1]))], "spelling.shape", axis=0)
    return build.node("Reshape", [last, shape], "spelling", allowzero=0)


def _pair_slots(build: GraphBuilder) -> str:
    """Slot of each token and the next, as ``networks.words`` computes it."""
    tokens = build.node("Cast", [TOKENS.name], "pairs.tokens", to=TensorProto.INT64)
    shape = build.node("Shape", [tokens], "pairs.grid")
    one, two, zero = (
        build.constant(f"pairs.{name}", integers([n])) for name, n in (("one", 1), ("two", 2), ("zero", 0))
    )
    width = build.node("Slice", [shape, one, two], "pairs.width")
    ending = build.node("Expand", [zero, build.node("Concat", [one, width], "pairs.row", axis=0)], "pairs.ending")
    end = build.constant("pairs.end", integers([np.iinfo(np.int64).max]))
    later = build.node("Slice", [tokens, one, end, zero], "pairs.later")
    following = build.node("Concat", [later, ending], "pairs.following", axis=0)
    spread = build.node("Mul", [tokens, build.constant("pairs.factor", integers([PAIR_FACTOR]))], "pairs.spread")
    number = build.node("Add", [spread, following], "pairs.number")
    return build.node("Mod", [number, build.constant("pairs.count", integers([PAIR_SLOTS]))], "pairs.slots")


def tokens_and_spellings(inputs: Mapping[str, Array], device: torch.device) -> tuple[Tensor, Tensor, Spellings | None]:
    """A graph's inputs as tensors: tokens (T, B), lengths (B) on the CPU, and the letters of all words, if given."""
    tokens_TB = inputs[TOKENS.name]
    lengths_B = long_tensor(inputs[LENGTHS.name])
    if WORD_BYTES.name not in inputs:
        return tensor(tokens_TB, device), lengths_B, None
    word_bytes_TBW = inputs[WORD_BYTES.name]
    byte_lengths = np.maximum(inputs[WORD_LENGTHS.name].reshape(-1), 1)  # packing refuses the empty words of padding
    spellings = Spellings(
        tensor(word_bytes_TBW.reshape(-1, word_bytes_TBW.shape[-1]), device),
        long_tensor(byte_lengths),
        torch.arange(tokens_TB.size, device=device).reshape(tokens_TB.shape),
    )
    return tensor(tokens_TB, device), lengths_B, spellings


def given_state(inputs: Mapping[str, Array], specs: tuple[manifest_pb2.StateSpec, ...], initial: State) -> State:
    """The state among a graph's inputs, and what of ``initial`` is not: all, or of two directions the backward one."""
    if not specs:
        return initial
    given = (tensor(inputs[spec.input], own.device) for spec, own in zip(specs, initial, strict=True))
    return tuple(torch.cat((state, own[1:])) for state, own in zip(given, initial, strict=True))


def final_states(specs: tuple[manifest_pb2.StateSpec, ...], state: State) -> dict[str, Array]:
    """The final state as a graph's outputs, of two directions the forward one; nothing for a model without states."""
    if not specs:
        return {}
    forward = ((spec.output, value[: spec.directions]) for spec, value in zip(specs, state, strict=True))
    return {output: value.cpu().numpy() for output, value in forward}
