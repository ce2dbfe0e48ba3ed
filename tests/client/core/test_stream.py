"""Input of a stream that a source feeds, and the errors that are detected immediately."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.client import (
    FLUSH,
    SENTENCE_END,
    Client,
    OffsetUnit,
    SentenceRule,
    TagFinality,
    TagStreamOptions,
)
from seqserve.client.core.classify_stream import ClassifyStreamOptions, classify_codec
from seqserve.client.core.score_stream import ScoreStreamOptions, score_codec
from seqserve.client.core.stream import PIECE_BYTES_MAX
from seqserve.client.core.tag_stream import tag_codec
from seqserve.v1 import classification_pb2, generation_pb2, state_pb2, tagging_pb2

TAG_OPTIONS: dict[str, Any] = {
    "version": 3,
    "lookahead": 2,
    "finality": TagFinality.LOOKAHEAD,
    "sentence_rule": SentenceRule.PUNCTUATION,
    "provisional": True,
    "decision_lag_max": 0,
    "top_labels": 4,
    "spans": True,
    "offset_unit": OffsetUnit.BYTE,
    "idle_timeout_s": 1.5,
    "snapshot": b"state",
    "return_snapshot": True,
}
CLASSIFY_OPTIONS: dict[str, Any] = {
    "version": 3,
    "top_labels": 4,
    "idle_timeout_s": 1.5,
    "snapshot": b"state",
    "return_snapshot": True,
}
SCORE_OPTIONS: dict[str, Any] = {
    "version": 3,
    "logprobs": 4,
    "idle_timeout_s": 1.5,
    "snapshot": b"state",
    "return_snapshot": True,
}


def tag_config(**options: Any) -> tagging_pb2.StreamTagConfig:
    opening = tag_codec("m", **options).opening
    assert isinstance(opening, tagging_pb2.StreamTagRequest)
    return opening.config


def score_config(**options: Any) -> generation_pb2.StreamScoreConfig:
    opening = score_codec("m", **options).opening
    assert isinstance(opening, generation_pb2.StreamScoreRequest)
    return opening.config


def classify_config(**options: Any) -> classification_pb2.StreamClassifyConfig:
    opening = classify_codec("m", **options).opening
    assert isinstance(opening, classification_pb2.StreamClassifyRequest)
    return opening.config


def fields(message: Any) -> set[str]:
    """Names of the fields that are set, inner ones too; of the model only its version."""
    inner = [value for field, value in message.ListFields() if field.name in {"model", "outputs", "state"}]
    names = {field.name for one in [message, *inner] for field, _ in one.ListFields()}
    return names - {"model", "outputs", "state", "name"}


def test_every_option_is_tested_here() -> None:
    assert TAG_OPTIONS.keys() == TagStreamOptions.__annotations__.keys()
    assert CLASSIFY_OPTIONS.keys() == ClassifyStreamOptions.__annotations__.keys()
    assert SCORE_OPTIONS.keys() == ScoreStreamOptions.__annotations__.keys()


@given(st.sets(st.sampled_from(sorted(TAG_OPTIONS))))
def test_exactly_the_given_options_of_tags_are_sent(names: set[str]) -> None:
    config = tag_config(**{name: TAG_OPTIONS[name] for name in names})
    wire = {"idle_timeout": "idle_timeout_s", "destination": "return_snapshot"}
    implied = {"finality"} if "lookahead" in names else set[str]()
    assert {wire.get(name, name) for name in fields(config)} == names | implied


@given(st.sets(st.sampled_from(sorted(SCORE_OPTIONS))))
def test_exactly_the_given_options_of_scores_are_sent(names: set[str]) -> None:
    config = score_config(**{name: SCORE_OPTIONS[name] for name in names})
    wire = {"idle_timeout": "idle_timeout_s", "destination": "return_snapshot", "top_logprobs": "logprobs"}
    assert {wire.get(name, name) for name in fields(config)} == names


@given(st.sets(st.sampled_from(sorted(CLASSIFY_OPTIONS))))
def test_exactly_the_given_options_of_classes_are_sent(names: set[str]) -> None:
    config = classify_config(**{name: CLASSIFY_OPTIONS[name] for name in names})
    wire = {"idle_timeout": "idle_timeout_s", "destination": "return_snapshot"}
    assert {wire.get(name, name) for name in fields(config)} == names


def test_options_mean_what_they_say() -> None:
    config = tag_config(**TAG_OPTIONS)
    assert (config.finality, config.lookahead) == (tagging_pb2.TAG_FINALITY_LOOKAHEAD, 2)
    assert config.sentence_rule == tagging_pb2.SENTENCE_RULE_PUNCTUATION
    assert config.idle_timeout.ToMilliseconds() == 1500
    assert config.HasField("decision_lag_max")
    assert (config.outputs.top_labels, config.outputs.spans) == (4, True)
    assert config.state.destination == state_pb2.STATE_DESTINATION_SNAPSHOT
    assert tag_config(lookahead=0).finality == tagging_pb2.TAG_FINALITY_LOOKAHEAD
    assert tag_config(finality=TagFinality.SENTENCE).finality == tagging_pb2.TAG_FINALITY_SENTENCE


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ("text", "text"),
        (["some", "words"], "words"),
        (("some", "words"), "words"),
        ([1, 2], "token_ids"),
        (range(2), "token_ids"),
        (FLUSH, "flush"),
        (SENTENCE_END, "sentence_end"),
    ],
)
def test_each_item_goes_into_its_field(item: Any, field: str) -> None:
    messages: list[Any] = list(tag_codec("m").messages(item))
    assert [message.WhichOneof("message") for message in messages] == [field]


@pytest.mark.parametrize("item", ["", [], ()])
def test_an_empty_piece_is_not_sent(item: Any) -> None:
    assert list(tag_codec("m").messages(item)) == []


@pytest.mark.parametrize(
    "item",
    [
        "é" * 100_000,
        "\U0001f600" * 40_000,
        ["word"] * 100_000,
        ["x" * 60_000, "y" * 60_000, "z"],
        ["x" * 500_000, "y"],
        ["x" * 100] * 2_000,
        range(100_000),
    ],
)
def test_a_large_piece_is_sent_in_parts(item: Any) -> None:
    messages: list[Any] = list(tag_codec("m").messages(item))
    assert len(messages) > 1
    assert all(message.ByteSize() <= PIECE_BYTES_MAX + 16 or len(message.words.words) == 1 for message in messages)
    if isinstance(item, str):
        assert "".join(message.text for message in messages) == item
    elif isinstance(item, list):
        assert [word for message in messages for word in message.words.words] == item
    else:
        assert [one for message in messages for one in message.token_ids.ids] == list(item)


def test_a_word_that_no_message_holds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a word must have at most 1,048,576 bytes, got 2,000,004: 'xxx"):
        list(tag_codec("m").messages(["a", "x" * 2_000_000]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: list(tag_codec("m").messages(b"bytes")), TypeError, "an item of type bytes: .* takes text"),
        (lambda: list(tag_codec("m").messages(7)), TypeError, "an item of type int: .*token ids"),
        (lambda: list(tag_codec("m").messages(["a", 1])), TypeError, "str"),
        (
            lambda: list(score_codec("m").messages(["a"])),
            TypeError,
            r"words: .* text \(str\), token ids .*, FLUSH$",
        ),
        (lambda: list(score_codec("m").messages(SENTENCE_END)), TypeError, "gave sentence_end"),
        (lambda: list(classify_codec("m").messages(SENTENCE_END)), TypeError, "gave sentence_end"),
        (lambda: Client().stream_classify("m", [], top=1), TypeError, "no option top"),  # type: ignore[call-arg]
        (lambda: tag_codec("m", idle_timeout_s=0), ValueError, "idle_timeout_s must be a finite number above 0 s"),
        (
            lambda: tag_codec("m", idle_timeout_s=math.inf),
            ValueError,
            "idle_timeout_s must be a finite number above 0 s",
        ),
        (lambda: tag_codec("m", lookahead=2**40), ValueError, "1099511627776"),
        (lambda: tag_codec("m", finality="LATER"), ValueError, "'LATER' is not a valid TagFinality"),  # type: ignore[arg-type]
        (lambda: tag_codec("m", sentence_rule="comma"), ValueError, "'comma' is not a valid SentenceRule"),  # type: ignore[arg-type]
        (lambda: tag_codec("m", offset_unit="word"), ValueError, "'word' is not a valid OffsetUnit"),  # type: ignore[arg-type]
        (
            lambda: Client().stream_tag("m", "one text"),
            TypeError,
            r"source must be an iterable of pieces, got str: .*\[text\]",
        ),
        (lambda: Client().stream_tag("m", [], tpo=1), TypeError, "no option tpo"),  # type: ignore[call-arg]
    ],
)
def test_mistakes_are_told_at_once(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
