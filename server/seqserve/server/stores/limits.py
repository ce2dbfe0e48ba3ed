"""Limits on what a store contains, in total and for each owner."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.server.errors import StoreFullError
from seqserve.server.stores.store import SessionKey, Usage

RETRY_AFTER_S = 1.0  # of an error that more room can end


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Limits on what a store contains. None: no limit.

    Attributes:
        count_max: Maximum number of live sessions.
        bytes_max: Maximum size of their bodies, in bytes.
        owner_count_max: Maximum number of live sessions of one owner.
        owner_bytes_max: Maximum size of the bodies of one owner's sessions, in bytes.
    """

    count_max: int | None = None
    bytes_max: int | None = None
    owner_count_max: int | None = None
    owner_bytes_max: int | None = None

    @property
    def per_owner(self) -> bool:
        """Whether there is a limit for each owner."""
        return self.owner_count_max is not None or self.owner_bytes_max is not None

    def check_total(self, key: SessionKey, usage: Usage) -> None:
        """Raises StoreFullError if the store would contain too much.

        Args:
            key: The session that is written.
            usage: What the store would contain.
        """
        if (self.count_max is not None and usage.sessions > self.count_max) or (
            self.bytes_max is not None and usage.bytes > self.bytes_max
        ):
            raise full(key, "the store", usage, self.count_max, self.bytes_max)

    def check_owner(self, key: SessionKey, usage: Usage) -> None:
        """Raises StoreFullError if an owner would have too much.

        Args:
            key: The session that is written.
            usage: What the owner would have in the store.
        """
        if (self.owner_count_max is not None and usage.sessions > self.owner_count_max) or (
            self.owner_bytes_max is not None and usage.bytes > self.owner_bytes_max
        ):
            raise full(key, "its owner", usage, self.owner_count_max, self.owner_bytes_max)


def full(key: SessionKey, whose: str, usage: Usage, count_max: int | None, bytes_max: int | None) -> StoreFullError:
    """Returns the error for a session that does not fit.

    Args:
        key: The session.
        whose: Description of the full store or owner.
        usage: What it would contain with the session.
        count_max: Maximum number of sessions.
        bytes_max: Maximum size of their bodies, in bytes.
    """
    limits = [f"{count_max} sessions"] * (count_max is not None) + [f"{bytes_max} bytes"] * (bytes_max is not None)
    return StoreFullError(
        f"no room for session {key.id!r}: {whose} would have {usage.sessions} sessions with {usage.bytes} bytes, the "
        f"limit is {' and '.join(limits)}; delete sessions, or retry later",
        retry_after_s=RETRY_AFTER_S,
    )
