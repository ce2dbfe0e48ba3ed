"""A time limit for waits that a task repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any


class IdleTimeout:
    """Ends a wait that takes too long.

    Works like asyncio.timeout around each wait, whose timers cost as much as all else done for a message. Here a wait
    costs a look at the clock: the timer is restarted only when it has run out.

    >>> with idle_timeout:  # doctest: +SKIP
    ...     message = await anext(messages)  # TimeoutError when none comes
    """

    def __init__(self, limit_s: float, on_expiry: Callable[[asyncio.Task[Any]], None] | None = None) -> None:
        """Starts the timer, in the task that will wait.

        Args:
            limit_s: Longest wait, in seconds.
            on_expiry: Called with the task when a wait takes longer. None: the task is cancelled, and the wait raises
                TimeoutError.

        Raises:
            RuntimeError: There is no current task.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can wait")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._on_expiry = on_expiry
        self._since_s: float | None = None  # when the current wait began
        self._over = False
        self._timer = self._loop.call_later(limit_s, self._look)

    def close(self) -> None:
        """Cancels the timer."""
        self._timer.cancel()

    def __enter__(self) -> None:
        self._since_s = self._loop.time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._since_s = None
        if self._over:
            self._over = False
            if self._task.uncancel() == 0 and kind is asyncio.CancelledError:  # else somebody else cancelled it too
                raise TimeoutError from error

    def _look(self) -> None:
        waited_s = 0.0 if self._since_s is None else self._loop.time() - self._since_s
        if waited_s < self._limit_s:
            self._timer = self._loop.call_later(self._limit_s - waited_s, self._look)
        elif self._on_expiry is not None:
            self._on_expiry(self._task)
        else:
            self._over = True
            self._task.cancel()
