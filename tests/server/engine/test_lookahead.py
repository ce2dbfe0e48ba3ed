"""Streaming sequences of bidirectional models: final outputs equal those of a plain loop over windows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqserve.server.engine.requests import StepStreamRequest
from seqserve.server.engine.streaming import StepStreamSequence
from seqserve.server.errors import InputTooLongError, TaskMismatchError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray
from seqserve.server.settings import BatchSettings
from tests.server.engine.rig import LoadedModel
from tests.server.engine.streams import Feeder, FeedRig

LENGTH_MAX = 40
Model = Callable[[str], LoadedModel]
KINDS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru", "layers": 2, "learned_initial_state": True},
    "mgu": {"cell": "mgu", "layers": 2, "residual": True, "crf": True},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Taggers that see the future; "whole" is one that was exported without its forward state."""
    from seqserve.server.model.manifest import read_manifest
    from seqserve.server.model.servable import ServableId
    from seqserve.server.settings import RuntimeSettings
    from seqserve.server.text.tokenization import Tokenization
    from seqserve.v1 import manifest_pb2
    from tests.servables import edit_manifest, make_infiller, make_tagger

    root = tmp_path_factory.mktemp("windows")
    loaded: dict[str, LoadedModel] = {}

    def short(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.tokens_max = LENGTH_MAX

    def load(kind: str) -> LoadedModel:
        if kind not in loaded:
            if kind == "whole":
                folder = make_infiller(root / kind)
                edit_manifest(folder, short)
            else:
                folder = make_tagger(root / kind, spelling=False, edit=short, **KINDS[kind]).folder
            manifest = read_manifest(folder)
            identity = ServableId(kind, 1, manifest.graph.sha256)
            servable = Servable(identity, manifest, folder, RuntimeSettings(provider="cpu"))
            loaded[kind] = LoadedModel(servable, [], Tokenization(manifest, folder))
        return loaded[kind]

    return load


def final(servable: Servable, sentence: list[int], lookahead: int | None) -> FloatArray:
    """Outputs (T, V) of a sentence alone, by the rule: a window for each step."""
    state, outputs = servable.initial_state(), []
    if lookahead is None:
        return servable.run([token_inputs(sentence)], state)[0][0][:, 0]
    for step in range(len(sentence)):
        (found_TBV, *_), state = servable.run([token_inputs(sentence[step : step + lookahead + 1])], state)
        outputs.append(found_TBV[0, 0])
    return np.array(outputs)


def check(feeder: Feeder, servable: Servable, lookahead: int | None) -> None:
    """Everything was answered for good, once and in order; no provisional step comes after it was final."""
    answered, ends = 0, []
    reported: list[FloatArray] = []
    for steps in feeder.steps:
        assert steps.first == answered
        if not steps.provisional:
            answered += len(steps)
            reported += [] if steps.scores is None else list(steps.scores)
            ends += [answered] if steps.ends_sentence else []
    assert feeder.end is not None
    assert answered == len(feeder.tokens) == feeder.end.steps
    assert ends == sorted({end for end in feeder.ends if end})
    borders = [0, *ends, len(feeder.tokens)]
    for start, end in pairwise(borders):
        if sentence := feeder.tokens[start:end]:
            np.testing.assert_array_equal(np.array(reported[start:end]), final(servable, sentence, lookahead))


PIECE = st.tuples(st.lists(st.integers(0, 9), max_size=9), st.sampled_from(["", "", "", "end", "flush", "run", "step"]))
STREAM = st.tuples(
    st.sampled_from([0, 1, 3, 30, None]), st.booleans(), st.lists(PIECE, max_size=8), st.sampled_from([2, 16])
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(streams=st.lists(STREAM, min_size=1, max_size=4))
def test_final_outputs_depend_on_the_steps_alone(model: Model, kind: str, streams: list[Any]) -> None:
    rig = FeedRig(model(kind), BatchSettings(size_max=3, prefill_length_max=4, prefill_tokens_max=streams[0][3]))
    feeders = [rig.open(StepStreamRequest(lookahead=ahead, provisional=shows)) for ahead, shows, *_ in streams]
    for turn in range(max(len(pieces) for _, _, pieces, _ in streams)):
        for feeder, (_, _, pieces, _) in zip(feeders, streams, strict=True):
            if turn < len(pieces):
                tokens, then = pieces[turn]
                give(rig, feeder, tokens, then)
    for feeder in feeders:
        feeder.finish()
    rig.run()
    for feeder, (ahead, *_) in zip(feeders, streams, strict=True):
        check(feeder, rig.engine.servable, ahead)
    rig.feeders.clear()
    rig.assert_nothing_is_left()


def give(rig: FeedRig, feeder: Feeder, tokens: list[int], then: str) -> None:
    if tokens and len(feeder.tokens) + len(tokens) - max(feeder.ends, default=0) <= LENGTH_MAX:
        feeder.give(tokens)
    match then:
        case "end":
            feeder.end_sentence()
        case "flush":
            feeder.stream.flush()
        case "run":
            rig.run()
        case "step":
            rig.step()


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_ahead_to_the_end_gives_the_whole_sentence_to_the_bit(model: Model, kind: str) -> None:
    servable, sentence = model(kind).servable, [3, 1, 4, 1, 5, 9, 2, 6, 5]
    whole = final(servable, sentence, None)
    np.testing.assert_array_equal(final(servable, sentence, len(sentence) - 1), whole)
    assert not np.array_equal(final(servable, sentence, 1), whole)


def shown(feeder: Feeder) -> list[tuple[int, int, bool]]:
    """First step, count and whether provisional, of what came since the last look."""
    steps, feeder.steps = feeder.steps, []
    return [(each.first, len(each), each.provisional) for each in steps]


def test_steps_are_final_when_their_future_is_there(model: Model) -> None:
    rig = FeedRig(model("lstm"))
    feeder = rig.open(StepStreamRequest(lookahead=2))
    for tokens, first, count in (([1, 2], 0, 0), ([3], 0, 1), ([4, 5, 6], 1, 3)):
        feeder.give(tokens)
        rig.run()
        assert shown(feeder) == [(step, 1, False) for step in range(first, first + count)]
    feeder.end_sentence()
    rig.run()
    assert shown(feeder) == [(4, 2, False)]
    assert not rig.step(), "nothing is left to run"


@pytest.mark.parametrize("lookahead", [2, None])
def test_steps_that_are_not_final_are_shown_if_asked_for(model: Model, lookahead: int | None) -> None:
    servable = model("gru").servable
    rig = FeedRig(model("gru"))
    feeder = rig.open(StepStreamRequest(lookahead=lookahead, provisional=True))
    feeder.give([1, 2])
    rig.run()
    np.testing.assert_array_equal(feeder.steps[0].scores, final(servable, [1, 2], None))
    assert shown(feeder) == [(0, 2, True)]
    feeder.give([3])
    rig.run()
    assert shown(feeder) == ([(0, 1, False), (1, 2, True)] if lookahead else [(0, 3, True)])
    feeder.end_sentence()
    rig.run()
    assert shown(feeder) == ([(1, 2, False)] if lookahead else [(0, 3, False)])


@pytest.mark.parametrize("then", ["provisional", "flush"])
@pytest.mark.parametrize("lookahead", [0, 1, None])
def test_an_end_is_published_before_steps_of_the_next_sentence_are_shown(
    model: Model, lookahead: int | None, then: str
) -> None:
    """The end of a sentence whose steps are all consumed, and steps after it, arrive between two runs."""
    rig = FeedRig(model("lstm"))
    feeder = rig.open(StepStreamRequest(lookahead=lookahead, provisional=then == "provisional"))
    feeder.give([1, 2, 3])
    rig.run()
    feeder.end_sentence()
    feeder.give([4])
    if then == "flush":
        feeder.stream.flush()
    rig.run()
    feeder.finish()
    rig.run()
    check(feeder, rig.engine.servable, lookahead)


def test_a_flush_shows_what_is_there_once(model: Model) -> None:
    rig = FeedRig(model("lstm"))
    feeder = rig.open(StepStreamRequest(lookahead=3))
    feeder.give([1, 2])
    rig.run()
    assert shown(feeder) == []
    for _ in range(2):
        feeder.stream.flush()
        rig.run()
        assert shown(feeder) == [(0, 2, True)]
    feeder.give([3, 4])
    feeder.stream.flush()
    rig.run()
    assert shown(feeder) == [(0, 1, False), (1, 3, True)]
    feeder.end_sentence()
    feeder.stream.flush()
    rig.run()
    assert shown(feeder) == [(1, 3, False), (4, 0, True)], "all is final: the flush is answered by nothing"


def test_the_forward_state_of_one_layer_does_not_depend_on_the_look_ahead(model: Model) -> None:
    rows = []
    for lookahead in (0, 1, 5):
        rig = FeedRig(model("lstm"))
        feeder = rig.open(StepStreamRequest(lookahead=lookahead))
        feeder.give([1, 2, 3, 4, 5] + [6] * lookahead)
        rig.run()
        rows.append(feeder.stream.sequence.row)
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


def test_windows_of_many_feeds_share_a_run(model: Model) -> None:
    rig = FeedRig(model("lstm"))
    feeders = [rig.open(StepStreamRequest(lookahead=1)) for _ in range(20)]
    for feeder in feeders:
        feeder.give([1, 2])
    rig.run()
    assert rig.steps == 1
    assert all(shown(feeder) == [(0, 1, False)] for feeder in feeders)


def test_a_sentence_without_end_is_refused_if_it_is_to_be_answered_as_a_whole(model: Model) -> None:
    rig = FeedRig(model("lstm"))
    feeder = rig.open(StepStreamRequest(lookahead=None))
    feeder.give([1] * LENGTH_MAX)
    feeder.end_sentence()
    feeder.give([1] * LENGTH_MAX)
    with pytest.raises(InputTooLongError, match=r"41 tokens so far, at most 40 .* send a sentence_end where it ends"):
        feeder.stream.push(token_inputs([2]))
    feeder.finish()
    rig.run()
    check(feeder, rig.engine.servable, None)


def test_a_sentence_without_end_is_read_in_little_memory_with_a_look_ahead(model: Model) -> None:
    rig = FeedRig(model("lstm"))
    feeder = rig.open(StepStreamRequest(lookahead=2))
    for _ in range(50):
        feeder.give([1, 2, 3])
        rig.run()
        assert isinstance(feeder.stream.sequence, StepStreamSequence)
        assert sum(map(len, feeder.stream.sequence._pieces)) == 2
    feeder.finish()
    rig.run()
    check(feeder, rig.engine.servable, 2)


def test_a_model_without_its_forward_state_answers_whole_sentences_alone(model: Model) -> None:
    rig = FeedRig(model("whole"))
    with pytest.raises(TaskMismatchError, match="exported without its forward state; for a look-ahead export it again"):
        rig.open(StepStreamRequest(lookahead=1))
    feeder = rig.open(StepStreamRequest(lookahead=None, provisional=True))
    feeder.give([1, 2, 3])
    rig.run()
    feeder.end_sentence()
    feeder.give([4, 5])
    feeder.finish()
    rig.run()
    check(feeder, rig.engine.servable, None)


def test_steps_that_are_shown_and_not_read_count_as_unanswered(model: Model) -> None:
    rig = FeedRig(model("lstm"))
    feeder = rig.open(StepStreamRequest(lookahead=None, provisional=True))
    feeder.stalls = True
    for token in range(4):
        feeder.give([token])
        rig.run()
    assert feeder.stream.backlog == 1 + 2 + 3 + 4
    feeder.read()
    assert feeder.stream.backlog == 0
    feeder.end_sentence()
    assert feeder.stream.backlog == 4
