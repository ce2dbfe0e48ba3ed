"""Recurrent cells as loops in NumPy, in float64, written from their formulas: what torch and graphs are compared with.

A cell takes what comes from the input, W x + b, in blocks of one gate each, the state, and its other weights by name.
Axes: T time, B batch, I inputs, H hidden units.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from seqserve.training.config import CellKind

Array = npt.NDArray[np.float64]
Weights = Mapping[str, Array]
States = tuple[Array, ...]
Cell = Callable[[list[Array], States, Weights], tuple[Array, States]]


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def rnn(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    h = np.tanh(x[0] + state[0] @ w["R"].T + w["r"])
    return h, (h,)


def rnn_relu(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    h = np.maximum(x[0] + state[0] @ w["R"].T + w["r"], 0.0)
    return h, (h,)


def lstm(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000."""
    h, c = state
    i, f, g, o = (one + other for one, other in zip(x, np.split(h @ w["R"].T + w["r"], 4, axis=-1), strict=True))
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def lstm_peephole(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    h, c = state
    i, f, g, o = (one + other for one, other in zip(x, np.split(h @ w["R"].T, 4, axis=-1), strict=True))
    new = sigmoid(f + w["p_f"] * c) * c + sigmoid(i + w["p_i"] * c) * np.tanh(g)
    h = sigmoid(o + w["p_o"] * new) * np.tanh(new)
    return h, (h, new)


def lstm_coupled(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    h, c = state
    i, g, o = (one + other for one, other in zip(x, np.split(h @ w["R"].T, 3, axis=-1), strict=True))
    c = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def gru(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    """The reset gate after the product and its bias."""
    (h,) = state
    h_r, h_z, h_n = np.split(h @ w["R"].T + w["r"], 3, axis=-1)
    r, z = sigmoid(x[0] + h_r), sigmoid(x[1] + h_z)
    h = (1 - z) * np.tanh(x[2] + r * h_n) + z * h
    return h, (h,)


def gru_reset_before(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    (h,) = state
    R_r, R_z = np.split(w["R_gates"], 2)
    r, z = sigmoid(x[0] + h @ R_r.T), sigmoid(x[1] + h @ R_z.T)
    h = (1 - z) * np.tanh(x[2] + (r * h) @ w["R_n"].T) + z * h
    return h, (h,)


def gru_update_only(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    (h,) = state
    R_z, R_n = np.split(w["R"], 2)
    z = sigmoid(x[0] + h @ R_z.T)
    h = (1 - z) * np.tanh(x[1] + h @ R_n.T) + z * h
    return h, (h,)


def mgu(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    (h,) = state
    f = sigmoid(x[0] + h @ w["R_f"].T)
    h = (1 - f) * h + f * np.tanh(x[1] + (f * h) @ w["R_n"].T)
    return h, (h,)


def sru(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    (c,) = state
    f, r = sigmoid(x[0] + w["v_f"] * c), sigmoid(x[1] + w["v_r"] * c)
    c = f * c + (1 - f) * x[2]
    return r * c + (1 - r) * x[3], (c,)


def leaky(x: list[Array], state: States, w: Weights) -> tuple[Array, States]:
    (h,) = state
    a = sigmoid(w["leak"])
    h = a * h + (1 - a) * np.tanh(x[0] + h @ w["R"].T)
    return h, (h,)


CELLS: dict[CellKind, tuple[int, Cell]] = {
    CellKind.RNN: (1, rnn),
    CellKind.RNN_RELU: (1, rnn_relu),
    CellKind.LSTM: (4, lstm),
    CellKind.LSTM_PEEPHOLE: (4, lstm_peephole),
    CellKind.LSTM_COUPLED: (3, lstm_coupled),
    CellKind.GRU: (3, gru),
    CellKind.GRU_RESET_BEFORE: (3, gru_reset_before),
    CellKind.GRU_UPDATE_ONLY: (2, gru_update_only),
    CellKind.MGU: (2, mgu),
    CellKind.SRU: (4, sru),
    CellKind.LEAKY: (1, leaky),
}
"""Blocks of W x + b, and one step."""


def run_row(cell: CellKind, x_TI: Array, state: States, weights: Weights) -> tuple[Array, States]:
    """One direction over one row, all of whose steps count: outputs (T, H), and the final states (H)."""
    blocks, step = CELLS[cell]
    outputs = []
    for x_I in x_TI:
        from_x = np.split(x_I @ weights["W"].T + weights["b"], blocks)
        output, state = step(from_x, state, weights)
        outputs.append(output)
    return np.stack(outputs), state


def run_layer(
    cell: CellKind, x_TBI: Array, lengths_B: npt.NDArray[np.int32], state: States, weights: Sequence[Weights]
) -> tuple[Array, States]:
    """A layer, row by row: the backward direction (the second of ``weights``) reads the steps that count from the end.

    Returns: outputs (T, B, D * H), zeros where a row has ended, and the final states (D, B, H).
    """
    steps, batch, _ = x_TBI.shape
    size = state[0].shape[-1]
    y_TBDH = np.zeros((steps, batch, len(weights), size))
    finals = tuple(np.zeros_like(tensor) for tensor in state)
    for row, length in enumerate(lengths_B):
        for direction, of in enumerate(weights):
            order = np.arange(length)[:: -1 if direction else 1]
            outputs, last = run_row(cell, x_TBI[order, row], tuple(s[direction, row] for s in state), of)
            y_TBDH[order, row, direction] = outputs
            for final, value in zip(finals, last, strict=True):
                final[direction, row] = value
    return y_TBDH.reshape(steps, batch, -1), finals
