"""What a stream's first message says of its state."""

from __future__ import annotations

from typing import Any

import pytest

from seqserve.server.api.state import state_spec
from seqserve.server.errors import InvalidFieldError
from seqserve.server.sessions import Destination
from seqserve.server.settings import SessionSettings
from seqserve.v1 import classification_pb2, generation_pb2, state_pb2, tagging_pb2

SETTINGS = SessionSettings()
Config = tagging_pb2.StreamTagConfig | classification_pb2.StreamClassifyConfig | generation_pb2.StreamScoreConfig
KINDS = [tagging_pb2.StreamTagConfig, classification_pb2.StreamClassifyConfig, generation_pb2.StreamScoreConfig]


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_the_same_as_a_request(kind: type[Config]) -> None:
    assert state_spec(kind(), SETTINGS) is None
    state = state_pb2.StateOptions(session_id="one", create_if_absent=True, expected_position=7, checkpoint="a")
    spec = state_spec(kind(state=state, request_id="r"), SETTINGS)
    assert spec is not None
    assert (spec.session_id, spec.destination, spec.create) == ("one", Destination.SESSION, True)
    assert (spec.expected_position, spec.checkpoint, spec.request_id) == (7, "a", "r")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("state", "request_id", "field"),
    [
        ({"session_id": "a b"}, "", "state.session_id"),
        ({"session_id": "s", "expected_position": -1}, "", "state.expected_position"),
        ({"session_id": "s", "ttl": {"seconds": -1}}, "", "state.ttl"),
        ({"session_id": "s", "checkpoint": "x" * 65}, "", "state.checkpoint"),
        ({"session_id": "s", "busy_policy": 9}, "", "state.busy_policy"),
        ({"checkpoint": "x"}, "", "state.checkpoint"),
        ({"create_if_absent": True}, "", "state.create_if_absent"),
        ({"destination": 9}, "", "state.destination"),
        ({"destination": state_pb2.STATE_DESTINATION_SESSION}, "", "state.destination"),
        ({}, "x" * 129, "request_id"),
    ],
)
def test_an_error_names_the_field_where_the_message_has_it(
    kind: type[Config], state: dict[str, Any], request_id: str, field: str
) -> None:
    for message, path in (
        (kind(state=state_pb2.StateOptions(**state), request_id=request_id), f"config.{field}"),
        (generation_pb2.ScoreRequest(state=state_pb2.StateOptions(**state), request_id=request_id), field),
    ):
        with pytest.raises(InvalidFieldError) as result:
            state_spec(message, SETTINGS)
        assert result.value.field == path
        assert result.value.message.startswith(path)


@pytest.mark.parametrize("kind", KINDS)
def test_another_idle_time_out_is_no_other_request(kind: type[Config]) -> None:
    config = kind(state=state_pb2.StateOptions(session_id="one"), request_id="r")
    first = state_spec(config, SETTINGS)
    config.idle_timeout.seconds = 3
    config.model.version = 1
    again = state_spec(config, SETTINGS)
    assert first is not None
    assert again is not None
    assert first.request_digest == again.request_digest != b""


def test_another_rule_of_sentences_is_another_request() -> None:
    config = tagging_pb2.StreamTagConfig(state=state_pb2.StateOptions(session_id="one"), request_id="r")
    first = state_spec(config, SETTINGS)
    config.sentence_rule = tagging_pb2.SENTENCE_RULE_NEWLINE
    other = state_spec(config, SETTINGS)
    assert first is not None
    assert other is not None
    assert first.request_digest != other.request_digest
