"""Network of infilling models."""

import torch
from torch import Tensor, nn

from seqserve.training.config import InfillingConfig
from seqserve.training.layers import RecurrentStack, State
from seqserve.training.networks.dropout import TokenDropout, dropout


class Infiller(nn.Module):
    """Predicts each token from those before it and, if bidirectional, those after it, never from itself.

    One stack reads forward and one backward. The context of a token is the output of the forward stack before it and
    that of the backward stack after it (as in context2vec: Melamud, Goldberger, and Dagan 2016). All tokens of a text
    are therefore training examples at once, and blanks may occur anywhere, because a blank is a separate token in the
    contexts of others.
    """

    def __init__(self, config: InfillingConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.token_dropout = TokenDropout(config.embedding_dropout)
        self.dropout = dropout(config.dropout, locked=config.locked_dropout)
        self.stack = RecurrentStack(config, config.embedding_size, bidirectional=False)
        self.backward_stack = (
            RecurrentStack(config, config.embedding_size, bidirectional=False) if config.bidirectional else None
        )
        self.context_size = config.hidden_size * (2 if config.bidirectional else 1)
        self.middle = nn.Linear(self.context_size, config.embedding_size)
        self.head = nn.Linear(config.embedding_size, vocabulary_size)
        if config.tied_weights:
            self.embedding.weight = self.head.weight

    def initial_state(self, batch: int) -> State:
        """Returns the initial state of the forward stack, and the context before the first token (1, B, H)."""
        return (*self.stack.initial_state(batch), self.head.weight.new_zeros(1, batch, self.stack.hidden_size))

    def forward(self, tokens_TB: Tensor, lengths_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Computes the logits of the token at each position, given the others.

        Args:
            tokens_TB: int (T, B), token IDs.
            lengths_B: int64 (B), each in [1, T].
            state: State to start from, as ``initial_state(B)`` returns it.

        Returns:
            Logits (T, B, V), and the state after the last token of each row.
        """
        x_TBE = self.dropout(self.token_dropout(self.embedding(tokens_TB)))
        y_TBH, final = self.stack(x_TBE, lengths_B, state[:-1])
        known_TBH = torch.cat((state[-1], y_TBH))  # after no token, after one, ...
        last_1BH = known_TBH.gather(0, lengths_B.to(y_TBH.device)[None, :, None].expand(1, -1, y_TBH.shape[2]))
        context_TBH = known_TBH[:-1]
        if self.backward_stack is not None:
            begin = self.backward_stack.initial_state(len(lengths_B))
            z_TBH, _ = self.backward_stack(reversed_rows(x_TBE, lengths_B), lengths_B, begin)
            after_TBH = reversed_rows(torch.cat((torch.zeros_like(z_TBH[:1]), z_TBH[:-1])), lengths_B)
            context_TBH = torch.cat((context_TBH, after_TBH), dim=-1)
        middle_TBE = torch.tanh(self.middle(self.dropout(context_TBH)))
        return self.head(self.dropout(middle_TBE)), (*final, last_1BH)


def reversed_rows(x_TBH: Tensor, lengths_B: Tensor) -> Tensor:
    """Reverses the valid steps of each row; padding stays in place."""
    steps_T1 = torch.arange(len(x_TBH), device=x_TBH.device)[:, None]
    lengths_B = lengths_B.to(x_TBH.device)
    places_TB = torch.where(steps_T1 < lengths_B, lengths_B - 1 - steps_T1, steps_T1)
    return x_TBH.gather(0, places_TB[..., None].expand_as(x_TBH))
