"""The servers of the database: each asked on its own, more often while somebody looks, and never without a cluster."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from coldtui.domain.errors import Unauthorized, Unreachable
from coldtui.domain.nodes import NodeStats
from coldtui.domain.problems import problems
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import Archiver, ManagerStatus, PrimaryLease, SqlStatus
from coldtui.domain.sessions import DatabaseFacts, Progress, Session, TableFacts
from coldtui.domain.troubles import LineTrouble
from coldtui.domain.world import DATABASE, NOT_SHOWN, SESSIONS, SIZES, World
from coldtui.lab.fakes import FakeKube
from coldtui.live import Live
from coldtui.live.database import VIP, DatabaseSource
from coldtui.live.pace import Pace
from coldtui.live.pghistory import PgHistory
from coldtui.ports import Database
from tests.sample import NOW, build, cluster, decode, healthy, instance_pod

from .things import FAST, a_node

KINDS = ("pg_clusters", "pods", "services", "pg_poolers", "nodes", "leases", "endpointslices")


def server(primary: bool, timeline: int = 7, **more: Any) -> SqlStatus:
    place: dict[str, Any] = {"current": 500} if primary else {"received": 400, "replayed": 300}
    found = {"started": datetime(2026, 1, 1, tzinfo=UTC), **place, **more}
    return SqlStatus(not primary, "7412", timeline, "18.6", **found)


class Servers:
    """A `ports.Database` of answers; a server that hangs never answers."""

    def __init__(self) -> None:
        self.answers: dict[str, SqlStatus | Exception | None] = {
            "postgres-1": server(True),
            "postgres-2": server(False),
            "postgres-3": server(False),
            VIP: server(True),
        }
        self.places: dict[str, tuple[str, int]] = {}
        self.asked: list[tuple[str, str]] = []
        self.closed = False
        self.anew: set[str] = set()

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.places)

    def at(self, target: str, host: str, port: int) -> None:
        self.places[target] = (host, port)

    async def status(self, target: str, *, deadline_s: float = 2.0, anew: bool = False) -> SqlStatus:
        self.asked.append(("status", target))
        self.anew.update({target} if anew else ())
        found = self.answers[target]
        if found is None:
            await asyncio.Event().wait()
        if isinstance(found, Exception):
            raise found
        assert found is not None
        return found

    async def sessions(self, target: str, *, deadline_s: float = 2.0) -> tuple[Session, ...]:
        self.asked.append(("sessions", target))
        return (Session(7, NOW, "app", "app", "", "", "active"),)

    async def progress(self, target: str, *, deadline_s: float = 2.0) -> tuple[Progress, ...]:
        return ()

    async def databases(self, target: str, *, deadline_s: float = 5.0) -> tuple[DatabaseFacts, ...]:
        return (DatabaseFacts("app", 1 << 20, 100),)

    async def tables(self, target: str, database: str, *, most: int = 200, deadline_s: float = 5.0) -> tuple[TableFacts, ...]:
        return (TableFacts(database, "public", "orders", 9, 3, None),)

    async def aclose(self) -> None:
        self.closed = True

    def count(self, what: str, target: str) -> int:
        return self.asked.count((what, target))


def site() -> FakeKube:
    pods = [instance_pod(f"postgres-{n}", f"k3s-worker-{n}", "primary" if n == 1 else "replica") for n in (1, 2, 3)]
    kube = FakeKube({"pg_clusters": [decode("pg_clusters", cluster())], "pods": [decode("pods", pod) for pod in pods]})
    for n in (1, 2, 3):
        primary = n == 1
        told = ManagerStatus(f"postgres-{n}", primary, "7412", 7 if primary else None, 500 if primary else None)
        kube.managers[f"cold/postgres-{n}"] = told
    return kube


@asynccontextmanager
async def looking(
    kube: FakeKube, servers: Servers, *, named: bool = False, connects: list[int] | None = None, pace: Pace = FAST
) -> AsyncIterator[Live]:
    def connect() -> Database:
        if connects is not None:
            connects.append(1)
        return cast(Database, servers)

    live = Live(lambda: kube, pace=pace, database=DatabaseSource(connect, named=named))
    await live.start((*KINDS, DATABASE))
    try:
        yield live
    finally:
        await live.close()


def known(world: World, *names: str) -> bool:
    return all(isinstance(world.pg_sql.get(name), Known) for name in names)


def test_everyone_is_asked_by_both_ways() -> None:
    """SQL at the pods' addresses and /pg/status, each with its source; who is primary is kept with its position."""

    async def scene() -> None:
        servers = Servers()
        async with looking(site(), servers) as live:
            world = await live.until(lambda w: known(w, "postgres-1", "postgres-2", "postgres-3") and len(w.pg_managers) == 3, 5)
            assert servers.places["postgres-1"] == ("10.42.1.7", 5432)
            assert all(isinstance(r, Known) and r.source == "manager" for r in world.pg_managers.values())
            assert {(k, c.lsn, c.ended) for k, c in world.pg_claims.items()} == {
                ("sql/postgres-1", 500, False),
                ("manager/postgres-1", 500, False),
            }
        assert servers.closed

    asyncio.run(scene())


def test_without_a_cluster_nothing_is_opened() -> None:
    """No cluster and no server by name: the driver is not even loaded."""

    async def scene() -> None:
        connects: list[int] = []
        async with looking(FakeKube({"pods": []}), Servers(), connects=connects) as live:
            await live.until(lambda w: w.sources["pg_clusters"].whole, 5)
            live._builder.sweep()
            await asyncio.sleep(5 * FAST.pg_look_s)
            assert connects == []
            assert not live.world.pg_sql

    asyncio.run(scene())


def test_the_driver_is_not_loaded_by_this_module() -> None:
    """A clean interpreter that imports Live has no psycopg."""
    code = "import sys, coldtui.live.core, coldtui.wiring.site; print('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_servers_by_name_while_the_api_is_down() -> None:
    """What the configuration names is asked though no cluster was ever read."""

    async def scene() -> None:
        servers, kube = Servers(), FakeKube({})
        for name in ("postgres-1", "postgres-2", VIP):
            servers.at(name, "127.0.0.1", 5)
        kube.fail("list", lambda: LineTrouble("refused", kind="refused"), times=None)
        async with looking(kube, servers, named=True) as live:
            await live.until(lambda w: known(w, "postgres-1", "postgres-2", VIP), 5)

    asyncio.run(scene())


def test_a_server_that_hangs_or_refuses_delays_nobody() -> None:
    """The others keep being asked; what is missing is said with its remedy, and comes by itself when it is mended."""

    async def scene() -> None:
        servers = Servers()
        servers.answers["postgres-2"] = None
        servers.answers["postgres-3"] = Unauthorized("postgres-3 does not let coldtui in", hint="check postgres.password_file")
        async with looking(site(), servers) as live:
            world = await live.until(lambda w: isinstance(w.pg_sql.get("postgres-3"), Unknown), 5)
            assert world.pg_sql["postgres-3"] == Unknown("sql", "postgres-3 does not let coldtui in · check postgres.password_file")
            before = servers.count("status", "postgres-1")
            await live.until(lambda w: servers.count("status", "postgres-1") >= before + 3, 5)
            assert "postgres-2" not in live.world.pg_sql
            servers.answers["postgres-3"] = server(False)
            await live.until(lambda w: known(w, "postgres-3"), 5)

    asyncio.run(scene())


def test_who_looks_is_served_more_often() -> None:
    """Sessions are read only while a screen shows them, and are gone from the World afterwards."""

    async def scene() -> None:
        servers = Servers()
        async with looking(site(), servers) as live:
            await live.until(lambda w: known(w, "postgres-1"), 5)
            assert servers.count("sessions", "postgres-1") == 0
            end = live.attend(DATABASE, "pg_sessions")
            world = await live.until(lambda w: isinstance(w.pg_sessions, Known) and isinstance(w.pg_progress, Known), 5)
            assert isinstance(world.pg_sessions, Known)
            assert world.pg_sessions.value[0].pid == 7
            end()
            end()
            await live.until(lambda w: isinstance(w.pg_sessions, Unknown), 5)

    asyncio.run(scene())


class LargeDatabases(Servers):
    """The sizes of its databases take as long as `measured`."""

    def __init__(self) -> None:
        super().__init__()
        self.measured = asyncio.Event()

    async def databases(self, target: str, *, deadline_s: float = 5.0) -> tuple[DatabaseFacts, ...]:
        self.asked.append(("databases", target))
        await self.measured.wait()
        return await super().databases(target)


def test_sizes_are_asked_for_only_by_who_looks_at_them_and_delay_nothing() -> None:
    """Resting on the sessions costs no walk through the files; sessions are read on while sizes take their time, once, and sizes come in the end."""

    async def scene() -> None:
        servers = LargeDatabases()
        async with looking(site(), servers) as live:
            end = live.attend(DATABASE, SESSIONS)
            await live.until(lambda w: servers.count("sessions", "postgres-1") >= 3 and isinstance(w.pg_progress, Known), 5)
            assert servers.count("databases", "postgres-1") == 0
            look_away = live.attend(DATABASE, SESSIONS, SIZES)
            await live.until(lambda w: servers.count("databases", "postgres-1") == 1, 5)
            before = servers.count("sessions", "postgres-1")
            await live.until(lambda w: servers.count("sessions", "postgres-1") >= before + 3, 5)
            assert servers.count("databases", "postgres-1") == 1
            servers.measured.set()
            await live.until(lambda w: isinstance(w.pg_databases, Known), 5)
            look_away()
            end()
            await live.until(lambda w: w.pg_databases is NOT_SHOWN, 5)

    asyncio.run(scene())


def test_after_a_fault_of_ours_every_server_is_asked_again() -> None:
    """A fault in the watch ends its questions; they begin anew with it, and do not just age."""

    async def scene() -> None:
        servers = Servers()
        async with looking(site(), servers) as live:
            await live.until(lambda w: known(w, "postgres-1", "postgres-2", "postgres-3"), 5)
            watch = live._database
            assert watch is not None
            settle = watch._settle

            def fails() -> None:
                watch._settle = settle  # type: ignore[method-assign]
                raise ValueError("a fault of ours")

            watch._settle = fails  # type: ignore[method-assign]
            await live.until(lambda w: DATABASE in w.sources, 5)
            before = {name: servers.count("status", name) for name in ("postgres-1", "postgres-2", "postgres-3")}
            await live.until(lambda w: DATABASE not in w.sources, 5)
            await live.until(lambda w: all(servers.count("status", name) >= n + 2 for name, n in before.items()), 5)

    asyncio.run(scene())


def test_since_when_archiving_fails_is_kept() -> None:
    """No server tells it: it is as of the first answer that says so, stays while it fails, and ends with a success."""

    async def scene() -> None:
        servers = Servers()
        fails = Archiver(last_at=datetime(2026, 1, 1, tzinfo=UTC), failed_at=datetime(2026, 1, 2, tzinfo=UTC))
        servers.answers["postgres-1"] = server(True, archiver=fails)
        async with looking(site(), servers) as live:
            first = (await live.until(lambda w: "sql/postgres-1" in w.pg_claims, 5)).pg_claims["sql/postgres-1"]
            assert first.unarchived is not None
            world = await live.until(lambda w: w.pg_claims["sql/postgres-1"].seen > first.seen, 5)
            assert world.pg_claims["sql/postgres-1"].unarchived == first.unarchived
            servers.answers["postgres-1"] = server(True, archiver=replace(fails, last_at=datetime(2026, 1, 3, tzinfo=UTC)))
            await live.until(lambda w: w.pg_claims["sql/postgres-1"].unarchived is None, 5)

    asyncio.run(scene())


def test_a_primary_that_goes_keeps_its_last_position() -> None:
    """Its claim ends and the other's begins; the last position stays for the estimate of the loss."""

    async def scene() -> None:
        servers, kube = Servers(), site()
        async with looking(kube, servers) as live:
            await live.until(lambda w: known(w, "postgres-1", "postgres-2"), 5)
            servers.answers["postgres-1"] = LineTrouble("postgres-1: connection refused", kind="refused")
            servers.answers["postgres-2"] = server(True, 8)
            world = await live.until(lambda w: "sql/postgres-2" in w.pg_claims and w.pg_claims["sql/postgres-1"].ended, 5)
            assert world.pg_claims["sql/postgres-1"].lsn == 500
            assert world.pg_claims["sql/postgres-2"].since >= world.pg_claims["sql/postgres-1"].seen

    asyncio.run(scene())


def test_once_asks_everyone_one_time() -> None:
    """A listing gets SQL too, within its deadline though one server hangs."""

    async def scene() -> None:
        servers = Servers()
        servers.answers["postgres-3"] = None
        live = Live(lambda: site(), pace=FAST, database=DatabaseSource(lambda: cast(Database, servers)))
        began = time.monotonic()
        world = await live.once((*KINDS, DATABASE), 3.0)
        assert time.monotonic() - began < 4.0
        assert known(world, "postgres-1", "postgres-2")
        assert servers.count("status", "postgres-1") == 1
        assert servers.closed

    asyncio.run(scene())


def test_a_dead_node_does_not_keep_the_database_from_being_asked() -> None:
    """A kubelet that never answers costs its own figures: the servers are asked meanwhile, not with what time is left after it."""

    async def scene() -> None:
        kube, servers = site(), Servers()
        kube.put("nodes", a_node("k3s-1"))
        asked = asyncio.Event()

        async def hangs(*given: object, **named: object) -> NodeStats:
            await asyncio.wait_for(asked.wait(), 20)
            raise Unreachable("the kubelet of k3s-1 did not answer")

        kube.node_stats = hangs  # type: ignore[method-assign]
        status = servers.status

        async def told(*given: Any, **named: Any) -> Any:
            asked.set()
            return await status(*given, **named)

        servers.status = told  # type: ignore[method-assign]
        live = Live(lambda: kube, pace=FAST, database=DatabaseSource(lambda: cast(Database, servers)))
        world = await live.once((*KINDS, "nodes", "node_stats", DATABASE), 20.0)
        assert known(world, "postgres-1", "postgres-2", "postgres-3")

    asyncio.run(scene())


def test_trends() -> None:
    """Lag, connections, and rates of counters; a restart makes no rate."""
    from immutables import Map

    base = build(healthy())
    history = PgHistory(15.0)

    def at(seconds: float, **of_primary: Any) -> World:
        as_of = NOW.replace(second=int(seconds))
        first = server(True, connections=9, **{"current": 500, **of_primary})
        sql = {"postgres-1": Known(first, "sql", as_of), "postgres-2": Known(server(False), "sql", as_of)}
        return replace(base, pg_sql=Map(sql))

    history.sample(at(0, commits=100), NOW, 0.0)
    found = history.sample(at(15, commits=400, current=3500), NOW.replace(second=15), 15.0)
    assert (found["pg_tps"][-1], found["pg_wal"][-1], found["pg_connections"]) == (20.0, 200.0, (9.0, 9.0))
    assert found["pg_lag/postgres-2"] == (200.0, 3200.0)
    after = history.sample(at(30, commits=5, started=NOW), NOW.replace(second=30), 30.0)
    assert after["pg_tps"][-1] != after["pg_tps"][-1]
    assert not PgHistory(15.0).sample(base, NOW, 0.0)


def test_the_lease_and_the_quorum_are_read_beside() -> None:
    """Holder, renewal and duration of the Lease; the failover quorum only where the Cluster wants one, and None where there is none."""

    async def scene() -> None:
        from coldtui.ports import HeldLease

        kube = site()
        kube.leases["cold/cold-postgres"] = HeldLease("cold", "cold-postgres", "postgres-1", "1", NOW, 15)
        async with looking(kube, Servers()) as live:
            world = await live.until(lambda w: isinstance(w.pg_lease, Known), 5)
            assert world.pg_lease.value == PrimaryLease("postgres-1", NOW, 15)  # type: ignore[union-attr]
            assert world.pg_quorum == Unknown("kube", "not asked")
            wants = cluster()
            wants["spec"]["postgresql"] = {"synchronous": {"method": "any", "number": 1, "failoverQuorum": True}}
            kube.put("pg_clusters", decode("pg_clusters", wants))
            world = await live.until(lambda w: isinstance(w.pg_quorum, Known), 5)
            assert world.pg_quorum.value is None  # type: ignore[union-attr]

    asyncio.run(scene())


def test_a_change_of_the_cluster_is_followed() -> None:
    """The time of a phase is that of the change that was seen; a pod that falls makes everyone be asked at once."""

    async def scene() -> None:
        servers, kube = Servers(), site()
        async with looking(kube, servers) as live:
            await live.until(lambda w: known(w, "postgres-1") and w.pg_watched.phase != "", 5)
            assert not live.world.pg_watched.phase_seen
            kube.put("pg_clusters", decode("pg_clusters", cluster(phase="Failing over", targetPrimary="pending")))
            await live.until(lambda w: w.pg_watched.phase == "Failing over" and w.pg_watched.phase_seen, 5)
            kube.put("pg_clusters", decode("pg_clusters", cluster(phase="Failing over")))
            await live.until(lambda w: len(w.pg_watched.turned_back) == 1, 5)

    asyncio.run(scene())


def test_tables_are_read_only_while_they_are_looked_at() -> None:
    """The tables with the most dead rows, by database; gone from the World afterwards."""

    async def scene() -> None:
        servers = Servers()
        async with looking(site(), servers) as live:
            await live.until(lambda w: known(w, "postgres-1"), 5)
            end = live.attend(DATABASE, "pg_sessions", "pg_tables")
            world = await live.until(lambda w: isinstance(w.pg_tables.get("app"), Known), 5)
            assert world.pg_tables["app"].value[0].dead == 3  # type: ignore[union-attr]
            end()
            await live.until(lambda w: not w.pg_tables, 5)

    asyncio.run(scene())


def test_last_words_stay_when_the_api_falls_silent() -> None:
    """A paused API takes no manager's last answer away, neither before nor after it is given up; a pod that alone is silent is said to be at once."""

    async def scene() -> None:
        servers, kube = Servers(), site()
        async with looking(kube, servers, pace=replace(FAST, heartbeat_s=0.3)) as live:
            end = live.attend(DATABASE)
            await live.until(lambda w: len(w.pg_managers) == 3 and all(isinstance(r, Known) for r in w.pg_managers.values()), 5)
            seen: list[World] = []
            live.subscribe(seen.append)
            for call in ("alive", "pg_status"):
                kube.fail(call, lambda: LineTrouble("no answer", kind="timeout"), times=None)
            asked = kube.count("pg_status")
            await live.until(lambda w: w.sources["kube"].trouble is not None, 10)
            assert kube.count("pg_status") > asked  # in vain, before the API was given up
            assert all(isinstance(r, Known) for w in [*seen, live.world] for r in w.pg_managers.values())
            assert not live.world.pg_claims["manager/postgres-1"].ended
            kube.heal()
            await live.until(lambda w: w.sources["kube"].trouble is None, 10)
            kube.fail("pg_status", lambda: LineTrouble("postgres-2 did not answer", kind="timeout"), "cold/postgres-2", times=None)
            world = await live.until(lambda w: isinstance(w.pg_managers.get("cold/postgres-2"), Unknown), 10)
            assert isinstance(world.pg_managers["cold/postgres-1"], Known)
            end()

    asyncio.run(scene())


def test_the_vip_is_asked_as_a_new_client() -> None:
    """A kept connection would go on to a server that the address leads nobody to any more; to the instances one is kept."""

    async def scene() -> None:
        servers = Servers()
        servers.at(VIP, "127.0.0.1", 5)
        async with looking(site(), servers, named=True) as live:
            await live.until(lambda w: known(w, "postgres-1", "postgres-2", VIP), 5)
            assert servers.anew == {VIP}

    asyncio.run(scene())


def balancer(name: str, address: str, role: str) -> Any:
    selector = {"cnpg.io/cluster": "cold-postgres", **({"cnpg.io/instanceRole": role} if role else {})}
    return decode(
        "services",
        {
            "metadata": {"name": name, "namespace": "cold"},
            "spec": {"type": "LoadBalancer", "selector": selector, "ports": [{"port": 5432}]},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
        },
    )


def test_only_an_address_that_leads_to_the_primary_is_the_vip() -> None:
    """A service for readers alone is no VIP: a standby behind it is as it should be."""

    async def scene() -> None:
        servers, kube = Servers(), site()
        kube.put("services", balancer("readers", "10.9.9.1", "replica"))
        kube.put("services", balancer("all", "10.9.9.2", ""))
        async with looking(kube, servers) as live:
            await live.until(lambda w: known(w, "postgres-1", "postgres-2") and len(w.services) == 2, 5)
            assert VIP not in servers.places
            kube.put("services", balancer("writers", "10.9.9.3", "primary"))
            await live.until(lambda w: known(w, VIP), 5)
            assert servers.places[VIP] == ("10.9.9.3", 5432)

    asyncio.run(scene())


def test_a_fault_of_the_driver_is_no_trouble_of_the_api() -> None:
    """What is wrong with SQL is said at SQL; managers are asked all the same, and the Kubernetes API has no trouble."""

    async def scene() -> None:
        def connect() -> Database:
            raise ValueError("no address: 10.0.0.5, 10.0.0.6")

        kube = site()
        live = Live(lambda: kube, pace=FAST, database=DatabaseSource(connect))
        await live.start((*KINDS, DATABASE))
        try:
            world = await live.until(lambda w: len(w.pg_managers) == 3 and isinstance(w.pg_sql.get("postgres-1"), Unknown), 5)
            assert "10.0.0.5, 10.0.0.6" in world.pg_sql["postgres-1"].reason  # type: ignore[union-attr]
            assert world.sources["kube"].trouble is None
        finally:
            await live.close()

    asyncio.run(scene())


def test_a_fault_in_asking_is_a_source_of_its_own_while_it_lasts() -> None:
    """The database has a line in the list of problems, the API has none, and it goes with the fault."""

    async def scene() -> None:
        class Odd(Servers):
            odd = True

            def at(self, target: str, host: str, port: int) -> None:
                if self.odd:
                    raise ValueError("not an address")
                super().at(target, host, port)

        servers = Odd()
        async with looking(site(), servers) as live:
            world = await live.until(lambda w: DATABASE in w.sources, 5)
            assert world.sources["kube"].trouble is None
            assert [p.sentence for p in problems(world, world.at) if p.object.name == DATABASE] == [
                "database: fault of this program: ValueError: not an address"
            ]
            servers.odd = False
            await live.until(lambda w: DATABASE not in w.sources and known(w, "postgres-1"), 5)

    asyncio.run(scene())


def test_trends_of_the_database_need_no_nodes() -> None:
    """Nodes that may not be read take no sparkline of SQL away."""

    async def scene() -> None:
        async with looking(site(), Servers()) as live:
            assert not live.world.nodes.items
            world = await live.until(lambda w: "pg_connections" in w.trends, 10)
            assert "pg_lag/postgres-2" in world.trends

    asyncio.run(scene())
