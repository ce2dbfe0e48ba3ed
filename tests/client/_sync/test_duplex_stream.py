"""Streams that a source feeds, through the blocking client and over a real connection."""

import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import grpc
import pytest

from seqserve.client import (
    FLUSH,
    SENTENCE_END,
    CallCancelledError,
    Client,
    ProtocolError,
    StreamEnd,
    TaskMismatchError,
    UnavailableError,
)
from seqserve.client.testing import SERVABLE, Failure, ScriptedServer, tag_as_it_comes
from seqserve.v1 import common_pb2, generation_pb2, tagging_pb2

WAIT_S = 20.0
Requests = AsyncIterator[tagging_pb2.StreamTagRequest]
Events = AsyncGenerator[tagging_pb2.StreamTagResponse, None]

STARTED = tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE, position=5))


def waits_for(event: threading.Event, *pieces: str) -> Iterator[str]:
    """Pieces, and one more after the event."""
    yield from pieces
    event.wait(WAIT_S)
    yield "last"


def sent(server: ScriptedServer) -> list[str | None]:
    """What kinds of messages came after the first."""
    return [request.WhichOneof("message") for request in server.requests[1:]]


def test_tags_come_with_label_place_and_position(server: ScriptedServer, client: Client) -> None:
    stream = client.stream_tag("m", ["He", "llo wor", "ld\n", SENTENCE_END, FLUSH, "again"], version=2, lookahead=1)
    tags = list(stream)
    assert [(tag.token, tag.label, tag.start, tag.end, tag.position) for tag in tags] == [
        ("Hello", "X", 0, 5, 0),
        ("world", "X", 6, 11, 1),
        ("again", "X", 12, 17, 2),
    ]
    assert (stream.started.servable.model, stream.started.position) == ("scripted", 0)
    assert (stream.finished.tokens, stream.finished.reason) == (3, StreamEnd.INPUT)
    assert (stream.finished.state.position, stream.finished.timing.total_ms) == (3, 10.0)
    assert (server.requests[0].config.model.version, server.requests[0].config.lookahead) == (2, 1)
    assert sent(server) == ["text", "text", "text", "sentence_end", "flush", "text"]


def test_pieces_hold_what_came_together(server: ScriptedServer, client: Client) -> None:
    async def with_spans(requests: Requests) -> Events:
        yield STARTED
        tags = [tagging_pb2.Tag(token=token, label=f"{part}-PER") for token, part in (("Ada", "B"), ("King", "I"))]
        tags[1].provisional = True
        span = tagging_pb2.TagSpan(label="PER", text="Ada", offsets=common_pb2.Offsets(start=0, end=3))
        yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=tags, spans=[span]))
        yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(reason=common_pb2.STREAM_END_IDLE))

    server.on_stream_tag = with_spans
    stream = client.stream_tag("m", [], spans=True, provisional=True)
    (piece,) = stream.pieces()
    assert [(tag.token, tag.provisional) for tag in piece.tags] == [("Ada", False), ("King", True)]
    assert [(span.label, span.text, span.end) for span in piece.spans] == [("PER", "Ada", 3)]
    assert stream.finished.reason is StreamEnd.IDLE


def test_scores_come_with_their_places(server: ScriptedServer, client: Client) -> None:
    stream = client.stream_score("m", ["a", "b\n", [99], FLUSH], logprobs=1)
    assert [(one.chosen.token, one.chosen.logprob, one.position, one.start, one.end) for one in stream] == [
        ("a", -1.0, 0, 0, 1),
        ("b", -1.0, 1, 1, 2),
        ("\n", -1.0, 2, 2, 3),
        ("c", -1.0, 3, 3, 4),
    ]
    assert (stream.finished.logprob, stream.finished.scored_tokens, stream.finished.reason) == (-4.0, 4, "INPUT")
    assert sent(server) == ["text", "text", "token_ids", "flush"]


def test_scores_without_places_are_found_out(server: ScriptedServer, client: Client) -> None:
    async def placeless(
        requests: AsyncIterator[generation_pb2.StreamScoreRequest],
    ) -> AsyncGenerator[generation_pb2.StreamScoreResponse, None]:
        yield generation_pb2.StreamScoreResponse(started=generation_pb2.StreamScoreStarted())
        piece = generation_pb2.StreamScorePiece(tokens=[common_pb2.StepLogprobs()])
        yield generation_pb2.StreamScoreResponse(piece=piece)

    server.on_stream_score = placeless
    with pytest.raises(ProtocolError, match="1 scores with 0 places"):
        list(client.stream_score("m", []))


def test_what_a_text_is_comes_after_each_piece(server: ScriptedServer, client: Client) -> None:
    stream = client.stream_classify("m", ["one ", "two", FLUSH], top_labels=1)
    answers = list(stream)
    assert [(answer.tokens, answer.chosen, answer.labels[0].score) for answer in answers[:2]] == [
        (1, ("X",), 1.0),
        (2, ("X",), 1.0),
    ]
    assert (stream.finished.classification, stream.finished.reason) == (answers[-1], StreamEnd.INPUT)
    assert server.requests[0].config.top_labels == 1
    nothing = client.stream_classify("m", [])
    assert list(nothing) == []
    assert nothing.finished.classification is None


def test_a_source_may_wait_for_the_answer_to_what_it_gave(client: Client) -> None:
    answers = queue.Queue[str]()

    def one_by_one() -> Iterator[str]:
        for word in ("one ", "two ", "three "):
            yield word
            assert answers.get(timeout=WAIT_S) == word.strip()

    for tag in client.stream_tag("m", one_by_one()):
        answers.put(tag.token)
    assert answers.empty()


def test_what_the_source_raises_comes_to_the_reader(server: ScriptedServer, client: Client) -> None:
    answered = threading.Event()

    def fails() -> Iterator[str]:
        yield "one "
        answered.wait(WAIT_S)
        raise KeyError("no more")

    stream = client.stream_tag("m", fails())
    tags = iter(stream)
    assert next(tags).token == "one"
    answered.set()
    with pytest.raises(KeyError, match="no more"):
        next(tags)
    assert server.cancelled.wait(WAIT_S), "what was half said is not taken for all"
    with pytest.raises(RuntimeError, match="not finished"):
        _ = stream.finished


@pytest.mark.parametrize("items", [[7], ["one ", b"bytes"]])
def test_what_is_no_piece_is_told(items: list[str], client: Client) -> None:
    with pytest.raises(TypeError, match="an item of type"):
        list(client.stream_tag("m", items))


def test_leaving_the_loop_cancels_on_the_server(server: ScriptedServer, client: Client) -> None:
    left = threading.Event()
    for tag in client.stream_tag("m", waits_for(left, "one two ")):
        assert tag.token == "one"
        break
    assert server.cancelled.wait(WAIT_S)
    left.set()
    assert sent(server) == ["text"]


def test_leaving_the_block_cancels_on_the_server(server: ScriptedServer, client: Client) -> None:
    left = threading.Event()
    with client.stream_tag("m", waits_for(left)) as stream:
        assert stream.start().position == 0
    assert server.cancelled.wait(WAIT_S)
    left.set()


def test_cancel_from_another_thread_ends_the_iteration(server: ScriptedServer, client: Client) -> None:
    left = threading.Event()
    stream = client.stream_tag("m", waits_for(left))
    stream.start()
    threading.Thread(target=stream.cancel).start()
    assert list(stream) == []
    assert server.cancelled.wait(WAIT_S)
    left.set()


def test_cancelled_before_it_began_it_asks_for_nothing(server: ScriptedServer, client: Client) -> None:
    stream = client.stream_tag("m", ["text"])
    stream.cancel()
    assert list(stream) == []
    assert server.requests == []


def test_a_refusal_is_its_exception(server: ScriptedServer, client: Client) -> None:
    async def refuse(requests: Requests) -> Events:
        raise Failure(grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_TASK_MISMATCH", "not a tagger")
        yield STARTED

    server.on_stream_tag = refuse
    stream = client.stream_tag("m", ["text"])
    with pytest.raises(TaskMismatchError, match="not a tagger"):
        stream.start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = stream.started


def test_a_break_is_told_and_not_resumed(server: ScriptedServer) -> None:
    async def breaks(requests: Requests) -> Events:
        async for event in tag_as_it_comes(requests):
            yield event
            if event.HasField("piece"):
                raise Failure(grpc.StatusCode.UNAVAILABLE, "", "Socket closed")

    server.on_stream_tag = breaks
    with Client(server.target, resume_s=60.0) as client:
        stream = client.stream_tag("m", ["one ", "two "])
        with pytest.raises(UnavailableError, match=r"the connection .* broke"):
            list(stream)
    assert sum(request.HasField("config") for request in server.requests) == 1


async def headless(requests: Requests) -> Events:
    yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece())


async def started_twice(requests: Requests) -> Events:
    yield STARTED
    yield STARTED


async def endless(requests: Requests) -> Events:
    yield STARTED


async def after_the_end(requests: Requests) -> Events:
    yield STARTED
    yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished())
    yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece())


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (headless, "'piece' where"),
        (started_twice, "'started' where"),
        (after_the_end, "'piece' where"),
        (endless, "without saying how it ended"),
    ],
)
def test_a_broken_contract_is_an_error(script: object, message: str, server: ScriptedServer, client: Client) -> None:
    server.on_stream_tag = script  # type: ignore[assignment]
    with pytest.raises(ProtocolError, match=message):
        list(client.stream_tag("m", ["text"]))


def test_events_of_a_newer_server_are_passed_over(server: ScriptedServer, client: Client) -> None:
    async def newer(requests: Requests) -> Events:
        yield STARTED
        yield tagging_pb2.StreamTagResponse()
        yield tagging_pb2.StreamTagResponse(finished=tagging_pb2.StreamTagFinished(reason=99))  # type: ignore[arg-type]

    server.on_stream_tag = newer
    stream = client.stream_tag("m", ["text"])
    assert list(stream) == []
    assert stream.finished.reason is StreamEnd.UNKNOWN


def test_it_can_be_iterated_once(client: Client) -> None:
    stream = client.stream_tag("m", ["text"])
    assert len(list(stream)) == 1
    with pytest.raises(RuntimeError, match="iterated only once"):
        iter(stream)
    with pytest.raises(RuntimeError, match="iterated only once"):
        stream.pieces()


def test_a_closed_client_says_so(server: ScriptedServer) -> None:
    client = Client(server.target)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        list(client.stream_tag("m", ["text"]))


def test_closing_the_client_ends_its_streams(server: ScriptedServer) -> None:
    left = threading.Event()
    client = Client(server.target)
    tags = iter(client.stream_tag("m", waits_for(left, "one ")))
    assert next(tags).token == "one"
    threading.Timer(0.05, client.close).start()  # while the reader waits
    with pytest.raises(CallCancelledError):
        next(tags)
    left.set()


def test_nothing_watches_a_call_that_has_ended_whoever_read_it(server: ScriptedServer) -> None:
    before, left = set(threading.enumerate()), threading.Event()
    client = Client(server.target)
    client.stream_tag("m", waits_for(left)).start()
    (watch,) = [thread for thread in set(threading.enumerate()) - before if thread.name == "seqserve-read-timeout"]
    client.close()
    watch.join(WAIT_S)
    assert not watch.is_alive()
    left.set()
