"""How large a snapshot is: hardly larger than the state that it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqserve.server.model.sequence_state import SequenceState, TokenCounts
from seqserve.server.sessions.snapshot import pack, seal
from tests.server.sessions.rig import rooms

KEY = b"a key of the server's"


@pytest.mark.parametrize(("cell", "hidden_size"), [("lstm", 512), ("gru", 256)])
def test_a_snapshot_is_hardly_larger_than_its_state(
    cell: str, hidden_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seqserve.training.config import CellKind  # torch takes seconds to import
    from tests import servables

    monkeypatch.setattr(servables, "ALPHABET", "\n" + "".join(map(chr, range(32, 127))))
    servables.make_language_model(tmp_path / "lm", cell=CellKind(cell), hidden_size=hidden_size)
    with rooms(tmp_path) as at:
        servable = at.repository.model("lm", None).servable
        rng = np.random.default_rng(0)
        read, made = rng.integers(0, 96, (2, 400)).astype(np.int32)  # all 96 tokens occur, in the prompt and after
        state = tuple(rng.standard_normal(tensor.shape).astype(np.float32) for tensor in servable.initial_state())
        start = SequenceState(state, 800, int(made[-1]), TokenCounts().plus(read, made), b"abc")
        size = len(seal(pack(start, servable, now_s=1.7e9), KEY))
    assert servable.manifest.vocabulary.size == 96
    assert size <= 1.1 * sum(tensor.nbytes for tensor in state) + 512
