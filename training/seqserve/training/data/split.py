"""Data sets cut into parts by a seed: to train on, to validate on, to test on."""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

ItemT = TypeVar("ItemT")


class Parts(NamedTuple, Generic[ItemT]):
    """The three parts of a data set; no item is in two of them."""

    train: list[ItemT]
    validation: list[ItemT]
    test: list[ItemT]


def shuffled_parts(items: Sequence[ItemT], *, validation: float, test: float, seed: int) -> Parts[ItemT]:
    """Shuffle items and cut them into parts; equal items and an equal seed give equal parts.

    Args:
        items: in an order that does not change.
        validation: fraction to validate on, rounded to whole items; they come after the training part.
        test: fraction to test on, likewise; they come last.
        seed: of the shuffling. Of the network's own seed it should not depend, or runs with several seeds are not
            judged on the same items.
    Raises: ValueError if the fractions leave nothing to train on.
    """
    if validation + test >= 1:
        raise ValueError(f"{validation} to validate on and {test} to test on leave nothing to train on")
    order = np.random.default_rng(seed).permutation(len(items))
    first_test = len(items) - round(len(items) * test)
    first_validation = first_test - round(len(items) * validation)
    cuts = (order[:first_validation], order[first_validation:first_test], order[first_test:])
    return Parts(*([items[int(place)] for place in cut] for cut in cuts))
