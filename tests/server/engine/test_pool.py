"""Several engines side by side answer as one does, and share one line and one cache."""

import pytest

from seqserve.server.engine.output_dispatcher import Published
from seqserve.server.engine.output_stream import Output
from seqserve.server.engine.pool import Lanes
from seqserve.server.engine.requests import Admission
from seqserve.server.errors import QueueFullError
from seqserve.server.settings import BatchSettings
from tests.server.engine.rig import LoadedModel
from tests.server.engine.sequences import generation_request


class Side:
    """Lanes stepped by hand, and what they gave each stream."""

    def __init__(self, model: LoadedModel, **batch: int) -> None:
        self.texts: dict[object, list[int]] = {}
        self.lanes = Lanes(model.servable, model.table, BatchSettings(**batch), self._keep)

    def _keep(self, published: Published) -> None:
        for stream, output in published:
            token = output.token if isinstance(output, Output) else output
            assert isinstance(token, int)
            self.texts.setdefault(stream, []).append(token)
            stream.taken = [len(self.texts[stream])]

    def run(self) -> None:
        while sum(engine.step() for engine in self.lanes.engines):  # all of them: any() would stop at the first
            pass


@pytest.fixture(params=[1, 2, 3])
def lanes(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def test_the_text_is_the_same_whatever_the_number_of_lanes(tiny: LoadedModel, lanes: int) -> None:
    side = Side(tiny, lanes=lanes, size_max=6)
    requests = [generation_request(tiny.prompt(3 + seed % 20, seed), seed=seed, max_tokens=30) for seed in range(20)]
    sequences = [side.lanes.submit(request) for request in requests]
    assert {sequence.lane for sequence in sequences} == set(range(lanes))
    side.run()
    for request, sequence in zip(requests, sequences, strict=True):
        assert tuple(side.texts[sequence.stream]) == tiny.oracle.text(request).tokens


def test_new_sequences_go_where_the_fewest_are(tiny: LoadedModel, lanes: int) -> None:
    side = Side(tiny, lanes=lanes, size_max=12)
    request = generation_request(tiny.prompt(3, 1), seed=1, max_tokens=5)
    for _ in range(12):
        side.lanes.submit(request)
    assert {engine.load for engine in side.lanes.engines} == {12 // lanes}


def test_all_lanes_share_one_limit_of_the_line(tiny: LoadedModel, lanes: int) -> None:
    side = Side(tiny, lanes=lanes, size_max=lanes, queue_depth_max=4)
    request = generation_request(tiny.prompt(3, 1), seed=1, max_tokens=5)
    waiting = [side.lanes.submit(request) for _ in range(4)]
    with pytest.raises(QueueFullError, match="4 requests are waiting") as refused:
        side.lanes.submit(request)
    assert refused.value.retry_after_s is not None
    assert side.lanes.counts().refused == 1
    side.lanes.cancel(waiting[0])
    side.lanes.submit(request, Admission())
    assert side.lanes.counts().waiting == 4


def test_a_prompt_that_one_lane_has_read_is_not_read_again_by_another(tiny: LoadedModel) -> None:
    side = Side(tiny, lanes=2, size_max=4, prefill_length_max=4)
    request = generation_request(tiny.prompt(13, 1), seed=1, max_tokens=5)
    first = side.lanes.submit(request)
    side.run()
    side.lanes.submit(generation_request(tiny.prompt(2, 1), seed=1, max_tokens=5))  # so that the other lane is next
    second = side.lanes.submit(request)
    side.run()
    assert first.lane != second.lane
    assert side.lanes.counts().prefix_hit_tokens == 12
    assert side.texts[second.stream] == side.texts[first.stream]
