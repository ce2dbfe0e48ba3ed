"""The composition root: builds the server, starts it, drains it and stops it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from seqserve.server.api.listening import connection_options, listen_on_all
from seqserve.server.api.services import add_services, serving_by_service
from seqserve.server.api.status import StatusInterceptor
from seqserve.server.engine.output_dispatcher import OutputDispatcher
from seqserve.server.metrics import EngineCollector, MetricsServer, SessionCollector
from seqserve.server.repository import EntryState, Repository
from seqserve.server.sessions import LiveSessions, SessionAdmin, SessionMaintenance, Sessions
from seqserve.server.settings import ServerSettings
from seqserve.server.stores import InstrumentedStore, open_store

log = logging.getLogger(__name__)

_OTHER_FIELDS_MAX = 4096  # of a request, beside its inputs
_LAST_WORDS_S = 1.0  # for the errors that tell running requests of the stop; a caller that does not read is cut off

_SWITCH_INTERVAL_S = 5e-4  # an engine whose run is done waits this long for the interpreter, not Python's 5 ms

_SERVING, _NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """The server of one process, inside a running event loop."""

    def __init__(self, settings: ServerSettings) -> None:
        """Builds all parts and opens the session store. Raises: UnusableStoreError."""
        self.settings = settings
        dispatcher = OutputDispatcher(asyncio.get_running_loop(), settings.wire)
        self.repository = Repository(settings, dispatcher.publish)
        self._store = InstrumentedStore(open_store(settings.sessions))
        live_sessions = LiveSessions(self._store)
        self.sessions = Sessions(self.repository, live_sessions, settings.sessions)
        self._maintenance = SessionMaintenance(self.repository, live_sessions, settings.sessions)
        self._health_task: asyncio.Task[None] | None = None
        self._metrics: MetricsServer | None = None
        self._health: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._interceptor = StatusInterceptor(
            settings.limits.stream_unread_s, settings.limits.inputs_max + _OTHER_FIELDS_MAX
        )
        limit = settings.limits.message_bytes_max
        self._grpc = grpc.aio.server(
            interceptors=[self._interceptor],
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                *connection_options(settings.connections),
            ],
        )
        add_services(
            self._grpc,
            self.repository,
            self.sessions,
            self._maintenance,
            SessionAdmin(self.repository, live_sessions, settings.sessions),
            settings,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)  # type: ignore[no-untyped-call]

    async def start(self) -> str:
        """Loads the repository and listens.

        Returns: The address of the server, HOST:PORT, with the chosen port in place of port 0.
        Raises: FileNotFoundError, ProviderError: see Repository.load; OSError if the address cannot be listened on.
        """
        await asyncio.to_thread(self.repository.load)
        host, _, number = self.settings.listen.rpartition(":")
        port = listen_on_all(self._grpc, host, int(number))
        if self.settings.metrics is not None:
            models, sessions = (
                EngineCollector(self.repository.entries),
                SessionCollector(self._maintenance, self._store),
            )
            self._metrics = MetricsServer(self.settings.metrics, models, sessions)
            log.info("metrics on http://%s/metrics", self._metrics.address)
        self._maintenance.start()
        await self._grpc.start()
        await self._tell_health()
        self._health_task = asyncio.create_task(self._follow_changes())
        return f"{host}:{port}"

    async def stop(self, at_once: asyncio.Event | None = None) -> None:
        """Takes no new requests, lets running ones finish within ``drain_s``, fails the others, and ends.

        Args:
            at_once: Ends the wait for running requests when it is set.
        """
        if self._health_task is not None:
            self._health_task.cancel()
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._grpc.stop(self.settings.drain_s + _LAST_WORDS_S))
        hurrying = asyncio.create_task((at_once or asyncio.Event()).wait())
        await asyncio.wait([stopping, hurrying], timeout=self.settings.drain_s, return_when=asyncio.FIRST_COMPLETED)
        hurried = hurrying.done() and not stopping.done()
        hurrying.cancel()
        await asyncio.to_thread(self.repository.close)  # running requests fail with DrainingError
        if hurried:
            log.warning("stopping at once: running requests are cut off")
            await self._grpc.stop(_LAST_WORDS_S)
        await stopping
        await self._interceptor.streams_ended()
        await self._maintenance.close()
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.close)

    async def _tell_health(self) -> None:
        """Updates the health: the service of a task serves if a model for the task takes requests."""
        self.repository.changed.clear()
        ready = [entry for entry in self.repository.entries() if entry.state is EntryState.READY]
        tasks = {entry.model.manifest.task for entry in ready if entry.model is not None}
        for name, serves in serving_by_service(tasks, sessions=self._maintenance.available).items():
            await self._health.set(name, _SERVING if serves else _NOT_SERVING)

    async def _follow_changes(self) -> None:
        """Updates the health when a model was loaded or unloaded, or the session store fails or answers again."""
        await asyncio.gather(self._follow(self.repository.changed), self._follow(self._maintenance.changed))

    async def _follow(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            await self._tell_health()


async def serve(settings: ServerSettings) -> None:
    """Serves until SIGTERM, SIGINT or SIGHUP; a second one ends the drain. Prints one line when it is ready."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    server = Server(settings)
    stopping, at_once = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (at_once if stopping.is_set() else stopping).set()

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if name is signal.SIGHUP and signal.getsignal(name) is signal.SIG_IGN:
            continue  # started by nohup
        loop.add_signal_handler(name, stop)
    try:
        address = await server.start()
        entries = server.repository.entries()
        ready = [f"{entry.name}/{entry.version}" for entry in entries if entry.model is not None]
        broken = len(entries) - len(ready)
        note = f"; {broken} cannot be served, see `seqserve models`" if broken else ""
        print(f"seqserve ready on {address} with {len(ready)} models ({', '.join(ready)}){note}", flush=True)
        await stopping.wait()
        log.info("stopping: running requests get %g s", settings.drain_s)
    finally:
        await server.stop(at_once)
