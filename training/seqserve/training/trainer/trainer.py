"""The training loop: one for every task.

The learner of a task yields losses. The loop makes steps of them, validates, saves the best network, and can stop after
any step and resume with identical results. It's independent of the task.
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
from seqserve.training.trainer.progress import ProgressListener, StepEvent, ValidationEvent

HALF_SCALE = 64.0
"""First factor of losses in fp16: they are sums over the tokens of a batch here, so far less than torch's 65536."""


class Learner(Protocol):
    """A network, the data that it learns from, and how."""

    @property
    def network(self) -> nn.Module:
        """The network to train."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Number of losses in one pass over the training data; approximate if it's random."""
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
class TrainerState:
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
        self.state = TrainerState()
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
        save_best: Callable[[dict[str, float]], None],
        save_state: Callable[[], None],
        listener: ProgressListener,
        stop_request: Interruption,
    ) -> None:
        """Train until the epochs or the patience are used up.

        Args:
            save_best: called in the first process with the metrics of the best network so far.
            save_state: called in every process where the run may go on from later.
            listener: receives every step and validation.
            stop_request: who asks the run to stop.
        Raises: DivergenceError if a loss, a gradient or a validation is not a number, what was kept stays;
            InterruptedRunError after ``save_state``, if the run was asked to stop.
        """
        config, state = self.config, self.state
        while state.epoch <= config.epochs and (config.patience is None or state.waited < config.patience):
            start_s, tokens_seen = time.monotonic(), 0.0
            spent_s = state.seconds
            self.learner.network.train()
            losses = self.learner.losses(state.epoch, state.batch, self.processes.share)
            while batches_sum := self._backward(losses, stop_request):
                state.batch += batches_sum.batches
                state.step += 1
                norm, rate = self._update(batches_sum)
                tokens_seen += batches_sum.tokens
                passed_s = time.monotonic() - start_s
                state.seconds = spent_s + passed_s
                event = StepEvent(
                    state.step, state.epoch, batches_sum.loss, norm, rate, tokens_seen / max(passed_s, 1e-9)
                )
                self.history.on_step(event)
                listener.on_step(event)
                if batches_sum.stop or (config.checkpoint_every and state.step % config.checkpoint_every == 0):
                    save_state()
                if batches_sum.stop:
                    raise InterruptedRunError(state.step, stop_request.signal or signal.SIGTERM)
            last = state.epoch == config.epochs
            if last or state.epoch % config.validate_epochs == 0:
                self._validate(save_best, listener)
            state.epoch, state.batch = state.epoch + 1, 0
            save_state()

    def _backward(self, losses: Iterator[tuple[Tensor, int]], stop_request: Interruption) -> _Sum | None:
        """Gradients of the summed loss of the next batches; None at the end of the pass."""
        loss, tokens, batches = 0.0, 0, 0
        for _ in range(self.config.accumulate):
            with mixed(self.device, self.config.precision):
                result = self._forward(losses)
            if result is None:
                break
            if not batches:
                self._optimizer.zero_grad()
            mean, count = result
            total = mean * count
            self._scaler.scale(total).backward()
            loss, tokens, batches = loss + total.item(), tokens + count, batches + 1
        if not batches:
            return None
        loss, all_tokens, stop = self.processes.summed(loss, tokens, stop_request.signal is not None)
        return _Sum(loss / all_tokens, all_tokens, batches, bool(stop))

    def _update(self, batches_sum: _Sum) -> tuple[float, float]:
        """Take the step; gives the norm of the gradient before it was clipped, and the learning rate."""
        config, state = self.config, self.state
        rate = self._schedule.rate(state.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.unscale_(self._optimizer)
        for parameter in self._parameters:  # summed over tokens, averaged over processes: now the mean of all tokens
            if parameter.grad is not None:
                parameter.grad.mul_(self.processes.share.count / batches_sum.tokens)
        if config.clip_value is not None:
            nn.utils.clip_grad_value_(self._parameters, config.clip_value)
        norm = nn.utils.clip_grad_norm_(self._parameters, config.clip_norm or math.inf).item()
        # in fp16 a gradient may overflow now and then: the scaler passes over such a step
        if not math.isfinite(batches_sum.loss) or not (math.isfinite(norm) or self._scaler.is_enabled()):
            raise DivergenceError(_divergence(state, batches_sum.loss, norm, config.best_metric))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update()
        return norm, rate

    def _validate(self, save_best: Callable[[dict[str, float]], None], listener: ProgressListener) -> None:
        """Validate at the end of a pass, and keep the network if it is the best so far."""
        state, name = self.state, self.config.best_metric

        def evaluate() -> tuple[dict[str, float], bool]:
            metrics = {figure: float(value) for figure, value in self.learner.validate().items()}
            if not math.isfinite(metrics["loss"]):
                raise DivergenceError(f"the validation loss after step {state.step} is {metrics['loss']}")
            best = not state.best or better(name, metrics[name], state.best[name])
            if best:
                save_best(metrics)
            return metrics, best

        self.learner.network.eval()
        with self._average.applied() if self._average else nullcontext():
            metrics, best = self.processes.run_on_first(evaluate)
        if best:
            state.best = metrics
        state.waited = 0 if best else state.waited + 1
        self._schedule.on_validation(better=best)
        event = ValidationEvent(state.step, state.epoch, metrics, best)
        self.history.on_validation(event)
        listener.on_validation(event)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on; every process has to take part."""
        own = {"learner": self.learner.state_dict(), "random": random_state(self.device)}
        return {
            "standing": asdict(self.state),
            "history": self.history.state_dict(),
            "network": self.learner.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "processes": self.processes.gathered(own),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave.

        Raises: CheckpointError if there were more or fewer processes.
        """
        share, each = self.processes.share, state["processes"]
        if len(each) != share.count:
            raise CheckpointError(f"the run was saved by {len(each)} processes and cannot go on with {share.count}")
        self.state = TrainerState(**state["standing"])
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


def _divergence(state: TrainerState, loss: float, norm: float, deciding: str) -> str:
    outcome = (
        f"the best checkpoint so far is kept (validation {deciding} {state.best[deciding]:.4f})"
        if state.best
        else "no checkpoint was kept, for no epoch had ended"
    )
    return (
        f"training diverged at step {state.step}, epoch {state.epoch}: loss {loss}, gradient norm {norm}; {outcome}."
        " A lower learning rate or clip norm may help"
    )
