"""Taggers, classifiers and infilling models on public data."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.loadgen.recording import Json
from benchmarks.results.row import Outcome, Row
from benchmarks.results.training_command import Trained, train

SEEDS = (0, 1, 2)
_EWT = (
    *("--data", "DATA/ud_english_ewt/en_ewt-ud-train.conllu.gz"),
    *("--validation", "DATA/ud_english_ewt/en_ewt-ud-dev.conllu.gz", "--threads", "1"),
)
_UPOS = (
    *("--hidden-size", "160", "--embedding-size", "64", "--vocabulary-max", "9000", "--byte-embedding-size", "24"),
    *("--byte-hidden-size", "80", "--epochs", "16", "--learning-rate", "4e-3", "--dropout", "0.45"),
    *("--word-dropout", "0.5", "--best-metric", "accuracy"),
)
_UNER = (
    *("--data", "DATA/uner_chinese_gsd/zh_gsd-ud-train.iob2"),
    *("--validation", "DATA/uner_chinese_gsd/zh_gsd-ud-dev.iob2", "--level", "character", "--threads", "1"),
    *("--embedding-size", "80", "--hidden-size", "160", "--bigrams", "20000", "--count-ratios"),
    *("--mention-replacement", "0.3", "--word-edges", "0.3", "--dropout", "0.5", "--locked-dropout"),
    *("--batch-size", "16", "--learning-rate", "4e-3", "--average", "0.998"),
    *("--best-metric", "span_f1", "--epochs", "8"),
)
_POLARITY = (
    *("--data", "pos=DATA/sentence_polarity/rt-polarity.pos", "neg=DATA/sentence_polarity/rt-polarity.neg"),
    *("--encoding", "latin-1", "--validation-fraction", "0.1", "--test-fraction", "0.1", "--threads", "1"),
    *("--embedding-size", "60", "--hidden-size", "60", "--count-ratios", "--pooling", "max", "--dropout", "0.5"),
    *("--embedding-dropout", "0.2", "--word-dropout", "1", "--vocabulary-max", "20000", "--batch-size", "50"),
    *("--learning-rate", "1e-3", "--average", "0.99", "--best-metric", "accuracy", "--epochs", "5"),
)
_BLANKS = ("--dropout", "0.3", "--epochs", "12")


def upos(data: Path, work: Path) -> Outcome:
    """Measures the accuracy of universal parts of speech on EWT dev, gold tokens."""
    run = train(data, work, "upos", "tagger", *_EWT, *_UPOS)
    accuracy = run.metrics["accuracy"]
    return Outcome(
        table=[{"accuracy": accuracy, "minutes": run.cpu_s / 60, "parity": run.parity}],
        reached=f"{accuracy:.4f}",
        passed=accuracy >= 0.953,
        commands=[run.command],
        cpu_s=run.cpu_s,
        parity=run.parity,
    )


def uner(data: Path, work: Path) -> Outcome:
    """Measures strict span F1 by characters on UNER Chinese GSD dev, with and without a CRF, three seeds each."""
    heads = {"CRF": ("--crf", "--constraints"), "softmax": ()}
    runs = {
        head: [train(data, work, f"{head.lower()}{n}", "tagger", *_UNER, *more, "--seed", str(n)) for n in SEEDS]
        for head, more in heads.items()
    }
    table = [_line(head, each, "span_f1") for head, each in runs.items()]
    means = {head: statistics.fmean(run.metrics["span_f1"] for run in each) for head, each in runs.items()}
    return _outcome(
        table,
        [run for each in runs.values() for run in each],
        reached=", ".join(f"{head} {mean:.3f}" for head, mean in means.items()),
        passed=means["CRF"] >= 0.65 and means["CRF"] > means["softmax"],
    )


def polarity(data: Path, work: Path) -> Outcome:
    """Measures accuracy on the validation tenth of sentence_polarity with three seeds; the split has another."""
    runs = [train(data, work, f"polarity{n}", "classifier", *_POLARITY, "--seed", str(n)) for n in SEEDS]
    mean = statistics.fmean(run.metrics["accuracy"] for run in runs)
    return _outcome([_line("max pooling", runs, "accuracy")], runs, reached=f"{mean:.3f}", passed=mean >= 0.765)


def infilling(data: Path, work: Path) -> Outcome:
    """Blanks one word in five of EWT dev and measures how often the model names it, from both sides and from one."""
    sides = {
        "both sides": ("--hidden-size", "200"),
        "one side": ("--no-bidirectional", "--hidden-size", "300"),
    }
    runs = [
        train(data, work, f"blanks{n}", "infilling", *_EWT, *_BLANKS, *more) for n, more in enumerate(sides.values())
    ]
    table: list[Json] = [
        {"from": name, "top-1": run.metrics["top_1"], "top-5": run.metrics["top_5"], "parity": run.parity}
        for name, run in zip(sides, runs, strict=True)
    ]
    both, one = table
    return _outcome(
        table,
        runs,
        reached="; ".join(f"{top} {both[top]:.3f} against {one[top]:.3f}" for top in ("top-1", "top-5")),
        passed=both["top-1"] > 1.1 * one["top-1"] and both["top-5"] > 1.1 * one["top-5"],
    )


def _line(name: str, runs: list[Trained], figure: str) -> Json:
    values = [run.metrics[figure] for run in runs]
    return {
        "head": name,
        "mean": statistics.fmean(values),
        "spread": statistics.stdev(values),
        "each": ", ".join(f"{value:.3f}" for value in values),
        "parity": max(run.parity for run in runs),
    }


def _outcome(table: list[Json], runs: list[Trained], *, reached: str, passed: bool) -> Outcome:
    return Outcome(
        table=table,
        reached=reached,
        passed=passed,
        commands=[run.command for run in runs],
        cpu_s=sum(run.cpu_s for run in runs),
        parity=max(run.parity for run in runs),
    )


ROWS = (
    Row(
        name="upos",
        title="UD English EWT, UPOS accuracy on dev, gold tokens, no pretrained vectors",
        target=">= 0.953",
        reference="plain torch 0.9506; UDPipe 1.2 0.944",
        measure=upos,
    ),
    Row(
        name="uner",
        title="UNER Chinese GSD by characters, strict span F1 on dev: BiLSTM-CRF and BiLSTM-softmax, three seeds each",
        target="CRF >= 0.65, ahead of softmax",
        reference="one seed, test: 0.638 and 0.531",
        measure=uner,
    ),
    Row(
        name="polarity",
        title="sentence_polarity, accuracy, fixed split 80/10/10, mean of three seeds (dev)",
        target=">= 0.765",
        reference="BiLSTM 128 max-pool 0.73 to 0.75; CNN-rand 0.761 (Kim 2014)",
        measure=polarity,
    ),
    Row(
        name="infilling",
        title="fill in the blank on EWT dev, one word in five: bidirectional against one-directional of like size",
        target="bidirectional clearly ahead",
        reference="",
        measure=infilling,
    ),
)
