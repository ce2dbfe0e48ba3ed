"""The versions of one root folder, and loading and unloading them while the server runs.

The root is a tree <root>/<model>/<version>/ of servables. A broken servable stays in the list with its reason; the
others serve. After `load`, everything here belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from seqserve.server.engine.output_stream import StepOutputs
from seqserve.server.errors import (
    BrokenServableError,
    ModelNotFoundError,
    ModelNotReadyError,
    ProviderError,
    VersionNotFoundError,
)
from seqserve.server.model.manifest import read_manifest
from seqserve.server.model.servable import ServableId, choose_provider
from seqserve.server.repository.loading import folders, load_version
from seqserve.server.repository.model import Entry, EntryState, Model
from seqserve.server.repository.timed_load import load_within
from seqserve.server.settings import ServerSettings

log = logging.getLogger(__name__)


class Repository:
    """The versions of one root folder."""

    def __init__(self, settings: ServerSettings, publish: Callable[[StepOutputs], None]) -> None:
        """Creates an empty repository.

        Args:
            settings: Settings of the server.
            publish: Receives the outputs of all engines; see Engine.
        """
        self.changed = asyncio.Event()  # set when an entry has changed; the one that waits for it clears it
        self._settings = settings
        self._publish = publish
        self._entries: dict[str, dict[int, Entry]] = {}
        self._users: Counter[ServableId] = Counter()
        self._loading: dict[tuple[str, int], asyncio.Task[Entry]] = {}

    def load(self) -> None:
        """Loads all versions under the root. Blocks. Call it before serving.

        Raises:
            FileNotFoundError: The root is not a folder.
            ProviderError: The execution provider is not available.
        """
        root = self._settings.models
        if not root.is_dir():
            raise FileNotFoundError(
                f"the model repository {root} is not a folder; expected a folder of servables, DIR/MODEL/VERSION/"
            )
        choose_provider(self._settings.runtime.provider)  # even if there is no model
        for name, version, folder in folders(root):
            self._put(self._load_within(name, version, folder))
        if not self._entries:
            log.warning("the model repository %s has no servables; expected folders MODEL/VERSION/ in it", root)

    def close(self) -> None:
        """Stops all engines. Running requests fail with DrainingError. Blocks."""
        for entry in self.entries():
            if entry.model is not None:
                entry.model.engine.close()

    def entries(self) -> list[Entry]:
        """Returns all versions, in order of name and version."""
        return [
            self._entries[name][version] for name in sorted(self._entries) for version in sorted(self._entries[name])
        ]

    def entry(self, name: str, version: int | None) -> Entry:
        """Returns a version, whether it serves or not.

        Args:
            name: Name of the model.
            version: Version of the model. None: the newest that takes requests, or the newest if none does.

        Raises:
            ModelNotFoundError: There is no such model.
            VersionNotFoundError: The model has no such version.
        """
        if not (versions := self._entries.get(name)):
            raise self._no_model(name)
        if version is None:
            ready = (v for v in versions if versions[v].state is EntryState.READY)
            return versions[max(ready, default=max(versions))]
        if version not in versions:
            raise _no_version(name, version, versions)
        return versions[version]

    def model(self, name: str, version: int | None) -> Model:
        """Returns a version that takes new requests. Raises: As entry; ModelNotReadyError if it takes none."""
        entry = self.entry(name, version)
        if entry.model is None or entry.state is not EntryState.READY:
            raise ModelNotReadyError(
                f"model {name!r} version {entry.version} does not serve: {entry.reason}", field="model"
            )
        return entry.model

    def find_by_digest(self, digest: str, name: str) -> Model | None:
        """Returns a loaded version with this graph, even if it takes no new requests, or None.

        Args:
            digest: SHA-256 of the graph.
            name: Name of the model that is preferred if several have this graph.
        """
        matches = [entry for entry in self.entries() if entry.model and entry.model.servable.id.digest == digest]
        best = min(matches, key=lambda entry: (entry.name != name, entry.state is not EntryState.READY), default=None)
        return None if best is None else best.model

    @contextmanager
    def hold(self, model: Model) -> Generator[Model]:
        """Keeps a version loaded until the block is left."""
        identity = model.servable.id
        self._users[identity] += 1
        try:
            yield model
        finally:
            self._users[identity] -= 1

    async def load_version(self, name: str, version: int | None) -> Entry:
        """Loads a version, or takes back one that is being unloaded.

        Args:
            name: Name of the model.
            version: Version of the model. None: the newest on disk.

        Raises:
            ModelNotFoundError: There is no such model on disk.
            VersionNotFoundError: The model has no such version on disk.
            ModelNotReadyError: The version cannot be loaded.
        """
        versions = await asyncio.to_thread(self._folders, name)
        if not versions:
            raise self._no_model(name)
        version = max(versions) if version is None else version
        if version not in versions:
            raise _no_version(name, version, versions)
        entry = self._entries.get(name, {}).get(version)
        if entry is not None and entry.model is not None:
            await asyncio.to_thread(_check_unchanged, entry.model, versions[version])
            entry = self._entries[name][version]  # it may have been unloaded meanwhile
        if entry is not None and entry.model is not None:
            entry = self._put(replace(entry, state=EntryState.READY, reason=""))
        else:
            if (name, version) not in self._loading:
                self._loading[name, version] = asyncio.create_task(self._load(name, version, versions[version]))
            entry = await asyncio.shield(self._loading[name, version])  # others may wait for it too
        if entry.model is None:
            raise ModelNotReadyError(f"model {name!r} version {version} does not serve: {entry.reason}", field="model")
        return entry

    def unload_version(self, name: str, version: int) -> Entry:
        """Stops taking requests for a version; `finish_unloading` ends it. Raises: As model."""
        entry = self.entry(name, version)
        if entry.state is not EntryState.UNLOADING:
            model = self.model(name, version)
            entry = Entry(name, version, EntryState.UNLOADING, model, "it is being unloaded; load it to keep it")
        return self._put(entry)

    def unused(self) -> list[Entry]:
        """Returns the versions that are being unloaded and that no request uses."""
        return [
            entry
            for entry in self.entries()
            if entry.model is not None
            and entry.state is EntryState.UNLOADING
            and not self._users[entry.model.servable.id]
        ]

    async def finish_unloading(self, entry: Entry) -> None:
        """Ends the engine of a version that nothing uses. Does nothing if it is in use or was taken back."""
        if entry not in self.unused() or entry.model is None:
            return
        self._put(Entry(entry.name, entry.version, EntryState.UNLOADED, reason="it was unloaded; load it to use it"))
        del self._users[entry.model.servable.id]
        log.info("model %s version %d is unloaded", entry.name, entry.version)
        await asyncio.to_thread(entry.model.engine.close)

    async def _load(self, name: str, version: int, folder: Path) -> Entry:
        self._put(Entry(name, version, EntryState.LOADING, reason="it is being loaded; retry in a moment"))
        try:
            return self._put(await asyncio.to_thread(self._load_within, name, version, folder))
        except ProviderError as error:
            return self._put(Entry(name, version, EntryState.BROKEN, reason=str(error)))
        finally:
            del self._loading[name, version]

    def _load_within(self, name: str, version: int, folder: Path) -> Entry:
        """Loads a version within the time limit. Blocks."""
        load = partial(load_version, name, version, folder, self._settings, self._publish)
        return load_within(self._settings.runtime.load_timeout_s, name, version, load)

    def _folders(self, name: str) -> dict[int, Path]:
        return {version: folder for model, version, folder in folders(self._settings.models) if model == name}

    def _put(self, entry: Entry) -> Entry:
        self._entries.setdefault(entry.name, {})[entry.version] = entry
        self.changed.set()
        return entry

    def _no_model(self, name: str) -> ModelNotFoundError:
        near = difflib.get_close_matches(name, self._entries, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"available: {', '.join(sorted(self._entries)) or 'none'}"
        return ModelNotFoundError(f"unknown model {name!r}; {hint}", field="model.name", resource=("model", name))


def _check_unchanged(model: Model, folder: Path) -> None:
    """Raises ModelNotReadyError if the files of a loaded version are no longer those that were loaded."""
    identity = model.servable.id
    try:
        change = "" if read_manifest(folder) == model.manifest else "its files have changed on disk since"
    except (BrokenServableError, OSError) as error:
        change = f"its files on disk are broken: {error}"
    if change:
        raise ModelNotReadyError(
            f"model {identity.model!r} version {identity.version} is loaded, but {change}; unload and load it again, "
            "or give the changed servable a new version",
            field="model",
        )


def _no_version(name: str, version: int, versions: dict[int, Entry] | dict[int, Path]) -> VersionNotFoundError:
    available = ", ".join(str(v) for v in sorted(versions))
    return VersionNotFoundError(
        f"model {name!r} has no version {version}; available: {available}",
        field="model.version",
        resource=("model version", f"{name}/{version}"),
    )
