"""The client's own words understood by the real server: samples, best-of, beams, filters and scores, both clients."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from seqserve.client import (
    AsyncClient,
    Client,
    EmptyPromptError,
    FinishReason,
    InvalidFieldError,
    OutOfVocabularyError,
    SeqserveError,
    StepLogprobs,
    TaskMismatchError,
    TextScore,
)
from seqserve.server.testing import running_server
from tests.conftest import MadeRepository

MODEL, PROMPT, TEXT = "lstm", "the cat ", "the cat sat on 国, 😀."
TOKENS = 24


@pytest.fixture
async def address(made: MadeRepository) -> AsyncIterator[str]:
    async with running_server(made.root) as address:
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as client:
        yield client


def nats(steps: tuple[StepLogprobs, ...]) -> float:
    return math.fsum(step.chosen.logprob for step in steps)


async def texts_of(client: AsyncClient, count: int, **options: Any) -> list[str]:
    """Returns the samples of one generation, and checks their number."""
    stream = client.generate(MODEL, PROMPT, **{"max_tokens": TOKENS, "seed": 5, **options})
    texts = [await stream.text(sample=sample) for sample in range(count)]
    assert [sample.sample for sample in stream.finished.samples] == list(range(count))
    return texts


async def test_samples_differ_and_the_first_is_that_of_one(client: AsyncClient) -> None:
    texts = await texts_of(client, 4, n=4)
    assert len(set(texts)) == 4
    assert [len(text) for text in texts] == [TOKENS] * 4
    assert await texts_of(client, 1) == texts[:1]
    assert await texts_of(client, 2, n=2, priority=7) == texts[:2]


async def test_best_of_gives_the_likeliest_first(client: AsyncClient) -> None:
    every = client.generate(MODEL, PROMPT, max_tokens=TOKENS, seed=5, n=6, logprobs=0)
    await every.text()
    ranked = sorted(every.finished.samples, key=lambda sample: -(sample.logprob or 0.0) / sample.tokens)
    likeliest = [await every.text(sample.sample) for sample in ranked[:2]]
    assert await texts_of(client, 2, n=2, best_of=6) == likeliest


async def test_beams_come_best_first_and_are_as_likely_as_score_finds_them(client: AsyncClient) -> None:
    stream = client.generate(MODEL, PROMPT, max_tokens=TOKENS, n=3, beam_width=5, length_penalty=0.0)
    texts = [await stream.text(sample) for sample in range(3)]
    reported = [sample.logprob for sample in stream.finished.samples]
    assert len(set(texts)) == 3
    assert reported == sorted(reported, key=lambda logprob: -(logprob or 0.0))
    scores = await client.score(MODEL, [PROMPT + text for text in texts], logprobs=0)
    assert reported == [pytest.approx(nats(score.tokens[-TOKENS:]), abs=1e-3) for score in scores]


async def test_log_probabilities_of_prompt_and_text_are_those_of_score(client: AsyncClient) -> None:
    stream = client.generate(MODEL, PROMPT, max_tokens=TOKENS, seed=5, logprobs=2, prompt_logprobs=2)
    steps = [step async for piece in stream for step in piece.logprobs]
    score = await client.score(MODEL, PROMPT + await stream.text(), logprobs=2)
    reported = [*stream.started.prompt_logprobs, *steps]
    assert [step.chosen.token for step in reported] == [step.chosen.token for step in score.tokens]
    assert [step.chosen.rank for step in reported] == [step.chosen.rank for step in score.tokens]
    assert all(len(step.top) == 2 for step in reported)
    assert [step.chosen.logprob for step in reported] == pytest.approx(
        [step.chosen.logprob for step in score.tokens], abs=1e-4
    )
    assert stream.finished.samples[0].logprob == pytest.approx(nats(tuple(steps)), abs=1e-4)


async def test_filters_and_penalties_reach_the_sampler(client: AsyncClient) -> None:
    async def ids(**options: Any) -> list[int]:
        stream = client.generate(MODEL, PROMPT, **{"max_tokens": TOKENS, "seed": 5, **options})
        return [token async for piece in stream for token in piece.token_ids]

    plain = await ids()
    assert set(await ids(allowed_token_ids=[7, 8, 9])) <= {7, 8, 9}
    assert not set(await ids(banned_token_ids=plain[:3])) & set(plain[:3])
    assert set(await ids(logit_bias={4: 100.0}, temperature=0.0)) == {4}
    greedy = await ids(temperature=0.0)
    penalised = await ids(temperature=0.0, presence_penalty=2.0, frequency_penalty=2.0, repetition_penalty=5.0)
    assert len(set(penalised)) > len(set(greedy))
    for fewest, tokens in ((0, 1), (3, 4)):
        stopped = client.generate(
            MODEL, PROMPT, temperature=0.0, max_tokens=TOKENS, stop_token_ids=greedy, min_tokens=fewest
        )
        await stopped.text()
        assert (stopped.finished.reason, stopped.finished.generated_tokens) == (FinishReason.STOP, tokens)


@pytest.mark.parametrize("model", ["lstm", "gru"])
async def test_perplexity_is_that_of_the_log_probabilities(client: AsyncClient, model: str) -> None:
    short, long = await client.score(model, ["ab", TEXT], logprobs=0)
    for score, tokens in ((short, 1), (long, len(TEXT) - 1)):
        assert score.scored_tokens == len(score.tokens) == tokens
        assert score.logprob == pytest.approx(nats(score.tokens), abs=1e-6)
        assert score.perplexity == pytest.approx(math.exp(-score.logprob / score.scored_tokens))
    assert (await client.score(model, "a")).perplexity == 1.0


async def test_text_and_its_token_ids_score_the_same(client: AsyncClient, made: MadeRepository) -> None:
    ids = made.lstm.tokenizer.encode(TEXT).ids
    as_text, as_ids = await client.score(MODEL, [TEXT, ids], version=1)
    assert as_text == as_ids
    assert as_text.servable.model == MODEL


async def test_the_blocking_client_is_answered_the_same(address: str, client: AsyncClient) -> None:
    def block() -> tuple[TextScore, list[str]]:
        with Client(address) as blocking:
            stream = blocking.generate(MODEL, PROMPT, max_tokens=TOKENS, seed=5, n=3, best_of=5)
            return blocking.score(MODEL, TEXT, logprobs=3), [stream.text(sample=sample) for sample in range(3)]

    score, texts = await asyncio.to_thread(block)
    again = await client.score(MODEL, TEXT, logprobs=3)
    assert (score.logprob, score.tokens, score.perplexity) == (again.logprob, again.tokens, again.perplexity)
    assert texts == await texts_of(client, 3, n=3, best_of=5)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda client: client.score("tagger", "the cat"), TaskMismatchError, "it cannot generate or score text"),
        (lambda client: client.score(MODEL, ["ab", ""]), EmptyPromptError, r"inputs\[1\] has no tokens"),
        (lambda client: client.score(MODEL, ["ab", "a~"]), OutOfVocabularyError, r"inputs\[1\]"),
        (
            lambda client: client.score(MODEL, "ab", logprobs=21),
            InvalidFieldError,
            r"logprobs must be in \[0, 20\], got 21",
        ),
        (lambda client: client.score(MODEL, []), InvalidFieldError, "inputs is empty"),
        (
            lambda client: client.generate(MODEL, "a", n=3, best_of=2).text(),
            InvalidFieldError,
            r"best_of must be in \[3, 64\], got 2",
        ),
        (
            lambda client: client.generate(MODEL, "a", priority=101).text(),
            InvalidFieldError,
            r"priority must be in \[-100, 100\], got 101",
        ),
        (
            lambda client: client.generate(MODEL, "a", beam_width=1).text(),
            InvalidFieldError,
            r"beam_width must be in \[2, 17\], got 1",
        ),
    ],
)
async def test_a_refusal_says_what_was_wrong(
    client: AsyncClient, call: Callable[[AsyncClient], Any], kind: type[SeqserveError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        await call(client)
