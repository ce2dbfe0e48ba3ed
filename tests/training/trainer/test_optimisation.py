import pytest
import torch
from torch import nn

from seqserve.training.trainer.optimisation import Average, Schedule, make_optimizer
from tests.training.learners import config


def rates(steps: int, **changes: object) -> list[float]:
    schedule = Schedule(config(epochs=4, learning_rate=2.0, **changes), steps // 4)
    return [schedule.rate(step) for step in range(1, steps + 1)]


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_rises_to_the_highest_and_falls_to_nothing(schedule: str) -> None:
    found = rates(100, schedule=schedule, warmup=0.1)
    assert found[9] == 2.0
    assert found[:10] == sorted(found[:10])
    assert found[9:] == sorted(found[9:], reverse=True)
    assert found[-1] == pytest.approx(0.0)


def test_halfway_down_the_linear_and_the_cosine_meet() -> None:
    assert rates(100, schedule="linear", warmup=0)[50] == pytest.approx(1.0, abs=0.02)
    assert rates(100, schedule="cosine", warmup=0)[50] == pytest.approx(1.0, abs=0.03)


def test_a_constant_rate_is_constant_from_the_first_step() -> None:
    assert set(rates(8, schedule="constant", warmup=0)) == {2.0}


def test_steps_multiply_the_rate_after_so_many_epochs() -> None:
    found = rates(8, schedule="step", warmup=0, decay_epochs=2, decay_factor=0.1)
    assert found == pytest.approx([2.0] * 4 + [0.2] * 4)


def test_a_plateau_multiplies_the_rate_when_validations_do_not_get_better() -> None:
    schedule = Schedule(config(learning_rate=2.0, schedule="plateau", warmup=0, decay_epochs=2), 10)
    found = list[float]()
    for step, better in enumerate((True, False, True, False, False, False, False), start=2):
        schedule.on_validation(better=better)
        found.append(schedule.rate(step))
    assert found == [2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 0.5]


def test_weights_decay_and_biases_and_embeddings_do_not() -> None:
    network = nn.ModuleDict({"embedding": nn.Embedding(3, 2), "layer": nn.LSTM(2, 2)})
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    optimizer = make_optimizer(network, config(learning_rate=0.1, weight_decay=0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    changed = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"layer.weight_ih_l0", "layer.weight_hh_l0"}


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        ({"optimizer": "sgd"}, [-0.1, -0.2]),
        ({"optimizer": "sgd", "momentum": 0.5}, [-0.1, -0.25]),  # v = 1, then 0.5 + 1
        ({"optimizer": "sgd", "momentum": 0.5, "nesterov": True}, [-0.15, -0.325]),  # g + 0.5 v
        ({"optimizer": "adam"}, [-0.1, -0.2]),  # of one sign: the rate, whatever the size
        ({"optimizer": "adamw"}, [-0.1, -0.2]),
        ({"optimizer": "rmsprop"}, [-1.0, -1.0 - 0.1 / 0.0199**0.5]),  # torch's alpha is 0.99
    ],
)
def test_each_rule_takes_the_steps_of_its_formula(settings: dict[str, object], weight: list[float]) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = make_optimizer(network, config(learning_rate=0.1, weight_decay=0, **settings))
    found = list[float]()
    for _ in weight:
        network.weight.grad = torch.ones(1, 1)
        optimizer.step()
        found.append(network.weight.item())
    assert found == pytest.approx(weight, rel=1e-4)


def test_an_average_is_near_the_last_weights_and_comes_and_goes() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = Average(network, 0.5)
    for value in (1.0, 2.0):
        nn.init.constant_(network.weight, value)
        average.update()
    first = 9 / 11  # decay 2 / 11 in the first step
    with average.applied():
        assert network.weight.item() == pytest.approx(3 / 12 * first + 9 / 12 * 2.0)
    assert network.weight.item() == 2.0
