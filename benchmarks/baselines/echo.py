"""The bare echo: what gRPC in Python can do with the messages of a stream when nothing has to be worked out.

A grpc.aio server on uvloop, as seqserve's, which answers each message with one that was made beforehand, of the size of
the real one. Nothing is parsed and nothing is built.
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


def handlers() -> list[grpc.GenericRpcHandler]:
    """What answers the methods of STREAMS."""
    found: list[grpc.GenericRpcHandler] = []
    for kind in STREAMS.values():
        _, service, method = kind.method.split("/")
        handler: Any = grpc.stream_stream_rpc_method_handler(_answering(kind))
        found.append(grpc.method_handlers_generic_handler(service, {method: handler}))
    return found


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
    """Serve on a free port until killed; print one line when ready."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers(handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"echo ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def main(argv: Sequence[str]) -> None:
    """Serve, from the command line."""
    argparse.ArgumentParser(prog="python -m benchmarks echo", description="The bare echo.").parse_args(argv)
    uvloop.run(serve())
