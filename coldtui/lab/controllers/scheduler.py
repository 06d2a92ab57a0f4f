"""Finds a node for every pod that has none, and says why when there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from coldtui.lab.client import CLAIMS, NODES, PODS, Json, Key
from coldtui.lab.controllers.base import (
    Controller,
    Lab,
    deleting,
    finished,
    is_true,
    matches,
    owner,
    quantity,
    requirement,
    set_condition,
    tolerates,
)
from coldtui.lab.controllers.nodes import UNSCHEDULABLE

RETRY_S = 5.0
"""An unschedulable pod is looked at again by then even if nothing seems to have changed."""
Need = tuple[float, float]
"""CPUs and bytes of memory."""


class Scheduler(Controller):
    """The default scheduler: filter, score, bind."""

    name = "scheduler"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.pods = self.follow(PODS, self._affected)
        self.nodes = self.follow(NODES, self._pending)
        self.claims = self.follow(CLAIMS, self._pending)

    def _affected(self, pod: Json) -> list[Key]:
        if _waits(pod):
            return [(pod["metadata"]["namespace"], pod["metadata"]["name"])]
        # A pod that goes makes room for those that wait.
        return self._pending(pod) if deleting(pod) or finished(pod) else []

    def _pending(self, _: Json) -> list[Key]:
        return [key for key, pod in self.lab.informers.of(PODS).items.items() if _waits(pod)]

    async def reconcile(self, key: Key) -> None:
        pod = self.pods.items.get(key)
        if pod is None or not _waits(pod):
            return
        if missing := self._unbound(pod):
            await self._say_why(pod, Counter({missing: len(self.nodes.items)}))
            return
        refused: Counter[str] = Counter()
        fitting: list[tuple[float, str]] = []
        by_node: dict[str, list[Json]] = {}
        for other in self.pods.values():
            if (where := other["spec"].get("nodeName")) and not finished(other):
                by_node.setdefault(where, []).append(other)
        for node in self.nodes.values():
            held = by_node.get(node["metadata"]["name"], [])
            reasons = _reasons(pod, node, held)
            refused.update(reasons)
            if not reasons:
                fitting.append((_score(pod, node, held), node["metadata"]["name"]))
        if not fitting:
            await self._say_why(pod, refused)
            return
        await self._bind(pod, min(fitting)[1])

    def _unbound(self, pod: Json) -> str:
        """What is wrong with the claims of a pod, in the real scheduler's words; empty when all are bound."""
        for volume in pod["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if not name:
                continue
            claim = self.claims.get(name, pod["metadata"]["namespace"])
            if claim is None:
                return f'persistentvolumeclaim "{name}" not found'
            if not claim["spec"].get("volumeName"):
                return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    async def _bind(self, pod: Json, node: str) -> None:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace}, "target": target}
        await self.client.call("POST", PODS.path(namespace, name, "binding"), body=body)
        self.pods.offer(await self.client.get(PODS, name, namespace))  # the next pod must see this one's place taken
        message = f"Successfully assigned {namespace}/{name} to {node}"
        await self.lab.event(pod, "Scheduled", message, component="default-scheduler")

    async def _say_why(self, pod: Json, refused: Counter[str]) -> None:
        total = len(self.nodes.items)
        whole = [reason for reason in refused if "ersistent" in reason]  # of the pod, not of each node
        reasons = whole[0] if whole else ", ".join(sorted(f"{count} {reason}" for reason, count in refused.items()))
        message = f"0/{total} nodes are available: {reasons}." if total else "no nodes available to schedule pods"
        if total:
            message += f" preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling."
        held = (pod.get("status") or {}).get("conditions") or []
        if not any(c["type"] == "PodScheduled" and c.get("message") == message for c in held):
            new = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message, "lastProbeTime": None}
            status = {"conditions": set_condition(held, new, self.lab.stamp())}
            await self.client.patch_status(PODS, pod["metadata"]["name"], status, pod["metadata"]["namespace"])
            await self.lab.event(pod, "FailedScheduling", message, warning=True, component="default-scheduler")
        self.enqueue((pod["metadata"]["namespace"], pod["metadata"]["name"]), RETRY_S)


def _waits(pod: Json) -> bool:
    return (
        not pod["spec"].get("nodeName")
        and not deleting(pod)
        and pod["spec"].get("schedulerName", "default-scheduler") == "default-scheduler"
    )


def needs(pod: Json) -> Need:
    """What a pod asks for: the sum of its containers, at least its largest init container."""
    cpu, memory = (_asked(pod["spec"].get("containers") or (), what) for what in ("cpu", "memory"))
    first_cpu, first_memory = (_largest(pod["spec"].get("initContainers") or (), what) for what in ("cpu", "memory"))
    return max(cpu, first_cpu), max(memory, first_memory)


def _one(container: Json, what: str) -> float:
    resources = container.get("resources") or {}
    return quantity((resources.get("requests") or {}).get(what) or (resources.get("limits") or {}).get(what))


def _asked(containers: Iterable[Json], what: str) -> float:
    return sum(_one(c, what) for c in containers)


def _largest(containers: Iterable[Json], what: str) -> float:
    return max((_one(c, what) for c in containers), default=0.0)


def _load(held: list[Json]) -> Need:
    asked = [needs(pod) for pod in held]
    return sum(n[0] for n in asked), sum(n[1] for n in asked)


def _reasons(pod: Json, node: Json, held: list[Json]) -> list[str]:
    """Why a pod cannot go to a node, in the real scheduler's words; the first reason of the filters in their order, all of the resources."""
    spec = pod["spec"]
    labels = node["metadata"].get("labels") or {}
    tolerations = spec.get("tolerations") or ()
    cordoned = node["spec"].get("unschedulable")
    if cordoned and tolerates(tolerations, {"key": UNSCHEDULABLE, "effect": "NoSchedule"}) is None:
        return ["node(s) were unschedulable"]
    if not matches_node(spec, node["metadata"]["name"], labels):
        return ["node(s) didn't match Pod's node affinity/selector"]
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and tolerates(tolerations, taint) is None:
            value = taint.get("value", "")
            return [
                f"node(s) had untolerated taint {{{taint['key']}: {value}}}"
                if value
                else f"node(s) had untolerated taint {{{taint['key']}: }}"
            ]
    return _shortages(pod, node, held) or _apart(pod, held)


def _shortages(pod: Json, node: Json, held: list[Json]) -> list[str]:
    room = (node.get("status") or {}).get("allocatable") or {}
    cpu, memory = needs(pod)
    used_cpu, used_memory = _load(held)
    short = []
    if len(held) + 1 > quantity(room.get("pods") or 110):
        short.append("Too many pods")
    if used_cpu + cpu > quantity(room.get("cpu")) + 1e-9 and cpu:
        short.append("Insufficient cpu")
    if used_memory + memory > quantity(room.get("memory")) and memory:
        short.append("Insufficient memory")
    return short


def _apart(pod: Json, held: list[Json]) -> list[str]:
    """Required anti-affinity by host."""
    terms = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    for term in terms:
        if term.get("topologyKey") != "kubernetes.io/hostname":
            continue
        namespaces = term.get("namespaces") or [pod["metadata"]["namespace"]]
        for other in held:
            if other["metadata"]["namespace"] in namespaces and matches(term.get("labelSelector"), other["metadata"].get("labels")):
                return ["node(s) didn't match pod anti-affinity rules"]
    return []


def matches_node(spec: Json, name: str, labels: Json) -> bool:
    """nodeSelector and the required node affinity (fields: ``metadata.name``)."""
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    fields = {"metadata.name": name}
    return any(
        all(requirement(rule, labels) for rule in term.get("matchExpressions") or ())
        and all(requirement(rule, fields) for rule in term.get("matchFields") or ())
        for term in required.get("nodeSelectorTerms") or ()
    )


def _score(pod: Json, node: Json, held: list[Json]) -> float:
    """Lower is better: what the pod prefers weighs most, then siblings on the node, then how full it would be."""
    mine = owner(pod)
    siblings = sum(
        1
        for other in held
        if mine is not None and (o := owner(other)) is not None and _app(other) == _app(pod) and o["kind"] == mine["kind"]
    )
    used_cpu, used_memory = _load(held)
    room = (node.get("status") or {}).get("allocatable") or {}
    fill = used_cpu / max(quantity(room.get("cpu")), 1e-9) + used_memory / max(quantity(room.get("memory")), 1.0)
    return siblings * 10 + fill - _liking(pod, node) + (0 if is_true(node, "Ready") else 100)


def _liking(pod: Json, node: Json) -> float:
    """The sum of the weights of the preferred node affinities that a node meets."""
    terms = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    labels = node["metadata"].get("labels") or {}
    return float(
        sum(term["weight"] for term in terms if all(requirement(rule, labels) for rule in term["preference"].get("matchExpressions") or ()))
    )


def _app(pod: Json) -> tuple[str, str]:
    """What spreads: pods of one Deployment are siblings over all its ReplicaSets."""
    labels = pod["metadata"].get("labels") or {}
    return pod["metadata"]["namespace"], labels.get("app") or labels.get("app.kubernetes.io/name") or labels.get("cnpg.io/cluster") or ""
