"""Where gradients stop, and that random truncation is right in the mean."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seqserve.training.config import LanguageModelConfig
from seqserve.training.tasks.language_model import LanguageModelLearner
from seqserve.training.trainer.bptt import over_border, segments

CUT = 0.3
WINDOWS, STEPS = 5, 2
CUTS, GOES_ON = 0.0, 0.99  # numbers that a border draws


def linear_network() -> tuple[list[Tensor], Tensor]:
    """Weights of h = W h + U x with o = V h, and inputs (windows, steps, 2)."""
    generator = torch.Generator().manual_seed(3)
    sizes = ((3, 3), (3, 2), (1, 3))
    weights = [torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]
    return weights, torch.randn(WINDOWS, STEPS, 2, generator=generator, dtype=torch.float64)


def gradients(borders: tuple[float, ...], cut: float) -> list[Tensor]:
    """Gradients of the sum of squared outputs if the borders draw these numbers."""
    (recurrent, inward, outward), inputs = linear_network()
    state: tuple[Tensor, ...] = (torch.ones(3, dtype=torch.float64),)
    for segment in segments(inputs, cut, iter(borders).__next__):
        loss = torch.zeros((), dtype=torch.float64)
        state = tuple(each.detach() for each in state)
        for index, window in enumerate(segment):
            state = over_border(state, cut) if index else state
            for x in window:
                state = (recurrent @ state[0] + inward @ x,)
                loss = loss + (outward @ state[0]).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
    return [weight.grad for weight in (recurrent, inward, outward) if weight.grad is not None]


def test_the_mean_gradient_of_random_truncation_is_that_of_full_backpropagation() -> None:
    full = gradients((GOES_ON,) * (WINDOWS - 1), 1e-12)  # nothing is cut, and nothing scaled
    expected = [torch.zeros_like(each) for each in full]
    for borders in itertools.product((CUTS, GOES_ON), repeat=WINDOWS - 1):
        cuts = borders.count(CUTS)
        probability = CUT**cuts * (1 - CUT) ** (WINDOWS - 1 - cuts)
        for mean, one in zip(expected, gradients(borders, CUT), strict=True):
            mean += probability * one
    for mean, exact in zip(expected, full, strict=True):
        assert torch.allclose(mean, exact, rtol=1e-9)
    regular = gradients((CUTS,) * (WINDOWS - 1), 1.0)
    assert not torch.allclose(regular[0], full[0], rtol=0.1)  # the bias that the scaling takes away


def test_borders_are_cut_as_often_as_was_asked_for() -> None:
    torch.manual_seed(0)
    found = list(segments(range(10_000), 0.25, lambda: float(torch.rand(()))))
    assert list(itertools.chain(*found)) == list(range(10_000))
    assert len(found) == pytest.approx(2500, rel=0.05)
    assert list(segments(range(3), 1.0, lambda: 0.5)) == [[0], [1], [2]]
    assert list(segments([], 0.5, lambda: 0.5)) == []


def a_learner(folder: Path, **changes: object) -> LanguageModelLearner:
    (folder / "text.txt").write_text("to be, or not to be: that is the question\n" * 3, encoding="utf-8")
    sizes = {"batch_size": 2, "window": 7, "hidden_size": 8, "embedding_size": 4, "dropout": 0.0, "state_reset": 0.0}
    torch.manual_seed(0)
    return LanguageModelLearner(LanguageModelConfig.model_validate({"data": [folder / "text.txt"], **sizes, **changes}))


def learner_gradients(learner: LanguageModelLearner) -> tuple[dict[str, Tensor], list[int]]:
    tokens = list[int]()
    for loss, count in learner.losses(1):
        (loss * count).backward()  # type: ignore[no-untyped-call]
        tokens.append(count)
    found = {name: weight.grad for name, weight in learner.network.named_parameters() if weight.grad is not None}
    return found, tokens


def test_full_truncation_is_one_loss_for_whole_streams_and_random_lies_between(tmp_path: Path) -> None:
    regular, windows = learner_gradients(a_learner(tmp_path))
    full, whole = learner_gradients(a_learner(tmp_path, truncation="full"))
    always, cut = learner_gradients(a_learner(tmp_path, truncation="random", cut=1.0))
    never, uncut = learner_gradients(a_learner(tmp_path, truncation="random", cut=1e-9))
    assert len(windows) > 3
    assert (cut, len(whole), uncut) == (windows, 1, whole)
    assert sum(windows) == sum(whole)
    for name, gradient in full.items():
        assert torch.allclose(never[name], gradient, atol=1e-4), name
        assert torch.equal(always[name], regular[name]), name
    assert not torch.allclose(regular["embedding.weight"], full["embedding.weight"], atol=1e-2)


def test_the_segments_of_an_epoch_depend_on_the_seed_and_the_epoch_alone(tmp_path: Path) -> None:
    def tokens(seed: int, epoch: int) -> list[int]:
        learner = a_learner(tmp_path, truncation="random", seed=seed, window=2)
        return [count for _, count in learner.losses(epoch)]

    assert tokens(1, 1) == tokens(1, 1)
    assert len({tuple(tokens(seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}) == 4
