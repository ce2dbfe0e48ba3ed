"""The way to a server, for asyncio: the counterpart of `transport`, with the same address, options and exceptions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

import grpc
import grpc.aio

from seqserve.client._async.messages import AsyncConversation, AsyncMessages, ended_error, self_was_cancelled
from seqserve.client.core.channel import (
    channel_options,
    complete_address,
    metadata_of,
)
from seqserve.client.core.retry_policy import RetryPolicy, answered
from seqserve.client.core.status import error_from_call

Request = TypeVar("Request")
Response = TypeVar("Response")
Stub = TypeVar("Stub")


class AsyncTransport:
    """Calls over one channel, which is opened with the first call and belongs to the event loop of that."""

    def __init__(self, target: str, channel: grpc.aio.Channel | None, principal: str | None = None) -> None:
        """Prepares the connection.

        Args:
            target: Address of the server; see `complete_address`.
            channel: The caller's channel; None: one is opened to ``target``.
            principal: Who calls; sessions belong to the principal that created them.
        """
        self.target = complete_address(target)
        self._reached = False
        self._metadata = metadata_of(principal)
        self._owns_channel = channel is None
        self._channel = channel
        self._closed = False
        self._pauses: set[asyncio.Event] = set()

    def bind(self, make: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """A stub, or one method, of the channel, which is opened now if it was not.

        Args:
            make: Makes it.

        Raises:
            RuntimeError: The client is closed.
        """
        self._require_open()
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.target, channel_options(self.target))
        return make(self._channel)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        timeout_s: float | None,
        retry_policy: RetryPolicy | None = None,
    ) -> Response:
        """Calls a method and waits for the answer. Arguments and exceptions as in `Transport.call`."""
        while True:
            self._require_open()
            try:
                answer = await method(request, timeout=timeout_s, metadata=self._metadata)
            except grpc.RpcError as rpc_error:
                error = error_from_call(rpc_error, target=self.target, deadline_s=timeout_s)
                self._reached |= answered(error)
                pause_s = retry_policy.pause_s(error) if retry_policy is not None and self.worth_retrying else None
                if pause_s is None:
                    raise error from rpc_error
                await self.pause(pause_s, asyncio.Event())
            except asyncio.CancelledError as cancelled:
                if self_was_cancelled():
                    raise
                raise ended_error(self.target) from cancelled
            else:
                self._reached = True
                return answer

    def open(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        read_timeout_s: float | None,
        deadline_s: float | None,
        left_s: float | None,
    ) -> AsyncMessages[Response]:
        """Makes a call that answers with a stream. Arguments and exceptions as in `Transport.open`."""
        self._require_open()
        call = method(request, timeout=left_s, metadata=self._metadata)
        return AsyncMessages(
            call, target=self.target, read_timeout_s=read_timeout_s, deadline_s=deadline_s, on_answer=self._note_answer
        )

    def converse(
        self, method: grpc.aio.StreamStreamMultiCallable[Request, Response], *, read_timeout_s: float | None
    ) -> AsyncConversation[Request, Response]:
        """Begins a call in which both sides stream. Arguments and exceptions as in `Transport.converse`."""
        self._require_open()
        call = method(metadata=self._metadata)
        return AsyncConversation(call, target=self.target, read_timeout_s=read_timeout_s, on_answer=self._note_answer)

    async def close(self) -> None:
        """Cancels running calls, ends pauses, and closes the channel unless it is the caller's."""
        self._closed = True
        for pause in self._pauses:
            pause.set()
        if self._owns_channel and self._channel is not None:
            await self._channel.close()

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("this client is closed")

    @property
    def worth_retrying(self) -> bool:
        """Whether a broken call may be retried: an address that never answered is not retried."""
        return self._reached and not self._closed

    async def pause(self, pause_s: float, woken: asyncio.Event) -> None:
        """Waits for ``pause_s`` seconds, or until ``woken`` is set or the client is closed."""
        self._pauses.add(woken)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await woken.wait()
        finally:
            self._pauses.discard(woken)

    def _note_answer(self) -> None:
        self._reached = True
