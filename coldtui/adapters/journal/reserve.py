"""Four megabytes that are kept back for the day on which the disk is full, so that a full disk does not block the act that it calls for."""

from __future__ import annotations

import os
from contextlib import suppress

from .troubles import free_b

MEND_S = 30.0
"""A reserve that is not there is tried to be made again this often."""


class Reserve:
    """A file of `size` bytes beside the journal; really allocated, not a hole."""

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._size = size
        self._tried = float("-inf")

    @property
    def spent(self) -> bool:
        """Whether the journal lives on its reserve."""
        if not self._size:
            return False
        try:
            return os.stat(self._path, follow_symlinks=False).st_size < self._size
        except OSError:
            return True

    def release(self) -> bool:
        """Give the space free. False: there was none."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True

    def mend(self, now_s: float, mode: int) -> None:
        """Make it if it is not there and twice its size is free (else it would be made of the very space that it just gave). Never raises."""
        if not self._size or now_s - self._tried < MEND_S:
            return
        self._tried = now_s
        with suppress(OSError):  # without it the notice stays: that is how the operator sees it
            if self.spent and free_b(os.path.dirname(self._path)) >= 2 * self._size:
                self._make(mode)

    def _make(self, mode: int) -> None:
        """Under another name first: half a reserve is none, and two processes may do this at once."""
        unfinished = f"{self._path}.{os.getpid()}"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            os.posix_fallocate(handle, 0, self._size)
            os.fchmod(handle, mode)
            os.rename(unfinished, self._path)
        except OSError:
            os.unlink(unfinished)
            raise
        finally:
            os.close(handle)
