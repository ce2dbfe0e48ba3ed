"""Networks with 8-bit integer products of weights and hidden states.

``quantized`` converts a trained network. In torch, the result computes the same integers and gates as its graph.
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
from seqserve.training.int8.networks import quantized

__all__ = [
    "Int8Direction",
    "Int8Embedding",
    "Int8Layer",
    "Int8Linear",
    "ProductTable",
    "Rounding",
    "TableLookup",
    "quantized",
]
