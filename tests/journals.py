"""Runs in a real journal, for the tests of everything that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.domain.runs import AuditEntry, Run, RunLine, RunSite, RunState, What, Who

NOW = datetime(2026, 11, 24, 14, 2, 10, tzinfo=UTC)
ANNA = Who("anna", "anna", "10.0.0.5", "k3s-master", "console")
STEPS = ("Cordon k3s-worker-1", "Evict 2 pods", "Verify that they are gone")
PLAN = {
    "operation": "node.drain", "object": "nodes/k3s-worker-1", "outlook": "go after", "rung": 2,
    "findings": [["drain.budget", "budgets/production/redis", 2, "budget redis allows 1 of 3"], ["drain.quorum", "", 0, "quorum holds"]],
    "items": [["pods/production/redis-0", "goes", ""], ["pods/production/redis-1", "waits", "for redis-0"], ["pods/kube-system/agent", "stays", "DaemonSet"]],
    "steps": [["node.cordon", STEPS[0], {}], ["node.evict", STEPS[1], {}], ["node.gone", STEPS[2], {}]], "locks": ["site"],
    "title": "Drain k3s-worker-1", "verb": "drain", "confirm": "k3s-worker-1", "remedies": ["wait", ""], "outlooks": ["go after", "go"],
    "more": [["", []], ["", []], ["", []]], "notes": ["", "accepted evictions cannot be recalled", ""],
    "premises": [{"name": "pods of k3s-worker-1", "as_of": "2026-11-24T14:02:09+00:00", "reason": ""}], "blocked": "", "needs_reason": False,
    "took_s": 0.4, "done": "",
}  # fmt: skip


class Wall:
    """A clock that stands until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - NOW).total_seconds()

    def pass_(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def a_run(id: str = "20261124-140210-7f3a", **changes: Any) -> Run:
    """A drain that was confirmed just now."""
    run = Run(
        id, "node.drain", "Drain k3s-worker-1", "nodes/k3s-worker-1", {"node": "k3s-worker-1", "grace": 30}, PLAN, "9f" * 32, 2, "kernel update",
        ANNA, RunSite(), NOW, ("site",), steps=STEPS,
    )  # fmt: skip
    return replace(run, **changes)


def an_entry(run: Run, what: str = "confirmed", **changes: Any) -> AuditEntry:
    entry = AuditEntry(
        0, run.created, what, run.who, run.operation, run.object, run.params, run.digest, run.reason, (("pods of k3s-worker-1", "0.4 s"),), "", run.id,
        "cold-site",
    )  # fmt: skip
    return replace(entry, **changes)


def a_journal(folder: Path, clock: Wall | None = None) -> SqliteJournal:
    return open_journal(str(folder / "journal.db"), clock=clock or Wall(), reserve_b=0)


def begin(journal: SqliteJournal, run: Run | None = None) -> Run:
    """Confirmed, with its audit entry."""
    run = run or a_run()
    journal.begin(run, an_entry(run))
    return run


def under_way(journal: SqliteJournal, run: Run | None = None, *, pid: int = 4711, host: str = "k3s-master") -> Run:
    """In its second step, one pod gone."""
    run = begin(journal, run)
    journal.take_up(run.id, pid=pid, host=host, steps=run.steps)
    journal.record(run.id, What.RUNNER, text="process 4711 on k3s-master took it up")
    journal.record(run.id, What.STARTED, step=0, text=run.steps[0])
    journal.record(run.id, What.FINISHED, step=0, text=run.steps[0])
    journal.record(run.id, What.STARTED, step=1, text=run.steps[1])
    journal.record(run.id, What.ITEM, step=1, object="pods/production/redis-0", text="evicted, stops")
    write(journal, run, "pods/production/redis-0: evicted, stops")
    return journal.run(run.id)


def end(journal: SqliteJournal, run: Run, state: RunState = RunState.DONE, outcome: str = "k3s-worker-1 is drained") -> Run:
    for step in range(max(0, journal.run(run.id).step), len(run.steps)):
        if state is RunState.DONE:
            journal.record(run.id, What.STARTED, step=step, text=run.steps[step])
            journal.record(run.id, What.FINISHED, step=step, text=run.steps[step])
    journal.record(run.id, What.ENDED, text=outcome)
    journal.set_state(run.id, state, outcome=outcome)
    journal.audit(an_entry(run, "ended", outcome=f"{state}: {outcome}"))
    return journal.run(run.id)


def write(journal: SqliteJournal, run: Run, *texts: str, stream: str = "say", at: datetime = NOW) -> None:
    journal.write_log(run.id, lines(*texts, stream=stream, at=at))


def lines(*texts: str, stream: str = "out", step: int = 1, at: datetime = NOW) -> Sequence[RunLine]:
    return [RunLine(at, step, stream, text) for text in texts]
