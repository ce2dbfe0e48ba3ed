"""Several engines side by side answer as one does, and share one line and one cache."""

import pytest

from seqserve.server.engine.output_stream import StepOutputs, TokenOutput
from seqserve.server.engine.pool import EnginePool
from seqserve.server.engine.requests import Admission
from seqserve.server.errors import QueueFullError
from seqserve.server.settings import BatchSettings
from tests.server.engine.rig import LoadedModel
from tests.server.engine.sequences import generation_request


class Side:
    """EnginePool stepped by hand, and what they gave each stream."""

    def __init__(self, model: LoadedModel, **batch: int) -> None:
        self.texts: dict[object, list[int]] = {}
        self.engines = EnginePool(model.servable, model.table, BatchSettings(**batch), self._keep)

    def _keep(self, published: StepOutputs) -> None:
        for stream, output in published:
            token = output.token if isinstance(output, TokenOutput) else output
            assert isinstance(token, int)
            self.texts.setdefault(stream, []).append(token)
            stream.taken = [len(self.texts[stream])]

    def run(self) -> None:
        while sum(engine.step() for engine in self.engines.engines):  # all of them: any() would stop at the first
            pass


@pytest.fixture(params=[1, 2, 3])
def engines(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def test_the_text_is_the_same_whatever_the_number_of_engines(tiny: LoadedModel, engines: int) -> None:
    side = Side(tiny, engines=engines, size_max=6)
    requests = [generation_request(tiny.prompt(3 + seed % 20, seed), seed=seed, max_tokens=30) for seed in range(20)]
    sequences = [side.engines.submit(request) for request in requests]
    assert {sequence.engine_index for sequence in sequences} == set(range(engines))
    side.run()
    for request, sequence in zip(requests, sequences, strict=True):
        assert tuple(side.texts[sequence.stream]) == tiny.oracle.text(request).tokens


def test_new_sequences_go_where_the_fewest_are(tiny: LoadedModel, engines: int) -> None:
    side = Side(tiny, engines=engines, size_max=12)
    request = generation_request(tiny.prompt(3, 1), seed=1, max_tokens=5)
    for _ in range(12):
        side.engines.submit(request)
    assert {engine.load for engine in side.engines.engines} == {12 // engines}


def test_all_engines_share_one_limit_of_the_line(tiny: LoadedModel, engines: int) -> None:
    side = Side(tiny, engines=engines, size_max=engines, queue_depth_max=4)
    request = generation_request(tiny.prompt(3, 1), seed=1, max_tokens=5)
    waiting = [side.engines.submit(request) for _ in range(4)]
    with pytest.raises(QueueFullError, match="4 requests are waiting") as refused:
        side.engines.submit(request)
    assert refused.value.retry_after_s is not None
    assert side.engines.stats().refused == 1
    side.engines.cancel(waiting[0])
    side.engines.submit(request, Admission())
    assert side.engines.stats().waiting == 4


def test_a_prompt_that_one_engine_has_read_is_not_read_again_by_another(tiny: LoadedModel) -> None:
    side = Side(tiny, engines=2, size_max=4, prefill_length_max=4)
    request = generation_request(tiny.prompt(13, 1), seed=1, max_tokens=5)
    first = side.engines.submit(request)
    side.run()
    side.engines.submit(generation_request(tiny.prompt(2, 1), seed=1, max_tokens=5))  # so that the other engine is next
    second = side.engines.submit(request)
    side.run()
    assert first.engine_index != second.engine_index
    assert side.engines.stats().prefix_hit_tokens == 12
    assert side.texts[second.stream] == side.texts[first.stream]
