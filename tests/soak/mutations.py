"""Mutations of valid calls: of bytes, of fields, of the order of a stream, of where a caller gives up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from tests.soak.wire import METHODS, Method

_INTEGERS = (0, 1, -1, 2, 7, 21, 255, 256, 1 << 15, 1 << 20, (1 << 31) - 1, -(1 << 31), (1 << 63) - 1, -(1 << 63))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 100.0, 101.0, 1e-45, 3.4e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    " ",
    "\0",
    "a",
    "___",
    "\ufeff\r\n",
    "../../etc/passwd",
    "a-" * 300,
    "A1b2C3d4_-" * 200,
    "😀" * 500,
    "e\u0301\u200d" * 100,
    "a" * 20_000,
    "\u00a0\u2028\u0085",
)
_REPEATS = (0, 1, 2, 17, 257, 5_000)


class Mutator:
    """Changes valid calls at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def mutate(self, name: str, messages: Sequence[bytes]) -> tuple[str, list[bytes], int | None]:
        """Mutates a call.

        Args:
            name: Name of the method.
            messages: Valid serialized requests.

        Returns:
            Name of the method, mutated requests, and the number of responses after which the caller cancels, or None.
        """
        mutated = list(messages)
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            draw = self._random.random()
            if draw < 0.6:
                index = self._random.randrange(len(mutated)) if mutated else None
                if index is not None:
                    mutated[index] = self._fields(METHODS[name], mutated[index])
            elif draw < 0.8:
                index = self._random.randrange(len(mutated)) if mutated else None
                if index is not None:
                    mutated[index] = self._bytes(mutated[index])
            elif draw < 0.97 and METHODS[name].streaming:
                self._order(mutated)
            elif draw >= 0.97:
                name = self._other_method(name)
        cancel_after = self._random.randint(0, 3) if self._random.random() < 0.05 else None
        return name, mutated, cancel_after

    def _other_method(self, name: str) -> str:
        """A method that takes the same number of messages: its requests are then those of another method."""
        return self._random.choice(
            [each.name for each in METHODS.values() if each.streaming == METHODS[name].streaming]
        )

    def _bytes(self, data: bytes) -> bytes:
        mutable, place = bytearray(data), self._random.randint(0, len(data))
        match self._random.randrange(5):
            case 0 if data:
                mutable[min(place, len(data) - 1)] ^= 1 << self._random.randrange(8)
            case 1:
                mutable[place:place] = self._random.randbytes(self._random.randint(1, 20))
            case 2:
                del mutable[place:]
            case 3:
                del mutable[place : place + self._random.randint(1, 4)]
            case _:
                mutable += data
        return bytes(mutable)

    def _order(self, messages: list[bytes]) -> None:
        """Drops, repeats, moves or adds a message of a stream."""
        index = self._random.randrange(len(messages)) if messages else 0
        match self._random.randrange(4):
            case 0 if messages:
                del messages[index]
            case 1 if messages:
                messages.insert(self._random.randint(0, len(messages)), messages[index])
            case 2:
                self._random.shuffle(messages)
            case _:
                messages.insert(index, b"")

    def _fields(self, method: Method, data: bytes) -> bytes:
        """Sets some field of a message, at any depth, to an extreme value."""
        message: Message = GetMessageClass(method.request)()
        try:
            message.ParseFromString(data)
        except DecodeError:
            return data
        original, inner = message, message
        while True:
            if not inner.DESCRIPTOR.fields:
                break
            fields: list[FieldDescriptor] = list(inner.DESCRIPTOR.fields)  # type: ignore[arg-type]  # untyped in its stubs
            field = self._random.choice(fields)
            if field.message_type is None or _is_map(field):
                self._set(inner, field)
                break
            if field.is_repeated:
                items = getattr(inner, field.name)
                if not items or self._random.random() < 0.3:
                    self._repeat(items)
                    break
                inner = self._random.choice(items)
                continue
            if self._random.random() < 0.15:
                inner.ClearField(field.name)
                break
            inner = getattr(inner, field.name)
            inner.SetInParent()
        try:
            return original.SerializeToString()
        except (EncodeError, ValueError):
            return data

    def _repeat(self, items: Any) -> None:
        """Changes the number of messages in a repeated field."""
        count, copies = self._random.choice(_REPEATS), list(items)
        del items[:]
        for index in range(count):
            items.add().CopyFrom(copies[index % len(copies)]) if copies else items.add()

    def _set(self, message: Message, field: FieldDescriptor) -> None:
        try:
            if _is_map(field):
                getattr(message, field.name)[self._random.choice(_INTEGERS)] = self._random.choice(_FLOATS)
            elif field.is_repeated:
                values = getattr(message, field.name)
                values.extend(self._value(field) for _ in range(self._random.choice(_REPEATS[:5])))
            elif self._random.random() < 0.1:
                message.ClearField(field.name)
            else:
                setattr(message, field.name, self._value(field))
        except (TypeError, ValueError):
            message.ClearField(field.name)  # the value does not fit into the field

    def _value(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            text = self._random.choice(_TEXTS)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return self._random.choice(_FLOATS)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._random.random() < 0.5
        return self._random.choice(_INTEGERS)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry
