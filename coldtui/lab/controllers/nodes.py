"""Nodes: the heartbeat that a kubelet gives, and the life cycle that the control plane makes of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import LEASES, NODES, PODS, ApiError, Json, Key
from coldtui.lab.controllers.base import (
    Controller,
    Lab,
    condition,
    deleting,
    finished,
    is_true,
    micro,
    moment,
    set_condition,
    tolerates,
)

LEASE_NAMESPACE = "kube-node-lease"
NOT_READY, UNREACHABLE, UNSCHEDULABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
"""Somebody vouches that the machine is off."""
DEFAULT_TOLERATION_S = 300.0
"""What admission gives to pods that say nothing about these taints."""
HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)


class NodeHeartbeats(Controller):
    """The kubelet's part: renews the lease of every machine that is on, and says again that the node is well."""

    name = "heartbeats"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.nodes = self.follow(NODES, self._interesting)
        self._leases: dict[str, Json] = {}
        self._next_beat: dict[str, float] = {}
        self._next_status: dict[str, float] = {}
        self._new: set[str] = set()
        """Nodes whose kubelet has just started."""
        lab.machines.listen(self._switched)
        lab.machines.listen_kubelet(self._started)

    def _interesting(self, node: Json) -> list[Key]:
        """Heartbeats come by the clock; only a node that is new, or called unready, wants one at once."""
        name = node["metadata"]["name"]
        return [] if name in self._next_beat and is_true(node, "Ready") else [("", name)]

    def _switched(self, name: str) -> None:
        self._next_beat.pop(name, None)
        self._next_status.pop(name, None)
        self.enqueue(("", name), self.pace.boot)

    def _started(self, name: str) -> None:
        """A kubelet that starts says at once that it lives and that the node is well."""
        self._next_beat.pop(name, None)
        self._next_status[name] = 0.0
        self._new.add(name)
        self.enqueue(("", name))

    async def reconcile(self, key: Key) -> None:
        name = key[1]
        node = self.nodes.get(name)
        if node is None:
            self._next_beat.pop(name, None)
            self._leases.pop(name, None)
            return
        if self.lab.machines.silent(name):
            return
        clock = asyncio.get_running_loop().time()
        if clock >= self._next_beat.get(name, 0.0):
            await self._renew(name, node)
            self._next_beat[name] = clock + self.pace.heartbeat * self.lab.dice.uniform(0.96, 1.0)
        if name in self._new:
            self._new.discard(name)
            await self.lab.event(node, "Starting", "Starting kubelet.", component="kubelet")
        boot = self.lab.machines.boots.get(name)
        rebooted = boot is not None and node["status"]["nodeInfo"].get("bootID") != boot
        due = self._next_status.setdefault(name, clock + self.pace.status * self.lab.dice.uniform(0.5, 1.0))  # not all at once
        if rebooted or not is_true(node, "Ready") or clock >= due:
            await self._say_well(name, node, boot if rebooted else None)
            self._next_status[name] = clock + self.pace.status
        self.enqueue(key, max(0.01, self._next_beat[name] - asyncio.get_running_loop().time()))

    async def _renew(self, name: str, node: Json) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro(self.lab.now())}
        if name in self._leases:
            try:
                await self.client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)
                return
            except ApiError as error:
                if not error.missing:
                    raise
                del self._leases[name]
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        lease = {"metadata": {"name": name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]}, "spec": spec}
        try:
            self._leases[name] = await self.client.create(LEASES, lease)
        except ApiError as error:
            if not error.conflict:
                raise
            self._leases[name] = await self.client.patch(LEASES, name, {"spec": spec}, LEASE_NAMESPACE)

    async def _say_well(self, name: str, node: Json, boot: str | None) -> None:
        now = self.lab.stamp()
        conditions: list[Json] = []
        for type_, status, reason, message in HEALTHY:
            old = condition(node, type_)
            kept = old is not None and old["status"] == status
            since = old["lastTransitionTime"] if old is not None and kept else now
            conditions.append(
                {
                    "type": type_,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": since,
                }
            )
        status_patch: Json = {"conditions": conditions}
        if boot is not None:
            status_patch["nodeInfo"] = {"bootID": boot}
        await self.client.patch_status(NODES, name, status_patch, how="strategic")
        if boot is not None:
            await self.lab.event(node, "Rebooted", f"Node {name} has been rebooted, boot id: {boot}", warning=True, component="kubelet")
        if not is_true(node, "Ready"):
            await self.lab.event(node, "NodeReady", f"Node {name} status is now: NodeReady", component="kubelet")


class NodeLifecycle(Controller):
    """The control plane's part: silence makes a node Unknown, its state becomes taints, and taints evict pods in time."""

    name = "node-lifecycle"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.nodes = self.follow(NODES)
        self.pods = lab.informers.of(PODS)
        self._seen: dict[str, tuple[str, float]] = {}
        """Last renewTime of each node and when it was first seen here: clocks differ, observed change counts."""
        self._last_look = 0.0
        self._selector = lab.informers.selectors.get(LEASES, "")

    async def run(self) -> None:
        self.enqueue(("", "*"))
        await super().run()

    async def reconcile(self, key: Key) -> None:
        if key[1] != "*":
            if (node := self.nodes.get(key[1])) is not None:
                await self._taint(node)
            return
        clock = asyncio.get_running_loop().time()
        try:
            # Read, not watched: a stream that has silently died would look like the silence of all nodes.
            leases = {o["metadata"]["name"]: o for o in (await self.client.list(LEASES, LEASE_NAMESPACE, labels=self._selector))[0]}
        except (ApiError, Unreachable):
            self._seen.clear()  # we are cut off ourselves, and know nothing about the nodes
            raise
        if clock - self._last_look > 3 * self.pace.monitor:
            self._seen.clear()
        self._last_look = clock
        for node in self.nodes.values():
            await self._judge(node, leases.get(node["metadata"]["name"]), clock)
            await self._taint(node)
            await self._evict(node)
            await self._collect_dead(node)
        await self._collect_orphans()
        self.enqueue(key, self.pace.monitor)

    async def _judge(self, node: Json, lease: Json | None, clock: float) -> None:
        name = node["metadata"]["name"]
        renewed = str(lease["spec"].get("renewTime", "")) if lease else ""
        known = self._seen.get(name)
        if known is None or known[0] != renewed:
            self._seen[name] = (renewed, clock)
            return
        ready = condition(node, "Ready")
        if clock - known[1] < self.pace.grace or (ready is not None and ready["status"] == "Unknown"):
            return
        now = self.lab.stamp()
        conditions = list((node.get("status") or {}).get("conditions") or ())
        for type_, *_ in HEALTHY:
            said = {"reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
            beat = (condition(node, type_) or {}).get("lastHeartbeatTime", now)
            conditions = set_condition(conditions, {"type": type_, "status": "Unknown", "lastHeartbeatTime": beat, **said}, now)
        self.nodes.offer(await self.client.patch_status(NODES, name, {"conditions": conditions}))
        await self.lab.event(node, "NodeNotReady", f"Node {name} status is now: NodeNotReady", component="node-controller")
        for pod in self._pods_of(name):
            if is_true(pod, "Ready"):
                held = set_condition(pod["status"]["conditions"], {"type": "Ready", "status": "False", "lastProbeTime": None}, now)
                await self.client.patch_status(PODS, pod["metadata"]["name"], {"conditions": held}, pod["metadata"]["namespace"])
                await self.lab.event(pod, "NodeNotReady", "Node is not ready", warning=True, component="node-controller")

    def _pods_of(self, name: str) -> list[Json]:
        return [pod for pod in self.pods.values() if pod["spec"].get("nodeName") == name and not finished(pod)]

    async def _taint(self, node: Json) -> None:
        """Write the taints that conditions and ``spec.unschedulable`` call for; leave all others alone."""
        node = self.nodes.get(node["metadata"]["name"]) or node
        ready = condition(node, "Ready")
        state = ready["status"] if ready else "Unknown"
        wanted = {(UNSCHEDULABLE, "NoSchedule")} if node["spec"].get("unschedulable") else set()
        if state != "True":
            wanted |= {(NOT_READY if state == "False" else UNREACHABLE, effect) for effect in ("NoSchedule", "NoExecute")}
        ours = {UNSCHEDULABLE, NOT_READY, UNREACHABLE}
        held: list[Json] = node["spec"].get("taints") or []
        kept = [t for t in held if t["key"] not in ours or (t["key"], t["effect"]) in wanted]
        have = {(t["key"], t["effect"]) for t in kept}
        added = [{"key": key, "effect": effect, "timeAdded": self.lab.stamp()} for key, effect in sorted(wanted - have)]
        if added or len(kept) != len(held):
            patch = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": [*kept, *added] or None}}
            self.nodes.offer(await self.client.patch(NODES, node["metadata"]["name"], patch))

    async def _evict(self, node: Json) -> None:
        """Delete the pods whose patience with a NoExecute taint is over."""
        node = self.nodes.get(node["metadata"]["name"]) or node
        taints = [t for t in node["spec"].get("taints") or () if t["effect"] == "NoExecute"]
        if not taints:
            return
        for pod in self._pods_of(node["metadata"]["name"]):
            if deleting(pod) or all(self._patient(pod, taint) for taint in taints):
                continue
            message = f"Marking for deletion Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"
            await self.lab.event(pod, "TaintManagerEviction", message, component="taint-eviction-controller")
            await self.client.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])

    def _patient(self, pod: Json, taint: Json) -> bool:
        held = tolerates(pod["spec"].get("tolerations") or (), taint)
        if held is None and taint["key"] not in (NOT_READY, UNREACHABLE):
            return False
        seconds = DEFAULT_TOLERATION_S if held is None else held.get("tolerationSeconds")
        since = moment(taint.get("timeAdded"))
        if seconds is None or since is None:
            return True
        return self.lab.now() < since + timedelta(seconds=float(seconds) * self.pace.toleration)

    async def _collect_dead(self, node: Json) -> None:
        """Pods that are to end on a node that is not ready and out of service are removed for good: no kubelet will say that they have ended."""
        node = self.nodes.get(node["metadata"]["name"]) or node
        if is_true(node, "Ready") or not any(t["key"] == OUT_OF_SERVICE for t in node["spec"].get("taints") or ()):
            return
        for pod in self._pods_of(node["metadata"]["name"]):
            if deleting(pod):
                await self.client.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], grace_s=0, uid=pod["metadata"]["uid"])

    async def _collect_orphans(self) -> None:
        """Pods bound to a node that is no more are removed for good, as the pod garbage collector does."""
        names = {node["metadata"]["name"] for node in self.nodes.values()}
        for pod in self.pods.values():
            if pod["spec"].get("nodeName") and pod["spec"]["nodeName"] not in names:
                await self.client.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], grace_s=0, uid=pod["metadata"]["uid"])
