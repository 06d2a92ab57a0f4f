"""Maintenance of a real server's tables: planned with numbers, followed, cancelled on the server, refused where it must be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from coldtui.domain.errors import Cancelled, Forbidden, NotFound, Refused, StepFailed, Unreachable, UsageError
from coldtui.domain.kinds import Kind
from coldtui.domain.nodes import VolumeFill
from coldtui.domain.plans import Outlook, Plan, Rung, Weight
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.runs import What
from coldtui.domain.sessions import Progress, Session, TableFacts
from coldtui.operations.catalogue import steps_of
from coldtui.operations.engine import RunContext, perform
from coldtui.operations.params import make
from coldtui.operations.postgres.maintenance import MAINTENANCE, Maintenance, _volume, plan_maintenance
from coldtui.operations.postgres.maintenance_findings import MaintenanceFacts
from coldtui.operations.postgres.servers import Servers, database_of, primary
from tests.adapters.postgres.servers import Server
from tests.journals import a_run, an_entry
from tests.lab.postgres.conftest import Place, Site
from tests.operations.postgres.ground import ground
from tests.operations.postgres.scene import healthy, known
from tests.operations.postgres.single import Single, codes, finding, on, one_server

pytestmark = pytest.mark.timeout(120)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with one_server() as made:
        made.super("GRANT pg_maintain TO coldtui")
        yield made


async def dead_rows(at: Single) -> None:
    await asyncio.to_thread(at.server.super, "DELETE FROM orders WHERE id % 10 = 1")
    await at.until("SELECT n_dead_tup > 0 FROM pg_stat_user_tables WHERE relname = 'orders'")


def test_a_table_is_vacuumed(server: Server, tmp_path: Path) -> None:
    """The plan tells size and dead rows; afterwards the server counts a vacuum, and what it said is in the log."""

    async def scene() -> None:
        async with on(server, tmp_path) as at:
            await dead_rows(at)
            work = await at.work(MAINTENANCE, kind="vacuum", database="postgres", table="orders")
            assert (work.plan.rung, work.plan.confirm, work.plan.locks) == (Rung.VISIBLE, "postgres", ("database:postgres",))
            assert [s.title for s in work.plan.steps] == ["Vacuum public.orders"]
            assert "MiB, " in finding(work.plan, "maintenance.table").sentence
            assert " dead of " in finding(work.plan, "maintenance.table").sentence
            await work.perform()
            await at.until("SELECT last_vacuum IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'orders'")
            assert any('vacuuming "postgres.public.orders"' in line for line in work.log)
            assert any(text.startswith("Vacuum public.orders: done in") for text in work.told(What.SAID))

    asyncio.run(scene())


@pytest.mark.parametrize("kind", ["vacuum-full", "analyze", "reindex"])
def test_the_other_kinds_are_done(kind: str, server: Server, tmp_path: Path) -> None:
    """Each on a table and on a whole database, as the login with pg_maintain."""

    async def scene() -> None:
        async with on(server, tmp_path) as at:
            await asyncio.to_thread(server.super, "CREATE INDEX IF NOT EXISTS orders_id ON orders (id)")
            for table in ("public.orders", ""):
                work = await at.work(MAINTENANCE, kind=kind, database="postgres", table=table)
                await work.perform()
                assert work.events[-1].what is What.FINISHED
                if not table:
                    assert finding(work.plan, "maintenance.sum").sentence.startswith("postgres: 1 table, ")

    asyncio.run(scene())


def test_vacuum_full_asks_for_more(server: Server, tmp_path: Path) -> None:
    """Rung 3 with a reason; the lock and the space that it needs are warnings, and the free space is not evaluated."""

    async def scene() -> None:
        async with on(server, tmp_path) as at:
            plan = await at.plan(MAINTENANCE, kind="vacuum-full", database="postgres", table="public.orders")
            assert (plan.rung, plan.needs_reason, plan.outlook) == (Rung.DESTRUCTIVE, True, Outlook.NOT_EVALUATED)
            assert finding(plan, "maintenance.exclusive").weight is Weight.WARNING
            assert "free disk of p, which must hold a whole copy of each table, up to" in finding(plan, "maintenance.space").sentence

    asyncio.run(scene())


def test_cancelling_stops_it_on_the_server(server: Server, tmp_path: Path) -> None:
    """A vacuum that waits for a lock says for whose; cancelled, its statement is gone from the server, and it can be done again."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as holder:
            await holder.execute("BEGIN")
            await holder.execute("LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
            work = await at.work(MAINTENANCE, kind="vacuum", database="postgres", table="public.orders")
            going = asyncio.create_task(work.perform())
            await at.until("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND wait_event_type = 'Lock'")
            wanted = f"{holder.info.backend_pid} (anna) to let go of a lock on public.orders"
            while wanted not in work.told(What.WAITING):
                assert not going.done()
                await asyncio.sleep(0.05)
            work.ctx.cancel()
            with pytest.raises(Cancelled):
                await going
            await at.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND state = 'active'")
            await holder.execute("ROLLBACK")
            again = await at.work(MAINTENANCE, kind="vacuum", database="postgres", table="public.orders")
            await again.perform()

    asyncio.run(scene())


def test_progress_is_told(server: Server, tmp_path: Path) -> None:
    """While a concurrent reindex waits for an old transaction, its phase is among the items; the end of that lets it end."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as old:
            await asyncio.to_thread(server.super, "CREATE INDEX IF NOT EXISTS orders_id ON orders (id)")
            await old.execute("BEGIN")
            await old.execute("INSERT INTO orders VALUES (0, 'held')")
            work = await at.work(MAINTENANCE, kind="reindex", database="postgres", table="public.orders")
            going = asyncio.create_task(work.perform())
            while not (items := [e for e in work.events if e.what is What.ITEM]):
                assert not going.done()
                await asyncio.sleep(0.05)
            assert (items[0].object, items[0].text.partition(",")[0]) == (
                "tables/postgres.public.orders",
                "waiting for writers before build",
            )
            assert "_ccnew" in work.left
            await old.execute("ROLLBACK")
            await going
            assert work.left == ""

    asyncio.run(scene())


def test_what_is_cancelled_by_others_is_said(server: Server, tmp_path: Path) -> None:
    """A statement that somebody cancels on the server fails the run with exactly that."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as holder:
            await holder.execute("BEGIN")
            await holder.execute("LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
            work = await at.work(MAINTENANCE, kind="analyze", database="postgres", table="public.orders")
            going = asyncio.create_task(work.perform())
            await at.until("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'ANALYZE%' AND wait_event_type = 'Lock'")
            await asyncio.to_thread(
                server.super, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ANALYZE%' AND state = 'active'"
            )
            with pytest.raises(StepFailed, match="somebody cancelled the statement"):
                await going

    asyncio.run(scene())


def test_a_missing_grant_is_named(server: Server, tmp_path: Path) -> None:
    """A table of somebody else's without pg_maintain fails by name; of a whole database it is said how many were left out."""

    async def scene() -> None:
        async with on(server, tmp_path) as at:
            await asyncio.to_thread(server.super, "REVOKE pg_maintain FROM coldtui")
            try:
                work = await at.work(MAINTENANCE, kind="vacuum", database="postgres", table="public.orders")
                with pytest.raises(Forbidden) as caught:
                    await work.perform()
                assert "pg_maintain" in caught.value.hint
                whole = await at.work(MAINTENANCE, kind="analyze", database="postgres")
                await whole.perform()
                assert any("left out: they need their owner, or pg_maintain" in text for text in whole.told(What.SAID))
            finally:
                await asyncio.to_thread(server.super, "GRANT pg_maintain TO coldtui")

    asyncio.run(scene())


def test_long_transactions_are_warned_of(server: Server, tmp_path: Path) -> None:
    """One that may still see dead rows, and one that is at the same table, each with its pid."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as old:
            await old.execute("BEGIN")
            await old.execute("SELECT 1")
            params = Maintenance("vacuum", "postgres")
            facts = await MAINTENANCE.gather(params, at.means, 10.0)
            later = plan_maintenance(facts, params, at.means.clock.now() + timedelta(minutes=5))
            pid = str(old.info.backend_pid)  # the server is shared: a session of another test may just be ending
            (horizon,) = [f for f in later.findings if f.code == "maintenance.horizon" and f.sentence.startswith(pid)]
            assert f"{pid} (anna, idle in transaction) holds a transaction open for 5m" in horizon.sentence
            assert f"terminate {old.info.backend_pid}" in horizon.remedy

    asyncio.run(scene())


def test_what_cannot_be_meant_is_refused(server: Server, tmp_path: Path) -> None:
    """Unknown kinds, databases and tables name the nearest; a name without a schema is found; a silent server is unreachable."""

    async def scene() -> None:
        async with on(server, tmp_path) as at:
            with pytest.raises(UsageError, match="did you mean vacuum"):
                await at.plan(MAINTENANCE, kind="vacum", database="postgres")
            with pytest.raises(NotFound, match="no database postgre · did you mean postgres"):
                await at.plan(MAINTENANCE, kind="vacuum", database="postgre")
            with pytest.raises(NotFound, match=r"no table order in postgres · did you mean public\.orders\?"):
                await at.plan(MAINTENANCE, kind="vacuum", database="postgres", table="order")
            at.means.database.at("p", "127.0.0.1", 1)
            with pytest.raises(Unreachable, match=r"no primary answers over SQL · p \(127.0.0.1:1\): connection refused"):
                await at.plan(MAINTENANCE, kind="vacuum", database="postgres")

    asyncio.run(scene())


# ------------------------------------------------------------ by fixtures


VOLUME = VolumeFill("cold", "postgres-1", 10 << 20, 4 << 20)


def facts_of(kind: str = "vacuum", wanted: tuple[str, ...] = (), **changes: Any) -> MaintenanceFacts:
    whole = healthy()
    table = TableFacts("app", "public", "orders", 20_000, 1_200, 3 << 20, None, None, "app")
    servers = Servers(known(whole.cluster), {n: r for n, r in whole.sql.items() if n != "vip"}, NOW)
    made = MaintenanceFacts(kind, "app", wanted, servers, "postgres-1", known((table,)), known(VOLUME), known(()), known(()), (), NOW)
    return replace(made, **changes)


def planned(facts: MaintenanceFacts) -> Plan:
    return plan_maintenance(facts, Maintenance(facts.kind, facts.database, facts.wanted), NOW)


def with_cluster(**changes: Any) -> MaintenanceFacts:
    facts = facts_of()
    assert isinstance(facts.servers.cluster, Known)
    return replace(facts, servers=replace(facts.servers, cluster=known(replace(facts.servers.cluster.value, **changes))))


def test_a_healthy_site_goes() -> None:
    """Nothing refuses or warns; the primary, the sum, the table and the lag are told with numbers."""
    plan = planned(facts_of())
    assert (plan.outlook, plan.blocked) == (Outlook.GO, "")
    assert all(f.weight < Weight.WARNING for f in plan.findings)
    assert (
        finding(plan, "maintenance.table").sentence
        == "public.orders: 3 MiB, 1,200 dead of 21,200 rows (6%), never vacuumed since the counters began"
    )
    assert "now postgres-2 0 bytes behind, postgres-3 0 bytes behind" in finding(plan, "maintenance.wal").sentence


def test_a_change_of_the_primary_refuses() -> None:
    """While targetPrimary is another, while a switchover of ours runs, and when SQL and the Cluster disagree; an unread Cluster is not evaluated."""
    assert "changes its primary: from postgres-1 to postgres-2" in planned(with_cluster(target_primary="postgres-2")).blocked
    other = planned(with_cluster(target_primary="postgres-2", current_primary="postgres-2"))
    assert "the Cluster names postgres-2 as primary, over SQL it is postgres-1" in other.blocked
    run = replace(a_run("20261124-150210-0001"), operation="postgres.switchover", title="Switch over")
    assert "Switch over is under way: 20261124-150210-0001" in planned(facts_of(runs=(run,))).blocked
    facts = facts_of()
    blind = planned(replace(facts, servers=replace(facts.servers, cluster=Unknown("cluster", "connection refused"))))
    assert (blind.outlook, blind.blocked) == (Outlook.NOT_EVALUATED, "")
    assert "whether a switchover is under way: not evaluated, connection refused" in finding(blind, "maintenance.cluster-unread").sentence


def test_only_one_primary_is_taken() -> None:
    """Standbys alone, and two primaries, are refused by name."""
    whole = healthy().sql
    with pytest.raises(Refused, match="all are standbys"):
        primary(Servers(Unknown("c", "x"), {n: whole[n] for n in ("postgres-2", "postgres-3")}, NOW))
    with pytest.raises(Refused, match="postgres-1 and postgres-2 both say that they are primary"):
        primary(Servers(Unknown("c", "x"), {**whole, "postgres-2": whole["postgres-1"]} | {"vip": whole["postgres-2"]}, NOW))


def test_work_on_the_same_table_is_told() -> None:
    """An autovacuum makes way, a vacuum of somebody's is waited for, work on another table is not named."""

    def session(kind: str, query: str) -> Session:
        return Session(7, NOW, "app", "anna", "psql", "", "active", query=query, kind=kind)

    work = known((Progress(7, "vacuum", "app", "16384", "scanning heap", 34, 100),))
    auto = planned(facts_of(progress=work, sessions=known((session("autovacuum worker", "autovacuum: VACUUM public.orders"),))))
    assert finding(auto, "maintenance.at-work").weight is Weight.NOTE
    assert "vacuum, scanning heap, 34%" in finding(auto, "maintenance.at-work").sentence
    manual = planned(
        facts_of("vacuum", ("public.orders",), progress=work, sessions=known((session("client backend", "VACUUM public.orders"),)))
    )
    assert finding(manual, "maintenance.at-work").weight is Weight.WARNING
    other = planned(facts_of("vacuum", ("public.orders",), progress=work, sessions=known((session("client backend", "VACUUM customers"),))))
    assert "maintenance.at-work" not in codes(other)


def test_what_cannot_be_read_is_not_evaluated() -> None:
    """Tables, progress and sessions that are not known, each by its own finding; nothing is refused for it."""
    blind = Unknown("sql", "did not answer within 5 s")
    plan = planned(facts_of(tables=blind, progress=blind, sessions=blind))
    assert {"maintenance.tables-unread", "maintenance.others-unread", "maintenance.horizon-unread"} <= codes(plan)
    assert (plan.outlook, plan.blocked) == (Outlook.NOT_EVALUATED, "")


# ------------------------------------------------------------ on a site


def test_on_a_site_the_primary_is_found(real: Site, tmp_path: Path) -> None:
    """With three servers and the API: the plan is for the one that leads, without being told; the run leaves it vacuumed."""

    async def scene(on_site: Place) -> None:
        leads = (await on_site.status())["currentPrimary"]
        async with ground(on_site, tmp_path) as at:
            params = Maintenance("analyze", "app", ("public.customers",))
            facts = await MAINTENANCE.gather(params, at.means, 10.0)
            plan = plan_maintenance(facts, params, at.means.clock.now())
            assert (facts.instance, plan.blocked) == (leads, "")
            assert plan.steps[0].args["instance"] == leads
            assert "bytes behind" in finding(plan_maintenance(replace(facts, kind="vacuum"), params, NOW), "maintenance.wal").sentence
            run = a_run("20261124-150210-00aa")
            at.journal.begin(replace(run, locks=()), an_entry(run))
            ctx = RunContext(run.id, params, at.means, at.journal, deadline=at.means.clock.now() + timedelta(seconds=60))
            await perform(plan, ctx, steps_of(MAINTENANCE))

            rows = on_site.sql(leads, "SELECT last_analyze IS NOT NULL FROM pg_stat_user_tables WHERE relname = 'customers'", "app")
            assert rows == [(True,)]

    real.play(scene)


@pytest.mark.parametrize(
    ("kind", "free_mib", "dead", "weight", "words"),
    [
        ("vacuum-full", 6, 0, Weight.GOOD, "postgres-1 has 6 MiB free of 10 MiB: a whole copy of each table takes up to 3 MiB"),
        ("vacuum-full", 2, 0, Weight.WARNING, "postgres-1 has 2 MiB free of 10 MiB"),
        ("vacuum-full", 2, 20_000, Weight.WARNING, "a whole copy of each table takes up to 3 MiB (public.orders)"),
        ("reindex", 2, 0, Weight.WARNING, "a second copy of each index takes up to 3 MiB (public.orders)"),
    ],
)
def test_the_room_for_a_copy_is_seen(kind: str, free_mib: int, dead: int, weight: Weight, words: str) -> None:
    """What may not fit warns, with both numbers; how much of a table is bloat is not known, so nothing is refused."""
    table = TableFacts("app", "public", "orders", 20_000, dead, 3 << 20)
    plan = planned(facts_of(kind, volume=known(replace(VOLUME, used_b=(10 - free_mib) << 20)), tables=known((table,))))
    found = finding(plan, "maintenance.space")
    assert (found.weight, words in found.sentence) == (weight, True), found.sentence
    assert not plan.blocked


def test_the_volume_is_read_from_the_kubelet(tmp_path: Path) -> None:
    """Of the node that the primary's pod is on, and only for what makes a copy."""
    whole = healthy()
    servers = Servers(known(whole.cluster), {}, NOW)
    pod = SimpleNamespace(node="k3s-1")
    node = SimpleNamespace(name="k3s-1", internal_ip="10.0.0.1")
    where = whole.cluster.namespace

    class Kube:
        async def read(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float) -> Any:
            return {("postgres-1", where): pod, ("k3s-1", ""): node}[name, namespace]

        async def node_stats(self, name: str, ip: str, *, deadline_s: float) -> Any:
            return SimpleNamespace(volumes=(VolumeFill(where, "other", 1, 1), VolumeFill(where, "postgres-1", 10, 4)))

    means: Any = SimpleNamespace(kube=Kube())
    found = asyncio.run(_volume("reindex", servers, "postgres-1", means, NOW))
    assert isinstance(found, Known)
    assert (found.value.capacity_b, found.value.used_b) == (10, 4)
    assert isinstance(asyncio.run(_volume("vacuum", servers, "postgres-1", means, NOW)), Unknown)


def test_what_was_done_before_it_was_stopped_is_said(server: Server, tmp_path: Path) -> None:
    """Of a whole database the tables that were rewritten stay rewritten; of one table that was never begun, nothing stays."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as holder:
            await holder.execute("BEGIN")
            await holder.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
            for table, left in (("", "it was stopped in postgres: tables that were rewritten until then stay so"), ("public.orders", "")):
                work = await at.work(MAINTENANCE, kind="vacuum-full", database="postgres", table=table)
                going = asyncio.create_task(work.perform())
                await at.until("SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'VACUUM%' AND wait_event_type = 'Lock'")
                work.ctx.cancel()
                with pytest.raises(Cancelled):
                    await going
                assert work.left == left
            await holder.execute("ROLLBACK")

    asyncio.run(scene())


def test_a_name_is_written_as_the_server_has_it(server: Server, tmp_path: Path) -> None:
    """Dots, quotes, line ends and commas in names reach the server unchanged, and its statement is known as ours while it works."""

    async def scene() -> None:
        hostile = '"my.schema"."we""ird,\n\u202et"'
        async with on(server, tmp_path) as at, at.client() as holder:
            for statement in (
                'CREATE SCHEMA "my.schema"',
                f"CREATE TABLE {hostile} (i int)",
                'GRANT USAGE ON SCHEMA "my.schema" TO anna, coldtui',
            ):
                await asyncio.to_thread(server.super, statement)
            await asyncio.to_thread(server.super, f"GRANT ALL ON {hostile} TO anna")
            try:
                found = await database_of(at.means).tables("p", "postgres", most=50)
                shown = next(t.shown for t in found if t.schema == "my.schema")
                assert "\n" not in shown
                assert "\u202e" not in shown
                await holder.execute("BEGIN")
                await holder.execute(f"LOCK TABLE {hostile} IN SHARE UPDATE EXCLUSIVE MODE".encode())
                work = await at.work(MAINTENANCE, kind="vacuum", database="postgres", table=[shown])
                going = asyncio.create_task(work.perform())
                while not any("to let go of a lock" in text for text in work.told(What.WAITING)):
                    assert not going.done()
                    await asyncio.sleep(0.05)
                await holder.execute("ROLLBACK")
                await going
            finally:
                await holder.execute("ROLLBACK")
                await asyncio.to_thread(server.super, 'DROP SCHEMA "my.schema" CASCADE')

    asyncio.run(scene())


def test_an_index_that_is_not_valid_is_named(server: Server, tmp_path: Path) -> None:
    """Before a reindex with the statement that drops it, after it as what is left; the catalogs that no concurrent one takes are no lack of a right."""

    async def scene() -> None:
        async with on(server, tmp_path) as at:
            try:
                await asyncio.to_thread(server.super, "CREATE TABLE twice (i int)")
                await asyncio.to_thread(server.super, "INSERT INTO twice VALUES (1), (1)")
                with pytest.raises(psycopg.errors.UniqueViolation):
                    await asyncio.to_thread(server.super, "CREATE UNIQUE INDEX CONCURRENTLY twice_i ON twice (i)")
                work = await at.work(MAINTENANCE, kind="reindex", database="postgres")
                warned = finding(work.plan, "maintenance.invalid")
                assert warned.sentence == "index public.twice_i of public.twice is not valid and is left out"
                assert warned.remedy == "DROP INDEX CONCURRENTLY public.twice_i"
                await work.perform()
                said = work.told(What.SAID)[-1]
                assert said.endswith("; not valid: public.twice_i: DROP INDEX CONCURRENTLY")
                assert "left out" not in said
            finally:
                await asyncio.to_thread(server.super, "DROP TABLE twice")

    asyncio.run(scene())


def test_a_comma_in_quotes_parts_no_tables() -> None:
    """Several tables are told with commas; a name in quotes, as SQL writes it, keeps its own."""
    given = make(Maintenance, {"kind": "vacuum", "database": "app", "table": 'orders, "my,schema"."a""b,c" ,"open,t'})
    assert given.table == ("orders", '"my,schema"."a""b,c"', '"open', "t")
