"""How long a task has waited for what comes again and again."""

from __future__ import annotations

import asyncio
from types import TracebackType


class IdleTimeout:
    """Ends a wait that takes too long.

    As asyncio.timeout around each wait, whose timers cost as much as all else that is done for a message. Here a wait
    costs a look at the clock: the timer is set anew when it has run out, not before.

    >>> with idle_timeout:  # doctest: +SKIP
    ...     message = await anext(messages)  # TimeoutError when none comes
    """

    def __init__(self, limit_s: float) -> None:
        """Begin, in the task that will wait. Raises: RuntimeError outside a task."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can wait")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._since_s: float | None = None  # when the wait began that is not over
        self._over = False
        self._timer = self._loop.call_later(limit_s, self._look)

    def close(self) -> None:
        """Let the timer go."""
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
        else:
            self._over = True
            self._task.cancel()
