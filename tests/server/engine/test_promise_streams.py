"""Promise 1 for feeds: what a feed is answered depends on what it was fed alone, whatever happens around it.

Random operations on feeds and generations of one engine: feeding, ends of sentences, readers that stall, cancels,
deadlines, ends with and without an error. Every answer is that of the model alone, to the bit; what ends, ends
completely; some sequences begin where a feed ended; and nothing is left.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from seqserve.server.engine.requests import ScoreStreamRequest, StepStreamRequest
from seqserve.server.engine.sequence import Sequence
from seqserve.server.errors import InvalidFieldError, QueueFullError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.settings import BatchSettings
from tests.server.engine.conftest import Load
from tests.server.engine.reference import NOTHING, Past
from tests.server.engine.rig import LoadedModel
from tests.server.engine.sequences import generation_request
from tests.server.engine.streams import Feeder, FeedRig

OPERATIONS = 6_000  # in each of six walks

WALKS = [
    BatchSettings(size_max=4, queue_depth_max=6, prefill_length_max=4, prefill_tokens_max=16,
                  inline_prefill_tokens_max=6, slice_tokens=3, tokens_ahead_max=4, open_streams_max=8),
    BatchSettings(size_max=16, queue_depth_max=10, prefill_length_max=3, slice_tokens=5, open_streams_max=24),
    BatchSettings(size_max=2, queue_depth_max=4, prefill_length_max=1, prefill_tokens_max=1, open_streams_max=5),
]  # fmt: skip


class Walk:
    """One engine under random operations."""

    def __init__(self, model: LoadedModel, settings: BatchSettings, seed: int) -> None:
        self.model = model
        self.random = np.random.default_rng(seed)
        self.rig = FeedRig(model, settings)
        self.kept: list[tuple[SequenceState, Past]] = []
        self.lost: list[weakref.ref[Sequence]] = []
        self.counts = dict.fromkeys(
            ("opened", "refused", "ended", "failed", "expired", "cancelled", "stalled", "continued", "texts"), 0
        )
        self.answered = 0

    def operate(self) -> None:
        feeders, feeder = self.rig.feeders, self.one()
        match int(self.random.integers(0, 20)):
            case 0 | 1:
                self.open()
            case 2:
                self.generate()
            case 3 | 4 | 5 | 6 | 7 if feeder is not None and not feeder.finished:
                self.feed(feeder)
            case 8 if feeder is not None and self.random.random() < 0.3:
                feeder.read()
                self.check(feeder)
                self.rig.leave(feeder)
                self.counts["cancelled"] += 1
            case 9 if feeder is not None:
                feeder.stalls = not feeder.stalls
                self.counts["stalled"] += feeder.stalls
            case 10:
                self.rig.clock.advance(float(self.random.random()))
            case 11 if feeders and feeder is not None and not feeder.finished:
                broken = self.random.random() < 0.2
                feeder.finish(InvalidFieldError("no such token", field="text") if broken else None)
            case _:
                self.step()

    def one(self) -> Feeder | None:
        feeders = self.rig.feeders
        return feeders[int(self.random.integers(len(feeders)))] if feeders else None

    def tokens(self, count: int) -> list[int]:
        tokens: list[int] = self.random.integers(0, 4, count).tolist()  # few, so that the oracle knows most of them
        return tokens

    def begin(self, *, trails: bool) -> tuple[SequenceState, Past]:
        """Returns a new sequence, or one that continues."""
        fitting = [entry for entry in self.kept if (entry[0].last_token is not None) == trails]
        if not fitting or self.random.random() < 0.6:
            return SequenceState.new(), NOTHING
        self.counts["continued"] += 1
        return fitting[int(self.random.integers(len(fitting)))]

    def open(self) -> None:
        scores = bool(self.random.random() < 0.5)
        start, past = self.begin(trails=scores)
        keeps = bool(self.random.random() < 0.5)
        request: Any = (
            ScoreStreamRequest(int(self.random.integers(3)), start, keeps)
            if scores
            else StepStreamRequest(start, keeps)
        )
        deadline_s = self.rig.clock.now_s + float(self.random.choice([2.0, 60.0]))
        try:
            feeder = self.rig.open(request, past, deadline_s=deadline_s if self.random.random() < 0.3 else None)
        except QueueFullError:
            assert len(self.rig.scheduler.open_streams) >= self.rig.scheduler.settings.open_streams_max
            self.counts["refused"] += 1
        else:
            self.lost.append(weakref.ref(feeder.stream.sequence))
            self.counts["opened"] += 1

    def feed(self, feeder: Feeder) -> None:
        if count := int(self.random.choice([0, 1, 1, 1, 2, 3, 9])):
            feeder.give(self.tokens(count))
        if isinstance(feeder.request, StepStreamRequest) and self.random.random() < 0.2:
            feeder.end_sentence()

    def generate(self) -> None:
        start, past = self.begin(trails=True)
        try:
            self.rig.start(generation_request(self.tokens(5), max_tokens=8, top_k=3, start=start), past)
        except QueueFullError:
            self.counts["refused"] += 1

    def step(self) -> bool:
        ran = self.rig.step()
        for reader in [reader for reader in self.rig.readers if reader.done]:
            assert tuple(reader.text) == self.model.oracle.text(reader.request, 0, reader.past).tokens  # type: ignore[arg-type]
            self.rig.readers.remove(reader)
            self.counts["texts"] += 1
        for feeder in [feeder for feeder in self.rig.feeders if feeder.done and not feeder.stalls]:
            self.check(feeder)
            self.rig.feeders.remove(feeder)
            self.counts["ended"] += feeder.error is None
            self.counts["failed"] += isinstance(feeder.error, InvalidFieldError)
            self.counts["expired"] += feeder.error is not None and not isinstance(feeder.error, InvalidFieldError)
            if feeder.error is None and feeder.request.keeps_state and len(feeder.past.tokens) + len(feeder.tokens):
                start, past = feeder.following()
                if not feeder.ends and start.position < 40:
                    self.kept = [*self.kept[-11:], (start, past)]
        return ran

    def check(self, feeder: Feeder) -> None:
        self.answered += feeder.check(self.model.oracle)
        if isinstance(feeder.error, InvalidFieldError):  # what came before the error was answered
            reported = (
                len(feeder.reports) if isinstance(feeder.request, ScoreStreamRequest) else sum(map(len, feeder.steps))
            )
            first = isinstance(feeder.request, ScoreStreamRequest) and not feeder.past.tokens
            assert reported == max(0, len(feeder.tokens) - first)

    def finish_all(self) -> None:
        for feeder in self.rig.feeders:
            feeder.stalls = False
            if not feeder.finished:
                feeder.finish()

    def end(self) -> None:
        """Everybody reads and comes to an end; then nothing is left."""
        self.finish_all()
        while self.rig.feeders or self.rig.readers:
            self.step()
        self.rig.run()
        self.rig.assert_nothing_is_left()
        self.rig.start(generation_request([0], max_tokens=3))  # a batch without those who were in the last one
        self.rig.run()
        gc.collect()
        assert [left for reference in self.lost if (left := reference()) is not None] == []


@pytest.mark.parametrize("walk", range(len(WALKS)))
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm int8"])
def test_no_answer_ever_differs_from_that_to_the_feed_alone(load: Load, cell: str, walk: int) -> None:
    walked = Walk(load(cell, 1, 8), WALKS[walk], seed=walk + 10 * (cell == "gru"))
    for _ in range(OPERATIONS):
        walked.operate()
    walked.end()
    assert min(walked.counts.values()) > 10, walked.counts
    assert walked.answered > OPERATIONS / 6, walked.answered
