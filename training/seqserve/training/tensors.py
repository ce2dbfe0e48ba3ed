"""NumPy arrays and torch tensors: between files, graphs and tests on the one side, and networks on the other."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# torch's annotations leave the arguments of from_numpy and numpy open.

import numpy as np
import torch
from torch import Tensor

from seqserve.training.arrays import Array

CPU = torch.device("cpu")


def tensor(array: Array, device: torch.device = CPU) -> Tensor:
    """The array as a tensor on ``device``; on the CPU both share their memory."""
    return torch.from_numpy(array).to(device)


def long_tensor(array: Array, device: torch.device = CPU) -> Tensor:
    """The integers of an array as int64, which torch wants for targets, indices, and lengths (these on the CPU)."""
    return tensor(array.astype(np.int64), device)


def array(parameter: Tensor) -> Array:
    """Copies a parameter to a float32 array."""
    result: Array = parameter.detach().cpu().float().numpy().copy()
    return result
