"""The model repository of the soak tests: a small servable for each task and direction, with random weights."""

from __future__ import annotations

from pathlib import Path

LM, SPARE = "lm", "spare"
TAGGER, LIVE_TAGGER, NAMES = "tagger", "live-tagger", "names"
CLASSIFIER, LIVE_CLASSIFIER = "classifier", "live-classifier"
INFILLER = "infiller"
ALPHABET = "\n !,.abcdefghijklmnopqrstuvwxyzäé国😀"  # what the language model knows


def write_models(root: Path) -> None:
    """Writes the servables into the model repository ``root``; takes some seconds."""
    from tests import servables  # torch takes seconds to import

    assert servables.ALPHABET == ALPHABET
    servables.make_language_model(root / LM)
    servables.make_language_model(root / SPARE, layers=1, seed=1)
    servables.make_tagger(root / TAGGER)
    servables.make_tagger(root / LIVE_TAGGER, bidirectional=False)
    servables.make_tagger(root / NAMES, bidirectional=False, crf=True, labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    servables.make_classifier(root / CLASSIFIER)
    servables.make_classifier(root / LIVE_CLASSIFIER, bidirectional=False)
    servables.make_infiller(root / INFILLER)
