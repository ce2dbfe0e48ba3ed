"""Exclusive use of a file, by its device and inode: a symbolic link, a hard link or a second name is the same file."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from seqserve.server.errors import StoreUnusableError, UnusableStoreError

_locked: set[tuple[int, int]] = set()  # files that this process has locked
_guard = threading.Lock()  # guards _locked


class FileLock:
    """A file that no other process, and no other part of this one, may use.

    The lock is on the file itself, so that nothing beside it can be deleted that would free it. The system unlocks it
    when the process ends.
    """

    def __init__(self, path: Path) -> None:
        """Creates the file if necessary and locks it.

        Args:
            path: The file. Other users of the machine cannot read it if it is created here.

        Raises:
            UnusableStoreError: The file is in use, or cannot be opened.
        """
        self._path = path
        try:
            # Closing a descriptor drops all POSIX locks that the process has on the file, SQLite's too. A file that
            # this process has locked is therefore recognized before it is opened.
            if path.exists() and _identity(path.stat()) in _locked:
                raise _in_use(path)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnusableStoreError(f"the session store {path} cannot be opened: {error}") from error
        self._identity = _identity(os.fstat(self._descriptor))
        self._files = [(path, self._identity)]
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise _in_use(path) from error
        with _guard:
            _locked.add(self._identity)

    def watch(self, path: Path) -> None:
        """Includes another file in the check.

        Args:
            path: The file, which must exist.
        """
        self._files.append((path, _identity(path.stat())))

    def check(self) -> None:
        """Checks that the paths still name the same files. Any thread may call it; it takes a few microseconds.

        Raises:
            StoreUnusableError: A file was removed or replaced. What is written to it would be lost, and another
                server may use the new one.
        """
        try:
            removed = next((path for path, identity in self._files if _identity(path.stat()) != identity), None)
        except OSError as error:
            removed = error.filename
        if removed is not None:
            raise StoreUnusableError(
                f"the session store's file {removed} was removed or replaced while the server used it; put the file "
                "back, or restart the server"
            )

    def release(self) -> None:
        """Unlocks the file. Everything else that this process has opened of it must be closed before."""
        with _guard:
            _locked.discard(self._identity)
        os.close(self._descriptor)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _in_use(path: Path) -> UnusableStoreError:
    return UnusableStoreError(
        f"another server uses the session store {path}: a file belongs to one process;"
        " use another file, or let the servers share a Redis (sessions.redis)"
    )
