"""The client-side record of a session between two calls. Pure."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import grpc

from seqserve.client.core.classify_stream import ClassifyFinished, ClassifyStreamOptions, classify_codec
from seqserve.client.core.generate_options import GenerateOptions, Prompt, generate_request
from seqserve.client.core.score_stream import ScoredToken, ScoreFinished, ScorePiece, ScoreStreamOptions, score_codec
from seqserve.client.core.stream import Ended, StreamCodec
from seqserve.client.core.tag_stream import TagFinished, TagPiece, TagStreamOptions, tag_codec
from seqserve.client.errors import ServableMismatchError
from seqserve.client.types import html
from seqserve.client.types.answer import StateResult
from seqserve.client.types.classification import Classification
from seqserve.client.types.scoring import ScoreText, score_request
from seqserve.client.types.sessions import SessionInfo, advance_options, new_request_id
from seqserve.client.types.tagging import Tag
from seqserve.v1 import generation_pb2, session_pb2, state_pb2


@dataclass(frozen=True, slots=True)
class Opening:
    """How a session is opened.

    Attributes:
        request: Creates it.
        named: Whether the caller gave the id; then an existing session of that id is opened.
        keep: Whether it stays when the ``with`` block ends.
    """

    request: session_pb2.CreateSessionRequest
    named: bool
    keep: bool

    def check(self, found: SessionInfo) -> SessionInfo:
        """The session that was there already, if it is of the model that was asked for.

        Raises:
            ServableMismatchError: If it is of another model or version.
        """
        requested, servable = self.request.model, found.servable
        if requested.name == servable.model and (
            not requested.HasField("version") or requested.version == servable.version
        ):
            return found
        raise ServableMismatchError(
            f"session {found.id!r} exists and belongs to {servable.model} version {servable.version}: "
            "open it with that, or choose another id",
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="ERROR_REASON_SERVABLE_MISMATCH",
        )


class SessionRecord:
    """The session as of the last answer, and the requests that continue from there."""

    def __init__(self, opening: Opening | None = None, info: SessionInfo | None = None, *, keep: bool = True) -> None:
        self._opening = opening
        self._info = info
        self.keep = keep if opening is None else opening.keep
        """Whether the session stays when the ``with`` block ends."""

    @property
    def id(self) -> str:
        """Its id.

        Raises:
            RuntimeError: If it is not open yet.
        """
        return self._known.id

    @property
    def model(self) -> str:
        """Name of its model."""
        return self._known.servable.model

    @property
    def position(self) -> int:
        """Tokens in the sequence, as of the last answer that was read to its end."""
        return self._known.position

    @property
    def _known(self) -> SessionInfo:
        if self._info is None:
            raise RuntimeError("the session is not open: use `with client.session(...) as session`")
        return self._info

    def _learn(self, info: SessionInfo) -> SessionInfo:
        self._info = info
        return info

    def _advanced(self, state: StateResult) -> None:
        self._info = replace(
            self._known, position=state.position, expire_time=state.expire_time or self._known.expire_time
        )

    def _ended(self, finished: Ended) -> None:
        self._advanced(finished.state)

    def _generate_request(
        self, prompt: Prompt, checkpoint: str | None, options: GenerateOptions, *, wait: bool
    ) -> generation_pb2.GenerateRequest:
        """The message that generates on."""
        _refuse_snapshots(options)
        given: GenerateOptions = {"request_id": new_request_id(), **options}
        request = generate_request(self.model, prompt, **given)
        request.state.CopyFrom(self._options(checkpoint, wait=wait))
        return request

    def _score_request(
        self, text: ScoreText, checkpoint: str | None, logprobs: int | None, *, wait: bool
    ) -> generation_pb2.ScoreRequest:
        request = score_request(self.model, [text], logprobs=logprobs)
        request.request_id = new_request_id()
        request.state.CopyFrom(self._options(checkpoint, wait=wait))
        return request

    def _tag_codec(
        self, checkpoint: str | None, options: TagStreamOptions, *, wait: bool
    ) -> StreamCodec[TagPiece, Tag, TagFinished]:
        _refuse_snapshots(options)
        return tag_codec(self.model, state=self._options(checkpoint, wait=wait), **options)

    def _score_codec(
        self, checkpoint: str | None, options: ScoreStreamOptions, *, wait: bool
    ) -> StreamCodec[ScorePiece, ScoredToken, ScoreFinished]:
        _refuse_snapshots(options)
        return score_codec(self.model, state=self._options(checkpoint, wait=wait), **options)

    def _classify_codec(
        self, checkpoint: str | None, options: ClassifyStreamOptions, *, wait: bool
    ) -> StreamCodec[Classification, Classification, ClassifyFinished]:
        _refuse_snapshots(options)
        return classify_codec(self.model, state=self._options(checkpoint, wait=wait), **options)

    def _options(self, checkpoint: str | None, *, wait: bool) -> state_pb2.StateOptions:
        """State options of a request. A request that waits in line continues from the position of that moment."""
        return advance_options(self.id, position=None if wait else self.position, checkpoint=checkpoint, wait=wait)

    def __repr__(self) -> str:
        name = type(self).__name__
        if self._info is None:
            return f"<{name}, not open>"
        model = f"{self._info.servable.model} version {self._info.servable.version}"
        return f"<{name} {self.id!r} of {model} at position {self.position:,}>"

    def _repr_html_(self) -> str:
        return html.fields(repr(self), {}) if self._info is None else self._info.to_html()


def _refuse_snapshots(options: Mapping[str, object]) -> None:
    if "snapshot" in options or "return_snapshot" in options:
        raise TypeError("a session holds its own state: use export() and sessions.restore() for snapshots")


def write_snapshot(path: Path, snapshot: bytes) -> None:
    """Write a snapshot so that the file is there whole or not at all; only its owner may read it.

    Raises:
        OSError: If it cannot be written; what was there before stays.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # others have no rights on it
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(snapshot)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink()
        raise
