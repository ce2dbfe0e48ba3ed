from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from seqserve.training.config import LanguageModelConfig
from seqserve.training.errors import DivergenceError
from seqserve.training.loop import fit, rate
from seqserve.training.progress import Silent


class Line:
    """Learns that a number is 3; the validation losses are given."""

    steps_per_epoch = 2

    def __init__(self, validation: list[float], *, breaks_at: int = 0) -> None:
        self.network = nn.Linear(1, 1)
        self._validation = iter(validation)
        self._steps, self._breaks_at = 0, breaks_at
        self.gradient_norms = list[float]()

    def losses(self, epoch: int) -> Iterator[tuple[Tensor, int]]:
        del epoch
        for _ in range(self.steps_per_epoch):
            self._steps += 1
            loss = (self.network(torch.ones(1)) - 3).square().sum()
            yield loss * float("nan") if self._steps == self._breaks_at else loss, 1
            norms = [p.grad.norm() for p in self.network.parameters() if p.grad is not None]
            self.gradient_norms.append(float(torch.stack(norms).norm()))

    def validate(self) -> dict[str, float]:
        return {"loss": next(self._validation)}


def ignore(metrics: dict[str, float]) -> None:
    del metrics


def config(**changes: object) -> LanguageModelConfig:
    return LanguageModelConfig.model_validate({"data": ["text"], "epochs": 3, "clip_norm": 0.5, **changes})


def test_the_best_is_kept_and_not_the_last() -> None:
    kept = list[float]()
    result = fit(Line([2.0, 1.0, 1.5]), config(), lambda metrics: kept.append(metrics["loss"]), Silent())
    assert kept == [2.0, 1.0]
    assert result.best == {"loss": 1.0}
    assert result.steps == 6


def test_gradients_are_clipped_by_their_norm() -> None:
    learner = Line([2.0, 1.0, 1.5])
    fit(learner, config(), ignore, Silent())
    assert max(learner.gradient_norms) <= 0.5 + 1e-6


def test_a_loss_that_is_no_number_stops_the_run_and_says_where_and_what_is_kept() -> None:
    with pytest.raises(DivergenceError, match=r"step 3, epoch 2: loss nan, .* is kept \(validation loss 2\.0000\)"):
        fit(Line([2.0, 1.0], breaks_at=3), config(), ignore, Silent())
    with pytest.raises(DivergenceError, match=r"step 1, epoch 1: .* no checkpoint was kept, for no epoch had ended"):
        fit(Line([2.0], breaks_at=1), config(), ignore, Silent())


def test_the_rate_rises_to_the_highest_and_falls_to_nothing() -> None:
    rates = [rate(step, 100, 0.1) for step in range(1, 101)]
    assert rates[9] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.0)
    assert rate(1, 1, 0.0) == 1.0
