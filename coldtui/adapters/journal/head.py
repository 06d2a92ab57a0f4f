"""The second head file: what the newest entry of the audit is, kept outside the database, so that a cut tail is seen.

It is written in the same locked section as the entry: made ready before the commit (so that a full disk undoes both), renamed after it. A
process that is ended between the two leaves a head that is one entry behind; the next entry brings it up again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress

import msgspec

from coldtui.domain.values import dataclass

from .files import sync_folder

AT_MOST = 1 << 20
DISPUTES_KEPT = 20


@dataclass(frozen=True, slots=True)
class Head:
    journal: str
    """journal_id."""
    count: int
    """How many entries there are, which is the number of the newest: they are numbered from 1 without gaps."""
    hash: str
    """Of the newest."""
    at: str
    """When it was written."""
    disputes: tuple[str, ...] = ()
    """What did not fit when an entry was appended: kept, since the new head would hide it."""


_decode = msgspec.json.Decoder(Head).decode


class HeadFile:
    """Call `ready` and `publish` under the journal's file lock only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._new = path + ".new"

    def read(self) -> Head | str | None:
        """The head; a text says why it cannot be read; None: there is no such file."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                return _decode(file.read(AT_MOST))
        except FileNotFoundError:
            return None
        except OSError as error:
            return (error.strerror or str(error)).lower()
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return "it makes no sense"

    def ready(self, head: Head, mode: int) -> None:
        """Write it under another name, on disk. Raises OSError."""
        kept = {f: getattr(head, f) for f in ("journal", "count", "hash", "at")}
        data = json.dumps({**kept, "disputes": list(head.disputes)}, indent=1).encode()
        self.drop()
        handle = os.open(self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)

    def publish(self) -> None:
        """Raises OSError; the entry stands all the same."""
        os.replace(self._new, self.path)
        sync_folder(os.path.dirname(self.path))

    def drop(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._new)
