"""Network of classifiers."""

import torch
from torch import Tensor, nn

from seqserve.training.config import ClassifierConfig
from seqserve.training.layers import RecurrentStack, State
from seqserve.training.networks.dropout import dropout
from seqserve.training.networks.pooling import Pool
from seqserve.training.networks.words import Spellings, WordFeatures


class Classifier(nn.Module):
    """Scores labels for a sequence: token features, recurrent stack, pooling, linear head."""

    def __init__(self, config: ClassifierConfig, vocabulary_size: int, labels: int) -> None:
        super().__init__()
        self.features = WordFeatures(config, vocabulary_size)
        self.stack = RecurrentStack(config, self.features.output_size, bidirectional=config.bidirectional)
        self.pool = Pool(config.pooling, self.stack.output_size)
        self.dropout = nn.Dropout(config.dropout)
        self.steps_dropout = dropout(config.dropout, locked=True) if config.locked_dropout else nn.Identity()
        self.head = nn.Linear(self.stack.output_size, labels)

    def initial_state(self, batch: int) -> State:
        """Returns the initial state of the stack, followed by that of the pooling."""
        return self.stack.initial_state(batch) + self.pool.initial_state(batch, self.head.weight)

    def forward(
        self, tokens_TB: Tensor, lengths_B: Tensor, spellings: Spellings | None, state: State
    ) -> tuple[Tensor, State]:
        """Computes the logits of the labels.

        Args:
            tokens_TB: int (T, B), token IDs.
            lengths_B: int64 (B), each in [1, T].
            spellings: Spellings of the words, as in ``WordFeatures``.
            state: State to start from, as ``initial_state(B)`` returns it.

        Returns:
            Logits (B, L), and the state after the last token of each row.
        """
        borders = len(self.stack.state_names)
        y_TBH, final = self.stack(self.features(tokens_TB, spellings), lengths_B, state[:borders])
        pooled_BH, gathered = self.pool(
            self.steps_dropout(y_TBH), self.last(y_TBH, lengths_B), lengths_B, state[borders:]
        )
        return self.head(self.dropout(pooled_BH)), final + gathered

    def last(self, y_TBH: Tensor, lengths_B: Tensor) -> Tensor:
        """Returns the last output of each direction (B, H): forward at the last token, backward at the first."""
        rows_B = torch.arange(len(lengths_B), device=y_TBH.device)
        end_BH = y_TBH[lengths_B.to(y_TBH.device) - 1, rows_B]
        if self.stack.directions == 1:
            return end_BH
        size = self.stack.hidden_size
        return torch.cat((end_BH[:, :size], y_TBH[0, :, size:]), dim=-1)
