"""The journal in SQLite: runs, events, audit, and the output of runs in files beside it."""

from __future__ import annotations

from .journal import SqliteJournal, open_journal

__all__ = ["SqliteJournal", "open_journal"]
