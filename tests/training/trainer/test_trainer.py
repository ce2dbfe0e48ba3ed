import pytest
import torch

from seqserve.training.errors import DivergenceError
from seqserve.training.trainer.progress import StepEvent, ValidationEvent
from seqserve.training.trainer.trainer import Trainer, better
from tests.training.learners import Line, Pairs, config, fit


class Notes:
    def __init__(self) -> None:
        self.steps, self.validations = list[StepEvent](), list[ValidationEvent]()

    def on_step(self, event: StepEvent) -> None:
        self.steps.append(event)

    def on_validation(self, event: ValidationEvent) -> None:
        self.validations.append(event)


def test_the_best_is_kept_and_not_the_last() -> None:
    kept = list[float]()
    trainer = Trainer(Line([2.0, 1.0, 1.5]), config())
    fit(trainer, keep=lambda metrics: kept.append(metrics["loss"]))
    assert kept == [2.0, 1.0]
    assert trainer.state.best["loss"] == 1.0
    assert trainer.state.step == trainer.steps == 6


def test_the_figure_that_decides_is_a_setting() -> None:
    kept = list[float]()
    fit(Trainer(Line([2.0, 1.0, 1.5]), config(best_metric="perplexity")), keep=lambda m: kept.append(m["loss"]))
    assert kept == [2.0]  # no perplexity was lower than the first


@pytest.mark.parametrize(("name", "falls"), [("loss", True), ("bits_per_character", True), ("span_f1", False)])
def test_losses_get_better_by_falling_and_scores_by_rising(name: str, *, falls: bool) -> None:
    assert better(name, 1.0, 2.0) is falls
    assert better(name, 2.0, 1.0) is not falls
    assert not better(name, 1.0, 1.0)


def test_training_ends_when_patience_does() -> None:
    trainer = Trainer(Line([2.0, 1.0, 1.5, 1.0]), config(epochs=9, patience=2))
    fit(trainer)
    assert [each["metrics"]["loss"] for each in trainer.history.validations] == [2.0, 1.0, 1.5, 1.0]


def test_the_last_pass_is_validated_whatever_the_distance() -> None:
    notes = Notes()
    fit(Trainer(Line([2.0, 1.0, 1.5]), config(epochs=5, validate_epochs=2)), watch=notes)
    assert [event.epoch for event in notes.validations] == [2, 4, 5]


def test_gradients_are_clipped_by_their_norm_and_the_norm_before_is_told() -> None:
    learner, notes = Line([2.0, 1.0, 1.5]), Notes()
    fit(Trainer(learner, config()), watch=notes)
    assert max(learner.gradient_norms) <= 0.5 + 1e-6
    assert notes.steps[0].gradient_norm > 1


def test_gradients_are_clipped_by_value_or_not_at_all() -> None:
    learner = Line([2.0, 1.0, 1.5])
    fit(Trainer(learner, config(clip_norm=0, clip_value=0.1)))
    assert learner.gradient_norms[0] == pytest.approx(0.1 * 2**0.5)  # two weights, each cut to 0.1
    learner, notes = Line([2.0, 1.0, 1.5]), Notes()
    fit(Trainer(learner, config(clip_norm=0)), watch=notes)
    assert learner.gradient_norms == pytest.approx([event.gradient_norm for event in notes.steps])


def test_a_loss_that_is_no_number_stops_the_run_and_says_where_and_what_is_kept() -> None:
    with pytest.raises(DivergenceError, match=r"step 3, epoch 2: loss nan, .* is kept \(validation loss 2\.0000\)"):
        fit(Trainer(Line([2.0, 1.0], breaks_at=3), config()))
    with pytest.raises(DivergenceError, match=r"step 1, epoch 1: .* no checkpoint was kept, for no epoch had ended"):
        fit(Trainer(Line([2.0], breaks_at=1), config()))
    with pytest.raises(DivergenceError, match=r"the validation loss after step 2 is nan"):
        fit(Trainer(Line([float("nan")]), config()))


def test_batches_that_are_gathered_weigh_as_their_tokens_do() -> None:
    plain = {"epochs": 1, "optimizer": "sgd", "schedule": "constant", "warmup": 0, "clip_norm": 0, "weight_decay": 0}
    gathered, whole = Pairs((1, 5, 2)), Pairs((1, 5, 2))
    fit(Trainer(gathered, config(accumulate=3, learning_rate=0.1, **plain)))
    rows = torch.cat(whole._batches)
    whole._batches, whole.steps_per_epoch = [rows], 1
    fit(Trainer(whole, config(learning_rate=0.1, **plain)))
    assert torch.allclose(gathered.network.weight, whole.network.weight, atol=1e-7)


def test_a_last_step_has_the_batches_that_are_left() -> None:
    trainer = Trainer(Pairs((2, 2, 2)), config(epochs=2, accumulate=2))
    fit(trainer)
    assert trainer.state.step == trainer.steps == 4


def test_the_average_of_the_weights_is_kept_and_training_goes_on_with_the_weights_themselves() -> None:
    averaged, plain = Line([3.0, 2.0, 1.0]), Line([3.0, 2.0, 1.0])
    kept = list[torch.Tensor]()
    fit(Trainer(averaged, config(average=0.9)), keep=lambda _: kept.append(averaged.network.weight.detach().clone()))
    fit(Trainer(plain, config()))
    assert torch.equal(averaged.network.weight, plain.network.weight)
    assert not torch.equal(kept[-1], plain.network.weight)
