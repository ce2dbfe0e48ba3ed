"""What a run has been like: the points of its learning curves, few enough to be kept in a checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from seqserve.training.trainer.progress import StepEvent, ValidationEvent

POINTS_MAX = 500
"""Points of the curves of the training; each is a mean over the steps since the one before."""


class History:
    """Points of the training, and every validation.

    Attributes:
        points: step, loss, gradient_norm (the greatest), learning_rate, tokens_per_s.
        validations: step, epoch, metrics, best.
    """

    def __init__(self, steps: int) -> None:
        """For a run of ``steps`` steps."""
        self._interval = -(-steps // POINTS_MAX)
        self._loss, self._norm, self._steps = 0.0, 0.0, 0
        self.points: list[dict[str, float]] = []
        self.validations: list[dict[str, Any]] = []

    def on_step(self, event: StepEvent) -> None:
        """Adds a step to the current point."""
        self._loss, self._norm = self._loss + event.loss, max(self._norm, event.gradient_norm)
        self._steps += 1
        if self._steps == self._interval:
            self.points.append(
                {
                    "step": event.step,
                    "loss": self._loss / self._steps,
                    "gradient_norm": self._norm,
                    "learning_rate": event.learning_rate,
                    "tokens_per_s": event.tokens_per_s,
                }
            )
            self._loss, self._norm, self._steps = 0.0, 0.0, 0

    def on_validation(self, event: ValidationEvent) -> None:
        """Add a validation."""
        self.validations.append(asdict(event))

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        unfinished = [self._loss, self._norm, self._steps]
        return {"unfinished": unfinished, "points": self.points, "validations": self.validations}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self._loss, self._norm, self._steps = state["unfinished"]
        self.points, self.validations = list(state["points"]), list(state["validations"])
