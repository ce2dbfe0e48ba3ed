"""How answers, sessions, streams and clients show themselves, in a console and in a notebook."""

import inspect
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import seqserve.client
from seqserve.client import (
    AsyncClient,
    Client,
    ErrorReason,
    GenerateOptions,
    QueueFullError,
    SeqserveError,
    StateResult,
    TagStreamOptions,
)
from seqserve.client.types import html
from seqserve.v1 import errors_pb2


class Texts(HTMLParser):
    """The texts of the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def cells(value: Any) -> list[str]:
    parser = Texts()
    parser.feed(value._repr_html_())
    return parser.texts


def test_answers_are_short_in_a_console_and_tables_in_a_notebook(client: Client) -> None:
    tagged = client.tag("m", "<b> word")
    assert repr(tagged) == "<TaggedText '<b> word': <b>/X word/X>"
    assert cells(tagged) == ["tags", "token", "label", "score", "<b>", "X", "0.500", "word", "X", "0.500"]
    assert "<b>" not in tagged._repr_html_().replace("&lt;b&gt;", "")
    assert len(repr(client.tag("m", "word " * 1000))) < 300
    classified = client.classify("m", "a b")
    assert repr(classified) == "<TextClassification X: X 0.750, Y 0.250, 2 tokens>"
    assert cells(classified) == ["X", "label", "probability", "X", "0.750", "Y", "0.250"]
    score = client.score("m", "ab", logprobs=0)
    assert repr(score) == "<TextScore -2.0000 nats, 2 tokens, perplexity 2.7183>"
    assert "'a'" in cells(score)
    filled = client.fill("m", "a ___")
    assert repr(filled) == "<FilledText 'a x': 1 blanks>"
    assert "x -1.000" in cells(filled)
    (generated,) = client.generate_many("m", ["echo"])
    assert repr(generated) == "<GeneratedText 'echo': LENGTH>"
    assert "echo" in cells(generated)


def test_a_snapshot_does_not_fill_the_console() -> None:
    assert repr(StateResult(7, "mine", snapshot=b"x" * 1_000_000)) == (
        "<StateResult position 7, session 'mine', snapshot of 1,000,000 bytes>"
    )


def test_models_have_names(client: Client) -> None:
    (model,) = client.models.list()
    assert (model.name, model.version) == ("scripted", 1)
    assert client.models() == [model]
    details = client.models.get("scripted")
    assert (details.name, details.version) == ("scripted", 1)
    assert client.model("scripted") == details
    assert repr(model) == "<Model 'scripted' version 1: LANGUAGE_MODEL, READY>"
    assert cells(model)[0] == cells(details)[0] == "scripted"
    assert repr(details).startswith("<ModelDetails 'scripted' version 1")


def test_models_are_loaded_and_unloaded(client: Client) -> None:
    assert client.models.load("scripted").version == 1
    assert client.models.load("scripted", 3).version == 3
    assert client.models.unload("scripted", 3).state == "UNLOADED"


async def test_asyncio_models_are_loaded_and_unloaded(async_client: AsyncClient) -> None:
    assert (await async_client.models.load("scripted", 3)).version == 3
    assert (await async_client.models.unload("scripted", 3)).version == 3
    assert [model.name for model in await async_client.models.list()] == ["scripted"]


def test_sessions_streams_and_clients_show_where_they_are(client: Client) -> None:
    session = client.session("m", "mine")
    assert repr(session) == "<Session, not open>"
    with session:
        assert repr(session) == "<Session 'mine' of m version 1 at position 0>"
        assert "session mine" in cells(session)
        assert repr(session.info()) == "<SessionInfo 'mine' of m version 1 at position 0>"
    stream = client.generate("m", "echo")
    assert repr(stream) == "<GenerationStream, not started: ''>"
    stream.text()
    assert repr(stream) == "<GenerationStream, finished: 'echo'>"
    assert "echo" in cells(stream)
    tags = client.stream_tag("m", ["a "])
    assert repr(tags) == "<DuplexStream, not started>"
    list(tags)
    assert cells(tags)[1:] == ["status", "finished", "model", "scripted version 1"]
    assert repr(client) == f"<Client of {client.target}>"


def test_long_tables_are_cut() -> None:
    text = html.table("numbers", ("number",), ([number] for number in range(1000)))
    assert text.count("<tr>") == 101
    assert "and 900 more" in text


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_help_shows_the_options(kind: type) -> None:
    for name, options in (("generate", GenerateOptions), ("stream_tag", TagStreamOptions)):
        signature = inspect.signature(getattr(kind, name))
        assert options.__annotations__.keys() <= signature.parameters.keys()
        assert not any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    assert "temperature: 'float | None' = None" in str(inspect.signature(kind.generate)).replace(  # type: ignore[attr-defined]
        "temperature: float | None", "temperature: 'float | None'"
    )


def test_reasons_are_those_of_the_contract() -> None:
    assert {str(reason) for reason in ErrorReason} | {"ERROR_REASON_UNSPECIFIED"} == set(errors_pb2.ErrorReason.keys())
    error = QueueFullError("full", reason="ERROR_REASON_QUEUE_FULL")
    assert error.reason is ErrorReason.QUEUE_FULL
    assert str(error.reason) == "ERROR_REASON_QUEUE_FULL"
    assert SeqserveError("x", reason="ERROR_REASON_OF_TOMORROW").reason == "ERROR_REASON_OF_TOMORROW"
    assert not SeqserveError("x").reason


def test_every_public_name_is_documented() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in Path(seqserve.client.__file__).parent.rglob("*.py"))
    for name in seqserve.client.__all__:
        value = getattr(seqserve.client, name)
        if inspect.isclass(value):
            assert value.__doc__, name
            assert not value.__doc__.startswith(f"{name}("), f"{name} has no docstring of its own"
        else:
            assignment = rf"^{name}(: [^=\n]+)? = (\((\n.*)*?\n\)|.*)\n\"\"\""
            assert re.search(assignment, sources, re.MULTILINE), f"{name} has no description below it"
