"""Bulk methods of both clients: any iterable, in chunks, concurrent, in order, with the errors of single texts."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

from seqserve.client import (
    AsyncClient,
    Client,
    FieldViolation,
    GeneratedText,
    InvalidFieldError,
    QueueFullError,
    UnavailableError,
)
from seqserve.client.testing import Failure, ScriptedServer, echo, tag_words
from seqserve.v1 import generation_pb2, tagging_pb2

WAIT_S = 20.0


def refuses_empty_texts(server: ScriptedServer, *, named: bool, inputs_max: int = 256) -> None:
    """Refuses requests with an empty text, and names it or not; and requests with too many."""

    async def script(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        if len(request.inputs) > inputs_max:
            raise Failure(
                grpc.StatusCode.INVALID_ARGUMENT,
                "ERROR_REASON_INVALID_FIELD",
                violations=[FieldViolation("inputs", "too many")],
            )
        empty = [index for index, one in enumerate(request.inputs) if not one.text]
        if empty:
            violations = [FieldViolation(f"inputs[{empty[0]}].text", "empty")] if named else []
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD", violations=violations)
        return await tag_words(request)

    server.on_tag = script


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 257, 1000])
def test_any_number_of_texts_from_a_generator(count: int, server: ScriptedServer, client: Client) -> None:
    answers = list(client.tag_many("m", (f"text {index}" for index in range(count))))
    assert [one.text for one in answers if not isinstance(one, Exception)] == [f"text {n}" for n in range(count)]
    assert len(server.requests) == -(-count // 64)


def test_every_bulk_method_answers(client: Client) -> None:
    assert [one.text for one in client.tag_many("m", iter(["a", ["b", "c"]])) if not isinstance(one, Exception)] == [
        "a",
        "b c",
    ]
    scores = list(client.score_many("m", {"ab": 1, "c": 2}, logprobs=0))
    assert [one.scored_tokens for one in scores if not isinstance(one, Exception)] == [2, 1]
    classified = list(client.classify_many("m", ["a", "b c"], top_labels=1))
    assert [one.tokens for one in classified if not isinstance(one, Exception)] == [1, 2]
    assert [one.text for one in client.fill_many("m", ["a ___"]) if not isinstance(one, Exception)] == ["a x"]
    generated = list(client.generate_many("m", (f"prompt {n}" for n in range(20)), seed=1))
    assert all(isinstance(one, GeneratedText) for one in generated)
    assert [one.text for one in generated if isinstance(one, GeneratedText)] == [f"prompt {n}" for n in range(20)]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("inputs_max", [256, 7])
def test_an_error_is_that_of_its_text_alone(
    named: bool, inputs_max: int, server: ScriptedServer, client: Client
) -> None:
    refuses_empty_texts(server, named=named, inputs_max=inputs_max)
    texts = ["" if index % 50 == 3 else f"text {index}" for index in range(200)]
    answers = list(client.tag_many("m", texts))
    assert len(answers) == 200
    for text, answer in zip(texts, answers, strict=True):
        if text:
            assert not isinstance(answer, Exception)
            assert answer.text == text
        else:
            assert isinstance(answer, InvalidFieldError)


def test_what_is_no_text_fails_alone(client: Client) -> None:
    first, second, third = client.tag_many("m", ["a", None, "b"])  # type: ignore[list-item]
    assert not isinstance(first, Exception)
    assert isinstance(second, TypeError)
    assert not isinstance(third, Exception)


def test_one_prompt_fails_alone(server: ScriptedServer, client: Client) -> None:
    async def script(request: generation_pb2.GenerateRequest) -> Any:
        if request.text == "bad":
            raise Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD", "bad")
        async for event in echo(request):
            yield event

    server.on_generate = script
    answers = list(client.generate_many("m", ["a", "bad", "b"]))
    assert [getattr(one, "text", type(one)) for one in answers] == ["a", InvalidFieldError, "b"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.tag_many("m", "one text"),
        lambda client: client.generate_many("m", "one prompt"),
        lambda client: client.tag_many("m", ["a"], unknown=1),
        lambda client: client.generate_many("m", ["a"], unknown=1),
    ],
)
def test_wrong_usage_is_found_at_once(call: Callable[[Client], object], client: Client) -> None:
    with pytest.raises(TypeError):
        call(client)


def test_wrong_options_are_found_at_once(client: Client) -> None:
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        client.tag_many("m", ["a"], chunk_size=0)
    with pytest.raises(ValueError, match="concurrency must be at least 1, got 0"):
        client.generate_many("m", ["a"], concurrency=0)
    with pytest.raises(ValueError, match=r"out of range|too large"):
        client.tag_many("m", ["a"], top_labels=2**40)


def test_requests_run_at_the_same_time_and_answers_keep_their_order(server: ScriptedServer, client: Client) -> None:
    running = limit = 0
    together = asyncio.Event()

    async def script(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        nonlocal running, limit
        running += 1
        limit = max(limit, running)
        if running == 3:
            together.set()
        await together.wait()
        running -= 1
        return await tag_words(request)

    server.on_tag = script
    answers = client.tag_many("m", map(str, range(12)), chunk_size=2, concurrency=3)
    assert [one.text for one in answers if not isinstance(one, Exception)] == [str(n) for n in range(12)]
    assert limit == 3


def test_the_source_is_read_as_fast_as_answers_are_taken(client: Client) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield str(number)

    answers = client.tag_many("m", endless(), chunk_size=10, concurrency=3)
    assert taken == 0
    for _ in range(100):
        next(answers)
    assert taken <= 130 + 10
    answers.close()  # type: ignore[attr-defined]


def test_answers_before_a_failing_source_are_given(client: Client) -> None:
    def source() -> Iterator[str]:
        yield from map(str, range(5))
        raise LookupError("no more")

    answers = client.tag_many("m", source(), chunk_size=2)
    assert [one.text for one in itertools.islice(answers, 5) if not isinstance(one, Exception)] == list("01234")
    with pytest.raises(LookupError, match="no more"):
        next(answers)


def test_a_full_queue_is_waited_for(server: ScriptedServer) -> None:
    attempts = 0

    async def script(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "full", retry_after_s=0.01)
        return await tag_words(request)

    server.on_tag = script
    with Client(server.target) as client:
        (answer,) = client.tag_many("m", ["a"])
    assert not isinstance(answer, Exception)
    assert attempts == 4


def test_without_a_retry_all_texts_of_a_request_get_its_error(server: ScriptedServer, client: Client) -> None:
    async def script(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        raise Failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "ERROR_REASON_QUEUE_FULL", "full")

    server.on_tag = script
    answers = list(client.tag_many("m", ["a", "b", "c"]))
    assert [type(one) for one in answers] == [QueueFullError] * 3
    assert len(server.requests) == 1, "the texts are not to blame"


def test_an_absent_server_fails_each_text() -> None:
    with Client("127.0.0.1:1", resume_s=0.0) as client:
        answers = list(client.tag_many("m", ["a", "b"]))
    assert all(isinstance(one, UnavailableError) for one in answers)


def test_long_texts_make_small_requests(server: ScriptedServer, client: Client) -> None:
    answers = list(client.tag_many("m", ("x" * 600_000 for _ in range(4))))
    assert not any(isinstance(one, Exception) for one in answers)
    assert [len(request.inputs) for request in server.requests] == [2, 2]


async def texts() -> AsyncIterator[str]:
    for number in range(150):
        yield "" if number == 70 else str(number)


async def test_asyncio_bulk_methods_answer_in_order(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    refuses_empty_texts(async_server, named=True)
    answers = [one async for one in async_client.tag_many("m", texts())]
    assert [getattr(one, "text", "") async for one in async_client.tag_many("m", texts())] == [
        "" if number == 70 else str(number) for number in range(150)
    ]
    assert isinstance(answers[70], InvalidFieldError)
    generated = [one async for one in async_client.generate_many("m", ["a", "b"])]
    assert [one.text for one in generated if isinstance(one, GeneratedText)] == ["a", "b"]
    assert len([one async for one in async_client.score_many("m", ["a", "b"])]) == 2
    assert len([one async for one in async_client.classify_many("m", ["a", "b"])]) == 2
    assert len([one async for one in async_client.fill_many("m", ["a ___", "b"])]) == 2


async def test_asyncio_a_cancelled_reader_cancels_the_calls(
    async_server: ScriptedServer, async_client: AsyncClient
) -> None:
    begun = threading.Event()

    async def script(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async_server.on_tag = script

    async def read() -> None:
        async for _ in async_client.tag_many("m", map(str, range(1000))):
            pass

    task = asyncio.create_task(read())
    await asyncio.to_thread(begun.wait, WAIT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(async_server.cancelled.wait, WAIT_S)
