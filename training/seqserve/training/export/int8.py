"""Layers of ``int8`` as parts of graphs, with standard operators.

Rounded numbers become unsigned bytes around 128, and a product of bytes is an exact sum in int32. Everything else is
elementwise. The bits of a row therefore don't depend on other rows, on threads, or on how time is split.
"""

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from torch import Tensor, nn

from seqserve.training.arrays import Array
from seqserve.training.export.nodes import NodeBuilder, integers
from seqserve.training.int8 import Int8Direction, Int8Embedding, Int8Linear, TableLookup
from seqserve.training.int8.rounding import LEVELS
from seqserve.training.tensors import array

ZERO_POINT = np.uint8(128)
"""The byte that stands for 0."""


def int8_linear(build: NodeBuilder, name: str, layer: Int8Linear, x: str) -> str:
    """``x`` W^T + b over the last axis."""
    weight = build.constant(f"{name}.weight", signed_bytes(layer.weight, layer.scales).T)
    zero = build.constant(f"{name}.zero_point", ZERO_POINT)
    scales_N, bound = array(layer.scales)[:, 0], layer.rounding.bound
    if bound is not None:
        step = build.constant(f"{name}.step", np.float32(bound / LEVELS))
        scales = build.constant(f"{name}.scales", scales_N * np.float32(bound / LEVELS))
        product = bytes_product(
            build,
            f"{name}.product",
            build.node("QuantizeLinear", [x, step, zero], f"{name}.bytes"),
            weight,
            scales,
            zero,
        )
    else:
        rounded, row_steps = _row_bytes(build, name, x)
        scales = build.constant(f"{name}.scales", scales_N)
        columns = bytes_product(build, f"{name}.columns", rounded, weight, scales, zero)
        product = build.node("Mul", [columns, row_steps], f"{name}.product")
    return build.node("Add", [product, build.constant(f"{name}.bias", array(layer.bias))], name)


def _row_bytes(build: NodeBuilder, name: str, x: str) -> tuple[str, str]:
    """Rows along the last axis as bytes, and the step of each (..., 1): its greatest absolute value over LEVELS."""
    magnitudes = build.node("Abs", [x], f"{name}.magnitudes")
    last = build.constant(f"{name}.last", integers([-1]))
    greatest = build.node("ReduceMax", [magnitudes, last], f"{name}.greatest", keepdims=1)
    levels = build.constant(f"{name}.levels", np.float32(LEVELS))
    some = build.node(
        "Max", [greatest, build.constant(f"{name}.tiny", np.finfo(np.float32).tiny * LEVELS)], f"{name}.some"
    )
    steps = build.node("Div", [some, levels], f"{name}.steps")
    rounded = build.node("Round", [build.node("Div", [x, steps], f"{name}.counted")], f"{name}.rounded")
    shifted = build.node("Add", [rounded, build.constant(f"{name}.shift", np.float32(ZERO_POINT))], f"{name}.shifted")
    return build.node("Cast", [shifted], f"{name}.bytes", to=TensorProto.UINT8), steps


def int8_lookup(build: NodeBuilder, name: str, embedding: Int8Embedding, indices: str) -> str:
    """Rows of a table at ``indices`` of any shape."""
    table = build.constant(f"{name}.table", signed_bytes(embedding.weight, embedding.scales))
    scales = build.constant(f"{name}.scales", array(embedding.scales))
    found = build.node("Gather", [table, indices], f"{name}.bytes", axis=0)
    counted = build.node("Cast", [found], f"{name}.counted", to=TensorProto.FLOAT)
    return build.node("Mul", [counted, build.node("Gather", [scales, indices], f"{name}.steps", axis=0)], name)


def add_int8_weights(build: NodeBuilder, prefix: str, direction: Int8Direction, x: str) -> tuple[int, str]:
    """The constants of the step, and the product of the input; returns H and the product's name."""
    build.constant(f"{prefix}.zero_point", ZERO_POINT)
    build.constant(f"{prefix}.step", np.float32(1 / LEVELS))
    for key, weight in direction.weights.items():
        scales = direction.scales[key]
        build.constant(f"{prefix}.{key}", signed_bytes(weight, scales).T)
        build.constant(f"{prefix}.{key}.scales", array(scales)[:, 0] * np.float32(1 / LEVELS))
    for key, vector in direction.vectors.items():
        build.constant(f"{prefix}.{key}", array(vector))
    return direction.hidden_size, _from_x(build, f"{prefix}.from_x", direction.from_x, x)


def _from_x(build: NodeBuilder, name: str, module: nn.Module, x: str) -> str:
    """The product of the input (T, B, N), or what takes its place."""
    match module:
        case nn.Identity():  # rows of a table of one direction
            return x
        case Int8Linear():
            return int8_linear(build, name, module, x)
        case TableLookup(begin=begin, end=end):
            places = (("begin", begin), ("end", end), ("axis", -1))
            borders = [build.constant(f"{name}.{border}", integers([place])) for border, place in places]
            return build.node("Slice", [x, *borders], name)
        case _:
            raise TypeError(f"no graph for {module}")


def int8_state_product(body: NodeBuilder, name: str, prefix: str, rows: str, weight: str) -> str:
    """In the body of a Scan: ``rows`` (B, H), from -1 to 1, times a weight of ``add_int8_weights`` at ``prefix``."""
    zero = f"{prefix}.zero_point"
    rounded = body.node("QuantizeLinear", [rows, f"{prefix}.step", zero], f"{name}.bytes")
    return bytes_product(body, name, rounded, weight, f"{weight}.scales", zero)


def bytes_product(build: NodeBuilder, name: str, rounded: str, weight: str, scales: str, zero_point: str) -> str:
    """Bytes (..., K) times signed bytes (K, N), and each output times its scale (N): float32 (..., N)."""
    total = build.node("MatMulInteger", [rounded, weight, zero_point], f"{name}.sum")
    return build.node("Mul", [build.node("Cast", [total], f"{name}.float", to=TensorProto.FLOAT), scales], name)


def signed_bytes(numbers: Tensor, scales: Tensor) -> npt.NDArray[np.int8]:
    """Multiples of ``scales`` as int8."""
    steps: Array = array((numbers / scales).round())
    return steps.astype(np.int8)
