"""Formulas of the cells: one time step each, generic over torch tensors and values of a graph.

On torch tensors, a step runs in training (``loop``); on values of a graph, it becomes the body of a Scan (``export``).
LSTM and GRU are trained with torch's layers and exported as ONNX operators; their formulas are used for int8.

Names: ``from_x`` is W x + b, in the blocks of the formula; h and c are the state before the step, h' and c' after it; s
is the logistic function; * is elementwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from seqserve.training.config import CellKind


class Value(Protocol):
    """Numbers with elementwise addition and multiplication."""

    def __add__(self, other: Self, /) -> Self: ...
    def __mul__(self, other: Self, /) -> Self: ...


ValueT = TypeVar("ValueT", bound=Value)


@dataclass(frozen=True)
class Operations(Generic[ValueT]):
    """Operations that steps need in addition to elementwise sums and products.

    Attributes:
        product: Product of (B, N) and the transpose of a weight (M, N): (B, M).
        split: Splits the last axis into the given number of blocks of equal width.
        sigmoid: 1 / (1 + exp(-x)).
        tanh: Hyperbolic tangent.
        relu: max(x, 0).
        complement: 1 - x.
    """

    product: Callable[[ValueT, ValueT], ValueT]
    split: Callable[[ValueT, int], tuple[ValueT, ...]]
    sigmoid: Callable[[ValueT], ValueT]
    tanh: Callable[[ValueT], ValueT]
    relu: Callable[[ValueT], ValueT]
    complement: Callable[[ValueT], ValueT]


class Step(Protocol):
    """One time step of one direction of a layer."""

    def __call__(
        self, on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT], /
    ) -> tuple[ValueT, tuple[ValueT, ...]]:
        """Computes the output (B, H) and the next state from W x + b (B, blocks * H) and the state, each (B, H)."""
        ...


@dataclass(frozen=True)
class Formula:
    """Formula of a cell.

    Attributes:
        step: One time step.
        blocks: Names of the blocks of W x + b, of width H, in order.
        recurrent: Names of the recurrent weights, with the number of (H, H) blocks that each stacks.
        vectors: Names of the weights with one number per unit (H).
        states: Names of the state tensors.
    """

    step: Step
    blocks: tuple[str, ...]
    recurrent: Mapping[str, int] = field(default_factory=dict[str, int])
    vectors: tuple[str, ...] = ()
    states: tuple[str, ...] = ("h",)


def rnn(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Elman 1990: h' = tanh(W x + b + R h)."""
    h = on.tanh(from_x + on.product(state[0], weights["R"]))
    return h, (h,)


def rnn_relu(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Elman 1990 with a rectifier: h' = max(W x + b + R h, 0)."""
    h = on.relu(from_x + on.product(state[0], weights["R"]))
    return h, (h,)


def lstm(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber, and Cummins 2000.

    i, f, o = s(W x + b + R h), each with separate weights; g = tanh(W_g x + b_g + R_g h); c' = f * c + i * g; h' = o *
    tanh(c').
    """
    h, c = state
    i, f, g, o = on.split(from_x + on.product(h, weights["R"]), 4)
    c = on.sigmoid(f) * c + on.sigmoid(i) * on.tanh(g)
    h = on.sigmoid(o) * on.tanh(c)
    return h, (h, c)


def lstm_peephole(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Gers and Schmidhuber 2000: gates use the cell; input and forget gate before the step, the output gate after it.

    i = s(W_i x + b_i + R_i h + p_i * c), f likewise; g = tanh(W_g x + b_g + R_g h); c' = f * c + i * g;
    o = s(W_o x + b_o + R_o h + p_o * c'); h' = o * tanh(c').
    """
    h, c = state
    i, f, g, o = on.split(from_x + on.product(h, weights["R"]), 4)
    input_gate, forget_gate = on.sigmoid(i + weights["p_i"] * c), on.sigmoid(f + weights["p_f"] * c)
    c = forget_gate * c + input_gate * on.tanh(g)
    h = on.sigmoid(o + weights["p_o"] * c) * on.tanh(c)
    return h, (h, c)


def lstm_coupled(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Greff et al. 2017 (CIFG): the LSTM with coupled gates, f = 1 - i."""
    h, c = state
    i, g, o = on.split(from_x + on.product(h, weights["R"]), 3)
    input_gate = on.sigmoid(i)
    c = on.complement(input_gate) * c + input_gate * on.tanh(g)
    h = on.sigmoid(o) * on.tanh(c)
    return h, (h, c)


def gru(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """The GRU of torch: applies the reset gate after the product, which has a separate bias.

    r = s(W_r x + b_r + R_r h), z likewise; n = tanh(W_n x + b_n + r * (R_n h + d_n)); h' = z * h + (1 - z) * n.
    """
    (h,) = state
    x_r, x_z, x_n = on.split(from_x, 3)
    h_r, h_z, h_n = on.split(on.product(h, weights["R"]), 3)
    reset, update = on.sigmoid(x_r + h_r), on.sigmoid(x_z + h_z)
    new = on.tanh(x_n + reset * (h_n + weights["d_n"]))
    h = update * h + on.complement(update) * new
    return h, (h,)


def gru_reset_before(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Cho et al. 2014: applies the reset gate to the state, before the product.

    r = s(W_r x + b_r + R_r h), z likewise; n = tanh(W_n x + b_n + R_n (r * h)); h' = z * h + (1 - z) * n.
    """
    (h,) = state
    x_r, x_z, x_n = on.split(from_x, 3)
    h_r, h_z = on.split(on.product(h, weights["R_gates"]), 2)
    reset, update = on.sigmoid(x_r + h_r), on.sigmoid(x_z + h_z)
    new = on.tanh(x_n + on.product(reset * h, weights["R_n"]))
    h = update * h + on.complement(update) * new
    return h, (h,)


def gru_update_only(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """A GRU whose reset gate is always 1: z = s(W_z x + b_z + R_z h), n = tanh(W_n x + b_n + R_n h)."""
    (h,) = state
    z, n = on.split(from_x + on.product(h, weights["R"]), 2)
    update = on.sigmoid(z)
    h = update * h + on.complement(update) * on.tanh(n)
    return h, (h,)


def mgu(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Zhou et al. 2016, the minimal gated unit: one gate resets and updates.

    f = s(W_f x + b_f + R_f h); n = tanh(W_n x + b_n + R_n (f * h)); h' = (1 - f) * h + f * n.
    """
    (h,) = state
    x_f, x_n = on.split(from_x, 2)
    gate = on.sigmoid(x_f + on.product(h, weights["R_f"]))
    new = on.tanh(x_n + on.product(gate * h, weights["R_n"]))
    h = on.complement(gate) * h + gate * new
    return h, (h,)


def sru(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Lei et al. 2018, the simple recurrent unit: without products of the state, so all products run before the loop.

    f = s(W_f x + b_f + v_f * c); r = s(W_r x + b_r + v_r * c); c' = f * c + (1 - f) * (W_n x + b_n);
    h' = r * c' + (1 - r) * (W_x x + b_x). The paper omits W_x if x is as wide as h.
    """
    (c,) = state
    x_f, x_r, x_n, x_x = on.split(from_x, 4)
    forget, reset = on.sigmoid(x_f + weights["v_f"] * c), on.sigmoid(x_r + weights["v_r"] * c)
    c = forget * c + on.complement(forget) * x_n
    return reset * c + on.complement(reset) * x_x, (c,)


def leaky(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    """Leaky units (Goodfellow et al. 2016, section 10.9.2): h' = a * h + (1 - a) * tanh(W x + b + R h), a = s(leak)."""
    (h,) = state
    kept = on.sigmoid(weights["leak"])
    h = kept * h + on.complement(kept) * on.tanh(from_x + on.product(h, weights["R"]))
    return h, (h,)


FORMULAS: dict[CellKind, Formula] = {
    CellKind.RNN: Formula(rnn, ("n",), {"R": 1}),
    CellKind.RNN_RELU: Formula(rnn_relu, ("n",), {"R": 1}),
    CellKind.LSTM: Formula(lstm, ("i", "f", "g", "o"), {"R": 4}, states=("h", "c")),
    CellKind.LSTM_PEEPHOLE: Formula(
        lstm_peephole, ("i", "f", "g", "o"), {"R": 4}, vectors=("p_i", "p_f", "p_o"), states=("h", "c")
    ),
    CellKind.LSTM_COUPLED: Formula(lstm_coupled, ("i", "g", "o"), {"R": 3}, states=("h", "c")),
    CellKind.GRU: Formula(gru, ("r", "z", "n"), {"R": 3}, vectors=("d_n",)),
    CellKind.GRU_RESET_BEFORE: Formula(gru_reset_before, ("r", "z", "n"), {"R_gates": 2, "R_n": 1}),
    CellKind.GRU_UPDATE_ONLY: Formula(gru_update_only, ("z", "n"), {"R": 2}),
    CellKind.MGU: Formula(mgu, ("f", "n"), {"R_f": 1, "R_n": 1}),
    CellKind.SRU: Formula(sru, ("f", "r", "n", "x"), vectors=("v_f", "v_r"), states=("c",)),
    CellKind.LEAKY: Formula(leaky, ("n",), {"R": 1}, vectors=("leak",)),
}
