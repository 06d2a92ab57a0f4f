"""Events of runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...domain.errors import Refused
from ...domain.runs import RunEvent, What
from ...domain.text import plain
from . import runs
from .values import UNREADABLE, clean, dumped, loaded, number, stamp, text, when

_OF_STEPS = frozenset({What.STARTED, What.ALREADY, What.FINISHED, What.FAILED})
_BEFORE_ACTS = frozenset({What.STARTED, What.MEMO, What.ITEM})


def insert(
    db: sqlite3.Connection, run: str, what: What, step: int, words: str, object: str, memo: Mapping[str, Any], offset: int, at: datetime
) -> RunEvent:
    """Append one. Raises NotFound; Refused when it announces an act of a run that has ended."""
    row = db.execute("SELECT step, ended FROM standing WHERE run = ?", (run,)).fetchone()
    if row is None:
        raise runs.unknown(db, run)
    if row[1] is not None and what in _BEFORE_ACTS:
        raise runs.has_ended(runs.one(db, run))
    words, object = plain(words), plain(object)
    cursor = db.execute(
        "INSERT INTO events(run, at, what, step, text, object, memo, offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (run, stamp(at), what, step, words, object, dumped(memo), offset),
    )
    if what in _OF_STEPS and step >= 0 and step != row[0]:
        db.execute("UPDATE standing SET step = ? WHERE run = ?", (step, run))
    return RunEvent(cursor.lastrowid or 0, run, at, what, step, words, object, clean(memo), offset)


def fenced(db: sqlite3.Connection, run: str, attempt: int) -> None:
    """Raises Refused when another runner has taken the run up since attempt `attempt`: two must not act at once."""
    row = db.execute("SELECT attempts, runner_pid, runner_host FROM standing WHERE run = ?", (run,)).fetchone()
    if row is not None and row[0] != attempt:
        raise Refused(
            f"another runner took run {run} up",
            detail=f"process {row[1]} on {plain(str(row[2]))}: this one was not heard of for too long",
            hint=f"follow it: coldtui run follow {run}",
        )


def listed(db: sqlite3.Connection, run: str, after: int, limit: int) -> tuple[list[RunEvent], list[int]]:
    """(events, oldest first; numbers of those that cannot be read)."""
    rows = db.execute(
        "SELECT seq, at, what, step, text, object, memo, offset FROM events WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?",
        (plain(run), after, limit),
    )
    found, bad = [], []
    for seq, at, what, step, words, object, memo, offset in rows:
        try:
            found.append(
                RunEvent(
                    seq, run, when(at), What(what), number(step), text(words), text(object), loaded(memo, dict[str, Any]), number(offset)
                )
            )
        except UNREADABLE:
            bad.append(seq)
    return found, bad
