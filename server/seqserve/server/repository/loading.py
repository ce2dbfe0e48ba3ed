"""Loads a servable from its folder, or finds the reason why it cannot serve."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from seqserve.server.engine.output_stream import StepOutputs
from seqserve.server.engine.pool import EnginePool
from seqserve.server.errors import BrokenServableError, ProviderError
from seqserve.server.model.manifest import Task, read_manifest
from seqserve.server.model.servable import Servable, ServableId
from seqserve.server.repository.model import Entry, EntryState, Model
from seqserve.server.settings import ServerSettings
from seqserve.server.text.detokenization import token_bytes
from seqserve.server.text.probes import check_probes
from seqserve.server.text.tokenization import Tokenization

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def folders(root: Path) -> Iterator[tuple[str, int, Path]]:
    """Yields name, version and folder of each version under a root, in order of their names."""
    for folder in sorted(root.glob("*/*")):
        model, version = folder.parent.name, folder.name
        if folder.is_dir() and _NAME.fullmatch(model) and _VERSION.fullmatch(version):
            yield model, int(version), folder


def load_version(
    name: str, version: int, folder: Path, settings: ServerSettings, publish: Callable[[StepOutputs], None]
) -> Entry:
    """Loads a version, warms it up and starts its engine. Blocks.

    Args:
        name: Name of the model.
        version: Version of the model.
        folder: Folder of the servable.
        settings: Settings of the server.
        publish: Receives the engine's outputs; see Engine.

    Returns:
        The entry. If the version cannot be loaded, it has the reason.

    Raises:
        ProviderError: The execution provider is not available.
    """
    try:
        manifest = read_manifest(folder)
        identity = ServableId(name, version, manifest.graph.sha256)
        servable = Servable(identity, manifest, folder, settings.runtime)
        tokenization = Tokenization(manifest, folder) if manifest.HasField("vocabulary") else None
        if tokenization is not None:
            check_probes(tokenization)
        writes = tokenization is not None and manifest.task in (Task.TASK_LANGUAGE_MODEL, Task.TASK_INFILLING)
        table = token_bytes(tokenization.tokenizer) if tokenization is not None and writes else []
    except (BrokenServableError, OSError) as error:
        log.warning("model %s version %d does not serve: %s", name, version, error)
        return Entry(name, version, EntryState.BROKEN, reason=str(error))
    except ProviderError:
        raise
    except Exception as error:  # whatever is wrong with one servable, the others must serve
        log.exception("model %s version %d does not serve", name, version)
        reason = f"it cannot be loaded: {type(error).__name__}: {error}"
        return Entry(name, version, EntryState.BROKEN, reason=reason)
    engine = EnginePool(servable, table, settings.batch, publish)
    engine.start()
    log.info("model %s version %d serves on %s", name, version, servable.provider)
    return Entry(name, version, EntryState.READY, Model(servable, tokenization, table, engine))
