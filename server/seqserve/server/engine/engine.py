"""The loop of one servable: schedule, run, sample, update, publish.

The engine has a thread of its own, so that the event loop never waits for a graph. The two meet at two places only: the
scheduler, under a lock that is held for microseconds, and the courier, which takes what a step gave. One pass is one
batch; a cancel takes effect between passes.

Axes: B sequences, T steps, V vocabulary or labels.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import replace

from seqserve.server.engine.feedrun import run
from seqserve.server.engine.generation import GenerationSequence
from seqserve.server.engine.lookahead import step_stream_sequence
from seqserve.server.engine.output_dispatcher import StepOutputs
from seqserve.server.engine.output_stream import OutputStream
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.requests import (
    Admission,
    BeamSpec,
    ForwardRequest,
    GenerationRequest,
    Request,
    StepStreamRequest,
    StreamRequest,
)
from seqserve.server.engine.runner import Runner
from seqserve.server.engine.scheduler import Scheduler
from seqserve.server.engine.scoring import ScoreStreamSequence
from seqserve.server.engine.sequence import (
    ForwardSequence,
    PrefillOnlySequence,
    PrefillSequence,
    ScoringSequence,
    Sequence,
)
from seqserve.server.engine.stats import EngineStats
from seqserve.server.engine.steps import DecodeStep, PrefillStep, Step
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.engine.streaming import StreamingSequence
from seqserve.server.errors import (
    DeadlineError,
    DrainingError,
    InternalError,
    InvalidFieldError,
    QueueFullError,
)
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.settings import BatchSettings
from seqserve.v1 import manifest_pb2 as pb


class Engine:
    """Runs the sequences of one servable, batched step by step."""

    def __init__(
        self,
        servable: Servable,
        table: Listed[bytes],
        settings: BatchSettings,
        publish: Callable[[StepOutputs], None],
        clock: Callable[[], float] = time.monotonic,
        prefixes: PrefixCache | None = None,
    ) -> None:
        """Make an engine at rest.

        Args:
            servable: What the engine runs.
            table: The bytes of each token, for generation.
            settings: How batches are formed.
            publish: Takes what a step gave; called on the thread that runs the step.
            clock: Seconds, monotonic.
            prefixes: A cache that is shared with others; None: one of its own.
        """
        self.servable = servable
        self.clock = clock
        self.prefixes = prefixes or PrefixCache(settings.prefix_cache_bytes_max, settings.prefill_length_max)
        self._stats = EngineStats()
        self._table = table
        self._publish = publish
        self._scheduler = Scheduler(settings, cuts=not servable.sees_future)
        self._runner = Runner(servable, self.prefixes, self._fork, self._stats, clock)
        self._lock = threading.RLock()  # guards the scheduler and _closing
        self._awake = threading.Condition(self._lock)
        self._closing = False
        name = f"engine {servable.id.model}/{servable.id.version}"
        # A daemon: when something else crashes, the process ends.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    @property
    def waiting(self) -> int:
        """Sequences in line."""
        return len(self._scheduler.waiting)

    @property
    def load(self) -> int:
        """Sequences in line and running, and open feeds."""
        scheduler = self._scheduler
        return (
            len(scheduler.waiting) + len(scheduler.prefilling) + len(scheduler.decoding) + len(scheduler.open_streams)
        )

    @property
    def open_streams(self) -> int:
        """Open feeds."""
        return len(self._scheduler.open_streams)

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the step in progress; what has not ended fails with DrainingError. Waits for the thread."""
        with self._lock:
            self._closing = True
            self._awake.notify()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            left = self._scheduler.clear()
        self._publish([(sequence.stream, _draining()) for sequence in left])

    def submit(self, request: Request, admission: Admission = Admission()) -> Sequence:  # noqa: B008 - frozen
        """Admit a request whose inputs are known.

        Returns: The sequence; its outputs come through its stream.
        Raises: QueueFullError, DrainingError; DeadlineError if the deadline has passed already; InvalidFieldError for
            more beams than there are rows in a batch, or tokens to begin with.
        """
        now_s = self.clock()
        if admission.deadline_s is not None and admission.deadline_s <= now_s:
            raise _too_late()
        if isinstance(request, GenerationRequest) and request.beams is not None:
            self._check_beams(request, request.beams)
        samples = request.samples if isinstance(request, GenerationRequest) else 1
        stream = OutputStream(self._room_again, samples)
        start = SequenceState.new() if isinstance(request, ForwardRequest) else request.start
        state = self.servable.initial_state() if start.state is None else start.state
        common = state, stream, admission, now_s
        sequence: PrefillSequence
        if isinstance(request, GenerationRequest):
            sequence = GenerationSequence(request, self._table, *common)
        elif isinstance(request, ForwardRequest):
            sequence = ForwardSequence(request, *common)
        else:
            sequence = ScoringSequence(request, *common)
        with self._lock:
            if self._closing:
                raise _draining()
            if isinstance(sequence, GenerationSequence) and _may_skip(sequence.request):
                sequence.prefix_keys = self.prefixes.keys(sequence.request.inputs.arrays[pb.TENSOR_ROLE_TOKENS])
                length, state = self.prefixes.find(sequence.prefix_keys, sequence.remaining)
                if length:
                    sequence.skip(length, state)
            if isinstance(sequence, PrefillOnlySequence) and not sequence.remaining:  # its state trails a single token
                self._publish([(stream, sequence.finish(now_s))])
                return sequence
            try:
                self._scheduler.add(sequence)
            except QueueFullError:
                self._stats.refused += 1
                raise
            self._stats.requests += 1
            self._awake.notify()
        return sequence

    def open(
        self,
        request: StreamRequest,
        admission: Admission = Admission(),  # noqa: B008 - frozen
        wake: Callable[[], None] | None = None,
    ) -> StreamHandle:
        """Opens a stream, whose inputs come over time. Its sequence rests until something is pushed.

        Args:
            request: What to compute for each step.
            admission: Terms on which the stream is admitted.
            wake: Called when something was pushed, to let the engine's thread look; None: `wake`, at once.

        Returns:
            The handle of the stream.

        Raises:
            QueueFullError: The limit of open streams is reached.
            DrainingError: The engine is stopping.
            DeadlineError: The deadline has passed already.
            TaskMismatchError: The model was exported without what the look-ahead needs.
        """
        now_s = self.clock()
        if admission.deadline_s is not None and admission.deadline_s <= now_s:
            raise _too_late()
        state = self.servable.initial_state() if request.start.state is None else request.start.state
        common = state, OutputStream(), admission, now_s
        feed: StreamingSequence
        if isinstance(request, StepStreamRequest):
            feed = step_stream_sequence(request, self.servable, *common)
        else:
            feed = ScoreStreamSequence(request, *common)
        with self._lock:
            if self._closing:
                raise _draining()
            try:
                self._scheduler.open(feed)
            except QueueFullError:
                self._stats.refused += 1
                raise
            self._stats.requests += 1
            self._awake.notify()
        return StreamHandle(feed, self._scheduler, self._lock, wake or self.wake)

    def wake(self) -> None:
        """Lets the thread look at what was pushed."""
        with self._lock:
            self._awake.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Take a sequence out, forks and all: it runs in no later step. Harmless if it has ended."""
        if not all(member.ended for member in sequence.members):
            with self._lock:
                self._scheduler.remove(sequence)

    def stats(self) -> EngineStats:
        """What it has done, and what it holds. From any thread."""
        with self._lock:
            return replace(
                self._stats,
                prefix_hits=self.prefixes.hits,
                prefix_misses=self.prefixes.misses,
                prefix_hit_tokens=self.prefixes.hit_tokens,
                waiting=len(self._scheduler.waiting),
                prefilling=len(self._scheduler.prefilling),
                decoding=len(self._scheduler.decoding),
                paused=len(self._scheduler.paused),
                open_streams=len(self._scheduler.open_streams),
            )

    def step(self) -> bool:
        """One pass: run one batch, if there is one. Returns whether there was."""
        with self._lock:
            late = self._scheduler.expired(self.clock())
            step = self._scheduler.schedule()
        if late:
            self._publish([(sequence.stream, _too_late()) for sequence in late])
        if step is None:
            return False
        try:
            published = self._run(step)
        except Exception as error:  # noqa: BLE001 - a defect in one step ends its sequences, not the engine
            published = self._fail(step, error)
        with self._lock:
            self._scheduler.update(step)
        if published:
            self._publish(published)
        return True

    def _loop(self) -> None:
        while not self._closing:
            with self.servable.work():
                while not self._closing and self.step():
                    pass
            with self._lock:
                while not self._closing and self._scheduler.idle:
                    self._awake.wait()

    def _run(self, step: Step) -> StepOutputs:
        if isinstance(step, DecodeStep):
            return self._runner.decode(step.sequences)
        counts = [count for _, count in step.rows if count]  # 0: only the end of a sentence, or of a feed
        self._stats.prefill_steps += bool(counts)
        self._stats.prefill_tokens += sum(counts)
        self._stats.prefill_padded_tokens += len(counts) * max(counts, default=0)
        return (
            self._runner.read(step.rows) if isinstance(step, PrefillStep) else run(self.servable, step.rows, self.clock)
        )

    def _check_beams(self, request: GenerationRequest, beams: BeamSpec) -> None:
        most = min(self._scheduler.settings.size_max, len(self._table) - len(request.stopping.ends))
        if beams.width > most:
            raise InvalidFieldError(
                f"sampling.beam_width is {beams.width}; with this model and these stop tokens at most {most} fit",
                field="sampling.beam_width",
            )

    def _fail(self, step: Step, error: Exception) -> StepOutputs:
        self._stats.failed_steps += 1
        failed = [sequence for sequence in step.members if not sequence.ended]
        with self._lock:
            for sequence in failed:
                self._scheduler.remove(sequence)
        if isinstance(step, DecodeStep):
            self._runner.forget()  # the state of its batch is unknown now
        told = InternalError.logged(f"a step of {self._thread.name}", error)
        return [(sequence.stream, told) for sequence in failed]

    def _fork(self, sequence: GenerationSequence) -> None:
        """Put the further samples of a prompt in line."""
        with self._lock:
            self._scheduler.fork(sequence, sequence.request.samples)

    def _room_again(self) -> None:
        """A reader has taken something: a paused sequence may go on."""
        if self._scheduler.paused:
            with self._lock:
                self._awake.notify()


def _may_skip(request: GenerationRequest) -> bool:
    """Whether its prompt may begin with what is known: it begins the sequence, and is not reported."""
    return request.start.last_token is None and request.prompt_logprobs is None


def _too_late() -> DeadlineError:
    return DeadlineError("the deadline passed before the request was done; allow it more time")


def _draining() -> DrainingError:
    return DrainingError("the server is stopping; try again, on another replica if there is one", retry_after_s=1.0)
