"""The models of a server: what it lists of each, and all that one says of itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from google.protobuf import json_format

from seqserve.client.types import html
from seqserve.client.types.answer import Servable, next_page_token, servable_from_wire
from seqserve.v1 import manifest_pb2, model_pb2


class Task(StrEnum):
    """What a model does."""

    LANGUAGE_MODEL = "LANGUAGE_MODEL"
    TAGGING = "TAGGING"
    CLASSIFICATION = "CLASSIFICATION"
    INFILLING = "INFILLING"
    UNKNOWN = "UNKNOWN"
    """Not known: the manifest could not be read, or the server is newer than this client."""


class ModelState(StrEnum):
    """Whether a version serves."""

    LOADING = "LOADING"
    """It is being read and warmed up."""
    READY = "READY"
    """It serves."""
    UNLOADING = "UNLOADING"
    """It takes no new requests and ends the ones it has."""
    UNLOADED = "UNLOADED"
    """It is in the repository but not loaded."""
    BROKEN = "BROKEN"
    """It could not be loaded; `Model.reason` says why."""
    UNKNOWN = "UNKNOWN"
    """A state that this client does not know; the server is newer."""


_TASKS: Final = {
    manifest_pb2.TASK_LANGUAGE_MODEL: Task.LANGUAGE_MODEL,
    manifest_pb2.TASK_TAGGING: Task.TAGGING,
    manifest_pb2.TASK_CLASSIFICATION: Task.CLASSIFICATION,
    manifest_pb2.TASK_INFILLING: Task.INFILLING,
}

_STATES: Final = {
    model_pb2.MODEL_STATE_LOADING: ModelState.LOADING,
    model_pb2.MODEL_STATE_READY: ModelState.READY,
    model_pb2.MODEL_STATE_UNLOADING: ModelState.UNLOADING,
    model_pb2.MODEL_STATE_UNLOADED: ModelState.UNLOADED,
    model_pb2.MODEL_STATE_BROKEN: ModelState.BROKEN,
}


@dataclass(frozen=True, slots=True)
class Model:
    """One version of a model as the server sees it.

    Attributes:
        servable: Which one.
        task: What it does.
        state: Whether it serves.
        reason: Why it does not, for people; empty if it does.
        provider: Execution provider that runs it; empty if it does not serve.
        load_time: When it became ready; None if it did not.
    """

    servable: Servable
    task: Task
    state: ModelState
    reason: str
    provider: str
    load_time: dt.datetime | None

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.servable.model

    @property
    def version(self) -> int:
        """Version of the model."""
        return self.servable.version

    def __repr__(self) -> str:
        return f"<Model {self.name!r} version {self.version}: {self.task}, {self.state}>"

    def _repr_html_(self) -> str:
        values: dict[str, object] = {"version": self.version, "task": self.task, "state": self.state}
        return html.fields(self.name, {**values, **({"reason": self.reason} if self.reason else {})})


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of a server, besides those that a model names itself.

    Attributes:
        text_bytes_max: Maximum size of one input, in bytes of UTF-8.
        inputs_max: Maximum number of inputs in one request.
        queue_depth_max: Maximum number of requests waiting for one model.
        snapshot_bytes_max: Maximum size of a snapshot, in bytes.
        lookahead_max: Largest look-ahead of streaming tags, in tokens.
    """

    text_bytes_max: int
    inputs_max: int
    queue_depth_max: int
    snapshot_bytes_max: int
    lookahead_max: int


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """Details of one version.

    Attributes:
        model: The version as the server sees it.
        description: Intended use, and limitations.
        license: Licence of the weights, as an SPDX expression.
        labels: Labels of a tagger or classifier, by index; else empty.
        vocabulary_size: Tokens in the vocabulary; 0 for models whose input is numeric.
        tokens_max: Maximum tokens in one whole input; 0: the server's limit alone.
        prompt_tokens_max: Maximum tokens in a prompt; 0: the server's limit alone.
        generate_tokens_max: Maximum tokens to generate in one request; 0: the server's limit alone.
        metrics: Reported metrics, by "name/split" ("loss/validation").
        limits: The server's own limits.
        manifest: The complete manifest.json.
    """

    model: Model
    description: str
    license: str
    labels: tuple[str, ...]
    vocabulary_size: int
    tokens_max: int
    prompt_tokens_max: int
    generate_tokens_max: int
    metrics: Mapping[str, float]
    limits: ServerLimits
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def version(self) -> int:
        """Version of the model."""
        return self.model.version

    def __repr__(self) -> str:
        return f"<ModelDetails {self.name!r} version {self.version}: {self.model.task}, {self.model.state}>"

    def _repr_html_(self) -> str:
        values: dict[str, object] = {
            "version": self.version,
            "task": self.model.task,
            "state": self.model.state,
            "description": self.description,
            "license": self.license,
            "labels": ", ".join(self.labels),
            "vocabulary": f"{self.vocabulary_size:,} tokens",
            **self.metrics,
        }
        return html.fields(self.name, values)


def next_page(
    request: model_pb2.ListModelsRequest, page: model_pb2.ListModelsResponse
) -> model_pb2.ListModelsRequest | None:
    """The request for the page after this one; None after the last.

    Raises:
        ProtocolError: If the server points back to the same page, which would never end.
    """
    token = next_page_token(request.page_token, page.next_page_token, "models")
    return None if token is None else model_pb2.ListModelsRequest(page_token=token)


def model_from_wire(message: model_pb2.Model) -> Model:
    """The version as a value."""
    loaded = message.HasField("load_time")
    return Model(
        servable=servable_from_wire(message.servable),
        task=_TASKS.get(message.task, Task.UNKNOWN),
        state=_STATES.get(message.state, ModelState.UNKNOWN),
        reason=message.reason,
        provider=message.provider,
        load_time=message.load_time.ToDatetime(tzinfo=dt.UTC) if loaded else None,
    )


def details_from_wire(message: model_pb2.GetModelResponse) -> ModelDetails:
    """The answer as a value."""
    manifest, limits = message.manifest, message.limits
    return ModelDetails(
        model=model_from_wire(message.model),
        description=manifest.description,
        license=manifest.license,
        labels=tuple(manifest.labels.names),
        vocabulary_size=manifest.vocabulary.size,
        tokens_max=manifest.limits.tokens_max,
        prompt_tokens_max=manifest.limits.prompt_tokens_max,
        generate_tokens_max=manifest.limits.generate_tokens_max,
        metrics={f"{metric.name}/{metric.split}": metric.value for metric in manifest.metrics},
        limits=ServerLimits(
            text_bytes_max=limits.text_bytes_max,
            inputs_max=limits.inputs_max,
            queue_depth_max=limits.queue_depth_max,
            snapshot_bytes_max=limits.snapshot_bytes_max,
            lookahead_max=limits.lookahead_max,
        ),
        manifest=json_format.MessageToDict(manifest, preserving_proto_field_name=True),
    )
