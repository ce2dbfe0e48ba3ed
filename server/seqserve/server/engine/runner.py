"""What comes of known inputs: results, and texts that grow, from a prompt's first tokens on.

Axes: B sequences, R beams of a search, T steps, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqserve.server.decoding.beam_search import BeamSearch
from seqserve.server.decoding.logprobs import log_softmax
from seqserve.server.engine.decode_batch import DecodingBatch, barred, sampler_of, uniforms
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.output_dispatcher import StepOutputs
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.sequence import PrefillOnlySequence, PrefillSequence
from seqserve.server.engine.stats import EngineStats
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray, join, rows


class Runner:
    """Reads prompts and other inputs, and steps the generations of one engine."""

    def __init__(
        self,
        servable: Servable,
        prefixes: PrefixCache,
        fork: Callable[[GenerationSequence], None],
        stats: EngineStats,
        clock: Callable[[], float],
    ) -> None:
        """Args: fork: puts the further samples of a prompt in line. stats: where the tokens are counted."""
        self._servable = servable
        self._prefixes = prefixes
        self._decoding = DecodingBatch(servable)
        self._fork = fork
        self._stats = stats
        self._clock = clock

    def forget(self) -> None:
        """Begin with an empty decoding batch: a step of it failed, and so did its members."""
        self._decoding = DecodingBatch(self._servable)

    def read(self, read: list[tuple[PrefillSequence, int]]) -> StepOutputs:
        """Consume so many steps of each; a prompt that is read gives its first token, another input its result."""
        now_s = self._clock()
        sequences = [sequence for sequence, _ in read]
        inputs = [sequence.take(count, now_s) for sequence, count in read]
        outputs, state = self._servable.run(inputs, join([sequence.state for sequence in sequences]))
        published: StepOutputs = []
        for row, (sequence, count) in enumerate(read):
            sequence.state = rows(state, [row])
            if sequence.ended:  # cancelled while the step ran
                continue
            sequence.read([output[:count, row] for output in outputs])
            if isinstance(sequence, GenerationSequence) and sequence.generated:
                published += self._recall(sequence, outputs[0][:count, row])
            elif isinstance(sequence, GenerationSequence):
                self._prefixes.keep(sequence.prefix_keys, sequence.consumed, sequence.state)
                if not sequence.remaining:
                    published += self._begin(sequence, outputs[0][count - 1, row : row + 1])
            elif isinstance(sequence, PrefillOnlySequence) and not sequence.remaining:
                published.append((sequence.stream, sequence.finish(self._clock())))
        return published

    def _begin(self, sequence: GenerationSequence, logits_1V: FloatArray) -> StepOutputs:
        """The first tokens after a prompt: one for each sample, drawn or received before, or the first beams."""
        if sequence.beams is not None:
            while len(sequence.family) < sequence.beams.width:
                sequence.fork(len(sequence.family))
            return self._advance_search(sequence.beams, sequence.family, logits_1V)
        self._fork(sequence)
        published: StepOutputs = []
        for member in sequence.family:
            if member.recalls:
                published += self._recall(member, logits_1V)
        family = [member for member in sequence.family if not member.generated]
        if not family:
            return published
        logits_BV = np.repeat(logits_1V, len(family), axis=0)
        tokens_B = sampler_of(family).draw(logits_BV, uniforms(family, 1)[:, 0], barred(list(enumerate(family))))
        return published + self._accept(family, tokens_B.tolist(), logits_BV)

    def _recall(self, sequence: GenerationSequence, logits_TV: FloatArray) -> StepOutputs:
        """Append what the caller has received already; there is nothing to tell but the end, if that is one."""
        output = sequence.recall(logits_TV, self._clock())
        return [] if output is None else [(sequence.stream, output)]

    def decode(self, sequences: list[GenerationSequence]) -> StepOutputs:
        """Feed each sequence its next token and append the one that is drawn; see DecodingBatch.step."""
        self._stats.decode_steps += 1
        tokens_B, logits_BV = self._decoding.step(sequences, self._clock())
        searches = [(search, family) for search, family in self._decoding.searches if not family[0].ended]
        if not searches:
            published = self._accept(sequences, tokens_B.tolist(), logits_BV)
            self._decoding.give_back()
            return published
        rows_of = {sequence: row for row, sequence in enumerate(sequences)}
        plain = [sequence for sequence in sequences if sequence.beams is None]
        places = [rows_of[sequence] for sequence in plain]
        published = self._accept(plain, tokens_B[places].tolist(), logits_BV[places])
        self._decoding.give_back()
        index, tokens = list(range(len(sequences))), tokens_B.tolist()
        for search, family in searches:
            places = [rows_of[member] for member in family]
            published += self._advance_search(search, family, logits_BV[places])
            for member, parent in zip(family, family[0].parents, strict=True):
                index[rows_of[member]], tokens[rows_of[member]] = places[parent], member.last_token
        self._decoding.reorder(index, tokens)
        return published

    def _advance_search(
        self, search: BeamSearch, family: list[GenerationSequence], logits_RV: FloatArray
    ) -> StepOutputs:
        """One step of a beam search: which beams go on, from which rows; its result at the end."""
        first = family[0]
        choice = search.advance(log_softmax(logits_RV))
        if choice is None:
            for member in family:
                member.ended = True
            return [(first.stream, first.search_result(search, self._clock()))]
        first.parents = choice.parents
        for member, token in zip(family, choice.tokens, strict=True):
            member.last_token = token
            member.generated += 1
        return []

    def _accept(self, sequences: list[GenerationSequence], tokens: list[int], logits_BV: FloatArray) -> StepOutputs:
        now_s = self._clock()
        published: StepOutputs = [
            (sequence.stream, sequence.accept(token, logits, now_s))
            for sequence, token, logits in zip(sequences, tokens, logits_BV, strict=True)
            if not (sequence.ended or sequence.remaining)  # cancelled while the step ran; still reading its prompt
        ]
        self._stats.generated_tokens += len(published)
        return published
