"""The engines of one servable, side by side, each with its own batch and thread.

A run of a recurrent graph is many short products one after another, and threads inside a run meet after each of them:
when the wire needs a processor in the meantime, all of them wait. Engines never meet. While one runs the graph, another
samples, and whatever time the wire leaves is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import fields, replace
from functools import partial

from seqserve.server.engine.engine import Engine
from seqserve.server.engine.output_stream import StepOutputs
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.requests import Admission, Request, StreamRequest
from seqserve.server.engine.scheduler import queue_full, too_many_streams
from seqserve.server.engine.sequence import Sequence
from seqserve.server.engine.stats import EngineStats
from seqserve.server.engine.stream_handle import StreamHandle
from seqserve.server.model.servable import Servable, processors
from seqserve.server.settings import BatchSettings

_ENGINES_MAX = 4  # if the setting is 0


class EnginePool:
    """Runs the sequences of one servable: each on the least loaded engine, streams on one engine if it holds them."""

    def __init__(
        self,
        servable: Servable,
        table: Listed[bytes],
        settings: BatchSettings,
        publish: Callable[[StepOutputs], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes engines that do not run yet. Arguments as for Engine; they share ``settings.size_max`` rows."""
        self.servable = servable
        self.clock = clock
        wanted = settings.engines or (min(processors(), _ENGINES_MAX) if servable.on_cpu else 1)
        count = min(wanted, settings.size_max)
        self._settings = settings
        self._refused = 0  # before an engine was chosen
        self._prefixes = PrefixCache(settings.prefix_cache_bytes_max, settings.prefill_length_max)
        self._to_wake: set[int] = set()  # engines that got inputs in this turn of the event loop
        self._rows = -(-settings.size_max // count)  # of one engine's batch
        each = settings.model_copy(update={"size_max": self._rows})
        self.engines = [Engine(servable, table, each, publish, clock, self._prefixes) for _ in range(count)]

    def start(self) -> None:
        """Starts the threads."""
        for engine in self.engines:
            engine.start()

    def close(self) -> None:
        """Stops the engines; see Engine."""
        for engine in self.engines:
            engine.close()

    @property
    def room(self) -> int:
        """How many more sequences may wait."""
        return self._settings.queue_depth_max - sum(engine.waiting for engine in self.engines)

    def submit(self, request: Request, admission: Admission = Admission()) -> Sequence:  # noqa: B008 - frozen
        """Admits a request; see Engine.

        Raises:
            QueueFullError: The engines together are at the limit of the queue.
            DrainingError: The engine is stopping.
            DeadlineError: The deadline has passed already.
            InvalidFieldError: The request does not fit the batch or the model.
        """
        if self.room <= 0:
            self._refused += 1
            raise queue_full(self._settings.queue_depth_max - self.room, self._settings)
        index = min(range(len(self.engines)), key=lambda each: self.engines[each].load)
        sequence = self.engines[index].submit(request, admission)
        sequence.engine_index = index
        return sequence

    def open(self, request: StreamRequest, admission: Admission = Admission()) -> StreamHandle:  # noqa: B008 - frozen
        """Opens a stream; see Engine.

        Raises:
            QueueFullError: The engines together are at the limit of open streams.
            DrainingError: The engine is stopping.
            DeadlineError: The deadline has passed already.
            TaskMismatchError: The model was exported without what the look-ahead needs.
        """
        open_streams = [engine.open_streams for engine in self.engines]
        if sum(open_streams) >= self._settings.open_streams_max:
            self._refused += 1
            raise too_many_streams(sum(open_streams), self._settings)
        # Streams share an engine as long as one batch holds them: a run of many costs little more than one.
        index = min(range(len(open_streams)), key=lambda each: open_streams[each] // self._rows)
        return self.engines[index].open(request, admission, partial(self._wake_soon, index))

    def _wake_soon(self, index: int) -> None:
        """Wakes an engine at the end of this turn of the event loop: all that comes in one turn shares a run."""
        if index not in self._to_wake:
            self._to_wake.add(index)
            asyncio.get_running_loop().call_soon(self._wake, index)

    def _wake(self, index: int) -> None:
        self._to_wake.discard(index)
        self.engines[index].wake()

    def cancel(self, sequence: Sequence) -> None:
        """Removes a sequence; see Engine."""
        self.engines[sequence.engine_index].cancel(sequence)

    def stats(self) -> EngineStats:
        """Returns what all engines have done and what they hold."""
        stats = [engine.stats() for engine in self.engines]
        total = EngineStats(
            **{field.name: sum(getattr(each, field.name) for each in stats) for field in fields(EngineStats)}
        )
        shared = self._prefixes  # each engine counts all its hits
        return replace(
            total,
            refused=total.refused + self._refused,
            prefix_hits=shared.hits,
            prefix_misses=shared.misses,
            prefix_hit_tokens=shared.hit_tokens,
        )
