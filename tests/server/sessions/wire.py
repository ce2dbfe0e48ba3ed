"""Sessions over a real connection: stubs that call as somebody."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf.message import Message

from seqserve.server.testing import running_server
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2, session_pb2
from seqserve.v1 import state_pb2 as pb
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.model_pb2_grpc import ModelServiceStub
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.calls import Generated, collect

LSTM = common.ModelRef(name="lstm")


class Caller:
    """One who calls a server, as a principal or as nobody."""

    def __init__(self, channel: grpc.aio.Channel, principal: str | None = None) -> None:
        self.models: Any = ModelServiceStub(channel)
        self._sessions: Any = SessionServiceStub(channel)
        self._generation: Any = GenerationServiceStub(channel)
        self._metadata = None if principal is None else (("seqserve-principal", principal),)

    def call(self, request: Message) -> Awaitable[Any]:
        """Call the method of SessionService that takes this request."""
        name = request.DESCRIPTOR.name.removesuffix("Request")
        answer: Awaitable[Any] = getattr(self._sessions, name)(request, metadata=self._metadata)
        return answer

    def generate(self, text: str, tokens: int = 4, request_id: str = "", **state: Any) -> Any:
        """A stream of Generate that carries state."""
        return self._generation.Generate(
            generation_pb2.GenerateRequest(
                model=LSTM,
                text=text,
                sampling=generation_pb2.SamplingParams(seed=1),
                stopping=generation_pb2.StoppingParams(max_tokens=tokens),
                state=pb.StateOptions(**state),
                request_id=request_id,
            ),
            metadata=self._metadata,
        )

    async def generated(self, text: str, tokens: int = 4, request_id: str = "", **state: Any) -> Generated:
        """A whole generation that carries state."""
        return await collect(self.generate(text, tokens, request_id, **state))

    async def create(self, id_: str = "", **given: Any) -> session_pb2.Session:
        """A new session."""
        answer = await self.call(session_pb2.CreateSessionRequest(model=LSTM, session_id=id_, **given))
        session: session_pb2.Session = answer.session
        return session


@asynccontextmanager
async def serving(models: Path, **sessions: Any) -> AsyncGenerator[grpc.aio.Channel]:
    """A channel to a real server. Args: sessions: of SessionSettings."""
    async with running_server(models, sessions=sessions) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel
