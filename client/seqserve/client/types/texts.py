"""Whole texts as request messages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from seqserve.v1 import common_pb2

WholeText: TypeAlias = str | Sequence[str] | Sequence[int]
"""A text: a str, which the model's tokenizer cuts; its words, which stay as they are; or token ids."""


def words_or_ids(text: Sequence[str] | Sequence[int]) -> tuple[common_pb2.Words | None, common_pb2.TokenIds | None]:
    """The words or the token ids of a pre-tokenized text, and None for the other.

    Raises:
        TypeError: If it is neither.
        ValueError: If an id does not fit its field.
    """
    if isinstance(text, bytes):
        raise TypeError("a text is bytes: give text (str), a list of words, or a list of token ids")
    if not hasattr(text, "__iter__"):
        raise TypeError(
            f"a text is of type {type(text).__name__}: the words or token ids of one text are a list in the list, "
            "[[1, 2, 3]]"
        )
    words = [one for one in text if isinstance(one, str)]
    if len(words) == len(text):
        return common_pb2.Words(words=words), None
    if words:
        raise TypeError("a text is words or token ids, not both")
    return None, common_pb2.TokenIds(ids=[one for one in text if not isinstance(one, str)])
