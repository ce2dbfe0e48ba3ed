"""The courier on a loop whose clocks stand still until the test turns them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from seqserve.server.decoding.logprobs import Candidate, StepReport
from seqserve.server.engine.output_dispatcher import OutputDispatcher
from seqserve.server.engine.output_stream import (
    FinishReason,
    OutputStream,
    SampleResult,
    StreamOutput,
    Times,
    TokenOutput,
)
from seqserve.server.errors import DeadlineError
from seqserve.server.settings import WireSettings

WAIT_S_MAX = 0.1


class ManualLoop:
    """As much of an event loop as a courier needs, and the processor time of its thread."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.spent_s = 0.0
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[float, ManualTimer, Callable[[], None]]] = []
        self.delays_s: list[float] = []

    def time(self) -> float:
        return self.now_s

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> ManualTimer:
        self.delays_s.append(delay_s)
        timer = ManualTimer()
        self._timers.append((self.now_s + delay_s, timer, callback))
        return timer

    def turn(self) -> int:
        """Runs the due callbacks and those that they schedule. Returns the number of due callbacks."""
        ripe = [entry for entry in self._timers if entry[0] <= self.now_s]
        self._timers = [entry for entry in self._timers if entry[0] > self.now_s]
        self._soon += [callback for _, timer, callback in ripe if not timer.cancelled]
        count = len(self._soon)
        while self._soon:
            self.once()
        return count

    def once(self) -> None:
        """Runs the callbacks that are due."""
        due, self._soon = self._soon, []
        for callback in due:
            callback()


class ManualTimer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Watched(OutputStream):
    """A stream whose reader takes at once when it is woken; waking costs the thread time."""

    def __init__(self, loop: ManualLoop, cost_s: float = 0.0) -> None:
        super().__init__()
        self._loop = loop
        self._cost_s = cost_s
        self.messages: list[list[int]] = []
        self.wakings_s: list[float] = []

    def wake(self) -> None:
        self._loop.spent_s += self._cost_s
        self.wakings_s.append(self._loop.now_s)
        gathered, self._gathered = self._gathered, {}
        self.gathered = 0
        self.messages += [outputs.tokens for outputs in gathered.values()]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> ManualLoop:
    manual = ManualLoop()
    monkeypatch.setattr("seqserve.server.engine.output_dispatcher.time.thread_time", lambda: manual.spent_s)
    return manual


def courier_on(loop: ManualLoop, share: float = 0.5, pace_s: float = 0.0) -> OutputDispatcher:
    return OutputDispatcher(cast("asyncio.AbstractEventLoop", loop), WireSettings(share=share, pace_s=pace_s))


def token(number: int, *, last: bool = False) -> TokenOutput:
    times = Times(0, 0, 0, 0)
    return TokenOutput(0, number, end=SampleResult(FinishReason.LENGTH, times, number, number) if last else None)


def test_the_loop_is_called_once_for_all_that_comes_before_it_turns(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop), Watched(loop)
    for number in range(5):
        dispatcher.publish([(stream, token(number))])
    assert loop.turn() == 1
    assert stream.messages[0][0] == 0
    assert [number for message in stream.messages for number in message] == [0, 1, 2, 3, 4]
    dispatcher.publish([(stream, token(5))])
    assert loop.turn() == 1


def test_a_lone_stream_that_costs_little_gets_every_token_at_once(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop), Watched(loop)
    for number in range(10):
        dispatcher.publish([(stream, token(number))])
        loop.turn()
        loop.now_s += 0.001
    assert stream.messages == [[number] for number in range(10)]


def test_tokens_that_come_fast_share_messages_by_the_pace(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop, pace_s=0.005), Watched(loop)
    for number in range(20):
        dispatcher.publish([(stream, token(number, last=number == 19))])
        loop.turn()
        loop.now_s += 0.0013
    assert [len(message) for message in stream.messages] == [1, 4, 4, 4, 4, 3]
    assert [number for message in stream.messages for number in message] == list(range(20))


def test_the_loop_is_not_called_for_tokens_that_it_will_look_for_by_itself(loop: ManualLoop) -> None:
    dispatcher, stream, newcomer = courier_on(loop, pace_s=0.005), Watched(loop), Watched(loop)
    dispatcher.publish([(stream, 0)])
    assert loop.turn() == 1
    dispatcher.publish([(stream, 1)])
    assert loop.turn() == 0
    dispatcher.publish([(newcomer, 0)])
    assert loop.turn() == 1
    assert newcomer.messages == [[0]]
    loop.now_s += 0.005
    assert loop.turn() == 1
    assert stream.messages == [[0], [1]]
    nothing_more_comes(loop)
    assert loop.turn() == 0


def test_tokens_that_come_slower_than_the_pace_come_at_once(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop, pace_s=0.005), Watched(loop)
    for number in range(10):
        dispatcher.publish([(stream, token(number))])
        loop.turn()
        loop.now_s += 0.006
    assert stream.messages == [[number] for number in range(10)]


def test_much_that_comes_at_once_does_not_wait_for_the_pace(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop, pace_s=1.0), Watched(loop)
    for number in range(33):
        dispatcher.publish([(stream, token(number))])
        loop.turn()
    assert [len(message) for message in stream.messages] == [1, 16, 16]


def under_load(loop: ManualLoop, dispatcher: OutputDispatcher, streams: list[Watched], steps: int) -> None:
    """Steps that each give every stream one token and last 10 ms."""
    for number in range(steps):
        dispatcher.publish([(stream, token(number)) for stream in streams])
        loop.turn()
        loop.now_s += 0.01


def nothing_more_comes(loop: ManualLoop) -> None:
    """For as long as anybody may be kept waiting."""
    for _ in range(4):
        loop.now_s += WAIT_S_MAX / 4
        loop.turn()


def test_messages_grow_while_the_loop_takes_more_than_its_share_and_nothing_is_lost(loop: ManualLoop) -> None:
    dispatcher = courier_on(loop)
    streams = [Watched(loop, cost_s=0.001) for _ in range(8)]  # 8 of 10 ms a step, while messages have one token
    under_load(loop, dispatcher, streams, 60)
    nothing_more_comes(loop)
    for stream in streams:
        assert [number for message in stream.messages for number in message] == list(range(60))
        assert {len(message) for message in stream.messages[:5]} == {1}
        assert {len(message) for message in stream.messages[-6:-1]} == {2}  # 4 of 10 ms: within the share


def test_messages_grow_more_while_the_loop_is_late(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop), Watched(loop)
    for number in range(30):
        dispatcher.publish([(stream, token(number))])
        loop.now_s += 0.05
        loop.turn()
    assert {len(message) for message in stream.messages[-5:]} == {3}


def test_messages_shrink_again_when_the_load_is_gone(loop: ManualLoop) -> None:
    dispatcher = courier_on(loop)
    streams = [Watched(loop, cost_s=0.001) for _ in range(8)]
    under_load(loop, dispatcher, streams, 60)
    under_load(loop, dispatcher, streams[:1], 60)
    assert {len(message) for message in streams[0].messages[-20:]} == {1}


def test_a_first_token_an_end_and_an_error_never_wait(loop: ManualLoop) -> None:
    dispatcher = courier_on(loop, share=0.01)
    crowd = [Watched(loop, cost_s=0.01) for _ in range(4)]
    under_load(loop, dispatcher, crowd, 41)
    before = [len(stream.messages) for stream in crowd]
    assert len(crowd[2].messages[-1]) == 2
    newcomer = Watched(loop)
    dispatcher.publish([(newcomer, token(0))])
    dispatcher.publish([(crowd[0], token(41, last=True)), (crowd[1], DeadlineError("late")), (crowd[2], token(41))])
    loop.turn()
    assert newcomer.messages == [[0]]
    assert crowd[0].messages[-1][-1] == 41
    assert crowd[1].wakings_s[-1] == loop.now_s
    assert len(crowd[2].messages) == before[2]  # it waits for more


def test_a_stream_whose_input_is_all_answered_never_waits(loop: ManualLoop) -> None:
    dispatcher = courier_on(loop, share=0.01)
    under_load(loop, dispatcher, [Watched(loop, cost_s=0.01) for _ in range(4)], 41)
    feed, busy = Watched(loop), Watched(loop)
    report = StepReport(Candidate(1, -1.0, 1), ())
    dispatcher.publish([(feed, StreamOutput([report], 1, rests=True)), (busy, StreamOutput([report], 1, rests=False))])
    loop.turn()
    assert (len(feed.wakings_s), len(busy.wakings_s)) == (1, 0)
    nothing_more_comes(loop)
    assert len(busy.wakings_s) == 1


def test_many_readers_are_woken_few_at_a_time_so_that_others_come_in_between(loop: ManualLoop) -> None:
    dispatcher = courier_on(loop)
    crowd = [Watched(loop) for _ in range(10)]
    dispatcher.publish([(stream, token(0)) for stream in crowd])
    loop.once()
    assert all(len(stream.messages) == 1 for stream in crowd)  # first tokens do not wait
    dispatcher.publish([(stream, token(1)) for stream in crowd])
    woken = list[int]()
    for _ in range(4):
        loop.once()
        woken.append(sum(len(stream.messages) == 2 for stream in crowd))
    assert woken == [0, 4, 8, 10]


def test_nobody_waits_long_even_if_no_step_follows(loop: ManualLoop) -> None:
    dispatcher = courier_on(loop, share=0.01)
    streams = [Watched(loop, cost_s=0.01) for _ in range(3)]
    under_load(loop, dispatcher, streams, 42)
    reported = [number for message in streams[0].messages for number in message]
    assert reported != list(range(42))  # some wait
    nothing_more_comes(loop)
    for stream in streams:
        assert [number for message in stream.messages for number in message] == list(range(42))
    assert max(loop.delays_s) <= WAIT_S_MAX


def test_a_stream_that_has_ended_is_not_woken_again(loop: ManualLoop) -> None:
    dispatcher, stream = courier_on(loop), Watched(loop, cost_s=1.0)
    other = Watched(loop, cost_s=1.0)
    dispatcher.publish([(stream, token(0)), (other, token(0))])
    dispatcher.publish([(stream, token(1)), (other, token(1))])
    dispatcher.publish([(stream, token(2)), (other, token(2))])
    dispatcher.publish([(stream, token(3, last=True))])
    loop.turn()
    count = len(stream.wakings_s)
    loop.now_s += 1.0
    loop.turn()
    assert len(stream.wakings_s) == count
