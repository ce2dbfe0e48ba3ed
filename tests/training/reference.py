"""Recurrent cells as loops in NumPy, written from their formulas: what torch and the graph are compared with.

Axes: T time, B batch, I inputs, H hidden units. Weights are torch's, gates on top of each other along the first axis.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def lstm(x_TBI: Array, h: Array, c: Array, W: Array, R: Array, b: Array, r: Array) -> tuple[Array, Array, Array]:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, as torch.nn.LSTM documents it.

    i = s(W_i x + b_i + R_i h + r_i), f and o likewise; g = tanh(W_g x + b_g + R_g h + r_g);
    c' = f * c + i * g; h' = o * tanh(c').
    """
    steps = []
    for x in x_TBI:
        i, f, g, o = np.split(x @ W.T + b + h @ R.T + r, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        steps.append(h)
    return np.stack(steps), h, c


def gru(x_TBI: Array, h: Array, W: Array, R: Array, b: Array, r: Array) -> tuple[Array, Array]:
    """Cho et al. 2014 with the reset gate after the product, as torch.nn.GRU documents it.

    r = s(W_r x + b_r + R_r h + r_r), z likewise; n = tanh(W_n x + b_n + r * (R_n h + r_n));
    h' = (1 - z) * n + z * h.
    """
    steps = []
    for x in x_TBI:
        from_x = np.split(x @ W.T + b, 3, axis=-1)
        from_h = np.split(h @ R.T + r, 3, axis=-1)
        reset, update = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        new = np.tanh(from_x[2] + reset * from_h[2])
        h = (1 - update) * new + update * h
        steps.append(h)
    return np.stack(steps), h
