"""Where a run takes place: the device, its numbers, and the random numbers drawn on it."""

# pyright: reportUnknownMemberType=false
# torch's annotations leave the argument of manual_seed open.

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from seqserve.training.config.optimisation import DeviceKind, OptimisationConfig, Precision
from seqserve.training.errors import ConfigError

NUMBERS = {
    Precision.FP32: torch.float32,
    Precision.BF16: torch.bfloat16,
    Precision.FP16: torch.float16,
    Precision.INT8: torch.float32,
}


def device_of(config: OptimisationConfig) -> torch.device:
    """The device to train on.

    Raises: ConfigError if CUDA is asked for, by name or by its precisions, and is not there.
    """
    cuda = torch.cuda.is_available()
    if config.device is DeviceKind.CUDA and not cuda:
        raise ConfigError("--device cuda: torch finds no CUDA device here; --device cpu trains without one")
    device = torch.device("cuda" if cuda and config.device is not DeviceKind.CPU else "cpu")
    if NUMBERS[config.precision] is not torch.float32 and device.type != "cuda":
        raise ConfigError(f"--precision {config.precision} needs CUDA, and this run is on the CPU; leave it out")
    return device


@contextmanager
def enough_memory() -> Generator[None]:
    """Tell in a line that memory does not suffice, for a ``with`` block or a whole function.

    Raises: ConfigError in place of torch's errors.
    """
    try:
        yield
    except RuntimeError as error:  # on CPUs there is no specific class
        message = str(error)
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in message:
            raise
        raise ConfigError(
            f"out of memory: {message.splitlines()[0]}. Reduce --batch-size, --hidden-size, --layers or, for a language"
            " model, --window"
        ) from error


def prepare(config: OptimisationConfig) -> None:
    """Seed torch, and have it give the same bits for the same seed; call this before the device is used."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    torch.use_deterministic_algorithms(mode=True)
    # An aid for finding bugs, which costs a tenth of the time; torch does not declare it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)


def mixed(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which the forward pass computes in ``precision`` what bears it; nothing changes in float32."""
    numbers = NUMBERS[precision]
    return torch.autocast(device.type, dtype=numbers, enabled=numbers is not torch.float32)


def random_state(device: torch.device) -> dict[str, Any]:
    """Where torch's random numbers stand."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(device: torch.device, state: Mapping[str, Any]) -> None:
    """Have torch's random numbers go on from what ``random_state`` gave."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
