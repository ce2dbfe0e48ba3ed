r"""Tokenizers as files of the `tokenizers` library, built so that a server cuts and numbers text as training did.

Characters: every character is a token, line ends included. Words: the id of a word is that of its normalised form, or
the unknown token's; the cutting of raw text follows `seqserve.training.tokenizers.words`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from seqserve.training.arrays import IntArray
from seqserve.training.tokenizers.words import WORD_PATTERN

UNKNOWN = "<unk>"


def character_tokenizer(text: str, *, unknown_token: bool = False, special: Sequence[str] = ()) -> Tokenizer:
    """Tokenizer of single characters: those of ``text`` in order of code point.

    Before them come the unknown token, if wanted, and ``special`` ones, which no text has.
    """
    tokens = [UNKNOWN] * unknown_token + [*special, *sorted(set(text))]
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def word_tokenizer(
    words: Iterable[str], *, size_max: int, count_min: int, lowercase: bool, special: Sequence[str] = ()
) -> Tokenizer:
    """Tokenizer of words: id 0 is the unknown token, then the most frequent normalised words, ties in order of text.

    Args:
        words: every word of the training data, as often as it occurs.
        size_max: most tokens, unknown included.
        count_min: occurrences from which a word gets an id.
        lowercase: whether words are normalised to lower case; digits become 0 in any case.
        special: tokens that stand for no word, with the ids after the unknown token's.
    """
    digits = normalizers.Replace(Regex("[0-9]"), "0")
    normalizer = normalizers.Sequence([normalizers.Lowercase(), digits] if lowercase else [digits])
    counts: Counter[str] = Counter()
    for word, count in Counter(words).items():
        counts[normalizer.normalize_str(word)] += count
    ranked = sorted((word for word, count in counts.items() if count >= count_min), key=lambda w: (-counts[w], w))
    first = [UNKNOWN, *special]
    tokens = [*first, *(word for word in ranked if word not in first)][:size_max]
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD_PATTERN), "removed", invert=True)
    return tokenizer


def text_ids(tokenizer: Tokenizer, text: str) -> IntArray:
    """Token ids of a text, int32 (tokens)."""
    return np.asarray(tokenizer.encode(text).ids, dtype=np.int32)


def word_id(tokenizer: Tokenizer, word: str) -> int:
    """Returns the ID of a pre-tokenized word: of its normalized form, or of the unknown token."""
    normalizer = tokenizer.normalizer
    token = tokenizer.token_to_id(word if normalizer is None else normalizer.normalize_str(word))
    return unknown_id(tokenizer) if token is None else token


def unknown_id(tokenizer: Tokenizer) -> int:
    """Id of the unknown token. Raises: ValueError if the tokenizer has none."""
    if (token := tokenizer.token_to_id(UNKNOWN)) is None:
        raise ValueError("the tokenizer has no unknown token")
    return token


def word_spans(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """Where a raw text is cut into words: (start, end) in characters of ``text``, in order."""
    return [(start, end) for start, end in tokenizer.encode(text).offsets]
