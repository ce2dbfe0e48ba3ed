"""Networks that compute with 8-bit integers where it costs most: products of weights and hidden states.

``quantised`` makes one of a trained network. In torch it gives what its graph gives: the same integers, the same gates.
"""

from seqserve.training.int8.layers import (
    Int8Direction,
    Int8Embedding,
    Int8Layer,
    Int8Linear,
    ProductTable,
    Rounding,
    TableLookup,
)
from seqserve.training.int8.networks import quantised

__all__ = [
    "Int8Direction",
    "Int8Embedding",
    "Int8Layer",
    "Int8Linear",
    "ProductTable",
    "Rounding",
    "TableLookup",
    "quantised",
]
