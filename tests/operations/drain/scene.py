"""The lab's site as facts of a drain: raw objects, broken by a test, through the real decoders; no server."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from coldtui.adapters.kube.decoders import registered
from coldtui.domain.errors import ColdError, NotInstalled
from coldtui.domain.kinds import Kind
from coldtui.domain.plans import Finding, Plan, PlanItem
from coldtui.lab import site
from coldtui.operations.drain.facts import OWN, WORLD, DrainFacts, Read, assemble
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.drain.plan import plan_drain

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
Json = dict[str, Any]
PLURALS = {
    ("", "Node"): "nodes", ("", "Pod"): "pods", ("policy", "PodDisruptionBudget"): "poddisruptionbudgets", ("", "PersistentVolume"): "persistentvolumes",
    ("apps", "DaemonSet"): "daemonsets", ("apps", "Deployment"): "deployments", ("apps", "ReplicaSet"): "replicasets",
    ("apps", "StatefulSet"): "statefulsets", ("postgresql.cnpg.io", "Cluster"): "clusters", ("longhorn.io", "Volume"): "volumes",
    ("longhorn.io", "Replica"): "replicas", ("longhorn.io", "Engine"): "engines", ("longhorn.io", "Setting"): "settings",
    ("longhorn.io", "Backup"): "backups", ("postgresql.cnpg.io", "Backup"): "backups",
    ("longhorn.io", "VolumeAttachment"): "volumeattachments", ("", "Service"): "services", ("discovery.k8s.io", "EndpointSlice"): "endpointslices",
    ("metallb.io", "IPAddressPool"): "ipaddresspools", ("metallb.io", "L2Advertisement"): "l2advertisements",
    ("metallb.io", "ServiceL2Status"): "servicel2statuses",
}  # fmt: skip


@functools.cache
def _seed() -> str:
    built = site.build(NOW)
    return json.dumps([*built.objects, *built.derived])


def group_of(obj: Json) -> str:
    group, slash, _ = str(obj["apiVersion"]).partition("/")
    return group if slash else ""


def slot_kinds() -> dict[str, Kind]:
    """Every list that a drain reads, by the name of its question."""
    return OWN | {kind.name: kind for kind in WORLD}


class Scene:
    """The site, in good health until a test breaks it. `worker` is the node that is drained."""

    def __init__(self, worker: str = "k3s-worker-1") -> None:
        self.worker = worker
        self.objects: list[Json] = json.loads(_seed())
        self.errors: dict[str, ColdError] = {}
        """By question: why it is not answered."""

    # --- breaking

    def get(self, kind: str, name: str, namespace: str = "") -> Json:
        """The raw object itself; change it at will."""
        return next(
            o
            for o in self.objects
            if o["kind"] == kind and o["metadata"]["name"] == name and o["metadata"].get("namespace", "") == namespace
        )

    def all(self, kind: str, group: str = "", test: Callable[[Json], bool] = lambda o: True) -> list[Json]:
        return [o for o in self.objects if o["kind"] == kind and group_of(o) == group and test(o)]

    def pods(self, prefix: str = "", node: str = "") -> list[Json]:
        return self.all(
            "Pod", "", lambda o: o["metadata"]["name"].startswith(prefix) and o["spec"].get("nodeName") == (node or self.worker)
        )

    def pod(self, prefix: str) -> Json:
        """The pod on the drained node whose name begins so."""
        (found,) = self.pods(prefix)
        return found

    def node(self, name: str) -> Json:
        (found,) = self.all("Node", "", lambda o: o["metadata"]["name"] == name)
        return found

    def add(self, obj: Json) -> Json:
        self.objects.append(obj)
        return obj

    def drop(self, obj: Json) -> None:
        self.objects.remove(obj)

    def bare(self) -> Scene:
        """Without any pod, budget or volume of the site: just its nodes and what a test adds."""
        gone = {
            "Pod",
            "PodDisruptionBudget",
            "Volume",
            "Replica",
            "Engine",
            "Cluster",
            "Service",
            "EndpointSlice",
            "DaemonSet",
            "Deployment",
            "StatefulSet",
            "ReplicaSet",
        }
        self.objects = [o for o in self.objects if o["kind"] not in gone]
        return self

    def run(self, name: str, replicas: list[str], **more: Any) -> list[Json]:
        """A Deployment whose pods run on these nodes."""
        return deployment(self, name, replicas, **more)

    # --- reading

    def read(self, question: str, kind: Kind, pods_of: str = "") -> Read:
        title = f"pods of {self.worker}" if question == "pods" else "all pods" if question == "every" else kind.title
        if question in self.errors:
            return Read(title, error=self.errors[question])
        decoder = registered(kind.name)
        assert decoder is not None
        raw = [o for o in self.objects if PLURALS.get((group_of(o), o["kind"])) == kind.plural and group_of(o) == kind.group]
        if kind.name == "lh_attachments" and not raw:
            return Read(title, error=NotInstalled("volumeattachments are not installed"))
        if pods_of:
            raw = [o for o in raw if o["spec"].get("nodeName") == pods_of]
        return Read(title, tuple(decoder.item(json.dumps(o).encode(), NOW) for o in raw))

    def facts(self) -> DrainFacts:
        kinds = slot_kinds()
        reads = {name: self.read(name, kind) for name, kind in kinds.items()}
        reads["pods"] = self.read("pods", OWN["every"], self.worker)
        node = next((n for n in self.read("-", kinds["nodes"]).value if n.name == self.worker), None)
        reads["node"] = Read(f"node {self.worker}", node, self.errors.get("node"))
        return assemble(self.worker, reads, NOW)

    def plan(self, **params: Any) -> Plan:
        return plan_drain(self.facts(), DrainNode(node=self.worker, **params), NOW)

    def copy(self) -> Scene:
        made = Scene(self.worker)
        made.objects, made.errors = copy.deepcopy(self.objects), dict(self.errors)
        return made


# ---------------------------------------------------------------- objects


def meta(name: str, namespace: str = "", **more: Any) -> Json:
    found: Json = {"name": name, "uid": f"uid-{namespace}-{name}", "creationTimestamp": "2026-11-20T10:00:00Z", **more}
    return {**found, "namespace": namespace} if namespace else found


def pod(name: str, on: str, namespace: str = "shop", *, app: str = "", owner: Json | None = None, ready: bool = True, phase: str = "Running",
        cpu: str = "50m", memory: str = "64Mi", spec: Json | None = None, since: str = "2026-11-20T10:00:05Z", waiting: str = "", **metadata: Any) -> Json:  # fmt: skip
    state: Json = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": since}}
    references = [{**owner, "controller": True}] if owner else []
    status: Json = {
        "phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}],
        "containerStatuses": [{"name": "app", "ready": ready, "restartCount": 0, "state": state}],
    }  # fmt: skip
    container = {"name": "app", "image": "r/app:1", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": meta(name, namespace, labels={"app": app or name}, ownerReferences=references, **metadata),
        "spec": {"nodeName": on, "containers": [container], **(spec or {})}, "status": status,
    }  # fmt: skip


def deployment(
    scene: Scene, name: str, on: list[str], *, namespace: str = "shop", desired: int | None = None, **pod_more: Any
) -> list[Json]:
    """Adds the Deployment, its ReplicaSet and a running pod on each node; returns the pods."""
    top = scene.add(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta(name, namespace, generation=1),
            "spec": {"replicas": len(on) if desired is None else desired},
        }
    )
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": top["metadata"]["uid"], "controller": True}
    scene.add(
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": meta(f"{name}-5d", namespace, ownerReferences=[reference]),
            "spec": {"replicas": len(on)},
        }
    )
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-5d", "uid": f"uid-{namespace}-{name}-5d"}
    return [scene.add(pod(f"{name}-5d-{n}", node, namespace, app=name, owner=owner, **pod_more)) for n, node in enumerate(on)]


def budget(scene: Scene, name: str, app: str, *, least: Any = None, most: Any = None, healthy: int, desired: int, expected: int, allowed: int | None = None,
           namespace: str = "shop", policy: str = "", generation: int = 1, observed: int = 1, selector: Json | None = None,
           conditions: list[Json] | None = None) -> Json:  # fmt: skip
    spec: Json = {"selector": {"matchLabels": {"app": app}} if selector is None else selector}
    if least is not None:
        spec["minAvailable"] = least
    if most is not None:
        spec["maxUnavailable"] = most
    if policy:
        spec["unhealthyPodEvictionPolicy"] = policy
    status: Json = {
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "observedGeneration": observed,
        "disruptionsAllowed": max(0, healthy - desired) if allowed is None else allowed, "conditions": conditions or [],
    }  # fmt: skip
    return scene.add(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": meta(name, namespace, generation=generation),
            "spec": spec,
            "status": status,
        }
    )


# ---------------------------------------------------------------- looking


def item(plan: Plan, prefix: str) -> PlanItem:
    """The one item whose pod's name begins so."""
    (found,) = [i for i in plan.items if i.object.rpartition("/")[2].startswith(prefix)]
    return found


def codes(plan: Plan) -> set[str]:
    return {f.code for f in plan.findings}


def finding(plan: Plan, code: str, about: str = "") -> Finding:
    """The one finding with this code (whose sentence holds `about`)."""
    (found,) = [f for f in plan.findings if f.code == code and about in f.sentence]
    return found
