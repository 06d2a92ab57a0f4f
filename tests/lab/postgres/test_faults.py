"""Each fault of the database shows in the servers, and ends."""

from __future__ import annotations

import asyncio

import pytest

from coldtui.domain.errors import NotFound, UsageError
from coldtui.domain.replication import lsn
from coldtui.lab.postgres.faults import SEGMENT_B, PgFaults
from tests.lab.conftest import until
from tests.lab.postgres.conftest import Place, Site

pytestmark = pytest.mark.timeout(180)
MIB = 1 << 20


def behind(primary: dict[str, str], standby: dict[str, str], key: str) -> int:
    here, there = lsn(primary["currentLsn"]), lsn(standby[key])
    assert here is not None
    assert there is not None
    return here - there


def test_a_standby_that_does_not_replay(real: Site) -> None:
    """Everything is received and 3 MiB are not replayed; after the fault it catches up."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        primary, standby = faults.primary, next(n for n in on.database.servers if n != faults.primary)
        await faults.switch("pg-lagging", True, {"instance": standby, "bytes": 3 * MIB})

        async def received() -> bool:
            said, other = await on.manager(primary), await on.manager(standby)
            return other["replayPaused"] is True and behind(said, other, "receivedLsn") == 0 and behind(said, other, "replayLsn") >= 3 * MIB

        await until(received)
        await faults.switch("pg-lagging", False, {})
        await on.until_whole()

    real.play(scene)


def test_standbys_without_a_line_to_the_primary(real: Site) -> None:
    """Both receive nothing while 16 MiB are written: what a failover would lose now is that, to the byte of what was written."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        await faults.switch("pg-cut-off", True, {"instance": "all"})
        for name in set(on.database.servers) - {faults.primary}:
            said, other = await on.manager(faults.primary), await on.manager(name)
            assert other["isWalReceiverActive"] is False
            assert SEGMENT_B <= behind(said, other, "receivedLsn") < 2 * SEGMENT_B

        async def nobody_streams() -> bool:
            """The walsenders end when they find that nobody listens."""
            return "replicationInfo" not in await on.manager(faults.primary)

        await until(nobody_streams)
        await faults.switch("pg-cut-off", False, {})
        await on.until_whole()

    real.play(scene)


def test_a_standby_that_crashes(real: Site) -> None:
    """Its container loops, the phase says two of three, and after the fault it streams again."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        name = next(n for n in on.database.servers if n != faults.primary)
        await faults.switch("pg-standby-lost", True, {"instance": name})

        async def looping() -> bool:
            state = (await on.pod(name))["status"]["containerStatuses"][0]["state"]
            return (state.get("waiting", {}).get("reason"), (await on.status())["readyInstances"]) == ("CrashLoopBackOff", 2)

        await until(looping)
        await faults.switch("pg-standby-lost", False, {})
        await on.until_whole(60)

    real.play(scene)


def test_three_sessions_in_a_chain(real: Site) -> None:
    """The third waits for the second, which waits for the first, which is idle in its transaction; terminating the first frees both."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        primary = faults.primary
        await faults.switch("pg-blocking", True, {})
        query = "SELECT application_name, pid, pg_blocking_pids(pid), state FROM pg_stat_activity WHERE usename = 'app' AND backend_type = 'client backend'"
        rows = {str(r[0]): r for r in on.sql(primary, query)}
        assert rows["web-checkout"][2] == [rows["report-nightly"][1]]
        assert rows["report-nightly"][2] == [rows["billing-import"][1]]
        assert rows["billing-import"][3] == "idle in transaction"
        on.sql(primary, f"SELECT pg_terminate_backend({rows['billing-import'][1]})")

        async def free() -> bool:
            waiting = "SELECT pid FROM pg_stat_activity WHERE pg_blocking_pids(pid) = ARRAY[%s]"
            return not await asyncio.to_thread(on.sql, primary, waiting % rows["billing-import"][1])

        await until(free)
        await faults.switch("pg-blocking", False, {})

        async def gone() -> bool:
            return not await asyncio.to_thread(on.sql, primary, query)

        await until(gone)

    real.play(scene)


def test_an_archive_that_refuses(real: Site) -> None:
    """Segments wait, the failed one has a name, the condition says so; afterwards it is empty again."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        primary = faults.primary
        await faults.switch("archiver-failing", True, {})

        async def failing() -> bool:
            said = await on.manager(primary)
            conditions = {c["type"]: c["status"] for c in (await on.status())["conditions"]}
            return bool(
                "isArchivingWAL" not in said
                and said.get("readyWalFiles", 0) >= 1
                and said["lastFailedWAL"]
                and conditions["ContinuousArchiving"] == "False"
            )

        await until(failing)
        await faults.switch("archiver-failing", False, {})

        async def archiving() -> bool:
            said = await on.manager(primary)
            return bool(said.get("isArchivingWAL") and not said.get("readyWalFiles"))

        await until(archiving, 70)  # the archiver rests for a minute after three failures

    real.play(scene)


def test_a_switchover_that_nobody_carries_out(real: Site) -> None:
    """The patch is accepted and nothing follows, until the fault ends."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        target = next(n for n in on.database.servers if n != old)
        await faults.switch("switchover-ignored", True, {})
        await on.promote(target)
        await asyncio.sleep(1.5)  # longer than a switchover takes here
        status = await on.status()
        assert (status["currentPrimary"], status["targetPrimary"], status["phase"]) == (old, target, "Switchover in progress")
        assert on.database.servers[old].running
        await faults.switch("switchover-ignored", False, {})

        async def moved() -> bool:
            return bool((await on.status())["currentPrimary"] == target)

        await until(moved)
        await on.until_whole()

    real.play(scene)


def test_a_split_brain(real: Site) -> None:
    """Two instances report that they are primary, on two timelines; nobody acts; afterwards the second is a standby again, without what it wrote."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        primary = faults.primary
        other = next(n for n in on.database.servers if n != primary)
        await faults.switch("pg-split-brain", True, {"instance": other})

        async def reported() -> bool:
            state = (await on.status())["instancesReportedState"]
            return [n for n, v in state.items() if v["isPrimary"]] == sorted([primary, other]) and state[primary]["timeLineID"] != state[
                other
            ]["timeLineID"]

        await until(reported)
        on.sql(other, "CREATE TABLE of_the_other (n int)", "app")
        assert (await on.status())["targetPrimary"] == primary
        await faults.switch("pg-split-brain", False, {})
        await on.until_whole()
        assert on.sql(other, "SELECT to_regclass('of_the_other')", "app") == [(None,)]

    real.play(scene)


def test_a_primary_killed_under_load(real: Site) -> None:
    """Somebody else leads, the client goes on writing, and the end of the load says how much was lost."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        await faults.switch("pg-primary-killed", True, {"stays": 1})

        async def moved() -> bool:
            return bool((await on.status())["currentPrimary"] != old)

        await until(moved, 30)
        load = faults.load
        assert load is not None

        async def back() -> bool:
            return bool(load.gaps)

        await until(back, 20)
        await faults.switch("pg-primary-killed", False, {})
        await on.until_whole(60)
        said = await faults.switch("pg-load", False, {})
        assert said.startswith(f"{len(load.acknowledged)} rows were acknowledged, ")
        assert faults.load is None

    real.play(scene)


def test_mistakes_have_a_remedy(real: Site) -> None:
    """An instance that does not exist, and a fault of a standby on the primary."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        with pytest.raises(NotFound) as unknown:
            await faults.switch("pg-lagging", True, {"instance": "postgres-9"})
        assert unknown.value.hint == "known: postgres-1, postgres-2, postgres-3"
        with pytest.raises(UsageError):
            await faults.switch("pg-cut-off", True, {"instance": faults.primary})
        with pytest.raises(UsageError):
            await faults.switch("pg-load", True, {"rate": "fast"})

    real.play(scene)


def test_the_operator_is_gone(real: Site) -> None:
    """With no operator the instances still switch over, but no label moves and the phase stays; afterwards everything is put right."""

    async def scene(on: Place) -> None:
        faults = PgFaults(on.lab, on.database)
        old = faults.primary
        target = next(n for n in on.database.servers if n != old)
        await faults.switch("operator-down", True, {})
        await on.promote(target)

        async def promoted() -> bool:
            return bool((await on.status())["currentPrimary"] == target)

        await until(promoted)
        assert (await on.pod(old))["metadata"]["labels"]["cnpg.io/instanceRole"] == "primary"
        assert (await on.status())["phase"] == "Switchover in progress"
        await faults.switch("operator-down", False, {})
        await on.until_whole()
        assert await on.endpoints("rw") == [target]

    real.play(scene)
