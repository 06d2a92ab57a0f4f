"""A journal is opened under its file lock: looked at, set aside when it is broken, made when there is none.

Never overwritten: what cannot be read is renamed and named; what belongs to a newer program, or is not ours, is refused and left as it is.
"""

from __future__ import annotations

import os
import pwd
import socket
import sqlite3
import uuid
from contextlib import closing, suppress
from datetime import datetime

from coldtui.domain.values import dataclass

from ...domain.errors import JournalTrouble
from ...domain.runs import AuditEntry, Who
from ...domain.text import plain
from ...ports import Clock
from . import audit, schema
from .files import Place, create, identity, sync_folder
from .head import Head, HeadFile
from .troubles import another, code, is_damage, said
from .values import stamp

CHECKED_B = 32 << 20
"""Up to this size the whole file is checked when it is opened (about 1 ms a megabyte); of a larger one its structure and newest entries."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open journal."""

    writer: sqlite3.Connection
    reader: sqlite3.Connection
    id: str
    file: tuple[int, int]
    """Which file it is; another at the same path means that this one was moved away."""
    notice: str


def refuse_foreign(place: Place) -> None:
    """Before our lock is laid beside it: whether a file that was named is another program's. Raises as `open_at`."""
    if os.path.exists(place.path) and not os.path.exists(place.lock):
        _look(place.path, doubted=False)


def open_at(place: Place, clock: Clock, *, doubted: bool = False) -> Opened:
    """The caller holds the file lock. `doubted`: it was found broken in use, so that every page is looked at.

    Raises JournalTrouble, sqlite3.Error, OSError.
    """
    damage = _look(place.path, doubted) if os.path.exists(place.path) else ""
    aside = _set_aside(place, damage, clock.now()) if damage else ""
    return _open(place, clock, damage, aside)


def _open(place: Place, clock: Clock, damage: str, aside: str) -> Opened:
    if identity(place.path) is None:
        _sweep(place, clock.now())
        create(place.path, place.mode)
    writer = schema.connect(place.path)
    try:
        # asked again where it holds already, the switch answers "database is locked" at once while another process has it open
        if writer.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            writer.execute("PRAGMA journal_mode=WAL")
        if not writer.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            _make(writer, place, clock.now(), damage, aside)
        reader = schema.connect(place.path)
        found = identity(place.path)
        assert found is not None
        return Opened(writer, reader, plain(schema.meta(writer, "id")), found, _notice(writer, place))
    except BaseException:
        writer.close()
        raise


def _look(path: str, doubted: bool) -> str:
    """What is broken about a file that is there; empty: nothing. Raises JournalTrouble for one that is not to be touched, sqlite3.Error."""
    if not os.path.isfile(path):
        raise JournalTrouble("the journal cannot be used", detail=f"{plain(path)} is not a file", hint=another(path))
    try:
        with closing(schema.connect(path, writes=False)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            ours = db.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION
            if not there and not version:
                return ""  # empty: it is made now
            if not ours:
                raise _foreign(path)
            if version > schema.VERSION:
                raise _newer(path, version)
            missing = [name for name in schema.TABLES if name not in there]
            return f"table {missing[0]} is missing" if missing else _checked(db, doubted)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        if code(error) == sqlite3.SQLITE_NOTADB and not _was_ours(path):
            raise _foreign(path) from None
        return said(error)


def _checked(db: sqlite3.Connection, doubted: bool) -> str:
    """A look that takes some ms: at everything in a file of usual size, at every structure and the newest rows of a large one."""
    size = db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
    if size <= CHECKED_B or doubted:
        found = db.execute(f"PRAGMA {'integrity' if doubted else 'quick'}_check(1)").fetchone()[0]
        return "" if found == "ok" else plain(str(found)).strip("* ")
    for table in schema.TABLES:
        db.execute(f"SELECT * FROM {table} ORDER BY rowid DESC LIMIT 200").fetchall()
    return ""


def _was_ours(path: str) -> bool:
    """Whether a file that is no database was a journal once: it is named like one, or our lock lies beside it."""
    return path.endswith(".db") or os.path.exists(path + ".lock")


def _foreign(path: str) -> JournalTrouble:
    return JournalTrouble("this file is no journal", detail=f"{plain(path)} is left as it is", hint=another(path))


def _newer(path: str, version: int) -> JournalTrouble:
    return JournalTrouble(
        "the journal was made by a newer coldtui",
        detail=f"{plain(path)} is of version {version}, this one knows up to {schema.VERSION}; it is left as it is",
        hint=f"use the newer coldtui, or {another(path)}",
    )


def _set_aside(place: Place, damage: str, now: datetime) -> str:
    """Rename the broken file with all that belongs to it. Returns its new name. Raises JournalTrouble."""
    base = f"{place.path}.corrupt-{now:%Y%m%dT%H%M%SZ}"
    target, n = base, 1
    while os.path.lexists(target):
        n += 1
        target = f"{base}-{n}"
    try:
        os.rename(place.path, target)
        for end in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(place.path + end, target + end)
        sync_folder(place.folder)
    except OSError as error:
        detail = f"{plain(place.path)}: {damage}, {said(error)}"
        raise JournalTrouble(
            "the journal is damaged and cannot be moved aside", detail=detail, hint=f"move it by hand, or {another(place.path)}"
        ) from None
    return target


def _sweep(place: Place, now: datetime) -> None:
    """What SQLite left of a journal that somebody removed must not be taken for the new one's."""
    with suppress(FileNotFoundError):
        os.rename(place.path + "-wal", f"{place.path}.gone-{now:%Y%m%dT%H%M%SZ}-wal")
    with suppress(FileNotFoundError):
        os.unlink(place.path + "-shm")


def _make(db: sqlite3.Connection, place: Place, now: datetime, damage: str, aside: str) -> None:
    """The tables and, where another journal was here before, the first entry of the audit, which says so: all or nothing."""
    file = HeadFile(place.head)
    before = file.read()
    entry = _beginning(now, before, damage, aside)
    db.execute("BEGIN IMMEDIATE")
    try:
        schema.make(db, uuid.uuid4().hex, stamp(now))
        if aside:
            schema.set_meta(db, "aside", os.path.basename(aside))
        if entry is not None:
            audit.append(db, file, None, entry, place.mode)
        db.execute("COMMIT")
    except BaseException:
        file.drop()
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    if entry is not None:
        if before is not None:  # what it knew of the other journal is evidence
            os.rename(place.head, f"{aside or place.path + f'.gone-{now:%Y%m%dT%H%M%SZ}'}-{os.path.basename(place.head)}")
        file.publish()


def _beginning(now: datetime, head: Head | str | None, damage: str, aside: str) -> AuditEntry | None:
    """The first entry of a journal that takes another's place. None: there was no other."""
    if not aside and head is None:
        return None
    told = {"entries": head.count, "head": head.hash, "journal": head.journal} if isinstance(head, Head) else {}
    last = f"its newest entry was {head.count}, of {plain(head.at)}" if isinstance(head, Head) else "how many entries it had is not known"
    if aside:
        params = {"cause": "damaged", "aside": os.path.basename(aside), "damage": damage, **told}
        outcome = f"the journal before was damaged ({damage}) and lies aside as {os.path.basename(aside)}; {last}"
    else:
        params = {"cause": "gone", **told}
        outcome = f"the journal before was gone; {last}"
    return AuditEntry(0, now, "journal", _we(), params=params, outcome=outcome)


def _we() -> Who:
    """This program: nobody asked for it."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return Who("coldtui", plain(user), host=plain(socket.gethostname()), face="journal")


def _notice(db: sqlite3.Connection, place: Place) -> str:
    """Told until the operator moves the broken file away."""
    name = plain(schema.meta(db, "aside"))
    if not name or not os.path.lexists(os.path.join(place.folder, name)):
        return ""
    return f"the journal was damaged: it lies aside as {name}, and a new one began. Runs before that are not known here"
