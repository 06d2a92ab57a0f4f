"""The life of instances: hibernation, restarts, volumes that are lost, machines without power."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from coldtui.lab.client import PG_CLUSTERS, PODS
from coldtui.lab.controllers.base import micro
from coldtui.lab.controllers.cnpg import HEALTHY
from coldtui.lab.postgres.load import writing
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NAME, NS, Place, Site

pytestmark = pytest.mark.timeout(240)


def test_hibernation(real: Site) -> None:
    """All servers stop, the primary first, and the condition says so; afterwards it is gone, and the same primary leads the same data."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        on.sql(primary, "CREATE TABLE kept (n int)", "app")
        await on.annotate(hibernation="on")

        async def asleep() -> bool:
            conditions = {c["type"]: c["status"] for c in (await on.status())["conditions"]}
            pods = (await on.client.list(PODS, NS, labels="cnpg.io/podRole=instance"))[0]
            return conditions.get("cnpg.io/hibernation") == "True" and not pods and not any(s.running for s in on.database.servers.values())

        await until(asleep, 30)
        ended = {n: max(line for line in s.log.read_text().splitlines() if "is shut down" in line) for n, s in on.database.servers.items()}
        assert min(ended, key=lambda n: ended[n]) == primary
        await on.annotate(hibernation="off")
        assert await on.until_whole() == primary
        assert on.sql(primary, "SELECT to_regclass('kept')", "app") == [("kept",)]
        assert "cnpg.io/hibernation" not in {c["type"] for c in (await on.status())["conditions"]}

    real.play(scene)


def test_hibernation_waits_for_health(real: Site) -> None:
    """Asked of a cluster whose phase is that of a failover, since the old primary crashes, it is put off, and the condition says so; taken back,
    nothing has happened."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        on.database.managers.orders.lost.add(old)
        on.database.servers[old].kill()

        async def moved() -> bool:
            return bool((await on.status())["currentPrimary"] != old)

        await until(moved, 30)
        await on.annotate(hibernation="on")

        async def put_off() -> bool:
            return "WaitingForHealthy" in {c["reason"] for c in (await on.status())["conditions"]}

        await until(put_off)
        assert (await on.status())["phase"] == "Failing over"
        assert len((await on.client.list(PODS, NS, labels="cnpg.io/podRole=instance"))[0]) == 3
        await on.annotate(hibernation=None)
        on.database.managers.orders.lost.discard(old)
        assert await on.until_whole() != old

    real.play(scene)


def test_a_rolling_restart(real: Site) -> None:
    """The annotation restarts every instance, the primary after a switchover, and then it ends."""

    async def scene(on: Place) -> None:
        before = await on.status()
        uids = {n: (await on.pod(n))["metadata"]["uid"] for n in before["instanceNames"]}
        at = datetime.now(UTC).isoformat()
        await on.client.patch(PG_CLUSTERS, NAME, {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}, NS)

        async def all_new() -> bool:
            pods = (await on.client.list(PODS, NS, labels="cnpg.io/podRole=instance"))[0]
            return len(pods) == 3 and all(p["metadata"]["uid"] != uids[p["metadata"]["name"]] for p in pods)

        await until(all_new, 60)
        assert await on.until_whole() != before["currentPrimary"]

    real.play(scene)


def test_a_primary_restarted_in_place(real: Site) -> None:
    """The phase that ``kubectl cnpg restart`` writes: the server is started anew and stays primary on its timeline."""

    async def scene(on: Place) -> None:
        before = await on.status()
        primary = before["currentPrimary"]
        since = on.sql(primary, "SELECT pg_postmaster_start_time()")
        status = {"phase": "Primary instance is being restarted in-place", "phaseReason": "asked for by the operator"}
        seen: list[tuple[str, str]] = []
        on.lab.informers.of(PG_CLUSTERS).listen(
            lambda _, after: seen.append((after["status"]["phase"], after["status"].get("phaseReason", ""))) if after else None
        )
        restarts = (await on.pod(primary))["status"]["containerStatuses"][0]["restartCount"]
        await on.client.patch_status(PG_CLUSTERS, NAME, status, NS)

        async def restarted() -> bool:
            if not on.database.servers[primary].running:
                return False
            return await asyncio.to_thread(on.sql, primary, "SELECT pg_postmaster_start_time()") != since

        async def whole() -> bool:
            return bool((await on.status())["phase"] == "Cluster in healthy state")

        await until(whole)
        await until(restarted)
        assert await on.until_whole() == primary
        assert (HEALTHY, "Primary instance restarted in-place") in seen
        assert (await on.pod(primary))["status"]["containerStatuses"][0]["restartCount"] == restarts
        assert (await on.status())["timelineID"] == before["timelineID"]

    real.play(scene)


def test_an_unrecoverable_instance_is_cloned_anew(real: Site) -> None:
    """The mark on a standby's pod throws its data away; a base backup of the primary takes its place and streams."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        server = on.database.servers[name]
        mark = server.data / "of-the-old-one"
        mark.touch()
        await on.client.patch(PODS, name, {"metadata": {"annotations": {"alpha.cnpg.io/unrecoverable": "true"}}}, NS)

        async def cloned() -> bool:
            return not mark.exists() and server.running and server.is_standby

        await until(cloned, 30)
        await on.until_whole()

    real.play(scene)


def test_a_deleted_pod_and_volume_is_cloned_anew(real: Site) -> None:
    """What ``kubectl cnpg destroy`` does: claim and pod are deleted, and the instance comes back from nothing."""

    async def scene(on: Place) -> None:
        from coldtui.lab.client import CLAIMS

        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        server = on.database.servers[name]
        mark = server.data / "of-the-old-one"
        mark.touch()
        await on.client.delete(CLAIMS, name, NS)
        assert (await on.client.get(CLAIMS, name, NS))["metadata"]["deletionTimestamp"]  # its pod still uses it
        await asyncio.sleep(on.lab.pace.notice * 3)
        assert mark.exists()
        assert server.running
        await on.client.delete(PODS, name, NS)

        async def cloned() -> bool:
            return not mark.exists() and server.running and server.is_standby

        await until(cloned, 30)
        await on.until_whole()

    real.play(scene)


def test_the_machine_of_the_primary_loses_power(real: Site) -> None:
    """Its server is gone at once, status asks in vain; another one leads when the lease is stale; with power the old one rejoins."""

    async def scene(on: Place) -> None:
        before = await on.status()
        old = before["currentPrimary"]
        node = (await on.pod(old))["spec"]["nodeName"]
        async with writing(on.database.app_dsn, on.database.servers.passwords.app) as load:

            async def written() -> bool:
                return bool(load.acknowledged)

            await until(written)
            on.lab.machines.power_off(node)

            async def dead() -> bool:
                return not on.database.servers[old].running

            await until(dead, 15)

            async def moved() -> bool:
                return bool((await on.status())["currentPrimary"] != old)

            await until(moved, 60)
            on.lab.machines.power_on(node)
            await on.until_whole(90)

            async def again() -> bool:
                return bool(load.gaps)

            await until(again, 30)
        assert (await on.status())["timelineID"] == before["timelineID"] + 1

    real.play(scene)


def test_a_cordoned_node_sends_its_primary_away(real: Site) -> None:
    """A primary on a node that is to be drained moves by itself."""

    async def scene(on: Place) -> None:
        from coldtui.lab.client import NODES

        old = (await on.status())["currentPrimary"]
        node = (await on.pod(old))["spec"]["nodeName"]
        await on.client.patch(NODES, node, {"spec": {"unschedulable": True}})

        async def moved() -> bool:
            return bool((await on.status())["currentPrimary"] != old)

        try:
            await until(moved, 30)
        finally:
            await on.client.patch(NODES, node, {"spec": {"unschedulable": None}})
        await on.until_whole()

    real.play(scene)


def test_a_lost_target_takes_the_switchover_back(real: Site) -> None:
    """When the pod of the target is gone before it was promoted, the operator puts the target back, and the primary is what it was."""

    async def scene(on: Place) -> None:
        before = await on.status()
        cluster = await on.client.get(PG_CLUSTERS, NAME, NS)
        body = {
            "metadata": {"resourceVersion": cluster["metadata"]["resourceVersion"]},
            "status": {
                "targetPrimary": "postgres-9",
                "targetPrimaryTimestamp": micro(datetime.now(UTC)),
                "phase": "Switchover in progress",
            },
        }
        await on.client.patch(PG_CLUSTERS, NAME, body, NS, sub="status")

        async def taken_back() -> bool:
            return bool((await on.status())["targetPrimary"] == before["currentPrimary"])

        await until(taken_back)
        assert await on.until_whole() == before["currentPrimary"]

    real.play(scene)
