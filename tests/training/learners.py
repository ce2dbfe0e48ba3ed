"""Small learners for tests of the loop, and a way to run it with nothing around."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seqserve.training.config import LanguageModelConfig
from seqserve.training.data.share import WHOLE, Share
from seqserve.training.trainer.interruption import Interruption
from seqserve.training.trainer.progress import ProgressListener, ProgressListeners
from seqserve.training.trainer.trainer import Trainer


class Line:
    """Learns that a number is 3; the validation losses are given."""

    steps_per_epoch = 2

    def __init__(self, validation: list[float], *, breaks_at: int = 0) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(1, 1)
        self._validation = iter(validation)
        self._steps, self._breaks_at = 0, breaks_at
        self.gradient_norms = list[float]()

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        del epoch, share
        for _ in range(first, self.steps_per_epoch):
            self._steps += 1
            loss = (self.network(torch.ones(1)) - 3).square().sum()
            yield loss * float("nan") if self._steps == self._breaks_at else loss, 1
            norms = [p.grad.norm() for p in self.network.parameters() if p.grad is not None]
            self.gradient_norms.append(float(torch.stack(norms).norm()))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state

    def validate(self) -> dict[str, float]:
        return {"loss": next(self._validation), "perplexity": 0.5}


class Pairs:
    """Fits a line to batches of unlike size: (1, 2) examples, 1 batch each."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(2, 1)
        self.steps_per_epoch = len(sizes)
        generator = torch.Generator().manual_seed(1)
        self._batches = [torch.randn(size, 3, generator=generator) for size in sizes]

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        del epoch
        for batch in self._batches[first:]:
            rows = batch[share.rows]
            yield (self.network(rows[:, :2]) - rows[:, 2:]).square().mean(), len(rows)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        assert not state

    def validate(self) -> dict[str, float]:
        return {"loss": 1.0}


def config(**changes: object) -> LanguageModelConfig:
    return LanguageModelConfig.model_validate(
        {"data": ["text"], "epochs": 3, "clip_norm": 0.5, "device": "cpu", **changes}
    )


def ignore(metrics: dict[str, float]) -> None:
    del metrics


def fit(
    trainer: Trainer,
    *,
    keep: Callable[[dict[str, float]], None] = ignore,
    save: Callable[[], None] = lambda: None,
    watch: ProgressListener | None = None,
    requested: Interruption | None = None,
) -> None:
    trainer.fit(
        save_best=keep, save_state=save, listener=watch or ProgressListeners(), stop_request=requested or Interruption()
    )
