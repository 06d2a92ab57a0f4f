"""Building blocks: metadata with stable uids, workloads with their pods and history, as a living cluster shows them."""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from coldtui.lab.apiserver.defaults import apply_defaults
from coldtui.lab.client import Json
from coldtui.lab.controllers.base import quantity, reference, stamp
from coldtui.lab.controllers.workloads import DESIRED, HASH, MAXIMUM, REVISION, REVISION_HASH, daemon_tolerations, share, template_hash

_SPACE = uuid.UUID("5f0c8a52-5d4c-4a55-9d9d-c01d7a1c01d7")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the site."""

    name: str
    ip: str
    number: int
    """Its pods live in 10.42.<number>.0/24."""
    master: bool = False


@dataclass(slots=True)
class Seed:
    """A site as lists of objects, in an order in which they can be created."""

    now: datetime
    hosts: tuple[Host, ...]
    dice: random.Random
    objects: list[Json] = field(default_factory=list)
    """What operators and installers made."""
    derived: list[Json] = field(default_factory=list)
    """What the controllers of Kubernetes make of it: on a real control plane they do so themselves."""
    _addresses: dict[str, int] = field(default_factory=dict)

    def ago(self, **parts: float) -> str:
        """A time stamp in the past: ``ago(days=3)``."""
        return stamp(self.now - timedelta(**parts))

    def add(self, *objects: Json) -> None:
        for obj in objects:
            apply_defaults(obj["kind"], obj)
            self.objects.append(obj)

    def derive(self, *objects: Json) -> None:
        for obj in objects:
            apply_defaults(obj["kind"], obj)
            self.derived.append(obj)

    def host(self, name: str) -> Host:
        return next(h for h in self.hosts if h.name == name)

    def address(self, host: Host) -> str:
        """The next free pod address of a host."""
        last = self._addresses[host.name] = self._addresses.get(host.name, 1) + 1
        return f"10.42.{host.number}.{last}"

    def letters(self, count: int = 5) -> str:
        return "".join(self.dice.choice(_LETTERS) for _ in range(count))


def uid(kind: str, namespace: str, name: str) -> str:
    """The same for the same object in every lab, so that recordings can be compared."""
    return str(uuid.uuid5(_SPACE, f"{kind}/{namespace}/{name}"))


def make(api_version: str, kind: str, name: str, namespace: str = "", *, created: str = "", labels: Mapping[str, str] | None = None,
         annotations: Mapping[str, str] | None = None, owner: Json | None = None, **body: object) -> Json:  # fmt: skip
    """An object with complete metadata; ``body`` are its other top-level fields."""
    meta: Json = {"name": name, "uid": uid(kind, namespace, name)}
    if namespace:
        meta["namespace"] = namespace
    if created:
        meta["creationTimestamp"] = created
    if labels:
        meta["labels"] = dict(labels)
    if annotations:
        meta["annotations"] = dict(annotations)
    if owner is not None:
        meta["ownerReferences"] = [reference(owner)]
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **body}


def container(name: str, image: str, *, port: int = 0, cpu: str = "50m", memory: str = "64Mi", limit: str = "", probe: str = "",
              mounts: Mapping[str, str] | None = None, env: Mapping[str, str] | None = None) -> Json:  # fmt: skip
    """One container; ``probe`` is the path of its readiness check on ``port``, ``limit`` its memory limit."""
    made: Json = {"name": name, "image": image, "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    if limit:
        made["resources"]["limits"] = {"memory": limit}
    if port:
        made["ports"] = [{"containerPort": port, "name": "http" if port in (8080, 8081, 80) else f"tcp-{port}"}]
    if probe:
        made["readinessProbe"] = {"httpGet": {"path": probe, "port": port}}
    if mounts:
        made["volumeMounts"] = [{"name": volume, "mountPath": path} for volume, path in mounts.items()]
    if env:
        made["env"] = [{"name": k, "value": v} for k, v in env.items()]
    return made


def running(seed: Seed, pod: Json, host: Host, since: str, *, restarts: int = 0) -> Json:
    """The pod as it runs on a host since a time."""
    pod["spec"]["nodeName"] = host.name
    ip = host.ip if pod["spec"].get("hostNetwork") else seed.address(host)
    conditions = [
        {"type": t, "status": "True", "lastProbeTime": None, "lastTransitionTime": since}
        for t in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]  # fmt: skip
    statuses = []
    for part in pod["spec"]["containers"]:
        image = part["image"]
        digest = uuid.uuid5(uuid.NAMESPACE_URL, image).hex * 2
        last: Json = {}
        if restarts:
            last = {
                "terminated": {
                    "exitCode": 255,
                    "reason": "Unknown",
                    "startedAt": since,
                    "finishedAt": since,
                    "containerID": "containerd://" + "0" * 64,
                }
            }
        statuses.append(
            {
                "name": part["name"], "image": image, "imageID": f"{image.rpartition(':')[0] or image}@sha256:{digest}", "ready": True, "started": True,
                "containerID": f"containerd://{seed.dice.getrandbits(256):064x}", "restartCount": restarts,
                "state": {"running": {"startedAt": since}}, "lastState": last,
            }
        )  # fmt: skip
    pod["status"] = {
        "phase": "Running", "conditions": conditions, "containerStatuses": statuses, "hostIP": host.ip, "hostIPs": [{"ip": host.ip}],
        "podIP": ip, "podIPs": [{"ip": ip}], "startTime": since, "qosClass": "Burstable",
    }  # fmt: skip
    return pod


@dataclass(frozen=True, slots=True)
class Release:
    """One revision of a Deployment."""

    image: str
    days: float
    """Ago."""
    cause: str = ""


def pod_from(template: Json, namespace: str, name: str, owner: Json, created: str, **labels: str) -> Json:
    """A pod as its owner's controller makes it."""
    meta = template["metadata"]
    pod = make(
        "v1",
        "Pod",
        name,
        namespace,
        created=created,
        labels={**meta.get("labels", {}), **labels},
        annotations=meta.get("annotations"),
        owner=owner,
    )
    pod["spec"] = copy.deepcopy(template["spec"])
    pod["status"] = {}
    return pod


def deployment(seed: Seed, namespace: str, name: str, spec: Json, hosts: Sequence[str], *, releases: Sequence[Release] = (), days: float = 90,
               labels: Mapping[str, str] | None = None, strategy: Json | None = None, restarts: Sequence[int] = (), min_ready: int = 0,
               annotations: Mapping[str, str] | None = None) -> Json:  # fmt: skip
    """A complete Deployment with a ReplicaSet a release (oldest first; the first container's image changes) and pods on ``hosts``."""
    labels = dict(labels or {"app": name})
    releases = list(releases) or [Release(spec["containers"][0]["image"], days)]
    since = seed.ago(days=days)
    obj = make(
        "apps/v1",
        "Deployment",
        name,
        namespace,
        created=since,
        labels=labels,
        annotations={**(annotations or {}), REVISION: str(len(releases))},
    )
    obj["spec"] = {
        "replicas": len(hosts), "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": copy.deepcopy(spec)},
        "minReadySeconds": min_ready,
    }  # fmt: skip
    if strategy:
        obj["spec"]["strategy"] = strategy
    obj["metadata"]["generation"] = len(releases)
    if releases[-1].cause:
        obj["metadata"]["annotations"]["kubernetes.io/change-cause"] = releases[-1].cause
    obj["spec"]["template"]["spec"]["containers"][0]["image"] = releases[-1].image
    apply_defaults("Deployment", obj)
    newest: Json = {}
    for number, release in enumerate(releases, 1):
        newest = _replica_set(seed, obj, release, number, len(hosts) if number == len(releases) else 0)
    began = seed.ago(days=releases[-1].days)
    word = f'ReplicaSet "{newest["metadata"]["name"]}" has successfully progressed.'
    obj["status"] = {
        "observedGeneration": len(releases), "replicas": len(hosts), "updatedReplicas": len(hosts), "readyReplicas": len(hosts),
        "availableReplicas": len(hosts),
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability.",
             "lastUpdateTime": since, "lastTransitionTime": since},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": word, "lastUpdateTime": began, "lastTransitionTime": since},
        ],
    }  # fmt: skip
    seed.add(obj)
    for index, host in enumerate(hosts):
        pod = pod_from(newest["spec"]["template"], namespace, f"{newest['metadata']['name']}-{seed.letters()}", newest, began)
        apply_defaults("Pod", pod)
        seed.derive(running(seed, pod, seed.host(host), began, restarts=restarts[index] if index < len(restarts) else 0))
    return obj


def _replica_set(seed: Seed, obj: Json, release: Release, number: int, replicas: int) -> Json:
    template = copy.deepcopy(obj["spec"]["template"])
    template["spec"]["containers"][0]["image"] = release.image
    digest = template_hash(template)
    template["metadata"]["labels"] = {**template["metadata"]["labels"], HASH: digest}
    total = obj["spec"]["replicas"]
    surge = (obj["spec"]["strategy"].get("rollingUpdate") or {}).get("maxSurge", 0)
    annotations = {REVISION: str(number), DESIRED: str(total), MAXIMUM: str(total + share(surge, total, up=True))}
    annotations |= {k: v for k, v in obj["metadata"]["annotations"].items() if k not in (REVISION, "kubernetes.io/change-cause")}
    if release.cause:
        annotations["kubernetes.io/change-cause"] = release.cause
    made = make("apps/v1", "ReplicaSet", f"{obj['metadata']['name']}-{digest}", obj["metadata"]["namespace"], created=seed.ago(days=release.days),
                labels=template["metadata"]["labels"], annotations=annotations, owner=obj)  # fmt: skip
    selector = {"matchLabels": {**obj["spec"]["selector"]["matchLabels"], HASH: digest}}
    made["spec"] = {
        "replicas": replicas,
        "selector": selector,
        "template": template,
        "minReadySeconds": obj["spec"].get("minReadySeconds", 0),
    }
    made["metadata"]["generation"] = 1
    counts = dict.fromkeys(("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"), replicas)
    made["status"] = {**counts, "observedGeneration": 1} if replicas else {"replicas": 0, "observedGeneration": 1}
    seed.derive(made)
    return made


def daemon_set(seed: Seed, namespace: str, name: str, spec: Json, *, days: float, labels: Mapping[str, str] | None = None,
               restarts: Mapping[str, int] | None = None) -> Json:  # fmt: skip
    """A DaemonSet with a pod on every host."""
    labels = dict(labels or {"app": name})
    obj = make("apps/v1", "DaemonSet", name, namespace, created=seed.ago(days=days), labels=labels)
    obj["spec"] = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": copy.deepcopy(spec)}}
    obj["metadata"]["generation"] = 1
    apply_defaults("DaemonSet", obj)
    count = len(seed.hosts)
    words = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable", "updatedNumberScheduled")
    obj["status"] = {**dict.fromkeys(words, count), "numberMisscheduled": 0, "observedGeneration": 1}
    seed.add(obj)
    digest = _revision(seed, obj, days)
    began = seed.ago(days=days)
    for host in seed.hosts:
        pod = pod_from(obj["spec"]["template"], namespace, f"{name}-{seed.letters()}", obj, began, **{REVISION_HASH: digest})
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [host.name]}]}
        pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
        pod["spec"]["tolerations"] = daemon_tolerations(spec)
        seed.derive(running(seed, pod, host, began, restarts=(restarts or {}).get(host.name, 0)))
    return obj


def _revision(seed: Seed, obj: Json, days: float) -> str:
    digest = template_hash(obj["spec"]["template"])
    labels = {**obj["spec"]["selector"]["matchLabels"], REVISION_HASH: digest}
    made = make("apps/v1", "ControllerRevision", f"{obj['metadata']['name']}-{digest}", obj["metadata"]["namespace"], created=seed.ago(days=days),
                labels=labels, owner=obj)  # fmt: skip
    made |= {"data": {"spec": {"template": {**obj["spec"]["template"], "$patch": "replace"}}}, "revision": 1}
    seed.derive(made)
    return digest


def stateful_set(seed: Seed, namespace: str, name: str, spec: Json, hosts: Sequence[str], *, claim: str, mount: str, size: str, days: float,
                 labels: Mapping[str, str] | None = None) -> Json:  # fmt: skip
    """A StatefulSet with one Longhorn claim a pod; the claims themselves are made with their volumes."""
    labels = dict(labels or {"app": name})
    spec = copy.deepcopy(spec)
    spec["containers"][0].setdefault("volumeMounts", []).append({"name": claim, "mountPath": mount})
    template: Json = {
        "metadata": {"name": claim},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "longhorn", "resources": {"requests": {"storage": size}}},
    }
    template["spec"]["volumeMode"] = "Filesystem"
    obj = make("apps/v1", "StatefulSet", name, namespace, created=seed.ago(days=days), labels=labels)
    obj["spec"] = {
        "replicas": len(hosts), "serviceName": name, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec}, "volumeClaimTemplates": [template],
    }  # fmt: skip
    obj["metadata"]["generation"] = 1
    apply_defaults("StatefulSet", obj)
    digest = _revision(seed, obj, days)
    words = ("replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas")
    current = f"{name}-{digest}"
    obj["status"] = {
        **dict.fromkeys(words, len(hosts)),
        "currentRevision": current,
        "updateRevision": current,
        "collisionCount": 0,
        "observedGeneration": 1,
    }
    seed.add(obj)
    for ordinal, host in enumerate(hosts):
        marks = {
            REVISION_HASH: current,
            "statefulset.kubernetes.io/pod-name": f"{name}-{ordinal}",
            "apps.kubernetes.io/pod-index": str(ordinal),
        }
        pod = pod_from(obj["spec"]["template"], namespace, f"{name}-{ordinal}", obj, seed.ago(days=days), **marks)
        pod["spec"] |= {"hostname": f"{name}-{ordinal}", "subdomain": name}
        pod["spec"]["volumes"] = [{"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}-{ordinal}"}}]
        seed.derive(running(seed, pod, seed.host(host), seed.ago(days=days)))
    return obj


def service(seed: Seed, namespace: str, name: str, selector: Mapping[str, str], ports: Mapping[str, int], *, days: float = 90, ip: str = "",
            kind: str = "ClusterIP", labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None) -> Json:  # fmt: skip
    """A Service; ``ports`` maps names to numbers, ``ip`` fixes the cluster address."""
    obj = make("v1", "Service", name, namespace, created=seed.ago(days=days), labels=labels or dict(selector), annotations=annotations)
    obj["spec"] = {"type": kind, "selector": dict(selector), "ports": [{"name": n, "port": p, "targetPort": p} for n, p in ports.items()]}
    if ip:
        obj["spec"] |= {"clusterIP": ip, "clusterIPs": [ip]}
    obj["status"] = {"loadBalancer": {}}
    seed.add(obj)
    return obj


def budget(seed: Seed, namespace: str, name: str, selector: Mapping[str, str], *, least: int | str | None = None, most: int | str | None = None,
           pods: int, days: float = 90, owner: Json | None = None, labels: Mapping[str, str] | None = None) -> Json:  # fmt: skip
    """A disruption budget with the status it has while ``pods`` are well."""
    made = seed.ago(days=days)
    obj = make("policy/v1", "PodDisruptionBudget", name, namespace, created=made, labels=labels, owner=owner)
    obj["spec"] = {"selector": {"matchLabels": dict(selector)}}
    obj["spec"] |= {"minAvailable": least} if least is not None else {"maxUnavailable": most}
    desired = (
        int(least)
        if isinstance(least, int)
        else share(least, pods, up=True)
        if least is not None
        else max(0, pods - share(most, pods, up=True))
    )
    allowed = max(0, pods - desired)
    said = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    ready = {
        "type": "DisruptionAllowed",
        "status": said[0],
        "reason": said[1],
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": made,
    }
    obj["metadata"]["generation"] = 1
    obj["status"] = {
        "currentHealthy": pods, "desiredHealthy": desired, "expectedPods": pods, "disruptionsAllowed": allowed, "observedGeneration": 1,
        "conditions": [ready],
    }  # fmt: skip
    seed.add(obj)
    return obj


def total(pods: Iterable[Json], what: str) -> float:
    """What a set of pods asks for (``cpu`` or ``memory``)."""
    return sum(quantity((c.get("resources", {}).get("requests") or {}).get(what)) for p in pods for c in p["spec"]["containers"])
