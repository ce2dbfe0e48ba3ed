"""Sequences whose inputs come over time: what those who feed them and those beside them rely on."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from seqserve.server.engine.pool import EnginePool
from seqserve.server.engine.requests import ScoreStreamRequest, StepStreamRequest
from seqserve.server.errors import DeadlineError, DrainingError, InternalError, InvalidFieldError, QueueFullError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.settings import BatchSettings
from seqserve.server.testing import ManualClock
from tests.server.engine.reference import Past
from tests.server.engine.rig import LoadedModel, during_the_next_run
from tests.server.engine.sequences import generation_request
from tests.server.engine.streams import FeedRig


def test_feeds_with_a_token_each_share_one_run(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeders = [rig.open(StepStreamRequest()) for _ in range(64)]
    for round_ in range(3):
        for index, feeder in enumerate(feeders):
            feeder.give([(index + round_) % 20])
        rig.run()
        assert rig.steps == round_ + 1
    assert [feeder.check(tiny.oracle) for feeder in feeders] == [3] * 64


def test_a_stream_that_rests_is_in_no_line_and_costs_no_step(tiny: LoadedModel) -> None:
    alone, rig = FeedRig(tiny), FeedRig(tiny, BatchSettings(queue_depth_max=1, size_max=2))
    feeders = [rig.open(ScoreStreamRequest()) for _ in range(100)]
    for feeder in feeders:
        feeder.give(tiny.prompt(4))
    rig.run()
    assert rig.scheduler.idle
    before = rig.steps
    reader = rig.start(generation_request(tiny.prompt(3), max_tokens=10))
    counts = rig.engine.stats()
    assert (counts.waiting, counts.prefilling, counts.open_streams) == (1, 0, 100)
    rig.run()
    alone.start(generation_request(tiny.prompt(3), max_tokens=10))
    alone.run()
    assert rig.steps - before == alone.steps
    assert len(reader.text) == 10


def test_the_first_token_of_a_new_sequence_is_read_when_the_second_comes(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeder = rig.open(ScoreStreamRequest())
    feeder.give([5])
    rig.run()
    assert rig.steps == 0
    feeder.give([6])
    rig.run()
    assert rig.steps == 1
    assert feeder.check(tiny.oracle) == 1


def test_one_who_is_fed_much_does_not_hold_up_one_who_is_fed_little(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny, BatchSettings(prefill_length_max=8, prefill_tokens_max=64))
    much, little = rig.open(StepStreamRequest()), rig.open(StepStreamRequest())
    much.give(tiny.prompt(500))
    for count in range(1, 6):
        little.give([3])
        for _ in range(2):
            rig.step()
        assert sum(map(len, little.steps)) == count
    rig.run()
    assert much.check(tiny.oracle) == 500


def test_a_prompt_is_read_in_small_pieces_while_feeds_speak_and_not_while_they_rest(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny, BatchSettings(prefill_length_max=8, prefill_tokens_max=512, inline_prefill_tokens_max=0))
    feeder = rig.open(StepStreamRequest())
    rig.start(generation_request(tiny.prompt(400), max_tokens=2))
    rig.step()
    assert rig.engine.stats().prefill_tokens == 400
    rig.start(generation_request(tiny.prompt(400), max_tokens=2))
    for _ in range(5):
        feeder.give([1])
        before, reported = rig.engine.stats().prefill_tokens, len(feeder.steps)
        while len(feeder.steps) == reported:
            rig.step()
        assert rig.engine.stats().prefill_tokens - before <= 8 + 1


def test_the_end_of_a_sentence_is_told_with_its_last_step_or_after_it(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeder = rig.open(StepStreamRequest(keeps_state=True))
    feeder.give([1, 2])
    feeder.end_sentence()
    feeder.give([3])
    rig.run()
    feeder.end_sentence()
    rig.run()
    feeder.finish()
    rig.run()
    assert [(steps.first, len(steps), steps.ends_sentence) for steps in feeder.steps] == [
        (0, 2, True),
        (2, 1, False),
        (3, 0, True),
    ]
    assert feeder.check(tiny.oracle) == 3


@pytest.mark.parametrize("scores", [True, False])
def test_what_was_fed_before_an_error_is_answered_before_it(tiny: LoadedModel, scores: bool) -> None:
    rig = FeedRig(tiny, BatchSettings(prefill_length_max=4, prefill_tokens_max=4))
    feeder = rig.open(ScoreStreamRequest() if scores else StepStreamRequest())
    rig.open(StepStreamRequest())  # somebody else, so that there are many steps
    feeder.give(tiny.prompt(30))
    feeder.finish(InvalidFieldError("no such token", field="text"))
    while not feeder.done:
        assert rig.step()
    assert isinstance(feeder.error, InvalidFieldError)
    assert feeder.check(tiny.oracle) == 30 - scores


def test_a_stream_without_input_ends_with_the_state_that_it_began_with(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeders = [rig.open(StepStreamRequest(keeps_state=True)), rig.open(ScoreStreamRequest(keeps_state=True))]
    for feeder in feeders:
        feeder.finish()
    rig.run()
    for feeder in feeders:
        assert feeder.end is not None
        assert feeder.end.steps == 0
        assert feeder.end.state is not None
        for tensor, initial in zip(feeder.end.state, tiny.servable.initial_state(), strict=True):
            np.testing.assert_array_equal(tensor, initial)
    rig.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("happens", "scores"),
    [("end_sentence", False), *((each, scores) for each in ("feed", "finish", "cancel") for scores in (True, False))],
)
def test_what_happens_while_the_graph_runs_counts_after_the_run(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, happens: str, scores: bool
) -> None:
    rig = FeedRig(tiny)
    feeder = rig.open(ScoreStreamRequest() if scores else StepStreamRequest())
    neighbour = rig.open(StepStreamRequest())
    feeder.give([1, 2, 3])
    neighbour.give([4, 5])
    actions: dict[str, Any] = {
        "feed": lambda: feeder.give([7]),
        "end_sentence": feeder.end_sentence,
        "finish": feeder.finish,
        "cancel": lambda: rig.leave(feeder),
    }
    during_the_next_run(monkeypatch, tiny, actions[happens])
    rig.step()
    rig.run()
    feeder.read()
    expected = {"feed": 4, "cancel": 0}.get(happens, 3)
    assert feeder.check(tiny.oracle) == max(0, expected - scores)
    assert feeder.done == (happens == "finish")
    assert neighbour.check(tiny.oracle) == 2
    if happens == "end_sentence":
        assert feeder.steps[-1].ends_sentence


def test_a_stream_that_has_ended_takes_no_more(tiny: LoadedModel) -> None:
    """Its caller's next message may come just then."""
    rig = FeedRig(tiny)
    feeder = rig.open(StepStreamRequest())
    rig.leave(feeder)
    feeder.give([1, 2])
    feeder.finish()
    rig.run()
    assert rig.steps == 0
    rig.assert_nothing_is_left()


def test_a_step_that_fails_ends_its_feeds_and_no_others(tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = FeedRig(tiny)
    broken, other = rig.open(StepStreamRequest()), rig.open(StepStreamRequest())

    def fail() -> None:
        raise RuntimeError("no memory")

    broken.give([1, 2])
    during_the_next_run(monkeypatch, tiny, fail)
    rig.step()
    assert isinstance(broken.error, InternalError)
    other.give([3])
    rig.run()
    assert other.check(tiny.oracle) == 1
    assert rig.scheduler.open_streams == {other.stream.sequence}


def test_only_so_many_feeds_are_open_at_a_time(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny, BatchSettings(open_streams_max=2, retry_after_s=3))
    first = rig.open(StepStreamRequest())
    rig.open(ScoreStreamRequest())
    with pytest.raises(QueueFullError, match="2 client streams are open") as caught:
        rig.open(StepStreamRequest())
    assert caught.value.retry_after_s == 3
    rig.leave(first)
    rig.open(StepStreamRequest())
    assert rig.engine.stats().refused == 1


async def test_feeds_go_together_until_a_batch_is_full_and_engines_share_their_limit(tiny: LoadedModel) -> None:
    settings = BatchSettings(engines=2, open_streams_max=5, size_max=4)
    engines = EnginePool(tiny.servable, tiny.table, settings, lambda _: None, ManualClock())
    feeds = [engines.open(StepStreamRequest()) for _ in range(5)]
    schedulers = [engine._scheduler for engine in engines.engines]
    assert [schedulers.index(feed._scheduler) for feed in feeds] == [0, 0, 1, 1, 0]
    with pytest.raises(QueueFullError, match="5 client streams"):
        engines.open(StepStreamRequest())
    feeds.pop().cancel()
    for feed in feeds:
        feed.push(token_inputs([1, 2]))
        feed.finish()
    for engine in engines.engines:
        while engine.step():
            pass
    assert all(feed.sequence.ended for feed in feeds)
    assert engines.stats().open_streams == 0
    assert engines.stats().prefill_steps == 2


async def test_what_comes_in_one_turn_of_the_event_loop_wakes_its_engine_once_and_shares_a_run(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = EnginePool(tiny.servable, tiny.table, BatchSettings(engines=2, size_max=4), lambda _: None, ManualClock())
    engine, woken = engines.engines[0], asyncio.Event()

    def wake() -> None:  # what its thread does then
        engine.step()
        woken.set()

    monkeypatch.setattr(engine, "wake", wake)
    feeds = [engines.open(StepStreamRequest()) for _ in range(2)]
    for turn in range(3):
        for feed in feeds:
            feed.push(token_inputs([turn]))
        assert not woken.is_set()
        await woken.wait()
        woken.clear()
        assert engines.stats().prefill_steps == turn + 1


def test_a_resting_feed_has_its_deadline_and_fails_when_the_engine_closes(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    late, left = rig.open(StepStreamRequest(), deadline_s=5.0), rig.open(StepStreamRequest())
    rig.clock.advance(6.0)
    rig.step()
    assert isinstance(late.error, DeadlineError)
    rig.engine.close()
    left.read()
    assert isinstance(left.error, DrainingError)
    with pytest.raises(DrainingError):
        rig.open(StepStreamRequest())


async def test_one_who_feeds_waits_for_a_reader_that_lags_behind(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeder = rig.open(StepStreamRequest())
    feeder.stalls = True
    feeder.give(tiny.prompt(10))
    assert feeder.stream.backlog == 10
    waiting = asyncio.create_task(feeder.stream.until_below(10))
    rig.run()
    await asyncio.sleep(0)
    assert feeder.stream.backlog == 10
    assert not waiting.done()
    feeder.read()
    assert feeder.stream.backlog == 0
    await waiting
    await feeder.stream.until_below(1)  # at once


@pytest.mark.parametrize("scores", [True, False])
def test_what_is_being_read_is_not_answered_yet(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, scores: bool
) -> None:
    rig = FeedRig(tiny)
    feeder = rig.open(ScoreStreamRequest() if scores else StepStreamRequest())
    feeder.give([1, 2, 3])
    seen: list[int] = []
    during_the_next_run(monkeypatch, tiny, lambda: seen.append(feeder.stream.backlog))
    rig.step()
    assert seen == [3 - scores]
    assert feeder.stream.backlog == 0


@pytest.mark.parametrize("scores", [True, False])
def test_one_who_feeds_does_not_wait_for_tokens_that_are_only_read_again(tiny: LoadedModel, scores: bool) -> None:
    rig = FeedRig(tiny)
    replay = np.arange(9, dtype=np.int32)
    request = (
        ScoreStreamRequest(start=SequenceState(position=10, last_token=9, replay=replay))
        if scores
        else StepStreamRequest(start=SequenceState(position=9, replay=replay))
    )
    feeder = rig.open(request, Past(tuple(range(9 + scores))))
    assert feeder.stream.backlog == 0  # nobody would ever take their answers
    feeder.give([4])
    assert feeder.stream.backlog == 1
    rig.run()
    assert feeder.check(tiny.oracle) == 1
    assert feeder.stream.backlog == 0


def test_what_was_answered_is_not_kept(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeders = [rig.open(StepStreamRequest()), rig.open(ScoreStreamRequest(top=2))]
    for _ in range(200):
        for feeder in feeders:
            feeder.give(tiny.prompt(25))
        rig.run()
        for feeder in feeders:
            feeder.steps.clear()
            feeder.reports.clear()
    for feeder in feeders:
        held = [value for value in vars(feeder.stream.sequence).values() if hasattr(value, "__len__")]
        assert max(map(len, held), default=0) <= 32  # its state, of 2 x 8 units
        assert feeder.stream.sequence.pushed == 5000


def test_flushes_are_answered_in_the_order_in_which_they_were_asked_for(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    feeder = rig.open(StepStreamRequest())
    for tokens in ([1, 2], [3, 4, 5]):
        feeder.give(tokens)
        feeder.stream.flush()
        feeder.end_sentence()  # each sentence is a run of its own
    rig.run()
    assert [steps.first for steps in feeder.steps if steps.provisional] == [2, 5]
    assert feeder.check(tiny.oracle) == 5
