"""The journal: what an event costs before its act may begin, and how long its listings and the check of the audit take when it is large."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.table import Report
from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.journal import runs as run_rows
from coldtui.adapters.journal.audit import body_of, hash_of
from coldtui.adapters.journal.files import Place
from coldtui.adapters.journal.head import Head, HeadFile
from coldtui.adapters.journal.schema import meta
from coldtui.domain.runs import AuditEntry, Run, RunLine, RunSite, What, Who

ENTRIES, RUNS = 100_000, 5_000
WHO = Who("ann", "root", "10.1.2.3", "k3s-master", "console")


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def journal(report: Report, root: Path, quick: bool) -> None:
    """On the disk of this machine, synchronously."""
    report.part("the journal")
    entries, runs = (10_000, 500) if quick else (ENTRIES, RUNS)
    path = root / "journal.db"
    with closing(open_journal(str(path), clock=_Clock())) as opened:
        _events(report, opened, 300 if quick else 2000)
    large = root / "large" / "journal.db"
    with closing(open_journal(str(large), clock=_Clock())) as opened:
        fill(opened, large, entries, runs)
    again = []
    for _ in range(5):
        begun = time.perf_counter()
        open_journal(str(large), clock=_Clock()).close()
        again.append(1000 * (time.perf_counter() - begun))
    with closing(open_journal(str(large), clock=_Clock())) as opened:
        report.add(f"open one of {large.stat().st_size / 1e6:.0f} MB", again, "ms", 50)
        report.add(f"200 runs of {runs:,}", _times(5, lambda: opened.runs(limit=200)), "ms", 50)
        report.add(f"list {entries:,} audit entries", [t / 1000 for t in _times(3, opened.audit_entries)], "s", 1)
        report.add(f"verify {entries:,} audit entries", [t / 1000 for t in _times(3, opened.verify)], "s", 5)


def _times(n: int, act: Callable[[], object]) -> list[float]:
    """Milliseconds of each of `n` calls."""
    found = []
    for _ in range(n):
        begun = time.perf_counter()
        act()
        found.append(1000 * (time.perf_counter() - begun))
    return found


def _events(report: Report, opened: SqliteJournal, n: int) -> None:
    run = _run("run-1", datetime.now(UTC))
    opened.begin(run, _entry(run))
    opened.take_up(run.id, pid=1, host="k3s-master")
    events = _times(n, lambda: opened.record(run.id, What.MEMO, step=0, text="x" * 300, memo={"uid": "a" * 36}))
    report.add("an event on disk, median", events, "ms", 1)
    report.add("an event on disk, p95", sorted(events)[int(0.95 * n)], "ms")
    report.add("an audit entry and its head on disk", _times(n // 4, lambda: opened.audit(_entry(run))), "ms")
    report.add("whether anything changed", [1000 * t for t in _times(n, opened.changed)], "µs", 50)
    batch = [RunLine(datetime.now(UTC), 0, "out", "evicting pod production/redis-0 " + "x" * 60)] * 500
    wrote = _times(n // 20, lambda: opened.write_log(run.id, batch))
    report.add("500 lines of output", wrote, "ms", 100)


def fill(opened: SqliteJournal, path: Path, entries: int, runs: int) -> None:
    """In one transaction each: made one by one it would take minutes."""
    now = datetime.now(UTC) - timedelta(days=100)
    template = _entry(_run("run", now))

    def audit(db: sqlite3.Connection) -> Head:
        prev = ""
        for seq in range(1, entries + 1):
            body = body_of(replace(template, seq=seq, prev=prev, at=now + timedelta(seconds=seq)))
            prev = hash_of(body)
            db.execute("INSERT INTO audit VALUES (?, ?, ?)", (seq, body, prev))
        return Head(meta(db, "id"), entries, prev, now.isoformat())

    file = HeadFile(Place(str(path)).head)
    file.ready(opened._store.write(audit), 0o640)
    file.publish()
    made = [_run(f"20260816-{n:06}-0000", now + timedelta(seconds=n)) for n in range(runs)]

    def begin(db: sqlite3.Connection) -> None:
        for run in made:
            run_rows.insert(db, run)

    opened._store.write(begin)


def _run(id: str, created: datetime) -> Run:
    """A drain of 65 pods: its plan is what makes a run large."""
    items = [[f"pods/production/redis-{n}", "waits", "budget redis allows 0 of 3 → 1 after redis-1"] for n in range(65)]
    plan: dict[str, Any] = {"outlook": "go after", "findings": [["drain.budget", "pdb/production/redis", 2, "x" * 80]] * 10, "items": items}
    return Run(
        id, "node.drain", "Drain k3s-worker-1", "nodes/k3s-worker-1", {"node": "k3s-worker-1", "grace": 30}, plan, "ab" * 32, 2,
        "kernel update", WHO, RunSite(context="cold"), created, (), steps=("Cordon", "Evict", "Verify"),
    )  # fmt: skip


def _entry(run: Run) -> AuditEntry:
    premises = tuple((f"{what} of k3s-worker-1", "0.4 s") for what in ("pods", "budgets", "volumes"))
    return AuditEntry(
        0,
        run.created,
        "confirmed",
        run.who,
        run.operation,
        run.object,
        run.params,
        run.digest,
        run.reason,
        premises,
        "",
        run.id,
        "cold-site",
    )
