"""The definition of sampling, on logits that can be worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.evaluation.generate import Sampling, draw, generate, uniforms

from ..models import a_language_model

LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3], dtype=np.float32))


def drawn(sampling: Sampling, logits: np.ndarray = LOGITS) -> list[int]:
    """What comes at u = 0.05, 0.15, ..., 0.95."""
    return [draw(logits, sampling, u) for u in np.arange(0.05, 1, 0.1)]


@pytest.mark.parametrize(
    ("sampling", "tokens"),
    [
        (Sampling(), [0, 1, 1, 1, 1, 2, 2, 3, 3, 3]),
        (Sampling(temperature=0), [1] * 10),
        (Sampling(top_k=1), [1] * 10),
        (Sampling(top_k=2), [1, 1, 1, 1, 1, 1, 3, 3, 3, 3]),
        (Sampling(top_k=9), [0, 1, 1, 1, 1, 2, 2, 3, 3, 3]),
        (Sampling(top_p=0.1), [1] * 10),
        (Sampling(top_p=0.6), [1, 1, 1, 1, 1, 1, 3, 3, 3, 3]),
        (Sampling(min_p=0.6), [1, 1, 1, 1, 1, 1, 3, 3, 3, 3]),
        (Sampling(temperature=100), [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]),
        (Sampling(top_k=3, top_p=0.7, min_p=0.9), [1] * 10),
    ],
)
def test_filters_apply_in_their_order(sampling: Sampling, tokens: list[int]) -> None:
    assert drawn(sampling) == tokens


def test_ties_go_to_the_lower_id_except_in_top_k_which_keeps_them() -> None:
    tied = np.zeros(4, dtype=np.float32)
    assert draw(tied, Sampling(temperature=0), 0.9) == 0
    assert set(drawn(Sampling(top_p=0.5), tied)) == {0, 1}
    assert set(drawn(Sampling(top_k=2), tied)) == {0, 1, 2, 3}


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.05, 5),
    st.integers(0, 40),
    st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_a_token_that_was_filtered_out_is_never_drawn(
    logits: list[float], u: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    row = np.array(logits, dtype=np.float32)
    token = draw(row, Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p), u)
    assert 0 <= token < len(row)
    if top_k:
        assert int((row > row[token]).sum()) < top_k
    assert math.exp((row[token] - row.max()) / np.float32(temperature)) >= np.float32(min_p) * (1 - 1e-9)


def test_the_number_of_a_position_is_philoxs_own() -> None:
    whole = np.random.Generator(np.random.Philox(key=[5, 2])).random(50)
    for start in range(20):
        assert list(itertools.islice(uniforms(5, 2, start=start), 20)) == whole[start : start + 20].tolist()


def test_a_generation_goes_on_as_if_it_had_never_stopped() -> None:
    network = a_language_model()
    whole = generate(network, [1, 2], sampling=Sampling(), seed=2**63, tokens_max=20)
    assert len(whole) == 20
    assert generate(network, [1, 2, *whole[:7]], sampling=Sampling(), seed=2**63, tokens_max=13) == whole[7:]
    assert generate(network, [1, 2], sampling=Sampling(), seed=2**63, sample=1, tokens_max=20) != whole


def test_greedy_generation_ignores_the_seed() -> None:
    network = a_language_model()
    texts = [generate(network, [3], sampling=Sampling(temperature=0), seed=s, tokens_max=9) for s in (1, 2)]
    assert texts[0] == texts[1]


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate(a_language_model(), [], sampling=Sampling(), seed=1, tokens_max=1)
