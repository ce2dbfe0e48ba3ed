"""Promise 1: a sequence's state belongs to its sequence alone, whatever happens around it.

100,000 random operations, against an oracle that runs each sequence alone: every token that anybody receives is the
oracle's, what comes to its end is all of it, and nothing is left at the end. Some sequences begin from the state that
an earlier one left, several from the same; some go on from what their callers had received of them.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from seqserve.server.engine.output_stream import BeamResult, ScoreResult
from seqserve.server.engine.requests import GenerationRequest, Received, Request, ScoringRequest
from seqserve.server.engine.sequence import Sequence
from seqserve.server.errors import DeadlineError, QueueFullError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.settings import BatchSettings
from seqserve.v1 import manifest_pb2 as pb
from tests.server.engine.conftest import Load
from tests.server.engine.reference import NOTHING, Past
from tests.server.engine.rig import LoadedModel, Reader, Rig
from tests.server.engine.sequences import generation_request

OPERATIONS = 12_500  # in each of eight walks

KINDS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.8},
    {"top_k": 4},
    {"top_p": 0.7, "repetition_penalty": 1.4},
    {"temperature": 0.0, "presence_penalty": 1.0, "frequency_penalty": 0.3},
    {"stopping": {"stop_tokens": frozenset({3, 11, 20})}},
    {"stopping": {"stop": ("b", "de"), "stop_tokens": frozenset({4})}},
    {"samples": 3},
    {"samples": 2, "top_k": 3, "frequency_penalty": 0.5},
    {"beam_width": 3, "samples": 2},
    {"beam_width": 2, "stopping": {"stop_tokens": frozenset({3, 11, 20, 22})}},
]

WALKS = [
    BatchSettings(size_max=4, queue_depth_max=6, prefill_length_max=4, prefill_tokens_max=16,
                  inline_prefill_tokens_max=6, slice_tokens=3, tokens_ahead_max=4),
    BatchSettings(size_max=16, queue_depth_max=10, prefill_length_max=16, inline_prefill_tokens_max=0, slice_tokens=5,
                  tokens_ahead_max=3, prefix_cache_bytes_max=2000),
    BatchSettings(size_max=3, queue_depth_max=4, prefill_length_max=3, prefill_tokens_max=7,
                  inline_prefill_tokens_max=32, slice_tokens=1, tokens_ahead_max=2),
    BatchSettings(size_max=24, queue_depth_max=24, prefill_length_max=8, prefix_cache_bytes_max=0),
]  # fmt: skip


class Walk:
    """One engine under random operations."""

    def __init__(self, model: LoadedModel, settings: BatchSettings, seed: int) -> None:
        self.model = model
        self.random = np.random.default_rng(seed)
        self.rig = Rig(model, settings)
        self.operations = 0
        self.prompts = [model.prompt(length, length) for length in (1, 1, 2, 5, 8, 9, 16, 17, 23, 30, 34, 39)]
        self.prompts += [[*self.prompts[8], *prompt] for prompt in self.prompts[:6]]  # these share a beginning
        self.lost: list[weakref.ref[Sequence]] = []
        self.counts: dict[str, int] = dict.fromkeys(
            ("finished", "cancelled", "expired", "refused", "tokens", "partial", "stalled", "continued", "resumed"), 0
        )
        self.kept: list[tuple[SequenceState, Past]] = []
        self.results: dict[tuple[object, ...], Any] = {}

    def operate(self) -> None:
        self.operations += 1
        match int(self.random.integers(0, 20)):
            case 0 | 1 | 2:
                self.start()
                if self.random.random() < 0.02:  # a rush
                    for _ in range(self.rig.scheduler.settings.queue_depth_max):
                        self.operations += 1
                        self.start()
            case 3 if self.rig.readers:
                self.leave(self.one())
            case 4 if self.rig.readers:
                self.one().stalls = True
                self.counts["stalled"] += 1
            case 5 | 6 if self.rig.readers:
                reader = self.one()
                reader.stalls = False
                reader.read()
            case 7:
                self.rig.clock.advance(float(self.random.random()))
            case _:
                self.step()

    def start(self) -> None:
        prompt = self.prompts[int(self.random.integers(len(self.prompts)))]
        start, past = SequenceState.new(), NOTHING
        if self.kept and self.random.random() < 0.3:
            start, past = self.kept[int(self.random.integers(len(self.kept)))]
            self.counts["continued"] += 1
        kind = int(self.random.integers(-1, len(KINDS)))
        request: Request
        if kind < 0:
            request = ScoringRequest(token_inputs(prompt), start=start)
        else:
            request = generation_request(
                [] if past.tokens and kind % 2 else prompt,
                start=start,
                keeps_state=self.random.random() < 0.5,
                **({"seed": int(self.random.integers(3)), "max_tokens": 4 + 3 * (kind % 5)} | KINDS[kind]),
            )
            if request.beams is None and self.random.random() < 0.1:
                request = replace(request, received=self.received(request, past))
                self.counts["resumed"] += 1
        patience_s = float(self.random.choice([np.inf, np.inf, 0.5, 2.0, 8.0]))
        admission = {
            "caller": "abc"[int(self.random.integers(3))],
            "priority": int(self.random.integers(-1, 2)),
            "deadline_s": None if patience_s == np.inf else self.rig.clock.now_s + patience_s,
        }
        try:
            reader = self.rig.start(request, past, **admission)
        except QueueFullError:
            assert len(self.rig.scheduler.waiting) >= self.rig.scheduler.settings.queue_depth_max
            self.counts["refused"] += 1
        else:
            self.lost.append(weakref.ref(reader.sequence))

    def received(self, request: GenerationRequest, past: Past) -> tuple[Received, ...]:
        """Some of each sample's tokens."""
        texts = [self.model.oracle.text(request, sample, past).tokens for sample in range(request.samples)]
        return tuple(Received(tokens[: int(self.random.integers(len(tokens) + 1))]) for tokens in texts)

    def one(self) -> Reader:
        return self.rig.readers[int(self.random.integers(len(self.rig.readers)))]

    def leave(self, reader: Reader) -> None:
        self.check(reader)
        self.rig.cancel(reader)
        self.counts["cancelled"] += 1
        self.counts["partial"] += bool(reader.text)

    def step(self) -> bool:
        ran = self.rig.step()
        now_s, ahead = self.rig.clock.now_s, self.rig.scheduler.settings.tokens_ahead_max
        for reader in list(self.rig.readers):
            assert reader.sequence.backlog <= ahead
            deadline_s = reader.sequence.admission.deadline_s
            if deadline_s is not None and deadline_s <= now_s:
                assert reader.sequence.ended
            if reader.done:
                self.check(reader)
                self.rig.readers.remove(reader)
                if reader.error is None:
                    self.counts["finished"] += 1
                    self.keep(reader)
                else:
                    assert isinstance(reader.error, DeadlineError)
                    assert deadline_s is not None
                    assert deadline_s <= now_s
                    self.counts["expired"] += 1
        return ran

    def keep(self, reader: Reader) -> None:
        """What a sequence leaves, some go on from, more than once."""
        if isinstance(reader.request, GenerationRequest) and reader.request.keeps_state and reader.ends:
            start, past = reader.following(int(self.random.integers(reader.request.samples)))
            if start.position < 70:
                self.kept = [*self.kept[-11:], (start, past)]

    def check(self, reader: Reader) -> None:
        """What the reader has received is what the sequence alone would have given."""
        request = reader.request
        if not isinstance(request, GenerationRequest):
            if isinstance(reader.result, ScoreResult):
                logprobs = [report.chosen.logprob for report in reader.result.reports]
                tokens = request.inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()
                np.testing.assert_allclose(logprobs, self.expected("score", tokens, reader.past), rtol=0, atol=1e-12)
            return
        if isinstance(reader.result, BeamResult):
            self.check_search(request, reader.result, reader.past)
        for sample, tokens in reader.tokens.items():
            expected = self.model.oracle.text(request, sample, reader.past)
            had = len(request.received[sample].tokens) if request.received else 0
            assert tuple(tokens) == expected.tokens[had : had + len(tokens)]
            if sample in reader.ends:
                assert had + len(tokens) == len(expected.tokens)
            self.counts["tokens"] += len(tokens)

    def check_search(self, request: GenerationRequest, search: BeamResult, past: Past) -> None:
        expected = self.expected("search", request, past)
        assert [hypothesis.tokens for hypothesis in search.hypotheses] == [tokens for tokens, _ in expected]
        np.testing.assert_allclose(
            [hypothesis.logprob for hypothesis in search.hypotheses], [logprob for _, logprob in expected], atol=1e-10
        )

    def expected(self, what: str, requested: Any, past: Past) -> Any:
        oracle = self.model.oracle
        if isinstance(requested, GenerationRequest):
            prompt = requested.inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()
            key: tuple[object, ...] = (
                what,
                *past.tokens,
                None,
                *prompt,
                repr(requested.stopping),
                requested.beams,
                requested.samples,
            )
        else:
            key = (what, *past.tokens, None, *requested)
        if key not in self.results:
            self.results[key] = oracle.search(requested, past) if what == "search" else oracle.logprobs(requested, past)
        return self.results[key]

    def all_read(self) -> None:
        for reader in self.rig.readers:
            reader.stalls = False
            reader.read()

    def end(self) -> None:
        """Everybody reads again, and comes to an end; then nothing is left."""
        while self.rig.readers:
            self.all_read()
            self.rig.clock.advance(0.01)
            self.step()
        self.rig.run()
        self.rig.assert_nothing_is_left()
        last = self.rig.start(generation_request([0], max_tokens=3))  # a batch without those who were in the last one
        self.rig.run()
        self.check(last)
        gc.collect()
        assert [left for reference in self.lost if (left := reference()) is not None] == []


@pytest.mark.parametrize("walk", range(len(WALKS)))
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm int8"])
def test_no_token_ever_differs_from_that_of_the_sequence_alone(load: Load, cell: str, walk: int) -> None:
    walked = Walk(load(cell, 1, 8), WALKS[walk], seed=walk + 10 * (cell == "gru"))
    while walked.operations < OPERATIONS:
        walked.operate()
    walked.end()
    assert min(walked.counts.values()) > 20, walked.counts
    assert walked.counts["tokens"] > OPERATIONS / 2, walked.counts
