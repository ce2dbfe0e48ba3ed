"""A random walk over all that can happen to a scheduler; what has to hold is checked after every operation."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.requests import Received
from seqserve.server.engine.scheduler import Scheduler
from seqserve.server.engine.sequence import Sequence
from seqserve.server.engine.streaming import StepStreamSequence
from seqserve.server.errors import QueueFullError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.settings import BatchSettings
from tests.server.engine.sequences import a_generation, a_stream, carry_out, read_all


class SchedulerWalk(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(BatchSettings(), cuts=True)
        self.now_s = 0.0
        self.live: list[GenerationSequence] = []  # first samples of those who are in, by the test's own account
        self.open_streams: list[StepStreamSequence] = []  # the same, of those whose inputs come over time

    @initialize(
        size_max=st.integers(1, 6),
        queue_depth_max=st.integers(1, 6),
        prefill_length_max=st.integers(1, 5),
        prefill_tokens_max=st.integers(1, 12),
        inline_prefill_tokens_max=st.integers(0, 6),
        slice_tokens=st.integers(1, 5),
        tokens_ahead_max=st.integers(2, 9),
        open_streams_max=st.integers(1, 5),
    )
    def begin(self, **chosen: int) -> None:
        self.scheduler = Scheduler(BatchSettings(**chosen), cuts=True)

    @rule(
        prompt=st.integers(1, 12),
        max_tokens=st.integers(1, 20),
        samples=st.sampled_from([1, 1, 1, 2, 4]),
        beams=st.sampled_from([None, None, None, 2, 3]),
        received=st.sampled_from([0, 0, 1, 2, 9]),
        caller=st.sampled_from("ab"),
        priority=st.integers(-1, 1),
        patience=st.sampled_from([None, 1, 3]),
    )
    def add(
        self,
        prompt: int,
        max_tokens: int,
        samples: int,
        beams: int | None,
        received: int,
        caller: str,
        priority: int,
        patience: int | None,
    ) -> None:
        if beams is not None and beams > self.scheduler.settings.size_max:
            return  # the engine refuses these
        have = [Received((0,) * min(max_tokens, max(0, received - 3 * sample))) for sample in range(samples)]
        sequence = a_generation(
            prompt,
            received=have if received and not beams else (),
            max_tokens=max_tokens,
            samples=1 if beams else samples,
            beam_width=beams,
            caller=caller,
            priority=priority,
            deadline_s=None if patience is None else self.now_s + patience,
        )
        full = len(self.scheduler.waiting) >= self.scheduler.settings.queue_depth_max
        if full:
            with pytest.raises(QueueFullError):
                self.scheduler.add(sequence)
        else:
            self.scheduler.add(sequence)
            self.live.append(sequence)

    @rule(caller=st.sampled_from("ab"), patience=st.sampled_from([None, None, 2]))
    def open(self, caller: str, patience: int | None) -> None:
        feed = a_stream(caller=caller, deadline_s=None if patience is None else self.now_s + patience)
        if len(self.open_streams) >= self.scheduler.settings.open_streams_max:
            with pytest.raises(QueueFullError, match="client streams are open"):
                self.scheduler.open(feed)
        else:
            self.scheduler.open(feed)
            self.open_streams.append(feed)

    @rule(which=st.integers(0, 100), steps=st.integers(0, 9), ends=st.sampled_from(["", "", "sentence", "all"]))
    @precondition(lambda self: self.open_streams)
    def feed(self, which: int, steps: int, ends: str) -> None:
        feed = self.open_streams[which % len(self.open_streams)]
        if not feed.finished:
            if steps:
                feed.push(token_inputs([0] * steps))
            if ends == "sentence":
                feed.end_sentence()
            if ends == "all":
                feed.finish(None)
            self.scheduler.enqueue(feed)

    @rule(which=st.integers(0, 100))
    @precondition(lambda self: self.open_streams)
    def close(self, which: int) -> None:
        self.scheduler.remove(self.open_streams.pop(which % len(self.open_streams)))

    @rule(count=st.integers(1, 8))
    def steps(self, count: int) -> None:
        for _ in range(count):
            self.one_step()

    def one_step(self) -> bool:
        step = self.scheduler.schedule()
        if step is None:
            return False
        members = step.members
        assert len({id(member) for member in members}) == len(members)
        assert len(members) <= self.scheduler.settings.size_max
        assert not any(member.ended for member in members)
        assert all(member in [*self.everybody(), *self.open_streams] for member in members)
        carry_out(self.scheduler, step)
        self.forget_the_ended()
        self.check()
        return True

    @rule(which=st.integers(0, 100))
    @precondition(lambda self: self.live)
    def cancel(self, which: int) -> None:
        sequence = self.live[which % len(self.live)]
        self.scheduler.remove(sequence)
        assert all(member.ended for member in sequence.family)
        self.forget_the_ended()

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        due = {
            sequence
            for sequence in (*self.live, *self.open_streams)
            if sequence.admission.deadline_s is not None and sequence.admission.deadline_s <= self.now_s
        }
        assert set(self.scheduler.expired(self.now_s)) == due
        assert all(member.ended for sequence in due for member in sequence.members)
        self.forget_the_ended()

    @rule(which=st.integers(0, 100))
    @precondition(lambda self: self.live)
    def read(self, which: int) -> None:
        read_all(self.live[which % len(self.live)])

    def forget_the_ended(self) -> None:
        self.live = [sequence for sequence in self.live if not all(member.ended for member in sequence.family)]
        self.open_streams = [feed for feed in self.open_streams if not feed.ended]

    def everybody(self) -> list[Sequence]:
        return list(itertools.chain.from_iterable(sequence.members for sequence in self.live))

    @invariant()
    def check(self) -> None:
        scheduler = self.scheduler
        running = [*scheduler.prefilling, *scheduler.decoding, *scheduler.paused]
        places = [*scheduler.waiting, *running]
        assert len({id(sequence) for sequence in places}) == len(places), "in two places"
        assert not any(sequence.ended for sequence in running), "ended, but not gone"
        alive = {id(sequence) for sequence in self.everybody() if not sequence.ended}
        assert {id(sequence) for sequence in places if not sequence.ended} == alive, "lost, or nobody's"
        rows = sum(sequence.rows_needed for sequence in scheduler.prefilling) + len(scheduler.decoding)
        assert rows <= scheduler.settings.size_max, "more rows than a batch has"
        assert set(scheduler._slices) == set(scheduler.decoding)
        assert not any(sequence.remaining for sequence in scheduler.paused)
        assert scheduler.open_streams == set(self.open_streams)
        assert set(scheduler.ready_streams) == {feed for feed in self.open_streams if feed.due}, (
            "forgotten, or in line for nothing"
        )
        assert all(sequence.backlog <= scheduler.settings.tokens_ahead_max for sequence in self.everybody())

    def teardown(self) -> None:
        """With readers that read, everybody comes to an end; and then nothing is left."""
        for feed in self.open_streams:
            feed.finish(None)
            self.scheduler.enqueue(feed)
        for _ in range(10_000):
            for sequence in self.live:
                read_all(sequence)
            if not self.one_step():
                break
        assert not self.live
        assert not self.open_streams
        assert self.scheduler.idle
        assert not self.scheduler._slices
        self.scheduler.expired(1e9)
        assert not self.scheduler._deadlines


TestSchedulerWalk = SchedulerWalk.TestCase
TestSchedulerWalk.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
