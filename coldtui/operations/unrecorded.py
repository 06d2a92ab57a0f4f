"""A journal in memory, for the one small act that must go on where the real one cannot be written.

Cordoning a node or cleaning a full disk must not wait for the room that a record needs. Everything that disrupts refuses instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..domain.errors import Locked, NotFound, Refused
from ..domain.runs import AuditEntry, Run, RunEvent, RunLine, RunState, Verified, What
from ..domain.text import plain
from ..ports import Clock, LogPart


class MemoryJournal:
    """`ports.Journal` for the runs of one process; gone with it. Its audit proves nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, Run] = {}
        self._events: list[RunEvent] = []
        self._lines: dict[str, list[RunLine]] = {}
        self._audit: list[AuditEntry] = []
        self._writes = 0

    path = ""
    id = "memory"
    notice = "nothing is recorded"

    def changed(self) -> int:
        return self._writes

    def begin(self, run: Run, entry: AuditEntry) -> None:
        for lock in run.locks:
            if (other := self.holder(lock)) is not None:
                raise Locked(f"{lock} is held by {other.title}", holder=other.id)
        self._runs[run.id] = run
        self.audit(entry)

    def run(self, id: str) -> Run:
        if id not in self._runs:
            raise NotFound(f"there is no run {plain(id)}", hint="the journal has no runs")
        return self._runs[id]

    def runs(self, *, active: bool | None = None, limit: int = 200) -> tuple[Run, ...]:
        found = [run for run in reversed(self._runs.values()) if active is None or run.active is active]
        return tuple(found[:limit])

    def holder(self, lock: str) -> Run | None:
        return next((run for run in self._runs.values() if run.active and lock in run.locks), None)

    def take_up(self, id: str, *, pid: int, host: str, steps: Sequence[str] = (), gone: int = 0) -> Run:
        run, now = self._under_way(id), self._clock.now()
        state = RunState.STOPPING if run.cancel_by else RunState.RUNNING
        return self._put(
            replace(run, attempts=run.attempts + 1, state=state, started=run.started or now, beat=now, runner_pid=pid, runner_host=host)
        )

    def set_state(
        self, id: str, state: RunState, *, outcome: str = "", steps: Sequence[str] | None = None, after_boot: str | None = None
    ) -> None:
        run = self._under_way(id)
        if not state.ended and run.cancel_by:
            state = RunState.STOPPING
        self._put(
            replace(
                run,
                state=state,
                outcome=plain(outcome),
                ended=self._clock.now() if state.ended else None,
                steps=run.steps if steps is None else tuple(steps),
                after_boot=run.after_boot if after_boot is None else after_boot,
            )
        )

    def beat(self, id: str) -> None:
        self._put(replace(self.run(id), beat=self._clock.now()))

    def ask_cancel(self, id: str, by: str) -> None:
        run = self._under_way(id)
        self._put(replace(run, cancel_by=run.cancel_by or by, cancel_at=run.cancel_at or self._clock.now(), state=RunState.STOPPING))

    def record(
        self, run: str, what: What, *, step: int = -1, text: str = "", object: str = "", memo: Mapping[str, Any] | None = None
    ) -> RunEvent:
        event = RunEvent(len(self._events) + 1, run, self._clock.now(), what, step, plain(text), plain(object), memo or {})
        self._events.append(event)
        if step >= 0:
            self._put(replace(self.run(run), step=step))
        return event

    def events(self, run: str, *, after: int = 0, limit: int = 10_000) -> tuple[RunEvent, ...]:
        return tuple(event for event in self._events if event.run == run and event.seq > after)[:limit]

    def write_log(self, run: str, lines: Sequence[RunLine]) -> None:
        self._lines.setdefault(run, []).extend(lines)

    def read_log(self, run: str, *, offset: int = 0, limit_b: int = 1 << 20) -> LogPart:
        """Offsets count lines here."""
        lines = self._lines.get(run, [])
        begin = max(0, len(lines) + offset) if offset < 0 else offset
        return LogPart(tuple(lines[begin:]), len(lines), len(lines))

    def log_path(self, run: str) -> str:
        return ""

    def audit(self, entry: AuditEntry) -> AuditEntry:
        made = replace(entry, seq=len(self._audit) + 1)
        self._audit.append(made)
        return made

    def audit_entries(self, *, after: int = 0, limit: int = 1_000_000, newest_first: bool = False) -> tuple[AuditEntry, ...]:
        found = [entry for entry in self._audit if entry.seq > after]
        return tuple((found[::-1] if newest_first else found)[:limit])

    def verify(self) -> Verified:
        return Verified(len(self._audit), "", (), ("anything: it is in memory only",))

    def close(self) -> None:
        return

    def _under_way(self, id: str) -> Run:
        run = self.run(id)
        if run.state.ended:
            raise Refused(f"run {run.id} has ended: {run.state}", detail=run.outcome)
        return run

    def _put(self, run: Run) -> Run:
        self._runs[run.id] = run
        self._writes += 1
        return run
