"""Tagged sentences out of files of any format, with their tags checked, by words or by characters.

The ending of a file's name tells its format: ``.conllu`` is CoNLL-U, ``.iob2`` are the columns of Universal NER (word
in column 2, tag in column 3), anything else are columns with the word in the first and the tag in the last.
"""

from collections.abc import Iterator
from pathlib import Path

from seqserve.training.config.tagger import TagColumn
from seqserve.training.config.words import ReadingLevel
from seqserve.training.data.columns import LAST, read_columns
from seqserve.training.data.conllu import Sentence, numbered_conllu
from seqserve.training.data.files import kind
from seqserve.training.data.schemes import BIO, by_characters, detected_scheme, first_error, repaired
from seqserve.training.data.spellings import looks_like_iob1, name_of, standard_spelling
from seqserve.training.data.text import UTF_8
from seqserve.training.errors import DataError
from seqserve.v1 import manifest_pb2

CONLLU = ".conllu"
IOB1_HINT = ", which converts IOB1, as this file seems to be"
COLUMNS = {".iob2": (2, 3)}
"""Columns of words and of tags by ending, where they are not the first and the last."""


def read_tagged(
    path: Path,
    *,
    level: ReadingLevel = ReadingLevel.WORD,
    column: TagColumn = TagColumn.UPOS,
    word_column: int | None = None,
    tag_column: int | None = None,
    scheme: manifest_pb2.LabelScheme | None = None,
    repair: bool = False,
    encoding: str = UTF_8,
) -> list[Sentence]:
    """Read all sentences of a file, plain or gzip-compressed.

    Args:
        path: the file; its ending tells the format.
        level: what a token is; by characters, words come apart and the tags of spans with them.
        column: of CoNLL-U, where the tags are.
        word_column: of other columns, where the words are, from 1; None as the ending says.
        tag_column: of other columns, where the tags are, from 1; None as the ending says.
        scheme: how tags write spans; None to find out from the tags of the file.
        repair: change tags that break the scheme (an I- without its B- becomes a B-) instead of refusing them.
        encoding: of the file.
    Raises: DataError naming file, line and what was expected.
    """
    if kind(path) == CONLLU:
        numbered = numbered_conllu(path, column, encoding)
    else:
        word_default, tag_default = COLUMNS.get(kind(path), (1, LAST))
        numbered = list(
            read_columns(
                path,
                word_column=word_column or word_default,
                tag_column=tag_column or tag_default,
                encoding=encoding,
            )
        )
    if not numbered:
        raise DataError(path, "no sentences: expected a line for each word and an empty line after each sentence")
    if scheme is None:
        numbered = standard_spelling(path, numbered)
        scheme = detected_scheme(tag for _, sentence in numbered for tag in sentence.tags)
    checked = _checked(path, numbered, scheme, repair=repair)
    return list(checked) if level is ReadingLevel.WORD else [_by_characters(sentence, scheme) for sentence in checked]


def _checked(
    path: Path, numbered: list[tuple[int, Sentence]], scheme: manifest_pb2.LabelScheme, *, repair: bool
) -> Iterator[Sentence]:
    for line, sentence in numbered:
        if (error := first_error(sentence.tags, scheme)) is None:
            yield sentence
        elif repair:
            yield Sentence(sentence.words, repaired(sentence.tags, scheme), sentence.text)
        else:
            place, fault = error
            iob1 = scheme == BIO and looks_like_iob1(each.tags for _, each in numbered)
            raise DataError(
                path,
                f"word {place + 1} of the sentence, {sentence.words[place]!r}: {fault} in {name_of(scheme)};"
                f" correct it, or train with --repair{IOB1_HINT if iob1 else ''}",
                line=line + place,
            )


def _by_characters(sentence: Sentence, scheme: manifest_pb2.LabelScheme) -> Sentence:
    characters, tags, edges = by_characters(sentence.words, sentence.tags, sentence.text, scheme)
    return Sentence(characters, tags, sentence.text, edges)
