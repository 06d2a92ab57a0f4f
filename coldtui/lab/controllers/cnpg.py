"""The CloudNativePG operator: keeps instances, roles and the Cluster's status.

A role change is one method (`Operator.promote`), so that a lab with real PostgreSQL can do it with real servers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from coldtui.lab.client import LEASES, NODES, PG_CLUSTERS, PODS, ApiError, Json, Key
from coldtui.lab.controllers.base import Controller, Lab, deleting, finished, matches, micro, pod_ready, set_condition
from coldtui.lab.seeds.postgres import OPERATOR, OPERATOR_NAMESPACE, instance_pod

HEALTHY = "Cluster in healthy state"
WAITING = "Waiting for the instances to become active"
SWITCHOVER, FAILOVER = "Switchover in progress", "Failing over"
NOT_YET = "Some instances are not yet active. Please wait."
LOOP = "cnpg.io/reconciliationLoop"
RESTARTED = "kubectl.kubernetes.io/restartedAt"
COMPONENT = "cloudnative-pg"
SILENT: Json = {"isPrimary": False, "timeLineID": None}
"""What the operator writes of an instance that did not answer: it is not called a primary for what it said before."""
DRAIN_TAINTS = ("node.kubernetes.io/unschedulable", "ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted")


@dataclass(frozen=True, slots=True)
class Instances:
    """The instances of a cluster as their pods show them."""

    names: tuple[str, ...]
    pods: dict[str, Json]
    ready: tuple[str, ...]
    active: tuple[str, ...]
    """Running and not about to end, ready or not; crash loops too."""

    @property
    def inactive(self) -> list[str]:
        """Those whose pod waits to run, ends or has ended: until there is none of these nothing is made."""
        return [name for name in self.names if name in self.pods and name not in self.active]

    @property
    def all_ready(self) -> bool:
        return len(self.ready) == len(self.names)


class Operator(Controller):
    """Watches the instances of each Cluster; silent while its own pod is not running, as the real one would be."""

    name = "cnpg"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.clusters = self.follow(PG_CLUSTERS)
        self.pods = self.follow(PODS, self._of_pod)
        self.nodes = self.follow(NODES, self._all)
        self._unready_since: dict[Key, float] = {}
        self._leaving_since: dict[Key, float] = {}
        self._joining: dict[str, float] = {}
        """Pods (by uid) that have become ready and stream from this time on."""
        self._beat: dict[Key, float] = {}

    def _of_pod(self, pod: Json) -> list[Key]:
        labels = pod["metadata"].get("labels") or {}
        if matches({"matchLabels": OPERATOR}, labels):
            return self._all(pod)
        cluster = labels.get("cnpg.io/cluster")
        return [(pod["metadata"]["namespace"], cluster)] if cluster and labels.get("cnpg.io/podRole") == "instance" else []

    def _all(self, _: Json) -> list[Key]:
        return list(self.lab.informers.of(PG_CLUSTERS).items)

    def _awake(self) -> bool:
        found = [
            p
            for k, p in self.pods.items.items()
            if k[0] == OPERATOR_NAMESPACE and matches({"matchLabels": OPERATOR}, p["metadata"].get("labels"))
        ]
        return any(pod_ready(p) and p["spec"].get("nodeName") not in self.lab.machines.down for p in found)

    async def reconcile(self, key: Key) -> None:
        cluster = self.clusters.items.get(key)
        if cluster is None or deleting(cluster) or not (cluster.get("status") or {}).get("instanceNames"):
            return
        await self._renew(key, cluster)
        if not self._awake() or (cluster["metadata"].get("annotations") or {}).get(LOOP) == "disabled":
            return
        found = self._instances(cluster)
        await self._recreate(cluster, found)
        status = cluster["status"]
        if status.get("targetPrimary") not in (None, "", "pending", status["currentPrimary"]) and status["targetPrimary"] in found.names:
            cluster = await self._change(cluster, found)
            found = self._instances(cluster)
        else:
            target, why = self._next_primary(key, cluster, found)
            if target:
                await self._announce(cluster, found, target, why)
                return
        await self._label(cluster, found)
        await self._write(cluster, found)

    async def _renew(self, key: Key, cluster: Json) -> None:
        """The lease that the primary's instance manager holds."""
        clock = asyncio.get_running_loop().time()
        self.enqueue(key, self.pace.heartbeat)
        primary = cluster["status"].get("currentPrimary", "")
        pod = self.pods.get(primary, key[0])
        if clock < self._beat.get(key, 0.0) or pod is None or not pod_ready(pod) or pod["spec"].get("nodeName") in self.lab.machines.down:
            return
        self._beat[key] = clock + self.pace.heartbeat * 0.9
        spec = {"holderIdentity": primary, "renewTime": micro(self.lab.now())}
        try:
            await self.client.patch(LEASES, key[1], {"spec": spec}, key[0])
        except ApiError as error:
            if not error.missing:
                raise
            await self.client.create(
                LEASES, {"metadata": {"name": key[1], "namespace": key[0]}, "spec": {**spec, "leaseDurationSeconds": 15}}
            )

    # --- instances

    def _instances(self, cluster: Json) -> Instances:
        namespace, name = cluster["metadata"]["namespace"], cluster["metadata"]["name"]
        names = tuple(cluster["status"]["instanceNames"])
        pods = {
            k[1]: p for k, p in self.pods.items.items()
            if k[0] == namespace and k[1] in names and (p["metadata"].get("labels") or {}).get("cnpg.io/cluster") == name
        }  # fmt: skip
        active = tuple(n for n in names if n in pods and (pods[n].get("status") or {}).get("phase") == "Running" and not deleting(pods[n]))
        ready = tuple(n for n in active if pod_ready(pods[n]) and self._streams(cluster, pods[n]))
        return Instances(names, pods, ready, active)

    def _streams(self, cluster: Json, pod: Json) -> bool:
        """A standby that has just come (back) needs a moment before it follows the primary."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        clock = asyncio.get_running_loop().time()
        if uid not in self._joining:
            known = name in (cluster["status"].get("instancesStatus") or {}).get("healthy", ())
            self._joining[uid] = clock if known else clock + self.pace.rejoin
        left = self._joining[uid] - clock
        if left > 0:
            self.enqueue((cluster["metadata"]["namespace"], cluster["metadata"]["name"]), left)
        return left <= 0

    async def _recreate(self, cluster: Json, found: Instances) -> None:
        """Remove pods that have ended, and make a missing one: the primary's first, one at a time, and only once all others are active."""
        for name in found.inactive:
            if finished(pod := found.pods[name]) and not deleting(pod):
                await self.client.delete(PODS, name, pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])
        missing = sorted((n for n in found.names if n not in found.pods), key=lambda n: n != cluster["status"]["currentPrimary"])
        if missing and not found.inactive:
            await self._make(cluster, missing[0])

    async def _make(self, cluster: Json, name: str) -> None:
        made = instance_pod(cluster, name)
        del made["metadata"]["uid"], made["status"]
        if restarted := (cluster["metadata"].get("annotations") or {}).get(RESTARTED):
            made["metadata"]["annotations"][RESTARTED] = restarted
        try:
            self.pods.offer(await self.client.create(PODS, made))
        except ApiError as error:
            if not error.conflict:
                raise

    # --- roles

    def _next_primary(self, key: Key, cluster: Json, found: Instances) -> tuple[str, str]:
        """Who should become primary, and the phase that this is; empty when the present one is well."""
        current = cluster["status"]["currentPrimary"]
        others = [n for n in found.ready if n != current]
        healthy = [n for n in others if not self._to_be_drained(found.pods[n])]
        if current in found.ready:
            self._unready_since.pop(key, None)
            leaves = self._to_be_drained(found.pods[current]) and self._may_leave(found, current, healthy)
            return (healthy[0], SWITCHOVER) if self._after(key, self._leaving_since, leaves, self.pace.notice) else ("", "")
        if not self._after(key, self._unready_since, True, self.pace.unready):
            return "", ""
        return ((healthy or others)[0], FAILOVER) if others else ("", "")

    def _after(self, key: Key, since: dict[Key, float], holds: bool, seconds: float) -> bool:
        """Whether something has held for so long; looks again when that time comes."""
        if not holds:
            since.pop(key, None)
            return False
        clock = asyncio.get_running_loop().time()
        left = since.setdefault(key, clock) + seconds - clock
        if left > 0:
            self.enqueue(key, left)
        return left <= 0

    def _may_leave(self, found: Instances, current: str, healthy: list[str]) -> bool:
        """Whether a primary leaves its cordoned node: all instances are ready and every standby is on another node that takes pods; with a failed
        instance any good standby will do (replicas.go, triggerSwitchoverToSchedulableNodes)."""
        here = found.pods[current]["spec"]["nodeName"]
        elsewhere = [n for n in healthy if found.pods[n]["spec"]["nodeName"] != here]
        failed = any(n not in found.active for n in found.names)
        return bool(elsewhere) and (failed or (found.all_ready and len(elsewhere) >= len(found.names) - 1))

    def _to_be_drained(self, pod: Json) -> bool:
        node = self.nodes.get(pod["spec"].get("nodeName", ""))
        if node is None:
            return True
        return bool(node["spec"].get("unschedulable")) or any(t["key"] in DRAIN_TAINTS for t in node["spec"].get("taints") or ())

    async def _announce(self, cluster: Json, found: Instances, target: str, phase: str) -> None:
        """Write down who shall lead; the next look does it."""
        current = cluster["status"]["currentPrimary"]
        said = f"Failing over from {current} to {target}"
        if phase == SWITCHOVER:
            node = found.pods[current]["spec"]["nodeName"]
            said = f"Switching over to {target}, because primary instance was running on unschedulable node {node}"
        status = {"targetPrimary": target, "targetPrimaryTimestamp": micro(self.lab.now()), "phase": phase, "phaseReason": said}
        await self._patch(cluster, status)
        if phase == SWITCHOVER:
            said = f"Current primary is running on unschedulable node {node}, switching over from {current} to {target}"
        await self.lab.event(cluster, "SwitchingOver" if phase == SWITCHOVER else "FailingOver", said, component=COMPONENT)

    async def _change(self, cluster: Json, found: Instances) -> Json:
        """Carry out a role change that was asked for: by ourselves, or by whoever patched ``targetPrimary``."""
        status = cluster["status"]
        target = status["targetPrimary"]
        phase = SWITCHOVER if status["currentPrimary"] in found.ready else FAILOVER
        if status.get("phase") not in (SWITCHOVER, FAILOVER):
            cluster = await self._patch(cluster, {"phase": phase, "phaseReason": f"Switching over to {target}"})
        if target not in found.active:
            return cluster
        await self._role(found.pods.get(status["currentPrimary"]), "unhealthy")
        timeline = await self.promote(cluster, target)
        now = micro(self.lab.now())
        cluster = await self._patch(cluster, {"currentPrimary": target, "currentPrimaryTimestamp": now, "timelineID": timeline})
        old = found.pods.get(status["currentPrimary"])
        if old is not None:
            self._joining[old["metadata"]["uid"]] = asyncio.get_running_loop().time() + self.pace.rejoin
        await self.lab.event(cluster, "PrimaryChanged", f"{target} is the new primary", component=COMPONENT)
        return cluster

    async def promote(self, cluster: Json, instance: str) -> int:
        """Make an instance the primary; returns the new timeline."""
        await asyncio.sleep(self.pace.promotion)
        return int(cluster["status"].get("timelineID") or 1) + 1

    async def _role(self, pod: Json | None, role: str) -> None:
        if pod is None or (pod["metadata"].get("labels") or {}).get("cnpg.io/instanceRole") == role:
            return
        patch = {"metadata": {"uid": pod["metadata"]["uid"], "labels": {"cnpg.io/instanceRole": role, "role": role}}}
        self.pods.offer(await self.client.patch(PODS, pod["metadata"]["name"], patch, pod["metadata"]["namespace"]))

    async def _label(self, cluster: Json, found: Instances) -> None:
        for name in found.active:
            await self._role(found.pods[name], "primary" if name == cluster["status"]["currentPrimary"] else "replica")

    # --- status

    async def _write(self, cluster: Json, found: Instances) -> None:
        old = cluster["status"]
        now = self.lab.stamp()
        healthy = found.all_ready and len(found.names) == cluster["spec"]["instances"]
        phase = HEALTHY if healthy else WAITING if found.inactive else old.get("phase")
        starting = tuple(n for n in found.active if n not in found.ready)
        groups = {
            "healthy": list(found.ready) or None, "replicating": list(starting) or None,
            "failed": [n for n in found.names if n not in found.active] or None,
        }  # fmt: skip
        ready = ready_condition(phase == HEALTHY)
        reported: Json = {}
        for name, pod in found.pods.items():
            said = {"isPrimary": name == old["currentPrimary"], "timeLineID": old.get("timelineID", 1)} if name in found.ready else SILENT
            reported[name] = {**said, "ip": pod["status"].get("podIP", "")}
        nodes = {found.pods[n]["spec"]["nodeName"] for n in found.active}
        status: Json = {
            "phase": phase, "phaseReason": None if healthy else NOT_YET if found.inactive else old.get("phaseReason"),
            "readyInstances": len(found.ready), "instances": len(found.names), "instancesStatus": groups, "instancesReportedState": reported,
            "conditions": set_condition(old.get("conditions") or (), ready, now),
            "topology": {**(old.get("topology") or {}), "nodesUsed": len(nodes), "successfullyExtracted": True},
        }  # fmt: skip
        if differs(old, status):
            await self._patch(cluster, status)

    async def _patch(self, cluster: Json, status: Json) -> Json:
        namespace, name = cluster["metadata"]["namespace"], cluster["metadata"]["name"]
        done = await self.client.patch_status(PG_CLUSTERS, name, status, namespace)
        self.clusters.offer(done)
        return done


def ready_condition(healthy: bool) -> Json:
    """It says what the phase says."""
    words = ("ClusterIsReady", "Cluster is Ready") if healthy else ("ClusterIsNotReady", "Cluster Is Not Ready")
    return {"type": "Ready", "status": "True" if healthy else "False", "reason": words[0], "message": words[1]}


def differs(old: Json, new: Json) -> bool:
    """Whether a merge patch with ``new`` would change ``old``."""
    for key, value in new.items():
        have = old.get(key)
        if isinstance(value, dict):
            if differs(have or {}, value):
                return True
        elif have != value:
            return True
    return False
