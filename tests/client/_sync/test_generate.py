"""Generation through the blocking client, over a real connection."""

import asyncio
import threading
from collections.abc import AsyncGenerator

import grpc
import pytest

from seqserve.client import (
    CallCancelledError,
    Client,
    DeadlineError,
    DrainingError,
    FinishReason,
    ModelNotFoundError,
    Piece,
    ProtocolError,
    UnavailableError,
)
from seqserve.client.testing import Failure, ScriptedServer, finished, piece, started
from seqserve.v1 import common_pb2, generation_pb2

Request = generation_pb2.GenerateRequest
Events = AsyncGenerator[generation_pb2.GenerateResponse, None]

WAIT_S = 20.0


async def endless(request: Request) -> Events:
    """One piece, then silence."""
    yield started()
    yield piece("a")
    await asyncio.Event().wait()


def test_pieces_come_with_text_tokens_and_position(client: Client) -> None:
    stream = client.generate("m", "ab", seed=7)
    pieces = list(stream)
    assert [(one.text, one.token_ids, one.position) for one in pieces] == [("a", (97,), 2), ("b", (98,), 3)]
    assert (stream.started.seed, stream.started.prompt_tokens, stream.started.servable.version) == (7, 2, 1)
    assert stream.finished.reason is FinishReason.LENGTH
    assert (stream.finished.generated_tokens, stream.finished.state.position) == (2, 4)
    assert stream.finished.timing.first_output_ms == 2.0


def test_text_reads_to_the_end(client: Client) -> None:
    assert client.generate("m", "whole text").text() == "whole text"


def test_text_after_reading_is_what_was_read(client: Client) -> None:
    stream = client.generate("m", "twice")
    assert len(list(stream)) == 5
    assert stream.text() == "twice"


def test_samples_are_kept_apart(server: ScriptedServer, client: Client) -> None:
    async def two(request: Request) -> Events:
        yield started()
        for sample, text in ((1, "x"), (0, "a"), (1, "y")):
            yield piece(text, sample=sample)
        yield finished(2, samples=2)

    server.on_generate = two
    stream = client.generate("m", n=2)
    assert (stream.text(), stream.text(sample=1)) == ("a", "xy")
    assert [sample.sample for sample in stream.finished.samples] == [0, 1]
    with pytest.raises(IndexError, match="no sample 2: it has 2, from 0"):
        stream.text(2)


def test_log_probabilities_are_values(server: ScriptedServer, client: Client) -> None:
    token = common_pb2.TokenLogprob(token_id=1, token="a", logprob=-0.5, rank=1)
    step = common_pb2.StepLogprobs(chosen=token, top=[token])

    async def scored(request: Request) -> Events:
        first = started()
        first.started.prompt_logprobs.append(step)
        yield first
        second = piece("a")
        second.piece.logprobs.append(step)
        yield second
        yield finished(1)

    server.on_generate = scored
    stream = client.generate("m", logprobs=1)
    (only,) = stream
    assert (only.logprobs[0].chosen.logprob, only.logprobs[0].top[0].token) == (-0.5, "a")
    assert stream.started.prompt_logprobs == only.logprobs


def test_nothing_is_sent_until_the_stream_is_read(server: ScriptedServer, client: Client) -> None:
    stream = client.generate("m", "later")
    assert client.tag("m", "now").text == "now"
    assert [type(request).__name__ for request in server.requests] == ["TagRequest"]
    stream.start()
    assert [type(request).__name__ for request in server.requests] == ["TagRequest", "GenerateRequest"]
    stream.cancel()


def test_what_is_not_there_yet_says_how_to_get_it(client: Client) -> None:
    stream = client.generate("m", "ab")
    with pytest.raises(RuntimeError, match=r"call start\(\)"):
        _ = stream.started
    stream.start()
    with pytest.raises(RuntimeError, match="read the stream to its end"):
        _ = stream.finished
    assert stream.text() == "ab"
    with pytest.raises(RuntimeError, match="once"):
        iter(stream)


def test_leaving_the_loop_cancels_on_the_server(server: ScriptedServer, client: Client) -> None:
    server.on_generate = endless
    stream = client.generate("m")
    for one in stream:
        assert one.text == "a"
        break
    assert server.cancelled.wait(WAIT_S)
    assert stream.text() == "a"


def test_an_error_in_the_loop_cancels_on_the_server(server: ScriptedServer, client: Client) -> None:
    server.on_generate = endless

    def read() -> None:
        for one in client.generate("m"):
            _ = len(one.text) / 0

    with pytest.raises(ZeroDivisionError):
        read()
    assert server.cancelled.wait(WAIT_S)


def test_leaving_the_block_cancels_on_the_server(server: ScriptedServer, client: Client) -> None:
    server.on_generate = endless
    with client.generate("m") as stream:
        stream.start()
    assert server.cancelled.wait(WAIT_S)


def test_cancel_from_another_thread_ends_the_iteration(server: ScriptedServer, client: Client) -> None:
    server.on_generate = endless
    stream = client.generate("m")
    texts = []
    for one in stream:
        texts.append(one.text)
        threading.Thread(target=stream.cancel).start()
    assert texts == ["a"]
    assert server.cancelled.wait(WAIT_S)


def test_cancelled_before_it_began_it_asks_for_nothing(server: ScriptedServer, client: Client) -> None:
    stream = client.generate("m", "text")
    stream.cancel()
    assert list(stream) == []
    assert server.requests == []


def test_closing_the_client_ends_its_streams(server: ScriptedServer) -> None:
    server.on_generate = endless
    client = Client(server.target)
    stream = client.generate("m")
    pieces = iter(stream)
    next(pieces)
    client.close()
    with pytest.raises(CallCancelledError):
        next(pieces)
    with pytest.raises(RuntimeError, match="closed"):
        client.generate("m").start()


def test_silence_ends_a_stream_after_the_time_out(server: ScriptedServer, client: Client) -> None:
    server.on_generate = endless
    stream = client.generate("m", timeout_s=0.05)
    with pytest.raises(DeadlineError, match=r"sent nothing for 0\.05 s"):
        list(stream)
    assert server.cancelled.wait(WAIT_S)


def test_silence_counts_only_while_the_reader_waits(server: ScriptedServer, client: Client) -> None:
    stream = client.generate("m", "ab", timeout_s=0.05)
    pieces = iter(stream)
    next(pieces)
    assert not server.cancelled.wait(0.1), "the reader's own work took longer than the time-out"
    assert next(pieces).text == "b"


def test_a_deadline_is_told_to_the_server_and_ends_the_whole(server: ScriptedServer, client: Client) -> None:
    server.on_generate = endless
    with pytest.raises(DeadlineError, match=r"within 0\.1 s"):
        client.generate("m", deadline_s=0.1).text()
    assert server.cancelled.wait(WAIT_S)


@pytest.mark.parametrize("limit", [{"timeout_s": 0.0}, {"deadline_s": -1.0}, {"timeout_s": float("nan")}])
def test_a_limit_that_leaves_no_time_is_refused(limit: dict[str, float], client: Client) -> None:
    with pytest.raises(ValueError, match="above 0 s"):
        client.generate("m", **limit).start()  # type: ignore[arg-type]


def test_a_refusal_comes_with_the_first_read(server: ScriptedServer, client: Client) -> None:
    async def refuse(request: Request) -> Events:
        raise Failure(grpc.StatusCode.NOT_FOUND, "ERROR_REASON_MODEL_NOT_FOUND", "no model 'm'")
        yield started()

    server.on_generate = refuse
    for read in (lambda: client.generate("m").start(), lambda: list(client.generate("m"))):
        with pytest.raises(ModelNotFoundError, match="no model 'm'"):
            read()


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed"), UnavailableError),
        (Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING", "stopping"), DrainingError),
        (Failure(grpc.StatusCode.CANCELLED, "", "by a proxy"), CallCancelledError),
    ],
)
def test_a_stream_that_breaks_keeps_what_came(
    failure: Failure, kind: type[Exception], server: ScriptedServer, client: Client
) -> None:
    async def broken(request: Request) -> Events:
        yield started()
        yield piece("so far")
        raise failure

    server.on_generate = broken
    stream = client.generate("m")
    received: list[Piece] = []
    with pytest.raises(kind):
        received.extend(stream)
    assert stream.text() == "so far"
    assert len(server.requests) == 1, "a stream whose first message has come is not retried"


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([piece("a")], id="no start"),
        pytest.param([started(), started()], id="two starts"),
        pytest.param([started(), piece("a")], id="no finish"),
        pytest.param([started(), finished(0), piece("a")], id="a piece after the finish"),
        pytest.param([], id="nothing"),
    ],
)
def test_a_server_that_breaks_the_contract_is_found_out(
    events: list[generation_pb2.GenerateResponse], server: ScriptedServer, client: Client
) -> None:
    async def play(request: Request) -> Events:
        for event in events:
            yield event

    server.on_generate = play
    with pytest.raises(ProtocolError, match="the server"):
        client.generate("m").text()


def test_events_and_reasons_of_a_newer_server_are_no_error(server: ScriptedServer, client: Client) -> None:
    async def newer(request: Request) -> Events:
        yield started()
        yield generation_pb2.GenerateResponse()
        last = finished(0)
        last.finished.samples[0].reason = 99  # type: ignore[assignment]
        yield last

    server.on_generate = newer
    stream = client.generate("m")
    assert stream.text() == ""
    assert stream.finished.reason is FinishReason.UNKNOWN
