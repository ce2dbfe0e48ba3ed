"""Waits that come again and again, on a clock that the test turns."""

import asyncio
from collections.abc import Iterator

import pytest

from seqserve.server.api.idle_timeout import IdleTimeout


class TurnedLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still until it is turned."""

    now_s = 0.0

    def time(self) -> float:
        return self.now_s

    async def turn(self, seconds: float) -> None:
        """Advances the clock, and runs the callbacks that are due."""
        self.now_s += seconds
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def loop() -> Iterator[TurnedLoop]:
    with asyncio.Runner(loop_factory=TurnedLoop) as runner:
        found = runner.get_loop()
        assert isinstance(found, TurnedLoop)
        yield found


class Waiter:
    """A task that waits for one thing after another, at most 10 s each."""

    def __init__(self) -> None:
        self.reported = asyncio.Event()
        self.received = 0
        self.task = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        idle_timeout = IdleTimeout(10.0)
        try:
            while True:
                with idle_timeout:
                    await self.reported.wait()
                self.reported.clear()
                self.received += 1
        finally:
            idle_timeout.close()


def test_a_wait_is_over_when_its_own_time_is(loop: TurnedLoop) -> None:
    async def scenario() -> None:
        waiter = Waiter()
        for _ in range(7):  # 63 s in all, none of them too long
            await loop.turn(9.0)
            waiter.reported.set()
        await loop.turn(0.0)
        assert waiter.received == 7
        await loop.turn(9.9)
        assert not waiter.task.done()
        await loop.turn(0.2)
        with pytest.raises(TimeoutError):
            await waiter.task

    loop.run_until_complete(scenario())


def test_time_between_waits_does_not_count(loop: TurnedLoop) -> None:
    async def scenario() -> None:
        idle_timeout = IdleTimeout(10.0)
        for _ in range(5):
            await loop.turn(30.0)
            with idle_timeout:
                await loop.turn(1.0)
        idle_timeout.close()

    loop.run_until_complete(scenario())


@pytest.mark.parametrize("late", [False, True])
def test_a_cancel_from_elsewhere_stays_one(loop: TurnedLoop, late: bool) -> None:
    """Even in the moment in which the wait has taken too long."""

    async def scenario() -> None:
        waiter = Waiter()
        await loop.turn(1.0)
        if late:
            loop.call_later(10.0, waiter.task.cancel)
            await loop.turn(20.0)
        else:
            waiter.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter.task

    loop.run_until_complete(scenario())


def test_only_a_task_can_wait(loop: TurnedLoop) -> None:
    with pytest.raises(RuntimeError):
        IdleTimeout(1.0)
