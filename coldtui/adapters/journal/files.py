"""The files of a journal: their names, their modes, and the lock that orders processes where SQLite's own does not suffice."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from coldtui.domain.values import dataclass

from .troubles import busy, trouble

LOCK_S = 5.0
"""How long another process may hold the file lock; it is held for some ms."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything of one journal lies."""

    path: str

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    @property
    def head(self) -> str:
        """The second head file. `journal.db` has `audit-head.json`; another journal in the same folder one of its own."""
        name = os.path.basename(self.path)
        return os.path.join(self.folder, "audit-head.json" if name == "journal.db" else f"{name}.audit-head.json")

    @property
    def lock(self) -> str:
        return self.path + ".lock"

    @property
    def reserve(self) -> str:
        return self.path + ".reserve"

    @property
    def runs(self) -> str:
        return os.path.join(self.folder, "runs")

    @property
    def mode(self) -> int:
        """0640; in a folder that a group shares (setgid and group-writable) 0660."""
        try:
            shared = os.stat(self.folder).st_mode
        except OSError:
            return 0o640
        return 0o660 if shared & stat.S_ISGID and shared & stat.S_IWGRP else 0o640


def create(path: str, mode: int) -> None:
    """Make an empty file of exactly this mode. Raises OSError, also when it is there."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(handle, mode)  # the umask must not take the group's share away
    finally:
        os.close(handle)


def identity(path: str) -> tuple[int, int] | None:
    """Which file lies at a path; None: none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def sync_folder(path: str) -> None:
    """So that a rename in it outlives a loss of power."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class FileLock:
    """`flock` on a file beside the journal; may be taken again by its holder. One thread at a time: its owner sees to that."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle = -1
        self._depth = 0

    @contextmanager
    def held(self, mode: int) -> Iterator[None]:
        """`mode`: of the file, when it is not there yet. Raises JournalTrouble."""
        if not self._depth:
            self._take(mode)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _take(self, mode: int) -> None:
        try:
            if self._handle < 0:
                with suppress(FileExistsError):
                    create(self._path, mode)
                self._handle = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._wait()
        except OSError as error:
            raise trouble(error, self._path.removesuffix(".lock")) from None

    def _wait(self) -> None:
        """`flock` itself has no deadline, so it is asked again and again, 1 to 20 ms apart."""
        end, pause = time.monotonic() + LOCK_S, 0.001
        while True:
            try:
                return fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
            if time.monotonic() > end:
                raise busy(self._path.removesuffix(".lock"))
            time.sleep(pause)
            pause = min(0.02, pause * 2)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
