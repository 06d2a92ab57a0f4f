"""The tables of the journal and how they are opened.

What cannot change of a run is in `runs`, what changes in `standing`: a heartbeat must not rewrite the plan. The audit is one column of
canonical JSON, over which its hash goes.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from urllib.parse import quote

VERSION = 1
APPLICATION = 0x436F6C64
"""`Cold`: tells our files from other SQLite files."""
BUSY_S = 5.0
WAL_PAGES, FRUGAL_PAGES = 1000, 8
"""Size of the write-ahead log, in pages of 4 kB, at which it is folded into the database; the second while there is no room."""

TABLES: tuple[str, ...] = ("meta", "runs", "standing", "locks", "events", "audit")
GUARDS: dict[str, str] = {
    # INSERT OR REPLACE deletes without the delete trigger, so that only the next number may be inserted
    "audit_is_appended": "CREATE TRIGGER audit_is_appended BEFORE INSERT ON audit"
    " WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)"
    " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    "audit_is_not_edited": "CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit"
    " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    "audit_is_not_deleted": "CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit"
    " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
}
"""Against a slip of the hand; `verify` looks whether they are there as they were made."""

STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE runs(
        id TEXT PRIMARY KEY, created TEXT NOT NULL, operation TEXT NOT NULL, title TEXT NOT NULL, object TEXT NOT NULL,
        params TEXT NOT NULL, plan TEXT NOT NULL, digest TEXT NOT NULL, rung INTEGER NOT NULL, reason TEXT NOT NULL,
        who TEXT NOT NULL, site TEXT NOT NULL, locks TEXT NOT NULL)""",
    "CREATE INDEX runs_by_time ON runs(created, id)",
    """CREATE TABLE standing(
        run TEXT PRIMARY KEY REFERENCES runs(id), state TEXT NOT NULL, started TEXT, ended TEXT, outcome TEXT NOT NULL DEFAULT '',
        step INTEGER NOT NULL DEFAULT -1, steps TEXT NOT NULL, runner_pid INTEGER NOT NULL DEFAULT 0,
        runner_host TEXT NOT NULL DEFAULT '', beat TEXT, cancel_by TEXT NOT NULL DEFAULT '', cancel_at TEXT,
        after_boot TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX standing_active ON standing(run) WHERE ended IS NULL",
    "CREATE TABLE locks(name TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), since TEXT NOT NULL)",
    "CREATE INDEX locks_by_run ON locks(run)",
    """CREATE TABLE events(
        seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs(id), at TEXT NOT NULL, what TEXT NOT NULL,
        step INTEGER NOT NULL, text TEXT NOT NULL, object TEXT NOT NULL, memo TEXT NOT NULL, offset INTEGER NOT NULL)""",
    "CREATE INDEX events_by_run ON events(run, seq)",
    "CREATE TABLE audit(seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL)",
    *GUARDS.values(),
    f"PRAGMA application_id={APPLICATION}",
    f"PRAGMA user_version={VERSION}",
)

_as_text = partial(str, encoding="utf-8", errors="replace")


def connect(path: str, *, writes: bool = True, raw: bool = False) -> sqlite3.Connection:
    """A connection to a file that is there. `raw`: texts as bytes. Raises sqlite3.Error.

    The file is never opened by any other means: closing a second descriptor would drop the locks that SQLite holds on the first.
    """
    db = sqlite3.connect(
        f"file:{quote(path)}?mode={'rw' if writes else 'ro'}", uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False
    )
    db.text_factory = bytes if raw else _as_text  # another user may have written what is no UTF-8
    try:
        db.execute("PRAGMA synchronous=FULL")  # an event that was told as written outlives a loss of power: a reboot is one of our acts
        db.execute("PRAGMA foreign_keys=ON")
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA cell_size_check=ON")
    except sqlite3.Error:
        db.close()
        raise
    return db


def make(db: sqlite3.Connection, journal_id: str, made: str) -> None:
    """The tables, inside the caller's transaction."""
    for statement in STATEMENTS:
        db.execute(statement)
    set_meta(db, "id", journal_id)
    set_meta(db, "made", made)


def meta(db: sqlite3.Connection, key: str) -> str:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row else ""


def set_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value))
