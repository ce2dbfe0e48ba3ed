"""A bounded cache of states by prompt prefix, for one servable.

A prompt that begins like an earlier one is not read again. Exact: a cached state has the bits that reading would give.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from seqserve.server.model.inputs import Array
from seqserve.server.model.state import State


class PrefixCache:
    """States after whole blocks of a prompt, least recently used first to go. For any number of threads."""

    def __init__(self, bytes_max: int, block: int) -> None:
        """Args: bytes_max: bytes of states kept, 0 for none; block: prefixes are multiples of this many tokens."""
        self.block = block
        self.hits = 0
        self.misses = 0
        self.hit_tokens = 0
        self._bytes_max = bytes_max
        self._bytes = 0
        self._states: OrderedDict[bytes, State] = OrderedDict()
        self._lock = threading.Lock()

    def keys(self, tokens: Array) -> list[bytes]:
        """Digests of the prefixes of a prompt, one a whole block, each chained to the one before."""
        keys: list[bytes] = []
        digest = b""
        for end in range(self.block, len(tokens) + 1, self.block) if self._bytes_max else ():
            digest = hashlib.blake2b(digest + tokens[end - self.block : end].tobytes(), digest_size=20).digest()
            keys.append(digest)
        return keys

    def find(self, keys: list[bytes], tokens: int) -> tuple[int, State]:
        """The longest known prefix of a prompt of so many ``tokens`` that leaves at least one to read.

        Returns: Its length and its state; 0 and the empty state if none is known.
        """
        known = keys[: (tokens - 1) // self.block]
        with self._lock:
            for blocks, key in reversed(list(enumerate(known, 1))):
                if (state := self._states.get(key)) is not None:
                    self._states.move_to_end(key)
                    self.hits += 1
                    self.hit_tokens += blocks * self.block
                    return blocks * self.block, state
            self.misses += bool(known)
            return 0, ()

    def keep(self, keys: list[bytes], length: int, state: State) -> None:
        """Remember the state after the first ``length`` tokens, if that is a whole number of blocks."""
        size = sum(tensor.nbytes for tensor in state)
        if not keys or length % self.block or size > self._bytes_max:
            return
        key = keys[length // self.block - 1]
        with self._lock:
            if key not in self._states:
                self._states[key] = state
                self._bytes += size
                while self._bytes > self._bytes_max:
                    _, oldest = self._states.popitem(last=False)
                    self._bytes -= sum(tensor.nbytes for tensor in oldest)
