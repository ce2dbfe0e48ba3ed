"""Tag, as a caller sees it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.settings import LimitSettings
from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2
from seqserve.v1 import tagging_pb2 as pb
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.calls import Refusal, refusal
from tests.conftest import MadeRepository
from tests.servables import LABELS, WORDS, edit_manifest, make_tagger


def asks(*inputs: str | list[str], model: str = "tagger", **outputs: int) -> pb.TagRequest:
    """A request with texts, and with lists of words."""
    return pb.TagRequest(
        model=common.ModelRef(name=model),
        inputs=[
            pb.TagInput(text=item) if isinstance(item, str) else pb.TagInput(words=common.Words(words=item))
            for item in inputs
        ],
        outputs=pb.TagOutputs(**outputs),  # type: ignore[arg-type]
    )


async def tagged(channel: grpc.aio.Channel, request: pb.TagRequest) -> list[list[pb.Tag]]:
    answer: pb.TagResponse = await TaggingServiceStub(channel).Tag(request)
    assert answer.servable.model == request.model.name
    assert len(answer.sequences) == len(request.inputs)
    return [list(sequence.tags) for sequence in answer.sequences]


async def refused(channel: grpc.aio.Channel, request: pb.TagRequest) -> Refusal:
    return await refusal(TaggingServiceStub(channel).Tag(request))


async def test_every_word_of_a_text_gets_a_label_and_its_place(channel: grpc.aio.Channel) -> None:
    text = "The naïve cat  sat, 国."
    (tags,) = await tagged(channel, asks(text))
    assert [tag.token for tag in tags] == ["The", "naïve", "cat", "sat", ",", "国", "."]
    assert [text[tag.offsets.start : tag.offsets.end] for tag in tags] == [tag.token for tag in tags]
    assert [tag.position for tag in tags] == list(range(7))
    assert {tag.label for tag in tags} <= set(LABELS)
    assert all(1 / len(LABELS) <= tag.score <= 1 for tag in tags)
    assert not any(tag.provisional or tag.top for tag in tags)


async def test_offsets_come_in_bytes_on_request(channel: grpc.aio.Channel) -> None:
    text = "😀 naïve  国 cat"
    (tags,) = await tagged(channel, asks(text, offset_unit=common.OFFSET_UNIT_BYTE))
    data = text.encode()
    assert [data[tag.offsets.start : tag.offsets.end].decode() for tag in tags] == ["😀", "naïve", "国", "cat"]
    (by_default,) = await tagged(channel, asks(text))
    (in_characters,) = await tagged(channel, asks(text, offset_unit=common.OFFSET_UNIT_CHARACTER))
    assert by_default == in_characters
    assert [text[tag.offsets.start : tag.offsets.end] for tag in by_default] == ["😀", "naïve", "国", "cat"]


@pytest.mark.parametrize("unit", [common.OFFSET_UNIT_CHARACTER, common.OFFSET_UNIT_BYTE])
async def test_words_are_kept_as_the_caller_cut_them(channel: grpc.aio.Channel, unit: common.OffsetUnit) -> None:
    words = ["can't", "国 国", "sat"]
    (tags,) = await tagged(channel, asks(words, offset_unit=unit))
    assert [tag.token for tag in tags] == words
    joined = " ".join(words)
    places = [(tag.offsets.start, tag.offsets.end) for tag in tags]
    if unit == common.OFFSET_UNIT_BYTE:
        assert [joined.encode()[start:end].decode() for start, end in places] == words
    else:
        assert [joined[start:end] for start, end in places] == words


async def test_a_text_is_tagged_as_its_words_are(channel: grpc.aio.Channel) -> None:
    as_text, as_words = await tagged(channel, asks("The cat sat.", ["The", "cat", "sat", "."]))
    assert [(tag.label, tag.score) for tag in as_text] == [(tag.label, tag.score) for tag in as_words]


@pytest.mark.parametrize("text", ["", "  \n "])
async def test_a_text_without_words_has_no_tags(channel: grpc.aio.Channel, text: str) -> None:
    assert await tagged(channel, asks(text)) == [[]]
    empty, full = await tagged(channel, asks(text, "cat"))
    assert (empty, len(full)) == ([], 1)


async def test_likely_labels_come_best_first(channel: grpc.aio.Channel) -> None:
    (tags,) = await tagged(channel, asks("the dog sat", top_labels=3))
    for tag in tags:
        scores = [candidate.score for candidate in tag.top]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == 3
        assert (tag.top[0].label, tag.top[0].score) == (tag.label, tag.score)
    (tags,) = await tagged(channel, asks("the", top_labels=20))
    assert {candidate.label for candidate in tags[0].top} == set(LABELS)  # there are no more
    assert sum(candidate.score for candidate in tags[0].top) == pytest.approx(1)


async def test_texts_of_one_request_keep_their_order_and_are_tagged_as_alone(channel: grpc.aio.Channel) -> None:
    generator = random.Random(0)
    texts = [" ".join(generator.choices([*WORDS, "unseen"], k=generator.randint(0, 30))) for _ in range(40)]
    together = await tagged(channel, asks(*texts))
    alone = [(await tagged(channel, asks(text)))[0] for text in texts]
    assert together == alone  # to the last bit of the scores
    assert [" ".join(tag.token for tag in tags) for tags in together] == texts


async def test_the_future_matters_to_a_bidirectional_tagger(channel: grpc.aio.Channel) -> None:
    short, longer = await tagged(channel, asks("the cat", "the cat sat on the mat"))
    assert short[0].score != longer[0].score


@pytest.mark.parametrize(
    ("request_", "reason", "field", "error_text"),
    [
        (asks(), "INVALID_FIELD", "inputs", "inputs is empty; send at least one text"),
        (asks("a", top_labels=21), "INVALID_FIELD", "outputs.top_labels", "must be in [0, 20], got 21"),
        (asks("a", top_labels=-1), "INVALID_FIELD", "outputs.top_labels", "must be in [0, 20], got -1"),
        (asks("a", ["b", ""]), "INVALID_FIELD", "inputs[1].words.words", "inputs[1].words.words[1] is an empty word"),
        (
            pb.TagRequest(model=common.ModelRef(name="tagger"), inputs=[pb.TagInput()]),
            "INVALID_FIELD",
            "inputs[0]",
            "inputs[0] is empty; give it text, words or token_ids",
        ),
        (
            pb.TagRequest(
                model=common.ModelRef(name="tagger"), inputs=[pb.TagInput(token_ids=common.TokenIds(ids=[1]))]
            ),
            "INVALID_FIELD",
            "inputs[0].token_ids.ids",
            "this model reads the letters of its words: send text or words",
        ),
        (
            pb.TagRequest(
                model=common.ModelRef(name="tagger"),
                inputs=[pb.TagInput(features=common.FeatureSequence(width=1, values=[1]))],
            ),
            "INVALID_FIELD",
            "inputs[0].features",
            "this model reads tokens, not features",
        ),
        (
            asks("a", spans=True),
            "TASK_MISMATCH",
            "",
            "labels of this model must be BIO or BIOES for spans, got NOUN, VERB, DET, …",
        ),
        (asks("a", model="lstm"), "TASK_MISMATCH", "", "is for language model, it has no tags; choose a tagger"),
        (asks("a", model="taggre"), "MODEL_NOT_FOUND", "", "did you mean 'tagger'?"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_told_why(
    channel: grpc.aio.Channel, request_: pb.TagRequest, reason: str, field: str, error_text: str
) -> None:
    reported = await refused(channel, request_)
    assert reported.reason == f"ERROR_REASON_{reason}"
    assert reported.field == field
    assert error_text in reported.message


@pytest.mark.parametrize("unit", [common.OFFSET_UNIT_CHARACTER, common.OFFSET_UNIT_BYTE])
async def test_spans_come_with_the_tags_that_write_them(root: Path, unit: common.OffsetUnit) -> None:
    make_tagger(root / "names", labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    text = "The 国 cat sat on a mat, naïve dog! The cat."
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        answer = await TaggingServiceStub(channel).Tag(
            asks(text, "", text.split(), model="names", spans=True, offset_unit=unit)
        )
        without = await TaggingServiceStub(channel).Tag(asks(text, model="names", offset_unit=unit))
    sequence = answer.sequences[0]
    assert sequence.tags == without.sequences[0].tags
    assert sequence.spans, "labels of these weights write some"
    assert (len(answer.sequences[1].spans), len(without.sequences[0].spans)) == (0, 0)
    for span in sequence.spans:
        tags = sequence.tags[span.first_position : span.last_position + 1]
        assert [tag.label for tag in tags] == [f"B-{span.label}", *[f"I-{span.label}"] * (len(tags) - 1)]
        assert span.score == pytest.approx(sum(tag.score for tag in tags) / len(tags))
        assert (span.offsets.start, span.offsets.end) == (tags[0].offsets.start, tags[-1].offsets.end)
        data = text.encode() if unit == common.OFFSET_UNIT_BYTE else text
        part = data[span.offsets.start : span.offsets.end]
        assert (part.decode() if isinstance(part, bytes) else part) == span.text
    begins = [tag.position for tag in sequence.tags if tag.label.startswith("B-")]
    assert [span.first_position for span in sequence.spans] == begins


@pytest.mark.parametrize("inputs", [("a", "国国国aa"), ("a", ["国国", "aaaa"])])
async def test_limits_hold_for_each_input(made: MadeRepository, inputs: tuple[str | list[str], ...]) -> None:
    limits = LimitSettings(text_bytes_max=10, inputs_max=2)
    async with running_server(made.root, limits=limits) as address, grpc.aio.insecure_channel(address) as channel:
        await tagged(channel, asks("国国国a", ["国国", "aaa"]))
        too_long = await refused(channel, asks(*inputs))
        too_many = await refused(channel, asks("a", "b", "c"))
    assert too_long.reason == too_many.reason == "ERROR_REASON_INPUT_TOO_LONG"
    assert too_long.message.startswith("inputs[1].")
    assert "has 11 bytes, the server takes at most 10" in too_long.message
    assert too_many.field == "inputs"


async def test_a_text_of_too_many_words_is_refused(made: MadeRepository, root: Path) -> None:
    def short(manifest: manifest_pb2.Manifest) -> None:
        manifest.limits.tokens_max = 3

    edit_manifest(Path(shutil.copytree(made.tagger.folder, root / "tagger" / "1")), short)
    async with running_server(root) as address, grpc.aio.insecure_channel(address) as channel:
        await tagged(channel, asks("the cat sat"))
        reported = await refused(channel, asks("the cat sat", "the cat sat."))
    assert reported.message == "inputs[1] has 4 tokens, the model takes at most 3; cut it into several requests"
    assert reported.metadata == {"count": "4", "limit": "3"}
