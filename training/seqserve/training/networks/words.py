"""Features of the tokens of a sequence, before the recurrent stack.

Axes: T tokens, B sequences, U distinct words of a batch, W bytes of a word, E and H widths.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from seqserve.training.config import NetworkConfig, WordsConfig
from seqserve.training.layers import RecurrentStack
from seqserve.training.networks.dropout import TokenDropout, dropout
from seqserve.training.tensors import tensor

BYTE_VALUES = 257
"""Rows of a byte embedding: 0 for no byte, then the byte's value plus 1."""
PAIR_FACTOR = 1_000_003
"""Prime that distributes pairs of tokens over the slots."""
PAIR_SLOTS = 1 << 20
"""Number of hash slots for pairs of tokens: many more than learned pairs, so that few other pairs collide with them."""

BESIDE_KNOWN = 0.1
"""Standard deviation of the initial embeddings beside prior knowledge of the tokens."""


class Spellings(NamedTuple):
    """Spellings of the words of a batch, each distinct word once.

    Attributes:
        bytes_UW: int (U, W), byte values plus 1; 0 is padding.
        byte_lengths_U: int64 (U), each in [1, W].
        words_TB: int64 (T, B), index of the spelling of each word.
    """

    bytes_UW: Tensor
    byte_lengths_U: Tensor
    words_TB: Tensor


class Speller(nn.Module):
    """Features of the bytes of a word: the last states of a bidirectional LSTM."""

    def __init__(self, config: WordsConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTE_VALUES, config.byte_embedding_size)
        self.stack = RecurrentStack(
            NetworkConfig(hidden_size=config.byte_hidden_size), config.byte_embedding_size, bidirectional=True
        )

    def forward(self, bytes_UW: Tensor, byte_lengths_U: Tensor) -> Tensor:
        """Computes the features (U, 2 H) of words. Arguments as in ``Spellings``."""
        embedded_WUE = self.embedding(bytes_UW.T)
        _, state = self.stack(embedded_WUE, byte_lengths_U, self.stack.initial_state(len(bytes_UW)))
        return torch.cat((state[0][0], state[0][1]), dim=-1)


class WordFeatures(nn.Module):
    """Embedding of a token, with optional features of its bytes and of the pair with the next token.

    Attributes:
        pair_rows_S: int32 (PAIR_SLOTS), row of the bigram table for the pairs of each slot.
    """

    pair_rows_S: Tensor

    def __init__(self, config: WordsConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.token_dropout = TokenDropout(config.embedding_dropout)
        self.speller = Speller(config) if config.spells else None
        self.pairs = nn.Embedding(config.bigrams, config.embedding_size) if config.bigrams else None
        if self.pairs is not None:
            nn.init.zeros_(self.pairs.weight)
            self.register_buffer("pair_rows_S", torch.arange(PAIR_SLOTS, dtype=torch.int32) % config.bigrams)
        self.dropout = dropout(config.dropout, locked=config.locked_dropout)
        self.output_size = config.embedding_size * (2 if config.bigrams else 1)
        if self.speller is not None:
            self.output_size += self.speller.stack.output_size

    @torch.no_grad()
    def initialize_with(self, known_VK: npt.NDArray[np.float64]) -> None:
        """Initializes the first K numbers of each embedding with these, and the others with small numbers."""
        self.embedding.weight.mul_(BESIDE_KNOWN)
        self.embedding.weight[:, : known_VK.shape[1]] = tensor(known_VK)

    def set_known_pairs(self, numbers_N: npt.NDArray[np.int64]) -> None:
        """Assigns a row of the bigram table to each of these pairs, and row 0 to all others.

        Args:
            numbers_N: int64 (N), pairs as ``pair_numbers`` numbers them, most frequent first. Pairs beyond the size of
                the table share row 0.
        """
        if self.pairs is None:
            raise ValueError("this network has no features of pairs: set bigrams")
        slots_N = numbers_N[: self.pairs.num_embeddings - 1] % PAIR_SLOTS
        rows_S = np.zeros(PAIR_SLOTS, dtype=np.int32)
        rows_S[slots_N[::-1]] = np.arange(
            len(slots_N), 0, -1
        )  # of two pairs in a slot, the more frequent is written last
        self.pair_rows_S.copy_(tensor(rows_S))

    def forward(self, tokens_TB: Tensor, spellings: Spellings | None) -> Tensor:
        """Computes the features (T, B, E) of tokens.

        Args:
            tokens_TB: int (T, B), token IDs; 0 in the padding.
            spellings: Spellings of the words; None for a network without spelling features.
        """
        features = [self.token_dropout(self.embedding(tokens_TB))]
        if self.speller is not None:
            if spellings is None:
                raise ValueError("this network uses the bytes of its words: pass spellings")
            features.append(self.speller(spellings.bytes_UW, spellings.byte_lengths_U)[spellings.words_TB])
        if self.pairs is not None:
            features.append(self.token_dropout(self.pairs(self.pair_rows_S[pair_numbers(tokens_TB) % PAIR_SLOTS])))
        x_TBE: Tensor = self.dropout(torch.cat(features, dim=-1))
        return x_TBE


def pair_numbers(tokens_TB: Tensor) -> Tensor:
    """Numbers each pair of a token and the next one (0 after the last): int64 (T, B)."""
    tokens_TB = tokens_TB.long()
    next_TB = torch.cat((tokens_TB[1:], torch.zeros_like(tokens_TB[:1])))
    return tokens_TB * PAIR_FACTOR + next_TB
