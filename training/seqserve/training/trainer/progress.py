"""Progress of a training run: events, watchers, and a progress bar."""

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

SMOOTHING = 0.98
"""Part of the shown loss that stays from step to step."""


@dataclass(frozen=True)
class StepEvent:
    """A step was taken.

    Attributes:
        step: its number, from 1.
        epoch: its pass, from 1.
        loss: mean loss of its batches, in nats a token.
        gradient_norm: of all gradients together, before it was clipped.
        learning_rate: of this step.
        tokens_per_s: since the pass began.
    """

    step: int
    epoch: int
    loss: float
    gradient_norm: float
    learning_rate: float
    tokens_per_s: float


@dataclass(frozen=True)
class ValidationEvent:
    """The network was validated.

    Attributes:
        step: steps taken so far.
        epoch: the pass that ended, from 1.
        metrics: figures by name.
        best: whether it is the best so far.
    """

    step: int
    epoch: int
    metrics: dict[str, float]
    best: bool


class ProgressListener(Protocol):
    """Receives the events of a training run."""

    def on_step(self, event: StepEvent) -> None:
        """Hear of a step."""
        ...

    def on_validation(self, event: ValidationEvent) -> None:
        """Hear of a validation."""
        ...


class ProgressListeners:
    """Several watchers as one; none of them is silence."""

    def __init__(self, watchers: Sequence[ProgressListener] = ()) -> None:
        self._watchers = watchers

    def on_step(self, event: StepEvent) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.on_step(event)

    def on_validation(self, event: ValidationEvent) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.on_validation(event)


class Bar:
    """A bar on the terminal, and a line for every validation."""

    def __init__(self, progress: Progress, steps: int) -> None:
        """Show ``steps`` steps on ``progress``, which is running."""
        self._progress = progress
        self._task = progress.add_task("training", total=steps, loss="-", speed="-", metric="")
        self._loss = math.nan

    def on_step(self, event: StepEvent) -> None:
        """Advance the bar."""
        kept = self._loss if math.isfinite(self._loss) else event.loss
        self._loss = SMOOTHING * kept + (1 - SMOOTHING) * event.loss
        speed = f"{event.tokens_per_s:,.0f}"
        self._progress.update(self._task, completed=event.step, loss=f"{self._loss:.4f}", speed=speed)

    def on_validation(self, event: ValidationEvent) -> None:
        """Print the figures above the bar, and keep them in it."""
        figures = "  ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
        line = f"epoch {event.epoch}: validation {figures}{'  (best)' if event.best else ''}"
        self._progress.console.print(line, soft_wrap=True)
        self._progress.update(self._task, metric=figures.split("  ")[0])


@contextmanager
def bar(console: Console, steps: int) -> Generator[ProgressListener]:
    """A bar on ``console`` for the time of a ``with`` block."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[metric]}"),
        TextColumn("{task.fields[speed]} tokens/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        yield Bar(progress, steps)
