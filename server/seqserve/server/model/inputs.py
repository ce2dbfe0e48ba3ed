"""The inputs of a graph for each sequence, and their padding into a batch.

Axes: T steps, B sequences, W bytes of a word, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seqserve.v1 import manifest_pb2 as pb

IntArray = npt.NDArray[np.int32]
Array = npt.NDArray[np.int32 | np.float32]

TOKENS = pb.TENSOR_ROLE_TOKENS
WORD_BYTES = pb.TENSOR_ROLE_WORD_BYTES
WORD_LENGTHS = pb.TENSOR_ROLE_WORD_LENGTHS


class Inputs:
    """The inputs of one sequence: an array for each role, with time as its first axis.

    Attributes:
        arrays: Token ids int32 (T); bytes of words int32 (T, W); lengths of words int32 (T); features float32 (T, F).
    """

    __slots__ = ("_length", "arrays")

    def __init__(self, arrays: dict[pb.TensorRole, Array]) -> None:
        self.arrays = arrays
        self._length = len(next(iter(arrays.values())))  # read many times within a single step

    def __len__(self) -> int:
        return self._length

    @property
    def tokens(self) -> IntArray:
        """The token ids, int32 (T,). Raises: KeyError if the model reads none."""
        return self.arrays[TOKENS]  # type: ignore[return-value]

    def cut(self, start: int, end: int) -> Inputs:
        """Returns the steps in [start, end), as views."""
        return Inputs({role: array[start:end] for role, array in self.arrays.items()})


def token_inputs(tokens: Sequence[int] | IntArray) -> Inputs:
    """Returns the inputs of a model that reads only token ids."""
    return Inputs({pb.TENSOR_ROLE_TOKENS: np.asarray(tokens, dtype=np.int32)})


def pad(sequences: Sequence[Inputs]) -> tuple[dict[pb.TensorRole, Array], IntArray]:
    """Pads sequences into a batch, with zeros after the shorter ones.

    Args:
        sequences: B >= 1 inputs with the same roles, each with at least one step.

    Returns:
        An array (T, B, ...) for each role, where T is the longest length, and the lengths, int32 (B).

    Raises:
        ValueError: There are no sequences, or one is empty: ONNX Runtime would abort, or lose the state.
    """
    counts = [len(inputs) for inputs in sequences]
    if not counts or min(counts) < 1:
        raise ValueError("a batch needs at least one sequence, and each at least one step")
    lengths, longest = np.array(counts, np.int32), max(counts)
    padded: dict[pb.TensorRole, Array] = {}
    for role, first in sequences[0].arrays.items():
        arrays = [inputs.arrays[role] for inputs in sequences]
        if longest == 1 and first.ndim == 1:  # one step each, the common case of client streams
            padded[role] = np.concatenate(arrays)[None]
            continue
        tail = (max(array.shape[1] for array in arrays),) if first.ndim > 1 else ()
        batch = np.zeros((longest, len(sequences), *tail), dtype=first.dtype)
        for column, array in enumerate(arrays):
            if first.ndim > 1:
                batch[: len(array), column, : array.shape[1]] = array
            else:
                batch[: len(array), column] = array
        padded[role] = batch
    return padded, lengths


def concatenate(parts: Sequence[Inputs]) -> Inputs:
    """Concatenates the parts, at least one, of a sequence's inputs. A single part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    joined: dict[pb.TensorRole, Array] = {}
    for role, first in parts[0].arrays.items():
        arrays = [part.arrays[role] for part in parts]
        if first.ndim > 1:  # the longest words of the parts may differ in length
            widest = max(array.shape[1] for array in arrays)
            arrays = [np.pad(array, ((0, 0), (0, widest - array.shape[1]))) for array in arrays]
        joined[role] = np.concatenate(arrays)
    return Inputs(joined)
