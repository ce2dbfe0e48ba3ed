"""The models of a server: list, describe, load and unload them."""

from __future__ import annotations

import builtins

from seqserve.client._async.calls import AsyncCalls
from seqserve.client.types.answer import model_ref
from seqserve.client.types.models import Model, ModelDetails, details_from_wire, model_from_wire, next_page
from seqserve.v1 import model_pb2


class AsyncModels:
    """The models of a server. Calling it is the same as `list`."""

    def __init__(self, calls: AsyncCalls) -> None:
        """Made by `AsyncClient`.

        Args:
            calls: The client's calls.
        """
        self._calls = calls

    async def list(self, *, timeout_s: float | None = None) -> builtins.list[Model]:
        """Every version of every model in the server's repository, including those that could not be loaded.

        Args:
            timeout_s: Maximum time for each page of the list, in seconds. Default: the client's.

        Raises:
            SeqserveError: If a call failed.
        """
        models: builtins.list[Model] = []
        request: model_pb2.ListModelsRequest | None = model_pb2.ListModelsRequest()
        while request is not None:
            page = await self._calls.call(self._calls.models.ListModels, request, timeout_s)
            models += [model_from_wire(model) for model in page.models]
            request = next_page(request, page)
        return models

    async def __call__(self, *, timeout_s: float | None = None) -> builtins.list[Model]:
        """The same as `list`.

        Args:
            timeout_s: As in `list`.
        """
        return await self.list(timeout_s=timeout_s)

    async def get(self, name: str, version: int | None = None, *, timeout_s: float | None = None) -> ModelDetails:
        """Details of one version of a model: task, limits, labels, metrics, manifest.

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

    async def load(self, name: str, version: int | None = None, *, timeout_s: float | None = None) -> Model:
        """Loads a version from the server's repository, and waits until it serves.

        Args:
            name: Name of the model.
            version: Version. Default: the newest one in the repository.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            ModelNotFoundError: If the repository does not have it.
            ModelNotReadyError: If it could not be loaded; the message says why.
            SeqserveError: If the call failed otherwise.
        """
        request = model_pb2.LoadModelRequest(model=model_ref(name, version))
        answer = await self._calls.call(self._calls.models.LoadModel, request, timeout_s)
        return model_from_wire(answer.model)

    async def unload(self, name: str, version: int, *, timeout_s: float | None = None) -> Model:
        """Unloads a version, once no request uses it.

        Args:
            name: Name of the model.
            version: Version.
            timeout_s: Maximum time for the call, in seconds. Default: the client's.

        Raises:
            ModelNotFoundError: If the server does not have it.
            SeqserveError: If the call failed otherwise.
        """
        request = model_pb2.UnloadModelRequest(model=model_ref(name, version))
        answer = await self._calls.call(self._calls.models.UnloadModel, request, timeout_s)
        return model_from_wire(answer.model)
