"""The cost of not waiting: accuracy of a tagger by look-ahead.

The server's engine reads the sentences as streams, in this process and without the wire. Writes docs/lookahead.md,
.json and .png.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.harness import machine
from seqserve.server.decoding.tagging import chain_of, choose_labels
from seqserve.server.engine.engine import Engine
from seqserve.server.engine.output_stream import OutputStream, StepOutputs, StreamChunk, StreamOutput
from seqserve.server.engine.requests import StepStreamRequest
from seqserve.server.model.manifest import read_manifest
from seqserve.server.model.servable import Servable, ServableId
from seqserve.server.settings import BatchSettings, RuntimeSettings
from seqserve.server.text.tokenization import Tokenization
from seqserve.training.data.conllu import Sentence, read_conllu

LOOKAHEADS = (0, 1, 2, 4, 8, None)
"""Look-aheads in tokens; None for the whole sentence."""

_PAGE = """\
# Accuracy by look-ahead

A bidirectional tagger uses the words after a word, so a stream must wait for them. With a look-ahead of N, the tag of a
word is final when N more words have arrived or the sentence has ended. The forward state is carried exactly from word
to word, and the backward direction runs over the window of N + 1 words. With a look-ahead of 0 the model sees no later
words and is less accurate than a unidirectional model; with a few words it's nearly as accurate as with the whole
sentence.

{data}: {sentences:,} sentences, {words:,} words as tokenized in the data. A tag costs a run of N + 1 steps, which all
streams of the model share.

{table}
![Accuracy by look-ahead](lookahead.png)

The models: {models}. A
unidirectional model doesn't wait for later words.

```
python -m benchmarks lookahead --data {command} {folders}
```
"""


@dataclass(frozen=True)
class Point:
    """The accuracy of a model with one look-ahead.

    Attributes:
        model: Name of the model.
        lookahead: Look-ahead in tokens; None for the whole sentence.
        accuracy: Share of correct tags.
        changed: Share of tags that differ from those with the whole sentence.
    """

    model: str
    lookahead: int | None
    accuracy: float
    changed: float


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks lookahead", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="REPO/MODEL/VERSION", help="taggers")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="CoNLL-U; UPOS is compared")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="output folder (%(default)s)")
    arguments = parser.parse_args(argv)
    sentences = read_conllu(arguments.data)
    models = [load_servable(folder) for folder in arguments.folders]
    points: list[Point] = []
    for folder, model in zip(arguments.folders, models, strict=True):
        points += curve(model, folder, sentences)
        print(table(points))
    about = {"machine": machine.machine(), "versions": machine.versions()}
    figures = {"points": [asdict(point) for point in points], **about}
    (arguments.out / "lookahead.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    draw(points, arguments.out / "lookahead.png")
    page = _PAGE.format(
        data=arguments.data.name.partition(".")[0],
        sentences=len(sentences),
        words=sum(len(sentence.words) for sentence in sentences),
        table=table(points),
        models="; ".join(f"`{model.id.model}`, {describe(model)}" for model in models),
        command=f"DATA/{arguments.data.parent.name}/{arguments.data.name}",
        folders=" ".join("/".join(folder.parts[-3:]) for folder in arguments.folders),
    )
    (arguments.out / "lookahead.md").write_text(page, encoding="utf-8")


def load_servable(folder: Path) -> Servable:
    """Loads a tagger."""
    manifest = read_manifest(folder)
    identity = ServableId(folder.parent.name, int(folder.name), manifest.graph.sha256)
    return Servable(identity, manifest, folder, RuntimeSettings(provider="cpu"))


def describe(model: Servable) -> str:
    """Describes a network in a few words."""
    network = model.manifest.network
    return f"{'bidirectional' if network.bidirectional else 'unidirectional'}, {network.parameters:,} parameters"


def curve(model: Servable, folder: Path, sentences: Sequence[Sentence]) -> list[Point]:
    """Measures the points of a model; the whole sentence is the last."""
    expected = [tag for sentence in sentences for tag in sentence.tags]
    lookaheads = LOOKAHEADS if model.sees_future else (0,)
    tags_by_lookahead = {lookahead: tags(model, folder, sentences, lookahead) for lookahead in lookaheads}
    whole = tags_by_lookahead[lookaheads[-1]]
    return [
        Point(model.id.model, lookahead, agreement(labels, expected), 1 - agreement(labels, whole))
        for lookahead, labels in tags_by_lookahead.items()
    ]


def agreement(labels: Sequence[str], others: Sequence[str]) -> float:
    """Returns the share of equal labels."""
    return float(np.mean([label == other for label, other in zip(labels, others, strict=True)]))


def tags(model: Servable, folder: Path, sentences: Sequence[Sentence], lookahead: int | None) -> list[str]:
    """Returns the final tag of every word from the engine."""
    answers: defaultdict[OutputStream, list[StreamChunk]] = defaultdict(list)

    def publish(published: StepOutputs) -> None:
        for stream, item in published:
            if isinstance(item, StreamOutput):
                answers[stream] += [steps for steps in item.items if isinstance(steps, StreamChunk) and len(steps)]

    engine = Engine(model, [], BatchSettings(open_streams_max=len(sentences)), publish)
    tokenization = Tokenization(model.manifest, folder)
    feeds = [engine.open(StepStreamRequest(lookahead=lookahead)) for _ in sentences]
    for feed, sentence in zip(feeds, sentences, strict=True):
        feed.push(tokenization.tokenize_words(sentence.words, "words").inputs)
        feed.finish()
    while engine.step():
        pass
    labels = model.manifest.labels
    scores = [
        np.concatenate([steps.scores for steps in answers[feed.output] if steps.scores is not None]) for feed in feeds
    ]
    chosen = choose_labels(scores, chain=chain_of(labels))
    return [labels.names[label] for choices in chosen for label in choices.labels]


def table(points: Sequence[Point]) -> str:
    """Formats the points, one per line."""
    lines = ["| model | look-ahead | accuracy | tags that the whole sentence changes |", "|---|---|---|---|"]
    forward = {point.model for point in points if point.lookahead is None}
    for point in points:
        seen = "the sentence" if point.lookahead is None else str(point.lookahead)
        if point.model not in forward:
            lines.append(f"| `{point.model}` | none | {point.accuracy:.4f} | |")
        else:
            lines.append(f"| `{point.model}` | {seen} | {point.accuracy:.4f} | {point.changed:.2%} |")
    return "\n".join(lines) + "\n"


def draw(points: Sequence[Point], path: Path) -> None:
    """Draws accuracy over look-ahead; a unidirectional model is a horizontal line."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    ticks = [str(lookahead) for lookahead in LOOKAHEADS[:-1]] + ["sentence"]
    for model in dict.fromkeys(point.model for point in points):
        accuracies = [point.accuracy for point in points if point.model == model]
        if len(accuracies) == 1:
            axes.axhline(accuracies[0], linestyle="--", color="grey", label=f"{model}, unidirectional")
        else:
            axes.plot(ticks, accuracies, "o-", label=f"{model}, bidirectional")
    axes.set(xlabel="look-ahead in words", ylabel="accuracy")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
