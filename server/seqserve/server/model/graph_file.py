"""Reads of an ONNX file what matters before it is loaded: whether it keeps data in other files.

The digest of a servable covers the graph file alone, so that a graph with external data could change unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto
# The messages of ONNX that lead to tensors: their fields by number, with the message in each.
_MESSAGES = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def has_external_data(model: bytes) -> bool:
    """Returns whether a tensor of a model is stored in another file.

    Args:
        model: A serialized ModelProto.

    Raises:
        ValueError: It is not a protobuf message.
    """
    pending = [("model", memoryview(model))]
    while pending:
        kind, message = pending.pop()
        for number, value in _fields(message):
            if kind == "tensor":
                if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
                    return True
            elif (inner := _MESSAGES[kind].get(number)) and isinstance(value, memoryview):
                pending.append((inner, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yields number and value of each field. Raises: ValueError if it is not a message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire_type = tag & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire_type == _BYTES:
            size, at = _varint(message, at)
        elif wire_type in (_FIXED64, _FIXED32):
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        if at + size > len(message):
            raise ValueError("a field ends after its message")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Returns a number, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number does not end")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
