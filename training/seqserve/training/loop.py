"""The training loop: one for every task.

A task's learner yields losses; the loop takes a step for each, validates after every epoch, and has the best network
kept. Nothing here knows what is learned.
"""

# pyright: reportUnknownMemberType=false
# torch's annotations leave the arguments of backward and step open.

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqserve.training.config import TrainingConfig
from seqserve.training.distributed import WHOLE, Share
from seqserve.training.errors import DivergenceError
from seqserve.training.progress import Watcher

SMOOTHING = 0.98
"""Part of the shown loss that stays from step to step."""


class Learner(Protocol):
    """A network, the data that it learns from, and how."""

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Losses that one pass over the training data gives, or about so many where that is left to chance."""
        ...

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        """One pass: for every batch the mean loss and its tokens; a step is taken before the next loss is asked for.

        What it gives depends on the weights, torch's random numbers, ``state_dict`` and the arguments alone, so that
        a run can stop after any batch and go on as if it had not.

        Args:
            epoch: number of the pass, from 1.
            first: the batch to begin with, from 0; those before it are passed over without a loss.
            share: the rows to take of every batch; ``no_loss`` and 0 tokens stand for none.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """What the next batch needs of those before it, besides the network: tensors and plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on the validation data; ``loss`` among them decides which network is the best."""
        ...


@dataclass(frozen=True)
class Fit:
    """How a run went: steps taken, seconds, and the figures of the best network."""

    steps: int
    seconds: float
    best: dict[str, float]


def fit(learner: Learner, config: TrainingConfig, keep: Callable[[dict[str, float]], None], watch: Watcher) -> Fit:
    """Train for ``config.epochs`` and call ``keep`` whenever the validation loss is lower than ever.

    Raises: DivergenceError if a loss or a gradient is not a number; what was kept stays.
    """
    parameters = list(learner.network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    total = config.epochs * learner.steps_per_epoch
    step, shown, best = 0, math.nan, dict[str, float]()
    start_s = time.monotonic()
    for epoch in range(1, config.epochs + 1):
        learner.network.train()
        epoch_start_s, tokens_seen = time.monotonic(), 0
        for loss, tokens in learner.losses(epoch):
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate(step, total, config.warmup)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch left it without annotations
            norm = nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            value = loss.item()
            if not math.isfinite(value) or not math.isfinite(norm.item()):
                raise DivergenceError(_divergence(step, epoch, value, norm.item(), best))
            optimizer.step()
            tokens_seen += tokens
            shown = value if math.isnan(shown) else SMOOTHING * shown + (1 - SMOOTHING) * value
            watch.step(loss=shown, tokens_per_s=tokens_seen / max(time.monotonic() - epoch_start_s, 1e-9))
        learner.network.eval()
        metrics = learner.validate()
        is_best = not best or metrics["loss"] < best["loss"]
        if is_best:
            best = metrics
            keep(metrics)
        watch.validated(epoch=epoch, metrics=metrics, best=is_best)
    return Fit(step, time.monotonic() - start_s, best)


def rate(step: int, total: int, warmup: float) -> float:
    """Learning rate of a step (from 1) as a part of the highest: linear rise, then half a cosine down to 0.

    The cosine is that of Loshchilov and Hutter 2017 (SGDR), without restarts.
    """
    done, rise = step / total, max(warmup, 1 / total)
    if done <= rise:
        return done / rise
    return 0.5 * (1 + math.cos(math.pi * (done - rise) / (1 - rise)))


def _divergence(step: int, epoch: int, loss: float, norm: float, best: dict[str, float]) -> str:
    kept = (
        f"the best checkpoint so far is kept (validation loss {best['loss']:.4f})"
        if best
        else "no checkpoint was kept, for no epoch had ended"
    )
    return (
        f"training diverged at step {step}, epoch {epoch}: loss {loss}, gradient norm {norm}; {kept}."
        " A lower learning rate or clip norm may help"
    )
