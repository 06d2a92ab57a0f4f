"""A desk for the toy on a real journal and real processes, and waiting for what a runner does."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.launch import ProcessLauncher
from coldtui.adapters.launch.scope import Scope
from coldtui.domain.runs import Run, RunEvent, RunSite, RunState, What, Who
from coldtui.domain.secret import Secret
from coldtui.lab.fakes import FakeKube
from coldtui.live.pace import SystemClock
from coldtui.operations.desk import Desk
from coldtui.operations.ends import all_events
from coldtui.operations.engine import AnyOperation, offline
from coldtui.operations.runner import Bench, Handle, execute
from coldtui.ports import Means, Self
from tests.operations.toys import TOYS

ROOT = Path(__file__).parents[2]
WHO = Who("anna", "root", "10.0.0.5", "k3s-master", "console")
ME = Self(WHO, "k3s-master", "boot-1")
DEADLINE_S = 20.0


def until(condition: Callable[[], Any], seconds: float = DEADLINE_S) -> Any:
    """Wait for a condition and return what it says; fails when it does not come true in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.01)
    return found


async def soon(condition: Callable[[], Any], seconds: float = DEADLINE_S) -> Any:
    """The same on a loop that has other things to do."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return found


async def keep_open(_: Means) -> None:
    return


@dataclass
class Stage:
    """A folder with a journal and a toy world; runs in this process or in processes of their own."""

    folder: Path
    kube: FakeKube = field(default_factory=FakeKube)
    environ: dict[str, str] = field(default_factory=dict)
    operations: Mapping[str, AnyOperation] = field(default_factory=lambda: TOYS)
    pid: int = field(default_factory=os.getpid)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.journal = self.another_journal()
        self.world = self.folder / "world"
        self.world.mkdir(exist_ok=True)

    def another_journal(self) -> SqliteJournal:
        """As another process would open it."""
        return open_journal(str(self.folder / "journal.db"), clock=SystemClock(), reserve_b=0)

    def means(self) -> Means:
        return Means(self.kube, offline(self.clock, ME).shell, self.clock, ME, under_way=lambda: self.journal.runs(active=True))

    async def opened(self) -> Means:
        return self.means()

    def bench(self, journal: SqliteJournal | None = None, **changes: Any) -> Bench:
        return Bench(journal or self.journal, self.opened, ME, self.pid, self.clock, self.operations, close=keep_open, **changes)

    def launcher(self, **environ: str) -> ProcessLauncher:
        """Starts the toy's program."""
        variables = {**os.environ, **self.environ, **environ}
        return ProcessLauncher(
            str(self.folder), lambda: self.journal, self.journal.path, argv=(sys.executable, "-m", "tests.operations.toys"), environ=variables,
            scope=Scope(booted=self.folder / "no-systemd"),
        )  # fmt: skip

    def desk(self, run_here: Callable[[Run], Awaitable[Run]] | None = None, **changes: Any) -> Desk:
        async def here(run: Run) -> Run:
            await execute(self.bench(), run.id, here=True)
            return self.journal.run(run.id)

        made = {
            "operations": self.operations, "means": self.opened, "journal": lambda: self.journal, "launcher": self.launcher(),
            "run_here": run_here or here, "who": WHO, "site": RunSite(server=self.kube.server, cluster_uid=self.kube.uid), "clock": self.clock,
        }  # fmt: skip
        return Desk(**{**made, **changes})

    async def begun(self, operation: str = "toy.paint", **values: Any) -> Run:
        """Confirmed and in the journal, without a runner."""
        desk = self.desk()
        given = {"world": str(self.world), **values} if operation == "toy.paint" else values
        run, entry = desk._record_of(await desk.prepare(operation, given), "why not")
        self.journal.begin(run, entry)
        return run

    async def execute(self, run: Run, handle: Handle | None = None, **changes: Any) -> int:
        return int(await execute(self.bench(**changes), run.id, handle))

    def start(self, run: Run, secrets: Mapping[str, Secret] | None = None, **environ: str) -> int:
        """Launch a process for it."""
        return self.launcher(**environ).launch(run, secrets=secrets or {})

    def now(self, run: Run) -> Run:
        return self.journal.run(run.id)

    def ended(self, run: Run) -> Run:
        """Wait for its end."""
        until(lambda: self.now(run).state.ended)
        return self.now(run)

    def events(self, run: Run, *what: What) -> tuple[RunEvent, ...]:
        return tuple(e for e in all_events(self.journal, run.id) if not what or e.what in what)

    def told(self, run: Run) -> list[str]:
        return [line.text for line in self.journal.read_log(run.id).lines]

    def age(self, run: Run) -> None:
        """Let the beat of its runner be old."""
        self.journal._store.write(lambda db: db.execute("UPDATE standing SET beat = '2020-01-01T00:00:00+00:00' WHERE run = ?", (run.id,)))

    def audit(self, what: str = "") -> list[str]:
        return [e.outcome for e in self.journal.audit_entries() if what in ("", e.what)]


def dead(pid: int) -> bool:
    """Whether the process is gone, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


__all__ = ["DEADLINE_S", "ME", "ROOT", "WHO", "RunState", "Stage", "dead", "keep_open", "soon", "until"]
