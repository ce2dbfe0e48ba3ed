from __future__ import annotations

import logging
from typing import Any

import pytest

from seqserve.server.engine.output_stream import FinishReason
from seqserve.server.engine.requests import GenerationRequest, ScoringRequest
from seqserve.server.errors import DeadlineError, DrainingError, InternalError, InvalidFieldError, QueueFullError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.settings import BatchSettings
from tests.server.engine.rig import LoadedModel, Reader, Rig, during_the_next_run
from tests.server.engine.sequences import generation_request


def assert_as_alone(model: LoadedModel, reader: Reader) -> None:
    assert isinstance(reader.request, GenerationRequest)
    assert len(reader.ends) == reader.request.samples
    for sample, tokens in reader.tokens.items():
        assert tuple(tokens) == model.oracle.text(reader.request, sample).tokens


@pytest.mark.parametrize("steps", range(5))
@pytest.mark.parametrize("kind", [{}, {"samples": 3}, {"beam_width": 3}])
def test_a_cancel_while_the_graph_runs_takes_effect_after_it(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, kind: dict[str, Any], steps: int
) -> None:
    rig = Rig(tiny, BatchSettings(prefill_length_max=4, prefill_tokens_max=8, inline_prefill_tokens_max=0))
    removed = rig.start(generation_request(tiny.prompt(10), max_tokens=30, **kind))
    stays = rig.start(generation_request(tiny.prompt(11), max_tokens=20, seed=5))
    for _ in range(steps):
        rig.step()
    during_the_next_run(monkeypatch, tiny, lambda: rig.cancel(removed))
    rig.step()
    received = {sample: list(tokens) for sample, tokens in removed.tokens.items()}
    rig.run()
    removed.read()
    assert removed.tokens == received
    assert not removed.done
    assert_as_alone(tiny, stays)
    rig.assert_nothing_is_left()


@pytest.mark.parametrize("steps", [0, 3, 6])
def test_a_step_that_fails_ends_its_sequences_and_not_the_engine(
    tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, steps: int
) -> None:
    rig = Rig(tiny, BatchSettings(size_max=3, prefill_length_max=4, prefill_tokens_max=8, inline_prefill_tokens_max=0))
    readers = [rig.start(generation_request(tiny.prompt(9, seed), seed=seed, max_tokens=20)) for seed in range(5)]
    for _ in range(steps):
        rig.step()

    def fails() -> None:
        raise RuntimeError("no memory")

    during_the_next_run(monkeypatch, tiny, fails)
    with caplog.at_level(logging.ERROR, logger="seqserve"):
        rig.step()
    rig.run()
    failed = [reader for reader in readers if reader.error is not None]
    assert 1 <= len(failed) <= 3
    for reader in failed:
        assert isinstance(reader.error, InternalError)
        assert "no memory" not in reader.error.message  # the cause is for the log, under the id that the caller has
        assert reader.error.metadata["error_id"] in caplog.text
        assert isinstance(reader.request, GenerationRequest)
        assert tuple(reader.text) == tiny.oracle.text(reader.request).tokens[: len(reader.text)]
    for reader in set(readers) - set(failed):
        assert_as_alone(tiny, reader)
    rig.assert_nothing_is_left()
    again = rig.start(generation_request([3]))
    rig.run()
    assert_as_alone(tiny, again)


def test_closing_tells_everybody_and_admits_nobody(tiny: LoadedModel) -> None:
    rig = Rig(tiny, BatchSettings(size_max=1, tokens_ahead_max=2))
    readers = [rig.start(generation_request([1], max_tokens=50)) for _ in range(3)]
    readers[0].stalls = True
    for _ in range(6):
        rig.step()
    rig.engine.close()
    for reader in readers:
        reader.read()
        reader.read()
        assert isinstance(reader.error, DrainingError)
        assert reader.error.retry_after_s is not None
    with pytest.raises(DrainingError):
        rig.start(generation_request([1]))
    rig.assert_nothing_is_left()


def test_a_deadline_that_has_passed_is_refused_and_one_that_passes_ends_the_request(tiny: LoadedModel) -> None:
    rig = Rig(tiny)
    rig.clock.advance(10.0)
    with pytest.raises(DeadlineError):
        rig.start(generation_request([1]), deadline_s=10.0)
    reader = rig.start(generation_request([1], max_tokens=100, samples=3), deadline_s=11.0)
    for _ in range(5):
        rig.step()
    received = len(reader.text)
    rig.clock.advance(1.0)
    assert not rig.step()  # no step for those who are late
    assert isinstance(reader.error, DeadlineError)
    rig.clock.advance(1.0)
    rig.run()
    assert len(reader.text) == received > 0
    rig.assert_nothing_is_left()


def test_a_sample_that_ends_early_leaves_the_others_their_time(tiny: LoadedModel) -> None:
    request = next(
        requested
        for requested in map(_stopping, range(100))
        if len({len(tiny.oracle.text(requested, sample).tokens) for sample in range(3)}) == 3
    )
    rig = Rig(tiny)
    reader = rig.start(request, deadline_s=100.0)
    rig.run()
    assert reader.error is None
    assert_as_alone(tiny, reader)


def _stopping(seed: int) -> GenerationRequest:
    stops = {"stop_tokens": frozenset(range(6))}
    return generation_request([7], seed=seed, samples=3, max_tokens=30, stopping=stops)


@pytest.mark.parametrize("kind", [{"samples": 4}, {"beam_width": 4, "samples": 4}, {}])
def test_one_token_is_enough_for_whoever_asks_for_one(tiny: LoadedModel, kind: dict[str, Any]) -> None:
    rig = Rig(tiny)
    reader = rig.start(generation_request(tiny.prompt(5), max_tokens=1, **kind))
    rig.run()
    assert reader.done
    if "beam_width" not in kind:
        assert_as_alone(tiny, reader)
        assert {end.reason for end in reader.ends.values()} == {FinishReason.LENGTH}
    rig.assert_nothing_is_left()


@pytest.mark.parametrize(("width", "stops"), [(5, 0), (4, 33)])
def test_a_search_that_can_never_run_is_refused_with_what_would_fit(tiny: LoadedModel, width: int, stops: int) -> None:
    rig = Rig(tiny, BatchSettings(size_max=4))
    request = generation_request([1], beam_width=width, stopping={"stop_tokens": frozenset(range(stops))})
    with pytest.raises(InvalidFieldError, match="at most") as caught:
        rig.start(request)
    assert caught.value.field == "sampling.beam_width"
    rig.assert_nothing_is_left()


def test_a_refused_request_leaves_nothing_behind(tiny: LoadedModel) -> None:
    rig = Rig(tiny, BatchSettings(size_max=1, queue_depth_max=1))
    first = rig.start(generation_request([1], max_tokens=9))
    rig.step()
    second = rig.start(ScoringRequest(token_inputs([1, 2, 3])))
    for _ in range(3):
        with pytest.raises(QueueFullError):
            rig.start(generation_request([1]), deadline_s=50.0)
    rig.run()
    assert_as_alone(tiny, first)
    assert second.done
    rig.assert_nothing_is_left()


def test_what_the_engine_counts_is_what_it_did(tiny: LoadedModel) -> None:
    rig = Rig(tiny)
    reader = rig.start(generation_request(tiny.prompt(9), max_tokens=7, samples=2))
    rig.run()
    counts = rig.engine.stats()
    assert counts.requests == 1
    assert counts.generated_tokens == 14 == sum(len(tokens) for tokens in reader.tokens.values())
    assert counts.prefill_tokens == 9
    assert (counts.waiting, counts.prefilling, counts.decoding, counts.paused) == (0, 0, 0, 0)
