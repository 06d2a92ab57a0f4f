"""What the operator and the instance managers wait for before they act, as the real ones do."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from coldtui.lab.client import PODS, Json
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NS, Place, Site

pytestmark = pytest.mark.timeout(180)


async def standbys(on: Place) -> list[str]:
    primary = (await on.status())["currentPrimary"]
    return [name for name in on.database.servers if name != primary]


def test_no_pod_is_made_while_an_instance_is_fenced(real: Site) -> None:
    """A standby whose pod is deleted meanwhile stays without one until the fence is lifted; its next pod has no role before it runs."""

    async def scene(on: Place) -> None:
        fenced, deleted = await standbys(on)
        roles: list[str] = []

        def changed(_: object, pod: Json | None) -> None:
            if pod is not None and pod["metadata"]["name"] == deleted and pod["metadata"]["uid"] != uid:
                roles.append(pod["metadata"]["labels"].get("cnpg.io/instanceRole", ""))

        uid = (await on.pod(deleted))["metadata"]["uid"]
        on.lab.informers.of(PODS).listen(changed)
        await on.annotate(fencedInstances=f'["{fenced}"]')

        async def two_ready() -> bool:
            return bool((await on.status())["readyInstances"] == 2)

        await until(two_ready)
        await on.client.delete(PODS, deleted, NS)

        async def gone() -> bool:
            return await on.client.find(PODS, deleted, NS) is None

        await until(gone)
        await asyncio.sleep(on.lab.pace.notice * 8)
        assert await gone()
        await on.annotate(fencedInstances=None)
        await on.until_whole()
        assert (roles[0], roles[-1]) == ("", "replica")

    real.play(scene)


def test_a_fenced_primary_says_what_its_files_say(real: Site) -> None:
    """It is still a primary, might be unavailable, and knows neither position nor timeline; the phase stays what it was."""

    async def scene(on: Place) -> None:
        status = await on.status()
        primary = status["currentPrimary"]
        await on.annotate(fencedInstances=f'["{primary}"]')

        async def stopped() -> bool:
            return not on.database.servers[primary].running and bool((await on.status())["readyInstances"] == 2)

        await until(stopped)
        said = await on.manager(primary)
        assert (said["isPrimary"], said["mightBeUnavailable"], said["systemID"]) == (True, True, "")
        assert {"currentLsn", "timeLineID", "isArchivingWAL"} & said.keys() == set()
        now = await on.status()
        assert (now["phase"], now["timelineID"]) == ("Cluster in healthy state", status["timelineID"])
        await on.annotate(fencedInstances=None)
        assert await on.until_whole() == primary

    real.play(scene)


def test_a_lease_is_taken_by_who_has_seen_it_unchanged(real: Site) -> None:
    """However stale the lease of a dead primary is, its successor looks at it for its whole duration first."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        on.database.managers.orders.lost.add(old)
        on.database.managers.orders.stalls = True
        on.database.servers[old].kill()
        await asyncio.sleep(on.lab.pace.lease * 2)
        on.database.managers.orders.stalls = False

        async def moved() -> bool:
            return bool((await on.status())["currentPrimary"] != old)

        await until(moved, 30)
        status = await on.status()
        named, led = (datetime.fromisoformat(status[f"{which}PrimaryTimestamp"]) for which in ("target", "current"))
        assert (led - named).total_seconds() >= on.lab.pace.lease * 0.9
        assert (status["phase"], status["phaseReason"]) == ("Failing over", f"Failing over from {old} to {status['currentPrimary']}")
        on.database.managers.orders.lost.discard(old)
        await on.until_whole()

    real.play(scene)
