"""Sequences whose inputs come over time: what was fed is read as it comes; between, they rest.

A feed that rests holds its state and nothing else: it is in no batch and costs no step. It is fed on the event loop,
under the engine's lock, and read on the engine's thread; each side writes only what is its own.

Axes: T steps, V vocabulary or labels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import replace
from itertools import islice

import numpy as np

from seqserve.server.courier import Published
from seqserve.server.errors import ServeError
from seqserve.server.inputs import Inputs, concatenate, token_inputs
from seqserve.server.likelihood import StepReport, reports
from seqserve.server.requests import Admission, FeedRequest, OpenRequest, ScoreFeedRequest
from seqserve.server.sequence import Sequence
from seqserve.server.servable import Servable
from seqserve.server.state import FloatArray, State, join, rows
from seqserve.server.stream import Answers, FeedEnd, OutputStream, Steps
from seqserve.v1 import manifest_pb2 as pb


class Feed(Sequence):
    """Reads what it is fed."""

    def __init__(
        self, request: OpenRequest, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        super().__init__(state, stream, admission, admitted_s)
        self.finished = False  # nothing more comes
        self.fed = 0  # steps so far
        self._keeps_state = request.keeps_state
        self._told = 0  # steps whose answers are on their way to the reader, or there
        self._error: ServeError | None = None

    @property
    def ready(self) -> int:
        """Steps that can be answered now, and are not."""
        raise NotImplementedError

    @property
    def due(self) -> bool:
        """Whether there is something to do: steps to read, or an end to tell."""
        return self.ready > 0 or self.finished

    @property
    def done(self) -> bool:
        """Whether everything has been told but its own end."""
        return self.finished and not self.ready

    @property
    def backlog(self) -> int:
        """Steps that can be answered, and whose answers the reader has not taken."""
        return self.ready + self._told - self.stream.taken[0]

    async def until_below(self, limit: int) -> None:
        """Wait until the backlog is below a limit."""
        while self.backlog >= limit:
            await self.stream.until_taken()

    def feed(self, inputs: Inputs) -> None:
        """Add steps."""
        raise NotImplementedError

    def flush(self) -> None:
        """Answer what was fed, now. A model that does not see the future has nothing more to say."""

    def finish(self, error: ServeError | None) -> None:
        """Nothing more comes: after what is there comes the end, or this error."""
        self.finished, self._error = True, error

    def next_run(self, longest: int) -> int:
        """Steps of its next run, if that should have at most so many; 0: there is nothing to run."""
        return min(self.ready, longest)

    def take(self, count: int) -> Inputs:
        """The steps of a run; from now on they count as consumed."""
        raise NotImplementedError

    def read(self, outputs: Listed[FloatArray]) -> None:
        """See what the graph gave for the steps just taken, (T, V) each. They are copied if they are kept."""
        raise NotImplementedError

    def settle(self) -> Answers | None:
        """What there is to tell after a step, if anything."""
        raise NotImplementedError

    def end(self, now_s: float) -> FeedEnd | ServeError:
        """It has ended: what its reader is told at last."""
        self.ended = True
        return self._error or FeedEnd(self.fed, self.times(now_s), self.state if self._keeps_state else None)


class StepFeed(Feed):
    """Gives the graph's outputs for each step."""

    def __init__(
        self,
        request: FeedRequest,
        initial: State,
        state: State,
        stream: OutputStream,
        admission: Admission,
        admitted_s: float,
    ) -> None:
        """Args: initial: the state in which a sentence begins."""
        super().__init__(request, state, stream, admission, admitted_s)
        self._initial = initial
        self._pieces: deque[Inputs] = deque()
        self._lead = len(request.start.lead)  # steps that are read and not told
        self._known = self._consumed = 0  # steps, the lead among them
        self._ends: deque[int] = deque()  # how many were known when a sentence ended; those to come
        self._ended_at = -1 if request.start.position else 0
        self._steps: list[Steps] = []
        if self._lead:
            self._add(token_inputs(request.start.lead))

    @property
    def ready(self) -> int:
        """Steps that can be answered now: those of the sentence that is being read."""
        return (self._ends[0] if self._ends else self._known) - self._consumed

    @property
    def due(self) -> bool:
        """Whether there is something to do: steps to read, or the end of a sentence or of everything to tell."""
        return bool(self._ends) or super().due

    @property
    def done(self) -> bool:
        """Whether everything has been told but its own end."""
        return super().done and not self._ends

    def feed(self, inputs: Inputs) -> None:
        """Add steps."""
        self._add(inputs)
        self.fed += len(inputs)

    def _add(self, inputs: Inputs) -> None:
        self._pieces.append(inputs)
        self._known += len(inputs)

    def end_sentence(self) -> None:
        """What was fed so far is a whole sentence. Without a step since the last end nothing happens."""
        if self._ended_at != self._known:
            self._ended_at = self._known
            self._ends.append(self._known)

    def take(self, count: int) -> Inputs:
        """The next steps."""
        self._consumed += count
        parts: list[Inputs] = []
        while count:
            piece = self._pieces[0]
            if len(piece) > count:
                self._pieces[0] = piece.cut(count, len(piece))
                piece = piece.cut(0, count)
            else:
                self._pieces.popleft()
            parts.append(piece)
            count -= len(piece)
        return concatenate(parts)

    def read(self, outputs: Listed[FloatArray]) -> None:
        """Keep them, but for the lead's."""
        first = self._consumed - len(outputs[0]) - self._lead
        untold = max(0, -first)
        if untold < len(outputs[0]):
            self._steps.append(Steps(first + untold, tuple(output[untold:].copy() for output in outputs)))

    def settle(self) -> Answers | None:
        """Steps, and the end of a sentence."""
        steps, self._steps = self._steps, []
        if self._ends and self._ends[0] == self._consumed:
            self._ends.popleft()
            self.state = self._initial
            last = steps.pop() if steps else Steps(self._consumed - self._lead, ())
            steps.append(replace(last, ends_sentence=True))
        if not steps:
            return None
        count = sum(map(len, steps))
        self._told += count
        return Answers(steps, count, rests=not self.ready)


class ScoreFeed(Feed):
    """Tells how likely each token is. Its state trails by one token, which is read when the next one comes."""

    def __init__(
        self, request: ScoreFeedRequest, state: State, stream: OutputStream, admission: Admission, admitted_s: float
    ) -> None:
        super().__init__(request, state, stream, admission, admitted_s)
        self.top = request.top
        self.targets: list[int] = []  # of the steps just taken: the token after each
        self.logits: FloatArray | None = None  # (T, V), of the same
        self.reports: list[StepReport] = []  # the same
        lead: list[int] = request.start.lead.tolist()
        self._last = lead[0] if lead else -1  # the token that is read next
        self._tokens = deque(lead[1:])  # those after it
        self._begun = bool(lead)
        self._untold = len(self._tokens)

    @property
    def ready(self) -> int:
        """Tokens that can be answered now: all but a new sequence's first."""
        return len(self._tokens)

    def feed(self, inputs: Inputs) -> None:
        """Add tokens."""
        tokens: list[int] = inputs.arrays[pb.TENSOR_ROLE_TOKENS].tolist()
        self.fed += len(tokens)
        if not self._begun:
            self._begun, self._last = True, tokens.pop(0)
        self._tokens.extend(tokens)

    def take(self, count: int) -> Inputs:
        """The last token and all but the last of the next ones."""
        self.targets = [self._tokens.popleft() for _ in range(count)]
        inputs = token_inputs([self._last, *self.targets[:-1]])
        self._last = self.targets[-1]
        return inputs

    def read(self, outputs: Listed[FloatArray]) -> None:
        """Keep the logits until all of the step are scored."""
        self.logits = outputs[0]

    def settle(self) -> Answers | None:
        """The reports, but for those of the lead."""
        told, self.reports, self.logits = self.reports[self._untold :], [], None
        self._untold -= min(self._untold, len(self.targets))
        self.targets = []
        if not told:
            return None
        self._told += len(told)
        return Answers(told, len(told), rests=not self.ready)


def run(servable: Servable, feeds: list[tuple[Feed, int]], clock: Callable[[], float]) -> Published:
    """Read so many steps of each feed, in one run of the graph, and tell what there is to tell.

    Args: feeds: at least one; those with 0 steps have an end to tell, of a sentence or their own.
    """
    now_s = clock()
    running = [(feed, count) for feed, count in feeds if count]
    if running:
        inputs = [feed.take(count) for feed, count in running]
        outputs, state = servable.run(inputs, join([feed.state for feed, _ in running]))
        for row, (feed, count) in enumerate(running):
            feed.started(now_s)
            feed.state = rows(state, [row])
            feed.read([output[:count, row] for output in outputs])
        _score([feed for feed, _ in running if isinstance(feed, ScoreFeed)])
    now_s = clock()
    published: Published = []
    for feed, _ in feeds:
        if feed.ended:  # cancelled while the step ran
            continue
        if (answers := feed.settle()) is not None:
            feed.first_output(now_s)
            published.append((feed.stream, answers))
        if feed.done:
            published.append((feed.stream, feed.end(now_s)))
    return published


def _score(feeds: list[ScoreFeed]) -> None:
    """Report the steps just read, those of all feeds together that want as many alternatives."""
    for top in {feed.top for feed in feeds}:
        alike = [feed for feed in feeds if feed.top == top]
        logits_NV = np.concatenate([feed.logits for feed in alike if feed.logits is not None])
        found = iter(reports(logits_NV, [token for feed in alike for token in feed.targets], top))
        for feed in alike:
            feed.reports = list(islice(found, len(feed.targets)))
