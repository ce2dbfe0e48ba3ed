"""``seqserve-train data inspect``: what a data set holds, as training would read it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seqserve.training.config.inspection import DataKind, InspectionConfig
from seqserve.training.config.words import ReadingLevel
from seqserve.training.data.documents import Text, TextForm, between_words
from seqserve.training.data.files import files, kind, labelled_files
from seqserve.training.data.inspection import BEGINNING_CHARACTERS, PartCounts, inspection
from seqserve.training.data.labelled import LabelledFormat, read_labelled
from seqserve.training.data.tagged import read_tagged
from seqserve.training.tokenizers.sequences import word_spans, word_tokenizer
from seqserve.training.tokenizers.text import word_pre_tokenizer

ENDINGS = {
    **dict.fromkeys((".conllu", ".iob2", ".conll", ".bio", ".iob", ".bioes"), DataKind.TAGGED),
    **dict.fromkeys((".csv", ".tsv", ".jsonl"), DataKind.LABELLED),
}
LABELS_SHOWN = 40


def inspect(config: InspectionConfig) -> dict[str, Any]:
    """All figures of a data set, as `seqserve.training.data.inspection` gives them. Raises: DataError."""
    parts = {"train": config.data} | ({"validation": config.validation} if config.validation else {})
    counted = {name: _counted(paths, config) for name, paths in parts.items()}
    ranked = sorted(counted["train"].tokens.items(), key=lambda pair: (-pair[1], pair[0]))
    known = [token for token, count in ranked if count >= config.count_min][: config.vocabulary_max]
    return inspection(counted, known)


def show(figures: dict[str, Any], console: Console) -> None:
    """Print the figures as tables on a console that takes text as it is (``markup=False``)."""
    parts: dict[str, Any] = figures["parts"]
    counts = Table("", *parts, title="counts")
    for name in ("items", "tokens", "distinct_tokens", "characters"):
        counts.add_row(name, *(f"{part[name]:,}" for part in parts.values()))
    counts.add_row(f"in the vocabulary of {figures['vocabulary']:,}", *(f"{p['coverage']:.2%}" for p in parts.values()))
    console.print(counts)
    lengths = Table("percentile", *parts, title="tokens of an item")
    for percentile in parts["train"]["length_percentiles"]:
        lengths.add_row(percentile, *(f"{part['length_percentiles'][percentile]:,}" for part in parts.values()))
    console.print(lengths)
    names = Counter[str]()
    for part in parts.values():
        names.update(part["labels"])
    if names:
        labels = Table("label", *parts, title="labels")
        for name, _ in names.most_common(LABELS_SHOWN):
            labels.add_row(name, *(_share(part["labels"], name) for part in parts.values()))
        console.print(labels)
    for name, part in parts.items():
        if part["missing"]:
            missing = ", ".join(f"{token!r} ({count})" for token, count in part["missing"].items())
            console.print(f"{name}: most frequent tokens outside the vocabulary: {missing}")
        longest = Table("tokens", "where", "begins", title=f"longest of {name}")
        for item in part["longest"]:
            longest.add_row(f"{item['tokens']:,}", item["where"], repr(item["begins"]))
        console.print(longest)


def _share(labels: dict[str, int], name: str) -> str:
    return f"{labels.get(name, 0):,} ({labels.get(name, 0) / max(sum(labels.values()), 1):.1%})"


def _counted(paths: Sequence[Path], config: InspectionConfig) -> PartCounts:
    counts = PartCounts()
    sources = labelled_files(paths)
    kind_of_data = config.kind or (
        DataKind.LABELLED if sources[0].label is not None else ENDINGS.get(kind(sources[0].path), DataKind.TEXT)
    )
    if kind_of_data is DataKind.TEXT:
        _count_text(files(paths), config, counts)
    elif kind_of_data is DataKind.TAGGED:
        _count_tagged(files(paths), config, counts)
    else:
        cutter = word_tokenizer((), size_max=1, count_min=1, lowercase=False)
        form = LabelledFormat(config.text_column, config.label_column, config.label_separator, config.encoding)
        for file in sources:
            for item in read_labelled(file, form):
                words = (item.text[start:end] for start, end in word_spans(cutter, item.text))
                tokens = item.text if config.level is ReadingLevel.CHARACTER else words
                _add(counts, tokens, item.labels, f"{file.path}:{item.line}", item.text, config)
    return counts


def _add(
    counts: PartCounts, tokens: Iterable[str], labels: Iterable[str], where: str, text: str, config: InspectionConfig
) -> None:
    read = (token.lower() for token in tokens) if config.lowercase else tokens
    counts.add(read, labels, where=where, text=text)


def _count_tagged(paths: Sequence[Path], config: InspectionConfig, counts: PartCounts) -> None:
    for path in paths:
        sentences = read_tagged(
            path,
            level=config.level,
            column=config.column,
            word_column=config.word_column,
            tag_column=config.tag_column,
            encoding=config.encoding,
        )
        for number, sentence in enumerate(sentences, start=1):
            text = sentence.text or " ".join(sentence.words)
            _add(counts, sentence.words, sentence.tags, f"{path}, sentence {number}", text, config)


def _count_text(paths: tuple[Path, ...], config: InspectionConfig, counts: PartCounts) -> None:
    """Count documents piece by piece, so that a text may be larger than the memory."""
    form = TextForm(config.encoding, config.documents, config.document_separator, config.lowercase, config.letters_only)
    cutter = word_pre_tokenizer()
    length, where, begins = 0, "", ""
    for piece in between_words(Text(paths, form).pieces()):
        if piece.begins:
            if length:
                counts.end(length, where=where, begins=begins)
            length, where = 0, f"{piece.path}, document {len(counts.lengths) + 1}"
            begins = piece.text[:BEGINNING_CHARACTERS]
        words = (word for word, _ in cutter.pre_tokenize_str(piece.text))
        tokens = piece.text if config.level is ReadingLevel.CHARACTER else words
        length += counts.count(tokens, characters=len(piece.text))
    counts.end(length, where=where, begins=begins)
