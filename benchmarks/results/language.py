"""Character language models: The Time Machine as in Dive into Deep Learning, tiny_shakespeare, truncated BPTT."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.loadgen.recording import Json
from benchmarks.results.row import Outcome, Row
from benchmarks.results.training_command import Trained, train

TIME_MACHINE = "DATA/time_machine/timemachine.txt"
SHAKESPEARE = "DATA/tiny_shakespeare/input.txt"
_D2L = (
    *("--data", TIME_MACHINE, "--validation", TIME_MACHINE, "--lowercase", "--letters-only"),
    *("--characters-max", "10000", "--batch-size", "32", "--window", "35", "--hidden-size", "256"),
    *("--embedding-size", "28", "--optimizer", "sgd", "--schedule", "constant", "--warmup", "0"),
    *("--learning-rate", "1", "--weight-decay", "0", "--clip-norm", "1", "--dropout", "0", "--state-reset", "0"),
    *("--epochs", "500", "--validate-epochs", "50", "--threads", "1"),
)
_NETWORKS = {
    "RNN": (1.28, ("--cell", "rnn")),
    "GRU": (1.04, ("--cell", "gru")),
    "LSTM": (1.05, ("--cell", "lstm")),
    "LSTM, 2 layers": (1.03, ("--cell", "lstm", "--layers", "2")),
}
_SHAKESPEARE = (
    *("--data", SHAKESPEARE, "--hidden-size", "512", "--embedding-size", "64", "--batch-size", "32"),
    *("--window", "64", "--epochs", "13", "--learning-rate", "3e-3", "--dropout", "0.25"),
    *("--weight-decay", "0.05", "--state-reset", "0.02", "--threads", "1"),
)
_TRUNCATED = (
    *("--data", SHAKESPEARE, "--hidden-size", "256", "--embedding-size", "32", "--batch-size", "32"),
    *("--window", "35", "--epochs", "3", "--learning-rate", "3e-3", "--dropout", "0.05", "--threads", "1"),
)


def time_machine(data: Path, work: Path) -> Outcome:
    """Measures the training perplexity of four networks on the first 10,000 characters."""
    table: list[Json] = []
    runs: list[Trained] = []
    for name, (target, arguments) in _NETWORKS.items():
        run = train(data, work, name.partition(",")[0].lower() + str(len(runs)), "lm", *_D2L, *arguments)
        runs.append(run)
        figures = {"perplexity": math.exp(run.last_loss), "as one stream": run.metrics["perplexity"]}
        table.append({"network": name, **figures, "target": target, "minutes": run.cpu_s / 60, "parity": run.parity})
    return Outcome(
        table=table,
        reached=", ".join(f"{line['perplexity']:.3f}" for line in table),
        passed=all(line["perplexity"] <= line["target"] for line in table),
        commands=[run.command for run in runs],
        cpu_s=sum(run.cpu_s for run in runs),
        parity=max(run.parity for run in runs),
        notes=[
            "Perplexity as in Dive into Deep Learning: of the 32 streams, over the last epoch, during training."
            " The same text as one stream of 10,000 characters is harder, because no state was trained for that"
            " length. Streams start at the same places in every epoch; the book draws an offset, which makes the"
            " text harder to memorize."
        ],
    )


def shakespeare(data: Path, work: Path) -> Outcome:
    """Measures nats per character on the last tenth of tiny_shakespeare."""
    run = train(data, work, "shakespeare", "lm", *_SHAKESPEARE)
    nats = run.metrics["loss"]
    line = {"network": "LSTM 1 x 512", "nats": nats, "bits": nats / math.log(2), "minutes": run.cpu_s / 60}
    return Outcome(
        table=[line | {"parity": run.parity}],
        reached=f"{nats:.3f}",
        passed=nats <= 1.5 and run.cpu_s <= 3600,
        commands=[run.command],
        cpu_s=run.cpu_s,
        parity=run.parity,
    )


def truncation(data: Path, work: Path) -> Outcome:
    """Compares truncation of gradients at every 35th step, at random steps, and after 350."""
    ways = {
        "regular, 35 steps": ("--truncation", "regular"),
        "random, 35 steps on average": ("--truncation", "random"),
        "regular, 350 steps": ("--window", "350", "--batch-size", "32"),
    }
    table: list[Json] = []
    runs: list[Trained] = []
    for name, arguments in ways.items():
        run = train(data, work, f"way{len(runs)}", "lm", *_TRUNCATED, *arguments)
        runs.append(run)
        table.append({"gradients": name, "nats": run.metrics["loss"], "minutes": run.cpu_s / 60, "parity": run.parity})
    return Outcome(
        table=table,
        reached="; ".join(f"{line['gradients']} {line['nats']:.3f}" for line in table),
        passed=True,
        commands=[run.command for run in runs],
        cpu_s=sum(run.cpu_s for run in runs),
        parity=max(run.parity for run in runs),
        notes=[
            "The same network and three passes over tiny_shakespeare each. With 350 steps per window there are"
            " ten times fewer updates. Full backpropagation through a million characters doesn't fit in memory;"
            " for short sequences (`adding`) it's the method used."
        ],
    )


ROWS = (
    Row(
        name="time_machine",
        title="The Time Machine, characters, first 10,000, batch 32 x 35, hidden 256, SGD 1, 500 epochs: train"
        " perplexity of RNN, GRU, LSTM, 2-layer LSTM",
        target="≤ 1.28, 1.04, 1.05, 1.03",
        reference="Dive into Deep Learning 1.3, 1.1, 1.1, 1.0; plain torch 1.28, 1.034, 1.041, 1.023",
        measure=time_machine,
    ),
    Row(
        name="shakespeare",
        title="tiny_shakespeare, characters, last 10 %: nats per character",
        target="≤ 1.50 in at most 60 minutes",
        reference="plain torch LSTM 1 x 256 1.64 in 8 minutes; minLSTM 1.555; a small GPT on a GPU 1.47",
        measure=shakespeare,
    ),
    Row(
        name="truncation",
        title="truncation of backpropagation through time: regular against random, same passes",
        target="a table",
        reference="Dive into Deep Learning: random is not better",
        measure=truncation,
    ),
)
