"""What a generation has answered so far; holds the server to the order of events."""

from __future__ import annotations

from collections.abc import Callable

from seqserve.client.core.resumption import Resumption
from seqserve.client.errors import ProtocolError
from seqserve.client.types import html
from seqserve.client.types.generation import (
    GenerationFinished,
    GenerationStarted,
    Piece,
    finished_from_wire,
    piece_from_wire,
    started_from_wire,
)
from seqserve.v1 import generation_pb2


class GenerationRecord:
    """The received part of a stream. Checks that the server sends the events in order."""

    def __init__(self, resumption: Resumption, on_finished: Callable[[GenerationFinished], None]) -> None:
        self._resumption = resumption
        self._on_finished = on_finished
        self._begun = False
        self._started: GenerationStarted | None = None
        self._finished: GenerationFinished | None = None
        self._texts: dict[int, list[str]] = {}
        self._iterated = False
        self._cancelled = False

    @property
    def started(self) -> GenerationStarted:
        """Servable, seed, prompt tokens and position; there from the first piece on, or after ``start()``.

        Raises:
            RuntimeError: If the stream has not been read yet.
        """
        if self._started is None:
            raise RuntimeError("the generation has not started: call start() or read the stream first")
        return self._started

    @property
    def finished(self) -> GenerationFinished:
        """Finish reasons, counts, times and state; there once the stream was read to its end.

        Raises:
            RuntimeError: If the stream was not read to its end.
        """
        if self._finished is None:
            raise RuntimeError("the generation has not finished: read the stream to its end first")
        return self._finished

    @property
    def resumed(self) -> int:
        """How many times the stream broke and went on."""
        return self._resumption.times

    def _take(self, event: generation_pb2.GenerateResponse) -> Piece | None:
        """Note one event; the piece if it is one."""
        kind = event.WhichOneof("event")
        if (kind == "started") == self._begun and kind is not None:
            raise ProtocolError(f"the server sent {kind!r} where the stream does not allow it")
        if self._finished is not None:
            raise ProtocolError(f"the server sent {kind!r} after the end of the generation")
        if kind == "started":
            self._begun = True
            started = started_from_wire(event.started)
            self._resumption.started(started)
            self._started = self._started or started
        elif kind == "finished":
            self._finished = finished_from_wire(event.finished)
            self._on_finished(self._finished)
        elif kind == "piece":
            piece = piece_from_wire(event.piece)
            self._resumption.received(piece)
            self._texts.setdefault(piece.sample, []).append(piece.text)
            return piece
        return None  # an event without a kind that we know is a newer server's: not for us

    def _end(self) -> None:
        """The stream has ended; it may only do so after the finish message, or because it was cancelled here."""
        if self._finished is None and not self._cancelled:
            raise ProtocolError("the server ended the stream without saying how the generation ended")

    def _begin_iteration(self) -> None:
        if self._iterated:
            raise RuntimeError("a generation can be iterated once; keep the pieces, or use text()")
        self._iterated = True

    def _text(self, sample: int) -> str:
        if self._finished is not None and not 0 <= sample < len(self._finished.samples):
            raise IndexError(f"the generation has no sample {sample}: it has {len(self._finished.samples)}, from 0")
        return "".join(self._texts.get(sample, ()))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, {self._status()}: {html.shortened(''.join(self._texts.get(0, ())))}>"

    def _repr_html_(self) -> str:
        values: dict[str, object] = {"status": self._status()}
        if self._started is not None:
            values["model"] = f"{self._started.servable.model} version {self._started.servable.version}"
            values["seed"] = self._started.seed
        texts = {f"sample {sample}": "".join(pieces) for sample, pieces in sorted(self._texts.items())}
        return html.fields(type(self).__name__, {**values, **texts})

    def _status(self) -> str:
        if self._finished is not None:
            return "finished"
        if self._cancelled:
            return "cancelled"
        return "not started" if self._started is None else "started"
