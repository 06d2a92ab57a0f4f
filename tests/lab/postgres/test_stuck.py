"""Every situation in which nobody is elected shows the sign by which an operator knows it, and ends."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from datetime import datetime

import pytest

from coldtui.domain.replication import lsn
from coldtui.lab.client import EVENTS, PG_CLUSTERS, PG_QUORUMS, PODS, ApiError, Json
from coldtui.lab.controllers.base import pod_ready
from coldtui.lab.postgres.faults import PgFaults
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NAME, NS, PACE, Place, Site, site_in

pytestmark = pytest.mark.timeout(180)
MIB = 1 << 20


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Here a killed primary stays down until it is told otherwise: its back-off need not be longer than a failover."""
    with site_in(tmp_path_factory.mktemp("site"), dataclasses.replace(PACE, crash_backoff=0.4)) as made:
        yield made


async def warned(on: Place, since: datetime) -> bool:
    """The operator has said of this Cluster that the status of its primary fails."""
    events = (await on.client.list(EVENTS, NS, fields="reason=PrimaryStatusCheckFailed"))[0]
    return any(
        e["type"] == "Warning" and e["involvedObject"]["kind"] == "Cluster" and datetime.fromisoformat(e["lastTimestamp"]) >= since
        for e in events
    )


async def fails(on: Place, name: str) -> int:
    """The code with which the status of an instance is refused; 0: it is answered."""
    try:
        await on.manager(name)
    except ApiError as error:
        return error.code
    return 0


async def left_alone(on: Place, seconds: float = 0.0) -> None:
    """For longer than a failover takes to begin the primary stays what it is, in the eyes of everybody."""
    primary = (await on.status())["currentPrimary"]
    await asyncio.sleep(seconds or on.lab.pace.unready * 2 + on.lab.pace.lease)
    status = await on.status()
    assert (status["currentPrimary"], status["targetPrimary"]) == (primary, primary)


async def leads(on: Place, *names: str, seconds: float = 30.0) -> str:
    """One of these has become primary; returns it."""

    async def moved() -> bool:
        return (await on.status())["currentPrimary"] in names

    await until(moved, seconds)
    return str((await on.status())["currentPrimary"])


async def turns(on: Place, primary: str) -> set[str]:
    """The targets between which the operator goes to and fro while nobody is elected."""
    seen: list[str] = []

    def changed(_: object, after: Json | None) -> None:
        if after is not None and seen[-1:] != [after["status"]["targetPrimary"]]:
            seen.append(after["status"]["targetPrimary"])

    on.lab.informers.of(PG_CLUSTERS).listen(changed)

    async def went_twice() -> bool:
        assert (await on.status())["currentPrimary"] == primary
        return len(seen) >= 6

    await until(went_twice, 30)
    return set(seen)


def others(on: Place, name: str) -> list[str]:
    return [n for n in on.database.servers if n != name]


async def unready(on: Place, name: str) -> bool:
    return not pod_ready(await on.pod(name))


def test_a_frozen_primary(real: Site) -> None:
    """Its status fails and the operator warns; once its pod is not Ready somebody is elected, and waits for the lease that is renewed all the time;
    only the deletion of the pod without grace gives the lead to them."""

    async def scene(on: Place) -> None:
        faults, began = PgFaults(on.lab, on.database), on.lab.now().replace(microsecond=0)
        old = faults.primary
        await faults.switch("pg-primary-wedged", True, {})
        await until(lambda: warned(on, began))
        assert await fails(on, old) == 500
        await until(lambda: unready(on, old))

        async def elected() -> bool:
            return bool((await on.status())["targetPrimary"] in others(on, old))

        await until(elected, 20)
        target = (await on.status())["targetPrimary"]
        await asyncio.sleep(on.lab.pace.lease * 2)
        status = await on.status()
        assert (status["currentPrimary"], status["targetPrimary"], status["phase"]) == (old, target, "Failing over")
        assert await on.lease() == old
        await on.client.delete(PODS, old, NS, grace_s=0)  # way B
        assert await leads(on, *others(on, old)) == target
        await faults.switch("pg-primary-wedged", False, {})
        await on.until_whole(60)
        assert on.sql(old, "SELECT pg_is_in_recovery()") == [(True,)]

    real.play(scene)


def test_a_frozen_primary_goes_on(real: Site) -> None:
    """At the end of the fault it is the primary that it was, on the same timeline."""

    async def scene(on: Place) -> None:
        faults, before = PgFaults(on.lab, on.database), await on.status()
        await faults.switch("pg-primary-wedged", True, {})
        await faults.switch("pg-primary-wedged", False, {})
        assert await on.until_whole() == before["currentPrimary"]
        assert (await on.status())["timelineID"] == before["timelineID"]
        assert "lab.coldtui/stop-seconds" not in (await on.pod(faults.primary))["metadata"]["annotations"]

    real.play(scene)


def test_a_status_that_cannot_be_read(real: Site) -> None:
    """The primary takes writes all the time, the operator warns, and nobody is elected."""

    async def scene(on: Place) -> None:
        faults, began = PgFaults(on.lab, on.database), on.lab.now().replace(microsecond=0)
        await faults.switch("pg-status-cut", True, {})
        assert await fails(on, faults.primary) == 500
        await until(lambda: warned(on, began))
        await left_alone(on)
        assert on.sql(faults.primary, "CREATE TABLE IF NOT EXISTS works_on (n int)", "app") == []
        await faults.switch("pg-status-cut", False, {})
        assert await fails(on, faults.primary) == 0

    real.play(scene)


def test_a_failover_that_stalls(real: Site) -> None:
    """The target alternates between ``pending`` and the dead primary, and nobody is elected until somebody patches the target."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        target = others(on, old)[1]
        await faults.switch("failover-stalls", True, {})
        await faults.switch("pg-primary-killed", True, {"stays": 1})
        assert await turns(on, old) == {old, "pending"}
        while (await on.status())["currentPrimary"] == old:  # it may be taken back in the same moment
            await on.promote(target)
            await asyncio.sleep(1)
        assert await leads(on, target) == target
        await faults.switch("failover-stalls", False, {})
        await faults.switch("pg-primary-killed", False, {})
        await faults.switch("pg-load", False, {})
        await on.until_whole(60)

    real.play(scene)


def test_a_failover_that_is_delayed(real: Site) -> None:
    """The operator writes since when the primary fails and waits; taken back, the delay is over at once."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        await faults.switch("failover-delay", True, {"seconds": 120})
        await faults.switch("pg-primary-killed", True, {"stays": 1})

        async def counting() -> bool:
            return bool((await on.status()).get("currentPrimaryFailingSinceTimestamp"))

        await until(counting)
        await left_alone(on)
        assert (await on.client.get(PG_CLUSTERS, NAME, NS))["spec"]["failoverDelay"] == 120
        await faults.switch("failover-delay", False, {})
        await leads(on, *others(on, old))
        assert not await counting()
        await faults.switch("pg-primary-killed", False, {})
        await faults.switch("pg-load", False, {})
        await on.until_whole(60)

    real.play(scene)


def test_a_quorum_that_is_not_met(real: Site) -> None:
    """Commits wait for one of two standbys; with one of these down nobody is elected, with both there the election is allowed and loses nothing."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        lost = others(on, old)[1]
        await faults.switch("quorum-lost", True, {"instance": lost})
        said = (await on.client.get(PG_QUORUMS, NAME, NS))["status"]
        assert said == {"method": "any", "standbyNumber": 1, "standbyNames": others(on, old), "primary": old}
        assert on.sql(old, "SELECT sync_state FROM pg_stat_replication") == [("quorum",)]
        await faults.switch("pg-primary-killed", True, {"stays": 1})
        await left_alone(on)
        on.database.managers.orders.lost.discard(lost)
        await leads(on, *others(on, old))
        await faults.switch("quorum-lost", False, {})
        await faults.switch("pg-primary-killed", False, {})
        await on.until_whole(60)
        assert ", 0 of them are lost" in await faults.switch("pg-load", False, {})
        with pytest.raises(ApiError):
            await on.client.get(PG_QUORUMS, NAME, NS)
        assert on.sql(faults.primary, "SHOW synchronous_standby_names") == [("",)]

    real.play(scene)


def test_a_primary_that_is_not_ready(real: Site) -> None:
    """Its server works and answers as primary: it is taken out of the service, and nobody is elected."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        name = faults.primary
        await faults.switch("pg-primary-unready", True, {})

        async def out() -> bool:
            return not await on.endpoints("rw")

        await until(out)
        await left_alone(on)
        assert (await on.manager(name))["isPrimary"] is True
        await faults.switch("pg-primary-unready", False, {})
        assert await on.until_whole() == name

    real.play(scene)


def test_a_receiver_that_does_not_end(real: Site) -> None:
    """The target is ``pending`` and the old primary by turns for as long as a standby says that its WAL receiver runs."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        await faults.switch("pg-receiver-held", True, {})
        await faults.switch("pg-primary-killed", True, {"stays": 1})
        assert await turns(on, old) == {old, "pending"}
        assert (await on.manager(others(on, old)[-1]))["isWalReceiverActive"] is True
        assert (await on.status())["phase"] == "Failing over"
        await faults.switch("pg-receiver-held", False, {})
        await leads(on, *others(on, old))
        await faults.switch("pg-primary-killed", False, {})
        await faults.switch("pg-load", False, {})
        await on.until_whole(60)

    real.play(scene)


def test_standbys_that_are_held_back(real: Site) -> None:
    """One lacks 20 MiB, the other 4: the latter is elected, what was not received is lost to the byte, and both others come after it."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        better, worse = others(on, old)
        await faults.switch("pg-held-back", True, {"instance": worse, "bytes": 16 * MIB})
        said = await faults.switch("pg-held-back", True, {"instance": better, "bytes": 4 * MIB, "kill": 1, "stays": 1})
        there = {name: await on.manager(name) for name in (better, worse)}
        received = {name: lsn(s["receivedLsn"]) or 0 for name, s in there.items()}
        assert received[better] - received[worse] >= 16 * MIB
        last = lsn(said.partition("killed at about ")[2].partition(";")[0]) or 0
        assert await leads(on, *others(on, old)) == better
        timeline = (await on.manager(better))["timeLineID"]
        history = on.database.servers[better].data / "pg_wal" / f"{timeline:08X}.history"
        fork = lsn(history.read_text().strip().splitlines()[-1].split()[1]) or 0
        assert 4 * MIB <= last - fork < 5 * MIB
        assert fork == received[better]
        await faults.switch("pg-held-back", False, {})
        await faults.switch("pg-load", False, {})
        assert await on.until_whole(60) == better

    real.play(scene)


def test_a_diverged_standby(real: Site) -> None:
    """It crashes at each start, the phase calls the cluster healthy with two of three ready, and a new copy cures it."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        name = others(on, faults.primary)[0]
        mark = on.database.servers[name].data / "of-the-old-one"
        mark.touch()
        await faults.switch("pg-diverged", True, {"instance": name})

        async def called_healthy() -> bool:
            status = await on.status()
            return (status["phase"], status["readyInstances"]) == ("Cluster in healthy state", 2)

        await until(called_healthy, 60)
        await on.client.patch(PODS, name, {"metadata": {"annotations": {"alpha.cnpg.io/unrecoverable": "true"}}}, NS)
        await on.until_whole(60)
        assert not mark.exists()
        assert name not in on.database.managers.orders.diverged

    real.play(scene)
