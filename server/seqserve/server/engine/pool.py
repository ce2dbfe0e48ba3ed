"""The lanes of one servable: several engines side by side, each with a batch and a thread of its own.

A run of a recurrent graph is many short products one after another, and threads inside a run meet after each of them:
when the wire needs a processor in the meantime, all of them wait. Lanes meet nowhere. While one runs the graph, another
samples, and whatever time the wire leaves is used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import fields, replace

from seqserve.server.engine.engine import Engine
from seqserve.server.engine.output_dispatcher import Published
from seqserve.server.engine.prefix_cache import PrefixCache
from seqserve.server.engine.requests import Admission, OpenRequest, Request
from seqserve.server.engine.scheduler import queue_full, too_many_feeds
from seqserve.server.engine.sequence import Sequence
from seqserve.server.engine.stats import Counts
from seqserve.server.engine.streaming import Feed, StepFeed
from seqserve.server.errors import ServeError
from seqserve.server.model.inputs import Inputs
from seqserve.server.model.servable import Servable, processors
from seqserve.server.settings import BatchSettings

_LANES_MAX = 4  # what `0` may choose


class Lanes:
    """Runs the sequences of one servable; a new one goes where the fewest are, a feed where other feeds are."""

    def __init__(
        self,
        servable: Servable,
        table: Listed[bytes],
        settings: BatchSettings,
        publish: Callable[[Published], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """As Engine; ``settings.size_max`` rows are shared out among the lanes."""
        self.servable = servable
        self.clock = clock
        wanted = settings.lanes or (min(processors(), _LANES_MAX) if servable.on_cpu else 1)
        count = min(wanted, settings.size_max)
        self._settings = settings
        self._refused = 0  # before a lane was chosen
        self._prefixes = PrefixCache(settings.prefix_cache_bytes_max, settings.prefill_length_max)
        self._called: set[int] = set()  # lanes whose feeds were told something in this turn of the event loop
        self._rows = -(-settings.size_max // count)  # of a lane's batch
        each = settings.model_copy(update={"size_max": self._rows})
        self.engines = [Engine(servable, table, each, publish, clock, self._prefixes) for _ in range(count)]

    def start(self) -> None:
        """Start the threads."""
        for engine in self.engines:
            engine.start()

    def close(self) -> None:
        """Stop; see Engine."""
        for engine in self.engines:
            engine.close()

    @property
    def room(self) -> int:
        """How many more may wait."""
        return self._settings.queue_depth_max - sum(engine.waiting for engine in self.engines)

    def submit(self, request: Request, admission: Admission = Admission()) -> Sequence:  # noqa: B008 - frozen
        """Admit a request: see Engine.

        Raises: QueueFullError if as many wait in all lanes together as may; DrainingError, DeadlineError,
            InvalidFieldError.
        """
        if self.room <= 0:
            self._refused += 1
            raise queue_full(self._settings.queue_depth_max - self.room, self._settings)
        lane = min(range(len(self.engines)), key=lambda index: self.engines[index].load)
        sequence = self.engines[lane].submit(request, admission)
        sequence.lane = lane
        return sequence

    def open(self, request: OpenRequest, admission: Admission = Admission()) -> Feed:  # noqa: B008 - frozen
        """Admit a request whose inputs come over time: see Engine.

        Raises: QueueFullError if as many are open in all lanes together as may; DrainingError, DeadlineError,
            TaskMismatchError.
        """
        feeds = [engine.feeds for engine in self.engines]
        if sum(feeds) >= self._settings.feeds_max:
            self._refused += 1
            raise too_many_feeds(sum(feeds), self._settings)
        # Together as long as one batch holds them: each has a step at a time, and a run of many costs little more.
        lane = min(range(len(feeds)), key=lambda index: feeds[index] // self._rows)
        feed = self.engines[lane].open(request, admission)
        feed.lane = lane
        return feed

    def feed(self, feed: Feed, inputs: Inputs) -> None:
        """Give a feed more steps: see Engine."""
        self.engines[feed.lane].feed(feed, inputs)
        self._call(feed.lane)

    def end_sentence(self, feed: StepFeed) -> None:
        """End a feed's sentence: see Engine."""
        self.engines[feed.lane].end_sentence(feed)
        self._call(feed.lane)

    def flush(self, feed: Feed) -> None:
        """Answer what a feed was given: see Engine."""
        self.engines[feed.lane].flush(feed)
        self._call(feed.lane)

    def finish(self, feed: Feed, error: ServeError | None = None) -> None:
        """Nothing more comes for a feed: see Engine."""
        self.engines[feed.lane].finish(feed, error)
        self._call(feed.lane)

    def _call(self, lane: int) -> None:
        """Wake a lane at the end of this turn of the event loop: what came with the same turn shares a run."""
        if lane not in self._called:
            self._called.add(lane)
            asyncio.get_running_loop().call_soon(self._wake, lane)

    def _wake(self, lane: int) -> None:
        self._called.discard(lane)
        self.engines[lane].wake()

    def cancel(self, sequence: Sequence) -> None:
        """Take a sequence out: see Engine."""
        self.engines[sequence.lane].cancel(sequence)

    def counts(self) -> Counts:
        """What all lanes have done, and what they hold."""
        each = [engine.counts() for engine in self.engines]
        total = Counts(**{field.name: sum(getattr(counts, field.name) for counts in each) for field in fields(Counts)})
        shared = self._prefixes  # each lane told of all its hits
        return replace(
            total,
            refused=total.refused + self._refused,
            prefix_hits=shared.hits,
            prefix_misses=shared.misses,
            prefix_hit_tokens=shared.hit_tokens,
        )
