"""Loads a version within a time limit, so that one that never finishes does not keep the others from serving."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from seqserve.server.repository.model import Entry, EntryState

log = logging.getLogger(__name__)


def load_within(timeout_s: float, name: str, version: int, load: Callable[[], Entry]) -> Entry:
    """Loads a version on a thread of this call. Blocks for at most the time limit.

    Args:
        timeout_s: Time limit, in seconds.
        name: Name of the model.
        version: Version of the model.
        load: Loads it. If it takes longer, its result is closed when it comes.

    Returns:
        The entry. If the time limit has passed, it has the reason.

    Raises:
        ProviderError: As load.
    """
    result: Future[Entry] = Future()

    def run() -> None:
        try:
            entry = load()
        except BaseException as error:
            if not _deliver(error):
                raise
        else:
            if not _deliver(entry) and entry.model is not None:
                entry.model.engine.close()

    def _deliver(outcome: Entry | BaseException) -> bool:
        """Returns whether the caller still waits."""
        if not result.set_running_or_notify_cancel():
            return False
        if isinstance(outcome, Entry):
            result.set_result(outcome)
        else:
            result.set_exception(outcome)
        return True

    threading.Thread(target=run, name=f"load {name}/{version}", daemon=True).start()
    try:
        return result.result(timeout_s)
    except TimeoutError:
        if not result.cancel():
            return result.result()  # it came in the meantime
    reason = f"it has not loaded within {timeout_s:g} s (runtime.load_timeout_s)"
    log.warning("model %s version %d does not serve: %s", name, version, reason)
    return Entry(name, version, EntryState.BROKEN, reason=reason)
