"""What bulk methods decide: how items are grouped into requests, and which items an error is about. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, cast

from seqserve.client.errors import InvalidArgumentError

CHUNK_SIZE_DEFAULT: Final = 64
"""Default number of texts in a request."""

CONCURRENCY_DEFAULT: Final = 4
"""Default number of requests at the same time."""

CHUNK_CHARACTERS_MAX: Final = 1024 * 1024
"""A request is sent when its texts have this many characters, at most 4 MiB."""

_INPUT: Final = re.compile(r"inputs\[(\d+)\]")


def check_bulk(chunk_size: int, concurrency: int) -> None:
    """Checks the options of a bulk method.

    Args:
        chunk_size: Maximum number of texts in a request.
        concurrency: Maximum number of requests at the same time.

    Raises:
        ValueError: One of them is below 1.
    """
    for name, value in (("chunk_size", chunk_size), ("concurrency", concurrency)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def length_of(item: object) -> int:
    """Returns the length of a text in characters, or of its words or token ids; any other item counts as 1.

    Args:
        item: Text, words or token ids.
    """
    if isinstance(item, str):
        return len(item)
    if isinstance(item, list | tuple):
        parts = cast("Sequence[object]", item)
        return sum(len(one) + 1 if isinstance(one, str) else 2 for one in parts)
    return 1


class ChunkBuilder:
    """Groups items into chunks."""

    def __init__(self, chunk_size: int) -> None:
        """Begins with no item.

        Args:
            chunk_size: Maximum number of items in a chunk.
        """
        self._chunk_size = chunk_size
        self._characters = 0

    def completes(self, item: object, count: int) -> bool:
        """Whether a chunk is complete with an item.

        Args:
            item: The last item of the chunk.
            count: Items in the chunk, this one included.
        """
        self._characters += length_of(item)
        if count < self._chunk_size and self._characters < CHUNK_CHARACTERS_MAX:
            return False
        self._characters = 0
        return True


def blamed(error: Exception, count: int) -> set[int] | None:
    """The items of a request that made it fail.

    Args:
        error: The error of the request.
        count: Number of items in the request.

    Returns:
        Their indexes, each in [0, count); None if it has to be found out by sending fewer.
    """
    everything = set(range(count))
    if count == 1:
        return everything
    if isinstance(error, TypeError | ValueError):
        return None  # one item is of the wrong type
    if not isinstance(error, InvalidArgumentError):
        return everything
    fields = [violation.field for violation in error.violations]
    indexes = {int(match[1]) for match in map(_INPUT.match, fields) if match is not None} & everything
    if indexes:
        return indexes
    return None if not fields or any(field.startswith("inputs") for field in fields) else everything
