"""What a network knows of each token of a sequence before it reads them in order.

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
"""Prime that spreads pairs of tokens over the slots."""
PAIR_SLOTS = 1 << 20
"""Slots that pairs of tokens are spread over: many more than pairs that are learned, so that few others meet one."""

BESIDE_KNOWN = 0.1
"""Standard deviation of the first embeddings beside what is known of tokens before training."""


class Spellings(NamedTuple):
    """The letters of a batch's words, each distinct word once.

    Attributes:
        bytes_UW: int (U, W), byte values plus 1, 0 after the last.
        byte_lengths_U: int64 (U), each in [1, W].
        words_TB: int64 (T, B), which of the U spellings each word has.
    """

    bytes_UW: Tensor
    byte_lengths_U: Tensor
    words_TB: Tensor


class Speller(nn.Module):
    """Features of a word's bytes: the last states of an LSTM that reads them in both directions."""

    def __init__(self, config: WordsConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTE_VALUES, config.byte_embedding_size)
        self.stack = RecurrentStack(
            NetworkConfig(hidden_size=config.byte_hidden_size), config.byte_embedding_size, bidirectional=True
        )

    def forward(self, bytes_UW: Tensor, byte_lengths_U: Tensor) -> Tensor:
        """Features (U, 2 H) of words, given as in ``Spellings``."""
        embedded_WUE = self.embedding(bytes_UW.T)
        _, state = self.stack(embedded_WUE, byte_lengths_U, self.stack.initial_state(len(bytes_UW)))
        return torch.cat((state[0][0], state[0][1]), dim=-1)


class WordFeatures(nn.Module):
    """A token's embedding, and if asked for the features of its bytes, and of the pair that it makes with the next.

    Attributes:
        pair_rows_S: int32 (PAIR_SLOTS), the row of the bigram table that the pairs of each slot have.
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
    def begin_with(self, known_VK: npt.NDArray[np.float64]) -> None:
        """Let the first K numbers of each token's embedding begin as these, and the others small beside them."""
        self.embedding.weight.mul_(BESIDE_KNOWN)
        self.embedding.weight[:, : known_VK.shape[1]] = tensor(known_VK)

    def know_pairs(self, numbers_N: npt.NDArray[np.int64]) -> None:
        """Give each of these pairs a row of the bigram table, and all others row 0.

        Args:
            numbers_N: as ``pair_numbers`` gives them, the most frequent first; what finds no row is left out.
        """
        if self.pairs is None:
            raise ValueError("this network has no features of pairs: ask for bigrams")
        slots_N = numbers_N[: self.pairs.num_embeddings - 1] % PAIR_SLOTS
        rows_S = np.zeros(PAIR_SLOTS, dtype=np.int32)
        rows_S[slots_N[::-1]] = np.arange(len(slots_N), 0, -1)  # of two in a slot the more frequent is written last
        self.pair_rows_S.copy_(tensor(rows_S))

    def forward(self, tokens_TB: Tensor, spellings: Spellings | None) -> Tensor:
        """Features (T, B, E) of tokens.

        Args:
            tokens_TB: int (T, B), ids; 0 where a row has ended.
            spellings: their letters; None for a network without spelling features.
        """
        features = [self.token_dropout(self.embedding(tokens_TB))]
        if self.speller is not None:
            if spellings is None:
                raise ValueError("this network reads the bytes of its words: give it spellings")
            features.append(self.speller(spellings.bytes_UW, spellings.byte_lengths_U)[spellings.words_TB])
        if self.pairs is not None:
            features.append(self.token_dropout(self.pairs(self.pair_rows_S[pair_numbers(tokens_TB) % PAIR_SLOTS])))
        x_TBE: Tensor = self.dropout(torch.cat(features, dim=-1))
        return x_TBE


def pair_numbers(tokens_TB: Tensor) -> Tensor:
    """A number for each token and the one after it, 0 after the last: int64 (T, B)."""
    tokens_TB = tokens_TB.long()
    next_TB = torch.cat((tokens_TB[1:], torch.zeros_like(tokens_TB[:1])))
    return tokens_TB * PAIR_FACTOR + next_TB
