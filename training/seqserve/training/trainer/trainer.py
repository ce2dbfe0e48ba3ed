"""The training loop: one for every task.

A task's learner yields losses; the loop makes steps of them, validates, has the best network kept, and can stop after
any step and go on as if it had not. Nothing here knows what is learned.
"""

# pyright: reportUnknownMemberType=false
# torch's annotations leave the arguments of backward and step open.

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from seqserve.training.config import TrainingConfig
from seqserve.training.config.optimisation import Precision
from seqserve.training.data.share import WHOLE, Share
from seqserve.training.errors import CheckpointError, DivergenceError, InterruptedRunError
from seqserve.training.trainer.devices import device_of, mixed, random_state, restore_random_state
from seqserve.training.trainer.distributed import ALONE, Processes, Step
from seqserve.training.trainer.history import History
from seqserve.training.trainer.interruption import Interruption
from seqserve.training.trainer.optimisation import Average, Schedule, make_optimizer
from seqserve.training.trainer.progress import Stepped, Validated, Watcher

HALF_SCALE = 64.0
"""First factor of losses in fp16: they are sums over the tokens of a batch here, so far less than torch's 65536."""


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
        """Figures on the validation data; one of them decides which network is the best."""
        ...


@dataclass
class Standing:
    """Where a run stands.

    Attributes:
        epoch: the pass that it is in, from 1.
        batch: batches of this pass that are done.
        step: steps taken.
        seconds: time spent, over all sittings.
        best: figures of the best network; empty before the first validation.
        waited: validations since then.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict[str, float])
    waited: int = 0


@dataclass(frozen=True)
class _Sum:
    """What the batches of one step have come to, over all processes."""

    loss: float
    tokens: float
    batches: int
    stop: bool


class Trainer:
    """A run in progress: a network, what changes it, and where it stands."""

    def __init__(self, learner: Learner, config: TrainingConfig, processes: Processes = ALONE) -> None:
        """Move the network to the configured device and begin at step 0.

        Raises: ConfigError if the device is not there.
        """
        self.learner, self.config, self.processes = learner, config, processes
        self.device = device_of(config)
        network = learner.network.to(self.device)
        steps = -(-learner.steps_per_epoch // config.accumulate)
        self.steps = config.epochs * steps
        self.standing = Standing()
        self.history = History(self.steps)
        self._parameters = list(network.parameters())
        self._optimizer = make_optimizer(network, config)
        self._schedule = Schedule(config, steps)
        half = config.precision is Precision.FP16
        self._scaler = torch.amp.GradScaler(self.device.type, init_scale=HALF_SCALE, enabled=half)
        self._average = Average(network, config.average) if config.average else None
        self._forward = processes.joined(Step(network))

    def fit(
        self,
        *,
        keep: Callable[[dict[str, float]], None],
        save: Callable[[], None],
        watch: Watcher,
        asked: Interruption,
    ) -> None:
        """Train until the epochs or the patience are used up.

        Args:
            keep: called in the first process with the figures of a network that is the best so far.
            save: called in every process where the run may go on from later.
            watch: is told of every step and validation.
            asked: who asks the run to stop.
        Raises: DivergenceError if a loss, a gradient or a validation is not a number, what was kept stays;
            InterruptedRunError after ``save``, if the run was asked to stop.
        """
        config, standing = self.config, self.standing
        while standing.epoch <= config.epochs and (config.patience is None or standing.waited < config.patience):
            start_s, tokens_seen = time.monotonic(), 0.0
            spent_s = standing.seconds
            self.learner.network.train()
            losses = self.learner.losses(standing.epoch, standing.batch, self.processes.share)
            while done := self._backward(losses, asked):
                standing.batch += done.batches
                standing.step += 1
                norm, rate = self._update(done)
                tokens_seen += done.tokens
                passed_s = time.monotonic() - start_s
                standing.seconds = spent_s + passed_s
                event = Stepped(standing.step, standing.epoch, done.loss, norm, rate, tokens_seen / max(passed_s, 1e-9))
                self.history.stepped(event)
                watch.stepped(event)
                if done.stop or (config.checkpoint_every and standing.step % config.checkpoint_every == 0):
                    save()
                if done.stop:
                    raise InterruptedRunError(standing.step, asked.signal or signal.SIGTERM)
            last = standing.epoch == config.epochs
            if last or standing.epoch % config.validate_epochs == 0:
                self._validate(keep, watch)
            standing.epoch, standing.batch = standing.epoch + 1, 0
            save()

    def _backward(self, losses: Iterator[tuple[Tensor, int]], asked: Interruption) -> _Sum | None:
        """Gradients of the summed loss of the next batches; None at the end of the pass."""
        loss, tokens, batches = 0.0, 0, 0
        for _ in range(self.config.accumulate):
            with mixed(self.device, self.config.precision):
                given = self._forward(losses)
            if given is None:
                break
            if not batches:
                self._optimizer.zero_grad()
            mean, count = given
            total = mean * count
            self._scaler.scale(total).backward()
            loss, tokens, batches = loss + total.item(), tokens + count, batches + 1
        if not batches:
            return None
        loss, all_tokens, stop = self.processes.summed(loss, tokens, asked.signal is not None)
        return _Sum(loss / all_tokens, all_tokens, batches, bool(stop))

    def _update(self, done: _Sum) -> tuple[float, float]:
        """Take the step; gives the norm of the gradient before it was clipped, and the learning rate."""
        config, standing = self.config, self.standing
        rate = self._schedule.rate(standing.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimizer)
        for parameter in self._parameters:  # summed over tokens, averaged over processes: now the mean of all tokens
            if parameter.grad is not None:
                parameter.grad.mul_(self.processes.share.count / done.tokens)
        if config.clip_value is not None:
            nn.utils.clip_grad_value_(self._parameters, config.clip_value)
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip_norm or math.inf).item()
        # in fp16 a gradient may overflow now and then: the scaler passes over such a step
        if not math.isfinite(done.loss) or not (math.isfinite(norm) or self._scaler.is_enabled()):
            raise DivergenceError(_divergence(standing, done.loss, norm, config.best_metric))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update()
        return norm, rate

    def _validate(self, keep: Callable[[dict[str, float]], None], watch: Watcher) -> None:
        """Validate at the end of a pass, and keep the network if it is the best so far."""
        standing, name = self.standing, self.config.best_metric

        def judge() -> tuple[dict[str, float], bool]:
            metrics = {figure: float(value) for figure, value in self.learner.validate().items()}
            if not math.isfinite(metrics["loss"]):
                raise DivergenceError(f"the validation loss after step {standing.step} is {metrics['loss']}")
            best = not standing.best or better(name, metrics[name], standing.best[name])
            if best:
                keep(metrics)
            return metrics, best

        self.learner.network.eval()
        with self._average.applied() if self._average else nullcontext():
            metrics, best = self.processes.of_first(judge)
        if best:
            standing.best = metrics
        standing.waited = 0 if best else standing.waited + 1
        self._schedule.validated(better=best)
        event = Validated(standing.step, standing.epoch, metrics, best)
        self.history.validated(event)
        watch.validated(event)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on; every process has to take part."""
        here = {"learner": self.learner.state_dict(), "random": random_state(self.device)}
        return {
            "standing": asdict(self.standing),
            "history": self.history.state_dict(),
            "network": self.learner.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "processes": self.processes.gathered(here),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave.

        Raises: CheckpointError if there were more or fewer processes.
        """
        share, each = self.processes.share, state["processes"]
        if len(each) != share.count:
            raise CheckpointError(f"the run was saved by {len(each)} processes and cannot go on with {share.count}")
        self.standing = Standing(**state["standing"])
        self.history.load_state_dict(state["history"])
        self.learner.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average:
            self._average.load_state_dict(state["average"])
        self.learner.load_state_dict(each[share.number]["learner"])
        restore_random_state(self.device, each[share.number]["random"])


def better(name: str, new: float, old: float) -> bool:
    """Whether a figure has become better: losses and their like fall, all others rise."""
    falls = name in ("loss", "perplexity") or name.startswith("bits_")
    return new < old if falls else new > old


def _divergence(standing: Standing, loss: float, norm: float, deciding: str) -> str:
    kept = (
        f"the best checkpoint so far is kept (validation {deciding} {standing.best[deciding]:.4f})"
        if standing.best
        else "no checkpoint was kept, for no epoch had ended"
    )
    return (
        f"training diverged at step {standing.step}, epoch {standing.epoch}: loss {loss}, gradient norm {norm}; {kept}."
        " A lower learning rate or clip norm may help"
    )
