"""Runs prefill, decode and stream steps for an engine's sequences. On the engine's thread.

Axes: B sequences, T steps, U units of a packed state, V vocabulary or labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqserve.server.decoding.logprobs import unusable_rows
from seqserve.server.engine.decode_batch import DecodeBatch
from seqserve.server.engine.generation import GenerationSequence, accept_tokens, advance_search
from seqserve.server.engine.output_stream import OutputStream, StepOutputs
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.sequence import PrefillSequence, Sequence, UnusableScoresError
from seqserve.server.engine.stats import EngineStats
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.errors import NonFiniteOutputError, ServeError
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, join, pack, rows, unpack


class Runner:
    """Runs the steps of one engine.

    Attributes:
        prefixes: The cache of states by prompt prefix.
        stats: The engine's counters; the runner counts steps and tokens.
        now_s: The engine's clock, in seconds.
        fork: Makes a sequence's forks and queues them, under the engine's lock.
        remove: Removes a sequence that failed, and its forks, from the scheduler, under the engine's lock.
    """

    def __init__(
        self,
        servable: Servable,
        prefixes: PrefixCache,
        stats: EngineStats,
        clock: Callable[[], float],
        fork: Callable[[PrefillSequence], None],
        remove: Callable[[Sequence], None],
    ) -> None:
        self.prefixes = prefixes
        self.stats = stats
        self.now_s = clock
        self.fork = fork
        self.remove = remove
        self._servable = servable
        self._decoding = DecodeBatch(servable)

    def prefill(self, members: list[tuple[PrefillSequence, int]]) -> StepOutputs:
        """Consumes known inputs.

        Args:
            members: At least one sequence, and how many of its steps to consume.

        Returns:
            The first tokens of prompts, and the results of other inputs, that are consumed now.
        """
        self._count([count for _, count in members])
        now_s = self.now_s()
        inputs = [sequence.take(count, now_s) for sequence, count in members]
        outputs, state = self._servable.run(inputs, join([sequence.state for sequence, _ in members]))
        step_outputs: StepOutputs = []
        for row, (sequence, count) in enumerate(members):
            sequence.state = rows(state, [row])
            if sequence.ended:  # cancelled during the step
                continue
            try:
                step_outputs += sequence.prefilled([output[:count, row] for output in outputs], self)
            except UnusableScoresError:
                step_outputs.append(self._fail(sequence))
        return step_outputs

    def decode(self, sequences: list[GenerationSequence]) -> StepOutputs:
        """Feeds each sequence its next token and appends the one that is drawn; see DecodeBatch.step.

        Args:
            sequences: At least one. The same list object as last time means the same members.
        """
        self.stats.decode_steps += 1
        try:
            return self._decode(sequences)
        except Exception:
            self._decoding = DecodeBatch(self._servable)  # its state is unknown now, and its members fail
            raise

    def _decode(self, sequences: list[GenerationSequence]) -> StepOutputs:
        tokens_B, logits_BV = self._decoding.step(sequences, self.now_s())
        searches = [(search, family) for search, family in self._decoding.searches if not family[0].ended]
        if not searches:
            outputs = self._accept(sequences, tokens_B.tolist(), logits_BV)
            self._decoding.return_states()
            return outputs
        rows_of = {sequence: row for row, sequence in enumerate(sequences)}
        plain = [sequence for sequence in sequences if sequence.beams is None]
        places = [rows_of[sequence] for sequence in plain]
        outputs = self._accept(plain, tokens_B[places].tolist(), logits_BV[places])
        self._decoding.return_states()
        index, tokens = list(range(len(sequences))), tokens_B.tolist()
        for search, family in searches:
            places = [rows_of[member] for member in family]
            try:
                outputs += advance_search(search, family, logits_BV[places], self.now_s())
            except UnusableScoresError:
                outputs.append(self._fail(family[0]))
                continue
            for member, parent in zip(family, family[0].parents, strict=True):
                index[rows_of[member]], tokens[rows_of[member]] = places[parent], member.last_token
        self._decoding.reorder(index, tokens)
        return outputs

    def feed(self, members: list[tuple[StreamingSequence, int]]) -> StepOutputs:
        """Consumes pushed inputs, in one run of the graph.

        Args:
            members: At least one sequence, and how many of its steps to consume; 0: only an end to publish, of a
                sentence or of the stream.
        """
        now_s = self.now_s()
        outputs: StepOutputs = []
        running = [(sequence, count) for sequence, count in members if count]
        if running:
            self._count([count for _, count in running])
            inputs = [sequence.take(count) for sequence, count in running]
            rows_BU = np.concatenate([sequence.row for sequence, _ in running]).reshape(len(running), -1)
            (scores_TBV, *_), state = self._servable.run(inputs, unpack(rows_BU, running[0][0].state))
            rows_BU = pack(state) if state else np.empty((len(running), 0), np.float32)
            for row, (sequence, count) in enumerate(running):
                sequence.mark_started(now_s)
                sequence.carry(rows_BU[row].copy())  # its own, so that it does not keep the other rows alive
                if len(unusable_rows(scores_TBV[:count, row])):
                    outputs.append(self._fail(sequence))
                else:
                    sequence.record(scores_TBV[:count, row])
            for kind in {type(sequence) for sequence, _ in running}:
                kind.evaluate([sequence for sequence, _ in running if type(sequence) is kind and not sequence.ended])
        now_s = self.now_s()
        for sequence, _ in members:
            if sequence.ended:  # cancelled during the step, or failed
                continue
            if (output := sequence.collect()) is not None:
                sequence.mark_first_output(now_s)
                outputs.append((sequence.stream, output))
            if sequence.done:
                outputs.append((sequence.stream, sequence.result(now_s)))
        return outputs

    def _accept(self, sequences: list[GenerationSequence], tokens: list[int], logits_BV: FloatArray) -> StepOutputs:
        """Appends a token to each sequence; those without one (-1) fail alone."""
        failed: StepOutputs = []
        if min(tokens, default=0) < 0:
            for sequence, token in zip(sequences, tokens, strict=True):
                if token < 0 and not (sequence.ended or sequence.remaining):
                    failed.append(self._fail(sequence))
        outputs = accept_tokens(sequences, tokens, logits_BV, self.now_s())
        self.stats.generated_tokens += len(outputs)
        return outputs + failed

    def _fail(self, sequence: Sequence) -> tuple[OutputStream, ServeError]:
        """Ends a sequence whose scores are unusable, and its forks; returns what its reader gets."""
        self.remove(sequence)
        self.stats.failed_rows += 1
        error = NonFiniteOutputError(
            f"the outputs of model {self._servable.id.model!r} for this sequence are not finite numbers; start from "
            "another state, or without one"
        )
        return sequence.stream, error

    def _count(self, counts: list[int]) -> None:
        """Counts a run over known inputs: its steps, and the steps that its rows are padded to."""
        self.stats.prefill_steps += 1
        self.stats.prefill_tokens += sum(counts)
        self.stats.prefill_padded_tokens += len(counts) * max(counts)
