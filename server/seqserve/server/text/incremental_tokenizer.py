"""Tokenizes text that arrives in pieces, split anywhere between characters, into the tokens of the whole.

A token is released once no later text can change it. Characters and bytes: at once, or, where a model reads a run of
characters as one, when the next character has arrived. Words and parts of words: when white space and the first
character after it have arrived, because no rule for splitting words looks further. The rest is held and tokenized again
with the next input.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenizers import normalizers

from seqserve.server.errors import InvalidFieldError
from seqserve.server.model.inputs import Inputs, token_inputs
from seqserve.server.model.manifest import TokenLevel
from seqserve.server.text.sentences import SentenceRule, SentenceSplitter
from seqserve.server.text.tokenization import Token, Tokenization, Tokenized, byte_places, has_long_run

HELD_MAX = 8192
"""Characters that may be held. Of more without a border, the first half is given out as it would be cut if the text
ended there: a word of thousands of characters may come in parts."""

_HELD_LONG = 64  # characters
_BLOCK = 4096  # characters of a piece that are looked at together
# White space for every tokenizer, followed by a character that is white space for none.
_BORDER = re.compile("[ \t\n\v\f\r\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000](?=\\S)")
_NONE = token_inputs([])


@dataclass(slots=True, eq=False)  # not frozen: one is made for each message, and a frozen one costs three times as much
class TokenChunk:
    """Tokens of a stream, possibly none: the inputs of the graph and the tokens with their offsets; no tokens for ids.

    ends_sentence: the last token so far was its sentence's last; there was one since the last end.
    """

    inputs: Inputs
    tokens: list[Token]
    ends_sentence: bool = False


class IncrementalTokenizer:
    """Tokenizes the input of one stream: text, words or token ids, only one of them per stream.

    Offsets are counted from the stream's first character; words count as joined by single spaces. Words and ids are
    taken as they are. What it gives has to be read to its end.
    """

    def __init__(
        self,
        tokenization: Tokenization,
        rule: SentenceRule = SentenceRule.CALLER,
        *,
        offsets_in_bytes: bool = False,
        begun: bool = False,
    ) -> None:
        """Starts a stream.

        Args:
            tokenization: How the model cuts text.
            rule: What ends a sentence besides `sentence_end`; a line break that does is no token.
            offsets_in_bytes: Count offsets in bytes of UTF-8, not in characters.
            begun: The stream begins within a sentence.
        """
        self._tokenization = tokenization
        self._by_lines = rule is not SentenceRule.CALLER
        self._sentences = SentenceSplitter() if rule is SentenceRule.PUNCTUATION else None
        self._in_bytes = offsets_in_bytes
        level, normalizer = tokenization.vocabulary.level, tokenization.tokenizer.normalizer
        self._by_characters = level in (TokenLevel.TOKEN_LEVEL_CHARACTER, TokenLevel.TOKEN_LEVEL_BYTE)
        self._by_runs = not (normalizer is None or isinstance(normalizer, normalizers.Lowercase))
        self._kind: str | None = None
        self._held = ""
        self._origin = self._origin_bytes = 0  # start of the held text
        self._open = begun  # the sentence has a token

    def takes_long(self, piece: str) -> bool:
        """Returns whether taking more text may take milliseconds, so that it should not run on the event loop."""
        return not self._by_characters and (len(self._held) > _HELD_LONG or has_long_run(piece))

    def text(self, piece: str) -> Iterator[TokenChunk]:
        """Adds text.

        Raises: InvalidFieldError if the stream is not text; OutOfVocabularyError telling the offset in characters.
        """
        self._check_kind("text")
        for start in range(0, len(piece), _BLOCK):
            known = len(self._held)
            self._held += piece[start : start + _BLOCK]
            while self._by_lines and (end := self._held.find("\n", known)) >= 0:
                yield from self._release(len(self._held[:end].removesuffix("\r")), ends_sentence=True)
                self._drop(self._held.index("\n") + 1)
                known = 0
            yield from self._settled(known)

    def words(self, words: Sequence[str]) -> Iterator[TokenChunk]:
        """Adds words. Raises: as text; InvalidFieldError for an empty word."""
        self._check_kind("words")
        tokenized = self._tokenization.tokenize_words(words, "words.words", self._origin)
        self._held = "".join(f"{word} " for word in words)
        yield from self._cuts(tokenized, len(tokenized.tokens))
        self._drop(len(self._held))

    def token_ids(self, ids: Sequence[int]) -> Iterable[TokenChunk]:
        """Adds token ids. Raises: as text; InvalidFieldError for an id outside the vocabulary."""
        self._check_kind("token_ids")
        self._open = True
        return (TokenChunk(self._tokenization.tokenize_ids(ids, "token_ids.ids").inputs, []),)

    def sentence_end(self) -> Iterator[TokenChunk]:
        """Releases all held text and ends the sentence."""
        yield from self._release(len(self._held), ends_sentence=True)

    def flush(self) -> Iterator[TokenChunk]:
        """Releases all held text, at a flush and at the end of the stream. A word may continue after it."""
        yield from self._release(len(self._held))

    def _check_kind(self, kind: str) -> None:
        if self._kind not in (None, kind):
            raise InvalidFieldError(
                f"this stream began with {self._kind}, it cannot go on with {kind}; open another stream", field=kind
            )
        self._kind = kind

    def _settled(self, known: int) -> Iterator[TokenChunk]:
        """Releases what later text cannot change. Args: known: Number of held characters that were checked before."""
        size = len(self._held)
        if self._by_characters:
            waits = self._by_runs or (self._by_lines and self._held.endswith("\r"))  # perhaps half a line break
            yield from self._release(size, size - waits)
            return
        border = -1
        for border in (found.start() for found in _BORDER.finditer(self._held, max(0, known - 1))):  # noqa: B007
            pass
        if border >= 0:
            yield from self._release(border + 2, border)
        elif size > HELD_MAX:
            yield from self._release(size, size // 2)

    def _release(self, size: int, border: int | None = None, *, ends_sentence: bool = False) -> Iterator[TokenChunk]:
        """Tokenizes the first ``size`` characters of the held text, and releases the tokens before a border."""
        text = self._held[:size]
        tokenized = self._tokenization.tokenize_text(text, "text", origin=self._origin)
        tokens = tokenized.tokens
        limit = self._origin + (size if border is None else border)
        count = bisect_right(tokens, limit, key=_end)
        if size > HELD_MAX:  # the border is none of the text's
            count = _whole_characters(tokens, count or int(bool(tokens) and tokens[0].start < limit))
            limit = max(limit, tokens[count - 1].end) if count else limit
        rest = min(limit, tokens[count].start) if count < len(tokens) else limit
        space = count > 0 and (rest > tokens[count - 1].end or self._held[rest - self._origin :][:1].isspace())
        yield from self._cuts(tokenized, count, space=space, ends_sentence=ends_sentence)
        self._drop(rest - self._origin)

    def _cuts(
        self, tokenized: Tokenized, count: int, *, space: bool = False, ends_sentence: bool = False
    ) -> Iterator[TokenChunk]:
        """Yields the first tokens, sentence by sentence. Args: space: Whether white space follows them."""
        tokens = tokenized.tokens[:count]
        runs = [(0, count, ends_sentence)]
        if self._sentences is not None:
            runs = list(self._sentences.split(tokens, words=self._kind == "words"))
            if ends_sentence or (space and self._sentences.space()):
                runs[-1] = (*runs[-1][:2], True)
            if ends_sentence:
                self._sentences.begin()
        if self._in_bytes and tokens:
            places = byte_places(self._held)
            start, shift = self._origin, self._origin_bytes
            tokens = [Token(t.text, shift + places[t.start - start], shift + places[t.end - start]) for t in tokens]
        for start, end, ends in runs:
            self._open = self._open or start < end
            closes, self._open = ends and self._open, self._open and not ends
            if start < end or closes:
                inputs = tokenized.inputs.cut(start, end) if start < end else _NONE
                yield TokenChunk(inputs, tokens[start:end], closes)

    def _drop(self, count: int) -> None:
        """Drops the first held characters."""
        self._origin_bytes += len(self._held[:count].encode("utf-8"))
        self._origin += count
        self._held = self._held[count:]


def _whole_characters(tokens: Sequence[Token], count: int) -> int:
    """Returns this number of tokens, or a few more if the bytes of a character are several tokens."""
    while 0 < count < len(tokens) and tokens[count].start < tokens[count - 1].end:
        count += 1
    return count


def _end(token: Token) -> int:
    return token.end
