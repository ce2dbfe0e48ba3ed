"""Requests for the graph's outputs over a whole input: taggers, classifiers, infilling models.

Axes: T steps, V vocabulary or labels.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from seqserve.server.engine.output_stream import ForwardResult
from seqserve.server.engine.sequence import PrefillOnlySequence, SequenceContext
from seqserve.server.model.inputs import Inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """Runs the graph over a whole input from the initial state and returns its outputs.

    Attributes:
        inputs: At least one step.
        steps: The steps whose outputs are wanted, ascending; None: all.
    """

    inputs: Inputs
    steps: tuple[int, ...] | None = None
    samples: ClassVar[int] = 1
    start: ClassVar[SequenceState] = SequenceState.new()

    def check(self, rows_max: int, vocabulary: int) -> None:
        """Accepts any batch and vocabulary."""

    def sequence(self, context: SequenceContext, servable: Servable, table: Listed[bytes]) -> ForwardSequence:
        """Makes the sequence that answers the request."""
        del servable, table
        return ForwardSequence(context, self)


class ForwardSequence(PrefillOnlySequence):
    """Gives the graph's outputs for its whole input."""

    def __init__(self, context: SequenceContext, request: ForwardRequest) -> None:
        super().__init__(context, request.inputs)
        self._steps = request.steps
        self._pieces: list[list[FloatArray]] = []

    def record(self, outputs: Listed[FloatArray]) -> None:
        """Keeps the outputs of a run, as far as they are wanted."""
        if self._steps is None:
            self._pieces.append([output.copy() for output in outputs])
        else:
            start = self.consumed - len(outputs[0])
            places = [step - start for step in self._steps if start <= step < self.consumed]
            self._pieces.append([output[places] for output in outputs])

    def finish(self, now_s: float) -> ForwardResult:
        """Ends the sequence and returns the outputs of all runs."""
        self.ended = True
        arrays = tuple(np.concatenate(parts) for parts in zip(*self._pieces, strict=True))
        return ForwardResult(arrays, self.times(now_s))
