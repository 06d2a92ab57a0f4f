"""Hibernate and wake on real servers: killed in between, taken back by others, and the same database afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldtui.domain.errors import StepFailed
from coldtui.lab.client import CLAIMS, PODS
from coldtui.operations.postgres.hibernating import HIBERNATE_CLUSTER, WAKE_CLUSTER, HibernateCluster, WakeCluster
from coldtui.operations.postgres.hibernation_steps import Hibernating, Waking
from tests.lab.postgres.conftest import NAME, NS, Place, Site
from tests.operations.postgres.ground import QUICK, ground
from tests.operations.postgres.running import Act, planned

pytestmark = pytest.mark.timeout(240)


async def claims(on: Place) -> dict[str, str]:
    found = (await on.client.list(CLAIMS, NS, labels=f"cnpg.io/cluster={NAME}"))[0]
    return {claim["metadata"]["name"]: claim["metadata"]["uid"] for claim in found}


def test_a_cluster_sleeps_and_wakes(real: Site, tmp_path: Path) -> None:
    """No pod, every volume, the condition; killed after the order and taken up again. Awake: the same database on its timeline, whole, with its rows."""

    async def scene(on: Place) -> None:
        primary, before = (await on.status())["currentPrimary"], await on.status()
        kept = await claims(on)
        assert len(kept) == 3
        on.sql(primary, "CREATE TABLE sleeper AS SELECT 42 AS n", "app")
        async with ground(on, tmp_path) as at:
            sleep, wake = HibernateCluster(NAME), WakeCluster(NAME)
            act = Act(at, await planned(at, HIBERNATE_CLUSTER, sleep), sleep, (Hibernating(QUICK),), 1)
            await act.killed_when("asked")
            assert not (await planned(at, WAKE_CLUSTER, wake)).blocked  # it can be taken back in the middle
            await act.perform()
            assert not (await on.client.list(PODS, NS, labels="cnpg.io/podRole=instance"))[0]
            assert await claims(on) == kept
            assert not any(server.running for server in on.database.servers.values())
            await act.perform()  # a third attempt finds it done
            assert (await planned(at, HIBERNATE_CLUSTER, sleep)).done == f"{NAME} is hibernated already"

            act = Act(at, await planned(at, WAKE_CLUSTER, wake), wake, (Waking(QUICK),), 2)
            await act.perform()
            assert f"{NAME} is awake: {primary} leads, 3 of 3 instances are ready" in act.said
            await act.perform()
            assert (await planned(at, WAKE_CLUSTER, wake)).done == f"{NAME} is not hibernated"
        after = await on.status()
        assert await on.until_whole() == primary
        assert (after["systemID"], after["timelineID"]) == (before["systemID"], before["timelineID"])
        assert on.sql(primary, "SELECT n FROM sleeper", "app") == [(42,)]

    real.play(scene)


def test_waking_is_killed(real: Site, tmp_path: Path) -> None:
    """Killed right before its order is sent, and right after: it is awake in the end, by one order. Hibernated without a kill it says what it kept."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            sleep, wake = HibernateCluster(NAME), WakeCluster(NAME)
            act = Act(at, await planned(at, HIBERNATE_CLUSTER, sleep), sleep, (Hibernating(QUICK),), 1)
            await act.perform()
            assert f"{NAME} is hibernated: no instance runs, 3 claims kept" in act.said
            act = Act(at, await planned(at, WAKE_CLUSTER, wake), wake, (Waking(QUICK),), 2)
            await act.killed_when("begun")
            await act.killed_when("asked")
            await act.perform()
            assert not (await planned(at, WAKE_CLUSTER, wake)).steps
            await on.until_whole()

    real.play(scene)


def test_it_is_taken_back_meanwhile(real: Site, tmp_path: Path) -> None:
    """Somebody takes the annotation off while it is waited for: the run says so and ends, and does not order it again."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            sleep = HibernateCluster(NAME)
            act = Act(at, await planned(at, HIBERNATE_CLUSTER, sleep), sleep, (Hibernating(QUICK),), 1)
            await act.killed_when("sent")
            await on.annotate(hibernation="off")
            with pytest.raises(StepFailed, match="was taken back by somebody"):
                await act.perform()
            await on.until_whole()

    real.play(scene)
