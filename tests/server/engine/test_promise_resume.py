"""Promise 2, for streams that break: what comes after the cut is what would have come, wherever the cut was.

A generation is read token by token, as its caller would see it. Then, for every number of tokens that the caller may
have received before the stream broke, it is asked to go on; what it tells then has to be the rest, to the byte.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from seqserve.server.api.generation import responses, resume
from seqserve.server.engine.requests import GenerationRequest, OutputSpec
from seqserve.server.errors import InvalidFieldError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.settings import BatchSettings
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import state_pb2
from tests.server.engine.conftest import Load
from tests.server.engine.rig import LoadedModel, Rig, taken
from tests.server.engine.sequences import generation_request

CROWDED = BatchSettings(
    size_max=3, prefill_length_max=3, prefill_tokens_max=7, inline_prefill_tokens_max=6, slice_tokens=2
)
BYTES = [bytes([byte]) for byte in "é国😀ä".encode()] + [letter.encode() for letter in "\n ,.abcdefghijklmnopqré国"]
"""A table of tokens that are no whole characters by themselves, and of some that are."""

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one token": {"max_tokens": 1},
    "greedy": {"temperature": 0.0, "logprobs": 2},
    "penalties": {"temperature": 0.0, "repetition_penalty": 1.4, "frequency_penalty": 0.6, "presence_penalty": 0.2},
    "stop": {"stopping": {"stop": ("ab", "e", "国,")}},
    "stop that never comes": {"stopping": {"stop": ("abcdefghij", "国国国国", "é é é é")}},
    "stop told": {"stopping": {"stop": ("a", "国"), "include_stop": True}, "logprobs": 0},
    "stop not before": {"stopping": {"stop": ("a", "b", "é"), "min_tokens": 8}},
    "stop tokens": {"stopping": {"stop_tokens": frozenset({1, 9, 14, 20}), "min_tokens": 2}},
    "end token": {"stopping": {"end_token": 10, "stop": ("q",)}, "logprobs": 1},
    "prompt": {"prompt_logprobs": 2, "logprobs": 1},
    "samples": {"samples": 3, "prompt_logprobs": 0, "logprobs": 0, "stopping": {"stop": ("a", "e")}},
    "samples, penalised": {"samples": 4, "frequency_penalty": 0.8, "stopping": {"stop_tokens": frozenset({3, 11})}},
}


@pytest.fixture(params=["lstm", "gru", "gru int8"])
def model(load: Load, request: pytest.FixtureRequest) -> LoadedModel:
    """A model whose tokens are bytes."""
    model = load(request.param, 2, 24)
    assert len(BYTES) == len(model.table)
    return dataclasses.replace(model, table=BYTES)


@dataclasses.dataclass(frozen=True)
class Reported:
    """What the caller of one request gets: the pieces of each sample, the last event, and the prompt's reports."""

    pieces: list[list[pb.GenerationPiece]]
    finished: pb.GenerationFinished
    prompt: list[Any]
    state: tuple[Any, ...]
    undecoded: list[bytes]

    def after(self, sample: int, tokens: int) -> tuple[str, list[int], list[common.StepLogprobs]]:
        """Returns the text, tokens, and reports after this number of tokens."""
        rest = self.pieces[sample][tokens:]
        return (
            "".join(piece.text for piece in rest),
            [token for piece in rest for token in piece.token_ids],
            [report for piece in rest for report in piece.logprobs],
        )


def tell(model: LoadedModel, request: GenerationRequest, settings: BatchSettings, strangers: int) -> Reported:
    """One request to its end, read after every step, among strangers."""
    rig = Rig(model, settings)
    for number in range(strangers):
        rig.start(generation_request([number % 7] * (1 + 3 * number), seed=number, max_tokens=300), caller="stranger")
        rig.step()
    sequence = rig.engine.submit(request)
    stream = sequence.stream
    outputs = OutputSpec(logprobs=request.sampling.logprobs is not None)
    answer = responses.Answer(replace(request, outputs=outputs), model.table)
    pieces: list[list[pb.GenerationPiece]] = [[] for _ in range(request.samples)]
    while not answer.done:
        rig.step()
        for sample, gathered in taken(stream).items() if stream._gathered else ():
            if (event := answer.piece(sample, gathered)) is not None:
                pieces[sample].append(event.piece)
    result = state_pb2.StateResult(position=answer.ends[0].position)
    finished = answer.finished(list(range(request.samples)), result).finished
    finished.ClearField("timing")
    finished.ClearField("cached_tokens")
    final_states = [answer.final_state(sample, sequence.members[sample].state) for sample in range(request.samples)]
    states = tuple(tensor.tobytes() for final_state in final_states for tensor in final_state.state or ())
    return Reported(pieces, finished, stream.prompt, states, [final_state.undecoded for final_state in final_states])


def resumed(model: LoadedModel, request: GenerationRequest, tokens: list[list[int]]) -> GenerationRequest:
    """The request of a caller who has these tokens already."""
    point = pb.ResumePoint(received=[common.TokenIds(ids=ids) for ids in tokens])
    received = resume.received(point, request.stopping, request.samples, model.tokenization, model.table)
    return dataclasses.replace(request, received=received)


def assert_goes_on(
    model: LoadedModel, request: GenerationRequest, whole: Reported, have: list[int], crowded: bool
) -> None:
    """A caller that has received these numbers of tokens per sample gets exactly the rest."""
    tokens = [whole.after(sample, 0)[1][:count] for sample, count in enumerate(have)]
    settings, strangers = (CROWDED, 4) if crowded else (BatchSettings(), 0)
    reported = tell(model, resumed(model, request, tokens), settings, strangers)
    for sample, count in enumerate(have):
        assert reported.after(sample, 0) == whole.after(sample, count)
        if reported.pieces[sample]:
            assert reported.pieces[sample][0].position == request.position + count
    assert reported.finished == whole.finished
    assert reported.prompt == whole.prompt
    assert reported.state == whole.state
    assert reported.undecoded == whole.undecoded


@pytest.mark.parametrize("crowded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_stream_goes_on_from_every_cut(model: LoadedModel, kind: str, crowded: bool) -> None:
    requested: dict[str, Any] = {"max_tokens": 18, "seed": 4} | KINDS[kind]
    request = generation_request(model.prompt(11), keeps_state=True, **requested)
    whole = tell(model, request, BatchSettings(), 0)
    lengths = [sample.tokens for sample in whole.finished.samples]
    assert [len(pieces) for pieces in whole.pieces] == lengths  # one token a piece, so every cut is there
    for cut in range(max(lengths) + 1):
        assert_goes_on(model, request, whole, [min(cut, length) for length in lengths], crowded)


def test_the_samples_of_a_stream_may_have_come_differently_far(model: LoadedModel) -> None:
    request = generation_request(
        model.prompt(20), samples=3, max_tokens=12, logprobs=0, keeps_state=True, stopping={"stop": ("ab", "c")}
    )
    whole = tell(model, request, BatchSettings(), 0)
    lengths = [sample.tokens for sample in whole.finished.samples]
    random = np.random.default_rng(0)
    for _ in range(20):
        assert_goes_on(model, request, whole, [int(random.integers(length + 1)) for length in lengths], crowded=True)


def test_a_sequence_that_had_a_beginning_goes_on_too(model: LoadedModel) -> None:
    rig = Rig(model)
    reader = rig.start(generation_request(model.prompt(5), max_tokens=6, keeps_state=True))
    rig.run()
    start = SequenceState(
        reader.sequence.state,
        11,
        reader.text[-1],
        SequenceState.new().counts.plus(np.array([1]), np.array(reader.text)),
    )
    for prompt in ([], model.prompt(7)):
        request = generation_request(
            prompt, start=start, max_tokens=9, keeps_state=True, repetition_penalty=1.5, logprobs=1
        )
        whole = tell(model, request, BatchSettings(), 0)
        for cut in range(10):
            assert_goes_on(model, request, whole, [cut], crowded=bool(cut % 2))


@pytest.mark.parametrize("cuts", [(1, 29), (7, 7, 16), (1,) * 30, (13, 1, 16)])
def test_characters_that_a_request_leaves_unfinished_come_whole_with_the_next(
    model: LoadedModel, cuts: tuple[int, ...]
) -> None:
    requested: dict[str, Any] = {"keeps_state": True, "logit_bias": dict.fromkeys(range(11), 3.0)}
    whole = tell(model, generation_request([12], max_tokens=30, **requested), BatchSettings(), 0)
    start, text = SequenceState.new(), ""
    for number, count in enumerate(cuts):
        request = generation_request([] if number else [12], max_tokens=count, start=start, **requested)
        rig = Rig(model)
        answer = responses.Answer(request, model.table)
        sequence = rig.engine.submit(request)
        rig.run()
        event = answer.piece(0, taken(sequence.stream)[0])
        assert event is not None
        text += event.piece.text
        final_state = answer.final_state(0, sequence.state)
        start = SequenceState(
            final_state.state, final_state.position, final_state.last_token, undecoded=final_state.undecoded
        )
    assert text == whole.after(0, 0)[0]
    assert any(letter in text for letter in "é国😀ä")


def test_what_an_answer_cannot_have_been_is_refused(model: LoadedModel) -> None:
    stopping = {"stop_tokens": frozenset({3}), "stop": (" .",), "min_tokens": 2}
    request = generation_request([1], max_tokens=6, stopping=stopping)
    space, point = BYTES.index(b" "), BYTES.index(b".")
    for tokens, error_text in (
        ([4] * 7, "has 7 tokens, but the answer ends with the first 6 of them"),
        ([4, 4, 3, 4], "has 4 tokens, but the answer ends with the first 3"),
        ([4, space, point, 4], "the answer ends with the first 3"),
        ([4, 35], "is 35; the vocabulary has ids 0 to 34"),
        ([4, -1], "is -1; the vocabulary has ids 0 to 34"),
    ):
        with pytest.raises(InvalidFieldError, match=r"resume.received\[0\].ids") as caught:
            resumed(model, request, [tokens])
        assert error_text in caught.value.message
    resumed(model, request, [[space, point, 4]])  # before the least length it ends nothing
    with pytest.raises(InvalidFieldError, match="2 entries for 1 samples"):
        resumed(model, request, [[4], [4]])
