"""List models and check health."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from seqserve.client._async.calls import AsyncCalls
from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client._async.models import AsyncModels
from seqserve.client.errors import NotFoundError
from seqserve.client.types.health import HealthStatus, health_from_wire
from seqserve.client.types.models import ModelDetails


class AsyncModelMethods(AsyncMethods):
    """Models and health."""

    def __init__(self, calls: AsyncCalls) -> None:
        super().__init__(calls)
        self.models = AsyncModels(calls)
        """The models of the server: list, get, load, unload."""

    async def model(self, name: str, version: int | None = None, *, timeout_s: float | None = None) -> ModelDetails:
        """The same as ``models.get``.

        Args:
            name: Name of the model.
            version: Version. Default: the newest version that serves.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            ModelNotFoundError: If the server does not have it.
            SeqserveError: If the call failed otherwise.
        """
        return await self.models.get(name, version, timeout_s=timeout_s)

    async def health(self, service: str = "", *, timeout_s: float | None = None) -> HealthStatus:
        """Whether the server, or one of its services, serves.

        Args:
            service: Full name of a service ("seqserve.v1.TaggingService"). Default: the server as a whole.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            UnreachableError: If no server answers.
            SeqserveError: If the call failed otherwise.
        """
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            return health_from_wire(await self._calls.call(self._calls.health_check, request, timeout_s))
        except NotFoundError:  # how grpc.health.v1 says it
            return HealthStatus.SERVICE_UNKNOWN
