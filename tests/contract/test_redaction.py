"""The example that blacks out names, with a real tagger and server: what it hides, and that it does so in time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seqserve.client import AsyncClient, SentenceRule
from seqserve.server.testing import running_server

REDACT = Path(__file__).parents[2] / "examples" / "redact.py"
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TEXT = "the cat sat on the mat. a dog,\n国 naïve  cat sat . the dog sat on a mat, a cat. the mat\n"
WAIT_S = 60.0


@pytest.fixture(scope="module")
def taggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.servables import make_tagger  # torch takes seconds to import

    root = tmp_path_factory.mktemp("taggers")
    make_tagger(root / "forward", bidirectional=False, labels=LABELS)
    make_tagger(root / "both-ways", labels=LABELS)
    return root


@pytest.fixture
async def address(taggers: Path) -> AsyncIterator[str]:
    async with running_server(taggers) as address:
        yield address


async def redacted(address: str, model: str, lookahead: int | None) -> tuple[str, int]:
    """Returns the redacted text and the number of redacted spans, from the spans of the whole stream."""
    async with AsyncClient(address) as client:
        stream = client.stream_tag(
            model, [TEXT], spans=True, lookahead=lookahead, sentence_rule=SentenceRule.PUNCTUATION
        )
        spans = [span async for piece in stream.pieces() for span in piece.spans if span.label == "PER"]
    text = TEXT
    for span in reversed(spans):
        text = f"{text[: span.start]}[PER]{text[span.end :]}"
    return text, len(spans)


@pytest.mark.parametrize(("model", "lookahead"), [("forward", None), ("both-ways", None), ("both-ways", 1)])
async def test_names_are_blacked_out_while_the_text_comes(address: str, model: str, lookahead: int | None) -> None:
    expected, hidden = await redacted(address, model, lookahead)
    assert hidden > 0
    options = [] if lookahead is None else ["--lookahead", str(lookahead)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(REDACT), model, "--server", address, *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        for character in TEXT[:-10].encode():  # a byte at a time: pieces end within words and within characters
            process.stdin.write(bytes([character]))
            await process.stdin.drain()
        early = await process.stdout.read(1)
        assert early, "nothing came before the text ended"
        process.stdin.write(TEXT[-10:].encode())
        process.stdin.close()
        rest = await process.stdout.read()
        assert await process.wait() == 0
    assert (early + rest).decode() == expected
