"""Requests, and sequences that need no servable: what the tests of the scheduler run."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from typing import Any

import numpy as np

from seqserve.server.decoding.sampling import SamplingSpec
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.output_stream import OutputStream
from seqserve.server.engine.requests import (
    Admission,
    BeamSpec,
    GenerationRequest,
    Received,
    StoppingSpec,
)
from seqserve.server.engine.scheduler import Scheduler
from seqserve.server.engine.sequence import SequenceContext
from seqserve.server.engine.steps import DecodeStep, Step, StreamStep
from seqserve.server.engine.streaming import StepStreamSequence, StreamingSequence
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.settings import BatchSettings

_NEW = SequenceState.new()

ENDLESS = 1_000_000_000
TABLE = [bytes([letter]) for letter in b"abcdefgh"]
_NO_LOGITS = np.zeros(len(TABLE), np.float32)


def generation_request(
    prompt: list[int],
    *,
    max_tokens: int = 16,
    samples: int = 1,
    beam_width: int | None = None,
    length_penalty: float = 1.0,
    prompt_logprobs: int | None = None,
    stopping: dict[str, Any] | None = None,
    start: SequenceState = _NEW,
    received: Listed[Received] = (),
    keeps_state: bool = False,
    **sampling: Any,
) -> GenerationRequest:
    """A request with seed 0 unless told otherwise."""
    return GenerationRequest(
        token_inputs(prompt),
        SamplingSpec(**({"seed": 0} | sampling)),
        StoppingSpec(max_tokens, **(stopping or {})),
        samples,
        None if beam_width is None else BeamSpec(beam_width, length_penalty),
        prompt_logprobs,
        start,
        tuple(received),
        keeps_state,
    )


def a_generation(
    prompt_length: int = 1,
    *,
    max_tokens: int = 1_000_000,
    samples: int = 1,
    beam_width: int | None = None,
    received: Listed[Received] = (),
    caller: str = "",
    priority: int = 0,
    deadline_s: float | None = None,
) -> GenerationSequence:
    """A generation that nobody has put in line."""
    request = generation_request(
        [0] * prompt_length, max_tokens=max_tokens, samples=samples, beam_width=beam_width, received=received
    )
    context = SequenceContext((), OutputStream(samples=samples), Admission(caller, priority, deadline_s), 0.0)
    return GenerationSequence(context, request, TABLE)


def a_stream(*, caller: str = "", deadline_s: float | None = None) -> StepStreamSequence:
    """Returns a streaming sequence before it is opened."""
    state = (np.zeros((1, 1, 1), np.float32),)
    context = SequenceContext(state, OutputStream(), Admission(caller, deadline_s=deadline_s), 0.0)
    return StepStreamSequence(context, state, SequenceState.new())


def carry_out(scheduler: Scheduler, step: Step) -> int:
    """Do what an engine does with a step, but for the graph: every token drawn is 0.

    Returns: How many times the graph would have run over a row of the batch, one after the other: its steps in time.
    """
    if isinstance(step, DecodeStep):
        for member in step.sequences:
            if member.remaining:
                member.take(1, 0.0)
            if not member.remaining:
                _grow(member)
        scheduler.update(step)
        return 1
    if isinstance(step, StreamStep):
        for feed, count in step.rows:
            _answer(feed, count)
        scheduler.update(step)
        return max(count for _, count in step.rows)
    for sequence, count in step.rows:
        sequence.take(count, 0.0)
        if isinstance(sequence, GenerationSequence) and sequence.generated:
            sequence.replay(np.repeat(_NO_LOGITS[None], count, axis=0), 0.0)
        elif isinstance(sequence, GenerationSequence) and not sequence.remaining:
            _begin(scheduler, sequence)
        elif not sequence.remaining:
            sequence.ended = True
    scheduler.update(step)
    return max(count for _, count in step.rows)


def _answer(feed: StreamingSequence, count: int) -> None:
    if count:
        feed.take(count)
        feed.record(np.repeat(_NO_LOGITS[None], count, axis=0))
    if (answers := feed.collect()) is not None:
        feed.stream.put(answers)
    if feed.done:
        feed.stream.put(feed.result(0.0))


def _begin(scheduler: Scheduler, sequence: GenerationSequence) -> None:
    if sequence.beams is not None:
        while len(sequence.family) < sequence.beams.width:
            sequence.fork(len(sequence.family))
    else:
        scheduler.fork(sequence)
    for member in list(sequence.family):
        if member.replays:
            member.replay(_NO_LOGITS[None], 0.0)
        else:
            _grow(member)


def _grow(sequence: GenerationSequence) -> None:
    sequence.accept(0, _NO_LOGITS, 0.0)


def read_all(sequence: GenerationSequence) -> None:
    """Its reader has taken all that there is; a search gives nothing before its end."""
    for member in sequence.family if sequence.beams is None else []:
        taken = sequence.stream.taken
        taken[member.sample] = max(taken[member.sample], member.generated)


def scheduler_of(**settings: int | float) -> Scheduler:
    return Scheduler(BatchSettings(**({"tokens_ahead_max": ENDLESS} | settings)), cuts=True)  # type: ignore[arg-type]


def one_step(scheduler: Scheduler) -> Step:
    step = scheduler.schedule()
    assert step is not None
    carry_out(scheduler, step)
    return step


def decode_steps(scheduler: Scheduler, count: int) -> None:
    """Runs until this number of decode steps is done."""
    while count:
        count -= isinstance(one_step(scheduler), DecodeStep)
