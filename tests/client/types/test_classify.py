"""Classify: the request and the values of the response, through both clients and the command."""

from collections.abc import Callable

import grpc
import pytest

from seqserve.client import AsyncClient, Client, EmptyPromptError, LabelScore, ProtocolError
from seqserve.client.testing import Failure, ScriptedServer, classify_texts
from seqserve.client.types.classification import classify_request
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2
from tests.client.rig import Run, cells, lines_of, refuses


def test_without_options_only_model_and_text_are_sent(server: ScriptedServer, client: Client) -> None:
    client.classify("m", "text")
    assert server.requests == [
        pb.ClassifyRequest(model=common_pb2.ModelRef(name="m"), inputs=[pb.ClassifyInput(text="text")])
    ]


def test_text_words_and_ids_are_sent_as_they_are() -> None:
    request = classify_request("m", ["a b", ["a", "b"], [1, 2], range(2), ""], version=2, top_labels=1)
    assert [one.WhichOneof("input") for one in request.inputs] == ["text", "words", "token_ids", "token_ids", "text"]
    assert list(request.inputs[1].words.words) == ["a", "b"]
    assert [list(one.token_ids.ids) for one in request.inputs[2:4]] == [[1, 2], [0, 1]]
    assert (request.model.version, request.top_labels) == (2, 1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: classify_request("m", [1, 2]), TypeError, r"of type int: .*\[\[1, 2, 3\]\]"),  # type: ignore[list-item]
        (lambda: classify_request("m", [b"bytes"]), TypeError, "a text is bytes"),
        (lambda: classify_request("m", [["a", 1]]), TypeError, "words or token ids, not both"),  # type: ignore[list-item]
        (lambda: classify_request("m", [[2**40]]), ValueError, "1099511627776"),
    ],
)
def test_mistakes_are_told_at_once(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_one_text_gives_one_answer_and_a_list_a_list(client: Client) -> None:
    one = client.classify("m", "a b c")
    assert (one.labels, one.chosen, one.tokens) == ((LabelScore("X", 0.75), LabelScore("Y", 0.25)), ("X",), 3)
    assert (one.servable.model, one.timing.total_ms) == ("scripted", 2.0)
    assert [each.tokens for each in client.classify("m", ["a", ["b", "c"]], top_labels=1)] == [1, 2]
    assert client.classify("m", "a", top_labels=1).labels == (LabelScore("X", 0.75),)


def test_fewer_answers_than_texts_are_found_out(server: ScriptedServer, client: Client) -> None:
    async def only_the_first(request: pb.ClassifyRequest) -> pb.ClassifyResponse:
        answer = await classify_texts(request)
        del answer.classifications[1:]
        return answer

    server.on_classify = only_the_first
    with pytest.raises(ProtocolError, match="answered 1 texts, 2 were sent"):
        client.classify("m", ["a", "b"])


def test_a_refusal_is_its_exception(server: ScriptedServer, client: Client) -> None:
    server.on_classify = refuses(Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_EMPTY_PROMPT"))
    with pytest.raises(EmptyPromptError):
        client.classify("m", "")


async def test_the_asyncio_client_answers_the_same(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    assert (await async_client.classify("m", "a b")).tokens == 2
    found = await async_client.classify("m", ["a", [97]], version=3, top_labels=1)
    assert [one.chosen for one in found] == [("X",)] * 2
    assert async_server.requests == [
        classify_request("m", ["a b"]),
        classify_request("m", ["a", [97]], version=3, top_labels=1),
    ]


def test_the_command_prints_a_table(run: Run, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classify", "m", "[bold] x", "ab", "--version=2", "--top=2") == 0
    assert cells(capsys.readouterr().out) == [
        ["text", "is", "probabilities"],
        ["[bold] x", "X", "X 0.750, Y 0.250"],
        ["ab", "X", "X 0.750, Y 0.250"],
    ]
    assert server.requests == [classify_request("m", ["[bold] x", "ab"], version=2, top_labels=2)]


def test_the_command_prints_a_text_a_line_as_json(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classify", "m", "a b", "c", "--json") == 0
    first, second = lines_of(capsys.readouterr().out)
    assert (first["text"], first["chosen"], first["tokens"]) == ("a b", ["X"], 2)
    assert second["labels"][1] == {"label": "Y", "score": 0.25}
