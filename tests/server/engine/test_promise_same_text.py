"""Promise 2: for one seed the bytes of the text are the same, whatever else the server does.

Every scenario is held against one oracle, which runs the sequence alone and a token a step; so all agree with each
other too. The cells here stand for the others, whose bits tests/training/export/test_bits.py compares: ONNX's two
operators, Scans whose state is an output, Scans whose state is not, and int8.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from seqserve.server.engine.output_stream import FinishReason, ScoreResult
from seqserve.server.engine.requests import GenerationRequest, ScoringRequest
from seqserve.server.model.inputs import token_inputs
from seqserve.server.settings import BatchSettings
from tests.server.engine.conftest import Load
from tests.server.engine.rig import LoadedModel, Reader, Rig
from tests.server.engine.sequences import generation_request

CELLS = ["lstm", "gru", "rnn", "sru", "lstm int8", "gru int8"]
MODELS = [("lstm", 1), ("lstm", 2), ("gru", 1), ("gru", 2), ("rnn", 2), ("sru", 1), ("lstm int8", 2), ("gru int8", 2)]


@pytest.fixture(params=MODELS, ids=lambda param: f"{param[0]}-{param[1]}")
def model(load: Load, request: pytest.FixtureRequest) -> LoadedModel:
    cell, layers = request.param
    return load(cell, layers, 24)


def requests_of(model: LoadedModel, count: int, max_tokens: int = 20) -> list[GenerationRequest]:
    """All kinds of settings in turn, prompts of many lengths."""
    kinds: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {},
        {"temperature": 0.7, "top_k": 5},
        {"temperature": 1.3, "top_p": 0.8, "repetition_penalty": 1.3, "frequency_penalty": 0.4},
        {"temperature": 0.0, "presence_penalty": 0.9, "repetition_penalty": 1.2},
        {"min_p": 0.1, "logit_bias": {3: 2.0, 4: -1.5}, "banned": frozenset({0, 7})},
        {"temperature": 0.9, "stopping": {"stop_tokens": frozenset({5, 9}), "min_tokens": 3}},
        {"stopping": {"stop": ("e", "an", "xyz")}},
    ]
    lengths = (1, 2, 7, 16, 17, 33, 64)
    return [
        generation_request(
            model.prompt(lengths[number % len(lengths)], number),
            max_tokens=max_tokens - number % 5,
            **({"seed": 1000 + number} | kinds[number % len(kinds)]),
        )
        for number in range(count)
    ]


def assert_as_alone(model: LoadedModel, readers: Sequence[Reader]) -> None:
    """Each reader has received what the oracle says, to the end."""
    for reader in readers:
        assert isinstance(reader.request, GenerationRequest)
        assert len(reader.ends) == reader.request.samples, reader.error
        for sample, end in reader.ends.items():
            expected = model.oracle.text(reader.request, sample)
            assert tuple(reader.tokens[sample]) == expected.tokens
            assert (end.reason is FinishReason.STOP) == expected.stopped
            assert end.tokens == len(expected.tokens)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 61, 128])
def test_the_text_is_the_same_alone_and_among_others(model: LoadedModel, count: int) -> None:
    rig = Rig(model, BatchSettings(size_max=128))
    readers = []
    for number, request in enumerate(requests_of(model, count)):
        readers.append(rig.start(request))
        if number % 7 == 3:
            rig.step()
    rig.run()
    assert_as_alone(model, readers)
    rig.assert_nothing_is_left()


@pytest.mark.parametrize("block", [1, 2, 3, 7, 16, 50])
@pytest.mark.parametrize("tokens_max", [1, 5, 64, 512])
def test_the_text_is_the_same_wherever_its_prompt_is_cut(load: Load, block: int, tokens_max: int) -> None:
    for cell in CELLS:
        model = load(cell, 2, 24)
        rig = Rig(
            model, BatchSettings(prefill_length_max=block, prefill_tokens_max=tokens_max, inline_prefill_tokens_max=0)
        )
        running = rig.start(generation_request([1], max_tokens=100, temperature=0.0))
        for _ in range(3):
            rig.step()
        readers = [
            rig.start(generation_request(model.prompt(length, length), seed=length, max_tokens=12))
            for length in (50, 1, 49, 64, 23)
        ]
        rig.run()
        assert_as_alone(model, [running, *readers])


@pytest.mark.parametrize("ride", [0, 5, 32])
def test_the_text_is_the_same_whether_its_prompt_rides_or_is_read(model: LoadedModel, ride: int) -> None:
    rig = Rig(model, BatchSettings(inline_prefill_tokens_max=ride, prefix_cache_bytes_max=0))
    readers = [rig.start(generation_request([2], max_tokens=90))]
    for request in requests_of(model, 24):
        readers.append(rig.start(request))
        rig.step()
        rig.step()
    rig.run()
    assert_as_alone(model, readers)


@pytest.mark.parametrize("ride", [0, 32])
def test_a_hit_of_the_prefix_cache_changes_no_bit(model: LoadedModel, ride: int) -> None:
    rig = Rig(model, BatchSettings(prefill_length_max=4, prefill_tokens_max=8, inline_prefill_tokens_max=ride))
    prompt = model.prompt(37)
    requested = [
        generation_request(prompt[:length], seed=seed, max_tokens=15)
        for seed, length in enumerate((37, 37, 20, 36, 9, 4, 37))
    ]
    requested.append(generation_request([*prompt[:18], *model.prompt(10, 5)], max_tokens=15))
    first = rig.start(requested[0])
    rig.run()
    readers = [rig.start(request) for request in requested]
    rig.run()
    assert_as_alone(model, [first, *readers])
    assert first.ends[0].cached_tokens == 0
    assert [reader.ends[0].cached_tokens for reader in readers] == [36, 36, 16, 32, 8, 0, 36, 16]
    assert rig.engine.prefixes.hits == 7


@pytest.mark.parametrize("cell", CELLS)
def test_the_text_is_the_same_with_one_thread_and_with_two(load: Load, cell: str) -> None:
    one, two = load(cell, 2, 24), load(cell, 2, 24, threads=2)
    rig = Rig(two, BatchSettings(size_max=64))
    readers = [rig.start(request) for request in requests_of(two, 48)]
    rig.run()
    assert_as_alone(one, readers)  # the oracle of the one that runs with one thread


@pytest.mark.parametrize("hidden_size", [7, 100])
def test_the_text_is_the_same_whatever_the_number_of_units(load: Load, hidden_size: int) -> None:
    for cell in CELLS:
        model = load(cell, 1, hidden_size)
        rig = Rig(model)
        readers = [rig.start(request) for request in requests_of(model, 33)]
        rig.run()
        assert_as_alone(model, readers)


def test_the_text_is_the_same_after_neighbours_were_cancelled(model: LoadedModel) -> None:
    random = np.random.default_rng(5)
    rig = Rig(model, BatchSettings(size_max=24, prefill_length_max=8, slice_tokens=6))
    requests = iter(requests_of(model, 90))
    left: list[Reader] = []
    for _ in range(60):
        left += [rig.start(request) for request in itertools.islice(requests, 2)]
        rig.step()
        if random.random() < 0.6:
            removed = left.pop(int(random.integers(len(left))))
            rig.cancel(removed)
    rig.run()
    assert len(left) > 20
    assert_as_alone(model, left)
    rig.assert_nothing_is_left()


@pytest.mark.parametrize("slice_tokens", [1, 3])
def test_the_text_is_the_same_after_it_had_to_make_room(model: LoadedModel, slice_tokens: int) -> None:
    rig = Rig(model, BatchSettings(size_max=3, slice_tokens=slice_tokens, inline_prefill_tokens_max=4))
    readers = [
        rig.start(request, caller="ab"[number % 2], priority=number % 3 // 2)
        for number, request in enumerate(requests_of(model, 14))
    ]
    rig.run()
    assert_as_alone(model, readers)


def test_the_text_is_the_same_after_its_reader_paused(model: LoadedModel) -> None:
    rig = Rig(model, BatchSettings(size_max=6, tokens_ahead_max=4))
    readers = [rig.start(request) for request in requests_of(model, 8)]
    for reader in readers[::2]:
        reader.stalls = True
    rig.run()
    assert all(reader.done for reader in readers[1::2])
    while not all(reader.done for reader in readers):
        for reader in readers[::2]:
            reader.read()
        rig.run()
    assert_as_alone(model, readers)


@pytest.mark.parametrize("size_max", [1, 3, 64])
def test_each_of_many_samples_is_drawn_from_its_own_randomness(model: LoadedModel, size_max: int) -> None:
    rig = Rig(model, BatchSettings(size_max=size_max, slice_tokens=5))
    readers = [
        rig.start(
            generation_request(
                model.prompt(20, seed), seed=seed, samples=samples, max_tokens=14, stopping={"stop": ("a",)}
            )
        )
        for seed, samples in ((0, 1), (0, 5), (1, 3))
    ]
    penalised = generation_request(model.prompt(3), samples=4, max_tokens=14, repetition_penalty=1.5)
    readers.append(rig.start(penalised))
    rig.run()
    assert_as_alone(model, readers)
    assert readers[0].tokens[0] == readers[1].tokens[0]  # sample 0 is what one sample would be
    assert len({tuple(text) for text in readers[3].tokens.values()}) == 4


def test_the_logprobs_of_a_text_are_the_same_to_the_bit_however_it_is_read(model: LoadedModel) -> None:
    texts = [model.prompt(length, length) for length in (2, 3, 16, 50, 51, 90)]
    found: list[list[list[float]]] = []
    for block, tokens_max, together, beside in (
        (1000, 1000, False, False),
        (1, 1, True, True),
        (5, 40, True, False),
        (16, 512, True, True),
        (7, 7, False, True),
    ):
        rig = Rig(model, BatchSettings(prefill_length_max=block, prefill_tokens_max=tokens_max))
        if beside:
            rig.start(generation_request([1], max_tokens=400))
            rig.step()
        readers = []
        for text in texts:
            readers.append(rig.start(ScoringRequest(token_inputs(text), top=3)))
            if not together:
                rig.run()
        rig.run()
        results = [reader.result for reader in readers]
        assert all(isinstance(result, ScoreResult) for result in results)
        found.append(
            [
                [report.chosen.logprob for report in result.reports]
                for result in results
                if isinstance(result, ScoreResult)
            ]
        )
    assert all(again == found[0] for again in found)
    for text, logprobs in zip(texts, found[0], strict=True):
        np.testing.assert_allclose(logprobs, model.oracle.logprobs(text), rtol=0, atol=1e-12)


def test_the_logprobs_of_a_generation_and_its_prompt_are_the_same_to_the_bit(model: LoadedModel) -> None:
    request = generation_request(model.prompt(21), max_tokens=12, logprobs=2, prompt_logprobs=2, temperature=0.0)
    reported = []
    for settings, crowd in (
        (BatchSettings(), 0),
        (BatchSettings(prefill_length_max=3, inline_prefill_tokens_max=0), 9),
        (BatchSettings(inline_prefill_tokens_max=32), 5),
        (BatchSettings(inline_prefill_tokens_max=32, size_max=2, slice_tokens=2), 5),
    ):
        rig = Rig(model, settings)
        for number in range(crowd):
            rig.start(generation_request([number], seed=number, max_tokens=60))
        rig.step()
        reader = rig.start(request)
        rig.run()
        reported.append((reader.sequence.stream.prompt, reader.reports[0]))
    assert all(again == reported[0] for again in reported)
    prompt, reports = reported[0]
    tokens = [*model.prompt(21), *(report.chosen.token for report in reports)]
    logprobs = [report.chosen.logprob for report in (*prompt, *reports)]
    np.testing.assert_allclose(logprobs, model.oracle.logprobs(tokens), rtol=0, atol=1e-12)
    assert all(report.chosen.rank == 1 for report in reports)
