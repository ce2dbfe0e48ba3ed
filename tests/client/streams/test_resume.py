"""Streams that break at every point there is, through both clients, over a real connection."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from seqserve.client import (
    AsyncClient,
    Client,
    DeadlineError,
    GenerationStarted,
    QueueFullError,
    SeqserveError,
    ServableMismatchError,
    UnavailableError,
    UnreachableError,
)
from seqserve.client._async.transport import AsyncTransport
from seqserve.client._sync.transport import Transport
from seqserve.client.testing import Failure, ScriptedServer, finished, piece, started
from seqserve.v1 import generation_pb2

Request = generation_pb2.GenerateRequest
Event = generation_pb2.GenerateResponse
Script = Callable[[Request], AsyncGenerator[Event, None]]

TEXT = "a whole text"
EVENTS = 2 + len(TEXT) // 2  # started, pieces of two characters, finished
SEED = 11

DRAINING = Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING", "stopping", retry_after_s=0.01)
GONE = Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed")
FULL = Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "256 waiting", retry_after_s=0.01)


@dataclass
class Outcome:
    """What a reader got of one generation."""

    text: str
    started: GenerationStarted | None
    resumed: int
    error: SeqserveError | None


def blocking(target: str, resume_s: float, options: dict[str, Any]) -> Outcome:
    with Client(target, timeout_s=30.0, resume_s=resume_s) as client:
        client.models()  # now the address has answered
        stream, error = client.generate("m", "p", **options), None
        try:
            stream.text()
        except SeqserveError as caught:
            error = caught
        return Outcome(
            stream.text(), stream.started if stream.resumed or stream.text() else None, stream.resumed, error
        )


async def with_asyncio(target: str, resume_s: float, options: dict[str, Any]) -> Outcome:
    async with AsyncClient(target, timeout_s=30.0, resume_s=resume_s) as client:
        await client.models()
        stream, error = client.generate("m", "p", **options), None
        try:
            await stream.text()
        except SeqserveError as caught:
            error = caught
        text = await stream.text()
        return Outcome(text, stream.started if stream.resumed or text else None, stream.resumed, error)


@pytest.fixture(params=["blocking", "asyncio"])
def generate(request: pytest.FixtureRequest, server: ScriptedServer) -> Callable[..., Outcome]:
    """Reads a generation to its end or its error, through one of the clients."""

    def generate_all(resume_s: float = 20.0, **options: Any) -> Outcome:
        if request.param == "blocking":
            return blocking(server.target, resume_s, options)
        return asyncio.run(with_asyncio(server.target, resume_s, options))

    return generate_all


def answer(request: Request) -> Iterator[Event]:
    """What a server sends: the text, or the rest of it."""
    yield started(request.resume.seed if request.HasField("resume") else SEED)
    come = sum(len(entry.ids) for entry in request.resume.received)
    for position in range(come, len(TEXT), 2):
        yield piece(TEXT[position : position + 2], position)
    yield finished(len(TEXT))


def breaks(*attempts: tuple[int, Failure]) -> Script:
    """A server whose attempts fail after the given numbers of events; later attempts succeed."""
    left = list(attempts)

    async def script(request: Request) -> AsyncGenerator[Event, None]:
        count, failure = left.pop(0) if left else (EVENTS, None)
        for index, event in enumerate(answer(request)):
            if index == count and failure is not None:
                raise failure
            yield event
        if failure is not None:
            raise failure

    return script


def generations(server: ScriptedServer) -> list[Request]:
    return [request for request in server.requests if isinstance(request, Request)]


def received(request: Request) -> str:
    return "".join(chr(token) for entry in request.resume.received for token in entry.ids)


@pytest.mark.parametrize("events", range(EVENTS + 1))
def test_wherever_it_breaks_the_text_is_whole(
    events: int, server: ScriptedServer, generate: Callable[..., Outcome]
) -> None:
    server.on_generate = breaks((events, GONE))
    outcome = generate()
    assert (outcome.text, outcome.error) == (TEXT, None)
    assert outcome.started is not None
    assert outcome.started.seed == SEED
    sent = generations(server)
    if events == EVENTS:
        assert (len(sent), outcome.resumed) == (1, 0), "only the farewell was lost"
        return
    first, second = sent
    assert outcome.resumed == (events > 0)
    assert second.HasField("resume") == (events > 0)
    assert received(second) == TEXT[: 2 * max(0, events - 1)]
    assert second.resume.seed == (SEED if events else 0)
    assert second.model.version == (1 if events else 0), "the version that began"
    second.ClearField("resume")
    second.model.ClearField("version")
    assert first == second


@pytest.mark.parametrize(
    "failure",
    [
        DRAINING,
        Failure(grpc.StatusCode.INTERNAL, "", "Received RST_STREAM with error code 2"),
        Failure(grpc.StatusCode.UNKNOWN, "", "Stream removed"),
        Failure(grpc.StatusCode.CANCELLED, "", "RST_STREAM with error code 8"),
        Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_STORE_FAILED", "no answer from Redis"),
    ],
)
def test_whatever_it_breaks_with_the_text_is_whole(
    failure: Failure, server: ScriptedServer, generate: Callable[..., Outcome]
) -> None:
    server.on_generate = breaks((3, failure), (0, failure), (2, failure))
    outcome = generate()
    assert (outcome.text, outcome.resumed, outcome.error) == (TEXT, 2, None)
    assert [received(request) for request in generations(server)] == ["", TEXT[:4], TEXT[:4], TEXT[:6]]


def test_a_queue_that_is_full_when_it_comes_back_is_waited_for(
    server: ScriptedServer, generate: Callable[..., Outcome]
) -> None:
    server.on_generate = breaks((3, GONE), (0, FULL), (0, FULL))
    assert generate().text == TEXT
    server.on_generate = breaks((0, FULL))
    outcome = generate()
    assert isinstance(outcome.error, QueueFullError), "a new call raises the error"


@pytest.mark.parametrize("options", [{"omit_token_ids": True}, {"beam_width": 2}, {"n": 1, "best_of": 2}])
def test_what_cannot_be_resumed_is_told_with_what_came(
    options: dict[str, Any], server: ScriptedServer, generate: Callable[..., Outcome]
) -> None:
    server.on_generate = breaks((1, GONE), (3, GONE))
    outcome = generate(**options)
    assert isinstance(outcome.error, UnavailableError)
    assert (outcome.text, len(generations(server))) == (TEXT[:4], 2), "before the first piece it was asked again"


def test_another_servable_is_told(server: ScriptedServer, generate: Callable[..., Outcome]) -> None:
    async def replaced(request: Request) -> AsyncGenerator[Event, None]:
        for event in answer(request):
            if event.HasField("started") and request.HasField("resume"):
                event.started.servable.digest = "1" * 64
            elif event.HasField("piece") and event.piece.position == 4:
                raise GONE
            yield event

    server.on_generate = replaced
    outcome = generate()
    assert isinstance(outcome.error, ServableMismatchError)
    assert outcome.text == TEXT[:4]


def test_without_patience_a_break_is_told(server: ScriptedServer, generate: Callable[..., Outcome]) -> None:
    server.on_generate = breaks((3, GONE))
    outcome = generate(resume_s=0.0)
    assert isinstance(outcome.error, UnavailableError)
    assert (outcome.text, len(generations(server))) == (TEXT[:4], 1)


def test_patience_ends(server: ScriptedServer, generate: Callable[..., Outcome]) -> None:
    server.on_generate = breaks((3, GONE), *[(1, GONE)] * 1000)
    outcome = generate(resume_s=0.3)
    assert isinstance(outcome.error, UnavailableError)
    assert outcome.text == TEXT[:4]
    assert 2 < len(generations(server)) < 20


def test_the_deadline_holds_over_all_attempts(server: ScriptedServer, generate: Callable[..., Outcome]) -> None:
    async def slow(request: Request) -> AsyncGenerator[Event, None]:
        yield started(SEED)
        if not request.HasField("resume"):
            raise Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed", retry_after_s=0.01)
        await asyncio.Event().wait()

    server.on_generate = slow
    outcome = generate(deadline_s=0.4)
    assert isinstance(outcome.error, DeadlineError)
    assert str(outcome.error) == f"{server.target} did not finish the call within 0.4 s"


@pytest.mark.parametrize("failure", [DRAINING, GONE])
def test_a_first_call_that_breaks_shows_that_somebody_was_there(failure: Failure, server: ScriptedServer) -> None:
    server.on_generate = breaks((0, failure))
    with Client(server.target, resume_s=20.0) as client:
        assert client.generate("m").text() == TEXT


def test_a_wrong_address_is_told_at_once() -> None:
    begun_s = time.monotonic()
    with Client("127.0.0.1:1", resume_s=600.0) as client:
        with pytest.raises(UnreachableError):
            client.generate("m").text()
        with pytest.raises(UnreachableError):
            client.sessions.list()
    assert time.monotonic() - begun_s < 60.0


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a call begins to pause."""
    event = threading.Event()
    for transport in (Transport, AsyncTransport):
        monkeypatch.setattr(transport, "pause", noting(transport.pause, event))
    return event


def noting(pause: Callable[..., Any], event: threading.Event) -> Callable[..., Any]:
    def noted(*arguments: Any) -> Any:
        event.set()
        return pause(*arguments)

    return noted


async def drains(request: Request) -> AsyncGenerator[Event, None]:
    """Sends its reader into a pause of minutes."""
    yield started()
    yield piece("so far")
    raise Failure(grpc.StatusCode.UNAVAILABLE, "ERROR_REASON_DRAINING", "stopping", retry_after_s=600.0)


def afterwards(event: threading.Event, do: Callable[[], object]) -> None:
    threading.Thread(target=lambda: event.wait(60.0) and do(), daemon=True).start()


@pytest.mark.timeout(60)
def test_cancel_ends_a_pause(server: ScriptedServer, paused: threading.Event) -> None:
    server.on_generate = drains
    with Client(server.target, resume_s=3600.0) as client:
        stream = client.generate("m")
        afterwards(paused, stream.cancel)
        assert stream.text() == "so far"


@pytest.mark.timeout(60)
def test_closing_the_client_ends_a_pause(server: ScriptedServer, paused: threading.Event) -> None:
    server.on_generate = drains
    client = Client(server.target, resume_s=3600.0)
    stream = client.generate("m")
    afterwards(paused, client.close)
    with pytest.raises(RuntimeError, match="closed"):
        stream.text()
    assert stream.text() == "so far"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("end", ["cancel", "close", "task"])
async def test_pauses_end_for_asyncio_too(end: str, async_server: ScriptedServer, paused: threading.Event) -> None:
    async_server.on_generate = drains
    async with AsyncClient(async_server.target, resume_s=3600.0) as client:
        stream = client.generate("m")
        reading = asyncio.create_task(stream.text())
        await asyncio.to_thread(paused.wait, 60.0)
        if end == "cancel":
            stream.cancel()
            assert await reading == "so far"
        elif end == "close":
            await client.close()
            with pytest.raises(RuntimeError, match="closed"):
                await reading
        else:
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
