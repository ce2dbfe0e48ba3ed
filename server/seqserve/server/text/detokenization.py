"""Text out: the bytes of each token, whole UTF-8 from a stream of them."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence

import tokenizers

from seqserve.server.errors import BrokenServableError


def token_bytes(tokenizer: tokenizers.Tokenizer) -> list[bytes]:
    """Returns the bytes that each token adds to a text, by token id.

    Raises: BrokenServableError if the tokenizer's decoder is none of Fuse, ByteLevel, or none at all (words, joined by
        spaces).
    """
    decoder = json.loads(tokenizer.to_str()).get("decoder") or {"type": "Words"}
    names = {index: token for token, index in tokenizer.get_vocab().items()}
    size = max(names) + 1
    match decoder["type"]:
        case "Fuse":
            return [names.get(index, "").encode("utf-8") for index in range(size)]
        case "ByteLevel":
            table = _byte_level_table()
            return [
                b"".join(
                    table[letter] if letter in table else letter.encode("utf-8") for letter in names.get(index, "")
                )
                for index in range(size)
            ]
        case "Words":
            return [(names.get(index, "") + " ").encode("utf-8") for index in range(size)]
        case other:
            raise BrokenServableError(f"the tokenizer's decoder {other!r} is not known to this server")


def _byte_level_table() -> dict[str, bytes]:
    """The byte of each letter of a byte-level vocabulary: printable ones are themselves, others begin at U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): bytes([byte]) for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(0x100 + index): bytes([byte]) for index, byte in enumerate(others)}


def incomplete_suffix(data: bytes) -> bytes:
    """Returns the bytes at the end of a text that begin an incomplete character, at most 3."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-3:])  # invalid bytes before them are irrelevant
    begun: bytes = decoder.getstate()[0]
    return begun


def incomplete_suffix_after(tokens: Sequence[int], table: Sequence[bytes], before: bytes) -> bytes:
    """Does the same for a text that tokens continue. Args: before: incomplete bytes before the tokens."""
    data = b""
    for token in reversed(tokens):
        data = table[token] + data
        if len(data) >= 3:
            return incomplete_suffix(data)
    return incomplete_suffix(before + data)


class IncrementalDetokenizer:
    """Decodes the token bytes of one sequence to complete characters."""

    def __init__(self, table: Sequence[bytes], undecoded: bytes = b"") -> None:
        """Args: table: the bytes of each token. undecoded: the beginning of the first character."""
        self.undecoded = b""  # after the end, if the sequence continues: start of its next character
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.setstate((undecoded, 0))
        self._held = b""

    def push(self, tokens: Iterable[int], held_bytes: int = 0) -> str:
        """Returns the text that the tokens complete.

        Args:
            tokens: Ids, in order.
            held_bytes: Bytes at the end of all text so far that may not be released yet.
        """
        data = self._held + b"".join([self._table[token] for token in tokens])
        end = len(data) - held_bytes
        self._held = data[end:]
        return self._decoder.decode(data[:end])

    def finish(self, dropped_bytes: int = 0, *, continues: bool = False) -> str:
        """Returns the rest at the end, without the last ``dropped_bytes``. Invalid UTF-8 becomes U+FFFD.

        Args:
            dropped_bytes: Bytes at the end that are not part of the text.
            continues: Whether the sequence may continue later; then an incomplete character is kept for it.
        """
        held, self._held = self._held, b""
        if continues:
            self.undecoded = incomplete_suffix(self._decoder.getstate()[0] + held)
        return self._decoder.decode(held[: len(held) - dropped_bytes], final=not continues or dropped_bytes > 0)
