"""Re-clone on real servers: killed at each moment, a role change in between, and a new copy that streams."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.errors import Refused, StepFailed
from coldtui.domain.plans import Outlook
from coldtui.lab.client import CLAIMS, JOBS, PODS, ApiError
from coldtui.operations.postgres.recloning import RECLONE_INSTANCE, RecloneInstance
from coldtui.operations.postgres.recloning_steps import Copying, Recloning
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NS, Place, Site
from tests.operations.postgres.ground import QUICK, Ground, ground
from tests.operations.postgres.running import Act, planned

pytestmark = pytest.mark.timeout(240)


async def uids(on: Place, name: str) -> tuple[str, str]:
    return (await on.client.get(CLAIMS, name, NS))["metadata"]["uid"], (await on.pod(name))["metadata"]["uid"]


def job_of(name: str) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "join", "image": "postgresql"}]}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": NS}, "spec": {"template": template}}


async def act_on(on: Place, at: Ground, number: int = 1) -> tuple[str, Act]:
    primary = (await on.status())["currentPrimary"]
    name = next(n for n in on.database.servers if n != primary)
    params = RecloneInstance(name)
    return name, Act(at, await planned(at, RECLONE_INSTANCE, params), params, (Recloning(QUICK),), number)


def test_a_standby_is_copied_anew(real: Site, tmp_path: Path) -> None:
    """Another volume, another pod, none of its old files, all rows; the others keep their volumes, and it streams. The job of an older copy is gone."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            name, act = await act_on(on, at)
            before = {n: await uids(on, n) for n in on.database.servers}
            mark = on.database.servers[name].data / "of-the-old-one"
            mark.touch()
            primary = (await on.status())["currentPrimary"]
            on.sql(primary, "CREATE TABLE copied AS SELECT 7 AS n", "app")
            await on.client.create(JOBS, job_of(f"{name}-join"))
            await act.perform()
            assert await on.client.find(JOBS, f"{name}-join", NS) is None
            assert f"job {name}-join is deleted, it was left of the old copy" in act.said
            assert act.memo["outcome"].startswith(f"{name} was thrown away; {name} is a new copy and streams from {primary}")
            after = {n: await uids(on, n) for n in on.database.servers}
            assert not mark.exists()
            assert not set(after[name]) & set(before[name])
            assert all(after[n] == before[n] for n in after if n != name)
        assert await on.until_whole() == primary
        assert on.sql(name, "SELECT n FROM copied", "app") == [(7,)]

    real.play(scene)


def test_one_that_cannot_start_is_cured(real: Site, tmp_path: Path) -> None:
    """Its data is broken and it crashes at each start: the plan says that nobody knows what it has, and afterwards it streams with all rows."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        server = on.database.servers[name]
        on.sql(primary, "CREATE TABLE cured AS SELECT 9 AS n", "app")
        on.database.managers.orders.lost.add(name)  # while it is down, so that it does not write the file anew
        await asyncio.to_thread(server.kill)
        (server.data / "global" / "pg_control").write_bytes(b"broken")
        on.database.managers.orders.lost.discard(name)
        async with ground(on, tmp_path) as at:
            params = RecloneInstance(name)

            async def unknown() -> bool:
                plan = await planned(at, RECLONE_INSTANCE, params)
                return "postgres.reclone.data-unread" in {f.code for f in plan.findings}

            await until(unknown, 30)
            plan = await planned(at, RECLONE_INSTANCE, params)
            assert (plan.outlook, plan.blocked) == (Outlook.NOT_EVALUATED, "")
            act = Act(at, plan, params, (Recloning(QUICK),), 1)
            await act.perform()
            assert act.memo["outcome"].startswith(f"{name} was thrown away")
        assert await on.until_whole() == primary
        assert on.sql(name, "SELECT n FROM cured", "app") == [(9,)]

    real.play(scene)


def told(words: str) -> Callable[[Act], bool]:
    return lambda act: any(words in said for said in act.said)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(lambda act: bool(act.memo.get("asked")), id="before its pod is deleted"),
        pytest.param(told("is told to end"), id="between pod and volume"),
        pytest.param(told("is deleted, it goes"), id="after its volume"),
    ],
)
def test_killed_it_is_thrown_away_once(moment: Callable[[Act], bool], real: Site, tmp_path: Path) -> None:
    """Taken up again by what the journal holds: one more volume and no second one, and a third attempt deletes nothing."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            name, act = await act_on(on, at)
            before = await uids(on, name)
            await act.killed_once(lambda: moment(act))
            await act.perform()
            after = await uids(on, name)
            assert not set(after) & set(before)
            await act.perform()
            assert await uids(on, name) == after
            assert sum("volume claim" in said and "is deleted" in said for said in act.said) <= 1
        await on.until_whole()

    real.play(scene)


def test_a_pod_without_its_volume_does_not_stay(real: Site, tmp_path: Path) -> None:
    """The operator made the pod again before the volume was deleted, and the runner died then: a pod without a volume is made anew, a new volume is there."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            name, act = await act_on(on, at)
            before = await uids(on, name)
            await act.killed_when("asked")
            with contextlib.suppress(ApiError):
                await on.client.delete(PODS, name, NS)

            async def again() -> bool:
                try:
                    return bool((await on.pod(name))["metadata"]["uid"] != before[1])
                except ApiError:
                    return False

            await until(again, 20)
            with contextlib.suppress(ApiError):
                await on.client.delete(CLAIMS, name, NS)
            await act.perform()
            # The operator may have given a volume to the pod before the run looked: as good. That the copy streams is what `perform` waits for.
            after = await uids(on, name)
            assert not set(after) & set(before)
        await on.until_whole()

    real.play(scene)


def test_one_that_is_to_lead_keeps_its_data(real: Site, tmp_path: Path) -> None:
    """Between the kill and the resume a switchover to it began: the run ends, and nothing of it was deleted."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            name, act = await act_on(on, at)
            claim, _ = await uids(on, name)
            await act.killed_when("begun")
            await on.promote(name)
            with pytest.raises((StepFailed, Refused), match=r"PRIMARY|to be the primary|leads now"):
                await act.perform()
            assert (await uids(on, name))[0] == claim
        await on.until_whole()

    real.play(scene)


def test_a_copy_is_followed(real: Site, tmp_path: Path) -> None:
    """A base backup that goes slowly is told with how much is there, of how much, and the rate between two looks; without one nothing is said."""

    async def scene(on: Place) -> None:
        primary = on.database.servers[(await on.status())["currentPrimary"]]
        folder = primary.data.parent / "slow-copy"
        folder.mkdir(mode=0o700)
        primary.programs.own(folder)
        source = f"host=127.0.0.1 port={primary.port} user=streaming_replica passfile={on.database.servers.inner_passfile}"
        async with ground(on, tmp_path) as at:
            _, act = await act_on(on, at)
            copying, ctx = Copying(), act.context()
            assert await copying.look(primary.name, ctx) == ""
            copy = primary.programs.spawn(
                "pg_basebackup", "-D", str(folder), "-d", source, "-c", "fast", "-r", "1M", log=tmp_path / "copy.log"
            )
            try:

                async def measured() -> bool:
                    words = await copying.look(primary.name, ctx)
                    return "streaming database files" in words and "/s, " in words and " copied, " in words and words.endswith(" s left")

                await until(measured, 20)
                assert 0 < copying.rate_b < 4 << 20
            finally:
                copy.terminate()
                await asyncio.to_thread(copy.wait, 10)
                await asyncio.to_thread(shutil.rmtree, folder)

    real.play(scene)
