"""Failovers with three real servers: what each way does, what it proves before and after, and what it says was lost."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.adapters.kube.adapter import connect as connect_kube
from coldtui.adapters.postgres import connect as connect_database
from coldtui.domain.errors import Cancelled, ColdError, NotFound, Refused, StepFailed, Unreachable, UsageError
from coldtui.domain.kinds import PODS
from coldtui.domain.plans import Outlook, Plan
from coldtui.domain.replication import lsn, lsn_text
from coldtui.domain.secret import Secret
from coldtui.domain.troubles import LineTrouble
from coldtui.lab.client import NODES
from coldtui.lab.postgres.faults import SEGMENT_B
from coldtui.lab.postgres.load import writing
from coldtui.operations.host_steps import kept
from coldtui.operations.postgres.positions import amount
from tests.lab.conftest import until
from tests.lab.postgres.conftest import Place, Site
from tests.operations.postgres.failover_ground import Ground, ground
from tests.operations.postgres.ground import config_of

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def operator_down(at: Ground) -> AsyncIterator[None]:
    await at.faults.switch("operator-down", True, {})
    try:
        yield
    finally:
        await at.faults.switch("operator-down", False, {})


@asynccontextmanager
async def killed(on: Place, name: str) -> AsyncIterator[None]:
    """The server is killed with -9 and does not start again before the end."""
    orders = on.database.managers.orders
    orders.lost.add(name)
    await asyncio.to_thread(on.database.servers[name].kill)
    on.database.managers.by_name[name].wake()
    try:
        yield
    finally:
        orders.lost.discard(name)


async def until_down(on: Place, name: str) -> None:
    async def down() -> bool:
        pod = await on.pod(name)
        return any(c["type"] == "Ready" and c["status"] == "False" for c in pod["status"]["conditions"])

    await until(down)


async def until_received(on: Place, primary: str) -> None:
    """Whatever is acknowledged by now is on both standbys."""
    position = str(on.sql(primary, "SELECT pg_current_wal_lsn()")[0][0])

    async def received() -> bool:
        statement = f"SELECT pg_last_wal_receive_lsn() >= '{position}'"
        return all(on.sql(name, statement) == [(True,)] for name in on.database.servers if name != primary)

    await until(received)


def test_a_killed_primary_is_replaced_by_hand_while_the_operator_is_down(real: Site, tmp_path: Path) -> None:
    """The kubelet proves that it is stopped, the best replica is named and leads; the Service follows with the operator, and every row that it had is there."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        line = (await on.status())["timelineID"]
        async with ground(on, tmp_path) as at, writing(on.database.app_dsn, on.database.servers.passwords.app) as load:

            async def written() -> bool:
                return len(load.acknowledged) > 20

            await until(written)
            async with operator_down(at):
                safe = list(load.acknowledged)
                await until_received(on, old)
                async with killed(on, old):
                    await until_down(on, old)
                    plan = await at.plan()
                    assert [step.name.partition(".")[2] for step in plan.steps] == ["prove-stopped", "promote", "verify-failover"]
                    going = at.going(plan)
                    task = asyncio.create_task(going.perform())

                    async def missed() -> bool:
                        return any("cnpg-controller-manager back" in text for text in going.said)

                    await until(missed, 60)
            await task
            to = going.promotion["leads"]
            assert (to, going.promotion["line"]) == (plan.steps[-1].args["to"], line + 1)
            assert going.memo_of("postgres.prove-stopped")["proof"] == "container"
            assert any(f"{to} leads alone" in text for text in going.said)
            assert f"{old} is back and streams" in going.left
            assert kept(going.ctx, "outage_ms") > 0
        await on.until_whole()
        server = on.database.servers[(await on.status())["currentPrimary"]]
        beyond = server.sql(f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{lsn_text(going.promotion['switch'])}') > 0")
        assert beyond == [(True,)]
        assert not set(await load.missing(server.dsn("app"))) & set(safe)

    real.play(scene)


def test_a_primary_that_is_well_is_refused_and_a_cancelled_run_leaves_nothing(real: Site, tmp_path: Path) -> None:
    """On real servers: nothing to fail over, a fence that stands in the way, a position that is none, and a run that is stopped before it acts."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        async with ground(on, tmp_path) as at, operator_down(at):
            assert f"{old} is well: switch over instead" in (await at.plan()).blocked
            with pytest.raises(UsageError, match="no WAL position"):
                await at.plan(primary_lsn="yesterday")
            with pytest.raises(NotFound, match="no instance nobody"):
                await at.plan(to="nobody")
            await on.annotate(fencedInstances=f'["{old}"]')
            try:
                await until_down(on, old)
                assert f"{old} is fenced: a fenced primary keeps its lease" in (await at.plan()).blocked
            finally:
                await on.annotate(fencedInstances=None)

            async def up() -> bool:
                return not (await at.plan()).steps

            await until(up)
            async with killed(on, old):
                await until_down(on, old)
                going = at.going(await at.plan())
                going.ctx.cancel()
                with pytest.raises(Cancelled):
                    await going.perform()
            assert going.left == ""
            assert (await on.status())["targetPrimary"] == old

    real.play(scene)


def test_with_the_api_away_it_says_what_that_means(tmp_path: Path, real: Site) -> None:
    """Instances act on the Cluster object alone: nothing can be promoted through an API that does not answer."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            away = tmp_path / "kubeconfig"
            text = on.kubeconfig.read_text()
            away.write_text(re.sub(r"(server: https://127\.0\.0\.1):\d+", r"\1:1", text))
            kube = connect_kube(kubeconfig=away, writable=False)
            try:
                at.means = replace(at.means, kube=kube)
                with pytest.raises(Unreachable) as failed:
                    await at.plan()
            finally:
                await kube.aclose()
            assert failed.value.title.startswith("nothing can be promoted while the Kubernetes API does not answer")
            assert "restart-k3s" in failed.value.hint

    real.play(scene)


def test_what_a_held_back_standby_loses_is_estimated_and_told_after(real: Site, tmp_path: Path) -> None:
    """16 MiB were not received: the estimate and the truth are within a segment of it; the runner that was killed after the patch is taken up again."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        async with ground(on, tmp_path) as at, operator_down(at):
            await at.faults.switch("pg-held-back", True, {"bytes": str(SEGMENT_B)})
            end = str(on.sql(old, "SELECT pg_current_wal_insert_lsn()")[0][0])
            try:
                async with killed(on, old):
                    await until_down(on, old)
                    plan = await at.plan(primary_lsn=end)
                    assert plan.outlook is Outlook.WOULD_LOSE
                    estimate = plan.steps[-1].args["estimate"]
                    assert abs(estimate - SEGMENT_B) < SEGMENT_B
                    assert f"about {amount(estimate)} would be lost: {old} had written up to {end}" in said_of(plan, "loss")
                    first = at.going(plan)
                    await first.killed_at(lambda event: event.text.startswith("asked for: "))
                    going = first.again()
                    task = asyncio.create_task(going.perform())

                    async def promoted() -> bool:
                        return bool(going.promotion.get("proven"))

                    await until(promoted, 60)
                await at.faults.switch("operator-down", False, {})
                await task
            finally:
                await at.faults.switch("pg-held-back", False, {})
            new = going.promotion["leads"]
            truth = (lsn(end) or 0) - going.promotion["switch"]
            assert going.promotion["loss"].startswith(
                f"at least {amount(truth)} of WAL lost: {old} had written up to {end} (as it was last seen)"
            )
            assert abs(truth - estimate) < SEGMENT_B
            assert await history_of(on, new) <= going.promotion["switch"]
            assert going.promotion["switch"] - await history_of(on, new) < SEGMENT_B

    real.play(scene)


async def history_of(on: Place, name: str) -> int:
    """Where the newest timeline of a server began, by its own history file."""
    line = (await on.status())["timelineID"]
    text = str(on.sql(name, f"SELECT pg_read_file('pg_wal/{line:08X}.history')")[0][0])
    found = lsn([row for row in text.splitlines() if row.strip()][-1].split()[1])
    assert found is not None
    return found


def said_of(plan: Plan, code: str) -> str:
    return next(f.sentence for f in plan.findings if f.code == f"postgres.failover.{code}")


def test_a_wedged_primary_is_deleted_and_replaced(real: Site, tmp_path: Path) -> None:
    """It answers nobody, its pod is Ready and its lease renewed: naming another would hang, so its pod is deleted, and the operator elects."""

    async def scene(on: Place) -> None:
        old, line = (await on.status())["currentPrimary"], (await on.status())["timelineID"]
        async with ground(on, tmp_path) as at:
            await at.faults.switch("pg-primary-wedged", True, {})
            try:
                plan = await at.plan()
                assert plan.steps[0].name == "postgres.stop-primary"
                assert "renews the lease" in said_of(plan, "way-patch")
                going = at.going(plan)
                await going.perform()
            finally:
                await at.faults.switch("pg-primary-wedged", False, {})
            assert going.promotion["leads"] != old
            assert going.promotion["line"] == line + 1
            assert f"{old} is back and streams" in going.left

    real.play(scene)


def test_an_election_that_goes_back_again_and_again_is_ended_by_hand(real: Site, tmp_path: Path) -> None:
    """The operator writes `pending` and takes it back each second or so (issue 11346): the patch is sent all the same, and the one that was named leads."""

    async def scene(on: Place) -> None:
        old, line = (await on.status())["currentPrimary"], (await on.status())["timelineID"]
        async with ground(on, tmp_path) as at:
            await at.faults.switch("failover-stalls", True, {})
            try:
                async with killed(on, old):
                    await until_down(on, old)
                    await until_flipped(on, old, 2)
                    plan = await at.plan(way="patch")
                    going = at.going(plan, way="patch")
                    task = asyncio.create_task(going.perform())

                    async def promoted() -> bool:
                        return task.done() or bool(going.promotion.get("proven"))

                    await until(promoted, 60)
                    if task.done():
                        await task
                await at.faults.switch("failover-stalls", False, {})
                await task
            finally:
                await at.faults.switch("failover-stalls", False, {})
            assert (going.promotion["leads"], going.promotion["line"]) == (plan.steps[-1].args["to"], line + 1)

    real.play(scene)


async def until_flipped(on: Place, old: str, times: int) -> None:
    """The target went from `pending` back to the old primary so often."""
    seen: list[str] = []

    async def flipped() -> bool:
        target = (await on.status())["targetPrimary"]
        if not seen or seen[-1] != target:
            seen.append(target)
        return seen.count(old) > times

    await until(flipped)


def test_a_standby_whose_replay_is_paused_is_promoted(real: Site, tmp_path: Path) -> None:
    """The promotion ends the pause and replays what there is, as PostgreSQL has done since 13; the plan said how much."""

    async def scene(on: Place) -> None:
        old, line = (await on.status())["currentPrimary"], (await on.status())["timelineID"]
        to = next(name for name in (await on.status())["instanceNames"] if name != old)
        async with ground(on, tmp_path) as at, operator_down(at):
            await at.faults.switch("pg-lagging", True, {"instance": to})
            try:
                async with killed(on, old):
                    await until_down(on, old)
                    params = {"to": to, "way": "patch", "accept_worse_candidate": True}
                    plan = await at.plan(**params)
                    told = rf"replay is paused on {to}: its promotion ends the pause, and replays \d+ MiB \("  # as much as it had received by the kill
                    assert re.search(told, said_of(plan, "paused"))
                    going = at.going(plan, **params)
                    task = asyncio.create_task(going.perform())

                    async def promoted() -> bool:
                        return task.done() or bool(going.promotion.get("proven"))

                    await until(promoted, 60)
                await at.faults.switch("operator-down", False, {})
                await task
            finally:
                await at.faults.switch("pg-lagging", False, {})
            assert (going.promotion["leads"], going.promotion["line"]) == (to, line + 1)

    real.play(scene)


def test_a_failover_ends_rightly_where_no_server_lets_us_in(real: Site, tmp_path: Path) -> None:
    """With a wrong password everywhere it is proven by the Cluster, the lease and the managers; that writes are taken was not seen, and is not said."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        async with ground(on, tmp_path) as at:
            database = connect_database(config_of(on), writable=True, secrets={"postgres": Secret("wrong")}, environ={})
            at.means = replace(at.means, database=database)
            try:
                async with killed(on, old):
                    await until_down(on, old)
                    going = at.going(await at.plan(way="patch"), way="patch")
                    task = asyncio.create_task(going.perform())

                    async def promoted() -> bool:
                        return task.done() or bool(going.promotion.get("proven"))

                    await until(promoted, 60)
                await task
            finally:
                await database.aclose()
            leads = going.promotion["leads"]
            assert leads != old
            assert f"{leads} leads alone, the -rw Service leads to it" in going.said
            assert any(text.startswith(f"that {leads} takes writes was not seen: ") for text in going.said)
            assert [text for text in going.said if text.startswith("the outage was not measured: ")]
            assert f"{old} is back and streams" in going.left

    real.play(scene)


class Away:
    """The real adapter; the second time that a pod is read the API is away, and back when `meanwhile` has ended."""

    def __init__(self, kube: Any, pod: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._kube, self._pod, self._meanwhile, self._reads = kube, pod, meanwhile, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def read(self, kind: Any, name: str, *rest: Any, **more: Any) -> Any:
        if kind is PODS and name == self._pod:
            self._reads += 1
            if self._reads == 2:  # the first look notes which pod it is
                await self._meanwhile()
                raise LineTrouble("the API does not answer", kind="refused")
        return await self._kube.read(kind, name, *rest, **more)


def test_a_primary_that_came_back_while_the_api_was_away_is_not_deleted(real: Site, tmp_path: Path) -> None:
    """Silence of the API is not the primary's: what was seen before it is looked at again, and the pod stays."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        uid = (await on.pod(old))["metadata"]["uid"]
        async with ground(on, tmp_path) as at, operator_down(at):
            await at.faults.switch("pg-primary-wedged", True, {})

            async def comes_back() -> None:
                await at.faults.switch("pg-primary-wedged", False, {})

                async def answers() -> bool:
                    with contextlib.suppress(ColdError):
                        ready: bool = (await kube.read(PODS, old, "database")).is_ready
                        return ready and (await kube.pg_status("database", old)).is_primary
                    return False

                await until(answers)

            try:
                plan = await at.plan(way="delete-pod")
                assert plan.steps[0].name == "postgres.stop-primary"
                kube = at.means.kube
                at.means = replace(at.means, kube=cast("Any", Away(kube, old, comes_back)))
                going = at.going(plan, way="delete-pod")
                with pytest.raises(Refused, match=f"{old} is well again: its pod was not deleted"):
                    await going.perform()
            finally:
                await at.faults.switch("pg-primary-wedged", False, {})
            assert (await on.pod(old))["metadata"]["uid"] == uid
            assert going.left == ""

    real.play(scene)


@pytest.mark.long
def test_an_operator_that_does_it_itself_is_waited_for(real: Site, tmp_path: Path) -> None:
    """Nothing is written; its election is followed to the end and proven like one by hand."""

    async def scene(on: Place) -> None:
        old, line = (await on.status())["currentPrimary"], (await on.status())["timelineID"]
        async with ground(on, tmp_path) as at:
            await at.faults.switch("failover-delay", True, {"seconds": "9"})
            try:
                async with killed(on, old):
                    await until_down(on, old)
                    plan = await at.plan()
                    assert [step.name.partition(".")[2] for step in plan.steps] == ["promote", "verify-failover"]
                    going = at.going(plan)
                    task = asyncio.create_task(going.perform())

                    async def promoted() -> bool:
                        return bool(going.promotion.get("proven"))

                    await until(promoted, 60)
                await task
            finally:
                await at.faults.switch("failover-delay", False, {})
            assert not going.promotion.get("asked")
            assert going.promotion["line"] == line + 1
            assert going.promotion["leads"] == await on.lease()

    real.play(scene)


def test_waiting_ends_when_the_operator_dies_too(real: Site, tmp_path: Path) -> None:
    """A run that only waits for the operator does not hold the site when a lasting cause shows: it ends, having changed nothing, and says to plan again."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            old = at.faults.primary
            await at.faults.switch("failover-delay", True, {"seconds": "60"})
            async with killed(on, old):
                await until_down(on, old)
                going = at.going(await at.plan(way="wait"), way="wait")
                async with operator_down(at):
                    with pytest.raises(StepFailed, match=f"does not replace {old}") as end:
                        await going.perform()
            assert "the operator is down" in str(end.value.detail)
            assert not going.promotion.get("asked")
            await at.faults.switch("failover-delay", False, {})

    real.play(scene)


@pytest.mark.long
def test_a_node_that_is_off_is_declared_out_of_service(real: Site, tmp_path: Path) -> None:
    """Whoever confirms answers for it; the taint is set, another instance leads, and what stands is named."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        node = (await on.pod(old))["spec"]["nodeName"]
        async with ground(on, tmp_path) as at, operator_down(at):
            on.lab.machines.power_off(node)

            async def away() -> bool:
                conditions = {c["type"]: c["status"] for c in (await on.client.get(NODES, node))["status"]["conditions"]}
                return bool(conditions["Ready"] == "Unknown")

            try:
                await until(away)
                plan = await at.plan(way="out-of-service", old_primary_is_off=True)
                assert [step.name.partition(".")[2] for step in plan.steps][:2] == ["prove-stopped", "stop-primary"]
                going = at.going(plan, timeout=90)
                task = asyncio.create_task(going.perform())

                async def promoted() -> bool:
                    return bool(going.promotion.get("proven"))

                await until(promoted, 60)
                await at.faults.switch("operator-down", False, {})
                await task
                assert going.memo_of("postgres.prove-stopped")["proof"] == "declared"
                assert going.promotion["leads"] != old
                assert f"{node} has the taint node.kubernetes.io/out-of-service=nodeshutdown:NoExecute" in going.left
            finally:
                on.lab.machines.power_on(node)
                taints = (await on.client.get(NODES, node))["spec"].get("taints") or []
                kept = [t for t in taints if t["key"] != "node.kubernetes.io/out-of-service"]
                await on.client.patch(NODES, node, {"spec": {"taints": kept}})

    real.play(scene)
