"""A bounded cache of states by prompt prefix, for one servable.

A prompt that begins like an earlier one does not consume that beginning again. Exact: a cached state has the bits that
consuming the prefix would give.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from seqserve.server.model.inputs import Array
from seqserve.server.model.state import State

_BLOCKS_MAX = 1024  # of one prompt; their digests take a few milliseconds


class PrefixCache:
    """States after whole blocks of a prompt. Evicts the least recently used. Thread-safe.

    Attributes:
        block: Prefixes are multiples of this many tokens.
        hits: Number of prompts whose beginning was in the cache.
        misses: Number of prompts whose beginning was not.
        hit_tokens: Number of prompt tokens that were not consumed again.
    """

    def __init__(self, bytes_max: int, block: int) -> None:
        """Makes an empty cache.

        Args:
            bytes_max: Maximum size of the cached states, in bytes; 0: no cache.
            block: Prefixes are multiples of this many tokens.
        """
        self.block = block
        self.hits = 0
        self.misses = 0
        self.hit_tokens = 0
        self._bytes_max = bytes_max
        self._bytes = 0
        self._states: OrderedDict[bytes, State] = OrderedDict()
        self._lock = threading.Lock()

    def keys(self, tokens: Array) -> list[bytes]:
        """Returns digests of a prompt's prefixes, one per whole block, each chained to the one before.

        Longer prefixes than _BLOCKS_MAX blocks are not cached: this runs on the event loop, and one very long prompt
        would evict all others.
        """
        keys: list[bytes] = []
        digest = b""
        length = min(len(tokens), self.block * _BLOCKS_MAX) if self._bytes_max else 0
        for end in range(self.block, length + 1, self.block):
            digest = hashlib.blake2b(digest + tokens[end - self.block : end].tobytes(), digest_size=20).digest()
            keys.append(digest)
        return keys

    def find(self, keys: list[bytes], tokens: int) -> tuple[int, State]:
        """Finds the longest cached prefix that leaves at least one token of the prompt to consume.

        Args:
            keys: The keys of the prompt's prefixes.
            tokens: Length of the prompt.

        Returns:
            Length and state of the prefix; 0 and the empty state if none is cached.
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
        """Caches the state after the first ``length`` tokens, if that is a whole number of blocks.

        Args:
            keys: The keys of the prompt's prefixes.
            length: Number of tokens that the state has consumed.
            state: Arrays (D, 1, H), which nobody writes to any more.
        """
        size = sum(tensor.nbytes for tensor in state)
        blocks, rest = divmod(length, self.block)
        if rest or not 0 < blocks <= len(keys) or size > self._bytes_max:
            return
        key = keys[blocks - 1]
        with self._lock:
            if key not in self._states:
                self._states[key] = state
                self._bytes += size
                while self._bytes > self._bytes_max:
                    _, oldest = self._states.popitem(last=False)
                    self._bytes -= sum(tensor.nbytes for tensor in oldest)
