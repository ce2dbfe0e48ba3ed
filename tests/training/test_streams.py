import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqserve.training.data.padding import inside
from seqserve.training.data.streams import window_count, windows


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


def test_one_stream_sees_every_token_but_the_first_as_a_target() -> None:
    ids = np.arange(11, dtype=np.int32)
    targets = np.concatenate([window.targets for window in windows(ids, streams=1, steps=4)])
    assert targets[:, 0].tolist() == list(range(1, 11))


def test_inside_is_true_before_each_rows_end() -> None:
    assert inside(np.array([1, 3, 0], dtype=np.int32), 3).tolist() == [
        [True, False, False],
        [True, True, True],
        [False, False, False],
    ]
