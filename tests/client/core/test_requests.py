"""Requests contain every option in its field, and no field that the caller left unset."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.client import Client, GenerateOptions, OffsetUnit
from seqserve.client.core.generate_options import generate_request
from seqserve.client.testing import ScriptedServer
from seqserve.client.types.tagging import tag_request
from seqserve.v1 import common_pb2, generation_pb2

OPTIONS: dict[str, Any] = {
    "version": 3,
    "max_tokens": 5,
    "min_tokens": 1,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 0.5,
    "min_p": 0.0,
    "repetition_penalty": 1.5,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "logit_bias": {1: 2.0},
    "allowed_token_ids": [1, 2],
    "banned_token_ids": [3],
    "seed": 0,
    "n": 2,
    "best_of": 3,
    "beam_width": 4,
    "length_penalty": 0.5,
    "stop": ["\n", "END"],
    "stop_token_ids": [0],
    "ignore_eos": True,
    "include_stop": True,
    "logprobs": 0,
    "prompt_logprobs": 1,
    "omit_token_ids": True,
    "priority": -1,
    "request_id": "once",
    "snapshot": b"state",
    "return_snapshot": True,
}


def set_fields(request: generation_pb2.GenerateRequest) -> set[str]:
    """Names of the fields that are set, inner ones too; of the model only its version."""
    inner = (request.model, request.sampling, request.stopping, request.outputs, request.state)
    names = {field.name for message in inner for field, _ in message.ListFields()}
    return (names | {field.name for field, _ in request.ListFields()}) - {"model", "name"}


def test_without_options_only_the_model_is_sent(server: ScriptedServer, client: Client) -> None:
    client.generate("m").text()
    assert server.requests == [generation_pb2.GenerateRequest(model=common_pb2.ModelRef(name="m"))]


def test_every_option_is_tested_here() -> None:
    assert OPTIONS.keys() == GenerateOptions.__annotations__.keys()


@given(st.sets(st.sampled_from(sorted(OPTIONS))))
def test_exactly_the_given_options_are_sent(names: set[str]) -> None:
    request = generate_request("m", **{name: OPTIONS[name] for name in names})
    fields = {"return_snapshot" if name == "destination" else name for name in set_fields(request)}
    assert fields - {"sampling", "stopping", "outputs", "state"} == names


def test_zero_differs_from_absent() -> None:
    sampling = generate_request("m", temperature=0.0, seed=0).sampling
    assert sampling.HasField("temperature")
    assert sampling.HasField("seed")
    assert not sampling.HasField("top_p")


def test_none_is_absent() -> None:
    assert generate_request("m", temperature=None, stop=None) == generate_request("m")


@pytest.mark.parametrize(
    ("prompt", "field"), [("", None), ([], None), ("text", "text"), ([1, 2], "token_ids"), ((0,), "token_ids")]
)
def test_a_prompt_is_text_or_token_ids_or_nothing(prompt: Any, field: str | None) -> None:
    assert generate_request("m", prompt).WhichOneof("prompt") == field


def test_one_stop_text_need_not_be_a_list() -> None:
    assert list(generate_request("m", stop="END").stopping.stop) == ["END"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: generate_request("m", temprature=1.0), TypeError, "no option temprature"),  # type: ignore[call-arg]
        (lambda: generate_request("m", seed=-1), ValueError, r"seed must be in \[0, 2\*\*64\), got -1"),
        (lambda: generate_request("m", b"bytes"), TypeError, "the prompt is bytes"),
        (lambda: generate_request("m", top_k=2**40), ValueError, "1099511627776"),
        (lambda: generate_request("m", max_tokens="5"), TypeError, "str"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_told_at_once(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_tag_sends_text_and_words_as_they_are() -> None:
    request = tag_request("m", ["a b", ["c", "d"]])
    assert [one.WhichOneof("input") for one in request.inputs] == ["text", "words"]
    assert list(request.inputs[1].words.words) == ["c", "d"]
    assert not request.HasField("outputs")
    assert not request.model.HasField("version")


def test_tag_sends_what_is_asked_for() -> None:
    request = tag_request("m", ["a"], version=2, top_labels=3, spans=True, offset_unit=OffsetUnit.BYTE)
    assert (request.model.version, request.outputs.top_labels, request.outputs.spans) == (2, 3, True)
    assert request.outputs.offset_unit == common_pb2.OFFSET_UNIT_BYTE
