"""The model repository: what is there, what of it serves, and why the rest does not.

A tree <root>/<model>/<version>/ of servables. A broken one is kept in the list with its reason; the others serve.
"""

from __future__ import annotations

import difflib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from seqserve.server.courier import Published
from seqserve.server.detokenization import token_bytes
from seqserve.server.errors import (
    BrokenServableError,
    ModelNotFoundError,
    ModelNotReadyError,
    ProviderError,
    VersionNotFoundError,
)
from seqserve.server.lanes import Lanes
from seqserve.server.manifest import read_manifest
from seqserve.server.servable import Servable, ServableId, choose_provider
from seqserve.server.settings import ServerSettings
from seqserve.server.tokenization import Tokenization
from seqserve.v1 import manifest_pb2 as pb

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Model:
    """One version that serves: its servable, how text becomes its inputs and back, and the engine that runs it."""

    servable: Servable
    tokenization: Tokenization | None
    table: list[bytes]
    engine: Lanes
    load_time_s: float = field(default_factory=time.time)

    @property
    def manifest(self) -> pb.Manifest:
        """What the servable says of itself."""
        return self.servable.manifest


@dataclass(frozen=True, slots=True)
class Entry:
    """One version in the repository: a model that serves, or the reason why it does not."""

    name: str
    version: int
    model: Model | None
    reason: str = ""


class Repository:
    """The versions of one root folder."""

    def __init__(self, settings: ServerSettings, publish: Callable[[Published], None]) -> None:
        """Args: publish: where the engines' outputs go; see Engine."""
        self._settings = settings
        self._publish = publish
        self._entries: dict[str, dict[int, Entry]] = {}

    def load(self) -> None:
        """Load every version under the root, warm it up and start its engine. Blocks; call it before serving.

        Raises: FileNotFoundError if the root is not a folder; ProviderError if the provider is not there.
        """
        root = self._settings.models
        if not root.is_dir():
            raise FileNotFoundError(f"the model repository {root} is not a folder")
        choose_provider(self._settings.runtime.provider)  # also where there is no model to need it
        for folder in sorted(root.glob("*/*")):
            name, version = folder.parent.name, folder.name
            if folder.is_dir() and _NAME.fullmatch(name) and _VERSION.fullmatch(version):
                self._entries.setdefault(name, {})[int(version)] = self._load_version(name, int(version), folder)

    def close(self) -> None:
        """Stop all engines; what still runs fails with DrainingError."""
        for entry in self.entries():
            if entry.model is not None:
                entry.model.engine.close()

    def entries(self) -> list[Entry]:
        """All versions, in order of name and version."""
        return [
            self._entries[name][version] for name in sorted(self._entries) for version in sorted(self._entries[name])
        ]

    def entry(self, name: str, version: int | None) -> Entry:
        """One version, whether it serves or not; without a version the newest that serves, else the newest.

        Raises: ModelNotFoundError, VersionNotFoundError.
        """
        if not (versions := self._entries.get(name)):
            near = difflib.get_close_matches(name, self._entries, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(self._entries)) or 'none'}"
            raise ModelNotFoundError(
                f"there is no model {name!r}; {hint}", field="model.name", resource=("model", name)
            )
        if version is None:
            return versions[max((v for v in versions if versions[v].model), default=max(versions))]
        if version not in versions:
            there = ", ".join(str(v) for v in sorted(versions))
            raise VersionNotFoundError(
                f"model {name!r} has no version {version}; there are: {there}",
                field="model.version",
                resource=("model version", f"{name}/{version}"),
            )
        return versions[version]

    def model(self, name: str, version: int | None) -> Model:
        """A version that serves. Raises: as entry, and ModelNotReadyError if it does not serve."""
        entry = self.entry(name, version)
        if entry.model is None:
            raise ModelNotReadyError(
                f"model {name!r} version {entry.version} does not serve: {entry.reason}", field="model"
            )
        return entry.model

    def _load_version(self, name: str, version: int, folder: Path) -> Entry:
        try:
            manifest = read_manifest(folder)
            identity = ServableId(name, version, manifest.graph.sha256)
            servable = Servable(identity, manifest, folder, self._settings.runtime)
            tokenization = Tokenization(manifest, folder) if manifest.HasField("vocabulary") else None
            generates = tokenization is not None and manifest.task == pb.TASK_LANGUAGE_MODEL
            table = token_bytes(tokenization.tokenizer) if tokenization is not None and generates else []
        except (BrokenServableError, OSError) as error:
            log.warning("model %s version %d does not serve: %s", name, version, error)
            return Entry(name, version, None, str(error))
        except ProviderError:
            raise
        except Exception as error:  # whatever is wrong with one servable, the others serve
            log.exception("model %s version %d does not serve", name, version)
            return Entry(name, version, None, f"it cannot be loaded: {type(error).__name__}: {error}")
        engine = Lanes(servable, table, self._settings.batch, self._publish)
        engine.start()
        log.info("model %s version %d serves on %s", name, version, servable.provider)
        return Entry(name, version, Model(servable, tokenization, table, engine))
