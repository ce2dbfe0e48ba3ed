"""What an engine counts: a metric that stands still while its engine works is worse than none."""

from __future__ import annotations

from dataclasses import asdict

from seqserve.server.engine.requests import StepStreamRequest
from tests.server.engine.rig import LoadedModel
from tests.server.engine.sequences import generation_request
from tests.server.engine.streams import FeedRig


def counted(rig: FeedRig) -> dict[str, int]:
    """What has been counted so far, zeros left out."""
    return {name: count for name, count in asdict(rig.engine.stats()).items() if count}


def test_runs_and_tokens_of_a_generation_are_counted(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    reader = rig.start(generation_request(tiny.prompt(3), max_tokens=10))
    rig.run()
    assert len(reader.text) == 10
    # The prefill run reads the prompt and gives the first token; each of the others takes one decode run.
    assert counted(rig) == {
        "requests": 1,
        "prefill_steps": 1,
        "prefill_tokens": 3,
        "prefill_padded_tokens": 3,
        "decode_steps": 9,
        "generated_tokens": 10,
    }


def test_padding_is_counted_beside_the_tokens(tiny: LoadedModel) -> None:
    rig = FeedRig(tiny)
    for length in (4, 5):
        rig.start(generation_request(tiny.prompt(length), max_tokens=1))
    rig.open(StepStreamRequest())
    rig.run()
    found = counted(rig)
    assert (found["prefill_steps"], found["prefill_tokens"], found["prefill_padded_tokens"]) == (1, 9, 10)
    assert (found["open_streams"], found["requests"], found["generated_tokens"]) == (1, 3, 2)
