"""Pooling as a part of a graph, equal to ``networks.pooling``.

Sums over time run step by step from the state and are read at the end of each row. Padding therefore changes no bit,
and, for mean and maximum, neither does a split.
"""

import numpy as np
from onnx import TensorProto

from seqserve.training.config import Pooling
from seqserve.training.export.graph import GraphBuilder
from seqserve.training.export.nodes import integers
from seqserve.training.export.rows import at_step, initial_rows
from seqserve.training.export.words import LENGTHS
from seqserve.training.layers import RecurrentStack
from seqserve.training.networks.pooling import NOTHING, Pool, initial_value
from seqserve.training.runner import STATE_OUTPUT_SUFFIX
from seqserve.v1 import manifest_pb2, state_pb2


def pool_states(pool: Pool) -> tuple[manifest_pb2.StateSpec, ...]:
    """Specification of the state's tensors of a pooling."""
    return tuple(
        manifest_pb2.StateSpec(
            name=name,
            input=name,
            output=name + STATE_OUTPUT_SUFFIX,
            element_type=state_pb2.ELEMENT_TYPE_FLOAT32,
            directions=1,
            size=size,
            initial_value=initial_value(name),
        )
        for name, size in pool.state_sizes.items()
    )


def pooled(build: GraphBuilder, pool: Pool, stack: RecurrentStack, steps: str) -> str:
    """The pooled outputs (B, H) of ``stack``, given its ``steps`` (T, B, H); states if it has one direction."""
    if pool.kind is Pooling.LAST:
        return _last(build, stack, steps)
    carries = stack.directions == 1
    state = [_state(build, name, size, carries=carries) for name, size in pool.state_sizes.items()]
    finals = [f"{name}{STATE_OUTPUT_SUFFIX}" for name in pool.state_sizes]
    if carries:
        for name, size in zip(finals, pool.state_sizes.values(), strict=True):
            build.output(name, TensorProto.FLOAT, (1, "B", size))
    match pool.kind:
        case Pooling.MAX:
            inside = _inside(build, steps)
            nothing = build.constant("pool.nothing", np.float32(NOTHING))
            seen = build.node("Where", [inside, steps, nothing], "pool.seen")
            here = build.node("ReduceMax", [seen, build.constant("pool.time", integers([0]))], "pool.here", keepdims=1)
            result = build.node("Max", [state[0], here], finals[0])
        case Pooling.MEAN:
            total = _summed(build, "pool.sum", state[0], steps, finals[0])
            lengths = build.node("Cast", [LENGTHS.name], "pool.lengths", to=TensorProto.FLOAT)
            axes = build.constant("pool.axes", integers([0, 2]))
            counted = build.node("Unsqueeze", [lengths, axes], "pool.counted")
            count = build.node("Add", [state[1], counted], finals[1])
            result = build.node("Div", [total, count], "pool.mean")
        case _:
            result = _attended(build, pool, steps, state, finals)
    return build.squeezed("pooled", result, 0)


def _last(build: GraphBuilder, stack: RecurrentStack, steps: str) -> str:
    """The output of each direction at the end of its way."""
    last = build.node("Sub", [LENGTHS.name, build.constant("pool.last", np.int32(1))], "pool.places")
    end = build.squeezed("pool.end", at_step(build, "pool.step", steps, last), 0)
    if stack.directions == 1:
        return end
    zero, one = build.constant("pool.zero", integers([0])), build.constant("pool.one", integers([1]))
    row = build.node("Slice", [steps, zero, one, zero], "pool.row")
    first = build.squeezed("pool.first", row, 0)
    half, whole = (
        build.constant(f"pool.{name}", integers([size]))
        for name, size in (("half", stack.hidden_size), ("whole", stack.output_size))
    )
    forward = build.node("Slice", [end, zero, half, one], "pool.forward")
    backward = build.node("Slice", [first, half, whole, one], "pool.backward")
    return build.node("Concat", [forward, backward], "pooled", axis=1)


def _attended(build: GraphBuilder, pool: Pool, steps: str, state: list[str], finals: list[str]) -> str:
    """The mean of the steps by their weights."""
    if pool.hidden is None or pool.score is None:
        raise ValueError(f"pooling {pool.kind} has no weights")
    hidden = build.node("Tanh", [build.linear("attention.hidden", pool.hidden, steps)], "attention.tanh")
    nothing = build.constant("attention.nothing", np.float32(NOTHING))
    raw = build.linear("attention.raw", pool.score, hidden)
    score = build.node("Where", [_inside(build, steps), raw, nothing], "attention.score")
    time = build.constant("attention.time", integers([0]))
    here = build.node("ReduceMax", [score, time], "attention.here", keepdims=1)
    greatest = build.node("Max", [state[0], here], finals[0])
    lower = build.node("Sub", [score, greatest], "attention.lower")
    weights = build.node("Exp", [lower], "attention.weights")
    before = build.node("Exp", [build.node("Sub", [state[0], greatest], "attention.gone")], "attention.before")
    weight_before = build.node("Mul", [state[1], before], "attention.weight_before")
    sum_before = build.node("Mul", [state[2], before], "attention.sum_before")
    weight = _summed(build, "attention.weight", weight_before, weights, finals[1])
    weighted = build.node("Mul", [weights, steps], "attention.weighted")
    total = _summed(build, "attention.sum", sum_before, weighted, finals[2])
    return build.node("Div", [total, weight], "attention.mean")


def _state(build: GraphBuilder, name: str, size: int, *, carries: bool) -> str:
    """A state's tensor (1, B, size): an input, or for a model that carries none what it would start from."""
    if carries:
        return build.input(name, TensorProto.FLOAT, (1, "B", size))
    return initial_rows(build, name, LENGTHS.name, size, initial_value(name))


def _summed(build: GraphBuilder, name: str, before: str, steps: str, output: str) -> str:
    """``before`` (1, B, H) and then each row's steps that count, added one by one: (1, B, H), named ``output``."""
    all_steps = build.node("Concat", [before, steps], f"{name}.steps", axis=0)
    running = build.node("CumSum", [all_steps, build.constant(f"{name}.time", np.int64(0))], f"{name}.running")
    return at_step(build, output, running, LENGTHS.name)  # after n steps: place 0 is what was before them


def _inside(build: GraphBuilder, steps: str) -> str:
    """True (T, B, 1) where a row has not ended."""
    shape = build.node("Shape", [steps], "pool.grid", start=0, end=1)
    count = build.squeezed("pool.count", shape, 0)
    zero, one = build.constant("pool.from", np.int64(0)), build.constant("pool.by", np.int64(1))
    places = build.node("Range", [zero, count, one], "pool.places")
    ends = build.node("Cast", [LENGTHS.name], "pool.ends", to=TensorProto.INT64)
    axes = build.constant("pool.places_axes", integers([1, 2]))
    column = build.node("Unsqueeze", [places, axes], "pool.column")
    last = build.constant("pool.last_axes", integers([1]))
    row = build.node("Unsqueeze", [ends, last], "pool.row_ends")
    return build.node("Less", [column, row], "pool.inside")
