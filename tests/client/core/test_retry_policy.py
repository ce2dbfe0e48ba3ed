"""How long and how often a call is retried: pure decisions with a manual clock."""

from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.client import (
    CallCancelledError,
    DeadlineError,
    DrainingError,
    InternalError,
    ModelNotFoundError,
    QueueFullError,
    SeqserveError,
    SessionBusyError,
    UnavailableError,
    UnreachableError,
)
from seqserve.client.core.retry_policy import RetryPolicy

BROKEN = UnavailableError("the connection broke", code=grpc.StatusCode.UNAVAILABLE)
FULL = QueueFullError("256 waiting", reason="ERROR_REASON_QUEUE_FULL", retry_after_s=1.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def retry_policy(limit_s: float = 30.0, clock: Clock | None = None, chance: float = 0.0) -> RetryPolicy:
    return RetryPolicy(limit_s, clock or Clock(), lambda: chance)


@pytest.mark.parametrize(
    "error",
    [
        BROKEN,
        UnreachableError("nobody", code=grpc.StatusCode.UNAVAILABLE),
        DrainingError("stopping", code=grpc.StatusCode.UNAVAILABLE, reason="ERROR_REASON_DRAINING"),
        InternalError("RST_STREAM", code=grpc.StatusCode.INTERNAL),
        SeqserveError("Stream removed", code=grpc.StatusCode.UNKNOWN),
        CallCancelledError("by a proxy", code=grpc.StatusCode.CANCELLED),
    ],
)
def test_what_broke_is_tried_again(error: SeqserveError) -> None:
    assert retry_policy().pause_s(error) is not None


@pytest.mark.parametrize(
    "error",
    [
        ModelNotFoundError("no model", code=grpc.StatusCode.NOT_FOUND, reason="ERROR_REASON_MODEL_NOT_FOUND"),
        InternalError("a defect", code=grpc.StatusCode.INTERNAL, reason="ERROR_REASON_INTERNAL"),
        SessionBusyError("busy", code=grpc.StatusCode.ABORTED, reason="ERROR_REASON_SESSION_BUSY"),
        DeadlineError("too long", code=grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_what_the_server_said_is_told(error: SeqserveError) -> None:
    hopeful = retry_policy()
    assert hopeful.pause_s(error) is None
    assert hopeful.pause_s(BROKEN) is not None
    assert hopeful.pause_s(error) is None, "after a break too"


def test_a_full_queue_is_told_to_newcomers_and_waited_for_by_those_who_were_in() -> None:
    hopeful = retry_policy()
    assert hopeful.pause_s(FULL) is None
    assert not hopeful.tried_again
    hopeful.pause_s(BROKEN)
    assert hopeful.tried_again
    assert hopeful.pause_s(FULL) == 1.0


def test_pauses_double_up_to_two_seconds_and_are_drawn_from_their_second_half() -> None:
    shortest, longest = retry_policy(chance=0.0), retry_policy(chance=1.0)
    pauses: list[Any] = [(shortest.pause_s(BROKEN), longest.pause_s(BROKEN)) for _ in range(8)]
    wholes = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert pauses == [(pytest.approx(whole / 2), pytest.approx(whole)) for whole in wholes]


def test_the_servers_wish_goes_before_but_not_beyond_the_limit() -> None:
    def wishing(seconds: float) -> SeqserveError:
        return DrainingError("stopping", reason="ERROR_REASON_DRAINING", retry_after_s=seconds)

    assert retry_policy().pause_s(wishing(7.5)) == 7.5
    assert retry_policy(chance=1.0).pause_s(wishing(0.01)) == 0.05
    assert retry_policy(limit_s=5.0).pause_s(wishing(7.5)) is None


def test_no_patience_is_no_second_attempt() -> None:
    assert retry_policy(limit_s=0.0).pause_s(BROKEN) is None


@pytest.mark.parametrize("limit_s", [-1.0, float("nan")])
def test_a_limit_that_is_no_time_is_refused(limit_s: float) -> None:
    with pytest.raises(ValueError, match="resume_s must be 0 s or more"):
        RetryPolicy(limit_s)


@given(
    limit_s=st.floats(0.0, 100.0),
    chance=st.floats(0.0, 1.0),
    calls=st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans()), max_size=60),
)
def test_nobody_pauses_beyond_the_limit_after_the_first_break(
    limit_s: float, chance: float, calls: list[tuple[float, bool]]
) -> None:
    """Each call takes a while, then breaks; some got further before."""
    clock = Clock()
    hopeful = retry_policy(limit_s, clock, chance)
    broken_s: float | None = None
    for took_s, further in calls:
        clock.now_s += took_s
        if further:
            hopeful.progress()
            broken_s = None
        broken_s = clock.now_s if broken_s is None else broken_s
        pause_s = hopeful.pause_s(BROKEN)
        if pause_s is None:
            assert clock.now_s + 2.0 > broken_s + limit_s
            return
        assert pause_s > 0.0
        assert clock.now_s + pause_s <= broken_s + limit_s
        clock.now_s += pause_s
