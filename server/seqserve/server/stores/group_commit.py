"""Group commit: waiting changes share one transaction, so that a durable change costs only a share of one sync."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from seqserve.server.errors import ServeError

GROUP_MAX = 256  # changes in one transaction

ResultT = TypeVar("ResultT")
Work = tuple[Callable[[], Any], asyncio.Future[Any], bool]  # the last: within a transaction
Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]


class GroupCommit:
    """Runs all changes of a database on one thread."""

    def __init__(self, connection: sqlite3.Connection, check: Callable[[], None]) -> None:
        """Starts the thread.

        Args:
            connection: In autocommit mode. It belongs to the thread until `close` returns.
            check: Called before and after each transaction. If it raises, the changes of the transaction have failed.
        """
        self._connection = connection
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="session-commits", daemon=True)
        self._thread.start()

    async def run(self, change: Callable[[], ResultT]) -> ResultT:
        """Runs a change and commits it. Changes run in the order of the calls.

        A caller that is cancelled waits until the outcome is certain.

        Args:
            change: Changes the database. If it raises a ServeError, it must not have changed anything.

        Returns:
            The result of the change.

        Raises:
            ServeError: What the change raises.
            sqlite3.Error: The transaction failed, or this object is closed.
        """
        return await self._run(change, in_transaction=True)

    async def run_alone(self, work: Callable[[], ResultT]) -> ResultT:
        """Runs some work on the thread outside of a transaction, in the order of the calls. As `run` otherwise."""
        return await self._run(work, in_transaction=False)

    async def _run(self, work: Callable[[], ResultT], *, in_transaction: bool) -> ResultT:
        if self._closed:  # the outcome would never come
            raise sqlite3.ProgrammingError("the session store is closed")
        outcome: asyncio.Future[ResultT] = self._loop.create_future()
        self._waiting.put((work, outcome, in_transaction))
        try:
            return await asyncio.shield(outcome)
        except asyncio.CancelledError:
            await asyncio.wait([outcome])
            raise

    async def close(self) -> None:
        """Runs the waiting changes and ends the thread."""
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
            parts = itertools.groupby((each for each in group if each is not None), key=lambda work: work[2])
            for in_transaction, works in parts:
                outcomes = self._commit(list(works)) if in_transaction else list(map(_do, works))
                self._loop.call_soon_threadsafe(_deliver, outcomes)

    def _commit(self, group: list[Work]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            self._check()
            self._connection.execute("BEGIN IMMEDIATE")
            for change, outcome, _ in group:
                try:
                    outcomes.append((outcome, change(), None))
                except ServeError as error:
                    outcomes.append((outcome, None, error))
            self._connection.execute("COMMIT")
            self._check()
        except Exception as error:  # noqa: BLE001 - whatever failed, it is the outcome of all changes of the transaction
            with contextlib.suppress(sqlite3.Error):  # some failures have already rolled back
                self._connection.execute("ROLLBACK")
            return [(outcome, None, error) for _, outcome, _ in group]
        return outcomes


def _do(work: Work) -> Outcome:
    call, outcome, _ = work
    try:
        return outcome, call(), None
    except Exception as error:  # noqa: BLE001 - the caller gets it
        return outcome, None, error


def _deliver(outcomes: list[Outcome]) -> None:
    for outcome, result, error in outcomes:
        if outcome.done():
            continue
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)
