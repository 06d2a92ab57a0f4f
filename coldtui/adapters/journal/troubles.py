"""What SQLite and the file system say, as JournalTrouble: what happened, to which file, and the remedy."""

from __future__ import annotations

import errno
import os
import sqlite3

from ...domain.errors import JournalTrouble
from ...domain.text import plain

Failure = sqlite3.Error | OSError

NO_ROOM_B = 256 << 10
"""With less than this free an error that names no reason is put down to the full disk."""

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM})


def code(error: BaseException) -> int:
    """SQLite's primary result code; 0 when it did not come from SQLite."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def is_full(error: BaseException) -> bool:
    return code(error) == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in _NO_SPACE)


def looks_full(error: BaseException, path: str) -> bool:
    """SQLite says `disk I/O error` or `unable to open` where it cannot make or extend its smaller files."""
    if is_full(error):
        return True
    return code(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and free_b(os.path.dirname(path)) < NO_ROOM_B


def free_b(folder: str) -> int:
    """Bytes that are free; as good as endless where that cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return found.f_bavail * found.f_frsize


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is broken."""
    return code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def elsewhere(path: str) -> str:
    """A place for a journal that is on no disk: `/run/coldtui/journal.db`, without root in $XDG_RUNTIME_DIR. Empty: none, or `path` is it."""
    base = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    found = os.path.join(base, "coldtui", "journal.db") if base else ""
    return "" if found == path else found


def another(path: str) -> str:
    """`name another journal: coldtui --journal /run/coldtui/journal.db ...`."""
    return f"name another journal: coldtui --journal {plain(elsewhere(path)) or 'FILE'} ..."


def no_space(path: str) -> JournalTrouble:
    return JournalTrouble(
        f"the journal cannot be written: no space left on {plain(os.path.dirname(path))}", hint=f"free space, or {another(path)}"
    )


def trouble(error: Failure, path: str) -> JournalTrouble:
    """One clear line for anything that went wrong with the journal at `path`."""
    if looks_full(error, path):
        return no_space(path)
    if isinstance(error, OSError):
        return _of_system(error, path)
    match code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return busy(path)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_CANTOPEN:
            return _unwritable(error, path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return JournalTrouble(
                "the journal is damaged", detail=f"{plain(path)}: {said(error)}", hint="begin again: it is kept aside and a new one begins"
            )
        case _:
            return _unusable(error, path, path)


def busy(path: str) -> JournalTrouble:
    return JournalTrouble(
        "the journal is busy", detail=f"another process has held {plain(path)} for 5 s", hint="try again; find it: fuser -v " + plain(path)
    )


def _of_system(error: OSError, path: str) -> JournalTrouble:
    if error.errno in _NO_RIGHT or error.errno == errno.EROFS:
        return _unwritable(error, path)
    return _unusable(error, str(error.filename or path), path)


def _unusable(error: Failure, place: str, path: str) -> JournalTrouble:
    return JournalTrouble("the journal cannot be used", detail=f"{plain(place)}: {said(error)}", hint=f"mend it, or {another(path)}")


def _unwritable(error: Failure, path: str) -> JournalTrouble:
    """Which of file and folder it is, and why: SQLite says `unable to open database file` to all of it."""
    folder = os.path.dirname(path)
    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)  # where the folder was to be made
    place = path if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK) else folder
    if os.access(place, os.W_OK) and isinstance(error, sqlite3.Error):
        return _unusable(error, path, path)  # something else, such as too many open files
    return JournalTrouble("the journal cannot be written", detail=f"{plain(place)}: {_why(place)}", hint=_remedy(place, path))


def _why(place: str) -> str:
    try:
        frozen = os.statvfs(place).f_flag & os.ST_RDONLY
    except OSError as error:
        return said(error)
    return "read-only file system" if frozen else "permission denied"


def _remedy(place: str, path: str) -> str:
    if _why(place) == "read-only file system":
        return f"mount it writable, or {another(path)}"
    join = "join group coldtui" if place.startswith("/var/lib/coldtui") else "mend its permissions"
    return f"{join}, or {another(path)}"


def said(error: BaseException) -> str:
    """The library's own words, harmless."""
    return plain(((error.strerror if isinstance(error, OSError) else "") or str(error)).lower())
