"""FillIn: the request and the values of the response, through both clients and the command."""

import io
import sys

import grpc
import pytest

from seqserve.client import AsyncClient, Client, InvalidFieldError, OffsetUnit, ProtocolError, WholeText
from seqserve.client.testing import Failure, ScriptedServer, fill_blanks
from seqserve.client.types.infilling import fill_request
from seqserve.v1 import common_pb2
from seqserve.v1 import infilling_pb2 as pb
from tests.client.rig import Run, cells, lines_of, refuses


def test_without_options_only_model_and_text_are_sent(server: ScriptedServer, client: Client) -> None:
    client.fill("m", "a ___")
    (request,) = server.requests
    assert request == pb.FillInRequest(model=common_pb2.ModelRef(name="m"), inputs=[pb.FillInInput(text="a ___")])
    assert [field.name for field, _ in request.ListFields()] == ["model", "inputs"]


def test_all_that_is_given_is_sent() -> None:
    texts: list[WholeText] = ["a ?", ["a", "?"], [1, 2]]
    request = fill_request("m", texts, blank="?", version=2, top_k=3, offset_unit=OffsetUnit.BYTE)
    assert [one.WhichOneof("input") for one in request.inputs] == ["text", "words", "token_ids"]
    assert (request.blank, request.model.version, request.top_k) == ("?", 2, 3)
    assert request.offset_unit == common_pb2.OFFSET_UNIT_BYTE


def test_one_text_gives_one_answer_and_a_list_a_list(client: Client) -> None:
    filled = client.fill("m", "the ___ sat")
    assert filled.text == "the x sat"
    (blank,) = filled.blanks
    assert (blank.start, blank.end, blank.position) == (4, 7, 1)
    assert [(one.token, one.logprob, one.rank) for one in blank.candidates] == [("x", -1.0, 1)]
    assert (filled.servable.model, filled.timing.total_ms) == ("scripted", 2.0)
    assert [one.text for one in client.fill("m", ["? a", ["?", "?"]], blank="?")] == ["x a", "x x"]


def test_fewer_answers_than_texts_are_found_out(server: ScriptedServer, client: Client) -> None:
    async def only_the_first(request: pb.FillInRequest) -> pb.FillInResponse:
        answer = await fill_blanks(request)
        del answer.sequences[1:]
        return answer

    server.on_fill = only_the_first
    with pytest.raises(ProtocolError, match="answered 1 texts, 2 were sent"):
        client.fill("m", ["___", "___"])


def test_a_refusal_is_its_exception(server: ScriptedServer, client: Client) -> None:
    server.on_fill = refuses(Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_INVALID_FIELD"))
    with pytest.raises(InvalidFieldError):
        client.fill("m", "no blank")


async def test_the_asyncio_client_answers_the_same(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    assert (await async_client.fill("m", "a ___")).text == "a x"
    (filled,) = await async_client.fill("m", [["a", "?"]], blank="?", top_k=1, version=3)
    assert filled.text == "a x"
    assert async_server.requests == [
        fill_request("m", ["a ___"]),
        fill_request("m", [["a", "?"]], blank="?", top_k=1, version=3),
    ]


def test_the_command_prints_a_table(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fill", "m", "[bold] ? and ?", "--blank=?", "--top=2", "--version=3") == 0
    title, *table = capsys.readouterr().out.splitlines()
    assert title.rstrip() == "[bold] x and x"
    assert cells("\n".join(table)) == [["blank", "token", "nats"], ["1", "x", "-1.0000"], ["2", "x", "-1.0000"]]
    assert server.requests == [fill_request("m", ["[bold] ? and ?"], blank="?", top_k=2, version=3)]


def test_the_command_reads_a_text_a_line(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a ___\n\nb ___\n"))
    assert run("fill", "m", "-", "--json") == 0
    assert [one["text"] for one in lines_of(capsys.readouterr().out)] == ["a x", "b x"]
