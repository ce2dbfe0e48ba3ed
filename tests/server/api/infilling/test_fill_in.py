"""FillIn, as a caller sees it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from seqserve.server.decoding.infilling import candidates
from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import infilling_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1.infilling_pb2_grpc import InfillingServiceStub
from tests.calls import refusal
from tests.servables import WORDS, make_infiller, make_tagger

MASK, VOCABULARY = 1, 2 + len(WORDS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_infiller(folder / "blanks")
    make_infiller(folder / "letters", level="character")
    make_tagger(folder / "tagger")
    return folder


@pytest.fixture
async def channel(root: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def asks(*inputs: str | list[str] | list[int], model: str = "blanks", **more: object) -> pb.FillInRequest:
    """A request with texts, lists of words, and lists of token ids."""

    def requested(item: str | list[str] | list[int]) -> pb.FillInInput:
        if isinstance(item, str):
            return pb.FillInInput(text=item)
        if item and isinstance(item[0], int):
            return pb.FillInInput(token_ids=common.TokenIds(ids=item))
        return pb.FillInInput(words=common.Words(words=item))  # type: ignore[arg-type]

    return pb.FillInRequest(model=common.ModelRef(name=model), inputs=map(requested, inputs), **more)  # type: ignore[arg-type]


async def filled(channel: grpc.aio.Channel, request: pb.FillInRequest) -> list[pb.FilledSequence]:
    answer: pb.FillInResponse = await InfillingServiceStub(channel).FillIn(request)
    assert answer.servable.model == request.model.name
    assert answer.timing.total_ms > 0
    return list(answer.sequences)


async def test_each_blank_gets_its_place_and_its_likeliest_words(channel: grpc.aio.Channel) -> None:
    text = "The ___ sat  on___."
    (sequence,) = await filled(channel, asks(text))
    assert [text[blank.offsets.start : blank.offsets.end] for blank in sequence.blanks] == ["___", "___"]
    assert [blank.position for blank in sequence.blanks] == [1, 4]
    for blank in sequence.blanks:
        assert len(blank.candidates) == 5
        assert [one.logprob for one in blank.candidates] == sorted((c.logprob for c in blank.candidates), reverse=True)
        assert {one.token for one in blank.candidates} <= set(WORDS)
        assert all(one.logprob <= 0 for one in blank.candidates)
    first, second = (blank.candidates[0].token for blank in sequence.blanks)
    assert sequence.text == f"The {first} sat  on{second}."


async def test_all_words_and_what_is_none_make_up_all_probability(channel: grpc.aio.Channel) -> None:
    (sequence,) = await filled(channel, asks("a ___ sat", top_k=100))
    (blank,) = sequence.blanks
    assert {one.token for one in blank.candidates} == set(WORDS), "the unknown token and the mask are no answers"
    missing = set(range(1, VOCABULARY + 1)) - {one.rank for one in blank.candidates}
    assert len(missing) == 2, "they keep their ranks"
    total = sum(math.exp(one.logprob) for one in blank.candidates)
    assert 0.5 < total < 1


async def test_the_service_is_healthy_where_there_is_a_model_for_it(channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    states = {
        name: (await health.Check(health_pb2.HealthCheckRequest(service=f"seqserve.v1.{name}Service"))).status
        for name in ("Infilling", "Tagging", "Classification")
    }
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert states == {"Infilling": serving, "Tagging": serving, "Classification": not_serving}


async def test_both_sides_count(channel: grpc.aio.Channel) -> None:
    answers = await filled(channel, asks("a ___ sat", "a ___ mat", "the ___ sat"))
    reported = {tuple(one.logprob for one in answer.blanks[0].candidates) for answer in answers}
    assert len(reported) == 3


async def test_words_text_and_ids_get_the_same(channel: grpc.aio.Channel, root: Path) -> None:
    the, sat = Tokenizer.from_file(str(root / "blanks" / "1" / "tokenizer.json")).encode("the sat").ids
    by_text, by_words, by_ids = await filled(channel, asks("the ___ sat", ["the", "___", "sat"], [the, MASK, sat]))
    assert by_text == by_words
    assert by_ids.blanks[0].candidates == by_text.blanks[0].candidates
    assert by_ids.text == by_text.text
    assert (by_ids.blanks[0].position, by_ids.blanks[0].HasField("offsets")) == (1, False)


async def test_offsets_come_in_bytes_and_the_mark_is_the_callers(channel: grpc.aio.Channel) -> None:
    text = "国 naïve [?] 国 [?]"
    (sequence,) = await filled(channel, asks(text, blank="[?]", offset_unit=common.OFFSET_UNIT_BYTE))
    data = text.encode()
    assert [data[one.offsets.start : one.offsets.end] for one in sequence.blanks] == [b"[?]", b"[?]"]
    first, second = (blank.candidates[0].token for blank in sequence.blanks)
    assert sequence.text == f"国 naïve {first} 国 {second}"


async def test_characters_are_filled_in_too(channel: grpc.aio.Channel) -> None:
    (sequence,) = await filled(channel, asks("___at", model="letters", top_k=1))
    (blank,) = sequence.blanks
    assert sequence.text == f"{blank.candidates[0].token}at"
    assert len(blank.candidates[0].token) == 1


@pytest.mark.parametrize(
    ("request_", "reason", "field", "error_text"),
    [
        (asks(), "INVALID_FIELD", "inputs", "inputs is empty; send at least one text"),
        (
            asks("a ___", "the cat"),
            "INVALID_FIELD",
            "inputs[1]",
            "inputs[1] has no blank: '___' does not stand in it; mark what is to be filled in",
        ),
        (asks(["a", "b___"]), "INVALID_FIELD", "inputs[0]", "has no blank: none of its words is '___'"),
        (asks([2, 3]), "INVALID_FIELD", "inputs[0]", "has no blank: none of its ids is 1, the mask token"),
        (asks("a ___", blank="?"), "INVALID_FIELD", "inputs[0]", "'?' does not stand in it"),
        (asks("a", blank=" "), "INVALID_FIELD", "blank", "blank is ' ', of 1 characters; what stands for a blank"),
        (asks("a", blank="x" * 65), "INVALID_FIELD", "blank", "of 65 characters"),
        (asks("___ " * 257), "INPUT_TOO_LONG", "inputs[0]", "has 257 blanks, a text may have 256"),
        (asks("___", top_k=0), "INVALID_FIELD", "top_k", "top_k must be in [1, 100], got 0"),
        (asks("___", top_k=101), "INVALID_FIELD", "top_k", "top_k must be in [1, 100], got 101"),
        (asks(["a", ""]), "INVALID_FIELD", "inputs[0].words.words", "[1] is an empty word"),
        (asks([MASK, VOCABULARY]), "INVALID_FIELD", "inputs[0].token_ids.ids", "the vocabulary has ids 0 to "),
        (
            pb.FillInRequest(model=common.ModelRef(name="blanks"), inputs=[pb.FillInInput()]),
            "INVALID_FIELD",
            "inputs[0]",
            "inputs[0] is empty; give it text, words or token_ids",
        ),
        (asks("___", model="tagger"), "TASK_MISMATCH", "", "is for tagging, it fills no blanks; choose an infilling"),
        (asks("___", model="blank"), "MODEL_NOT_FOUND", "", "did you mean 'blanks'?"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_told_why(
    channel: grpc.aio.Channel, request_: pb.FillInRequest, reason: str, field: str, error_text: str
) -> None:
    reported = await refusal(InfillingServiceStub(channel).FillIn(request_))
    assert reported.reason == f"ERROR_REASON_{reason}"
    assert reported.field == field
    assert error_text in reported.message


@given(seed=st.integers(0, 2**31), top=st.integers(1, 9))
def test_candidates_are_the_likeliest_but_for_what_is_no_word(seed: int, top: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(2, 6)).astype(np.float32)
    vocabulary = manifest_pb2.Vocabulary(size=6, unknown_token=0, mask_token=3)
    for row, found in zip(logits, candidates(logits, top, vocabulary), strict=True):
        order = sorted(range(6), key=lambda token: (-row[token], token))
        assert [one.token for one in found] == [token for token in order if token not in (0, 3)][:top]
        assert [order[one.rank - 1] for one in found] == [one.token for one in found]
        expected = row - np.log(np.exp(row.astype(np.float64)).sum())
        assert [one.logprob for one in found] == pytest.approx([expected[one.token] for one in found])
