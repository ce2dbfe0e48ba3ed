"""Disk space that is set aside, so that sessions can be deleted and can expire when the disk is full."""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class DiskReserve:
    """A file of a fixed size beside the store. Releasing it makes room for the transactions that free space."""

    def __init__(self, path: Path, size: int) -> None:
        """Fills the reserve if there is room.

        Args:
            path: The file.
            size: Size of the reserve, in bytes.
        """
        self._path = path
        self._size = size
        self._warned = False  # once, not at each attempt
        self.held = False
        self.fill()

    def fill(self) -> bool:
        """Sets the space aside, unless it is. Returns whether it is set aside now."""
        if self.held:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(descriptor, 0, self._size)
                else:
                    os.write(descriptor, bytes(self._size))
                self.held, self._warned = True, False
            finally:
                if not self.held:
                    os.ftruncate(descriptor, 0)
                os.close(descriptor)
        except OSError as error:
            if not self._warned:
                log.warning("no room for the reserve of the session store, %s: %s", self._path, error)
            self._warned = True
        return self.held

    def release(self) -> None:
        """Frees the space."""
        self.held = False
        self._path.unlink(missing_ok=True)
