"""Texts to train on and texts to validate on: given apart, or cut off the end."""

from dataclasses import dataclass
from pathlib import Path

from seqserve.training.config import LanguageModelConfig
from seqserve.training.data.text import read_text

VALIDATION_FRACTION = 0.1
"""Part of the text to validate on where nothing is said."""


@dataclass(frozen=True)
class Part:
    """The characters of one file that are in one split ("train" or "validation")."""

    path: Path
    split: str
    characters: int


@dataclass(frozen=True)
class Corpus:
    """Text to train on, text to validate on, and which file has how much of each; files follow one another as given."""

    train: str
    validation: str
    parts: tuple[Part, ...]


def read_corpus(config: LanguageModelConfig) -> Corpus:
    """Read the texts of a configuration and split them.

    Raises: DataError if a file cannot be used.
    """
    data = [(path, read_text(path)) for path in config.data]
    validation = [(path, read_text(path)) for path in config.validation]
    total = sum(len(text) for _, text in data)
    fraction = 0.0 if validation else config.validation_fraction or VALIDATION_FRACTION
    border = total - round(total * fraction)
    parts = list[Part]()
    start = 0
    for path, text in data:
        train = min(max(border - start, 0), len(text))
        parts += [Part(path, "train", train), Part(path, "validation", len(text) - train)]
        start += len(text)
    parts += [Part(path, "validation", len(text)) for path, text in validation]
    whole = "".join(text for _, text in data)
    return Corpus(
        train=whole[:border],
        validation=whole[border:] + "".join(text for _, text in validation),
        parts=tuple(part for part in parts if part.characters),
    )
