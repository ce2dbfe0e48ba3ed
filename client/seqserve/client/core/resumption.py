"""Going on with a generation whose stream broke, from the last token that was received. Pure: no calls, no waiting.

A generation is a function of its start, its prompt, its seed and its position, so any server with the same servable and
the same start goes on as if nothing had happened: it is told the seed and the tokens that came, and sends the rest.
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
    """What has come of one generation, as far as it takes to ask for the rest."""

    def __init__(
        self,
        request: generation_pb2.GenerateRequest,
        retry_policy: RetryPolicy,
        deadline_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Initializes it.

        Args:
            deadline_s: Most seconds for the whole, however often it breaks; None for no limit.
        """
        self._request = request
        self._patience = retry_policy
        self._deadline_s = deadline_s
        self._clock = clock
        self._begun_s: float | None = None
        self._started: GenerationStarted | None = None
        self._received: dict[int, list[int]] = {}
        self.times = 0  # that the generation was resumed

    @property
    def request(self) -> generation_pb2.GenerateRequest:
        """What to ask now: the request as it was, or for the rest of its answer."""
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
        """Seconds left for the whole, which begins when this is first asked; None for no limit."""
        self._begun_s = self._clock() if self._begun_s is None else self._begun_s
        return None if self._deadline_s is None else max(0.0, self._begun_s + self._deadline_s - self._clock())

    def started(self, started: GenerationStarted) -> None:
        """The server has admitted the request, or the rest of it.

        Raises:
            ServableMismatchError: If another servable answers than the one that began.
        """
        if self._started is None:
            self._patience.progress()
            self._started = started
            return
        self.times += 1
        if started.servable.digest != self._started.servable.digest:
            raise ServableMismatchError(
                f"the stream broke, and {started.servable.model} version {started.servable.version} would go on with "
                f"what version {self._started.servable.version} began: ask again for the whole text",
                code=grpc.StatusCode.FAILED_PRECONDITION,
                reason="ERROR_REASON_SERVABLE_MISMATCH",
            )

    def received(self, piece: Piece) -> None:
        """A piece came.

        Raises:
            ProtocolError: If it does not follow what came before the break: the server does not know how to resume.
        """
        tokens = self._received.setdefault(piece.sample, [])
        if self.times and self._started is not None and piece.token_ids:
            expected = self._started.position + len(tokens)
            if piece.position != expected:
                raise ProtocolError(
                    f"the stream broke, and the server went on at position {piece.position} where {expected} follows: "
                    "ask again for the whole text"
                )
        self._patience.progress()
        tokens.extend(piece.token_ids)

    def pause_s(self, error: SeqserveError) -> float | None:
        """Seconds to pause before asking for the rest; None if the error that ended the stream is to be told."""
        if self._received and not self._tells_all():
            return None
        pause_s, left_s = self._patience.pause_s(error), self.left_s()
        return None if pause_s is None or (left_s is not None and pause_s >= left_s) else pause_s

    def _tells_all(self) -> bool:
        """Whether what came is all that a server needs to know: tokens, of samples that were not chosen at the end."""
        sampling = self._request.sampling
        ranked = sampling.HasField("beam_width") or sampling.best_of > max(sampling.n, 1)
        return not (self._request.outputs.omit_token_ids or ranked)
