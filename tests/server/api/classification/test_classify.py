"""Classify, as a caller sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.classification import chosen_labels, label_probabilities
from seqserve.server.testing import running_server
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1.classification_pb2_grpc import ClassificationServiceStub
from tests.calls import refusal
from tests.servables import LABELS, make_classifier, make_tagger


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_classifier(folder / "topics")
    make_classifier(folder / "several", multiple=True, threshold=0.5)
    make_tagger(folder / "tagger")
    return folder


@pytest.fixture
async def channel(root: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def asks(*inputs: str | list[str], model: str = "topics", top: int | None = None) -> pb.ClassifyRequest:
    """A request with texts, and with lists of words."""
    return pb.ClassifyRequest(
        model=common.ModelRef(name=model),
        inputs=[
            pb.ClassifyInput(text=item) if isinstance(item, str) else pb.ClassifyInput(words=common.Words(words=item))
            for item in inputs
        ],
        top_labels=top,
    )


async def classified(channel: grpc.aio.Channel, request: pb.ClassifyRequest) -> list[pb.Classification]:
    answer: pb.ClassifyResponse = await ClassificationServiceStub(channel).Classify(request)
    assert answer.servable.model == request.model.name
    assert answer.timing.total_ms > 0
    return list(answer.classifications)


async def test_a_text_gets_all_labels_best_first_and_the_best_holds(channel: grpc.aio.Channel) -> None:
    (one,) = await classified(channel, asks("The cat sat on the mat."))
    assert {label.label for label in one.labels} == set(LABELS)
    assert sum(label.score for label in one.labels) == pytest.approx(1)
    assert [label.score for label in one.labels] == sorted((label.score for label in one.labels), reverse=True)
    assert (list(one.chosen), one.tokens) == ([one.labels[0].label], 7)


async def test_several_labels_stand_each_for_itself(channel: grpc.aio.Channel) -> None:
    for one in await classified(channel, asks("the cat", "国", "a dog sat on a mat", model="several")):
        assert set(one.chosen) == {label.label for label in one.labels if label.score >= 0.5}


async def test_only_the_best_labels_on_request(channel: grpc.aio.Channel) -> None:
    (every,), (two,) = await classified(channel, asks("the cat")), await classified(channel, asks("the cat", top=2))
    assert list(two.labels) == list(every.labels)[:2]
    assert two.chosen == every.chosen


async def test_words_are_kept_and_neighbours_change_nothing(channel: grpc.aio.Channel) -> None:
    alone = await classified(channel, asks("the cat sat"))
    together = await classified(channel, asks(["the", "cat", "sat"], "dog " * 50, "the cat sat"))
    assert together[0] == together[2] == alone[0]


@pytest.mark.parametrize(
    ("request_", "reason", "field", "error_text"),
    [
        (asks(), "INVALID_FIELD", "inputs", "inputs is empty; send at least one text"),
        (asks("a", " "), "EMPTY_PROMPT", "inputs[1]", "inputs[1] has no tokens, there is nothing to classify"),
        (asks("a", top=0), "INVALID_FIELD", "top_labels", "top_labels must be in [1, 100], got 0"),
        (asks("a", top=101), "INVALID_FIELD", "top_labels", "top_labels must be in [1, 100], got 101"),
        (asks(["a", ""]), "INVALID_FIELD", "inputs[0].words.words", "[1] is an empty word"),
        (asks("a " * 5000), "INPUT_TOO_LONG", "inputs[0].text", "the model takes at most 4096"),
        (
            pb.ClassifyRequest(
                model=common.ModelRef(name="topics"),
                inputs=[pb.ClassifyInput(token_ids=common.TokenIds(ids=[1, 99]))],
            ),
            "INVALID_FIELD",
            "inputs[0].token_ids.ids",
            "inputs[0].token_ids.ids[1] is 99",
        ),
        (
            pb.ClassifyRequest(
                model=common.ModelRef(name="topics"),
                inputs=[pb.ClassifyInput(features=common.FeatureSequence(width=1, values=[1]))],
            ),
            "INVALID_FIELD",
            "inputs[0].features",
            "this model reads tokens, not features",
        ),
        (asks("a", model="tagger"), "TASK_MISMATCH", "", "is for tagging, it does not classify texts; choose a class"),
        (asks("a", model="topic"), "MODEL_NOT_FOUND", "", "did you mean 'topics'?"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_told_why(
    channel: grpc.aio.Channel, request_: pb.ClassifyRequest, reason: str, field: str, error_text: str
) -> None:
    reported = await refusal(ClassificationServiceStub(channel).Classify(request_))
    assert reported.reason == f"ERROR_REASON_{reason}"
    assert reported.field == field
    assert error_text in reported.message


@given(rows=st.lists(st.lists(st.floats(-300, 300, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_probabilities_are_honest_at_any_size(rows: list[list[float]]) -> None:
    logits = np.array(rows, np.float32)
    alone = label_probabilities(logits, manifest_pb2.Labels(names=["a", "b", "c"]))
    assert alone.sum(axis=1) == pytest.approx(np.ones(len(rows)))
    assert [chosen_labels(row, manifest_pb2.Labels()) for row in alone] == [[int(row.argmax())] for row in alone]
    each = label_probabilities(logits, manifest_pb2.Labels(names=["a", "b", "c"], multiple=True))
    assert (each[logits >= 0] >= 0.5).all()
    assert (each[logits <= -1e-6] < 0.5).all()  # closer to 0 the probability is 0.5 in float64
    several = manifest_pb2.Labels(multiple=True, threshold=0.75)
    assert chosen_labels(np.array([0.75, 0.7, 0.9]), several) == [0, 2]
