from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server import errors
from seqserve.server.api.status import CODES, to_status
from seqserve.server.errors import ErrorKind, QueueFullError, ServeError, VersionNotFoundError
from seqserve.server.repository import Repository
from seqserve.v1 import common_pb2, generation_pb2, model_pb2
from seqserve.v1.errors_pb2 import ErrorReason
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.model_pb2_grpc import ModelServiceStub
from tests.calls import Refusal, read_status, refusal

CONTRACT = Path(__file__).parents[3] / "proto" / "seqserve" / "v1" / "errors.proto"


def family(root: type[ServeError]) -> Iterator[type[ServeError]]:
    """A class and all that come of it."""
    yield root
    for child in root.__subclasses__():
        yield from family(child)


ERRORS = sorted({*family(ServeError)} - {ServeError}, key=lambda each: each.__name__)


def codes_of_the_contract() -> dict[str, set[str]]:
    """The status codes that the contract's comments name for each reason."""
    found = re.findall(
        r"//\s((?:[A-Z_]+(?:, | or )?)+)[.] [^\n]*\n(?:\s*//[^\n]*\n)*\s*(ERROR_REASON_\w+) =", CONTRACT.read_text()
    )
    return {reason: set(re.split(", | or ", codes)) for codes, reason in found}


def test_the_contract_names_a_code_for_every_reason() -> None:
    assert {*codes_of_the_contract()} == {*ErrorReason.keys()} - {"ERROR_REASON_UNSPECIFIED"}


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_the_code_that_the_contract_names_for_its_reason(error: type[ServeError]) -> None:
    reported = read_status(to_status(error("what was wrong", metadata={"fact": "1"})))
    assert reported.message == "what was wrong"
    assert reported.reason == f"ERROR_REASON_{error.reason}"
    assert reported.code.name in codes_of_the_contract()[reported.reason]
    assert reported.metadata == {"fact": "1"}
    assert (reported.field, reported.resource, reported.retry_s) == ("", None, None)


def test_every_kind_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(ErrorKind)
    assert len(set(CODES.values())) == len(CODES)


def test_an_error_is_documented_in_the_tree() -> None:
    undocumented = [error.__name__ for error in ERRORS if error.__name__ not in (errors.__doc__ or "")]
    assert not undocumented


@pytest.mark.parametrize("error", [each for each in ERRORS if each.kind is ErrorKind.INVALID])
def test_a_wrong_field_is_named(error: type[ServeError]) -> None:
    assert read_status(to_status(error("wrong", field="sampling.top_p"))).field == "sampling.top_p"


def test_what_was_not_found_is_named() -> None:
    error = VersionNotFoundError("not there", field="model.version", resource=("model version", "lm/3"))
    assert read_status(to_status(error)).resource == ("model version", "lm/3")


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0, 1.9999999999, 90.5])
def test_when_to_try_again_is_told(seconds: float) -> None:
    assert read_status(to_status(QueueFullError("full", retry_after_s=seconds))).retry_s == pytest.approx(seconds)


async def test_a_message_of_any_length_reaches_the_caller(channel: grpc.aio.Channel) -> None:
    request = model_pb2.ListModelsRequest(page_token="国" * 100_000)
    reported = await refusal(
        ModelServiceStub(channel).ListModels(request)
    )  # a client refuses too long a status altogether
    assert reported.code is grpc.StatusCode.INVALID_ARGUMENT
    assert reported.reason == "ERROR_REASON_INVALID_FIELD"
    assert reported.message.startswith("page_token '国国国")
    assert reported.message.endswith("国…")


async def test_a_defect_tells_an_id_that_the_log_has_and_nothing_of_its_cause(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(*_: object) -> None:
        raise RuntimeError("the secret cause")

    async def list_models() -> Refusal:
        return await refusal(ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest()))

    async def generate() -> Refusal:
        request = generation_pb2.GenerateRequest(model=common_pb2.ModelRef(name="lstm"))
        return await refusal(GenerationServiceStub(channel).Generate(request))

    for call in (list_models, generate):
        caplog.clear()
        with monkeypatch.context() as broken, caplog.at_level(logging.ERROR):
            broken.setattr(Repository, "entries", defect)
            broken.setattr(Repository, "model", defect)
            reported = await call()
        assert (reported.code, reported.reason) == (grpc.StatusCode.INTERNAL, "ERROR_REASON_INTERNAL")
        identifier = reported.metadata["error_id"]
        assert reported.message == f"internal error (id {identifier}); see the server log"
        assert identifier in caplog.text
        assert "the secret cause" in caplog.text


async def test_a_caller_that_went_before_a_write_is_no_defect(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write(*_: object) -> None:
        raise grpc.aio.InternalError("what gRPC says of a write to a call that has ended")

    with monkeypatch.context() as broken:
        broken.setattr(Repository, "entries", write)
        reported = await refusal(ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest()))
    assert reported.message == "the answer could not be written"
    assert not caplog.records
