from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.decoding.beam_search import BeamSearch, Hypothesis
from seqserve.server.engine.output_stream import BeamResult
from tests.server.engine.rig import LoadedModel, Rig
from tests.server.engine.sequences import generation_request

V, END = 4, 3
Text = tuple[int, ...]


class Language:
    """A distribution over the next token for every text, random but fixed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def logprobs(self, text: Text) -> npt.NDArray[np.float64]:
        scores = np.random.default_rng([self._seed, len(text), *text]).standard_normal(V)
        logprobs: npt.NDArray[np.float64] = scores - math.log(math.fsum(np.exp(scores)))
        return logprobs

    def logprob(self, text: Text) -> float:
        return sum(float(self.logprobs(text[:place])[token]) for place, token in enumerate(text))


def all_texts(length_max: int) -> Iterator[Text]:
    """Those that end with END, and those that the limit cuts off."""
    for length in range(1, length_max + 1):
        for start in itertools.product(range(END), repeat=length - 1):
            yield (*start, END)
            if length == length_max:
                yield from ((*start, token) for token in range(END))


def search(language: Language, width: int, max_tokens: int, length_penalty: float = 1.0) -> BeamSearch:
    """Run a search to its end, and keep the texts of its beams apart from it."""
    beams = BeamSearch(width, max_tokens, frozenset({END}), length_penalty)
    texts: list[Text] = [()]
    while (choice := beams.advance(np.array([language.logprobs(text) for text in texts]))) is not None:
        texts = [(*texts[parent], token) for parent, token in zip(choice.parents, choice.tokens, strict=True)]
    return beams


@given(seed=st.integers(0, 1000), max_tokens=st.integers(1, 4), length_penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_a_search_that_is_wide_enough_finds_the_best_of_all_texts(
    seed: int, max_tokens: int, length_penalty: float
) -> None:
    language = Language(seed)
    best = sorted(all_texts(max_tokens), key=lambda text: -language.logprob(text) / len(text) ** length_penalty)
    found = search(language, 1000, max_tokens, length_penalty).results(10)
    assert [hypothesis.tokens for hypothesis in found] == best[:10]
    for hypothesis in found:
        assert hypothesis.logprob == pytest.approx(language.logprob(hypothesis.tokens))
        assert hypothesis.end_token == (END if hypothesis.tokens[-1] == END else None)


@given(seed=st.integers(0, 1000), width=st.integers(2, 3), max_tokens=st.integers(1, 6))
def test_what_a_narrow_search_finds_is_a_text_with_its_probability_and_none_twice(
    seed: int, width: int, max_tokens: int
) -> None:
    language = Language(seed)
    found = search(language, width, max_tokens).results(width)
    assert len(found) == width
    assert len({hypothesis.tokens for hypothesis in found}) == width
    scores = [hypothesis.score(1.0) for hypothesis in found]
    assert scores == sorted(scores, reverse=True)
    for hypothesis in found:
        assert len(hypothesis.tokens) <= max_tokens
        assert END not in hypothesis.tokens[:-1]
        assert hypothesis.logprob == pytest.approx(language.logprob(hypothesis.tokens))


def rows(*probabilities: list[float]) -> npt.NDArray[np.float64]:
    logprobs: npt.NDArray[np.float64] = np.log(np.array(probabilities))
    return logprobs


def test_beams_may_all_come_from_one_parent() -> None:
    beams = BeamSearch(2, 5, frozenset({END}), 1.0)
    first = beams.advance(rows([0.5, 0.4, 0.05, 0.05]))
    assert first is not None
    assert (first.parents, first.tokens) == ([0, 0], [0, 1])
    second = beams.advance(rows([0.1, 0.1, 0.1, 0.7], [0.45, 0.45, 0.05, 0.05]))
    assert second is not None
    assert (second.parents, second.tokens) == ([1, 1], [0, 1])


def test_equals_go_to_the_lower_beam_and_then_the_lower_token() -> None:
    beams = BeamSearch(2, 5, frozenset(), 1.0)
    first = beams.advance(rows([0.25] * 4))
    assert first is not None
    assert first.tokens == [0, 1]
    second = beams.advance(rows([0.25] * 4, [0.25] * 4))
    assert second is not None
    assert (second.parents, second.tokens) == ([0, 0], [0, 1])


def test_the_search_ends_when_as_many_texts_as_beams_have_ended() -> None:
    beams = BeamSearch(2, 100, frozenset({END}), 0.0)
    assert beams.advance(rows([0.5, 0.1, 0.0001, 0.3999])) is not None  # one has ended
    assert beams.advance(rows([0.1, 0.1, 0.1, 0.7], [0.1, 0.1, 0.1, 0.7])) is None
    assert [hypothesis.tokens for hypothesis in beams.results(2)] == [(END,), (0, END)]


def test_an_end_that_is_not_among_the_likeliest_is_no_result() -> None:
    beams = BeamSearch(2, 2, frozenset({END}), 1.0)
    assert beams.advance(rows([0.4, 0.3, 0.2, 0.1])) is not None
    beams.advance(rows([0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]))
    assert not any(hypothesis.end_token == END for hypothesis in beams.results(100))


def test_the_length_penalty_chooses_between_short_and_long() -> None:
    short, long = Hypothesis((END,), -2.0, END), Hypothesis((0, 1, 2, END), -3.0, END)
    assert short.score(0.0) > long.score(0.0)
    assert short.score(1.0) < long.score(1.0)
    assert long.score(1.0) == -0.75


@pytest.mark.parametrize("crowd", [0, 5])
def test_the_engine_finds_what_the_search_alone_finds_whoever_shares_the_batch(tiny: LoadedModel, crowd: int) -> None:
    rig = Rig(tiny)
    for number in range(crowd):
        rig.start(generation_request([number], seed=number, max_tokens=7 + number))
    rig.step()
    requested = [
        generation_request(
            tiny.prompt(9, width),
            beam_width=width,
            samples=2,
            max_tokens=10,
            length_penalty=penalty,
            stopping={"stop_tokens": frozenset(range(8))},
        )
        for width, penalty in ((2, 1.0), (4, 0.0), (7, 2.0))
    ]
    readers = [rig.start(request) for request in requested]
    rig.run()
    for request, reader in zip(requested, readers, strict=True):
        assert isinstance(reader.result, BeamResult)
        expected = tiny.oracle.search(request)
        assert [hypothesis.tokens for hypothesis in reader.result.hypotheses] == [text for text, _ in expected]
        for hypothesis, (_, logprob) in zip(reader.result.hypotheses, expected, strict=True):
            assert hypothesis.logprob == pytest.approx(logprob)
    rig.assert_nothing_is_left()
