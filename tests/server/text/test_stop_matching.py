"""Stop strings are found as by looking at the whole text, at a cost that does not grow with their length."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.text import stop_matching
from seqserve.server.text.detokenization import IncrementalDetokenizer
from seqserve.server.text.stop_matching import StopMatcher
from tests.server.text.test_detokenization import cuts


def oracle(tokens: Sequence[bytes], stops: Sequence[str]) -> tuple[int, bytes, str] | None:
    """By looking at the whole text after each token: tokens it took, text before the stop string, which stop string."""
    for count in range(1, len(tokens) + 1):
        text = b"".join(tokens[:count])
        found = [(text.find(stop.encode()), -len(stop.encode()), stop) for stop in stops]
        if any(at >= 0 for at, _, _ in found):
            at, _, stop = min(entry for entry in found if entry[0] >= 0)
            return count, text[:at], stop
    return None


@st.composite
def stopped_texts(draw: st.DrawFn) -> tuple[list[bytes], list[str]]:
    """A text of few letters, so that stop strings and their beginnings occur, cut anywhere; and stop strings."""
    letters = st.text("abé国", max_size=14)
    stops = draw(st.lists(st.text("abé国", min_size=1, max_size=4), min_size=1, max_size=3, unique=True))
    text = "".join(draw(st.lists(letters | st.sampled_from(stops), max_size=4)))
    return draw(cuts(text)) if text else [], stops


@given(case=stopped_texts())
def test_a_stop_string_is_found_as_by_looking_at_the_whole_text(case: tuple[list[bytes], list[str]]) -> None:
    tokens, stops = case
    matcher = StopMatcher(tokens, stops)
    expected = oracle(tokens, stops)
    for token in range(len(tokens)):
        matched = matcher.push(token)
        text = b"".join(tokens[: token + 1])
        if matched is not None:
            assert expected == (token + 1, text[: len(text) - matcher.held_bytes], matched)
            return
        longest = max(
            (size for stop in stops for size in range(1, len(stop.encode())) if text.endswith(stop.encode()[:size])),
            default=0,
        )
        assert matcher.held_bytes == longest  # what may begin a stop string, and nothing more
    assert expected is None


@given(case=stopped_texts(), include=st.booleans())
def test_nothing_of_a_stop_string_is_told_early(case: tuple[list[bytes], list[str]], include: bool) -> None:
    tokens, stops = case
    matcher, assembler, reported = StopMatcher(tokens, stops), IncrementalDetokenizer(tokens), ""
    expected = oracle(tokens, stops)
    whole = b"".join(tokens).decode() if expected is None else expected[1].decode("utf-8", "replace")
    for token in range(len(tokens)):
        matched = matcher.push(token)
        if matched is not None:
            dropped = matcher.held_bytes - (len(matched.encode()) if include else 0)
            reported += assembler.push([token], dropped) + assembler.finish(dropped)
            assert reported == whole + matched * include
            return
        reported += assembler.push([token], matcher.held_bytes)
        assert whole.startswith(reported)
    assert reported + assembler.finish() == whole


def test_of_several_stop_strings_the_first_wins_and_then_the_longest() -> None:
    matcher = StopMatcher([b"xab", b"xabc"], ["bc", "ab", "abc"])
    assert matcher.push(1) == "abc"
    assert matcher.held_bytes == 3
    matcher = StopMatcher([b"xab", b"c"], ["bc", "ab", "abc"])
    assert matcher.push(0) == "ab"  # complete, so nothing is waited for


@given(case=stopped_texts())
def test_after_a_stop_string_that_does_not_count_yet_matching_goes_on(case: tuple[list[bytes], list[str]]) -> None:
    tokens, stops = case
    matcher, past = StopMatcher(tokens, stops), 0
    for token in range(len(tokens)):
        before, text = b"".join(tokens[:token]), b"".join(tokens[: token + 1])
        past = len(before)
        # A match that ends in the new part; of several the one that begins first, then the longest.
        ends_here = [
            (at, -len(data), stop)
            for stop, data in ((stop, stop.encode()) for stop in stops)
            if (at := text.find(data, max(0, past - len(data) + 1))) >= 0
        ]
        assert matcher.push(token) == (min(ends_here)[2] if ends_here else None)
        if ends_here:
            assert matcher.held_bytes == len(text) - min(ends_here)[0]


@given(case=stopped_texts(), moves_max=st.integers(1, 3))
def test_what_is_forgotten_is_found_again(case: tuple[list[bytes], list[str]], moves_max: int) -> None:
    tokens, stops = case
    expected = [(matched, held) for matched, held in _pushed(StopMatcher(tokens, stops), len(tokens))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stop_matching, "_MOVES_MAX", moves_max)
        matcher = StopMatcher(tokens, stops)
        for _ in range(3):  # texts share what they remember
            matcher = matcher.for_new_text()
            assert _pushed(matcher, len(tokens)) == expected
        assert matcher._automaton._moves <= moves_max


def _pushed(matcher: StopMatcher, count: int) -> list[tuple[str | None, int]]:
    return [(matcher.push(token), matcher.held_bytes) for token in range(count)]


def test_the_cost_of_a_token_does_not_grow_with_the_stop_strings(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    advance = stop_matching._StopString.advance

    def counting(self: stop_matching._StopString, matched: int, piece: bytes) -> tuple[int, int]:
        nonlocal compared
        compared += 1
        return advance(self, matched, piece)

    monkeypatch.setattr(stop_matching._StopString, "advance", counting)
    stops = [chr(ord("a") + index) * 255 + "!" for index in range(16)]
    matcher = StopMatcher([b"a", b"b", b"xyz"], stops)
    assert compared == 0  # nothing is built before it is needed
    text = [0, 0, 0, 1, 1, 2, 0, 1] * 1000
    for token in text:
        assert matcher.push(token) is None
    assert compared <= 16 * 20  # a handful of states, each computed once for all stop strings


def test_a_long_stop_string_is_found_at_its_last_byte() -> None:
    stop = "a" * 200 + "b"
    matcher = StopMatcher([b"a", b"b"], [stop])
    for count in range(1, 301):
        assert matcher.push(0) is None
        assert matcher.held_bytes == min(count, 200)
    assert matcher.push(1) == stop
    assert matcher.held_bytes == 201
