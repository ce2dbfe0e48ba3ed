"""Opens the store that the settings select."""

from __future__ import annotations

from dataclasses import replace

from seqserve.server.errors import UnusableStoreError
from seqserve.server.settings import SessionSettings
from seqserve.server.stores.limits import StoreLimits
from seqserve.server.stores.memory import MemoryStore
from seqserve.server.stores.sqlite import SqliteStore
from seqserve.server.stores.store import Store


def open_store(settings: SessionSettings) -> Store:
    """Opens the store. Call it on the event loop that uses the store.

    Args:
        settings: Where the sessions are stored, and the limits.

    Raises:
        UnusableStoreError: The file cannot be opened, another process uses it, or a package is missing.
    """
    limits = StoreLimits(
        settings.durable_count_max,
        settings.durable_bytes_max,
        settings.owner_count_max,
        settings.owner_bytes_max,
    )
    if settings.path is not None:
        return SqliteStore(settings.path, grace_s=settings.grace_s, limits=limits)
    if settings.redis is not None:
        try:
            from seqserve.server.stores.redis import RedisStore  # the package is optional
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "redis":
                raise
            raise UnusableStoreError(
                "sessions in Redis need the package redis: install it with pip install 'seqserve[server,redis]'"
            ) from error
        return RedisStore(settings.redis, grace_s=settings.grace_s, lease_s=settings.lease_s, limits=limits)
    return MemoryStore(
        count_max=settings.count_max,
        bytes_max=settings.bytes_max,
        when_full=settings.when_full,
        grace_s=settings.grace_s,
        limits=limits if settings.when_full == "spill" else replace(limits, count_max=None, bytes_max=None),
    )
