"""One run of the graph over what several feeds were fed.

Axes: B feeds, T steps, U units of a state.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from seqserve.server.engine.output_dispatcher import StepOutputs
from seqserve.server.engine.scoring import ScoreStreamSequence, score
from seqserve.server.engine.streaming import StepStreamSequence, StreamingSequence, label
from seqserve.server.model.servable import Servable
from seqserve.server.model.state import pack, unpack


def run(servable: Servable, feeds: list[tuple[StreamingSequence, int]], clock: Callable[[], float]) -> StepOutputs:
    """Read so many steps of each feed, in one run of the graph, and tell what there is to tell.

    Args: feeds: at least one; those with 0 steps have an end to tell, of a sentence or their own.
    """
    now_s = clock()
    running = [(feed, count) for feed, count in feeds if count]
    if running:
        inputs = [feed.take(count) for feed, count in running]
        rows_BU = np.concatenate([feed.row for feed, _ in running]).reshape(len(running), -1)
        (scores_TBV, *_), state = servable.run(inputs, unpack(rows_BU, running[0][0].state))
        rows_BU = pack(state) if state else np.empty((len(running), 0), np.float32)
        for row, (feed, count) in enumerate(running):
            feed.started(now_s)
            feed.carry(rows_BU[row].copy())  # its own, so that it holds nobody else's
            feed.read(scores_TBV[:count, row])
        score([feed for feed, _ in running if isinstance(feed, ScoreStreamSequence)])
        label([feed for feed, _ in running if isinstance(feed, StepStreamSequence)])
    now_s = clock()
    published: StepOutputs = []
    for feed, _ in feeds:
        if feed.ended:  # cancelled while the step ran
            continue
        if (answers := feed.settle()) is not None:
            feed.first_output(now_s)
            published.append((feed.stream, answers))
        if feed.done:
            published.append((feed.stream, feed.end(now_s)))
    return published
