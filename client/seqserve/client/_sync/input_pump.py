"""Sends what a source gives into a call, from a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message

from seqserve.client._sync.concurrency import Source
from seqserve.client._sync.messages import Messages
from seqserve.client._sync.transport import Transport
from seqserve.client.core.stream import StreamCodec


class InputPump:
    """Reads a source in a thread, as fast as the server takes the messages.

    Attributes:
        error: The exception that the source raised; None while it has raised none.
    """

    def __init__(
        self,
        transport: Transport,
        method: Callable[[], grpc.StreamStreamMultiCallable[Any, Any]],
        codec: StreamCodec[Any, Any, Any],
        source: Source[object],
        read_timeout_s: float | None,
    ) -> None:
        """Prepares the call; ``open`` makes it.

        Args:
            transport: Connection to the server.
            method: Returns the method to call.
            codec: Messages for the items of the source.
            source: Where the items come from.
            read_timeout_s: Longest wait for each next answer while it is the server's turn, in seconds; None: no limit.
        """
        self.error: BaseException | None = None
        self._transport = transport
        self._method = method
        self._codec = codec
        self._source = source
        self._read_timeout_s = read_timeout_s
        self._call: Messages[Any] | None = None
        self._opened = threading.Event()  # for a source that fails before the call is known here

    def open(self) -> Messages[Any]:
        """Makes the call and starts to read the source."""
        self._call = self._transport.converse(self._method(), self._requests(), read_timeout_s=self._read_timeout_s)
        self._opened.set()
        return self._call

    def cancel(self) -> None:
        """Nothing to do: gRPC stops reading the source when the call is cancelled."""

    def close(self) -> None:
        """Nothing to wait for: a source that blocks keeps its thread until it gives something or the process ends."""

    def _requests(self) -> Iterator[Message]:
        """The messages to send; runs in a thread of gRPC."""
        yield self._codec.opening
        try:
            for item in self._source:
                yield from self._codec.messages(item)
            yield self._codec.ending
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - the reader raises it, whatever it is
            self.error = error
            self._opened.wait()
            if self._call is not None:
                self._call.cancel()
