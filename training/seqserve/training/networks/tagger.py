"""The network of a tagger."""

from torch import Tensor, nn

from seqserve.training.config import TaggerConfig
from seqserve.training.layers import RecurrentStack, State
from seqserve.training.layers.crf import LinearChain
from seqserve.training.networks.dropout import dropout
from seqserve.training.networks.words import Spellings, WordFeatures

EDGES = 4
"""Places of a character in its word: it begins it, ends it, both or neither."""


class Tagger(nn.Module):
    """Scores labels for each token: features of tokens, recurrent stack, linear head, and the CRF's own scores.

    A head for the edges of words may learn beside them (Peng and Dredze 2016); it is no part of what is served.
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
        """Scores of the labels before softmax or CRF; meaningless where a row has ended.

        Args:
            tokens_TB: int (T, B), ids of tokens.
            lengths_B: int64 (B), each in [1, T]; None if every row is T long.
            spellings: as ``WordFeatures`` takes them.
            state: as ``stack.initial_state(B)`` gives it.
            carry_lengths_B: as ``RecurrentStack`` takes them.
        Returns: scores (T, B, L), and the state after each row's last token, or after ``carry_lengths_B``.
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
        """What the heads see of each token, (T, B, H), and the state, as ``forward`` has them."""
        y_TBH, state = self.stack(self.features(tokens_TB, spellings), lengths_B, state, carry_lengths_B)
        return self.dropout(y_TBH), state

    @property
    def unserved(self) -> int:
        """Learned numbers that serve training alone."""
        return 0 if self.edges is None else sum(parameter.numel() for parameter in self.edges.parameters())
