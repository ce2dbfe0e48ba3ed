"""ModelService: lists, describes, loads and unloads models."""

from __future__ import annotations

import re
from typing import Any

import grpc.aio

from seqserve.server.api import fields
from seqserve.server.api.model import responses
from seqserve.server.errors import InvalidFieldError
from seqserve.server.repository import Repository
from seqserve.server.sessions import SessionMaintenance
from seqserve.server.settings import ServerSettings
from seqserve.v1 import model_pb2 as pb
from seqserve.v1.model_pb2_grpc import ModelServiceServicer

_PAGE_DEFAULT, _PAGE_MAX = 100, 1000
_TOKEN = re.compile(r"[0-9]{0,18}")


class ModelServicer(ModelServiceServicer):
    """Answers ModelService."""

    def __init__(self, repository: Repository, maintenance: SessionMaintenance, settings: ServerSettings) -> None:
        self._repository = repository
        self._maintenance = maintenance
        self._settings = settings

    async def ListModels(
        self, request: pb.ListModelsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        """Lists all versions, page by page. The token of a page is the index of its first version."""
        size = fields.integer(request, "page_size", _PAGE_DEFAULT, 1, _PAGE_MAX, "")
        entries = self._repository.entries()
        if not _TOKEN.fullmatch(request.page_token):
            raise InvalidFieldError(
                f"page_token {request.page_token!r} is not one of this server's; take next_page_token of an answer",
                field="page_token",
            )
        start = int(request.page_token or 0)
        return pb.ListModelsResponse(
            models=[responses.model(entry) for entry in entries[start : start + size]],
            next_page_token=str(start + size) if start + size < len(entries) else "",
        )

    async def GetModel(
        self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetModelResponse:
        """Describes one version."""
        entry = self._repository.entry(*fields.model_ref(request.model))
        return pb.GetModelResponse(
            model=responses.model(entry),
            manifest=entry.model.manifest if entry.model is not None else None,
            limits=responses.server_limits(self._settings),
        )

    async def LoadModel(
        self, request: pb.LoadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.LoadModelResponse:
        """Loads a version, and returns when it serves."""
        return pb.LoadModelResponse(
            model=responses.model(await self._repository.load_version(*fields.model_ref(request.model)))
        )

    async def UnloadModel(
        self, request: pb.UnloadModelRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.UnloadModelResponse:
        """Stops new requests for a version, and unloads it when no request or session uses it."""
        name, version = fields.model_ref(request.model)
        if version is None:
            raise InvalidFieldError("model.version is not set; name the version to unload", field="model.version")
        self._repository.unload_version(name, version)
        await self._maintenance.unload_unused_models()
        return pb.UnloadModelResponse(model=responses.model(self._repository.entry(name, version)))
