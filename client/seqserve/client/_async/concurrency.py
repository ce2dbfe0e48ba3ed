"""Events, threads and concurrent calls for asyncio; the blocking client has a module with the same names."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import ParamSpec, TypeAlias, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
ItemT = TypeVar("ItemT")

AsyncEvent: TypeAlias = asyncio.Event
"""An event to wait for."""

AsyncSource: TypeAlias = AsyncIterable[ItemT] | Iterable[ItemT]
"""Where items come from. A plain iterable is read in the event loop, so it must not block."""


async def run_in_thread(
    function: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Calls a function that blocks, away from the event loop."""
    return await asyncio.to_thread(function, *arguments, **options)


async def each(source: AsyncSource[ItemT]) -> AsyncGenerator[ItemT, None]:
    """The items of a source, asynchronous or not."""
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


async def map_in_order(
    function: Callable[[ItemT], Awaitable[Result]], items: AsyncIterator[ItemT], concurrency: int
) -> AsyncGenerator[Result, None]:
    """The results of a function for each item, in order, with some calls at the same time.

    An item is taken only when there is room for its call, and a call makes room when its result has been taken. If the
    iterator of the items fails, the results of the items before are given first.

    Args:
        function: Called once for each item.
        items: The items.
        concurrency: Maximum number of calls that run or have results that were not taken.
    """
    calls: deque[asyncio.Task[Result]] = deque()
    failure: Exception | None = None
    ended = False
    try:
        while calls or not ended:
            while not ended and len(calls) < concurrency and not (calls and calls[0].done()):
                try:
                    calls.append(asyncio.create_task(_call(function, await anext(items))))
                except StopAsyncIteration:
                    ended = True
                except Exception as error:  # noqa: BLE001 - raised below, after the results of the items before
                    ended, failure = True, error
            if calls:
                yield await calls[0]
                calls.popleft()
        if failure is not None:
            raise failure
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def _call(function: Callable[[ItemT], Awaitable[Result]], item: ItemT) -> Result:
    return await function(item)
