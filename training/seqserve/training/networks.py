"""The networks of the tasks, in torch.

Axes: T time, B batch, V vocabulary, L labels, U distinct words of a batch, W bytes of a word, E and H widths.
"""

import torch
from torch import Tensor, nn

from seqserve.training.config import CellKind, LanguageModelConfig, TaggerConfig
from seqserve.training.layers import RecurrentStack, State

BYTE_VALUES = 257
"""Rows of a byte embedding: 0 for no byte, then the byte's value plus 1."""


class LanguageModel(nn.Module):
    """Predicts each next token: embedding, recurrent stack of one direction, linear head."""

    def __init__(self, config: LanguageModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.stack = RecurrentStack(
            config.cell,
            config.embedding_size,
            config.hidden_size,
            config.layers,
            bidirectional=False,
            dropout=config.dropout,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size, vocabulary_size)

    def forward(self, tokens_TB: Tensor, lengths_B: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Logits of the token after each.

        Args:
            tokens_TB: int (T, B).
            lengths_B: int64 (B), each in [1, T]; None if every row is T long.
            state: as ``stack.initial_state(B)`` gives it.
        Returns: logits (T, B, V), and the state after each row's last token.
        """
        y_TBH, state = self.stack(self.embedding(tokens_TB), lengths_B, state)
        return self.head(self.dropout(y_TBH)), state


class Tagger(nn.Module):
    """Scores labels for each word: word embedding and spelling features, bidirectional stack, linear head."""

    def __init__(self, config: TaggerConfig, vocabulary_size: int, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.byte_embedding = nn.Embedding(BYTE_VALUES, config.byte_embedding_size)
        self.speller = RecurrentStack(
            CellKind.LSTM,
            config.byte_embedding_size,
            config.byte_hidden_size,
            layers=1,
            bidirectional=True,
            dropout=0.0,
        )
        self.stack = RecurrentStack(
            config.cell,
            config.embedding_size + self.speller.output_size,
            config.hidden_size,
            config.layers,
            bidirectional=True,
            dropout=config.dropout,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(self.stack.output_size, labels)

    def spell(self, bytes_UW: Tensor, byte_lengths_U: Tensor) -> Tensor:
        """Spelling features (U, 2 H) of words: the last state of each direction over their bytes.

        Args:
            bytes_UW: int (U, W), byte values plus 1, 0 after the last.
            byte_lengths_U: int64 (U), each in [1, W].
        """
        embedded_WUE = self.byte_embedding(bytes_UW.T)
        _, state = self.speller(embedded_WUE, byte_lengths_U, self.speller.initial_state(len(bytes_UW)))
        return torch.cat((state[0][0], state[0][1]), dim=-1)

    def forward(
        self, tokens_TB: Tensor, lengths_B: Tensor, bytes_UW: Tensor, byte_lengths_U: Tensor, words_TB: Tensor
    ) -> Tensor:
        """Scores (T, B, L) of the labels before softmax; meaningless where a row has ended.

        Args:
            tokens_TB: int (T, B), ids of words.
            lengths_B: int64 (B), each in [1, T].
            bytes_UW: int (U, W), spellings, as in ``spell``.
            byte_lengths_U: int64 (U), each in [1, W].
            words_TB: int64 (T, B), which of the U spellings each word has.
        """
        spelled_TBH = self.spell(bytes_UW, byte_lengths_U)[words_TB]
        x_TBI = torch.cat((self.embedding(tokens_TB), spelled_TBH), dim=-1)
        y_TBH, _ = self.stack(self.dropout(x_TBI), lengths_B, self.stack.initial_state(tokens_TB.shape[1]))
        scores_TBL: Tensor = self.head(self.dropout(y_TBH))
        return scores_TBL


def parameter_count(network: nn.Module) -> int:
    """Learned numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
