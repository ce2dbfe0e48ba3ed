"""Score: the request and the values of the response, through both clients."""

import math
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from seqserve.client import AsyncClient, Client, DeadlineError, OutOfVocabularyError, ProtocolError, TaskMismatchError
from seqserve.client.testing import Failure, ScriptedServer, score_characters
from seqserve.client.types.scoring import score_request
from seqserve.v1 import common_pb2, generation_pb2

Request = generation_pb2.ScoreRequest
Response = generation_pb2.ScoreResponse


def test_without_options_only_model_and_text_are_sent(server: ScriptedServer, client: Client) -> None:
    client.score("m", "text")
    inputs = [generation_pb2.ScoreInput(text="text")]
    assert server.requests == [Request(model=common_pb2.ModelRef(name="m"), inputs=inputs)]
    assert not server.requests[0].HasField("logprobs")


def test_text_and_token_ids_are_sent_as_they_are() -> None:
    request = score_request("m", ["a b", [1, 2], (3,), range(2), "", []], version=2, logprobs=0)
    assert [one.WhichOneof("input") for one in request.inputs] == ["text", *["token_ids"] * 3, "text", "token_ids"]
    assert [list(one.token_ids.ids) for one in request.inputs[1:4]] == [[1, 2], [3], [0, 1]]
    assert (request.model.version, request.HasField("logprobs"), request.logprobs) == (2, True, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: score_request("m", [1, 2]), TypeError, r"of type int: .*\[\[1, 2, 3\]\]"),  # type: ignore[list-item]
        (lambda: score_request("m", b"bytes"), TypeError, "texts is bytes"),  # type: ignore[arg-type]
        (lambda: score_request("m", [b"bytes"]), TypeError, "a text is bytes"),
        (lambda: score_request("m", [["a", "b"]]), TypeError, "str"),  # type: ignore[list-item]
        (lambda: score_request("m", [[2**40]]), ValueError, "1099511627776"),
    ],
)
def test_mistakes_are_told_at_once(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_one_text_gives_one_answer(client: Client) -> None:
    score = client.score("m", "abc")
    assert (score.logprob, score.scored_tokens, score.perplexity) == (-3.0, 3, math.e)
    assert score.tokens == ()
    assert (score.servable.model, score.timing.total_ms) == ("scripted", 2.0)


def test_a_list_gives_a_list(client: Client) -> None:
    assert [one.scored_tokens for one in client.score("m", ["abc", [97], ""])] == [3, 1, 0]
    assert len(client.score("m", ["abc"])) == 1
    assert client.score("m", []) == []


def test_log_probabilities_are_values(client: Client) -> None:
    (score,) = client.score("m", ["ab"], logprobs=1)
    assert [(one.chosen.token, one.chosen.logprob, one.top[0].rank) for one in score.tokens] == [
        ("a", -1.0, 1),
        ("b", -1.0, 1),
    ]
    assert client.score("m", "ab", logprobs=0).tokens[0].top == ()


def test_fewer_answers_than_texts_are_found_out(server: ScriptedServer, client: Client) -> None:
    async def only_the_first(request: Request) -> Response:
        answer = await score_characters(request)
        del answer.scores[1:]
        return answer

    server.on_score = only_the_first
    with pytest.raises(ProtocolError, match="answered 1 texts, 2 were sent"):
        client.score("m", ["a", "b"])


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(grpc.StatusCode.INVALID_ARGUMENT, "ERROR_REASON_OUT_OF_VOCABULARY"), OutOfVocabularyError),
        (Failure(grpc.StatusCode.FAILED_PRECONDITION, "ERROR_REASON_TASK_MISMATCH"), TaskMismatchError),
        (Failure(grpc.StatusCode.DEADLINE_EXCEEDED), DeadlineError),
    ],
)
def test_a_refusal_is_its_exception(
    failure: Failure, kind: type[Exception], server: ScriptedServer, client: Client
) -> None:
    async def refuse(request: Request) -> Response:
        raise failure

    server.on_score = refuse
    with pytest.raises(kind):
        client.score("m", "text")


async def test_the_asyncio_client_answers_the_same(async_server: ScriptedServer, async_client: AsyncClient) -> None:
    def requested(*texts: Any, **options: Any) -> Request:
        return score_request("m", texts, **options)

    assert (await async_client.score("m", "ab")).perplexity == math.e
    assert [one.scored_tokens for one in await async_client.score("m", ["abc", [97]], version=3, logprobs=0)] == [3, 1]
    assert async_server.requests == [requested("ab"), requested("abc", [97], version=3, logprobs=0)]
