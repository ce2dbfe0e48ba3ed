"""The services of the server: what registers them with gRPC, and which tasks of models they need."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import grpc.aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from seqserve.server.api.classification.servicer import ClassificationServicer
from seqserve.server.api.generation.servicer import GenerationServicer
from seqserve.server.api.infilling.servicer import InfillingServicer
from seqserve.server.api.model.servicer import ModelServicer
from seqserve.server.api.session.servicer import SessionServicer
from seqserve.server.api.tagging.servicer import TaggingServicer
from seqserve.server.model.manifest import Task
from seqserve.server.repository import Repository
from seqserve.server.sessions import SessionAdmin, SessionMaintenance, Sessions
from seqserve.server.settings import ServerSettings
from seqserve.v1 import (
    classification_pb2,
    classification_pb2_grpc,
    generation_pb2,
    generation_pb2_grpc,
    infilling_pb2,
    infilling_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
    tagging_pb2,
    tagging_pb2_grpc,
)


def _name(module: Any, service: str) -> str:
    name: str = module.DESCRIPTOR.services_by_name[service].full_name
    return name


_TASKS: dict[str, Task | None] = {
    _name(generation_pb2, "GenerationService"): Task.TASK_LANGUAGE_MODEL,
    _name(tagging_pb2, "TaggingService"): Task.TASK_TAGGING,
    _name(classification_pb2, "ClassificationService"): Task.TASK_CLASSIFICATION,
    _name(infilling_pb2, "InfillingService"): Task.TASK_INFILLING,
    _name(model_pb2, "ModelService"): None,
    _name(session_pb2, "SessionService"): None,
}
"""The task that a model has to have for a service to serve. None: the service needs no model."""


def add_services(
    server: grpc.aio.Server,
    repository: Repository,
    sessions: Sessions,
    maintenance: SessionMaintenance,
    admin: SessionAdmin,
    settings: ServerSettings,
) -> None:
    """Registers all services, and reflection on them.

    Args:
        server: Not started yet.
        repository: The loaded versions.
        sessions: For requests with state.
        maintenance: For models that no session needs any more.
        admin: For SessionService.
        settings: Limits of the server.
    """
    generation_pb2_grpc.add_GenerationServiceServicer_to_server(GenerationServicer(sessions, settings), server)
    tagging_pb2_grpc.add_TaggingServiceServicer_to_server(TaggingServicer(repository, sessions, settings), server)
    model_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(repository, maintenance, settings), server)
    session_pb2_grpc.add_SessionServiceServicer_to_server(SessionServicer(admin, settings.sessions), server)
    classification_pb2_grpc.add_ClassificationServiceServicer_to_server(
        ClassificationServicer(repository, sessions, settings), server
    )
    infilling_pb2_grpc.add_InfillingServiceServicer_to_server(InfillingServicer(repository, settings.limits), server)
    reflection.enable_server_reflection((*_TASKS, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


def serving_by_service(tasks: Collection[Task], *, sessions: bool) -> dict[str, bool]:
    """Returns for each service whether it serves.

    Args:
        tasks: The tasks of the models that take requests.
        sessions: Whether the session store answers.

    Returns:
        Whether a service serves, by its full name; under "" whether the server has a model at all.
    """
    serving = {name: task is None or task in tasks for name, task in _TASKS.items()}
    return serving | {"": bool(tasks), _name(session_pb2, "SessionService"): sessions}
