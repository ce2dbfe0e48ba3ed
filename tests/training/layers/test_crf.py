"""The CRF against all rows of labels there are, one by one."""

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.layers import crf

from ..models import LABELS


def a_chain(generator: torch.Generator, labels: int) -> crf.ChainScores:
    start, transitions, end = (
        torch.randn(*size, generator=generator).double() for size in ((labels,), (labels, labels), (labels,))
    )
    return crf.ChainScores(start, transitions, end)


def score(scores_TL: torch.Tensor, path: tuple[int, ...], chain: crf.ChainScores) -> float:
    """By the definition, term by term."""
    total = chain.start_L[path[0]] + chain.end_L[path[-1]]
    for step, label in enumerate(path):
        total = total + scores_TL[step, label]
    for before, label in pairwise(path):
        total = total + chain.transitions_LL[before, label]
    return float(total)


@given(
    seed=st.integers(0, 2**31),
    labels=st.integers(2, 4),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
)
def test_partition_probability_and_best_path_are_those_of_all_paths(
    seed: int, labels: int, lengths: list[int], scale: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    chain = a_chain(generator, labels)
    scores = torch.randn(max(lengths), len(lengths), labels, generator=generator).double() * scale
    lengths_B = torch.tensor(lengths)
    given_TB = torch.randint(labels, scores.shape[:2], generator=generator)
    partition = crf.log_partition(scores, lengths_B, chain)
    losses = crf.negative_log_likelihood(scores, given_TB, lengths_B, chain)
    best = crf.viterbi(scores, lengths_B, chain)
    for row, length in enumerate(lengths):
        every = {path: score(scores[:, row], path, chain) for path in product(range(labels), repeat=length)}
        total = float(torch.logsumexp(torch.tensor(list(every.values()), dtype=torch.float64), 0))
        assert float(partition[row]) == pytest.approx(total, abs=1e-9)
        wanted = tuple(given_TB[:length, row].tolist())
        assert float(losses[row]) == pytest.approx(total - every[wanted], abs=1e-9)
        found = tuple(best[:length, row].tolist())
        assert every[found] == pytest.approx(max(every.values()), abs=1e-9)
        assert not best[length:, row].any()


def test_scores_far_apart_neither_overflow_nor_vanish() -> None:
    chain = crf.ChainScores(*(torch.zeros(size) for size in ((2,), (2, 2), (2,))))
    scores = torch.tensor([[[1e4, -1e4]], [[-1e4, 1e4]]])
    assert crf.log_partition(scores, torch.tensor([2]), chain).tolist() == [2e4]
    assert crf.viterbi(scores, torch.tensor([2]), chain)[:, 0].tolist() == [0, 1]


def test_constraints_keep_every_path_within_the_scheme() -> None:
    torch.manual_seed(0)
    chain = crf.LinearChain(LABELS, constrained=True)()
    scores = torch.randn(6, 200, len(LABELS)) * 5
    seen = set[str]()
    for row in crf.viterbi(scores, torch.full((200,), 6), chain).T.tolist():
        names = [LABELS[label] for label in row]
        for before, name in zip(["O", *names], names, strict=False):
            assert name[0] != "I" or before[1:] == name[1:], names
            seen.add(name)
    assert seen == set(LABELS)


def test_what_is_forbidden_is_not_learned_and_stays_forbidden() -> None:
    chain = crf.LinearChain(LABELS, constrained=True)
    inside, other = LABELS.index("I-PER"), LABELS.index("B-LOC")
    torch.autograd.backward(torch.stack([part.sum() for part in chain()]).sum())
    assert chain.transitions.grad is not None
    assert chain.transitions.grad[other, inside] == 0
    assert chain.transitions.grad[inside, other] == 1
    assert chain().transitions_LL[other, inside] == crf.FORBIDDEN


def test_without_constraints_no_label_and_no_pair_is_forbidden() -> None:
    """Else a scheme that only looks like BIO would lose labels it may begin or end with."""
    network = crf.LinearChain(LABELS, constrained=False)
    chain = network()
    for scores, learned in zip(chain, (network.start, network.transitions, network.end), strict=True):
        assert torch.equal(scores, learned)
        assert bool((scores > crf.FORBIDDEN).all())


@pytest.mark.parametrize(
    ("labels", "never_first", "never_last"),
    [
        (["O", "B-A", "I-A"], {"I-A"}, set()),
        (["O", "B-A", "I-A", "E-A", "S-A"], {"I-A", "E-A"}, {"B-A", "I-A"}),
    ],
    ids=["BIO", "BIOES"],
)
def test_constraints_forbid_what_the_scheme_does_at_both_ends(
    labels: list[str], never_first: set[str], never_last: set[str]
) -> None:
    chain = crf.LinearChain(labels, constrained=True)()
    assert {label for label, score in zip(labels, chain.start_L, strict=True) if score == crf.FORBIDDEN} == never_first
    assert {label for label, score in zip(labels, chain.end_L, strict=True) if score == crf.FORBIDDEN} == never_last


def test_an_unconstrained_chain_forbids_nothing_and_a_constrained_one_what_its_scheme_forbids() -> None:
    labels = ("B-X", "E-X", "I-X", "O", "S-X")
    free = crf.LinearChain(labels, constrained=False)
    chain = free()
    for scores, learned in (
        (chain.start_L, free.start),
        (chain.transitions_LL, free.transitions),
        (chain.end_L, free.end),
    ):
        torch.testing.assert_close(scores, learned, rtol=0, atol=0)
    bound = crf.LinearChain(labels, constrained=True)()
    assert (bound.start_L == crf.FORBIDDEN).tolist() == [False, True, True, False, False]
    assert (bound.end_L == crf.FORBIDDEN).tolist() == [True, False, True, False, False]
    assert (bound.transitions_LL == crf.FORBIDDEN).sum(1).tolist() == [3, 2, 3, 2, 2]
