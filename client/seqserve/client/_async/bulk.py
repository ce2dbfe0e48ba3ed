"""Many texts, as requests of several texts, some at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from seqserve.client._async.calls import AsyncCalls
from seqserve.client._async.concurrency import AsyncEvent, AsyncSource, each, map_in_order
from seqserve.client.core.bulk import ChunkBuilder, blamed
from seqserve.client.errors import SeqserveError

ItemT = TypeVar("ItemT")
Result = TypeVar("Result")


async def answer_many(
    calls: AsyncCalls,
    call: Callable[[list[ItemT]], Awaitable[list[Result]]],
    source: AsyncSource[ItemT],
    *,
    chunk_size: int,
    concurrency: int,
) -> AsyncIterator[Result | Exception]:
    """The answers to all items of a source, in order; in place of an answer the exception, where an item failed.

    The source is read as fast as the answers are taken: at most ``concurrency`` chunks are in progress.

    Args:
        calls: The client's calls.
        call: Makes one request.
        source: The items.
        chunk_size: Maximum number of items in a request.
        concurrency: Maximum number of requests at the same time.
    """

    async def outcomes(items: list[ItemT]) -> list[Result | Exception]:
        return await _outcomes(calls, call, items)

    async with (
        contextlib.aclosing(_chunks(source, chunk_size)) as chunks,
        contextlib.aclosing(map_in_order(outcomes, chunks, concurrency)) as results,
    ):
        async for answers in results:
            for answer in answers:
                yield answer


async def _chunks(source: AsyncSource[ItemT], chunk_size: int) -> AsyncGenerator[list[ItemT], None]:
    builder = ChunkBuilder(chunk_size)
    chunk: list[ItemT] = []
    try:
        async with contextlib.aclosing(each(source)) as items:
            async for item in items:
                chunk.append(item)
                if builder.completes(item, len(chunk)):
                    yield chunk
                    chunk = []
    except Exception:
        if chunk:  # the source failed: first the items before
            yield chunk
        raise
    if chunk:
        yield chunk


async def _outcomes(
    calls: AsyncCalls, call: Callable[[list[ItemT]], Awaitable[list[Result]]], items: list[ItemT]
) -> list[Result | Exception]:
    """The answers to the items of one request; the items that make it fail are left out and the rest is sent again."""
    if not items:
        return []
    policy = calls.retry_policy(waits_for_room=True)
    while True:
        try:
            return [*await call(items)]
        except (SeqserveError, TypeError, ValueError) as error:
            failure = error
        retryable = isinstance(failure, SeqserveError) and calls.transport.worth_retrying
        pause_s = policy.pause_s(failure) if retryable and isinstance(failure, SeqserveError) else None
        if pause_s is None:
            break
        await calls.transport.pause(pause_s, AsyncEvent())
    failed = blamed(failure, len(items))
    if failed is None:
        middle = len(items) // 2
        first = await _outcomes(calls, call, items[:middle])
        return first + await _outcomes(calls, call, items[middle:])
    rest = [item for index, item in enumerate(items) if index not in failed]
    others = await _outcomes(calls, call, rest)
    answers = iter(others)
    return [failure if index in failed else next(answers) for index in range(len(items))]
