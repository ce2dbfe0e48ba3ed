"""Training in several processes: who takes which rows, and how they agree.

``torchrun`` starts the processes and tells each its number in the environment. Every process reads the same data and
makes the same batches, takes its share of the rows of each, and the gradients are averaged by DistributedDataParallel
(gloo on CPUs, nccl on GPUs). The first process alone validates, writes and speaks.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch leaves the arguments of its collectives open.

import atexit
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from seqserve.training.data.share import WHOLE, Share

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that train together; one that trains alone is its own first."""

    share: Share = WHOLE

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes and speaks."""
        return self.share.number == 0

    def seed(self, seed: int) -> None:
        """Have torch draw other random numbers in each process, for their rows are not the same."""
        if self.share.count > 1:
            torch.manual_seed(seed + self.share.number)

    def summed(self, *values: float) -> tuple[float, ...]:
        """The sums of these numbers over all processes, each the same bits everywhere."""
        if self.share.count == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64, device=_device())
        distributed.all_reduce(total)
        sums: list[float] = total.tolist()
        return tuple(sums)

    def run_on_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in the first process, for all; an error of the first is an error of all."""
        if self.share.count == 1:
            return make()
        outcome: list[Any] = [None, None]  # the value, or what went wrong
        if self.first:
            try:
                outcome = [make(), None]
            except Exception as error:  # noqa: BLE001  # raised again in every process
                outcome = [None, error]
        distributed.broadcast_object_list(outcome, src=0)
        if outcome[1] is not None:
            raise outcome[1]
        value: T = outcome[0]
        return value

    def gathered(self, value: T) -> list[T]:
        """The values of all processes, in order of their numbers."""
        if self.share.count == 1:
            return [value]
        values: list[Any] = [None] * self.share.count
        distributed.all_gather_object(values, value)
        return values

    def joined(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all processes."""
        return module if self.share.count == 1 else DistributedDataParallel(module)


ALONE = Processes()


def no_loss(network: nn.Module) -> Tensor:
    """The loss of a process whose share of a batch has no rows: 0, and so is its gradient for every weight."""
    return torch.stack([parameter.sum() for parameter in network.parameters()]).sum() * 0.0


def is_main_process() -> bool:
    """Whether this process is the one that writes and speaks, for those who have no ``Processes``."""
    return os.environ.get("RANK", "0") == "0"


def join_processes(*, cuda: bool) -> Processes:
    """Join the processes that torchrun started, until this one ends; one that it did not start is alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo")
    # Not before all that was made of `joined` is gone: whoever owns the group last destroys it, and does so holding the
    # interpreter's lock if it is DistributedDataParallel, while a thread of gloo may need the lock to drop a tensor.
    atexit.register(distributed.destroy_process_group)
    return Processes(Share(distributed.get_rank(), distributed.get_world_size()))


def _device() -> torch.device:
    return torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")


class Step(nn.Module):
    """One loss of a learner as a module's forward pass, which is what DistributedDataParallel works on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, losses: Iterator[tuple[Tensor, int]]) -> tuple[Tensor, int] | None:
        """The next loss and its tokens; None at the end of the pass."""
        return next(losses, None)
