"""The journal as its port has it. Its parts: `store` (connections, transactions), `runs`, `events`, `audit`, `verify`, `output`."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ...domain.runs import AuditEntry, Run, RunEvent, RunLine, RunState, Verified, What
from ...domain.text import plain
from ...ports import Clock, LogPart
from . import audit, events, runs
from .files import Place
from .output import Output
from .reserve import Reserve
from .store import Store
from .verify import check

RESERVE_B = 4 << 20
LOG_CAP_B = 16 << 20


class SqliteJournal:
    """See `ports.Journal`. Opens at once; raises JournalTrouble. May be used by several threads.

    A journal that took a run up is its runner: once another has taken the run up, its beats and records for that run are Refused.
    """

    def __init__(self, path: str, *, clock: Clock, reserve_b: int = RESERVE_B, log_cap_b: int = LOG_CAP_B) -> None:
        self._place = Place(os.path.abspath(path))
        self._clock = clock
        self._store = Store(self._place, clock, Reserve(self._place.reserve, reserve_b))
        self._output = Output(self._place.runs, log_cap_b)
        self._writing_log = threading.Lock()
        self._attempts: dict[str, int] = {}
        """Runs that were taken up through this journal, and at which attempt."""
        self._unreadable: set[tuple[str, Any]] = set()

    @property
    def path(self) -> str:
        return self._place.path

    @property
    def id(self) -> str:
        return self._store.opened().id

    @property
    def notice(self) -> str:
        told = [self._store.notice]
        for one, many in (("run", "runs"), ("event", "events"), ("audit entry", "audit entries")):
            told.append(runs.skipped(sum(1 for kind, _ in self._unreadable if kind == one), one, many))
        return " · ".join(text for text in told if text)

    def changed(self) -> int:
        return self._store.changed()

    def close(self) -> None:
        self._store.close()

    # --- runs

    def begin(self, run: Run, entry: AuditEntry) -> None:
        self._store.append(entry, lambda db: runs.insert(db, run))

    def run(self, id: str) -> Run:
        return self._store.read(lambda db: runs.find(db, id))

    def runs(self, *, active: bool | None = None, limit: int = 200) -> tuple[Run, ...]:
        found, bad = self._store.read(lambda db: runs.listed(db, active, limit))
        self._unreadable |= {("run", id) for id in bad}
        return tuple(found)

    def holder(self, lock: str) -> Run | None:
        return self._store.read(lambda db: runs.holder(db, lock))

    def take_up(self, id: str, *, pid: int, host: str, steps: Sequence[str] = (), gone: int = 0) -> Run:
        now = self._clock.now()
        run = self._store.write(lambda db: runs.take_up(db, id, pid, host, steps, now, gone))
        self._attempts[run.id] = run.attempts
        return run

    def set_state(
        self, id: str, state: RunState, *, outcome: str = "", steps: Sequence[str] | None = None, after_boot: str | None = None
    ) -> None:
        now = self._clock.now()

        def act(db: Any) -> None:
            self._fence(db, id)
            runs.set_state(db, id, state, outcome, steps, after_boot, now)

        self._store.write(act)

    def beat(self, id: str) -> None:
        now = self._clock.now()

        def act(db: Any) -> None:
            self._fence(db, id)
            runs.beat(db, id, now)

        self._store.write(act)

    def ask_cancel(self, id: str, by: str) -> None:
        now = self._clock.now()
        self._store.write(lambda db: runs.ask_cancel(db, id, by, now))

    def _fence(self, db: Any, id: str) -> None:
        attempt = self._attempts.get(id)
        if attempt is not None:
            events.fenced(db, id, attempt)

    # --- events

    def record(
        self,
        run: str,
        what: What,
        *,
        step: int = -1,
        text: str = "",
        object: str = "",
        memo: Mapping[str, Any] | None = None,
    ) -> RunEvent:
        now, offset = self._clock.now(), self._output.size(run)

        def act(db: Any) -> RunEvent:
            self._fence(db, run)
            return events.insert(db, plain(run), what, step, text, object, memo or {}, offset, now)

        return self._store.write(act)

    def events(self, run: str, *, after: int = 0, limit: int = 10_000) -> tuple[RunEvent, ...]:
        found, bad = self._store.read(lambda db: events.listed(db, run, after, limit))
        self._unreadable |= {("event", seq) for seq in bad}
        return tuple(found)

    # --- output

    def write_log(self, run: str, lines: Sequence[RunLine]) -> None:
        with self._writing_log:
            self._output.write(run, lines, self._place.mode, self._clock.now())

    def read_log(self, run: str, *, offset: int = 0, limit_b: int = 1 << 20) -> LogPart:
        return self._output.read(run, offset, limit_b)

    def log_path(self, run: str) -> str:
        return self._output.path(run)

    # --- audit

    def audit(self, entry: AuditEntry) -> AuditEntry:
        return self._store.append(entry)

    def audit_entries(self, *, after: int = 0, limit: int = 1_000_000, newest_first: bool = False) -> tuple[AuditEntry, ...]:
        found, bad = self._store.read_alone(lambda db: audit.entries(db, after, limit, newest_first))
        self._unreadable |= {("audit entry", seq) for seq in bad}
        return tuple(found)

    def verify(self) -> Verified:
        return self._store.read_with_head(check)


def open_journal(path: str, *, clock: Clock, reserve_b: int = RESERVE_B, log_cap_b: int = LOG_CAP_B) -> SqliteJournal:
    """The journal at `path`, made if there is none. Raises JournalTrouble: one clear line with the remedy."""
    return SqliteJournal(path, clock=clock, reserve_b=reserve_b, log_cap_b=log_cap_b)
