"""Streams that a source feeds, between the real client and the real server: round trips, early ends, neighbours."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seqserve.client import (
    AsyncClient,
    AsyncDuplexStream,
    Client,
    DuplexStream,
    InvalidFieldError,
    ModelNotFoundError,
    OutOfVocabularyError,
    SentenceRule,
    StreamEnd,
    TagPiece,
    TaskMismatchError,
    UnavailableError,
)
from seqserve.server.testing import running_server
from tests.processes import replica

WAIT_S = 60.0

TEXT = "the cat sat on 国, 😀. a dog, a mat."
WORDS = ["the", "cat", "sat", "on", "国", ".", "a", "naïve", "dog"]

Kind = str
KINDS = ["score", "classify", "tag"]
MODELS = {"score": "lm", "classify": "classifier", "tag": "tagger"}
# What answers a piece of one token at once: the second character of a text, a word.
FIRST: dict[Kind, list[Any]] = {"score": ["t"], "classify": [], "tag": []}
SINGLE: dict[Kind, list[Any]] = {
    "score": list(TEXT[1:]),
    "classify": [[word] for word in WORDS],
    "tag": [[word] for word in WORDS],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_classifier, make_language_model, make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("streams")
    make_language_model(root / "lm")
    make_classifier(root / "classifier", bidirectional=False)
    make_tagger(root / "tagger", bidirectional=False)
    make_tagger(root / "both-ways")
    make_tagger(root / "names", bidirectional=False, labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    return root


@pytest.fixture
async def address(models: Path) -> AsyncIterator[str]:
    async with running_server(models) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as client:
        yield client


def stream(client: AsyncClient, kind: Kind, source: Any, **options: Any) -> AsyncDuplexStream[Any, Any, Any]:
    opened: AsyncDuplexStream[Any, Any, Any] = getattr(client, f"stream_{kind}")(MODELS[kind], source, **options)
    return opened


async def then_waits(pieces: list[Any], go_on: asyncio.Event | None = None) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece
    await (go_on or asyncio.Event()).wait()


async def test_scores_are_those_of_the_whole_text_however_it_is_cut(client: AsyncClient) -> None:
    whole = await client.score("lm", TEXT, logprobs=2)
    for width in (1, 2, 7, 100):
        pieces = [TEXT[start : start + width] for start in range(0, len(TEXT), width)]
        scored = client.stream_score("lm", pieces, logprobs=2)
        tokens = [token async for token in scored]
        assert [(token.chosen, token.top) for token in tokens] == [(step.chosen, step.top) for step in whole.tokens]
        assert [TEXT[token.start : token.end] for token in tokens] == list(TEXT[1:])
        assert [token.position for token in tokens] == list(range(1, len(TEXT)))
        assert (scored.finished.scored_tokens, scored.finished.state.position) == (len(TEXT) - 1, len(TEXT))
        assert scored.finished.logprob == pytest.approx(whole.logprob)


@pytest.mark.parametrize("model", ["tagger", "both-ways", "names"])
async def test_lines_are_tagged_as_by_themselves_each_before_the_next_is_sent(client: AsyncClient, model: str) -> None:
    lines = ["the cat sat, on 国.\n", "\n", "a naïve  dog \n", "0\n", "the mat sat on the dog . the cat\n"]
    spans = model == "names"
    answered = asyncio.Semaphore(0)

    async def one_by_one() -> AsyncIterator[str]:
        for line in lines:
            yield line
            for _ in line.replace(",", " ,").replace(".", " .").split():
                await answered.acquire()

    tagged = client.stream_tag(model, one_by_one(), sentence_rule=SentenceRule.NEWLINE, spans=spans, top_labels=2)
    pieces = list[TagPiece]()
    async with asyncio.timeout(WAIT_S):
        async for piece in tagged.pieces():
            pieces.append(piece)
            for _ in piece.tags:
                answered.release()
    tags = [tag for piece in pieces for tag in piece.tags]
    found = [span for piece in pieces for span in piece.spans]
    start = position = 0
    for line in lines:
        if line.strip():
            (alone,) = await client.tag(model, [line], top_labels=2, spans=spans)
            count = len(alone.tags)
            assert [(tag.label, tag.top) for tag in tags[:count]] == [(tag.label, tag.top) for tag in alone.tags]
            assert [tag.position for tag in tags[:count]] == list(range(position, position + count))
            assert [line[tag.start - start : tag.end - start] for tag in tags[:count]] == [t.token for t in alone.tags]
            assert [(one.text, one.start - start) for one in found[: len(alone.spans)]] == [
                (one.text, one.start) for one in alone.spans
            ]
            tags, found, position = tags[count:], found[len(alone.spans) :], position + count
        start += len(line)
    assert not tags
    assert not found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_token_is_answered_before_the_next_is_sent(client: AsyncClient, kind: Kind) -> None:
    answered = asyncio.Semaphore(0)

    async def one_by_one() -> AsyncIterator[Any]:
        for piece in FIRST[kind]:
            yield piece
        for piece in SINGLE[kind]:
            yield piece
            await answered.acquire()

    count = 0
    async with asyncio.timeout(WAIT_S):
        async for _ in stream(client, kind, one_by_one()):
            count += 1
            answered.release()
    assert count == len(SINGLE[kind])


@pytest.mark.parametrize("kind", KINDS)
async def test_the_blocking_client_is_answered_before_the_next_is_sent(address: str, kind: Kind) -> None:
    def block() -> int:
        answers = queue.Queue[object]()

        def one_by_one() -> Iterator[Any]:
            yield from FIRST[kind]
            for piece in SINGLE[kind]:
                yield piece
                answers.get(timeout=WAIT_S)

        count = 0
        with Client(address) as blocking:
            opened: DuplexStream[Any, Any, Any] = getattr(blocking, f"stream_{kind}")(MODELS[kind], one_by_one())
            for answer in opened:
                count += 1
                answers.put(answer)
        assert opened.finished.reason is StreamEnd.INPUT
        return count

    assert await asyncio.to_thread(block) == len(SINGLE[kind])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_goes_on_and_is_left_alone_by_what_did_not_end(client: AsyncClient, kind: Kind) -> None:
    async def fails() -> AsyncIterator[Any]:
        for piece in FIRST[kind] + SINGLE[kind]:
            yield piece
        raise KeyError("no more")

    async with client.session(MODELS[kind]) as session:
        open_stream = getattr(session, f"stream_{kind}")
        whole = open_stream(FIRST[kind] + SINGLE[kind])
        before = [answer async for answer in whole]
        tokens = len(FIRST[kind]) + len(SINGLE[kind])
        assert session.position == whole.finished.state.position == tokens
        for _ in range(10):
            async with open_stream(then_waits(FIRST[kind] + SINGLE[kind]), wait=True) as left:
                async for _ in left:
                    break
            with pytest.raises(KeyError):
                _ = [answer async for answer in open_stream(fails(), wait=True)]
        again = open_stream(SINGLE[kind], wait=True)
        after = [answer async for answer in again]
        assert again.started.position == tokens, "a stream that was left has moved the session"
        assert len(after) == len(before)
        assert session.position == (await session.info()).position == tokens + len(SINGLE[kind])


@pytest.mark.parametrize("kind", KINDS)
async def test_an_idle_stream_ends_cleanly(client: AsyncClient, kind: Kind) -> None:
    async with stream(client, kind, then_waits(FIRST[kind] + SINGLE[kind]), idle_timeout_s=0.2) as idle:
        answers = [answer async for answer in idle]
    assert answers
    assert idle.finished.reason is StreamEnd.IDLE


async def test_one_that_does_not_read_holds_up_nobody(client: AsyncClient) -> None:
    """The server stops taking its pieces; the others get all their answers, and it gets its own when it reads."""
    pieces = ["the cat sat. " * 800] * 1000  # 10 MB of text, 5 GB of scores
    given = 0

    async def counted() -> AsyncIterator[str]:
        nonlocal given
        for piece in pieces:
            given += 1
            yield piece

    async def count() -> int:
        return len([token async for token in client.stream_score("lm", list(TEXT))])

    async with client.stream_score("lm", counted(), logprobs=20) as slow:
        await slow.start()
        async with asyncio.timeout(WAIT_S):
            assert await asyncio.gather(*(count() for _ in range(16))) == [len(TEXT) - 1] * 16
        seen = -1
        while seen != given:  # until it stands still, which nothing but time can tell
            seen = given
            await asyncio.sleep(0.5)
        assert 0 < given < len(pieces), "its answers have gathered somewhere"
        positions = aiter(slow)
        assert [(await anext(positions)).position for _ in range(1000)] == list(range(1, 1001))


@pytest.mark.parametrize(
    ("kind", "model", "source", "error", "message"),
    [
        ("score", "classifier", ["a"], TaskMismatchError, "classifier"),
        ("classify", "lm", ["a"], TaskMismatchError, "lm"),
        ("score", "none", ["a"], ModelNotFoundError, "none"),
        ("score", "lm", ["a", "~"], OutOfVocabularyError, "U\\+007E"),
        ("score", "lm", [[0, 10_000]], InvalidFieldError, "10000"),
        ("tag", "lm", ["a"], TaskMismatchError, "lm"),
        ("tag", "tagger", [["a"], "text"], InvalidFieldError, "began with words"),
        ("tag", "tagger", [["a", ""]], InvalidFieldError, "empty word"),
        ("classify", "classifier", [["a", ""]], InvalidFieldError, "empty word"),
    ],
)
async def test_a_refusal_says_what_was_wrong(
    client: AsyncClient, kind: Kind, model: str, source: list[Any], error: type[Exception], message: str
) -> None:
    open_stream: Callable[..., AsyncDuplexStream[Any, Any, Any]] = getattr(client, f"stream_{kind}")
    with pytest.raises(error, match=message):
        _ = [answer async for answer in open_stream(model, source)]


@pytest.mark.parametrize(("kind", "model"), [("score", "lm"), ("tag", "tagger"), ("classify", "classifier")])
async def test_empty_pieces_change_nothing(client: AsyncClient, kind: Kind, model: str) -> None:
    """A source may have nothing to give for a while; an empty piece is not the end of the text."""
    open_stream: Callable[..., AsyncDuplexStream[Any, Any, Any]] = getattr(client, f"stream_{kind}")
    whole = [answer async for answer in open_stream(model, ["the cat", " sat."])]
    assert [answer async for answer in open_stream(model, ["", "the cat", "", "", " sat.", ""])] == whole != []


@pytest.mark.timeout(120)
async def test_a_server_that_is_killed_is_told(models: Path, tmp_path: Path) -> None:
    async with replica.running(models, {}, tmp_path / "log") as server, AsyncClient(server.address) as client:
        begun = [asyncio.Event() for _ in [*KINDS, "blocking"]]
        removed, loop = threading.Event(), asyncio.get_running_loop()

        async def read(kind: Kind, answered: asyncio.Event) -> None:
            async for _ in stream(client, kind, then_waits(FIRST[kind] + SINGLE[kind])):
                answered.set()

        def waits() -> Iterator[str]:
            yield "ab"
            removed.wait(WAIT_S)

        def block() -> None:
            with Client(server.address) as blocking:
                for _ in blocking.stream_score("lm", waits()):
                    loop.call_soon_threadsafe(begun[-1].set)

        tasks = [asyncio.create_task(read(kind, event)) for kind, event in zip(KINDS, begun, strict=False)]
        tasks.append(asyncio.create_task(asyncio.to_thread(block)))
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(event.wait() for event in begun))
            await server.kill()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        removed.set()
        for outcome in outcomes:
            assert isinstance(outcome, UnavailableError)
            assert server.address in str(outcome)
