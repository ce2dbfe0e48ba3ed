"""The progress bar of a training run: loss, tokens a second, time left. Nothing is shown where nobody looks."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn


class Watcher(Protocol):
    """Is told what a training run does."""

    def step(self, *, loss: float, tokens_per_s: float) -> None:
        """One step was taken; the loss is smoothed, in nats a token."""
        ...

    def validated(self, *, epoch: int, metrics: dict[str, float], best: bool) -> None:
        """The model was validated at the end of an epoch (from 1)."""
        ...


class Silent:
    """Shows nothing."""

    def step(self, *, loss: float, tokens_per_s: float) -> None:
        """Ignore a step."""

    def validated(self, *, epoch: int, metrics: dict[str, float], best: bool) -> None:
        """Ignore a validation."""


class Bar:
    """A bar on the terminal, and a line for every validation."""

    def __init__(self, progress: Progress, steps: int) -> None:
        """Show ``steps`` steps on ``progress``, which is running."""
        self._progress = progress
        self._task = progress.add_task("training", total=steps, loss="-", speed="-")

    def step(self, *, loss: float, tokens_per_s: float) -> None:
        """Advance the bar."""
        self._progress.update(self._task, advance=1, loss=f"{loss:.4f}", speed=f"{tokens_per_s:,.0f}")

    def validated(self, *, epoch: int, metrics: dict[str, float], best: bool) -> None:
        """Print the figures above the bar."""
        figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        line = f"epoch {epoch}: validation {figures}{'  (best)' if best else ''}"
        self._progress.console.print(line, soft_wrap=True)


@contextmanager
def bar(console: Console, steps: int) -> Generator[Watcher]:
    """A bar on ``console`` for the time of a ``with`` block."""
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[speed]} tokens/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bar(progress, steps)
