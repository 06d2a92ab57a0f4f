"""What sessions can do to the database: block each other, and write."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coldtui.lab.postgres.means import Means, Options, Switch, number, until

if TYPE_CHECKING:
    from coldtui.lab.postgres.load import Load

LOAD_S = 1.0
"""How long a load runs before the primary under it is killed."""
ABOUT: dict[str, str] = {
    "pg-blocking": "three sessions: the second waits for the first, the third for the second",
    "pg-load": "a client writes through the VIP, rate=N rows a second (50); at its end it says what was lost",
}


@dataclass(slots=True)
class SessionFaults:
    """They run in our own event loop."""

    means: Means
    load: Load | None = None
    _tasks: dict[str, list[asyncio.Task[Any]]] = field(default_factory=dict)

    def all(self) -> dict[str, Switch]:
        return {"pg-blocking": self._blocking, "pg-load": self.loaded}

    async def aclose(self) -> None:
        """End what runs."""
        for name in list(self._tasks):
            await self.end(name)

    async def end(self, name: str) -> None:
        tasks = self._tasks.pop(name, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def write(self) -> None:
        """Have a client write, if none does."""
        if self.load is None:
            await self.loaded(True, {})
            await asyncio.sleep(LOAD_S)

    async def _blocking(self, on: bool, options: Options) -> str:
        await self.end("pg-blocking")
        if not on:
            return "the three sessions have ended"
        held = asyncio.Event()
        waiting = asyncio.Event()
        self._tasks["pg-blocking"] = [
            asyncio.create_task(self._session("billing-import", (1,), held, idle=True)),
            asyncio.create_task(self._session("report-nightly", (2, 1), waiting, after=held)),
            asyncio.create_task(self._session("web-checkout", (2,), asyncio.Event(), after=waiting)),
        ]
        query = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        primary = self.means.primary

        async def chained() -> bool:
            rows = await self.means.sql(primary, query)
            return int(str(rows[0][0])) >= 2

        await until(chained, "the sessions do not wait for each other")
        return "web-checkout waits for report-nightly, which waits for billing-import, which is idle in its transaction"

    async def _session(
        self, application: str, rows: tuple[int, ...], ready: asyncio.Event, *, after: asyncio.Event | None = None, idle: bool = False
    ) -> None:
        """Lock rows of the orders one after the other, then keep the transaction open."""
        import psycopg

        if after is not None:
            await after.wait()
        server, password = self.means.database.servers[self.means.primary], self.means.database.servers.passwords.app
        dsn = server.dsn("app", "app", password, application)
        with contextlib.suppress(psycopg.Error):  # somebody has ended it, which is what it is for
            async with await psycopg.AsyncConnection.connect(dsn) as connection:
                for number, row in enumerate(rows):
                    if number == len(rows) - 1 and not idle:
                        ready.set()  # this one will not come back soon
                    await connection.execute("UPDATE orders SET note = note WHERE id = %s", (row,))
                ready.set()
                await asyncio.Event().wait()  # until the fault ends

    async def loaded(self, on: bool, options: Options) -> str:
        from coldtui.lab.postgres.load import Load

        old = self.load
        await self.end("pg-load")
        self.load = None
        if not on:
            return await self._reckon(old)
        self.load = Load(self.means.database.app_dsn, self.means.database.servers.passwords.app, number(options, "rate", 50))
        self._tasks["pg-load"] = [asyncio.create_task(self.load.work(), name="lab-load")]
        load = self.load
        await until(lambda: bool(load.acknowledged), "no row can be written through the VIP")
        return (
            f"about {load.per_s:g} rows a second are written through the VIP"
            if load.per_s
            else "rows are written through the VIP as fast as it goes"
        )

    async def _reckon(self, load: Load | None) -> str:
        """What became of the rows."""
        if load is None:
            return "nothing is written"
        import psycopg

        try:
            lost = str(len(await load.missing(self.means.database.servers[self.means.primary].dsn("app"))))
        except psycopg.Error:
            lost = "an unknown number"
        gap = f", longest outage {max(load.gaps):.1f} s" if load.gaps else ""
        return f"{len(load.acknowledged)} rows were acknowledged, {lost} of them are lost{gap}"
