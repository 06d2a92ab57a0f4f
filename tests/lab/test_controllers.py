"""The controllers, all together on the embedded server with the whole site: what an operator does and what must follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from coldtui.lab import site
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import (
    BUDGETS,
    CLAIMS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    L2_STATUSES,
    LEASES,
    LH_BACKUPS,
    LH_REPLICAS,
    LH_SNAPSHOTS,
    LH_VOLUMES,
    NODES,
    OBJECT_STORES,
    PG_BACKUPS,
    PG_CLUSTERS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    SLICES,
    STATEFUL_SETS,
    ApiError,
    Informers,
    Json,
    KubeClient,
)
from coldtui.lab.controllers.base import Crew, Lab, is_true, pod_ready
from coldtui.lab.controllers.kubelet import FAIL
from coldtui.lab.controllers.metallb import announcer
from coldtui.lab.supervisor import ALL
from tests.lab.conftest import FAST, until

Scene = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A running site and the words to ask it."""

    def __init__(self, client: KubeClient, lab: Lab) -> None:
        self.client, self.lab = client, lab

    async def pods(self, namespace: str, **labels: str) -> list[Json]:
        return (await self.client.list(PODS, namespace, labels=",".join(f"{k}={v}" for k, v in labels.items())))[0]

    async def settled(self, name: str, namespace: str = "production") -> bool:
        obj = await self.client.get(DEPLOYMENTS, name, namespace)
        status, wanted = obj["status"], obj["spec"]["replicas"]
        counts = {status.get(k, 0) for k in ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")}
        return bool(counts == {wanted} and status["observedGeneration"] == obj["metadata"]["generation"])

    async def set_image(self, name: str, image: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": name, "image": image}]}}}}
        await self.client.patch(DEPLOYMENTS, name, patch, "production", how="strategic")

    async def reasons(self, kind: str, name: str, namespace: str) -> set[str]:
        found = await self.client.list(EVENTS, namespace, fields=f"involvedObject.kind={kind},involvedObject.name={name}")
        return {e["reason"] for e in found[0]}

    async def ask_eviction(self, namespace: str, name: str, eviction: Json) -> int:
        """The code of the answer."""
        try:
            await self.client.call("POST", PODS.path(namespace, name, "eviction"), body=eviction)
        except ApiError as error:
            return error.code
        return 201

    async def volumes(self) -> dict[str, Json]:
        return {v["status"]["kubernetesStatus"]["pvcName"]: v for v in (await self.client.list(LH_VOLUMES, "longhorn-system"))[0]}


@asynccontextmanager
async def stage(server: ApiServerProcess) -> AsyncIterator[Stage]:
    async with KubeClient.from_kubeconfig(server.kubeconfig) as client:
        seed = site.build(datetime.now(UTC))
        await site.load(client, [*seed.objects, *seed.derived])
        lab = Lab(client, Informers(client), FAST, still=True)
        crew = await Crew.start(lab, ALL)
        try:
            yield Stage(client, lab)
        finally:
            await crew.stop()


def play(server: ApiServerProcess, scene: Scene) -> None:
    async def run() -> None:
        async with stage(server) as on:
            await scene(on)

    asyncio.run(run())


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    """A server for scenes that leave the site changed."""
    with ApiServerProcess(tmp_path_factory.mktemp("api")) as running:
        yield running


def test_a_calm_site_stays_as_it_is(fresh: ApiServerProcess) -> None:
    """With every controller at work, nobody changes a seeded pod, ReplicaSet or volume: the seed is what they would have made."""

    async def scene(on: Stage) -> None:
        kinds = (PODS, REPLICA_SETS, DEPLOYMENTS, DAEMON_SETS, STATEFUL_SETS, BUDGETS, SLICES, LH_VOLUMES)
        before = {k: {(o["metadata"]["uid"]) for o in (await on.client.list(k))[0]} for k in kinds}
        versions = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in (await on.client.list(PODS))[0]}
        beats: set[str] = set()

        async def beaten_twice() -> bool:
            beats.add((await on.client.get(LEASES, "k3s-worker-1", "kube-node-lease"))["spec"]["renewTime"])
            return len(beats) >= 4

        await until(beaten_twice)
        assert {k: {(o["metadata"]["uid"]) for o in (await on.client.list(k))[0]} for k in kinds} == before
        after = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in (await on.client.list(PODS))[0]}
        assert {n for n, v in after.items() if versions[n] != v} == set()
        assert (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]["phase"] == "Cluster in healthy state"

    play(fresh, scene)


def test_rollout_scale_and_undo(fresh: ApiServerProcess) -> None:
    """A new image rolls one pod at a time without ever falling below three, scaling follows, and the old template comes back under a new number."""

    async def scene(on: Stage) -> None:
        lowest = 3
        slices: list[int] = []

        def watch(_: Json | None, after: Json | None) -> None:
            if after is not None and after["metadata"]["name"] == "cold-backend":
                slices.append(int(after["status"].get("availableReplicas") or 0))

        on.lab.informers.of(DEPLOYMENTS).listen(watch)
        await on.set_image("cold-backend", "registry.cold.example/cold-backend:v1.5.174")
        await until(lambda: on.settled("cold-backend"))
        obj = await on.client.get(DEPLOYMENTS, "cold-backend", "production")
        assert min(slices) >= lowest
        assert obj["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "4"
        staying = [p for p in await on.pods("production", app="cold-backend") if not p["metadata"].get("deletionTimestamp")]
        assert {p["spec"]["containers"][0]["image"] for p in staying} == {"registry.cold.example/cold-backend:v1.5.174"}
        progressing = next(c for c in obj["status"]["conditions"] if c["type"] == "Progressing")
        assert progressing["reason"] == "NewReplicaSetAvailable"

        await on.client.patch(DEPLOYMENTS, "cold-backend", {"spec": {"replicas": 5}}, "production", sub="scale")
        await until(lambda: on.settled("cold-backend"))
        budget = await on.client.get(BUDGETS, "cold-backend", "production")
        assert (budget["status"]["expectedPods"], budget["status"]["disruptionsAllowed"]) == (5, 1)
        served = next(s for s in (await on.client.list(SLICES, "production", labels="kubernetes.io/service-name=cold-backend"))[0])

        async def all_serve() -> bool:
            now = await on.client.get(SLICES, served["metadata"]["name"], "production")
            return bool(sum(e["conditions"]["ready"] for e in now["endpoints"]) == 5)

        await until(all_serve)

        sets = (await on.client.list(REPLICA_SETS, "production", labels="app=cold-backend"))[0]
        old = next(s for s in sets if s["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3")
        template = {**old["spec"]["template"], "metadata": {"labels": {"app": "cold-backend"}}}
        await on.client.patch(
            DEPLOYMENTS, "cold-backend", [{"op": "replace", "path": "/spec/template", "value": template}], "production", how="json"
        )
        await until(lambda: on.settled("cold-backend"))
        again = await on.client.get(REPLICA_SETS, old["metadata"]["name"], "production")
        assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "5"
        assert again["status"]["availableReplicas"] == 5
        assert len((await on.client.list(REPLICA_SETS, "production", labels="app=cold-backend"))[0]) == len(sets)

    play(fresh, scene)


def test_a_rollout_that_cannot_succeed(fresh: ApiServerProcess) -> None:
    """An image that does not exist: ImagePullBackOff, the old pods keep serving, the deadline passes; pausing and going back mends it."""

    async def scene(on: Stage) -> None:
        await on.client.patch(DEPLOYMENTS, "customer-portal", {"spec": {"progressDeadlineSeconds": 1}}, "production")
        await on.set_image("customer-portal", "registry.cold.example/customer-portal:nope")

        async def given_up() -> bool:
            obj = await on.client.get(DEPLOYMENTS, "customer-portal", "production")
            return any(c["reason"] == "ProgressDeadlineExceeded" for c in obj["status"]["conditions"])

        await until(given_up)
        waiting = {
            (p["status"]["containerStatuses"][0]["state"].get("waiting") or {}).get("reason")
            for p in await on.pods("production", app="customer-portal")
        }
        assert "ImagePullBackOff" in waiting
        assert sum(pod_ready(p) for p in await on.pods("production", app="customer-portal")) == 2
        await on.set_image("customer-portal", "registry.cold.example/customer-portal:v2.1.0")
        await until(lambda: on.settled("customer-portal"))

    play(fresh, scene)


def test_a_crash_loop_counts_restarts(fresh: ApiServerProcess) -> None:
    """The scripted failures look like the real ones: OOMKilled with code 137, a growing restart count, CrashLoopBackOff between."""

    async def scene(on: Stage) -> None:
        patch = {"spec": {"template": {"metadata": {"annotations": {FAIL: "OOMKilled"}}}}}
        await on.client.patch(DEPLOYMENTS, "file-exchange", patch, "production")

        async def looping() -> bool:
            for pod in await on.pods("production", app="file-exchange"):
                for status in pod["status"].get("containerStatuses") or ():
                    ended = (status.get("lastState") or {}).get("terminated") or {}
                    waiting = (status["state"].get("waiting") or {}).get("reason")
                    if (
                        status["restartCount"] >= 2
                        and ended.get("exitCode") == 137
                        and ended["reason"] == "OOMKilled"
                        and waiting == "CrashLoopBackOff"
                    ):
                        return True
            return False

        await until(looping)

    play(fresh, scene)


def test_a_lost_node_and_its_return(fresh: ApiServerProcess) -> None:
    """A machine without power: Unknown, taints, evictions, degraded volumes, a failover; with power all of it heals and the boot is new."""

    async def scene(on: Stage) -> None:
        lost = "k3s-worker-1"  # it holds the primary
        boot = (await on.client.get(NODES, lost))["status"]["nodeInfo"]["bootID"]
        on.lab.machines.power_off(lost)

        async def unknown() -> bool:
            node = await on.client.get(NODES, lost)
            ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
            keys = {t["key"] for t in node["spec"].get("taints") or ()}
            return bool(
                ready["status"] == "Unknown" and ready["reason"] == "NodeStatusUnknown" and "node.kubernetes.io/unreachable" in keys
            )

        await until(unknown)
        mine = [p for p in await on.pods("") if p["spec"].get("nodeName") == lost]
        assert mine

        async def degraded() -> bool:
            volumes = await on.volumes()
            return bool(
                volumes["postgres-2"]["status"]["robustness"] == "degraded" and volumes["postgres-1"]["status"]["robustness"] == "unknown"
            )

        async def failed_over() -> bool:
            status = (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
            return bool(status["currentPrimary"] == "postgres-2" and status["timelineID"] == 8 and status["readyInstances"] == 2)

        await until(failed_over)
        copies = {r["spec"]["volumeName"] for r in on.lab.informers.of(LH_REPLICAS).values() if r["spec"]["nodeID"] == lost}
        if (await on.volumes())["postgres-2"]["metadata"]["name"] in copies:
            await until(degraded)
        assert any(v["status"]["robustness"] == "degraded" for v in (await on.volumes()).values())

        async def moved() -> bool:
            pods = await on.pods("production", app="cold-backend")
            return sum(pod_ready(p) for p in pods) == 3 and all(p["spec"].get("nodeName") != lost for p in pods if pod_ready(p))

        await until(moved)
        on.lab.machines.power_on(lost)

        async def well() -> bool:
            node = await on.client.get(NODES, lost)
            return is_true(node, "Ready") and not node["spec"].get("taints") and node["status"]["nodeInfo"]["bootID"] != boot

        await until(well)

        async def whole() -> bool:
            status = (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
            states = [v["status"] for v in (await on.volumes()).values()]
            return (
                status["phase"] == "Cluster in healthy state"
                and status["readyInstances"] == 3
                and all(s["robustness"] == "healthy" for s in states if s["state"] == "attached")
            )

        await until(whole)
        pods = await on.pods("database")
        assert {p["metadata"]["name"]: p["metadata"]["labels"]["cnpg.io/instanceRole"] for p in pods} == {
            "postgres-1": "replica",
            "postgres-2": "primary",
            "postgres-3": "replica",
        }
        assert "Rebooted" in await on.reasons("Node", lost, "default")

    play(fresh, scene)


def test_cordon_and_drain_of_the_primary(fresh: ApiServerProcess) -> None:
    """A cordon taints the node and moves the primary; evictions go through within the budgets, and the instance manager goes last."""

    async def scene(on: Stage) -> None:
        node = "k3s-worker-1"
        await on.client.patch(NODES, node, {"spec": {"unschedulable": True}})

        async def elsewhere() -> bool:
            obj = await on.client.get(NODES, node)
            status = (await on.client.get(PG_CLUSTERS, "cold-postgres", "database"))["status"]
            tainted = any(t["key"] == "node.kubernetes.io/unschedulable" for t in obj["spec"].get("taints") or ())
            return bool(tainted and status["currentPrimary"] != "postgres-1" and status["phase"] == "Cluster in healthy state")

        await until(elsewhere)

        answered: set[int] = set()

        async def empty() -> bool:
            """Evict what is there, as kubectl does, again and again."""
            left = [
                p for p in await on.pods("")
                if p["spec"].get("nodeName") == node and p["metadata"].get("ownerReferences", [{}])[0].get("kind") != "DaemonSet"
            ]  # fmt: skip
            for pod in left:
                if pod["metadata"].get("deletionTimestamp"):
                    continue
                meta = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
                eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
                answered.add(await on.ask_eviction(meta["namespace"], meta["name"], eviction))
            return not left

        await until(empty)
        assert answered <= {201, 404, 429}
        await on.client.patch(NODES, node, {"spec": {"unschedulable": None}})

        async def back() -> bool:
            obj = await on.client.get(NODES, node)
            managers = await on.pods("longhorn-system", **{"longhorn.io/node": node})
            return not obj["spec"].get("taints") and len(managers) == 1 and pod_ready(managers[0])

        await until(back)
        budgets = {b["metadata"]["name"] for b in (await on.client.list(BUDGETS, "longhorn-system"))[0]}
        assert (await on.pods("longhorn-system", **{"longhorn.io/node": node}))[0]["metadata"]["name"] in budgets

    play(fresh, scene)


def test_unschedulable_says_why(fresh: ApiServerProcess) -> None:
    """A pod that fits nowhere stays Pending with the scheduler's reasons, and starts as soon as there is room."""

    async def scene(on: Stage) -> None:
        big = {"containers": [{"name": "big", "image": "big:1", "resources": {"requests": {"cpu": "3500m"}}}]}
        await on.client.create(PODS, {"metadata": {"name": "big", "namespace": "default"}, "spec": big})

        async def refused() -> bool:
            pod = await on.client.get(PODS, "big", "default")
            found: Json = next((c for c in pod["status"].get("conditions") or () if c["type"] == "PodScheduled"), {})
            return found.get("status") == "False"

        await until(refused)
        pod = await on.client.get(PODS, "big", "default")
        said = pod["status"]["conditions"][0]
        assert (said["reason"], pod["status"]["phase"]) == ("Unschedulable", "Pending")
        assert said["message"].startswith("0/5 nodes are available: ")
        assert "Insufficient cpu" in said["message"]
        assert "FailedScheduling" in await on.reasons("Pod", "big", "default")

    play(fresh, scene)


def test_stateful_sets_daemon_sets_and_jobs(fresh: ApiServerProcess) -> None:
    """A StatefulSet grows in order with a claim that Longhorn provisions, a DaemonSet replaces its pods, a Job completes."""

    async def scene(on: Stage) -> None:
        await on.client.patch(STATEFUL_SETS, "redis", {"spec": {"replicas": 3}}, "production", sub="scale")

        async def grown() -> bool:
            return int((await on.client.get(STATEFUL_SETS, "redis", "production"))["status"].get("availableReplicas") or 0) == 3

        await until(grown)
        claim = await on.client.get(CLAIMS, "data-redis-2", "production")
        assert claim["spec"].get("volumeName"), "the pod was started before its claim was bound"

        async def attached() -> bool:
            volume = await on.client.find(LH_VOLUMES, claim["spec"]["volumeName"], "longhorn-system")
            return volume is not None and volume["status"]["state"] == "attached" and volume["status"]["robustness"] == "healthy"

        await until(attached)
        assert (await on.client.get(CLAIMS, "data-redis-2", "production"))["status"]["phase"] == "Bound"

        before = {p["metadata"]["uid"] for p in await on.pods("metallb-system", component="speaker")}
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "speaker", "image": "quay.io/metallb/speaker:v0.16.2"}]}}}}
        await on.client.patch(DAEMON_SETS, "speaker", patch, "metallb-system", how="strategic")

        async def replaced() -> bool:
            pods = await on.pods("metallb-system", component="speaker")
            return len(pods) == 5 and not before & {p["metadata"]["uid"] for p in pods} and all(pod_ready(p) for p in pods)

        await until(replaced)

        job = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "one", "image": "one:1"}]}}}
        await on.client.create(JOBS, {"metadata": {"name": "one", "namespace": "default"}, "spec": job})

        async def complete() -> bool:
            return is_true(await on.client.get(JOBS, "one", "default"), "Complete")

        await until(complete)

    play(fresh, scene)


def test_backups_on_demand(fresh: ApiServerProcess) -> None:
    """A Backup of the cluster runs and moves the recovery window; a Longhorn snapshot becomes ready and its backup completes."""

    async def scene(on: Stage) -> None:
        spec = {"cluster": {"name": "cold-postgres"}, "method": "plugin", "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"}}
        await on.client.create(PG_BACKUPS, {"metadata": {"name": "now", "namespace": "database"}, "spec": spec})
        wrong = {"cluster": {"name": "cold-postgres"}, "method": "barmanObjectStore"}
        await on.client.create(PG_BACKUPS, {"metadata": {"name": "wrong", "namespace": "database"}, "spec": wrong})

        async def done() -> bool:
            phases = [(await on.client.get(PG_BACKUPS, n, "database")).get("status", {}).get("phase") for n in ("now", "wrong")]
            return phases == ["completed", "failed"]

        await until(done)
        backup = await on.client.get(PG_BACKUPS, "now", "database")
        store = await on.client.get(OBJECT_STORES, "cold-r2", "database")
        window = store["status"]["serverRecoveryWindow"]["cold-postgres"]
        assert window["lastSuccessfulBackupTime"] == backup["status"]["stoppedAt"]
        assert backup["status"]["instanceID"]["podName"] == "postgres-2"

        volume = (await on.volumes())["postgres-1"]["metadata"]["name"]
        snapshot = {"metadata": {"name": "by-hand", "namespace": "longhorn-system"}, "spec": {"volume": volume, "createSnapshot": True}}
        await on.client.create(LH_SNAPSHOTS, snapshot)
        labels = {"backup-volume": volume, "backup-target": "default"}
        meta = {"name": "backup-by-hand", "namespace": "longhorn-system", "labels": labels}
        await on.client.create(LH_BACKUPS, {"metadata": meta, "spec": {"snapshotName": "by-hand", "backupMode": "incremental"}})

        async def uploaded() -> bool:
            return bool(
                (await on.client.get(LH_BACKUPS, "backup-by-hand", "longhorn-system")).get("status", {}).get("state") == "Completed"
            )

        await until(uploaded)
        assert (await on.volumes())["postgres-1"]["status"]["lastBackup"] == "backup-by-hand"

    play(fresh, scene)


def test_the_vip_moves_with_its_node(fresh: ApiServerProcess) -> None:
    """The announcer is the elected one; when it loses power the next one takes over, and a new Service gets the next free address."""

    async def scene(on: Stage) -> None:
        names = [h.name for h in site.HOSTS]
        first = announcer(names, "192.168.15.200")

        async def announced_by(name: str) -> bool:
            found = (await on.client.list(L2_STATUSES, "metallb-system", labels="metallb.io/service-name=cold-postgres-vip"))[0]
            return [s.get("status", {}).get("node") for s in found] == [name]  # its status comes a moment after it

        assert await announced_by(first)
        on.lab.machines.power_off(first)
        await until(lambda: announced_by(announcer([n for n in names if n != first], "192.168.15.200")))
        on.lab.machines.power_on(first)
        await until(lambda: announced_by(first))
        spec = {"type": "LoadBalancer", "selector": {"app": "cold-backend"}, "ports": [{"port": 80, "targetPort": 8080}]}
        await on.client.create(SERVICES, {"metadata": {"name": "extra", "namespace": "production"}, "spec": spec})

        async def given() -> bool:
            obj = await on.client.get(SERVICES, "extra", "production")
            return (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") == [{"ip": "192.168.15.202", "ipMode": "VIP"}]

        await until(given)
        assert {"IPAllocated", "nodeAssigned"} <= await on.reasons("Service", "extra", "production") or await _later(on)

    play(fresh, scene)


async def _later(on: Stage) -> bool:
    async def told() -> bool:
        return {"IPAllocated", "nodeAssigned"} <= await on.reasons("Service", "extra", "production")

    await until(told)
    return True
