"""Signals that ask a run to stop: the first lets it end its step and save, a second one ends it at once."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether, and by which signal, the run was asked to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the next of its kind does what it does everywhere else."""
        del frame
        self.signal = signal.Signals(number)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def interruption() -> Generator[Interruption]:
    """Listen for signals in a ``with`` block of the main thread; what they did before is put back at its end."""
    stop_request = Interruption()
    before = {each: signal.signal(each, stop_request.ask) for each in SIGNALS}
    try:
        yield stop_request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
