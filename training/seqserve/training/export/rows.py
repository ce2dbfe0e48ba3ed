"""Parts of graphs that look at each row by itself: what it starts from, one of its steps, and its first steps."""

import numpy as np
from onnx import TensorProto

from seqserve.training.export.nodes import NodeBuilder, integers


def initial_rows(build: NodeBuilder, name: str, lengths: str, size: int, value: float) -> str:
    """The same vector for every row: (1, B, size), full of ``value``."""
    first = build.constant(f"{name}.one_row", np.full((1, 1, size), value, dtype=np.float32))
    batch = build.node("Shape", [lengths], f"{name}.batch")
    one = build.constant(f"{name}.one", integers([1]))
    return build.node("Expand", [first, build.node("Concat", [one, batch, one], f"{name}.shape", axis=0)], name)


def at_step(build: NodeBuilder, name: str, steps: str, step: str) -> str:
    """Of steps (T, B, H) the one that ``step`` int32 (B) names for each row: (1, B, H)."""
    rows = build.node("Transpose", [steps], f"{name}.rows", perm=[1, 0, 2])
    wide = build.node("Cast", [step], f"{name}.wide", to=TensorProto.INT64)
    places = build.node("Unsqueeze", [wide, build.constant(f"{name}.axis", integers([1]))], f"{name}.places")
    found = build.node("GatherND", [rows, places], f"{name}.found", batch_dims=1)
    return build.node("Unsqueeze", [found, build.constant(f"{name}.first", integers([0]))], name)


def greatest(build: NodeBuilder, name: str, numbers: str) -> str:
    """The greatest of int32 ``numbers`` (B): int64 (1)."""
    most = build.node("ReduceMax", [numbers], f"{name}.most")
    return build.node("Cast", [most], name, to=TensorProto.INT64)


def first_steps(build: NodeBuilder, name: str, steps: str, count: str) -> str:
    """The first ``count``, int64 (1), of ``steps`` (T, B, H)."""
    zero = build.constant(f"{name}.zero", integers([0]))
    return build.node("Slice", [steps, zero, count, zero], name)
