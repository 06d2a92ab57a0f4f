"""What a drain meets: evictions, graces, budgets, volumes and databases that move. The same scenes on the embedded server and on a real control
plane, where its own controllers, scheduler and eviction do the rest."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import (
    BUDGETS,
    DAEMON_SETS,
    DEPLOYMENTS,
    LH_NODES,
    LH_REPLICAS,
    LH_SETTINGS,
    LH_VOLUMES,
    NODES,
    PG_CLUSTERS,
    PODS,
    ApiError,
    Json,
)
from coldtui.lab.controllers.base import Pace, deleting, is_true, pod_ready
from coldtui.lab.play import play as play_site
from coldtui.lab.seeds.longhorn import manager_name
from coldtui.lab.troubles import FEED, INTAKE, LEDGER, NAMESPACE, REPORTS, Troubles, Workload
from tests.controlplane.plane import ControlPlane, lab_crds
from tests.lab.conftest import until
from tests.lab.test_controllers import Stage, stage

NODE = "k3s-worker-3"
REAL = dataclasses.replace(Pace(), pod_start=0.3, pod_stop=0.3, promotion=0.3, rejoin=0.3, unready=1.0, rebuild=2.0, attach=0.5, boot=0.5)
"""Heartbeats as they are, since the real controllers judge them."""


async def evict(on: Stage, pod: Json, grace_s: int | None = None) -> tuple[int, str]:
    """Ask for an eviction once; the code of the answer and what it says."""
    meta = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    options = {"preconditions": {"uid": pod["metadata"]["uid"]}} | ({} if grace_s is None else {"gracePeriodSeconds": grace_s})
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": options}
    try:
        await on.client.call("POST", PODS.path(meta["namespace"], meta["name"], "eviction"), body=body)
    except ApiError as error:
        return error.code, str(error)
    return 201, ""


async def accepted(on: Stage, pod: Json, grace_s: int | None = None) -> None:
    """Ask again until the eviction is accepted: the budget may have to be looked at first."""

    async def goes() -> bool:
        return (await evict(on, pod, grace_s))[0] in (201, 404)

    await until(goes, 30)


async def pods_on(on: Stage, node: str) -> list[Json]:
    return (await on.client.list(PODS, "", fields=f"spec.nodeName={node}"))[0]


async def pod_of(on: Stage, workload: Workload, node: str = NODE) -> Json:
    """The pod of a workload on a node."""
    found = [p for p in await on.pods(NAMESPACE, app=workload.name) if p["spec"].get("nodeName") == node and not deleting(p)]
    return found[0]


def owner_kind(pod: Json) -> str:
    return str((pod["metadata"].get("ownerReferences") or [{}])[0].get("kind", ""))


async def cordon(on: Stage, node: str, yes: bool = True) -> None:
    await on.client.patch(NODES, node, {"spec": {"unschedulable": True if yes else None}})


async def well(on: Stage) -> bool:
    """Nothing is missing anywhere."""
    status = (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
    volumes = [v["status"] for v in (await on.client.list(LH_VOLUMES))[0]]
    pods = (await on.client.list(PODS))[0]
    whole = status["phase"] == "Cluster in healthy state" and status["readyInstances"] == 3
    return whole and all(v["robustness"] == "healthy" for v in volumes if v["state"] == "attached") and all(map(pod_ready, pods))


# ------------------------------------------------------------ scenes


async def a_budget_that_blocks(on: Stage) -> None:
    """429 while the other pod is not ready, naming the budget and its numbers; accepted once it has refilled. It ends by itself, too."""
    troubles = Troubles(on.lab)
    said = await troubles.switch("budget-blocks", True, NODE, 60)
    assert f"a pod of it is on {NODE}" in said
    pod = await pod_of(on, INTAKE)
    code, words = await evict(on, pod)
    assert code == 429, words
    budget = await on.client.get(BUDGETS, INTAKE.name, NAMESPACE)
    numbers = {k: budget["status"][k] for k in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")}
    assert numbers == {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 2}
    await troubles.switch("budget-blocks", False, NODE)
    await accepted(on, pod)

    async def replaced() -> bool:
        pods = await on.pods(NAMESPACE, app=INTAKE.name)
        return sum(map(pod_ready, pods)) == 2 and pod["metadata"]["uid"] not in {p["metadata"]["uid"] for p in pods}

    await until(replaced, 30)
    await troubles.switch("budget-blocks", True, NODE, 0.5)

    async def refilled() -> bool:
        return int((await on.client.get(BUDGETS, INTAKE.name, NAMESPACE))["status"]["disruptionsAllowed"]) == 1

    await until(refilled, 30)
    troubles.close()


async def a_budget_for_ever(on: Stage) -> None:
    """minAvailable = replicas: 429, and 429 again; when the budget is gone the pod goes and comes up elsewhere."""
    troubles = Troubles(on.lab)
    await troubles.switch("budget-forever", True, NODE)
    pod = await pod_of(on, LEDGER)

    async def refused() -> bool:
        return (await evict(on, pod))[0] == 429

    await until(refused, 30)
    status = (await on.client.get(BUDGETS, LEDGER.name, NAMESPACE))["status"]
    assert (status["disruptionsAllowed"], status["desiredHealthy"], status["expectedPods"]) == (0, 1, 1)
    await cordon(on, NODE)
    await troubles.switch("budget-forever", False, NODE)
    await accepted(on, pod)

    async def elsewhere() -> bool:
        pods = await on.pods(NAMESPACE, app=LEDGER.name)
        return len(pods) == 1 and pod_ready(pods[0]) and pods[0]["spec"]["nodeName"] != NODE

    await until(elsewhere, 30)
    await cordon(on, NODE, False)


async def two_budgets(on: Stage) -> None:
    """500 for a pod that two budgets select, for as long as both are there."""
    troubles = Troubles(on.lab)
    await troubles.switch("two-budgets", True, NODE)
    pod = await pod_of(on, FEED)
    code, words = await evict(on, pod)
    assert code == 500
    assert "more than one PodDisruptionBudget" in words
    await troubles.switch("two-budgets", False, NODE)
    await accepted(on, pod)


async def a_slow_pod(on: Stage) -> None:
    """A pod that takes its time stays, terminating, until its containers have ended; a shorter grace ends them sooner."""
    troubles, loop = Troubles(on.lab), asyncio.get_running_loop()
    await troubles.switch("slow-pod", True, NODE, 2.0)
    pod = await pod_of(on, REPORTS)

    async def gone() -> bool:
        found = await on.client.find(PODS, pod["metadata"]["name"], NAMESPACE)
        return found is None or found["metadata"]["uid"] != pod["metadata"]["uid"]

    began = loop.time()
    await accepted(on, pod)
    found = await on.client.get(PODS, pod["metadata"]["name"], NAMESPACE)
    assert found["metadata"]["deletionGracePeriodSeconds"] == REPORTS.grace_s
    assert is_true(found, "Ready"), "its containers run on"
    assert is_true(found, "DisruptionTarget")
    await until(gone, 30)
    assert loop.time() - began >= 1.9

    await troubles.switch("slow-pod", True, NODE, 3600.0)
    pod = next(p for p in await on.pods(NAMESPACE, app=REPORTS.name) if pod_ready(p))
    await accepted(on, pod, grace_s=1)
    await until(gone, 30)


async def a_stateful_pod_returns(on: Stage) -> None:
    """A StatefulSet pod of a cordoned node comes back under its name, as another pod on another node, and only after its volume has come there."""
    pod = await on.client.get(PODS, "redis-1", "production")
    old = pod["spec"]["nodeName"]
    volume = (await on.volumes())["data-redis-1"]["metadata"]["name"]
    seen: list[tuple[str, str, bool]] = []
    await cordon(on, old)
    await accepted(on, pod)

    async def returned() -> bool:
        now = await on.client.find(PODS, "redis-1", "production")
        status = (await on.client.get(LH_VOLUMES, volume, "longhorn-system"))["status"]
        if now is None or now["metadata"]["uid"] == pod["metadata"]["uid"]:
            return False
        seen.append((now["spec"].get("nodeName", ""), status["currentNodeID"], pod_ready(now)))
        return pod_ready(now)

    await until(returned, 60)
    place = seen[-1][0]
    assert place not in ("", old)
    assert all(where == place for node, where, ready in seen if ready), "it ran before its volume was there"
    await cordon(on, old, False)
    await until(lambda: well(on), 60)


async def daemons_stay_and_nothing_new_comes(on: Stage) -> None:
    """On a cordoned node DaemonSet pods go on, a deleted one is made anew there, and no other pod is put there."""
    await cordon(on, NODE)

    async def tainted() -> bool:
        return any(t["key"] == "node.kubernetes.io/unschedulable" for t in (await on.client.get(NODES, NODE))["spec"].get("taints") or ())

    await until(tainted, 30)
    daemons = {p["metadata"]["name"] for p in await pods_on(on, NODE) if owner_kind(p) == "DaemonSet"}
    assert len(daemons) == len((await on.client.list(DAEMON_SETS))[0])
    one = next(p for p in await pods_on(on, NODE) if owner_kind(p) == "DaemonSet")
    await on.client.delete(PODS, one["metadata"]["name"], one["metadata"]["namespace"])

    async def anew() -> bool:
        now = [p for p in await pods_on(on, NODE) if owner_kind(p) == "DaemonSet" and pod_ready(p)]
        return len(now) == len(daemons) and one["metadata"]["uid"] not in {p["metadata"]["uid"] for p in now}

    await until(anew, 30)
    before = {p["metadata"]["uid"] for p in await pods_on(on, NODE)}
    await on.client.patch(DEPLOYMENTS, "cold-backend", {"spec": {"replicas": 6}}, "production", sub="scale")
    await until(lambda: on.settled("cold-backend"), 30)
    assert {p["metadata"]["uid"] for p in await pods_on(on, NODE)} <= before
    await on.client.patch(DEPLOYMENTS, "cold-backend", {"spec": {"replicas": 3}}, "production", sub="scale")
    await until(lambda: on.settled("cold-backend"), 30)
    await cordon(on, NODE, False)


async def budgets_follow(on: Stage) -> None:
    """An eviction takes one from what a budget allows, a second one is refused until the first pod's successor is ready elsewhere."""
    pods = [p for p in await on.pods("production", app="cold-backend") if pod_ready(p)]
    first, second = pods[0], pods[1]

    async def allowed() -> int:
        return int((await on.client.get(BUDGETS, "cold-backend", "production"))["status"]["disruptionsAllowed"])

    async def one() -> bool:
        return await allowed() == 1

    await until(one, 30)
    await cordon(on, first["spec"]["nodeName"])
    assert (await evict(on, first))[0] == 201
    assert (await evict(on, second))[0] == 429
    await until(one, 30)
    now = await on.pods("production", app="cold-backend")
    assert first["spec"]["nodeName"] not in {
        p["spec"]["nodeName"] for p in now if p["metadata"]["uid"] not in {q["metadata"]["uid"] for q in pods}
    }
    await cordon(on, first["spec"]["nodeName"], False)


async def the_instance_manager_goes_last(on: Stage) -> None:
    """429 for the instance manager until every volume has left its node, then it goes; on a cordoned node it does not come back, its copies are
    failed; after the uncordon it runs, has its budget again, and its copies are rebuilt. A last copy keeps it there."""
    node, name = "k3s-worker-4", manager_name("k3s-worker-4")
    manager = await on.client.get(PODS, name, "longhorn-system")

    async def refused() -> bool:
        return (await evict(on, manager))[0] == 429

    await until(refused, 30)
    await cordon(on, node)
    await asyncio.sleep(0.3)
    assert await refused(), "volumes are still attached here"
    for pod in await pods_on(on, node):
        if owner_kind(pod) != "DaemonSet" and pod["metadata"]["name"] != name:
            await accepted(on, pod)

    async def left() -> bool:
        return all((v["status"].get("currentNodeID") or "") != node for v in (await on.client.list(LH_VOLUMES))[0])

    await until(left, 30)
    await accepted(on, manager)

    async def gone() -> bool:
        return await on.client.find(PODS, name, "longhorn-system") is None

    await until(gone, 30)

    async def degraded() -> bool:
        return any(v["status"]["robustness"] == "degraded" for v in (await on.client.list(LH_VOLUMES))[0])

    await until(degraded, 30)
    on.lab.machines.power_off(node)
    on.lab.machines.power_on(node)

    async def booted() -> bool:
        found = await on.client.get(NODES, node)
        return bool(is_true(found, "Ready") and found["status"]["nodeInfo"]["bootID"] == on.lab.machines.boots[node])

    await until(booted, 30)
    assert await gone(), "it is not made on a cordoned node"
    await cordon(on, node, False)
    await until(lambda: well(on), 60)

    async def guarded() -> bool:
        return await on.client.find(BUDGETS, name, "longhorn-system") is not None

    await until(guarded, 30)
    copies = [r for r in (await on.client.list(LH_REPLICAS))[0] if r["spec"]["nodeID"] == node]
    assert copies
    assert all(r["spec"]["healthyAt"] and not r["spec"]["failedAt"] for r in copies)


async def a_last_copy_keeps_the_instance_manager(on: Stage) -> None:
    """With the only good copy of a detached volume on the node the budget stays; with the policy that allows everything it goes."""
    node, name = "k3s-worker-4", manager_name("k3s-worker-4")
    copies = [
        r for r in (await on.client.list(LH_REPLICAS))[0] if r["spec"]["volumeName"] == (await on.volumes())["exports"]["metadata"]["name"]
    ]
    mine = next((r for r in copies if r["spec"]["nodeID"] == node), None) or copies[0]
    node, name = mine["spec"]["nodeID"], manager_name(mine["spec"]["nodeID"])
    for other in copies:
        if other is not mine:
            failed = {"spec": {"healthyAt": "", "failedAt": "2026-01-01T00:00:00Z"}}
            await on.client.patch(LH_REPLICAS, other["metadata"]["name"], failed, "longhorn-system")
    await cordon(on, node)
    for pod in await pods_on(on, node):
        if owner_kind(pod) != "DaemonSet" and pod["metadata"]["name"] != name:
            await accepted(on, pod)

    async def left() -> bool:
        return all((v["status"].get("currentNodeID") or "") != node for v in (await on.client.list(LH_VOLUMES))[0])

    await until(left, 30)
    await asyncio.sleep(0.5)
    assert await on.client.find(BUDGETS, name, "longhorn-system") is not None
    await on.client.patch(LH_SETTINGS, "node-drain-policy", {"value": "always-allow"}, "longhorn-system")
    # Any change of the node makes Longhorn look again.
    await on.client.patch(LH_NODES, node, {"metadata": {"annotations": {"touched": "yes"}}}, "longhorn-system")

    async def free() -> bool:
        return await on.client.find(BUDGETS, name, "longhorn-system") is None

    await until(free, 30)
    await on.client.patch(LH_SETTINGS, "node-drain-policy", {"value": "block-if-contains-last-replica"}, "longhorn-system")
    for other in copies:
        good = {"spec": {"healthyAt": mine["spec"]["healthyAt"], "failedAt": ""}}
        await on.client.patch(LH_REPLICAS, other["metadata"]["name"], good, "longhorn-system")
    await cordon(on, node, False)
    await until(lambda: well(on), 60)


async def the_primary_leaves(on: Stage) -> None:
    """A cordon under the primary: its budget refuses, the operator says why it switches over, and then the pod goes and its instance comes up as a
    standby on another node. With a standby on a cordoned node too, nothing is switched."""
    status = (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
    primary = await on.client.get(PODS, status["currentPrimary"], "database")
    standby = next(p for p in await on.pods("database", **{"cnpg.io/instanceRole": "replica"}))
    node, other = primary["spec"]["nodeName"], standby["spec"]["nodeName"]
    await cordon(on, other)
    await cordon(on, node)
    await asyncio.sleep(1.0)
    assert (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]["targetPrimary"] == status["currentPrimary"]
    assert (await evict(on, primary))[0] == 429
    await cordon(on, other, False)

    async def switched() -> bool:
        now = (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
        return bool(now["currentPrimary"] != status["currentPrimary"] and now["phase"] == "Cluster in healthy state")

    await until(switched, 60)
    assert "SwitchingOver" in await on.reasons("Cluster", "cold-postgres", "database")
    await accepted(on, primary)

    async def standby_elsewhere() -> bool:
        found = await on.client.find(PODS, primary["metadata"]["name"], "database")
        return bool(
            found is not None
            and pod_ready(found)
            and found["spec"]["nodeName"] != node
            and found["metadata"]["labels"].get("cnpg.io/instanceRole") == "replica"
        )

    await until(standby_elsewhere, 60)
    await cordon(on, node, False)
    await until(lambda: well(on), 60)


Scene = Callable[[Stage], Awaitable[None]]
SCENES: tuple[Scene, ...] = (
    a_budget_that_blocks, a_budget_for_ever, two_budgets, a_slow_pod, a_stateful_pod_returns, daemons_stay_and_nothing_new_comes, budgets_follow,
    the_instance_manager_goes_last, a_last_copy_keeps_the_instance_manager, the_primary_leaves,
)  # fmt: skip


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_on_the_embedded_server(fresh: ApiServerProcess, scene: Scene) -> None:
    """Each scene, on a fresh site of the lab's own controllers."""

    async def run() -> None:
        async with stage(fresh) as on:
            await scene(on)

    asyncio.run(run())


@pytest.mark.controlplane
@pytest.mark.timeout(600)
def test_on_a_real_control_plane(tmp_path: Path) -> None:
    """All scenes one after the other on one site: each leaves it as it found it."""

    async def run(kubeconfig: Path) -> None:
        async with play_site(kubeconfig, pace=REAL, still=True) as lab:
            on = Stage(lab.client, lab)

            async def running() -> bool:
                pods = (await on.client.list(PODS))[0]
                return len(pods) >= 60 and all(map(pod_ready, pods))

            await until(running, 90)
            for scene in SCENES:
                try:
                    await scene(on)
                except BaseException as error:
                    error.add_note(f"in {scene.__name__}")
                    raise

    with ControlPlane.start(tmp_path / "plane", crds=lab_crds()) as plane:
        asyncio.run(run(plane.kubeconfigs["admin"]))
