"""Network of language models."""

from torch import Tensor, nn

from seqserve.training.config import LanguageModelConfig
from seqserve.training.layers import RecurrentStack, State


class LanguageModel(nn.Module):
    """Predicts each next token: embedding, unidirectional recurrent stack, linear head."""

    def __init__(self, config: LanguageModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.stack = RecurrentStack(config, config.embedding_size, bidirectional=False)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.hidden_size, vocabulary_size)
        if config.tied_weights:
            self.embedding.weight = self.head.weight

    def forward(self, tokens_TB: Tensor, lengths_B: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Computes the logits of the token after each token.

        Args:
            tokens_TB: int (T, B), token IDs.
            lengths_B: int64 (B), each in [1, T]; None if every row has length T.
            state: State to start from, as ``stack.initial_state(B)`` returns it.

        Returns:
            Logits (T, B, V), and the state after the last token of each row.
        """
        y_TBH, state = self.stack(self.embedding(tokens_TB), lengths_B, state)
        return self.head(self.dropout(y_TBH)), state
