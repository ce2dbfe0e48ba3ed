import pytest
import torch

from seqserve.training.config.optimisation import Precision
from seqserve.training.errors import ConfigError
from seqserve.training.trainer.devices import device_of, mixed, random_state, restore_random_state
from tests.training.learners import config

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA here")
def test_what_needs_cuda_is_refused_without_it() -> None:
    assert device_of(config(device="auto")) == CPU
    with pytest.raises(ConfigError, match=r"--device cuda: torch finds no CUDA device here; --device cpu trains"):
        device_of(config(device="cuda"))
    with pytest.raises(ConfigError, match=r"--precision bf16 needs CUDA, and this run is on the CPU"):
        device_of(config(precision="bf16"))


def test_float32_is_left_alone_and_other_precisions_are_not() -> None:
    weights = torch.ones(2, 2)
    with mixed(CPU, Precision.FP32):
        assert (weights @ weights).dtype == torch.float32
    with mixed(CPU, Precision.BF16):
        assert (weights @ weights).dtype == torch.bfloat16


def test_random_numbers_go_on_where_they_stood() -> None:
    state = random_state(CPU)
    first = torch.rand(3)
    restore_random_state(CPU, state)
    assert torch.equal(torch.rand(3), first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_random_numbers_of_cuda_go_on_too() -> None:
    device = torch.device("cuda")
    state = random_state(device)
    first = torch.rand(3, device=device)
    restore_random_state(device, state)
    assert torch.equal(torch.rand(3, device=device), first)
