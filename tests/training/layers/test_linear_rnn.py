"""Backpropagation through time against its closed form, for a linear RNN without biases (D2L, section 9.7).

h_t = W_hx x_t + W_hh h_{t-1}; o_t = W_qh h_t; L = (1/T) sum_t l(o_t, y_t). With g_t = dL/do_t:
dL/dh_t = sum_{i=t..T} (W_hh^T)^{T-i} W_qh^T g_{T+t-i}; dL/dW_qh = sum_t g_t h_t^T;
dL/dW_hx = sum_t dL/dh_t x_t^T; dL/dW_hh = sum_t dL/dh_t h_{t-1}^T.
"""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from seqserve.training.layers.formulas import Formula, Operations, ValueT
from seqserve.training.layers.loop import Direction

STEPS, INPUTS, HIDDEN, OUTPUTS = 7, 3, 5, 2


def linear(
    on: Operations[ValueT], from_x: ValueT, state: tuple[ValueT, ...], weights: Mapping[str, ValueT]
) -> tuple[ValueT, tuple[ValueT, ...]]:
    h = from_x + on.product(state[0], weights["R"])
    return h, (h,)


@pytest.mark.parametrize("steps", [1, 2, STEPS])
def test_gradients_are_those_of_the_closed_form(steps: int) -> None:
    torch.manual_seed(0)
    layer = Direction(Formula(linear, ("n",), {"R": 1}), INPUTS, HIDDEN).double()
    head = nn.Linear(HIDDEN, OUTPUTS, bias=False).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-1, 1)
        layer.bias_ih.zero_()
    x, wanted = torch.randn(steps, 1, INPUTS).double(), torch.randn(steps, 1, OUTPUTS).double()
    h, final = layer(x, None, (torch.zeros(1, HIDDEN).double(),))
    outputs = head(h)
    outputs.retain_grad()
    ((outputs - wanted).square().sum() / steps).backward()

    assert outputs.grad is not None
    g = outputs.grad[:, 0].numpy()
    W_hh = layer.weight_hh["R"].detach().numpy()
    W_qh = head.weight.detach().numpy()
    states = np.concatenate([np.zeros((1, HIDDEN)), h[:, 0].detach().numpy()])  # h_0, h_1, ...
    of_h = np.zeros((steps, HIDDEN))
    for t in range(1, steps + 1):
        for i in range(t, steps + 1):
            of_h[t - 1] += np.linalg.matrix_power(W_hh.T, steps - i) @ W_qh.T @ g[steps + t - i - 1]
    expected = {
        "W_qh": (head.weight, sum(np.outer(g[t], states[t + 1]) for t in range(steps))),
        "W_hx": (layer.weight_ih, sum(np.outer(of_h[t], x[t, 0].numpy()) for t in range(steps))),
        "W_hh": (layer.weight_hh["R"], sum(np.outer(of_h[t], states[t]) for t in range(steps))),
    }
    torch.testing.assert_close(final, h[-1])
    for name, (parameter, gradient) in expected.items():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=0, atol=1e-10, err_msg=name)
