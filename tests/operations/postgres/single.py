"""One real PostgreSQL server without a cluster around it: operations planned and performed on it by the engine's driver, with a real journal."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.plans import Finding, Plan
from coldtui.domain.runs import RunEvent, What
from coldtui.lab.fakes import FakeKube
from coldtui.live.pace import SystemClock
from coldtui.operations.catalogue import steps_of
from coldtui.operations.engine import AnyOperation, RunContext, left_behind, offline, perform
from coldtui.operations.params import make
from coldtui.ports import Means
from tests.adapters.postgres.servers import PASSWORD, Server, running, wheel
from tests.journals import a_run, an_entry
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME, soon

Line = psycopg.AsyncConnection[tuple[Any, ...]]


@contextmanager
def one_server() -> Iterator[Server]:
    """With a login `anna` beside ours, and a table of hers. In a folder of its own: pytest closes its root to the servers' user whenever a
    session of it begins."""
    with tempfile.TemporaryDirectory(prefix="coldtui-pg-") as folder, running(wheel(), Path(folder) / "server") as server:
        server.super(f"CREATE ROLE anna LOGIN PASSWORD '{PASSWORD}'")
        server.super("GRANT pg_monitor, pg_signal_backend TO coldtui")
        server.super("CREATE TABLE orders AS SELECT n AS id, repeat('x', 100) AS note FROM generate_series(1, 20000) n")
        server.super("ALTER TABLE orders OWNER TO anna")
        yield server


class Work:
    """One run on the server."""

    def __init__(self, operation: AnyOperation, plan: Plan, ctx: RunContext) -> None:
        self.operation, self.plan, self.ctx = operation, plan, ctx

    async def perform(self) -> None:
        await perform(self.plan, self.ctx, steps_of(self.operation))

    @property
    def events(self) -> tuple[RunEvent, ...]:
        return self.ctx.journal.events(self.ctx.run)

    def told(self, *what: What) -> list[str]:
        return [e.text for e in self.events if e.what in what and e.text]

    @property
    def log(self) -> list[str]:
        return [line.text for line in self.ctx.journal.read_log(self.ctx.run).lines]

    @property
    def left(self) -> str:
        return "; ".join(left_behind(self.plan, self.ctx, steps_of(self.operation)))


class Single:
    def __init__(self, server: Server, means: Means, journal: SqliteJournal) -> None:
        self.server, self.means, self.journal = server, means, journal
        self._runs = 0

    async def plan(self, operation: AnyOperation, **values: Any) -> Plan:
        params = make(operation.params, values)
        return operation.plan(await operation.gather(params, self.means, 10.0), params, self.means.clock.now())

    async def work(self, operation: AnyOperation, **values: Any) -> Work:
        """Planned and confirmed, not begun."""
        plan = await self.plan(operation, **values)
        assert not plan.blocked, plan.blocked
        return self.confirmed(operation, plan, values)

    def confirmed(self, operation: AnyOperation, plan: Plan, values: Mapping[str, Any]) -> Work:
        self._runs += 1
        run = replace(a_run(f"20261124-150210-{self._runs:04x}"), steps=tuple(s.title for s in plan.steps), locks=())
        self.journal.begin(run, an_entry(run))
        deadline = self.means.clock.now() + timedelta(seconds=30)
        return Work(operation, plan, RunContext(run.id, make(operation.params, values), self.means, self.journal, deadline=deadline))

    @asynccontextmanager
    async def client(self, user: str = "anna", application: str = "app") -> AsyncIterator[Line]:
        """A session of somebody else's."""
        line = await psycopg.AsyncConnection.connect(
            f"host=127.0.0.1 port={self.server.port} user={user} password={PASSWORD} dbname=postgres application_name={application}",
            autocommit=True,
        )
        try:
            yield line
        finally:
            line.pgconn.finish()

    async def until(self, statement: str) -> None:
        """A query that says true once it is so, asked as the superuser."""

        async def so() -> bool:
            return bool((await asyncio.to_thread(self.server.super, statement))[0][0])

        end = asyncio.get_running_loop().time() + 20
        while not await so():
            assert asyncio.get_running_loop().time() < end, statement
            await asyncio.sleep(0.02)

    async def until_active(self, pid: int, sign: str) -> None:
        await self.until(f"SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active' AND query LIKE '%{sign}%'")


@asynccontextmanager
async def on(server: Server, folder: Path, *, writable: bool = True) -> AsyncIterator[Single]:
    database = server.adapter(writable=writable)
    clock = SystemClock()
    means = Means(FakeKube(), offline(clock, ME).shell, clock, ME, database=database)
    try:
        with journal_in(folder) as journal:
            yield Single(server, means, journal)
    finally:
        await database.aclose()


def finding(plan: Plan, code: str) -> Finding:
    (found,) = [f for f in plan.findings if f.code == code]
    return found


def codes(plan: Plan) -> set[str]:
    return {f.code for f in plan.findings}


__all__ = ["Line", "Single", "Work", "codes", "finding", "on", "one_server", "soon"]
