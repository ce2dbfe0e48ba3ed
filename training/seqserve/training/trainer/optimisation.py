"""How gradients become new weights: the rule, the rate of every step, and a moving average of what comes out."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from seqserve.training.config.optimisation import OptimisationConfig, OptimizerKind, ScheduleKind


def make_optimizer(network: nn.Module, config: OptimisationConfig) -> Optimizer:
    """The configured rule over all weights; decay for matrices that are not embeddings, and for nothing else.

    A bias has no scale to keep small, and the row of a rare token would shrink at every step that it does not occur in.
    """
    embedded = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    decayed, free = list[nn.Parameter](), list[nn.Parameter]()
    for parameter in network.parameters():
        (decayed if parameter.dim() > 1 and id(parameter) not in embedded else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    rate = config.learning_rate
    match config.optimizer:
        case OptimizerKind.ADAMW:
            return AdamW(groups, lr=rate)
        case OptimizerKind.ADAM:
            return Adam(groups, lr=rate)
        case OptimizerKind.SGD:
            return SGD(groups, lr=rate, momentum=config.momentum, nesterov=config.nesterov)
        case OptimizerKind.RMSPROP:
            return RMSprop(groups, lr=rate, momentum=config.momentum)


class Schedule:
    """The learning rate of every step: a linear rise, then as configured."""

    def __init__(self, config: OptimisationConfig, steps_per_epoch: int) -> None:
        self._config = config
        self._steps_per_epoch = steps_per_epoch
        self._plateau = 1.0
        self._waited = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 1)."""
        config, total = self._config, self._config.epochs * self._steps_per_epoch
        done, rise = min(step / total, 1.0), max(config.warmup, 1 / total)
        if done <= rise:
            return config.learning_rate * done / rise
        rest = (done - rise) / (1 - rise)
        match config.schedule:
            case ScheduleKind.COSINE:  # Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts
                factor = 0.5 * (1 + math.cos(math.pi * rest))
            case ScheduleKind.LINEAR:
                factor = 1 - rest
            case ScheduleKind.CONSTANT:
                factor = 1.0
            case ScheduleKind.STEP:
                factor = config.decay_factor ** ((step - 1) // (self._steps_per_epoch * config.decay_epochs))
            case ScheduleKind.PLATEAU:
                factor = self._plateau
        return config.learning_rate * factor

    def on_validation(self, *, better: bool) -> None:
        """Take note of a validation, which a plateau is made of."""
        self._waited = 0 if better else self._waited + self._config.validate_epochs
        if self._waited >= self._config.decay_epochs:
            self._plateau, self._waited = self._plateau * self._config.decay_factor, 0

    def state_dict(self) -> dict[str, Any]:
        """What validations have made of it."""
        return {"plateau": self._plateau, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self._plateau, self._waited = state["plateau"], state["waited"]


class Average:
    """A moving average of weights: Polyak and Juditsky 1992, with exponential weights.

    The decay of its n-th step is min(decay, (1 + n) / (10 + n)), so that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._weights = list(network.parameters())
        self._means = [weight.detach().clone() for weight in self._weights]
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more step in."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        for mean, weight in zip(self._means, self._weights, strict=True):
            mean.lerp_(weight, 1 - decay)

    @contextmanager
    def applied(self) -> Generator[None]:
        """The network has the average for weights inside a ``with`` block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for mean, weight in zip(self._means, self._weights, strict=True):
            held = weight.clone()
            weight.copy_(mean)
            mean.copy_(held)

    def state_dict(self) -> dict[str, Any]:
        """The average and the steps in it."""
        return {"means": self._means, "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self._steps = state["steps"]
        means: list[Tensor] = state["means"]
        for mean, saved in zip(self._means, means, strict=True):
            mean.copy_(saved)
