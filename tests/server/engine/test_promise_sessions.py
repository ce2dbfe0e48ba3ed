"""Promise 2, for sequences that live longer than a request: the text is the same in one request or cut into several.

Cut in requests of one sequence, forked, taken as bytes to another server, or read again: all are held against the
oracle, which runs the whole sequence alone.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from seqserve.server.engine.output_stream import ScoreResult
from seqserve.server.engine.requests import ScoringRequest
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.sessions import snapshot
from seqserve.server.settings import BatchSettings
from seqserve.training.config import CellKind
from tests.server.engine.conftest import Load
from tests.server.engine.reference import NOTHING, Past
from tests.server.engine.rig import LoadedModel, Reader, Rig
from tests.server.engine.sequences import generation_request

KINDS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.7, "top_k": 5},
    {"repetition_penalty": 1.3, "frequency_penalty": 0.4},
    {"temperature": 0.0, "presence_penalty": 0.9, "repetition_penalty": 1.2},
    {"min_p": 0.1, "logit_bias": {3: 2.0}, "logprobs": 1},
]
CROWDED = BatchSettings(
    size_max=3, prefill_length_max=3, prefill_tokens_max=7, inline_prefill_tokens_max=6, slice_tokens=2
)
NEW = SequenceState.new()


@pytest.fixture(
    params=[("lstm", 1), ("gru", 1), ("lstm int8", 2), ("gru int8", 1), *((cell.value, 2) for cell in CellKind)],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def model(load: Load, request: pytest.FixtureRequest) -> LoadedModel:
    cell, layers = request.param
    return load(cell, layers, 24)


def crowd(rig: Rig, count: int) -> None:
    """Strangers who share the steps."""
    for number in range(count):
        rig.start(generation_request([number % 7] * (1 + 3 * number), seed=number, max_tokens=200), caller="stranger")


def ask(rig: Rig, prompt: list[int], start: SequenceState, past: Past, model: LoadedModel, **requested: Any) -> Reader:
    """One request of a sequence, to its end; its text is the oracle's."""
    request = generation_request(prompt, start=start, keeps_state=True, **requested)
    reader = rig.start(request, past)
    while not reader.done:
        rig.step()
    for sample in range(request.samples):
        assert tuple(reader.tokens[sample]) == model.oracle.text(request, sample, past).tokens
    return reader


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("settings", [BatchSettings(), CROWDED])
def test_a_text_is_the_same_in_one_request_or_in_several(
    model: LoadedModel, settings: BatchSettings, kind: dict[str, Any]
) -> None:
    prompt = model.prompt(9)
    whole = model.oracle.text(generation_request(prompt, max_tokens=24, seed=5, **kind))
    for cuts in ((1, 23), (8, 8, 8), (23, 1), (1,) * 24, (2, 5, 17)):
        rig = Rig(model, settings)
        crowd(rig, 4)
        start, past, text = NEW, NOTHING, list[int]()
        for number, count in enumerate(cuts):
            reader = ask(rig, [] if number else prompt, start, past, model, max_tokens=count, seed=5, **kind)
            start, past = reader.following()
            text += reader.text
        assert tuple(text) == whole.tokens


@pytest.mark.parametrize("settings", [BatchSettings(), CROWDED])
def test_a_conversation_is_what_one_long_prompt_would_be(model: LoadedModel, settings: BatchSettings) -> None:
    rig = Rig(model, settings)
    crowd(rig, 3)
    start, past = NEW, NOTHING
    for number, length in enumerate((1, 40, 3, 17, 1)):
        prompt = model.prompt(length, number)
        reader = ask(rig, prompt, start, past, model, max_tokens=6, seed=number)
        as_prompt = generation_request([*past.tokens, *prompt], max_tokens=6, seed=number)
        assert tuple(reader.text) == model.oracle.text(as_prompt).tokens
        start, past = reader.following()
    assert start.position == 5 * 6 + 62


def test_both_children_of_a_fork_go_on_as_if_there_had_been_no_other(model: LoadedModel) -> None:
    rig = Rig(model, CROWDED)
    start, past = NEW, NOTHING
    for number in range(8):
        reader = ask(rig, model.prompt(3) if not number else [], start, past, model, max_tokens=2, seed=1)
        start, past = reader.following()
        children = [
            generation_request([], start=start, seed=1, max_tokens=9),
            generation_request([], start=start, seed=2, max_tokens=9, repetition_penalty=1.4),
            generation_request([4, 5], start=start, seed=1, max_tokens=9),
        ]
        readers = [rig.start(child) for child in children]
        rig.run()
        for child, reader in zip(children, readers, strict=True):
            assert tuple(reader.text) == model.oracle.text(child, 0, past).tokens
        again = rig.start(children[0])  # the start is as it was
        rig.run()
        assert again.text == readers[0].text


def test_every_sample_leaves_the_state_of_its_own_text(model: LoadedModel) -> None:
    rig = Rig(model, CROWDED)
    stopping = {"stop_tokens": frozenset({3, 11, 20})}
    reader = ask(rig, model.prompt(5), NEW, NOTHING, model, samples=5, max_tokens=9, seed=3, stopping=stopping)
    assert len({len(tokens) for tokens in reader.tokens.values()}) > 1
    for sample in range(5):
        start, past = reader.following(sample)
        ask(rig, [], start, past, model, max_tokens=7, frequency_penalty=0.7)


@pytest.mark.parametrize("max_tokens", [1, 2, 9])
def test_a_sequence_goes_on_from_a_snapshot_and_from_its_tokens(model: LoadedModel, max_tokens: int) -> None:
    rig = Rig(model)
    requested: dict[str, Any] = {"max_tokens": max_tokens, "repetition_penalty": 1.3, "seed": 9}
    start, past = ask(rig, model.prompt(4), NEW, NOTHING, model, **requested).following()
    data = snapshot.seal(snapshot.pack(start, model.servable, 0.0), None)
    carried = snapshot.unpack(snapshot.unseal(data, None, 1 << 20), model.servable)
    ask(rig, [], carried, past, model, **requested)
    tokens = np.array(past.tokens, np.int32)
    ask(rig, [1], dataclasses.replace(start, state=None, replay=tokens[:-1]), past, model, **requested)


def test_scores_are_the_same_to_the_bit_wherever_the_text_is_cut(model: LoadedModel) -> None:
    text = model.prompt(30)
    rig = Rig(model, CROWDED)
    crowd(rig, 2)
    whole = _scores(rig, text, NEW, keeps_state=False)[0]
    np.testing.assert_allclose(whole, model.oracle.logprobs(text), rtol=0, atol=1e-12)
    for cuts in ((1, 30), (29, 30), (7, 8, 9, 30), tuple(range(1, 31))):
        start, found = NEW, list[float]()
        for begin, end in itertools.pairwise((0, *cuts)):
            logprobs, start = _scores(rig, text[begin:end], start, keeps_state=True)
            assert len(logprobs) == end - begin - (begin == 0)
            found += logprobs
        assert found == whole
        ask(rig, [], start, Past(tuple(text)), model, max_tokens=5)


def _scores(
    rig: Rig, tokens: list[int], start: SequenceState, *, keeps_state: bool
) -> tuple[list[float], SequenceState]:
    reader = rig.start(ScoringRequest(token_inputs(tokens), 1, start, keeps_state))
    while not reader.done:
        rig.step()
    assert isinstance(reader.result, ScoreResult)
    counts = start.counts.plus(np.array(tokens, np.int32), np.empty(0, np.int32))
    following = SequenceState(reader.result.state, start.position + len(tokens), tokens[-1], counts)
    return [report.chosen.logprob for report in reader.result.reports], following


def test_the_prompt_of_a_sequence_that_goes_on_is_reported_from_its_first_token(model: LoadedModel) -> None:
    tokens = model.prompt(20)
    for settings in (BatchSettings(), CROWDED):
        rig = Rig(model, settings)
        crowd(rig, 2)
        first = ask(rig, tokens[:5], NEW, NOTHING, model, max_tokens=3, prompt_logprobs=2)
        start, past = first.following()
        second = ask(rig, tokens[5:], start, past, model, max_tokens=3, prompt_logprobs=2)
        assert len(first.sequence.stream.prompt) == 4
        reported = [report.chosen for report in second.sequence.stream.prompt]
        assert [candidate.token for candidate in reported] == tokens[5:]
        expected = model.oracle.logprobs([*past.tokens, *tokens[5:]])[len(past.tokens) - 1 :]
        np.testing.assert_allclose([candidate.logprob for candidate in reported], expected, rtol=0, atol=1e-12)


def test_only_new_sequences_share_what_was_read_before(model: LoadedModel) -> None:
    """A prompt means another state after another beginning."""
    rig = Rig(model, BatchSettings(prefill_length_max=4))
    prompt = model.prompt(20)
    start, past = ask(rig, prompt, NEW, NOTHING, model, max_tokens=4).following()
    ask(rig, [*prompt, 1], start, past, model, max_tokens=4)
    assert rig.engine.prefixes.hits == 0
    ask(rig, [*prompt, 1], NEW, NOTHING, model, max_tokens=4)
    assert rig.engine.prefixes.hits == 1


def test_a_cancelled_request_leaves_the_state_that_it_began_from(model: LoadedModel) -> None:
    rig = Rig(model)
    start, past = ask(rig, model.prompt(6), NEW, NOTHING, model, max_tokens=4).following()
    assert start.state is not None
    before = [tensor.copy() for tensor in start.state]
    for steps in range(6):
        reader = rig.start(generation_request([1, 2], start=start, max_tokens=50, keeps_state=True))
        for _ in range(steps):
            rig.step()
        rig.cancel(reader)
    for tensor, was in zip(start.state, before, strict=True):
        np.testing.assert_array_equal(tensor, was)
    ask(rig, [], start, past, model, max_tokens=6)
