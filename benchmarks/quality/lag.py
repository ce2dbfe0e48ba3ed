"""Decision lag of a CRF: online Viterbi over a tagger's scores, and the effect of a limit.

A label is final once no later score can change it; its lag is the number of steps until then. The model reads whole
sentences, so that only the CRF causes lag. Writes docs/lag.md and docs/lag.json.

Axes: T steps, L labels.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import machine
from benchmarks.quality.lookahead import agreement, load_servable
from seqserve.server.decoding.online_viterbi import OnlineViterbi
from seqserve.server.decoding.tagging import Chain, chain_of, choose_labels
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import FloatArray
from seqserve.server.text.tokenization import Tokenization
from seqserve.training.config.words import ReadingLevel
from seqserve.training.data.tagged import read_tagged
from seqserve.v1 import manifest_pb2

LAGS = (0, 1, 2, 4, 8)

_PAGE = """\
# Delay of a CRF's decisions

A CRF scores sequences of labels, so a later token may change an earlier label. Online Viterbi decides a label as soon
as all surviving paths agree on it. Without a limit, its labels equal those of Viterbi over the whole sentence;
`decision_lag_max` limits the number of tokens that a label waits.

{data}: {sentences:,} sentences, {tokens:,} tokens, `{model}`, trained with the command in row `uner` of the
[results](results.md#uner). Labels that differ from Viterbi's without a limit: {different}. Lag in tokens: mean
{mean:.2f}, median {median:.0f}, 99th percentile {p99:.0f}, maximum {worst}. Decided immediately: {at_once:.1%}.

{table}
```
python -m benchmarks lag --data {command} {folder}
```
"""


@dataclass(frozen=True)
class Limited:
    """The effect of a limit on the lag.

    Attributes:
        lag_max: The limit, in tokens.
        changed: Share of labels that differ from Viterbi's.
        mean: Mean lag in tokens.
    """

    lag_max: int
    changed: float
    mean: float


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks lag", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="REPO/MODEL/VERSION", help="a tagger with a CRF")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="tagged sentences")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="output folder (%(default)s)")
    arguments = parser.parse_args(argv)
    model = load_servable(arguments.folder)
    chain = chain_of(model.manifest.labels)
    if chain is None:
        parser.error(f"{arguments.folder} has no CRF: train one with `seqserve-train tagger --crf`")
    scores = read_scores(model, arguments.folder, arguments.data)
    whole = [label for choices in choose_labels(scores, chain=chain) for label in choices.labels]
    labels, waits = decide_online(scores, chain, None)
    limited: list[Limited] = []
    for lag in LAGS:
        limited_labels, lags = decide_online(scores, chain, lag)
        limited.append(
            Limited(lag, 1 - agreement(list(map(str, limited_labels)), list(map(str, whole))), float(np.mean(lags)))
        )
    figures = {
        "different": sum(one != other for one, other in zip(labels, whole, strict=True)),
        "mean": float(np.mean(waits)),
        "median": float(np.median(waits)),
        "p99": float(np.percentile(waits, 99)),
        "worst": max(waits),
        "at_once": Counter(waits)[0] / len(waits),
    }
    about = {"machine": machine.machine(), "versions": machine.versions()}
    content = {**figures, "limited": [asdict(each) for each in limited], **about}
    (arguments.out / "lag.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    page = _PAGE.format(
        **figures,
        data=arguments.data.name.partition(".")[0],
        sentences=len(scores),
        tokens=len(waits),
        model=model.id.model,
        table=table(limited),
        command=f"DATA/{arguments.data.parent.name}/{arguments.data.name}",
        folder="/".join(("OUT", *arguments.folder.parts[-2:])),
    )
    (arguments.out / "lag.md").write_text(page, encoding="utf-8")
    print(page)


def read_scores(model: Servable, folder: Path, data: Path) -> list[FloatArray]:
    """Computes the scores (T, L) of each sentence, before the CRF."""
    by_characters = model.manifest.vocabulary.level == manifest_pb2.TOKEN_LEVEL_CHARACTER
    level = ReadingLevel.CHARACTER if by_characters else ReadingLevel.WORD
    tokenization = Tokenization(model.manifest, folder)
    scores: list[FloatArray] = []
    for sentence in read_tagged(data, level=level):
        outputs, _ = model.run([tokenization.tokenize_words(sentence.words, "words").inputs], model.initial_state())
        scores.append(outputs[0][:, 0])
    return scores


def decide_online(scores: Sequence[FloatArray], chain: Chain, lag_max: int | None) -> tuple[list[int], list[int]]:
    """Runs online Viterbi. Returns all labels and their lags; the end of a sentence decides its rest."""
    labels: list[int] = []
    lags: list[int] = []
    for scores_TL in scores:
        viterbi, decided = OnlineViterbi(chain, lag_max), 0
        for step in range(len(scores_TL)):
            choices = viterbi.push(scores_TL[step : step + 1])
            labels += choices.labels
            lags += [step - place for place in range(decided, decided + len(choices))]
            decided += len(choices)
        rest = viterbi.end()
        labels += rest.labels
        lags += [len(scores_TL) - 1 - place for place in range(decided, decided + len(rest))]
    return labels, lags


def table(limited: Sequence[Limited]) -> str:
    """Formats the effect of each limit, one per line."""
    lines = ["| `decision_lag_max` | labels that differ from Viterbi's | mean lag |", "|---|---|---|"]
    lines += [f"| {each.lag_max} | {each.changed:.3%} | {each.mean:.2f} |" for each in limited]
    return "\n".join(lines) + "\n"
