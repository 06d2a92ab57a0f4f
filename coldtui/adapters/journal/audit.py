"""The audit: entries are appended, each holds the hash of the one before, and the hash of an entry goes over its canonical JSON."""

from __future__ import annotations

import gc
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import msgspec

from ...domain.runs import AuditEntry
from ...domain.text import plain
from . import schema
from .head import DISPUTES_KEPT, Head, HeadFile
from .values import UNREADABLE, canonical, harmless, stamp

_decode = msgspec.json.Decoder(AuditEntry).decode


def body_of(entry: AuditEntry) -> str:
    """Canonical JSON of everything but the hash."""
    made: dict[str, Any] = {f.name: getattr(entry, f.name) for f in fields(entry) if f.name != "hash"}
    made["at"] = stamp(entry.at)
    made["who"] = {f.name: getattr(entry.who, f.name) for f in fields(entry.who)}
    return canonical(made)


def hash_of(body: str | bytes) -> str:
    return hashlib.sha256(body if isinstance(body, bytes) else body.encode()).hexdigest()


def decoded(body: Any, hash: Any) -> AuditEntry:
    """An entry from its two columns. Raises what is in UNREADABLE."""
    if not isinstance(body, str) or not isinstance(hash, str):
        raise TypeError("not text")
    if not (hash.isascii() and hash.isalnum()):
        hash = ""  # whoever wrote it: it proves nothing, and `verify` tells
    return _decode(f'{harmless(body)[:-1]},"hash":"{hash}"}}')


def entries(db: sqlite3.Connection, after: int, limit: int, newest_first: bool) -> tuple[list[AuditEntry], list[int]]:
    """(entries, numbers of those that cannot be read)."""
    order = "DESC" if newest_first else "ASC"
    rows = db.execute(f"SELECT seq, body, hash FROM audit WHERE seq > ? ORDER BY seq {order} LIMIT ?", (after, limit))
    found, bad = [], []
    with _no_collecting():
        for seq, body, hash in rows:
            try:
                found.append(decoded(body, hash))
            except UNREADABLE:
                bad.append(seq)
    return found, bad


@contextmanager
def _no_collecting() -> Iterator[None]:
    """100,000 entries make no rubbish, and looking for it while they are made takes as long as making them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def append(
    db: sqlite3.Connection, file: HeadFile, head: Head | str | None, entry: AuditEntry, mode: int
) -> tuple[AuditEntry, tuple[str, ...]]:
    """Append inside the caller's transaction and make the next head ready. `head`: as it is. Returns the entry as it will be read, and what
    ever did not fit.

    Raises OSError.
    """
    count, prev = newest(db)
    journal_id = schema.meta(db, "id")
    disputes = _disputes(db, head, journal_id, count)
    body = body_of(replace(entry, seq=count + 1, prev=prev))
    hash = hash_of(body)
    db.execute("INSERT INTO audit(seq, body, hash) VALUES (?, ?, ?)", (count + 1, body, hash))
    file.ready(Head(journal_id, count + 1, hash, stamp(entry.at), disputes), mode)
    return decoded(body, hash), disputes


def newest(db: sqlite3.Connection) -> tuple[int, str]:
    """(number, hash) of the newest entry; (0, "") when there is none."""
    row = db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    return (row[0], plain(str(row[1]))) if row else (0, "")


def _disputes(db: sqlite3.Connection, head: Head | str | None, journal_id: str, count: int) -> tuple[str, ...]:
    """What the head file said that does not fit, kept in the new one, which would hide it else."""
    before = head.disputes if isinstance(head, Head) else ()
    found = misfit(db, head, journal_id, count)
    if found and len(before) < DISPUTES_KEPT:
        return (*before, f"when entry {count + 1} was appended, {found}")
    return before


def misfit(db: sqlite3.Connection, head: Head | str | None, journal_id: str, count: int) -> str:
    """In what the head file and the journal, with `count` entries, contradict each other; empty: in nothing, or it is one entry behind."""
    if head is None:
        return "" if count <= 1 else "the head file was missing: a cut tail would not be seen"
    if isinstance(head, str):
        return f"the head file could not be read ({head}): a cut tail would not be seen"
    if head.journal != journal_id:
        return f"the head file was of another journal ({plain(head.journal)})"
    if head.count > count:
        gone = f"entry {head.count} is" if head.count == count + 1 else f"entries {count + 1} to {head.count} are"
        return f"the head file knew {head.count} entries, the newest of {plain(head.at)}: {gone} cut off"
    row = db.execute("SELECT hash FROM audit WHERE seq = ?", (head.count,)).fetchone()
    if row is None or as_text(row[0]) != head.hash:
        return f"the head file had another hash of entry {head.count}: it, or all before it, was written anew"
    if head.count < count - 1:
        return f"the head file knew {head.count} of {count} entries: what came after was not written by this program, or the file is an old copy"
    return ""


def as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
