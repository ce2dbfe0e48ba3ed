"""Going on with a generation whose stream broke, from the last token that was received. Pure: no calls, no waiting.

A generation is a function of its start, its prompt, its seed and its position, so any server with the same servable and
the same start can continue it: the request carries the seed and the received tokens, and the server sends the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc

from seqserve.client.core.retry_policy import RetryPolicy
from seqserve.client.errors import ProtocolError, SeqserveError, ServableMismatchError
from seqserve.client.types.generation import GenerationStarted, Piece
from seqserve.v1 import common_pb2, generation_pb2


class Resumption:
    """The received part of one generation, as far as a request for the rest needs it."""

    def __init__(
        self,
        request: generation_pb2.GenerateRequest,
        retry_policy: RetryPolicy,
        deadline_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins with nothing received.

        Args:
            request: The original request.
            retry_policy: Decides whether and when the rest is requested.
            deadline_s: Maximum time for the whole generation, in seconds, however often it breaks; None: no limit.
            clock: The monotonic time, in seconds.
        """
        self._request = request
        self._retry_policy = retry_policy
        self._deadline_s = deadline_s
        self._clock = clock
        self._begun_s: float | None = None
        self._started: GenerationStarted | None = None
        self._received: dict[int, list[int]] = {}
        self.times = 0  # that the generation was resumed

    @property
    def request(self) -> generation_pb2.GenerateRequest:
        """The request to send now: the original one, or the one for the rest of the generation."""
        if self._started is None:
            return self._request
        rest = generation_pb2.GenerateRequest()
        rest.CopyFrom(self._request)
        if rest.state.WhichOneof("source") is None:  # else the state knows its version
            rest.model.version = self._started.servable.version  # a newer one may have been loaded meanwhile
        elif rest.state.HasField("session_id"):  # also where it was not asked at first
            rest.state.expected_position = self._started.position - self._started.prompt_tokens
        rest.resume.seed = self._started.seed
        samples = max(self._received, default=-1) + 1
        rest.resume.received.extend(common_pb2.TokenIds(ids=self._received.get(n, ())) for n in range(samples))
        return rest

    def left_s(self) -> float | None:
        """Time left for the generation, in seconds, counted from the first call of this method; None: no limit."""
        self._begun_s = self._clock() if self._begun_s is None else self._begun_s
        return None if self._deadline_s is None else max(0.0, self._begun_s + self._deadline_s - self._clock())

    def started(self, started: GenerationStarted) -> None:
        """Notes that the server has admitted the request, or the request for the rest.

        Raises:
            ServableMismatchError: If another servable answers than the one that began.
        """
        if self._started is None:
            self._retry_policy.progress()
            self._started = started
            return
        self.times += 1
        if started.servable.digest != self._started.servable.digest:
            raise ServableMismatchError(
                f"the stream broke, and {started.servable.model} version {started.servable.version} would continue "
                f"what version {self._started.servable.version} began: ask again for the whole text",
                code=grpc.StatusCode.FAILED_PRECONDITION,
                reason="ERROR_REASON_SERVABLE_MISMATCH",
            )

    def received(self, piece: Piece) -> None:
        """Notes a piece.

        Raises:
            ProtocolError: If it does not follow what came before the break: the server does not know how to resume.
        """
        tokens = self._received.setdefault(piece.sample, [])
        if self.times and self._started is not None and piece.token_ids:
            expected = self._started.position + len(tokens)
            if piece.position != expected:
                raise ProtocolError(
                    f"the stream broke, and the server resumed at position {piece.position} instead of {expected}: "
                    "ask again for the whole text"
                )
        self._retry_policy.progress()
        tokens.extend(piece.token_ids)

    def pause_s(self, error: SeqserveError) -> float | None:
        """The pause before the rest is requested, in seconds; None if the error of the stream is to be raised."""
        if self._received and not self._tells_all():
            return None
        pause_s, left_s = self._retry_policy.pause_s(error), self.left_s()
        return None if pause_s is None or (left_s is not None and pause_s >= left_s) else pause_s

    def _tells_all(self) -> bool:
        """Whether the received pieces suffice to resume: with token ids, and no samples selected at the end."""
        sampling = self._request.sampling
        ranked = sampling.HasField("beam_width") or sampling.best_of > max(sampling.n, 1)
        return not (self._request.outputs.omit_token_ids or ranked)
