"""Group commit: what waits is carried out in one transaction, so that a durable change costs a share of one sync."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from seqserve.server.errors import ServeError

GROUP_MAX = 256  # changes in one transaction

ResultT = TypeVar("ResultT")
Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


class GroupCommit:
    """The one thread that changes a database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Args: connection: in autocommit mode; it is the thread's until `close` returns."""
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._waiting: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="session-commits", daemon=True)
        self._thread.start()

    async def run(self, change: Callable[[], ResultT]) -> ResultT:
        """Carry out a change and commit it; changes are carried out in the order in which they came.

        A change that raises a ServeError has changed nothing. One that is cancelled waits until its outcome is certain.
        Raises: What the change raises; sqlite3.Error if the transaction that it was part of failed.
        """
        if self._closed:  # nobody would ever tell the outcome
            raise sqlite3.ProgrammingError("it is closed")
        outcome: asyncio.Future[ResultT] = self._loop.create_future()
        self._waiting.put((change, outcome))
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            await asyncio.wait([outcome])
            raise

    async def close(self) -> None:
        """Carry out what waits, and end the thread."""
        self._closed = True
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        closing = False
        while not closing:
            group = [self._waiting.get()]
            while len(group) < GROUP_MAX and not self._waiting.empty():
                group.append(self._waiting.get())
            closing = group[-1] is None
            outcomes = self._commit([each for each in group if each is not None])
            self._loop.call_soon_threadsafe(_deliver, outcomes)

    def _commit(self, group: list[tuple[Callable[[], Any], asyncio.Future[Any]]]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for change, outcome in group:
                try:
                    outcomes.append((outcome, change(), None))
                except ServeError as error:
                    outcomes.append((outcome, None, error))
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was, all that took part in the transaction are told
            with contextlib.suppress(sqlite3.Error):  # after some failures there is nothing left to roll back
                self._connection.execute("ROLLBACK")
            return [(outcome, None, error) for _, outcome in group]
        return outcomes


def _deliver(outcomes: list[Outcome]) -> None:
    for outcome, result, error in outcomes:
        if outcome.done():
            continue
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)
