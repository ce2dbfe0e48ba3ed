r"""Tokenizers of running text: characters, bytes, words, pieces of words; each gives the text back that it has cut.

The text is that of the tokens one after the other, so a server can send each as it comes. A word has the space before
it with it (`` cat``), so words need no rule for joining them. Special tokens are in the vocabulary and nowhere else: no
text is cut into one, for what they are made of is cut apart.
"""

import json
from collections import Counter
from collections.abc import Iterable

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seqserve.training.arrays import IntArray
from seqserve.training.config.language_model import BYTES, LanguageModelConfig, TextLevel
from seqserve.training.tokenizers.sequences import UNKNOWN, character_tokenizer

START, END = "<s>", "</s>"
UNKNOWN_WORD = " <unk>"
_NO_LETTERS = r"[^\p{L}\p{M}]+"
_WORDS = (
    r" ?<unk>"  # as text from WikiText has it
    r"| ?[\p{L}\p{M}\p{N}_]+(?:['\u2019][\p{L}\p{M}]+)?"
    r"| ?[^\s\p{L}\p{M}\p{N}_]"
    r"|\s"
)


def text_normalizer(*, lowercase: bool, letters_only: bool) -> normalizers.Normalizer | None:
    """Normalization of a text before tokenization; None: none."""
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] * lowercase
    steps += [normalizers.Replace(Regex(_NO_LETTERS), " ")] * letters_only
    return normalizers.Sequence(steps) if steps else None


def text_tokenizer(config: LanguageModelConfig, text: Iterable[str]) -> Tokenizer:
    """The tokenizer that a configuration asks for, made of a normalised text in pieces that cut no word.

    Ids: the unknown token if there is one, special tokens, the others; with bytes and pieces, bytes come first and have
    their values as ids, special tokens come last.
    """
    special = [START] * config.start_token + [END] * config.end_token
    match config.level:
        case TextLevel.CHARACTER:
            characters = set[str]()
            for piece in text:
                characters.update(piece)
            tokenizer = character_tokenizer(
                "".join(sorted(characters)), unknown_token=config.unknown_token, special=special
            )
        case TextLevel.BYTE:
            tokenizer = _with_special(_byte_level(models.BPE(_byte_ids(), []), use_regex=False), special)
        case TextLevel.WORD:
            tokenizer = _words(text, config, special)
        case TextLevel.BPE:
            tokenizer = _byte_level(models.BPE(), use_regex=True)
            trainer = trainers.BpeTrainer(
                vocab_size=config.vocabulary_max - len(special),
                initial_alphabet=list(_byte_ids()),
                show_progress=False,
            )
            tokenizer.train_from_iterator(text, trainer)
            tokenizer = _with_special(tokenizer, special)
    normalizer = text_normalizer(lowercase=config.lowercase, letters_only=config.letters_only)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def unknown_text_id(tokenizer: Tokenizer) -> int | None:
    """Id of the token for what the vocabulary does not have; None if there is none."""
    word = tokenizer.token_to_id(UNKNOWN_WORD)
    return tokenizer.token_to_id(UNKNOWN) if word is None else word


def word_pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """How a text is cut into words, each with the space before it."""
    return pre_tokenizers.Split(Regex(_WORDS), "isolated")


def _words(text: Iterable[str], config: LanguageModelConfig, special: list[str]) -> Tokenizer:
    cutting = word_pre_tokenizer()
    counts: Counter[str] = Counter(word for piece in text for word, _ in cutting.pre_tokenize_str(piece))
    del counts[UNKNOWN_WORD]
    ranked = sorted(
        (word for word, count in counts.items() if count >= config.count_min), key=lambda w: (-counts[w], w)
    )
    tokens = [UNKNOWN_WORD, *special, *ranked][: config.vocabulary_max]
    ids = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN_WORD))
    tokenizer.pre_tokenizer = cutting
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _byte_level(model: models.BPE, *, use_regex: bool) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _with_special(tokenizer: Tokenizer, special: list[str]) -> Tokenizer:
    """The tokenizer with more tokens in its vocabulary, which no text is cut into."""
    content = json.loads(tokenizer.to_str())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {token: len(vocabulary) + place for place, token in enumerate(special)}
    return Tokenizer.from_str(json.dumps(content))


def _byte_ids() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies, with the byte's value.

    Printable bytes of Latin-1 stand for themselves, the others for the letters from U+0100 on (Radford et al. 2019).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(BYTES) if value not in printable]
    return {chr(value): value for value in printable} | {chr(0x100 + n): value for n, value in enumerate(others)}


class TextEncoder:
    """Turns normalised text into ids, faster than the library where a token is a character or a byte."""

    def __init__(self, tokenizer: Tokenizer, level: TextLevel) -> None:
        """``tokenizer`` is one that ``text_tokenizer`` made, for this level."""
        self._tokenizer, self._level = tokenizer, level
        self._ids = np.full(0x110000 if level is TextLevel.CHARACTER else 0, -1, dtype=np.int32)
        if level is TextLevel.CHARACTER:
            unknown = unknown_text_id(tokenizer)
            self._ids[:] = -1 if unknown is None else unknown
            for token, index in tokenizer.get_vocab().items():
                if len(token) == 1:
                    self._ids[ord(token)] = index

    def encode(self, text: str) -> IntArray:
        """Ids, int32 (tokens); -1 for a character that a vocabulary without unknown token does not have."""
        if self._level is TextLevel.CHARACTER:
            return self._ids[np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)]
        if self._level is TextLevel.BYTE:
            return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)
        return np.asarray(self._tokenizer.encode(text).ids, dtype=np.int32)

    def first_characters(self, text: str) -> int:
        """Counts the characters of the first token of a nonempty text; 1 for a byte, regardless of its character."""
        if self._level in (TextLevel.CHARACTER, TextLevel.BYTE):
            return 1
        start, end = self._tokenizer.encode(text[:1000]).offsets[0]
        return end - start
