"""Events, threads and concurrent calls for blocking code; the asyncio client has a module with the same names."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeAlias, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
ItemT = TypeVar("ItemT")

Event: TypeAlias = threading.Event
"""An event to wait for."""

Source: TypeAlias = Iterable[ItemT]
"""Where items come from. A stream reads it in a thread of gRPC, so it may block."""


def run_in_thread(
    function: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Calls a function that blocks; the caller waits anyway."""
    return function(*arguments, **options)


def each(source: Source[ItemT]) -> Generator[ItemT, None, None]:
    """The items of a source."""
    yield from source


def map_in_order(
    function: Callable[[ItemT], Result], items: Iterator[ItemT], concurrency: int
) -> Generator[Result, None, None]:
    """The results of a function for each item, in order, with some calls at the same time.

    An item is taken only when there is room for its call, and a call makes room when its result has been taken. If the
    iterator of the items fails, the results of the items before are given first.

    Args:
        function: Called once for each item, in a thread.
        items: The items, taken in the thread of the caller.
        concurrency: Maximum number of calls that run or have results that were not taken.
    """
    calls: deque[Future[Result]] = deque()
    failure: Exception | None = None
    ended = False
    executor = ThreadPoolExecutor(concurrency, thread_name_prefix="seqserve-bulk")
    try:
        while calls or not ended:
            while not ended and len(calls) < concurrency and not (calls and calls[0].done()):
                try:
                    calls.append(executor.submit(function, next(items)))
                except StopIteration:
                    ended = True
                except Exception as error:  # noqa: BLE001 - raised below, after the results of the items before
                    ended, failure = True, error
            if calls:
                yield calls[0].result()
                calls.popleft()
        if failure is not None:
            raise failure
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
