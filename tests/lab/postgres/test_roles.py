"""Switchover, failover and rejoining with real servers: what the operator and the instance managers do, and what becomes of the rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from coldtui.domain.replication import lsn
from coldtui.lab.client import PG_CLUSTERS, PODS, ApiError
from coldtui.lab.postgres.load import writing
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NS, Place, Site

pytestmark = pytest.mark.timeout(180)


def test_status_is_what_the_servers_say(real: Site) -> None:
    """``/pg/status`` through the API server: roles, positions, slots and standbys are those that SQL tells, with the seeded system ID and timeline."""

    async def scene(on: Place) -> None:
        status = await on.status()
        primary = status["currentPrimary"]
        said = await on.manager(primary)
        assert (said["isPrimary"], said["timeLineID"], said["systemID"]) == (True, status["timelineID"], status["systemID"])
        count = on.sql(primary, "SELECT count(*) FROM pg_replication_slots")[0][0]
        assert len(said["replicationSlotsInfo"]) == count
        await until(same_position(on, primary, "currentLsn", "SELECT pg_current_wal_lsn()::text"))
        assert [(s["applicationName"], s["state"], s["syncState"]) for s in said["replicationInfo"]] == [
            (name, "streaming", "async") for name in on.database.servers if name != primary
        ]
        standby = next(n for n in on.database.servers if n != primary)
        other = await on.manager(standby)
        assert (other["isPrimary"], other["isWalReceiverActive"], other["replayPaused"]) == (False, True, False)
        assert other["timeLineID"] == on.sql(standby, "SELECT timeline_id FROM pg_control_checkpoint()")[0][0]
        received = "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text"
        await until(same_position(on, standby, "receivedLsn", received))

    real.play(scene)


def same_position(on: Place, name: str, key: str, statement: str) -> Callable[[], Awaitable[bool]]:
    """Whether the instance manager tells the position that SQL tells. A server writes by itself now and then, so that two looks may differ."""

    async def same() -> bool:
        said = await on.manager(name)
        return lsn(said[key]) == lsn(str(on.sql(name, statement)[0][0]))

    return same


def test_switchover_moves_the_real_primary(real: Site) -> None:
    """A patch of the status as ``kubectl cnpg promote`` writes it: timeline + 1, lease, labels and endpoints follow, all stream, no acknowledged row is lost."""

    async def scene(on: Place) -> None:
        before = await on.status()
        old = before["currentPrimary"]
        target = next(n for n in before["instanceNames"] if n != old)
        seen: list[str] = []
        on.lab.informers.of(PODS).listen(
            lambda _, after: (
                seen.append(after["metadata"]["labels"].get("cnpg.io/instanceRole", ""))
                if after and after["metadata"]["name"] == old
                else None
            )
        )
        async with writing(on.database.app_dsn, on.database.servers.passwords.app) as load:

            async def written() -> bool:
                return len(load.acknowledged) > 20

            await until(written)
            await on.promote(target)

            async def moved() -> bool:
                return bool((await on.status())["currentPrimary"] == target)

            await until(moved)
            await on.until_whole()
            count = len(load.acknowledged)

            async def more() -> bool:
                return len(load.acknowledged) > count + 10

            await until(more)
        after = await on.status()
        assert after["timelineID"] == before["timelineID"] + 1
        assert after["currentPrimaryTimestamp"] > after["targetPrimaryTimestamp"]
        reported = after["instancesReportedState"]
        assert {name: said["isPrimary"] for name, said in reported.items()} == {n: n == target for n in after["instanceNames"]}
        assert reported[target]["timeLineID"] == after["timelineID"]
        assert "unhealthy" in seen
        assert await on.lease() == target
        assert await on.endpoints("rw") == [target]
        assert await on.endpoints("ro") == sorted(set(after["instanceNames"]) - {target})
        assert (await on.pod(old))["status"]["containerStatuses"][0]["restartCount"] >= 1
        for name in on.database.servers:
            assert await load.missing(on.database.servers[name].dsn("app")) == []
        assert 0 < max(load.gaps) < 15

    real.play(scene)


def test_a_killed_primary_is_replaced(real: Site) -> None:
    """kill -9: its container waits, the operator fails over by way of ``pending``, and the old primary rejoins by pg_rewind though it has more than the new one."""

    async def scene(on: Place) -> None:
        before = await on.status()
        old = before["currentPrimary"]
        targets: list[str] = []
        on.lab.informers.of(PG_CLUSTERS).listen(lambda _, after: targets.append(after["status"]["targetPrimary"]) if after else None)
        server = on.database.servers[old]
        await asyncio.to_thread(server.kill)

        async def moved() -> bool:
            return bool((await on.status())["currentPrimary"] != old)

        await until(moved, 30)
        assert "pending" in targets
        primary = await on.until_whole()
        assert primary != old
        assert (await on.status())["timelineID"] == before["timelineID"] + 1
        assert on.sql(old, "SELECT pg_is_in_recovery()") == [(True,)]
        assert (await on.pod(old))["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137

    real.play(scene)


def test_a_diverged_primary_is_rewound(real: Site) -> None:
    """Rows that only the old primary had are gone after its rejoining; it has the new one's rows and follows."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        server = on.database.servers[old]
        for name in on.database.servers:
            if name != old:
                on.sql(name, "ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'")
                on.database.servers[name].reload()

        async def cut_off() -> bool:
            return (await asyncio.to_thread(on.sql, old, "SELECT count(*) FROM pg_stat_replication")) == [(0,)]

        await until(cut_off)
        server.sql("CREATE TABLE only_here AS SELECT generate_series(1, 500) AS n", "app")
        await asyncio.to_thread(server.kill)
        for name in on.database.servers:
            if name != old:
                on.sql(name, "ALTER SYSTEM RESET primary_conninfo")
                on.database.servers[name].reload()
        primary = await on.until_whole()
        assert primary != old
        assert on.sql(old, "SELECT to_regclass('only_here')", "app") == [(None,)]

    real.play(scene)


def test_a_fenced_standby_stops_and_comes_back(real: Site) -> None:
    """The annotation stops the server, the pod stays and says that it may be unavailable; the phase stays "healthy" all the same."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        await on.annotate(fencedInstances=f'["{name}"]')

        async def stopped() -> bool:
            return bool((await on.status())["readyInstances"] == 2 and not on.database.servers[name].running)

        await until(stopped)
        assert (await on.manager(name))["mightBeUnavailable"] is True
        assert (await on.status())["phase"] == "Cluster in healthy state"
        await on.annotate(fencedInstances=None)
        await on.until_whole()

    real.play(scene)


def test_a_fenced_primary_is_not_replaced(real: Site) -> None:
    """Nobody is promoted while the primary is fenced: it keeps its lease, and comes back as primary."""

    async def scene(on: Place) -> None:
        before = await on.status()
        primary = before["currentPrimary"]
        await on.annotate(fencedInstances='["*"]')

        async def stopped() -> bool:
            return not any(s.running for s in on.database.servers.values())

        await until(stopped)
        with pytest.raises(psycopg.OperationalError):
            await psycopg.AsyncConnection.connect(on.database.app_dsn, password=on.database.servers.passwords.app, connect_timeout=2)
        await asyncio.sleep(on.lab.pace.unready * 2)  # long enough for a failover, were there one
        assert (await on.status())["targetPrimary"] == primary
        assert await on.lease() == primary
        await on.annotate(fencedInstances=None)
        assert await on.until_whole() == primary
        assert (await on.status())["timelineID"] == before["timelineID"]

    real.play(scene)


def test_a_deleted_standby_keeps_its_data(real: Site) -> None:
    """The server stops with its pod and goes on with the same data in the next one; while it is gone its status port answers 503."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        uid = (await on.pod(name))["metadata"]["uid"]
        await on.client.delete(PODS, name, NS)

        async def refused() -> bool:
            try:
                await on.manager(name)
            except ApiError as error:
                return error.code in (404, 503)
            return False

        await until(refused)
        await on.until_whole()
        assert (await on.pod(name))["metadata"]["uid"] != uid
        assert "no rewind" not in on.database.servers[name].log.read_text()

    real.play(scene)


def test_the_vip_follows_announcer_and_primary(real: Site) -> None:
    """Connections through the VIP reach the primary; the announcer's power cut silences it until another node is elected."""

    async def scene(on: Place) -> None:
        async def reached() -> object:
            async with asyncio.timeout(2):
                async with await psycopg.AsyncConnection.connect(
                    on.database.app_dsn, password=on.database.servers.passwords.app, connect_timeout=2
                ) as connection:
                    row = await (await connection.execute("SELECT inet_server_port(), pg_is_in_recovery()")).fetchone()
                    assert row is not None
                    return row

        primary = (await on.status())["currentPrimary"]
        assert await reached() == (on.database.servers[primary].port, False)
        node = on.database.announcer
        on.lab.machines.power_off(node)

        async def silent() -> bool:
            return on.database.silent

        await until(silent, 15)

        async def elsewhere() -> bool:
            try:
                row = await reached()
            except (psycopg.Error, TimeoutError):
                return False
            return isinstance(row, tuple) and row[1] is False and on.database.announcer != node

        await until(elsewhere, 30)
        on.lab.machines.power_on(node)
        await on.until_whole(60)

    real.play(scene)
