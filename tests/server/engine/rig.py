"""An engine without its thread: the test makes its steps, turns its clock, and is the reader of its streams."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pytest

from seqserve.server.decoding.logprobs import StepReport
from seqserve.server.engine.engine import Engine
from seqserve.server.engine.output_stream import OutputStream, Result, SampleOutputs, SampleResult, StepOutputs
from seqserve.server.engine.requests import Admission, GenerationRequest, Request
from seqserve.server.engine.sequence import Sequence
from seqserve.server.errors import ServeError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.settings import BatchSettings
from seqserve.server.testing import ManualClock
from seqserve.server.text.tokenization import Tokenization
from seqserve.v1 import manifest_pb2 as pb
from tests.server.engine.reference import NOTHING, Oracle, Past

T = TypeVar("T")


def taken(stream: OutputStream) -> dict[int, SampleOutputs]:
    """Returns the accumulated outputs of a stream, as a woken reader gets them."""
    stream.wake()
    return at_once(stream.take())


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise AssertionError("it waited")


@dataclass(frozen=True)
class LoadedModel:
    """A servable, and what its tokens mean."""

    servable: Servable
    table: list[bytes]
    tokenization: Tokenization

    @functools.cached_property
    def oracle(self) -> Oracle:
        return Oracle(self.servable, self.table)

    def prompt(self, length: int, seed: int = 0) -> list[int]:
        """A prompt of random tokens."""
        tokens: list[int] = np.random.default_rng(seed).integers(0, len(self.table), length).tolist()
        return tokens


def during_the_next_run(monkeypatch: pytest.MonkeyPatch, model: LoadedModel, happens: Callable[[], None]) -> None:
    """While the graph runs the next time, something happens on the event loop's thread."""
    run: Any = model.servable.run_arrays
    left = [happens]

    def run_arrays(*args: Any) -> Any:
        result = run(*args)
        if left:
            left.pop()()
        return result

    monkeypatch.setattr(model.servable, "run_arrays", run_arrays)


@dataclass(eq=False)
class Reader:
    """One request, what its sequence held before, and what its reader has received."""

    request: Request
    sequence: Sequence
    past: Past = NOTHING
    tokens: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    reports: dict[int, list[StepReport]] = field(default_factory=dict[int, list[StepReport]])
    ends: dict[int, SampleResult] = field(default_factory=dict[int, SampleResult])
    error: ServeError | None = None
    stalls: bool = False

    @property
    def result(self) -> Result | None:
        return self.sequence.stream.result

    @property
    def done(self) -> bool:
        """Whether nothing more comes."""
        samples = self.request.samples if isinstance(self.request, GenerationRequest) else 0
        return self.error is not None or self.result is not None or 0 < samples == len(self.ends)

    @property
    def text(self) -> list[int]:
        """The tokens of sample 0."""
        return self.tokens.get(0, [])

    def following(self, sample: int = 0) -> tuple[SequenceState, Past]:
        """Returns the state after a generation that kept it, from which the sequence continues."""
        request, end = self.request, self.ends[sample]
        assert isinstance(request, GenerationRequest)
        prompt = request.inputs.arrays[pb.TENSOR_ROLE_TOKENS].astype(np.int32)
        received = request.received[sample].tokens if request.received else ()
        generated = [*received, *self.tokens.get(sample, [])]
        start = SequenceState(
            state=self.sequence.members[sample].state,
            position=end.position,
            last_token=generated[-1],
            counts=request.start.counts.plus(prompt, np.array(generated, np.int32)),
        )
        later = self.past.plus(prompt.tolist(), generated)
        assert start.position == len(later.tokens)
        return start, later

    def read(self) -> None:
        """Take what has gathered."""
        stream = self.sequence.stream
        if not (stream._gathered or stream._error):
            return
        try:
            gathered = taken(stream)
        except ServeError as error:
            self.error = error
            return
        for sample, outputs in gathered.items():
            assert sample not in self.ends, "a token after the end"
            self.tokens.setdefault(sample, []).extend(outputs.tokens)
            self.reports.setdefault(sample, []).extend(outputs.reports)
            if outputs.end is not None:
                self.ends[sample] = outputs.end


class Rig:
    """An engine at rest, and those who read from it."""

    def __init__(self, model: LoadedModel, settings: BatchSettings | None = None) -> None:
        self.clock = ManualClock()
        self.readers: list[Reader] = []
        self.engine = Engine(model.servable, model.table, settings or BatchSettings(), self._publish, self.clock)
        self.steps = 0

    def start(self, request: Request, past: Past = NOTHING, **admission: Any) -> Reader:
        """Submit a request. Args: past: what its sequence holds before."""
        reader = Reader(request, self.engine.submit(request, Admission(**admission)), past)
        self.readers.append(reader)
        return reader

    def cancel(self, reader: Reader) -> None:
        """Its caller goes away: what it has received by now is all that it gets."""
        self.engine.cancel(reader.sequence)
        self.readers.remove(reader)

    def step(self) -> bool:
        """One step of the engine; then all read but those who stall."""
        ran = self.engine.step()
        self.steps += ran
        for reader in self.readers:
            if not reader.stalls:
                reader.read()
        return ran

    def run(self) -> None:
        """Run until there is nothing to do."""
        while self.step():
            pass

    @property
    def scheduler(self) -> Any:
        return self.engine._scheduler

    def assert_nothing_is_left(self) -> None:
        """No sequence anywhere, nor anything that was kept for one."""
        scheduler = self.scheduler
        assert (len(scheduler.waiting), scheduler.prefilling, scheduler.decoding, scheduler.paused) == (0, [], [], [])
        assert not scheduler._slices
        scheduler.expired(1e18)
        assert not scheduler._deadlines

    @staticmethod
    def _publish(published: StepOutputs) -> None:
        for stream, output in published:
            stream.put(output)
