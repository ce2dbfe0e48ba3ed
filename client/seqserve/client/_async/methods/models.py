"""List models and check health."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from seqserve.client._async.methods.base import AsyncMethods
from seqserve.client.errors import NotFoundError
from seqserve.client.types.answer import model_ref
from seqserve.client.types.health import HealthStatus, health_from_wire
from seqserve.client.types.models import Model, ModelDetails, details_from_wire, model_from_wire, next_page
from seqserve.v1 import model_pb2


class AsyncModelMethods(AsyncMethods):
    """Models and health."""

    async def models(self, *, timeout_s: float | None = None) -> list[Model]:
        """Every version of every model in the server's repository, also those that could not be loaded.

        Args:
            timeout_s: Maximum time for each page of the list, in seconds. Default: the client's.

        Raises:
            SeqserveError: If a call failed.
        """
        models: list[Model] = []
        request: model_pb2.ListModelsRequest | None = model_pb2.ListModelsRequest()
        while request is not None:
            page = await self._calls.call(self._calls.models.ListModels, request, timeout_s)
            models += [model_from_wire(model) for model in page.models]
            request = next_page(request, page)
        return models

    async def model(self, name: str, version: int | None = None, *, timeout_s: float | None = None) -> ModelDetails:
        """All about one version of a model: task, limits, labels, metrics, manifest.

        Args:
            name: Name of the model.
            version: Version. Default: the newest version that serves.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            ModelNotFoundError: If the server does not have it.
            SeqserveError: If the call failed otherwise.
        """
        request = model_pb2.GetModelRequest(model=model_ref(name, version))
        return details_from_wire(await self._calls.call(self._calls.models.GetModel, request, timeout_s))

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
