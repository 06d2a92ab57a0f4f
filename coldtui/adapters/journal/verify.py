"""Whether the audit is as it was written: the chain from the first entry to the last, and the head file beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec

from ...domain.runs import Verified
from ...domain.text import plain
from . import schema
from .audit import as_text, hash_of, misfit
from .head import Head
from .values import UNREADABLE

FAULTS_SHOWN = 50


class _Link(msgspec.Struct):
    """What of an entry makes the chain, and names it."""

    seq: int
    prev: str
    at: str
    what: str
    operation: str = ""
    object: str = ""

    def __str__(self) -> str:
        named = " ".join(part for part in (self.at[:19].replace("T", " ") + "Z", self.what, self.operation, self.object) if part)
        return f"entry {self.seq} ({plain(named)})"


_decode = msgspec.json.Decoder(_Link).decode


def check(db: sqlite3.Connection, head: Head | str | None) -> Verified:
    """Walk the whole chain. `db` gives texts as bytes; `head` was read when this connection's snapshot was taken."""
    walk = _Walk()
    for row in db.execute("SELECT seq, body, hash FROM audit ORDER BY seq"):
        walk.entry(*row)
    walk.faults += [*_guards(db), *_against(db, head, walk)]
    faults = walk.faults
    if len(faults) > FAULTS_SHOWN:
        faults = [*faults[:FAULTS_SHOWN], f"and {len(faults) - FAULTS_SHOWN:,} more"]
    return Verified(walk.count, walk.hash, tuple(faults), tuple(_unproven(db, head, walk)))


class _Walk:
    """The chain, entry by entry."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.count = 0
        self.seq = 0
        """Place of the entry before."""
        self.hash = ""
        """Hash that stands beside it."""
        self.shift = 0
        """By how much the entry before named another number than its place."""
        self.before = "the beginning"

    def entry(self, seq: int, body: Any, hash: Any) -> None:
        self.count += 1
        try:
            link = _decode(body)
        except UNREADABLE:
            self.faults.append(f"entry {seq} cannot be read: it was edited")
            self._on(seq, as_text(hash), 0, f"entry {seq}")
            return
        stored = as_text(hash)
        if not self._in_place(seq, link):
            pass
        elif link.prev != self.hash:
            self.faults.append(f"{link} does not continue {self.before}: that one was edited and its hash made anew")
        if hash_of(body) != stored:
            self.faults.append(f"{link} was edited: its hash is another")
        self._on(seq, plain(stored), link.seq - seq, str(link))

    def _in_place(self, seq: int, link: _Link) -> bool:
        """Whether the entry stands where it belongs, right after the one before; says so if not."""
        shift = link.seq - seq
        if seq < 1:
            self.faults.append(f"place {seq} holds {link}: it was inserted, the audit begins with 1")
        elif shift != self.shift and shift:
            way = "entries before it were deleted" if shift > 0 else "something was inserted before it"
            self.faults.append(f"place {seq} holds {link}: {way}, or entries were reordered")
        elif seq > self.seq + 1 and not shift:
            gone = f"entry {self.seq + 1} is" if seq == self.seq + 2 else f"entries {self.seq + 1} to {seq - 1} are"
            self.faults.append(f"{gone} missing before {link}: deleted")
        else:
            return not shift and not self.shift
        return False

    def _on(self, seq: int, hash: str, shift: int, named: str) -> None:
        self.seq, self.hash, self.shift, self.before = max(seq, 0), hash, shift, named


def _guards(db: sqlite3.Connection) -> Iterator[str]:
    there = {as_text(name): as_text(sql) for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")}
    for name, sql in schema.GUARDS.items():
        if there.get(name) != sql:
            how = "changed" if name in there else "taken away"
            yield f"the guard {name} was {how}: entries could be changed by plain SQL"


def _against(db: sqlite3.Connection, head: Head | str | None, walk: _Walk) -> Iterator[str]:
    """What the head file, and the first entry, say against it."""
    began = _began(db)
    if began.get("cause") == "gone":
        yield f"entry 1 ({plain(str(began.get('at', '')))}): the journal before this one was gone, though its head file knew {began.get('entries')} entries"
    if isinstance(head, Head):
        yield from (plain(text) for text in head.disputes)
    if found := misfit(db, head, as_text(_meta(db, "id")), walk.seq):
        yield found


def _unproven(db: sqlite3.Connection, head: Head | str | None, walk: _Walk) -> Iterator[str]:
    known = head.count if isinstance(head, Head) else 0
    if known == walk.seq - 1 and not isinstance(head, str):
        yield f"entry {walk.seq}: the head file is one entry behind (a writer was ended between the two), so only the chain speaks for it"
    yield "that nobody who may write both the journal and its head file wrote all of it anew: there is no copy elsewhere to compare with"
    made = as_text(_meta(db, "made"))[:19].replace("T", " ")
    yield f"what happened before this journal was made ({plain(made)}Z)"
    began = _began(db)
    if began.get("cause") == "damaged":
        yield f"what the damaged journal before it held: it lies aside as {plain(str(began.get('aside', '')))}"


def _meta(db: sqlite3.Connection, key: str) -> Any:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else ""


def _began(db: sqlite3.Connection) -> dict[str, Any]:
    """What the first entry says about an earlier journal in this place."""
    row = db.execute("SELECT body FROM audit WHERE seq = 1").fetchone()
    try:
        first = json.loads(row[0]) if row else {}
        return {**first["params"], "at": first["at"]} if first.get("what") == "journal" else {}
    except UNREADABLE:
        return {}
