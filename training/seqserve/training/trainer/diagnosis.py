"""How far a network learns back in time: the gradient of the loss at one step for the states of the steps before it.

If the norm drops to zero within a few steps, gradients vanish and longer dependencies can't be learned; if it
grows with the distance, they explode (Pascanu, Mikolov and Bengio 2013, section 2).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# matplotlib and torch leave some of their arguments open.

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from seqserve.training.errors import CheckpointError
from seqserve.training.networks import LanguageModel
from seqserve.training.trainer.progress import StepEvent, ValidationEvent

Norms: TypeAlias = dict[str, list[float]]
"""For each tensor of the state the norm of the gradient by distance: one step back first."""

LOG_FILE = "gradients.jsonl"
PLOT_FILE = "gradients.png"


@runtime_checkable
class Diagnosable(Protocol):
    """A learner whose gradients can be followed back in time."""

    def gradient_norms(self) -> Norms:
        """The norms for some of the validation data."""
        ...


def gradient_norms(network: LanguageModel, inputs_TB: Tensor, targets_B: Tensor) -> Norms:
    """Norms of dL/dh_t for every layer and step, L being the loss after the last step T; the mean over the rows.

    Args:
        network: in evaluation mode, so that nothing is dropped.
        inputs_TB: int (T, B), on the network's device; T is 2 or more.
        targets_B: int64 (B), what follows the last input.
    Returns: for each state T - 1 norms, that of the state which the last step began from first.
    """
    state = network.stack.initial_state(inputs_TB.shape[1])
    states = list[Tensor]()
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):  # cuDNN has no gradients in evaluation mode
        for tokens_B in inputs_TB[:-1]:
            _, state = network(tokens_B[None], None, state)
            states.extend(state)
        logits_TBV, _ = network(inputs_TB[-1:], None, state)
        loss = nn.functional.cross_entropy(logits_TBV[0], targets_B, reduction="sum")  # each row's gradient is its own
        gradients = torch.autograd.grad(loss, states)
    names = network.stack.state_names
    norms = [
        torch.linalg.vector_norm(gradient, dim=(0, 2)).mean().item()
        for gradient in gradients  # (D, B, H)
    ]
    return {name: norms[index :: len(names)][::-1] for index, name in enumerate(names)}


class GradientMonitor:
    """Follows the gradients at every validation: a line in a log, a word to the person, and a plot."""

    def __init__(self, learner: Diagnosable, folder: Path, notify: Callable[[str], None]) -> None:
        """Writes the log and the plot to ``folder``, replacing previous ones."""
        self._learner, self._folder, self._notify = learner, folder, notify
        self._course: list[tuple[int, Norms]] = []

    def on_step(self, event: StepEvent) -> None:
        """Wait for the validation."""

    def on_validation(self, event: ValidationEvent) -> None:
        """Measure, and write what has been measured so far. Raises: CheckpointError if it cannot be written."""
        norms = self._learner.gradient_norms()
        self._course.append((event.step, norms))
        self._notify(
            f"gradients after step {event.step}: "
            + "; ".join(summary(name, of_state) for name, of_state in norms.items())
        )
        lines = [json.dumps({"step": step, "norms": norms_of_state}) for step, norms_of_state in self._course]
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / LOG_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")
            plot(self._course).savefig(self._folder / PLOT_FILE, dpi=120)
        except OSError as error:
            reason = error.strerror or error
            raise CheckpointError(f"{self._folder}: the gradients cannot be written: {reason}") from error


def summary(name: str, norms: list[float]) -> str:
    """The norms of one state at its nearest, middle and furthest step."""
    distances = sorted({1, (len(norms) + 1) // 2, len(norms)})
    return f"{name} " + ", ".join(f"{norms[distance - 1]:.1e} at distance {distance}" for distance in distances)


def plot(course: list[tuple[int, Norms]]) -> Figure:
    """The norms over the distance, a panel for each state, the first measurement pale and the last dark."""
    names = list(course[0][1])
    figure = Figure(figsize=(4 * len(names), 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True):
        for number, (step, norms) in enumerate(course, start=1):
            label = f"step {step}" if number in (1, len(course)) else None
            axes.plot(range(1, len(norms[name]) + 1), norms[name], color="C0", alpha=number / len(course), label=label)
        axes.set(title=f"gradient for {name}", xlabel="steps back in time", ylabel="norm")
        if any(any(norms[name]) for _, norms in course):  # a logarithm needs something above 0
            axes.set_yscale("log")
        axes.legend()
        axes.grid(alpha=0.3)
    return figure
