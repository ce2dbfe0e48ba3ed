"""The loop of one engine: schedule, run, sample, update, publish.

Each engine has its own thread, so that the event loop never waits for a graph. The two meet at two places only: the
scheduler, under a lock that is held for microseconds, and the output dispatcher, which takes the outputs of a step. One
pass is one batch; a cancellation takes effect between passes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import replace

from seqserve.server.engine.output_stream import OutputStream, StepOutputs
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.requests import Admission, Request, StreamRequest
from seqserve.server.engine.runner import Runner
from seqserve.server.engine.scheduler import Scheduler
from seqserve.server.engine.sequence import PrefillSequence, Sequence, SequenceContext
from seqserve.server.engine.stats import EngineStats
from seqserve.server.engine.steps import DecodeStep, PrefillStep, Step, StreamStep
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.errors import DeadlineError, DrainingError, InternalError, QueueFullError, ServeError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.model.servable import Servable
from seqserve.server.settings import BatchSettings


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
        """Makes an engine that does not run yet.

        Args:
            servable: What the engine runs.
            table: The bytes of each token, for generation.
            settings: How batches are formed.
            publish: Takes the outputs of a step; called on the thread that runs the step.
            clock: A monotonic clock, in seconds.
            prefixes: A cache shared with other engines; None: the engine makes one.
        """
        self.servable = servable
        self.clock = clock
        self.prefixes = prefixes or PrefixCache(settings.prefix_cache_bytes_max, settings.prefill_length_max)
        self._stats = EngineStats()
        self._table = table
        self._publish = publish
        self._scheduler = Scheduler(settings, cuts=not servable.sees_future)
        self._runner = Runner(servable, self.prefixes, self._stats, clock, self._fork, self._remove)
        self._lock = threading.RLock()  # guards the scheduler and _closing
        self._awake = threading.Condition(self._lock)
        self._closing = False
        name = f"engine {servable.id.model}/{servable.id.version}"
        # A daemon thread, so that the process ends when something else crashes.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    @property
    def waiting(self) -> int:
        """Number of queued sequences."""
        return len(self._scheduler.waiting)

    @property
    def load(self) -> int:
        """Number of queued and running sequences and of open streams."""
        scheduler = self._scheduler
        return (
            len(scheduler.waiting) + len(scheduler.prefilling) + len(scheduler.decoding) + len(scheduler.open_streams)
        )

    @property
    def open_streams(self) -> int:
        """Number of open streams."""
        return len(self._scheduler.open_streams)

    def start(self) -> None:
        """Starts the engine's thread."""
        self._thread.start()

    def close(self) -> None:
        """Stops after the current step and waits for the thread. What has not ended fails with DrainingError."""
        with self._lock:
            self._closing = True
            self._awake.notify()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            left = self._scheduler.clear()
        self._publish([(sequence.stream, _draining()) for sequence in left])

    def submit(self, request: Request, admission: Admission = Admission()) -> Sequence:  # noqa: B008 - frozen
        """Admits a request whose inputs are known.

        Args:
            request: What to compute.
            admission: The terms on which it waits.

        Returns:
            The sequence; its outputs come through its stream.

        Raises:
            QueueFullError: The queue is at its limit.
            DrainingError: The engine is stopping.
            DeadlineError: The deadline has passed already.
            InvalidFieldError: The request does not fit the batch or the model.
        """
        request.check(self._scheduler.settings.size_max, len(self._table))
        context = self._context(OutputStream(self._room_again, request.samples), request.start, admission)
        sequence: PrefillSequence = request.sequence(context, self.servable, self._table)
        sequence.skip_cached_prefix(self.prefixes)  # before the lock: it takes longer for longer prompts
        with self._lock:
            self._check_open()
            if (result := sequence.early_result(context.admitted_s)) is not None:
                self._publish([(sequence.stream, result)])
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
        sequence = request.sequence(self._context(OutputStream(), request.start, admission), self.servable)
        with self._lock:
            self._check_open()
            try:
                self._scheduler.open(sequence)
            except QueueFullError:
                self._stats.refused += 1
                raise
            self._stats.requests += 1
            self._awake.notify()
        return StreamHandle(sequence, self._scheduler, self._lock, wake or self.wake)

    def _context(self, stream: OutputStream, start: SequenceState, admission: Admission) -> SequenceContext:
        """Makes the context of a new sequence.

        Raises:
            DeadlineError: The deadline has passed already.
        """
        now_s = self.clock()
        if admission.deadline_s is not None and admission.deadline_s <= now_s:
            raise _too_late()
        state = self.servable.initial_state() if start.state is None else start.state
        return SequenceContext(state, stream, admission, now_s)

    def _check_open(self) -> None:
        """Checks, under the lock, that the engine takes requests.

        Raises:
            DrainingError: The engine is stopping.
        """
        if self._closing:
            raise _draining()

    def wake(self) -> None:
        """Lets the thread look at what was pushed."""
        with self._lock:
            self._awake.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Removes a sequence and its forks: they take part in no later step. Does nothing if they have ended."""
        if not all(member.ended for member in sequence.members):
            with self._lock:
                self._scheduler.remove(sequence)

    def stats(self) -> EngineStats:
        """Returns what it has done and what it holds. From any thread."""
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
        """Makes one pass: runs one batch, if there is one. Returns whether there was."""
        with self._lock:
            late = self._scheduler.expired(self.clock())
            step = self._scheduler.schedule()
        if late:
            self._publish([(sequence.stream, _too_late()) for sequence in late])
        if step is None:
            return False
        try:
            outputs = self._run(step)
        except Exception as error:  # noqa: BLE001 - a defect in one step ends its sequences, not the engine
            outputs = self._fail(step, error)
        with self._lock:
            self._scheduler.update(step)
        if outputs:
            self._publish(outputs)
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
        match step:
            case DecodeStep(sequences):
                return self._runner.decode(sequences)
            case PrefillStep(rows):
                return self._runner.prefill(rows)
            case StreamStep(rows):
                return self._runner.feed(rows)

    def _fail(self, step: Step, error: Exception) -> StepOutputs:
        self._stats.failed_steps += 1
        failed = [sequence for sequence in step.members if not sequence.ended]
        with self._lock:
            for sequence in failed:
                self._scheduler.remove(sequence)
        reply: ServeError = InternalError.logged(f"a step of {self._thread.name}", error)
        return [(sequence.stream, reply) for sequence in failed]

    def _fork(self, sequence: PrefillSequence) -> None:
        """Makes the further samples of a prompt and queues them."""
        with self._lock:
            self._scheduler.fork(sequence)

    def _remove(self, sequence: Sequence) -> None:
        """Removes a sequence that failed, and its forks."""
        with self._lock:
            self._scheduler.remove(sequence)

    def _room_again(self) -> None:
        """Called when a reader has taken something: a paused sequence may continue."""
        if self._scheduler.paused:
            with self._lock:
                self._awake.notify()


def _too_late() -> DeadlineError:
    return DeadlineError("the deadline passed before the request was done; allow it more time")


def _draining() -> DrainingError:
    return DrainingError("the server is stopping; try again, on another replica if there is one", retry_after_s=1.0)
