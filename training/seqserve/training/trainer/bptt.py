"""How far gradients go back through time: to the border of a window, to a border left to chance, or all the way.

Regular truncation stops gradients at every border between two windows, so dependencies longer than a window aren't
learned: its gradient is biased. Random truncation stops them at each border with probability c and scales those that go
on by 1 / (1 - c). In the mean the factor makes up for the borders at which they stop: the expected gradient is that of
full backpropagation (Tallec and Ollivier 2017, "Unbiasing Truncated Backpropagation Through Time"). It is paid for in
variance, which grows with the number of borders that gradients go over.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from torch import Tensor

from seqserve.training.layers import State

WindowT = TypeVar("WindowT")


def segments(windows: Iterable[WindowT], cut: float, draw: Callable[[], float]) -> Iterator[list[WindowT]]:
    """Put windows together over whose borders gradients flow.

    Args:
        windows: in order of time.
        cut: c, the probability that gradients stop at a border; 1 for each window on its own.
        draw: gives a number uniform in [0, 1) for each border.
    """
    segment = list[WindowT]()
    for window in windows:
        if segment and draw() < cut:
            yield segment
            segment = []
        segment.append(window)
    if segment:
        yield segment


def over_border(state: State, cut: float) -> State:
    """The same state on the far side of a border that was not cut: gradients are scaled by 1 / (1 - c)."""
    return tuple(_scaled(tensor, 1 / (1 - cut)) for tensor in state)


def _scaled(value: Tensor, factor: float) -> Tensor:
    """``value`` to the last bit, with ``factor`` times its gradient."""
    return value.detach() + (value - value.detach()) * factor
