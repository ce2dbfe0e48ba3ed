"""Stop strings across token borders.

A text is matched against all stop strings at once, in time that does not depend on their length: a state says for each
string how many of its first bytes the text ends with (Knuth, Morris and Pratt 1977), and what a token makes of a state
is remembered. So most tokens cost one lookup, and nothing is built before it is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

_MOVES_MAX = 1 << 14  # remembered; then they are forgotten


class _StopString:
    """One stop string. Its failure table grows as far as texts match it."""

    __slots__ = ("_failures", "data", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = text.encode("utf-8")
        self._failures = [0, 0]

    def advance(self, matched: int, piece: bytes) -> tuple[int, int]:
        """Matches further bytes of a text.

        Args:
            matched: How many first bytes of the string the text ends with.
            piece: The further bytes.

        Returns:
            The same after them; and the number of bytes from the beginning of the first complete match to the end of
            the piece, 0 if there is none.
        """
        data = self.data
        if not matched and data[0] not in piece:
            return 0, 0
        begins = 0
        for place, byte in enumerate(piece):
            while matched and data[matched] != byte:
                matched = self._failure(matched)
            if data[matched] == byte:
                matched += 1
                if matched == len(data):
                    begins = begins or len(data) + len(piece) - place - 1
                    matched = self._failure(matched)
        return matched, begins

    def _failure(self, length: int) -> int:
        """Returns the length of the longest proper suffix of the first ``length`` bytes that is also a prefix."""
        failures, data = self._failures, self.data
        while len(failures) <= length:
            end = len(failures) - 1
            shorter = failures[end]
            while shorter and data[shorter] != data[end]:
                shorter = failures[shorter]
            failures.append(shorter + (data[shorter] == data[end]))
        return failures[length]


class _State:
    """How many first bytes of each stop string a text ends with, and what tokens make of it.

    Attributes:
        lengths: The number of bytes, by stop string.
        moves: By token: the next state, the stop string that is complete, and the held bytes.
    """

    __slots__ = ("lengths", "moves")

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self.lengths = lengths
        self.moves: dict[int, tuple[_State, str | None, int]] = {}


class _Automaton:
    """The states of several stop strings, made as they are reached. Its matchers run on one thread."""

    def __init__(self, table: Sequence[bytes], stops: Sequence[str]) -> None:
        self._table = table
        self._stops = [_StopString(stop) for stop in stops]
        self._states: dict[tuple[int, ...], _State] = {}
        self._moves = 0
        self.start = self._state((0,) * len(stops))

    def move(self, state: _State, token: int) -> tuple[_State, str | None, int]:
        """Computes what a token makes of a state, and remembers it."""
        piece = self._table[token]
        lengths: list[int] = []
        first, stop = (0, 0), None
        for each, matched in zip(self._stops, state.lengths, strict=True):
            length, begins = each.advance(matched, piece)
            lengths.append(length)
            if begins and (begins, len(each.data)) > first:
                first, stop = (begins, len(each.data)), each.text
        if self._moves >= _MOVES_MAX:
            self._states, self._moves = {}, 0
            self.start = self._state((0,) * len(self._stops))
        result = self._state(tuple(lengths)), stop, first[0] or max(lengths)
        state.moves[token] = result
        self._moves += 1
        return result

    def _state(self, lengths: tuple[int, ...]) -> _State:
        state = self._states.get(lengths)
        if state is None:
            state = self._states[lengths] = _State(lengths)
        return state


class StopMatcher:
    """Finds the first stop string in a growing text, and how much of the text's end may be the beginning of one.

    Attributes:
        held_bytes: Bytes at the end of the text that may begin a stop string or, after a match, from the beginning of
            the stop string on.
    """

    def __init__(self, table: Sequence[bytes], stops: Sequence[str]) -> None:
        """Begins with an empty text.

        Args:
            table: The bytes of each token.
            stops: At least one stop string, none empty.
        """
        self._automaton = _Automaton(table, stops)
        self._state = self._automaton.start
        self.held_bytes = 0

    def for_new_text(self) -> Self:
        """Makes a matcher of the same stop strings for another text. Both share what they remember."""
        twin: Self = object.__new__(type(self))
        twin._automaton, twin._state, twin.held_bytes = self._automaton, self._automaton.start, 0
        return twin

    def push(self, token: int) -> str | None:
        """Adds one token.

        Returns:
            The stop string that it completes; of several the one that begins first, then the longest. None: none.
        """
        move = self._state.moves.get(token)
        if move is None:
            move = self._automaton.move(self._state, token)
        self._state, stop, self.held_bytes = move
        return stop
