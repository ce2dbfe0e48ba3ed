"""A server is killed during a generation and restarted: its callers see only a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqserve.client import AsyncClient, AsyncGenerationStream, Client
from tests.conftest import MadeRepository
from tests.processes import replica

MODEL, PROMPT, TOKENS, SEED = "lstm", "the cat ", 1000, 5

BEGIN_S = 60.0

CASES: dict[str, dict[str, Any]] = {
    "warm": {"temperature": 1.3},
    "penalised": {"repetition_penalty": 1.2, "frequency_penalty": 0.1},
    "samples": {"n": 3},
}
IN_SESSIONS = ("warm", "penalised")  # a session is one sequence


async def texts_of(stream: AsyncGenerationStream, began: Callable[[], object] = lambda: None) -> list[str]:
    async for _ in stream:
        began()
    return [await stream.text(sample.sample) for sample in stream.finished.samples]


async def with_a_stop(client: AsyncClient, case: str) -> tuple[dict[str, Any], list[str]]:
    """The options of a case, with a stop string that comes late, and its undisturbed texts."""
    options = {"max_tokens": TOKENS, "seed": SEED, **CASES[case]}
    (whole, *_) = await texts_of(client.generate(MODEL, PROMPT, **options))
    stop = whole[-40:-30]
    options["stop"] = [stop]
    (text, *others) = await texts_of(client.generate(MODEL, PROMPT, **options))
    assert text == whole[: whole.index(stop)]
    return options, [text, *others]


class Barrier:
    """Waits until all who were announced have begun."""

    def __init__(self, count: int) -> None:
        self._left = set(range(count))
        self._all = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def arrival(self, number: int) -> Callable[[], None]:
        """What the one of this number calls, from whatever thread, as often as it likes."""

        def arrived() -> None:
            self._loop.call_soon_threadsafe(self._arrived, number)

        return arrived

    async def wait(self) -> None:
        async with asyncio.timeout(BEGIN_S):  # one that fails never arrives
            await self._all.wait()

    def _arrived(self, number: int) -> None:
        self._left.discard(number)
        if not self._left:
            self._all.set()


@pytest.mark.timeout(240)
async def test_whoever_generates_while_the_server_is_killed_gets_the_same_text(
    made: MadeRepository, tmp_path: Path
) -> None:
    settings = {"SEQSERVE_SESSIONS__PATH": str(tmp_path / "sessions.db")}
    async with (
        replica.running(made.root, settings, tmp_path / "log") as server,
        AsyncClient(server.address, resume_s=120.0) as client,
    ):
        options, expected = dict[str, dict[str, Any]](), dict[str, list[str]]()
        for case in CASES:
            options[case], expected[case] = await with_a_stop(client, case)
        sessions = {case: await client.session(MODEL, case).open() for case in IN_SESSIONS}
        streams = [
            *(client.generate(MODEL, PROMPT, **options[case]) for case in CASES),
            *(session.generate(PROMPT, **options[case]) for case, session in sessions.items()),
        ]
        barrier = Barrier(len(streams) + 1)

        def block() -> list[str]:
            with Client(server.address, resume_s=120.0) as blocking:
                stream = blocking.generate(MODEL, PROMPT, **options["samples"])
                for _ in stream:
                    arrived()
                return [stream.text(sample) for sample in range(3)]

        arrived = barrier.arrival(len(streams))
        readers = [asyncio.create_task(texts_of(stream, barrier.arrival(i))) for i, stream in enumerate(streams)]
        threaded = asyncio.create_task(asyncio.to_thread(block))
        await barrier.wait()
        await server.kill()
        await server.start()
        assert [await reader for reader in readers] == [
            *expected.values(),
            *(expected[case] for case in IN_SESSIONS),
        ]
        assert await threaded == expected["samples"]
        assert any(stream.resumed > 0 for stream in streams), "the kill came when all had ended"

        # What was said in the sessions is there, and a score goes the same way over a restart.
        warm = sessions["warm"]
        copy = await warm.fork()
        score = await copy.score("sat.")
        await server.kill()
        scoring = asyncio.create_task(warm.score("sat."))
        await server.start()
        assert (await scoring).logprob == score.logprob
        assert (await warm.info()).position == warm.position == copy.position
