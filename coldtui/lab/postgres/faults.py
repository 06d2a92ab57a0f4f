"""What can be wrong with the database of a lab, by the names that operators use. Options: ``instance=NAME``, ``bytes=N``, ``rate=N``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coldtui.domain.errors import ColdError, NotFound, UsageError
from coldtui.lab.client import DEPLOYMENTS, PG_CLUSTERS, PODS, Json
from coldtui.lab.controllers.base import Lab, matches
from coldtui.lab.seeds.postgres import OPERATOR, OPERATOR_NAMESPACE

if TYPE_CHECKING:
    from coldtui.lab.postgres.database import Database
    from coldtui.lab.postgres.load import Load

Options = Mapping[str, Any]
SETTLE_S = 20.0
"""For the servers to run and stream. Below the deadline of the control socket."""
SEGMENT_B = 16 << 20
LOAD_S = 1.0
"""How long a load runs before the primary under it is killed."""
ABOUT: dict[str, str] = {
    "pg-lagging": "a standby (instance=NAME) receives but does not replay; bytes=N of WAL are written meanwhile (16 MiB)",
    "pg-cut-off": "a standby (instance=NAME, instance=all) receives no WAL any more; bytes=N are written meanwhile (16 MiB)",
    "pg-standby-lost": "the server of a standby (instance=NAME) is killed and does not start again",
    "pg-primary-killed": "the primary is killed with -9 under load; its container comes back after its back-off, with stays=1 only at the end of the fault",
    "pg-split-brain": "a standby (instance=NAME) is promoted behind the operator's back",
    "pg-blocking": "three sessions: the second waits for the first, the third for the second",
    "pg-load": "a client writes through the VIP, rate=N rows a second (50); at its end it says what was lost",
    "archiver-failing": "no WAL segment can be archived",
    "switchover-ignored": "nobody acts when targetPrimary is changed",
    "operator-down": "the operator of CloudNativePG does not run",
}


@dataclass(slots=True)
class PgFaults:
    """Switches them."""

    lab: Lab
    database: Database | None
    """None: nothing real is behind the cluster; only `operator-down` can be had."""
    load: Load | None = None
    _tasks: dict[str, list[asyncio.Task[Any]]] = field(default_factory=dict)
    _chosen: dict[str, list[str]] = field(default_factory=dict)

    async def switch(self, name: str, on: bool, options: Options) -> str:
        """Returns in a sentence what is now. Raises ColdError."""
        if name == "operator-down":
            return await self._operator(on)
        if self.database is None:
            raise ColdError("this demo has no PostgreSQL servers", hint="start it without --no-postgres and without --scale")
        work: dict[str, Callable[[bool, Options], Awaitable[str]]] = {
            "pg-lagging": self._lagging, "pg-cut-off": self._cut_off, "pg-standby-lost": self._standby_lost, "pg-primary-killed": self._primary_killed,
            "pg-split-brain": self._split_brain, "pg-blocking": self._blocking, "pg-load": self._loaded, "archiver-failing": self._archiver,
            "switchover-ignored": self._ignored,
        }  # fmt: skip
        if on:
            await self._until(self._settled, "the servers do not all run")
        return await work[name](on, options)

    async def aclose(self) -> None:
        """End what runs."""
        for name in list(self._tasks):
            await self._end(name)

    # --- standbys

    async def _lagging(self, on: bool, options: Options) -> str:
        names = self._take("pg-lagging", on, options)
        for name in names:
            await self._sql(
                name,
                "SELECT pg_wal_replay_pause() WHERE pg_is_in_recovery()"
                if on
                else "SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery()",
            )
        if not on:
            return f"{_list(names)} replays again"
        written = await self._write_wal(_number(options, "bytes", SEGMENT_B))
        return f"{_list(names)} does not replay; {written} bytes of WAL were written since"

    async def _cut_off(self, on: bool, options: Options) -> str:
        names = self._take("pg-cut-off", on, options)
        assert self.database is not None
        managers = self.database.managers
        if not on:
            managers.orders.cut.difference_update(names)
            return f"{_list(names)} receives WAL again"
        managers.orders.cut.update(names)

        def gone() -> bool:
            return all(managers.by_name[name].receiver_cut for name in names)

        await self._until(gone, f"{_list(names)} still receives")
        written = await self._write_wal(_number(options, "bytes", SEGMENT_B))
        return f"{_list(names)} receives nothing; {written} bytes of WAL were written since"

    async def _standby_lost(self, on: bool, options: Options) -> str:
        names = self._take("pg-standby-lost", on, options)
        assert self.database is not None
        managers = self.database.managers
        for name in names:
            (managers.orders.lost.add if on else managers.orders.lost.discard)(name)
            if on:
                await asyncio.to_thread(self.database.servers[name].kill)
            managers.by_name[name].wake()
        return f"{_list(names)} is down and crashes at each start" if on else f"{_list(names)} starts again after its back-off"

    async def _split_brain(self, on: bool, options: Options) -> str:
        names = self._take("pg-split-brain", on, options)
        assert self.database is not None
        orders, servers = self.database.managers.orders, self.database.servers
        if not on:
            orders.rogue.difference_update(names)
            return f"{_list(names)} is made a standby again, by rewinding"
        orders.rogue.update(names)
        for name in names:  # an instance manager archives for the named primary only: the others must not find this timeline
            servers.fail_archiving(True, name)
            await asyncio.to_thread(self.database.servers[name].promote)
        return f"{_list(names)} was promoted: two instances say that they are primary"

    # --- primary

    async def _primary_killed(self, on: bool, options: Options) -> str:
        assert self.database is not None
        orders = self.database.managers.orders
        if not on:
            names = self._chosen.pop("pg-primary-killed", [])
            orders.lost.difference_update(names)
            return f"{_list(names)} may start again after its back-off" if names else "ended"
        if self.load is None:
            await self._loaded(True, {})
            await asyncio.sleep(LOAD_S)
        name = self.primary
        self._chosen["pg-primary-killed"] = [name]
        if str(options.get("stays", "")) in ("1", "true", "yes", "True"):
            orders.lost.add(name)
        await asyncio.to_thread(self.database.servers[name].kill)
        self.database.managers.by_name[name].wake()
        return f"{name} was killed; the lease of a dead primary is free {self.lab.pace.lease:.0f} s after its last renewal"

    async def _archiver(self, on: bool, options: Options) -> str:
        assert self.database is not None
        await asyncio.to_thread(self.database.servers.fail_archiving, on)
        await self._write_wal(1 << 16)
        await self._sql(self.primary, "SELECT pg_switch_wal()")
        return "WAL segments cannot be archived" if on else "WAL segments are archived again"

    # --- sessions

    async def _blocking(self, on: bool, options: Options) -> str:
        await self._end("pg-blocking")
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
        primary = self.primary

        async def chained() -> bool:
            rows = await self._sql(primary, query)
            return int(str(rows[0][0])) >= 2

        await self._until(chained, "the sessions do not wait for each other")
        return "web-checkout waits for report-nightly, which waits for billing-import, which is idle in its transaction"

    async def _session(
        self, application: str, rows: tuple[int, ...], ready: asyncio.Event, *, after: asyncio.Event | None = None, idle: bool = False
    ) -> None:
        """Lock rows of the orders one after the other, then keep the transaction open."""
        import psycopg

        assert self.database is not None
        if after is not None:
            await after.wait()
        server, password = self.database.servers[self.primary], self.database.servers.passwords.app
        dsn = server.dsn("app", "app", password, application)
        with contextlib.suppress(psycopg.Error):  # somebody has ended it, which is what it is for
            async with await psycopg.AsyncConnection.connect(dsn) as connection:
                for number, row in enumerate(rows):
                    if number == len(rows) - 1 and not idle:
                        ready.set()  # this one will not come back soon
                    await connection.execute("UPDATE orders SET note = note WHERE id = %s", (row,))
                ready.set()
                await asyncio.Event().wait()  # until the fault ends

    async def _loaded(self, on: bool, options: Options) -> str:
        from coldtui.lab.postgres.load import Load

        assert self.database is not None
        old = self.load
        await self._end("pg-load")
        self.load = None
        if not on:
            return await self._reckon(old)
        self.load = Load(self.database.app_dsn, self.database.servers.passwords.app, _number(options, "rate", 50))
        self._tasks["pg-load"] = [asyncio.create_task(self.load.work(), name="lab-load")]
        load = self.load
        await self._until(lambda: bool(load.acknowledged), "no row can be written through the VIP")
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

        assert self.database is not None
        try:
            lost = str(len(await load.missing(self.database.servers[self.primary].dsn("app"))))
        except psycopg.Error:
            lost = "an unknown number"
        gap = f", longest outage {max(load.gaps):.1f} s" if load.gaps else ""
        return f"{len(load.acknowledged)} rows were acknowledged, {lost} of them are lost{gap}"

    # --- operator

    async def _ignored(self, on: bool, options: Options) -> str:
        assert self.database is not None
        self.database.managers.orders.ignore_target = on
        return "a new targetPrimary is not acted on" if on else "a new targetPrimary is acted on"

    async def _operator(self, on: bool) -> str:
        await self.lab.client.patch(DEPLOYMENTS, "cnpg-controller-manager", {"spec": {"replicas": 0 if on else 1}}, OPERATOR_NAMESPACE)

        def settled() -> bool:
            pods = self.lab.informers.of(PODS).values()
            there = any(
                p["metadata"]["namespace"] == OPERATOR_NAMESPACE and matches({"matchLabels": OPERATOR}, p["metadata"].get("labels"))
                for p in pods
            )
            return there != on

        await self._until(settled, "the operator's pod is not gone" if on else "the operator's pod is not made")
        return "deployment cnpg-controller-manager has 0 replicas" if on else "deployment cnpg-controller-manager has 1 replica again"

    # --- means

    @property
    def status(self) -> Json:
        assert self.database is not None
        namespace, name = self.database.managers.cluster_key
        found = self.lab.informers.of(PG_CLUSTERS).get(name, namespace)
        return (found or {}).get("status") or {}

    @property
    def primary(self) -> str:
        return str(self.status.get("currentPrimary", ""))

    def _take(self, fault: str, on: bool, options: Options) -> list[str]:
        """The instances that are meant: those of ``instance=``, else the last standby; at the end those that it was switched on for."""
        assert self.database is not None
        wanted = str(options.get("instance", ""))
        if not on:
            return [wanted] if wanted and wanted != "all" else self._chosen.pop(fault, [])
        standbys = [name for name in self.database.servers if name != self.primary]
        names = standbys if wanted == "all" else [wanted] if wanted else standbys[-1:]
        for name in names:
            if name not in self.database.servers:
                raise NotFound(f"there is no instance {name}", hint="known: " + ", ".join(self.database.servers))
            if name == self.primary:
                raise UsageError(f"{name} is the primary", hint="this fault is of a standby: " + ", ".join(standbys))
        self._chosen[fault] = [*self._chosen.get(fault, []), *(n for n in names if n not in self._chosen.get(fault, []))]
        return names

    async def _sql(self, name: str, statement: str) -> list[tuple[object, ...]]:
        assert self.database is not None
        return await asyncio.to_thread(self.database.servers[name].sql, statement)

    async def _write_wal(self, amount: float) -> int:
        """So many bytes of WAL that change nothing; returns how many it became."""
        name = self.primary
        before = str((await self._sql(name, "SELECT pg_current_wal_insert_lsn()"))[0][0])
        left = int(amount)
        while left > 0:
            size = min(left, 4 << 20)
            await self._sql(name, f"SELECT pg_logical_emit_message(true, 'lab', repeat('x', {size}))")
            left -= size
        return int(str((await self._sql(name, f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')"))[0][0]))

    def _settled(self) -> bool:
        """Whoever shall run runs, and there is a primary that answers."""
        assert self.database is not None
        managers = self.database.managers
        lost = managers.orders.lost
        return bool(self.primary) and all(m.state.ready or m.name in lost or m.fenced for m in managers.by_name.values())

    async def _end(self, name: str) -> None:
        tasks = self._tasks.pop(name, [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until(self, holds: Callable[[], bool] | Callable[[], Awaitable[bool]], otherwise: str) -> None:
        try:
            async with asyncio.timeout(SETTLE_S):
                while True:
                    found = holds()
                    if (found if isinstance(found, bool) else await found) is True:
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ColdError(otherwise, detail=f"within {SETTLE_S:.0f} s") from None


def _number(options: Options, key: str, default: float) -> float:
    """Raises UsageError."""
    try:
        found = float(options.get(key, default))
    except (TypeError, ValueError):
        found = -1.0
    if found < 0:
        raise UsageError(f"{key}={options[key]} is no number", hint=f"write {key}={default:g}")
    return found


def _list(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
