"""The bare echo: the message rate of gRPC in Python when there is nothing to compute.

A grpc.aio server on uvloop, like seqserve, that answers each message with a prepared message of the size of the real
answer. It parses and builds nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio
import uvloop

from benchmarks.loadgen.stream_messages import STREAMS, StreamKind

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def make_handlers() -> list[grpc.GenericRpcHandler]:
    """Returns handlers for the methods of STREAMS."""
    handlers: list[grpc.GenericRpcHandler] = []
    for kind in STREAMS.values():
        _, service, method = kind.method.split("/")
        handler: Any = grpc.stream_stream_rpc_method_handler(_answering(kind))
        handlers.append(grpc.method_handlers_generic_handler(service, {method: handler}))
    return handlers


def _answering(kind: StreamKind) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def answer(messages: AsyncIterator[bytes], context: Context) -> None:
        await anext(messages)
        await context.write(kind.started)
        async for message in messages:
            if message == kind.ending:
                break
            await context.write(kind.piece)
        await context.write(kind.finished)

    return answer


async def serve() -> None:
    """Serves on a free port until killed; prints one line when ready."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(make_handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"echo ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main(argv: Sequence[str]) -> None:
    """Serves, from the command line."""
    argparse.ArgumentParser(prog="python -m benchmarks echo", description="The bare echo.").parse_args(argv)
    uvloop.run(serve())
