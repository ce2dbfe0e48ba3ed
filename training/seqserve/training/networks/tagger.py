"""Network of taggers."""

from torch import Tensor, nn

from seqserve.training.config import TaggerConfig
from seqserve.training.layers import RecurrentStack, State
from seqserve.training.layers.crf import LinearChain
from seqserve.training.networks.dropout import dropout
from seqserve.training.networks.words import Spellings, WordFeatures

EDGES = 4
"""Number of positions of a character in its word: start, end, both, or neither."""


class Tagger(nn.Module):
    """Scores labels for each token: token features, recurrent stack, linear head, and the scores of a CRF.

    An auxiliary head may learn the edges of words (Peng and Dredze 2016); it isn't part of the served model.
    """

    def __init__(self, config: TaggerConfig, vocabulary_size: int, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.features = WordFeatures(config, vocabulary_size)
        self.stack = RecurrentStack(config, self.features.output_size, bidirectional=config.bidirectional)
        self.dropout = dropout(config.dropout, locked=config.locked_dropout)
        self.head = nn.Linear(self.stack.output_size, len(labels))
        self.crf = LinearChain(labels, constrained=config.constraints) if config.crf else None
        self.edges = nn.Linear(self.stack.output_size, EDGES) if config.word_edges else None

    def forward(
        self,
        tokens_TB: Tensor,
        lengths_B: Tensor | None,
        spellings: Spellings | None,
        state: State,
        carry_lengths_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Computes the scores of the labels before softmax or CRF.

        Args:
            tokens_TB: int (T, B), token IDs.
            lengths_B: int64 (B), each in [1, T]; None if every row has length T.
            spellings: Spellings of the words, as in ``WordFeatures``.
            state: State to start from, as ``stack.initial_state(B)`` returns it.
            carry_lengths_B: Steps after which the states are returned, as in ``RecurrentStack``.

        Returns:
            Scores (T, B, L), meaningless in the padding, and the state after the last token of each row or after
            ``carry_lengths_B``.
        """
        y_TBH, state = self.read(tokens_TB, lengths_B, spellings, state, carry_lengths_B)
        return self.head(y_TBH), state

    def read(
        self,
        tokens_TB: Tensor,
        lengths_B: Tensor | None,
        spellings: Spellings | None,
        state: State,
        carry_lengths_B: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Computes the input of the heads (T, B, H) and the state. Arguments as in ``forward``."""
        y_TBH, state = self.stack(self.features(tokens_TB, spellings), lengths_B, state, carry_lengths_B)
        return self.dropout(y_TBH), state

    @property
    def unserved(self) -> int:
        """Number of trainable parameters that only training uses."""
        return 0 if self.edges is None else sum(parameter.numel() for parameter in self.edges.parameters())
