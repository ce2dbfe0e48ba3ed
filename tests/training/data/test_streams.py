from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.data.padding import inside
from seqserve.training.data.streams import (
    NO_TARGET,
    document_window_count,
    document_windows,
    window_count,
    windows,
)


@given(tokens=st.integers(2, 300), streams=st.integers(1, 8), steps=st.integers(1, 20))
def test_windows_go_on_where_the_ones_before_ended_and_targets_follow_inputs(
    tokens: int, streams: int, steps: int
) -> None:
    ids = np.arange(tokens, dtype=np.int32)
    cut = list(windows(ids, streams=streams, steps=steps))
    assert len(cut) == window_count(tokens, streams=streams, steps=steps)
    if not cut:
        assert tokens - 1 < streams
        return
    inputs = np.concatenate([window.inputs for window in cut])
    targets = np.concatenate([window.targets for window in cut])
    assert (targets == inputs + 1).all()
    assert (np.diff(inputs, axis=0) == 1).all()
    assert tokens - 1 - targets.size < streams
    assert len(np.unique(targets)) == targets.size
    assert [bool(window.begins.all()) for window in cut] == [True, *[False] * (len(cut) - 1)]


def test_one_stream_sees_every_token_but_the_first_as_a_target() -> None:
    ids = np.arange(11, dtype=np.int32)
    targets = np.concatenate([window.targets for window in windows(ids, streams=1, steps=4)])
    assert targets[:, 0].tolist() == list(range(1, 11))


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), streams=st.integers(1, 5), steps=st.integers(1, 9)
)
def test_a_stream_reads_a_document_from_end_to_end_and_nothing_else_in_between(
    lengths: list[int], streams: int, steps: int
) -> None:
    ids = np.arange(sum(lengths), dtype=np.int32)
    documents = list(pairwise([0, *np.cumsum(lengths).tolist()]))
    cut = list(document_windows(ids, documents, streams=streams, steps=steps))
    assert len(cut) == document_window_count(documents, streams=streams, steps=steps)
    read: list[list[int]] = []
    for stream in range(streams):
        for window in cut:
            count = int((window.targets[:, stream] != NO_TARGET).sum())
            inputs = window.inputs[:count, stream].tolist()
            assert window.targets[:count, stream].tolist() == [index + 1 for index in inputs]
            assert (window.targets[count:, stream] == NO_TARGET).all()
            if count and window.begins[stream]:
                read.append([])
            if count:
                read[-1] += inputs
    assert sorted(read) == [list(range(start, end - 1)) for start, end in documents if end - start > 1]
    assert all((window.targets != NO_TARGET).any(axis=1).all() for window in cut)  # none is longer than its rows


def test_inside_is_true_before_each_rows_end() -> None:
    assert inside(np.array([1, 3, 0], dtype=np.int32), 3).tolist() == [
        [True, False, False],
        [True, True, True],
        [False, False, False],
    ]
