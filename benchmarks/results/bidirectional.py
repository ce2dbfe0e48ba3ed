"""Why a language model is unidirectional: a bidirectional one reads the answer and cannot generate.

The network, the text and the training are those of `time_machine`'s LSTM, except for the second direction, which
`seqserve-train lm` refuses. This module therefore builds the model itself. It generates as in Dive into Deep Learning,
section 9.4: it reads a prefix token by token and then repeatedly appends the likeliest next token.

Axes: T steps, B streams, V vocabulary.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.results.row import Outcome, Row
from seqserve.training.config import LanguageModelConfig
from seqserve.training.data.corpus import corpus, token_text
from seqserve.training.layers import RecurrentStack, State
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizers.text import text_tokenizer

EPOCHS, RATE, CLIP = 100, 1.0, 1.0
PREFIX, WRITTEN = "time traveller", 50
REFUSED = "a language model cannot be bidirectional"


class TwoDirections(nn.Module):
    """A language model that also reads backward."""

    def __init__(self, config: LanguageModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, config.embedding_size)
        self.stack = RecurrentStack(config, config.embedding_size, bidirectional=True)
        self.head = nn.Linear(2 * config.hidden_size, vocabulary_size)

    def forward(self, tokens_TB: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns the logits (T, B, V) of each next token, and the states of both directions."""
        y_TBH, state = self.stack(self.embedding(tokens_TB), None, state)
        return self.head(y_TBH), state


def measure(data: Path, work: Path) -> Outcome:
    """Trains the model, generates from it, and checks that `seqserve-train lm` refuses it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    file = data / "time_machine" / "timemachine.txt"
    config = LanguageModelConfig(
        data=(file,),
        validation=(file,),
        lowercase=True,
        letters_only=True,
        characters_max=10_000,
        batch_size=32,
        window=35,
        hidden_size=256,
        embedding_size=28,
        dropout=0.0,
    )
    start_s = time.process_time()
    text, _ = corpus(config)
    tokenizer = text_tokenizer(config, (piece.text for piece in text.pieces()))
    read = token_text(text, tokenizer, config.level)
    network = TwoDirections(config, tokenizer.get_vocab_size())
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    loss_sum, count = 0.0, 0
    for _ in range(EPOCHS):
        state, loss_sum, count = network.stack.initial_state(config.batch_size), 0.0, 0
        for window in read.windows(streams=config.batch_size, steps=config.window):
            logits_TBV, state = network(tensor(window.inputs), tuple(each.detach() for each in state))
            loss = nn.functional.cross_entropy(logits_TBV.flatten(0, 1), long_tensor(window.targets).flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            loss_sum, count = loss_sum + loss.item() * window.targets.size, count + window.targets.size
    generated = tokenizer.decode(write(network, tokenizer.encode(PREFIX).ids))
    command = ["seqserve-train", "lm", "--data", "DATA/time_machine/timemachine.txt", "--bidirectional"]
    message = _error_of([each.replace("DATA", str(data)) for each in command[1:]], work)
    perplexity = math.exp(loss_sum / count)
    return Outcome(
        table=[{"train perplexity": perplexity, "writes": f"`{generated}`"}],
        reached="refused" if REFUSED in message else "not refused",
        passed=REFUSED in message,
        commands=[" ".join([*command, "--out", "OUT/models/both"])],
        cpu_s=time.process_time() - start_s,
        notes=[
            f"{EPOCHS} epochs. The perplexity is close to 1 because the backward direction reads the very token to"
            " predict. During generation there is no such token, and the model has learned little else."
            " `seqserve-train lm --bidirectional` reports this and exits."
        ],
    )


@torch.no_grad()
def write(network: TwoDirections, prefix: list[int]) -> list[int]:
    """Returns the prefix followed by the most likely tokens."""
    state, tokens = network.stack.initial_state(1), list(prefix)
    for index in range(len(prefix) + WRITTEN - 1):
        logits_11V, state = network(torch.tensor([[tokens[index]]]), state)
        if index + 1 == len(tokens):
            tokens.append(int(logits_11V.argmax()))
    return tokens


def _error_of(arguments: list[str], work: Path) -> str:
    """Runs the command. Returns its standard error."""
    run = [sys.executable, "-m", "seqserve.training", *arguments, "--out", str(work / "both")]
    return subprocess.run(run, capture_output=True, text=True, check=False).stderr


ROW = Row(
    name="bidirectional",
    title="The Time Machine with a bidirectional model: why it cannot generate",
    target="refused, with that reason",
    reference="Dive into Deep Learning, section 9.4, `time travellerererer`",
    measure=measure,
)
