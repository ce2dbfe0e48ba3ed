"""A sequence whose outputs are not finite fails alone, in every task; its neighbours keep every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqserve.server.engine.requests import (
    ForwardRequest,
    Request,
    ScoreStreamRequest,
    ScoringRequest,
    StepStreamRequest,
    StreamRequest,
)
from seqserve.server.errors import InvalidFieldError, NonFiniteOutputError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState, TokenCounts
from seqserve.server.settings import BatchSettings
from tests.server.engine.conftest import Load
from tests.server.engine.rig import LoadedModel
from tests.server.engine.sequences import generation_request
from tests.server.engine.streams import FeedRig


@pytest.fixture(scope="module")
def gru(load: Load) -> LoadedModel:
    """A GRU: its state is a mean of the old one and of new values, so a huge one stays huge."""
    return load("gru", 1, 8)


def hostile(model: LoadedModel, size: float = 3e38) -> SequenceState:
    """A state that a snapshot may hold: finite, and so large that sums over it are not."""
    tensors = tuple(np.full_like(tensor, size) for tensor in model.servable.initial_state())
    signs = np.where(np.arange(tensors[0].shape[-1]) % 2, -1, 1).astype(np.float32)
    counts = TokenCounts(np.array([1], np.int32), np.array([5], np.int32), np.array([0], np.int32))
    return SequenceState(tuple(tensor * signs for tensor in tensors), 5, 1, counts)


SAMPLINGS: list[dict[str, Any]] = [
    {"top_p": 0.9},
    {"temperature": 0},
    {},
    {"top_k": 3},
    {"min_p": 0.1},
    {"repetition_penalty": 1.3, "presence_penalty": 0.2},
    {"logit_bias": {2: 1.0}},
    {"logprobs": 2},
    {"samples": 3, "top_p": 0.5},
    {"beam_width": 3},
    {"prompt_logprobs": 2},
    {"stopping": {"stop": ("zz",), "min_tokens": 2, "stop_tokens": frozenset({3})}},
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("inline_max", [0, 32])
@pytest.mark.parametrize("steps", [0, 4])
def test_a_generation_from_a_hostile_state_fails_alone_among_sixteen_others(
    gru: LoadedModel, sampling: dict[str, Any], inline_max: int, steps: int
) -> None:
    rig = FeedRig(gru, BatchSettings(size_max=32, inline_prefill_tokens_max=inline_max))
    others = [
        rig.start(generation_request(gru.prompt(3, seed), seed=seed, max_tokens=30, **SAMPLINGS[seed % 7]))
        for seed in range(16)
    ]
    for _ in range(steps):
        rig.step()
    bad = rig.start(generation_request(gru.prompt(2), max_tokens=30, start=hostile(gru), keeps_state=True, **sampling))
    rig.run()
    assert isinstance(bad.error, NonFiniteOutputError)
    assert not bad.ends
    for other in others:
        assert tuple(other.text) == gru.oracle.text(other.request).tokens  # type: ignore[arg-type]
    rig.readers.clear()
    rig.assert_nothing_is_left()
    assert rig.engine.stats().failed_rows == 1
    assert rig.engine.stats().failed_steps == 0


def test_a_mixed_batch_of_greedy_and_sampled_rows_loses_only_the_bad_ones(gru: LoadedModel) -> None:
    rig = FeedRig(gru, BatchSettings(size_max=32))
    bad = [
        rig.start(generation_request(gru.prompt(2), max_tokens=9, start=hostile(gru), temperature=temperature))
        for temperature in (0, 1, 0.7)
    ]
    good = [rig.start(generation_request(gru.prompt(2), max_tokens=9, temperature=t, top_p=0.8)) for t in (0, 1, 0.7)]
    rig.run()
    assert all(isinstance(reader.error, NonFiniteOutputError) for reader in bad)
    assert [len(reader.text) for reader in good] == [9, 9, 9]


@pytest.mark.parametrize("piece", [4, 64])
def test_scores_of_a_hostile_state_fail_alone(gru: LoadedModel, piece: int) -> None:
    rig = FeedRig(gru, BatchSettings(prefill_length_max=piece, prefill_tokens_max=4 * piece))
    tokens = token_inputs(gru.prompt(9))
    requests: list[Request] = [
        ScoringRequest(tokens, start=hostile(gru)),
        ScoringRequest(tokens),
        ForwardRequest(tokens),
    ]
    bad, score, forward = (rig.start(request) for request in requests)
    for _ in range(20):
        rig.engine.step()
    bad.read()
    assert isinstance(bad.error, NonFiniteOutputError)
    assert score.result is not None
    assert forward.result is not None


@pytest.mark.parametrize("request_kind", [StepStreamRequest, ScoreStreamRequest])
def test_a_stream_from_a_hostile_state_fails_alone(gru: LoadedModel, request_kind: type[StreamRequest]) -> None:
    rig = FeedRig(gru)
    start = hostile(gru)
    if request_kind is StepStreamRequest:
        start = SequenceState(start.state, 5)
    bad, good = rig.open(request_kind(start=start)), rig.open(request_kind())
    for feeder in (bad, good):
        feeder.give(gru.prompt(6))
    rig.run()
    assert isinstance(bad.error, NonFiniteOutputError)
    for feeder in (bad, good):
        feeder.give(gru.prompt(3, 1))  # the caller of the first does not know yet
        feeder.finish()
    rig.run()
    assert good.check(gru.oracle) == 9 - (request_kind is ScoreStreamRequest)
    assert good.end is not None
    rig.feeders.clear()
    assert not rig.scheduler.open_streams


@pytest.mark.parametrize(
    ("stopping", "sampling"),
    [
        ({"end_token": 2}, {"allowed": frozenset({2})}),
        ({"stop_tokens": frozenset({2, 3})}, {"allowed": frozenset({1, 2, 3}), "banned": frozenset({1})}),
    ],
)
def test_a_minimum_length_that_no_token_can_fill_is_refused(
    gru: LoadedModel, stopping: dict[str, Any], sampling: dict[str, Any]
) -> None:
    rig = FeedRig(gru)
    with pytest.raises(InvalidFieldError, match=r"stopping\.min_tokens must be 0") as caught:
        rig.start(generation_request([1], stopping=stopping | {"min_tokens": 2}, **sampling))
    assert caught.value.field == "stopping.min_tokens"
    ends = rig.start(generation_request([1], stopping=stopping, **sampling))
    rig.run()
    assert len(ends.text) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("steps", [None, (1, 3)])
def test_a_whole_input_with_a_bad_step_fails_alone(
    gru: LoadedModel, monkeypatch: pytest.MonkeyPatch, value: float, steps: tuple[int, ...] | None
) -> None:
    """Tagging, with a CRF or without, classification and infilling are such requests."""
    rig = FeedRig(gru)
    run: Any = gru.servable.run

    def spoilt(inputs: list[Any], state: Any) -> Any:
        outputs, after = run(inputs, state)
        for row, piece in enumerate(inputs):
            if len(piece) == 5:
                outputs[0][2, row] = value
        return outputs, after

    monkeypatch.setattr(gru.servable, "run", spoilt)
    requests = [ForwardRequest(token_inputs(gru.prompt(length, length)), steps) for length in (4, 5, 6)]
    before, bad, after = (rig.start(request) for request in requests)
    while rig.engine.step():
        pass
    bad.read()
    assert isinstance(bad.error, NonFiniteOutputError)
    assert bad.result is None
    for reader in (before, after):
        assert reader.result is not None
        assert np.isfinite(reader.result.arrays[0]).all()  # type: ignore[union-attr]
    assert rig.engine.stats().failed_rows == 1
