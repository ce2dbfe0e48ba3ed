"""The order of the events of a generation, to which the client holds the server."""

import pytest

from seqserve.client import ProtocolError
from seqserve.client.core.generate_options import generate_request
from seqserve.client.core.generation_record import GenerationRecord
from seqserve.client.core.resumption import Resumption
from seqserve.client.core.retry_policy import RetryPolicy
from seqserve.v1 import generation_pb2 as pb

STARTED = pb.GenerateResponse(started=pb.GenerationStarted(seed=1))
PIECE = pb.GenerateResponse(piece=pb.GenerationPiece(text="a", token_ids=[1]))
FINISHED = pb.GenerateResponse(finished=pb.GenerationFinished())
UNKNOWN = pb.GenerateResponse()
"""An event of a newer server: this client sees none of the kinds it knows."""


def take(*events: pb.GenerateResponse) -> GenerationRecord:
    record = GenerationRecord(Resumption(generate_request("m"), RetryPolicy(1.0)), lambda _: None)
    for event in events:
        record._take(event)
    return record


@pytest.mark.parametrize("event", [PIECE, FINISHED])
def test_nothing_comes_before_the_start(event: pb.GenerateResponse) -> None:
    with pytest.raises(ProtocolError, match="where the stream does not allow it"):
        take(event)


def test_a_generation_starts_once() -> None:
    with pytest.raises(ProtocolError, match="'started' where the stream does not allow it"):
        take(STARTED, PIECE, STARTED)


def test_nothing_comes_after_the_end() -> None:
    with pytest.raises(ProtocolError, match="after the end of the generation"):
        take(STARTED, FINISHED, PIECE)


def test_events_of_newer_servers_are_passed_over() -> None:
    record = take(UNKNOWN, STARTED, UNKNOWN, PIECE, UNKNOWN, FINISHED)
    assert record.started.seed == 1
