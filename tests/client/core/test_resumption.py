"""The request after an interruption: pure, against a server that is a function of the request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.client import Piece, ProtocolError, ServableMismatchError, UnavailableError
from seqserve.client.core.generate_options import generate_request
from seqserve.client.core.resumption import Resumption
from seqserve.client.core.retry_policy import RetryPolicy
from seqserve.client.types.answer import Servable
from seqserve.client.types.generation import GenerationStarted
from seqserve.v1 import generation_pb2

BROKEN = UnavailableError("the connection broke")


def started(seed: int = 7, digest: str = "0", version: int = 1) -> GenerationStarted:
    return GenerationStarted(Servable("m", version, digest), seed, prompt_tokens=0, position=0, prompt_logprobs=())


def piece(*token_ids: int, sample: int = 0, position: int = 0) -> Piece:
    return Piece(sample, text="", token_ids=token_ids, logprobs=(), position=position)


def received(request: generation_pb2.GenerateRequest) -> list[list[int]]:
    return [list(entry.ids) for entry in request.resume.received]


def draining(retry_after_s: float) -> UnavailableError:
    return UnavailableError("stopping", reason="ERROR_REASON_DRAINING", retry_after_s=retry_after_s)


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_before_the_server_has_begun_the_same_is_asked_again() -> None:
    request = generate_request("m", "text", seed=1)
    resumption = Resumption(request, RetryPolicy(30.0))
    assert resumption.request is request
    assert resumption.pause_s(BROKEN) is not None
    assert resumption.request is request
    resumption.started(started())
    assert resumption.times == 0


def test_afterwards_the_seed_and_the_tokens_are_told_and_the_request_stays_as_it_was() -> None:
    request = generate_request("m", "text", n=3, request_id="once")
    resumption = Resumption(request, RetryPolicy(30.0))
    resumption.started(started(seed=2**63))
    assert received(resumption.request) == []
    assert resumption.request.resume.seed == 2**63
    resumption.received(piece(1, 2))
    resumption.received(piece(5, sample=2))
    resumption.received(piece(3))
    assert received(resumption.request) == [[1, 2, 3], [], [5]]
    assert resumption.request.request_id == "once"
    assert not request.HasField("resume")
    resumption.started(started(seed=2**63))
    assert resumption.times == 1


@given(
    tokens=st.lists(st.integers(0, 9), max_size=30),
    attempts=st.lists(st.lists(st.integers(1, 5), max_size=4), max_size=10),
)
def test_however_it_breaks_nothing_is_doubled_and_nothing_is_missing(
    tokens: list[int], attempts: list[list[int]]
) -> None:
    """Each attempt brings some pieces of these sizes, then breaks; the last brings the rest."""
    resumption = Resumption(generate_request("m"), RetryPolicy(30.0))
    came: list[int] = []
    for sizes in [*attempts, [len(tokens)]]:
        outcome = received(resumption.request)
        rest = tokens[len(outcome[0]) if outcome else 0 :]
        resumption.started(started())
        for size in sizes:
            part, rest = rest[:size], rest[size:]
            resumption.received(piece(*part, position=len(came)))
            came += part
        assert resumption.pause_s(BROKEN) is not None
    assert came == tokens


def test_a_server_that_restarts_instead_of_resuming_is_noticed() -> None:
    resumption = Resumption(generate_request("m"), RetryPolicy(30.0))
    resumption.started(started())
    resumption.received(piece(1, 2))
    resumption.started(started())
    with pytest.raises(ProtocolError, match="resumed at position 0 instead of 2"):
        resumption.received(piece(1))


def test_the_rest_is_asked_of_the_version_that_began_but_a_state_knows_its_own() -> None:
    plain = Resumption(generate_request("m"), RetryPolicy(30.0))
    carried = Resumption(generate_request("m", snapshot=b"x"), RetryPolicy(30.0))
    for resumption in (plain, carried):
        resumption.started(started(version=3))
    assert plain.request.model.version == 3
    assert not carried.request.model.HasField("version")


def test_another_servable_does_not_go_on() -> None:
    resumption = Resumption(generate_request("m"), RetryPolicy(30.0))
    resumption.started(started(digest="a", version=1))
    with pytest.raises(ServableMismatchError, match="version 2 would continue what version 1 began"):
        resumption.started(started(digest="b", version=2))


@pytest.mark.parametrize("options", [{"omit_token_ids": True}, {"beam_width": 2}, {"best_of": 2}])
def test_what_cannot_be_told_is_not_resumed_once_a_piece_has_come(options: dict[str, int]) -> None:
    resumption = Resumption(generate_request("m", **options), RetryPolicy(30.0))  # type: ignore[arg-type]
    resumption.started(started())
    assert resumption.pause_s(BROKEN) is not None
    resumption.received(piece(1))
    assert resumption.pause_s(BROKEN) is None


def test_a_server_that_begins_and_breaks_again_and_again_is_given_up() -> None:
    clock = Clock()
    resumption = Resumption(generate_request("m"), RetryPolicy(10.0, clock))
    resumption.started(started())
    for _ in range(1000):
        pause_s = resumption.pause_s(BROKEN)
        if pause_s is None:
            break
        clock.now_s += pause_s
        resumption.started(started())
    assert 58.0 < clock.now_s <= 60.0


def test_the_deadline_counts_over_all_attempts() -> None:
    clock = Clock()
    resumption = Resumption(generate_request("m"), RetryPolicy(1000.0, clock), deadline_s=10.0, clock=clock)
    clock.now_s += 5.0  # before it begins nothing counts
    assert resumption.left_s() == 10.0
    clock.now_s += 4.0
    assert resumption.left_s() == 6.0
    assert [resumption.pause_s(draining(retry_after_s)) for retry_after_s in (5.0, 6.0)] == [5.0, None]
    clock.now_s += 7.0
    assert resumption.left_s() == 0.0
    assert Resumption(generate_request("m"), RetryPolicy(1.0)).left_s() is None


def test_a_session_is_resumed_at_the_position_where_the_generation_began() -> None:
    """The fence: a session that somebody else has advanced meanwhile refuses the rest."""
    request = generate_request("m", "text")
    request.state.session_id = "one"
    resumption = Resumption(request, RetryPolicy(30.0))
    assert not resumption.request.state.HasField("expected_position")
    servable = Servable("m", 3, "0")
    resumption.started(GenerationStarted(servable, 7, prompt_tokens=5, position=12, prompt_logprobs=()))
    assert resumption.request.state.expected_position == 7
    assert not resumption.request.model.HasField("version"), "the session knows its version"


def test_without_a_state_the_version_that_began_is_asked_for_again() -> None:
    resumption = Resumption(generate_request("m", "text"), RetryPolicy(30.0))
    resumption.started(started(version=3))
    assert resumption.request.model.version == 3
    assert not resumption.request.HasField("state")
