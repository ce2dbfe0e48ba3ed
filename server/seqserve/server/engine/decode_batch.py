"""The decoding batch: the generations that share a step, their carried state and their sampler.

While the members stay the same, the state that one step returns is the next step's input, untouched, and the drawn
tokens are its tokens. A member whose prompt is not consumed yet (inline prefill) is fed its next known token
instead.

Axes: B sequences, S steps ahead, V vocabulary.
"""

from __future__ import annotations

import numpy as np

from seqserve.server.decoding.beam_search import BeamSearch
from seqserve.server.decoding.sampling import DoubleArray, IdArray, Sampler
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, State, join, rows
from seqserve.v1 import manifest_pb2 as pb

_STEPS_AHEAD = 16  # whose random numbers are got at a time


class DecodingBatch:
    """Steps a changing set of generations."""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable
        self._members: list[GenerationSequence] = []
        self._state: State = ()
        self._tokens_B: IdArray = np.empty(0, np.intp)
        self._ones_B = np.empty(0, np.int32)
        self._sampler = Sampler([], [])
        self._u_BS: DoubleArray = np.empty((0, 0))
        self._column = 0
        self.searches: list[tuple[BeamSearch, list[GenerationSequence]]] = []
        self._inline: list[tuple[int, GenerationSequence]] = []
        self._may_bar: list[tuple[int, GenerationSequence]] = []
        self._keepers: list[tuple[int, GenerationSequence]] = []

    def step(self, sequences: list[GenerationSequence], now_s: float) -> tuple[IdArray, FloatArray]:
        """Feed each sequence its next token and draw the one after.

        Args:
            sequences: At least one. The same list object as last time means the same members.
            now_s: The time.
        Returns: Drawn tokens (B,) and the logits they were drawn from (B, V). What was drawn for a sequence that still
            has known inputs is not its token.
        """
        if sequences is not self._members:
            self._change_members(sequences)
        elif self._column == _STEPS_AHEAD:
            self._look_ahead()
        for row, sequence in self._inline:
            self._tokens_B[row] = sequence.take(1, now_s).arrays[pb.TENSOR_ROLE_TOKENS][0]
        tokens_1B = self._tokens_B[None, :].astype(np.int32)
        outputs, self._state = self._servable.run_arrays({pb.TENSOR_ROLE_TOKENS: tokens_1B}, self._ones_B, self._state)
        logits_BV = outputs[0][0]
        for row, sequence in self._inline:
            sequence.read([logits_BV[row : row + 1]])
        self._inline = [(row, sequence) for row, sequence in self._inline if sequence.remaining]
        u_B, self._column = self._u_BS[:, self._column], self._column + 1
        self._tokens_B = self._sampler.draw(logits_BV, u_B, barred(self._may_bar))
        return self._tokens_B, logits_BV

    def give_back(self) -> None:
        """Give those that ended with the last step their state, if it is wanted. It has not consumed what was drawn."""
        for row, sequence in self._keepers:
            if sequence.ended:
                sequence.state = rows(self._state, [row])

    def reorder(self, index: list[int], tokens: list[int]) -> None:
        """Put other rows' states in the place of some: row i goes on from row ``index[i]``, fed ``tokens[i]``."""
        self._state = rows(self._state, index)
        self._tokens_B = np.array(tokens, np.intp)

    def _look_ahead(self) -> None:
        """Get the members' random numbers for some steps; each is at the step that follows."""
        self._u_BS, self._column = uniforms(self._members, _STEPS_AHEAD), 0

    def _change_members(self, sequences: list[GenerationSequence]) -> None:
        """Give the state of a leaving sequence back to it, and take in the states of those that join."""
        place = {sequence: row for row, sequence in enumerate(self._members)}
        for sequence in set(place).difference(sequences):
            if not sequence.ended:
                sequence.state = rows(self._state, [place[sequence]])
        joining = [sequence for sequence in sequences if sequence not in place]
        pool = join([*([self._state] if place else []), *(sequence.state for sequence in joining)])
        place |= {sequence: len(place) + index for index, sequence in enumerate(joining)}
        index = [place[sequence] for sequence in sequences]
        self._state = pool if index == list(range(len(place))) else rows(pool, index)
        self._members = sequences
        self._tokens_B = np.array([sequence.last_token for sequence in sequences], np.intp)
        self._ones_B = np.ones(len(sequences), np.int32)
        self._sampler = sampler_of(sequences)
        self.searches = [
            (sequence.beams, sequence.family)
            for sequence in sequences
            if sequence.beams is not None and sequence.sample == 0
        ]
        self._inline = [(row, sequence) for row, sequence in enumerate(sequences) if sequence.remaining]
        self._look_ahead()
        self._may_bar = [(row, sequence) for row, sequence in enumerate(sequences) if sequence.barred is not None]
        self._keepers = [(row, sequence) for row, sequence in enumerate(sequences) if sequence.request.keeps_state]


def sampler_of(sequences: list[GenerationSequence]) -> Sampler:
    """Draws the sequences' next tokens, a row each."""
    return Sampler([sequence.request.sampling for sequence in sequences], [sequence.history for sequence in sequences])


def uniforms(sequences: list[GenerationSequence], steps: int) -> DoubleArray:
    """The random numbers of each sequence's next steps: float64 (B, steps)."""
    return np.array([sequence.next_uniforms(steps) for sequence in sequences])


def barred(rows_: list[tuple[int, GenerationSequence]]) -> list[tuple[int, IdArray]]:
    """The rows in which some tokens may not come next, and these tokens."""
    return [(row, tokens) for row, sequence in rows_ if (tokens := sequence.barred) is not None]
