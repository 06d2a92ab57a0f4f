"""The connections to one journal: short transactions, one at a time in this process, retried once on the reserve; reads on a connection of
their own, so that none waits for a writer.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from ...domain.errors import JournalTrouble
from ...domain.runs import AuditEntry
from ...domain.text import plain
from ...ports import Clock
from . import audit, schema
from .files import FileLock, Place, identity
from .head import Head, HeadFile
from .opening import Opened, open_at, refuse_foreign
from .reserve import Reserve
from .troubles import is_damage, looks_full, trouble

T = TypeVar("T")
Act = Callable[[sqlite3.Connection], T]


class Store:
    """Raises JournalTrouble only, beside what an act raises itself."""

    def __init__(self, place: Place, clock: Clock, reserve: Reserve) -> None:
        self.place = place
        self._clock = clock
        self._reserve = reserve
        self._head = HeadFile(place.head)
        self._head_trouble = ""
        self._disputed = False
        """Whether audit and head file ever contradicted each other."""
        self._lock = threading.RLock()
        """For the writer, the file lock, and for opening again."""
        self._reading = threading.Lock()
        self._file_lock = FileLock(place.lock)
        self._open: Opened | None = None
        self._broken = False
        self._frugal = False
        """Whether the writer is set for life on the reserve."""
        self._closed = False
        self._times = 0
        """How often it was opened."""
        try:
            self._renew()
        except BaseException:
            self._file_lock.close()
            raise

    # --- which file

    def _renew(self) -> Opened:
        """Open the file that lies at the path now. The caller holds `_lock`, unless nobody else knows this yet."""
        try:
            os.makedirs(self.place.folder, mode=0o750, exist_ok=True)
            refuse_foreign(self.place)
            with self._file_lock.held(self.place.mode):
                found = self._open_file()
        except (sqlite3.Error, OSError) as error:
            raise trouble(error, self.place.path) from None
        with self._reading:
            before, self._open = self._open, found
            self._times += 1
            self._broken = self._frugal = False
            if before is not None:
                before.reader.close()
                before.writer.close()
        self._reserve.mend(self._clock.monotonic(), self.place.mode)
        return found

    def _open_file(self) -> Opened:
        """On a full disk there may be no room for the smaller files that SQLite needs."""
        try:
            return open_at(self.place, self._clock, doubted=self._broken)
        except (sqlite3.Error, OSError) as error:
            if not (looks_full(error, self.place.path) and self._reserve.release()):
                raise
        return open_at(self.place, self._clock, doubted=self._broken)

    def _current(self) -> Opened | None:
        """What is open, if it still lies at the path and nothing was wrong with it."""
        found = self._open
        try:
            same = found is not None and not self._broken and identity(self.place.path) == found.file
        except OSError as error:
            raise trouble(error, self.place.path) from None
        return found if same else None

    def opened(self) -> Opened:
        """As it is now: opened again when the file at the path is another one (set aside by another process), or was found broken."""
        if found := self._current():
            return found
        with self._lock:
            if self._closed:
                raise JournalTrouble("the journal is closed", hint="open it again")
            return self._current() or self._renew()

    def close(self) -> None:
        """Whoever uses it after this gets JournalTrouble."""
        with self._lock, self._reading:
            found, self._open, self._closed = self._open, None, True
            if found is not None:
                found.reader.close()
                found.writer.close()
            self._file_lock.close()

    @property
    def notice(self) -> str:
        """What an operator must know."""
        told = [self._open.notice if self._open is not None else "", self._head_trouble]
        if self._disputed:
            told.append("the audit does not fit its head file: coldtui audit verify")
        if self._reserve.spent:
            told.insert(0, "the disk is full: the journal lives on its reserve")
        return " · ".join(text for text in told if text)

    # --- writing

    def write(self, act: Act[T]) -> T:
        """Do `act` in one transaction; on disk when this returns. Keep it short: others wait."""
        with self._lock:
            db = self.opened().writer
            try:
                made = _committed(db, act)
            except (sqlite3.Error, OSError) as error:
                made = self._once_more(db, act, error)
            self._heed_reserve(db)
            return made

    def _heed_reserve(self, db: sqlite3.Connection) -> None:
        """On the reserve the write-ahead log is folded into the database often, so that it goes on in its own space instead of growing."""
        spent = self._reserve.spent
        if spent:
            self._reserve.mend(self._clock.monotonic(), self.place.mode)
        if spent != self._frugal:
            self._frugal = spent
            db.execute(f"PRAGMA wal_autocheckpoint={schema.FRUGAL_PAGES if spent else schema.WAL_PAGES}")

    def _once_more(self, db: sqlite3.Connection, act: Act[T], error: sqlite3.Error | OSError) -> T:
        """A full disk is what the reserve is for."""
        if not looks_full(error, self.place.path):
            raise self._told(error) from None
        self._reserve.release()
        try:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return _committed(db, act)
        except (sqlite3.Error, OSError) as again:
            raise self._told(again) from None

    def append(self, entry: AuditEntry, also: Act[None] | None = None) -> AuditEntry:
        """Append an entry to the audit and, in the same transaction, do `also`: all or nothing. Returns the entry as it is read back."""
        with self._lock:
            self.opened()
            with self._file_lock.held(self.place.mode):
                head = self._head.read()

                def whole(db: sqlite3.Connection) -> tuple[AuditEntry, tuple[str, ...]]:
                    if also is not None:
                        also(db)
                    return audit.append(db, self._head, head, entry, self.place.mode)

                try:
                    made, disputes = self.write(whole)
                except BaseException:
                    self._head.drop()
                    raise
                self._disputed = bool(disputes)
                self._publish_head()
                return made

    def _publish_head(self) -> None:
        """The entry stands; a head that stays behind is told, and the next one brings it up."""
        try:
            self._head.publish()
        except OSError as error:
            self._head_trouble = f"{plain(self.place.head)} is not written: {(error.strerror or str(error)).lower()}"
        else:
            self._head_trouble = ""

    # --- reading

    def read(self, act: Act[T]) -> T:
        """A short read."""
        self.opened()
        with self._reading:
            try:
                return act(self._reader())
            except sqlite3.Error as error:
                raise self._told(error) from None

    def _reader(self) -> sqlite3.Connection:
        if self._open is None:
            raise JournalTrouble("the journal is closed", hint="open it again")
        return self._open.reader

    def read_alone(self, act: Act[T], *, raw: bool = False) -> T:
        """A long read, on a connection of its own: nobody waits for it."""
        self.opened()
        try:
            with closing(schema.connect(self.place.path, raw=raw)) as db:
                return act(db)
        except sqlite3.Error as error:
            raise self._told(error) from None

    def read_with_head(self, act: Callable[[sqlite3.Connection, Head | str | None], T]) -> T:
        """As `read_alone`, in one snapshot, with the head file as it was at that moment. Texts are bytes."""

        def whole(db: sqlite3.Connection) -> T:
            with self._lock, self._file_lock.held(self.place.mode):
                db.execute("BEGIN")
                db.execute("SELECT count(*) FROM meta").fetchone()  # the first read takes the snapshot
                head = self._head.read()
            return act(db, head)

        return self.read_alone(whole, raw=True)

    def changed(self) -> int:
        """Another number when anybody has written, or when the file is another."""
        self.opened()
        with self._reading:
            try:
                row = self._reader().execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise self._told(error) from None
            return (self._times << 32) | int(row[0])

    def _told(self, error: sqlite3.Error | OSError) -> JournalTrouble:
        """As a trouble. A broken file is looked at again at the next call, which then sets it aside."""
        if is_damage(error):
            self._broken = True
        return trouble(error, self.place.path)


def _committed(db: sqlite3.Connection, act: Act[T]) -> T:
    """Everything of `act`, on disk, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        made = act(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite rolls back by itself when the disk is full
            db.execute("ROLLBACK")
        raise
    return made
