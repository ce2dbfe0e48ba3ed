"""The decode batch: the generations that share a step, their carried state and their sampler.

While the members stay the same, the state that one step returns is the next step's input, untouched, and the drawn
tokens are its tokens. A member whose prompt is not consumed yet (inline prefill) is fed its next known token
instead.

Axes: B sequences, S steps ahead, V vocabulary.
"""

from __future__ import annotations

import numpy as np

from seqserve.server.decoding.beam_search import BeamSearch
from seqserve.server.decoding.sampling import DoubleArray, IdArray, Sampler
from seqserve.server.engine.generation import GenerationSequence, barred_rows, sampler_of, uniforms
from seqserve.server.model.inputs import TOKENS
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, State, join, rows

_STEPS_AHEAD = 16  # random numbers are drawn for this many steps at a time


class DecodeBatch:
    """Runs decode steps for a changing set of generations.

    Attributes:
        searches: The beam searches among the members, each with its beams.
    """

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
        self._keep_state: list[tuple[int, GenerationSequence]] = []

    def step(self, sequences: list[GenerationSequence], now_s: float) -> tuple[IdArray, FloatArray]:
        """Feeds each sequence its next token and draws the one after.

        Args:
            sequences: At least one. The same list object as last time means the same members.
            now_s: The time on the engine's clock, in seconds.

        Returns:
            The drawn tokens (B,), -1 where none can be drawn, and the logits they were drawn from, float32 (B, V). The
            token drawn for a sequence that still has known inputs is not part of it.
        """
        if sequences is not self._members:
            self._change_members(sequences)
        elif self._column == _STEPS_AHEAD:
            self._draw_uniforms()
        for row, sequence in self._inline:
            self._tokens_B[row] = sequence.take(1, now_s).arrays[TOKENS][0]
        tokens_1B = self._tokens_B[None, :].astype(np.int32)
        outputs, self._state = self._servable.run_arrays({TOKENS: tokens_1B}, self._ones_B, self._state)
        logits_BV = outputs[0][0]
        for row, sequence in self._inline:
            sequence.record([logits_BV[row : row + 1]])
        u_B, self._column = self._u_BS[:, self._column], self._column + 1
        self._tokens_B = self._sampler.draw(logits_BV, u_B, barred_rows(self._may_bar))
        if self._inline:
            self._tokens_B[[row for row, sequence in self._inline if sequence.unusable]] = -1
            self._inline = [(row, sequence) for row, sequence in self._inline if sequence.remaining]
        return self._tokens_B, logits_BV

    def return_states(self) -> None:
        """Gives the members that ended with the last step their state, if requested: without the drawn token."""
        for row, sequence in self._keep_state:
            if sequence.ended:
                sequence.state = rows(self._state, [row])

    def reorder(self, index: list[int], tokens: list[int]) -> None:
        """Reorders the states: row i continues from row ``index[i]``, and is fed ``tokens[i]`` next."""
        self._state = rows(self._state, index)
        self._tokens_B = np.array(tokens, np.intp)

    def _draw_uniforms(self) -> None:
        """Draws the members' random numbers for the next steps."""
        self._u_BS, self._column = uniforms(self._members, _STEPS_AHEAD), 0

    def _change_members(self, sequences: list[GenerationSequence]) -> None:
        """Returns the state of each leaving sequence to it, and takes in the states of those that join."""
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
        self._draw_uniforms()
        self._may_bar = [(row, sequence) for row, sequence in enumerate(sequences) if sequence.barred is not None]
        self._keep_state = [(row, sequence) for row, sequence in enumerate(sequences) if sequence.request.keeps_state]
