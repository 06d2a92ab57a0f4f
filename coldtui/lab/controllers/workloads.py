"""Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs, with the rules of kube-controller-manager that an operator sees."""

from __future__ import annotations

import copy
import hashlib
import math
from abc import abstractmethod
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar

import msgspec

from coldtui.lab.client import (
    CLAIMS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    REVISIONS,
    STATEFUL_SETS,
    ApiError,
    Informer,
    Json,
    Key,
    Kind,
)
from coldtui.lab.controllers.base import (
    Controller,
    Lab,
    condition,
    deleting,
    finished,
    is_true,
    moment,
    owned_by,
    owner_keys,
    pod_ready,
    reference,
    set_condition,
    tolerates,
)
from coldtui.lab.controllers.scheduler import matches_node

HASH = "pod-template-hash"
REVISION_HASH = "controller-revision-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED, MAXIMUM = "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas"
NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM}
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_encode = msgspec.json.Encoder(order="sorted").encode
DAEMON_TOLERATIONS = (
    *(("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule"), ("memory-pressure", "NoSchedule")),
    *(("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule")),
)


def template_hash(template: Json, length: int = 10) -> str:
    """A name part for a pod template, from the letters that Kubernetes uses; the hash label itself does not count."""
    number = int.from_bytes(hashlib.sha256(_encode(_bare(template))).digest(), "big")
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


def _bare(template: Json) -> Json:
    meta = template.get("metadata") or {}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k not in (HASH, REVISION_HASH)}
    return {"labels": labels, "annotations": meta.get("annotations") or {}, "spec": template["spec"]}


def share(value: object, total: int, *, up: bool) -> int:
    """``25%`` of ``total``, rounded up or down; a plain number as it is."""
    if isinstance(value, str) and value.endswith("%"):
        exact = int(value[:-1]) * total / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(str(value or 0))


class PodKeeper(Controller):
    """What the owners of pods share: finding, making and removing them."""

    kind: ClassVar[Kind]

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.objects = self.follow(self.kind)
        self.pods = self.follow(PODS, owner_keys(self.kind.kind))
        self._removed: set[str] = set()
        """Pods (by uid) that we have deleted, until the cache knows."""

    async def reconcile(self, key: Key) -> None:
        obj = self.objects.items.get(key)
        if obj is not None and not deleting(obj):
            await self.keep(obj)

    @abstractmethod
    async def keep(self, obj: Json) -> None:
        """Make the pods of ``obj`` what its spec says, and its status what they are."""

    def mine(self, obj: Json) -> list[Json]:
        """All pods of ``obj`` that are still there."""
        uid, namespace = obj["metadata"]["uid"], obj["metadata"]["namespace"]
        return [p for k, p in self.pods.items.items() if k[0] == namespace and owned_by(p, uid)]

    def active(self, obj: Json) -> list[Json]:
        """Those that neither ended nor are about to."""
        return [p for p in self.mine(obj) if not finished(p) and not deleting(p) and p["metadata"]["uid"] not in self._removed]

    async def make(self, obj: Json, name: str = "", **more: Json) -> None:
        """A pod from the object's template; ``more`` (labels, annotations, spec) is laid over it."""
        template = copy.deepcopy(obj["spec"]["template"])
        meta = template.setdefault("metadata", {})
        meta.pop("creationTimestamp", None)
        for part in ("labels", "annotations"):
            if more.get(part):
                meta[part] = {**(meta.get(part) or {}), **more[part]}
        spec = {**template["spec"], **more.get("spec", {})}
        named = {"name": name} if name else {"generateName": f"{obj['metadata']['name']}-"}
        pod = {"metadata": {**meta, **named, "namespace": obj["metadata"]["namespace"], "ownerReferences": [reference(obj)]}, "spec": spec}
        made = await self.client.create(PODS, pod)
        self.pods.offer(made)
        await self.lab.event(obj, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}", component=self.name)

    async def remove(self, obj: Json, pod: Json) -> None:
        self._removed.add(pod["metadata"]["uid"])
        await self.client.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], uid=pod["metadata"]["uid"])
        await self.lab.event(obj, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}", component=self.name)

    def available(self, obj: Json, pod: Json) -> bool:
        """Ready for ``minReadySeconds``; looks again when that time comes."""
        ready = condition(pod, "Ready")
        if ready is None or ready["status"] != "True" or deleting(pod):
            return False
        seconds = float(obj["spec"].get("minReadySeconds") or 0)
        since = moment(ready.get("lastTransitionTime"))
        if not seconds or since is None:
            return True
        left = (since + timedelta(seconds=seconds) - self.lab.now()).total_seconds()
        if left > 0:
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]), left)
        return left <= 0

    async def write_status(self, obj: Json, status: Json) -> None:
        """Only what is different is written."""
        old = obj.get("status") or {}
        status["observedGeneration"] = obj["metadata"].get("generation", 1)
        if any(old.get(k) != v for k, v in status.items()):
            namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
            self.objects.offer(await self.client.patch_status(self.kind, name, status, namespace))


def _expendable(pod: Json) -> tuple[bool, bool, bool, float, str]:
    """Sort key: what a ReplicaSet deletes first (not placed, pending, not ready, youngest)."""
    made = moment(pod["metadata"].get("creationTimestamp"))
    age = -made.timestamp() if made else 0.0
    running = (pod.get("status") or {}).get("phase") == "Running"
    return bool(pod["spec"].get("nodeName")), running, is_true(pod, "Ready"), age, pod["metadata"]["name"]


class ReplicaSets(PodKeeper):
    """Keeps the number of pods."""

    name = "replicaset-controller"
    kind = REPLICA_SETS

    async def keep(self, obj: Json) -> None:
        pods = self.active(obj)
        wanted = int(obj["spec"].get("replicas", 1))
        for _ in range(wanted - len(pods)):
            await self.make(obj)
        for pod in sorted(pods, key=_expendable)[: max(0, len(pods) - wanted)]:
            await self.remove(obj, pod)
        pods = self.active(obj)
        status: Json = {
            "replicas": len(pods), "fullyLabeledReplicas": len(pods), "readyReplicas": sum(pod_ready(p) for p in pods),
            "availableReplicas": sum(self.available(obj, p) for p in pods),
        }  # fmt: skip
        await self.write_status(obj, status)


class Deployments(Controller):
    """Rolls from one ReplicaSet to the next."""

    name = "deployment-controller"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.objects = self.follow(DEPLOYMENTS)
        self.sets = self.follow(REPLICA_SETS, owner_keys("Deployment"))
        self.pods = lab.informers.of(PODS)

    async def reconcile(self, key: Key) -> None:
        obj = self.objects.items.get(key)
        if obj is None or deleting(obj):
            return
        sets = self._sets(obj)
        new = self._newest(obj, sets)
        if obj["spec"].get("paused"):
            await self._scale_paused(obj, sets)
        else:
            if self._recreates(obj):
                new = await self._recreate(obj, sets, new)
            else:
                new = await self._roll(obj, sets, new)
            await self._forget(obj, new)
        sets = self._sets(obj)
        await self._write_status(obj, sets, new and self.sets.items.get((key[0], new["metadata"]["name"]), new))

    def _sets(self, obj: Json) -> list[Json]:
        uid, namespace = obj["metadata"]["uid"], obj["metadata"]["namespace"]
        found = [s for k, s in self.sets.items.items() if k[0] == namespace and owned_by(s, uid) and not deleting(s)]
        return sorted(found, key=_revision)

    def _newest(self, obj: Json, sets: Iterable[Json]) -> Json | None:
        wanted = template_hash(obj["spec"]["template"], 40)
        return next((s for s in sets if template_hash(s["spec"]["template"], 40) == wanted), None)

    def _recreates(self, obj: Json) -> bool:
        return bool((obj["spec"].get("strategy") or {}).get("type") == "Recreate")

    def _limits(self, obj: Json) -> tuple[int, int]:
        """maxSurge and maxUnavailable as numbers; both 0 would never move, so one may be missing then."""
        rolling = (obj["spec"].get("strategy") or {}).get("rollingUpdate") or {}
        replicas = _replicas(obj)
        surge = share(rolling.get("maxSurge", "25%"), replicas, up=True)
        missing = share(rolling.get("maxUnavailable", "25%"), replicas, up=False)
        return surge, missing if surge or missing else 1

    async def _ensure_new(self, obj: Json, sets: list[Json], new: Json | None, replicas: int) -> Json:
        """The ReplicaSet of the present template, with the highest revision."""
        highest = max((_revision(s) for s in sets if s is not new), default=0)
        if new is None:
            new = await self._create_set(obj, highest + 1, replicas)
        elif _revision(new) <= highest:
            # An old template has come back: it takes a new number, the old one disappears.
            held = new["metadata"].get("annotations") or {}
            history = ",".join(filter(None, (held.get(HISTORY), str(_revision(new)))))
            new = await self._annotate(new, {REVISION: str(highest + 1), HISTORY: history})
        mine = obj["metadata"].get("annotations") or {}
        copied = {k: v for k, v in mine.items() if k not in NOT_COPIED and (new["metadata"].get("annotations") or {}).get(k) != v}
        if copied:
            new = await self._annotate(new, copied)
        if mine.get(REVISION) != str(_revision(new)):
            patch = {"metadata": {"annotations": {REVISION: str(_revision(new))}}}
            self.objects.offer(await self.client.patch(DEPLOYMENTS, obj["metadata"]["name"], patch, obj["metadata"]["namespace"]))
        return new

    async def _annotate(self, chosen: Json, annotations: dict[str, str]) -> Json:
        patch = {"metadata": {"annotations": annotations}}
        done = await self.client.patch(REPLICA_SETS, chosen["metadata"]["name"], patch, chosen["metadata"]["namespace"])
        self.sets.offer(done)
        return done

    async def _create_set(self, obj: Json, revision: int, replicas: int) -> Json:
        digest = template_hash(obj["spec"]["template"])
        template = copy.deepcopy(obj["spec"]["template"])
        meta = template.setdefault("metadata", {})
        meta["labels"] = {**(meta.get("labels") or {}), HASH: digest}
        selector = copy.deepcopy(obj["spec"]["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH: digest}
        mine = {k: v for k, v in (obj["metadata"].get("annotations") or {}).items() if k not in NOT_COPIED}
        surge, _ = (0, 0) if self._recreates(obj) else self._limits(obj)
        annotations = {**mine, REVISION: str(revision), DESIRED: str(_replicas(obj)), MAXIMUM: str(_replicas(obj) + surge)}
        name = f"{obj['metadata']['name']}-{digest}"
        body = {
            "metadata": {
                "name": name, "namespace": obj["metadata"]["namespace"], "labels": meta["labels"], "annotations": annotations,
                "ownerReferences": [reference(obj)],
            },
            "spec": {"replicas": replicas, "selector": selector, "template": template, "minReadySeconds": obj["spec"].get("minReadySeconds", 0)},
        }  # fmt: skip
        try:
            made = await self.client.create(REPLICA_SETS, body)
        except ApiError as error:
            if not error.conflict:
                raise
            made = await self.client.get(REPLICA_SETS, name, obj["metadata"]["namespace"])
        self.sets.offer(made)
        if replicas:
            await self._say_scaled(obj, name, 0, replicas)
        return made

    async def _say_scaled(self, obj: Json, name: str, before: int, after: int) -> None:
        word = "up" if after > before else "down"
        await self.lab.event(obj, "ScalingReplicaSet", f"Scaled {word} replica set {name} from {before} to {after}", component=self.name)

    async def _scale(self, obj: Json, chosen: Json, replicas: int) -> Json:
        before = _replicas(chosen)
        surge, _ = (0, 0) if self._recreates(obj) else self._limits(obj)
        notes = {DESIRED: str(_replicas(obj)), MAXIMUM: str(_replicas(obj) + surge)}
        if before == replicas and all((chosen["metadata"].get("annotations") or {}).get(k) == v for k, v in notes.items()):
            return chosen
        patch = {"metadata": {"annotations": notes}, "spec": {"replicas": replicas}}
        done = await self.client.patch(REPLICA_SETS, chosen["metadata"]["name"], patch, chosen["metadata"]["namespace"])
        self.sets.offer(done)
        if before != replicas:
            await self._say_scaled(obj, chosen["metadata"]["name"], before, replicas)
        return done

    async def _roll(self, obj: Json, sets: list[Json], new: Json | None) -> Json:
        wanted = _replicas(obj)
        surge, missing = self._limits(obj)
        old = [s for s in sets if s is not new]
        total = sum(_replicas(s) for s in sets)
        room = max(0, min(wanted, wanted + surge - total))
        new = await self._ensure_new(obj, sets, new, room)
        if _replicas(new) > wanted or not any(_replicas(s) for s in old):
            target = wanted
        else:
            total = sum(_replicas(s) for s in old) + _replicas(new)
            target = _replicas(new) + max(0, min(wanted - _replicas(new), wanted + surge - total))
        new = await self._scale(obj, new, target)
        await self._shrink(obj, old, new, wanted - missing)
        return new

    async def _shrink(self, obj: Json, old: list[Json], new: Json, least: int) -> None:
        """Take pods from old ReplicaSets: the unhealthy at once, the healthy as far as the others carry the load."""
        unready_new = _replicas(new) - _available(new)
        spare = sum(_replicas(s) for s in old) + _replicas(new) - least - unready_new
        for chosen in old:
            sick = _replicas(chosen) - _available(chosen)
            cut = max(0, min(sick, spare))
            if cut:
                spare -= cut
                await self._scale(obj, chosen, _replicas(chosen) - cut)
        old = [self.sets.items.get((s["metadata"]["namespace"], s["metadata"]["name"]), s) for s in old]
        spare = sum(_available(s) for s in old) + _available(new) - least
        for chosen in old:
            cut = max(0, min(_replicas(chosen), spare))
            if cut:
                spare -= cut
                await self._scale(obj, chosen, _replicas(chosen) - cut)

    async def _recreate(self, obj: Json, sets: list[Json], new: Json | None) -> Json | None:
        old = [s for s in sets if s is not new]
        for chosen in old:
            await self._scale(obj, chosen, 0)
        uids = {s["metadata"]["uid"] for s in old}
        if any(owned_by(pod, uid) and not finished(pod) for pod in self.pods.values() for uid in uids):
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]), 0.3)
            return new
        new = await self._ensure_new(obj, sets, new, _replicas(obj))
        return await self._scale(obj, new, _replicas(obj))

    async def _scale_paused(self, obj: Json, sets: list[Json]) -> None:
        """A paused Deployment still scales: what is there keeps its share, the largest takes the rest."""
        live = sorted((s for s in sets if _replicas(s)), key=_replicas, reverse=True)
        if not live:
            return
        known = (live[0]["metadata"].get("annotations") or {}).get(DESIRED)
        if known is None or int(known) == _replicas(obj):
            return
        rest = _replicas(obj)
        for chosen in live[1:]:
            part = min(rest, round(_replicas(chosen) * _replicas(obj) / max(1, int(known))))
            rest -= part
            await self._scale(obj, chosen, part)
        await self._scale(obj, live[0], rest)

    async def _forget(self, obj: Json, new: Json | None) -> None:
        """Delete the oldest empty ReplicaSets beyond revisionHistoryLimit."""
        keep = int(obj["spec"].get("revisionHistoryLimit", 10))
        name = new["metadata"]["name"] if new else ""
        empty = [
            s for s in self._sets(obj) if s["metadata"]["name"] != name and not _replicas(s) and not (s.get("status") or {}).get("replicas")
        ]
        for chosen in empty[: max(0, len(empty) - keep)]:
            await self.client.delete(
                REPLICA_SETS, chosen["metadata"]["name"], chosen["metadata"]["namespace"], uid=chosen["metadata"]["uid"]
            )

    async def _write_status(self, obj: Json, sets: list[Json], new: Json | None) -> None:
        obj = self.objects.items.get((obj["metadata"]["namespace"], obj["metadata"]["name"]), obj)
        wanted, have = _replicas(obj), sum(_counted(s, "replicas") for s in sets)
        available = sum(_available(s) for s in sets)
        status: Json = {
            "replicas": have, "updatedReplicas": _counted(new, "replicas") if new else 0,
            "readyReplicas": sum(_counted(s, "readyReplicas") for s in sets), "availableReplicas": available,
            # Absent, not 0, when nothing is missing: that is how the real one looks.
            "unavailableReplicas": max(0, sum(_replicas(s) for s in sets) - available) or None,
            "observedGeneration": obj["metadata"].get("generation", 1),
        }  # fmt: skip
        old = obj.get("status") or {}
        status["conditions"] = self._conditions(obj, status, new)
        if any(old.get(k) != v for k, v in status.items()):
            namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
            self.objects.offer(await self.client.patch_status(DEPLOYMENTS, name, status, namespace))
        done = status["updatedReplicas"] == have == available == wanted
        progressing = next((c for c in status["conditions"] if c["type"] == "Progressing"), None)
        if not done and progressing is not None and progressing["status"] == "True":
            self.enqueue((obj["metadata"]["namespace"], obj["metadata"]["name"]), self._deadline(obj))

    def _deadline(self, obj: Json) -> float:
        return float(obj["spec"].get("progressDeadlineSeconds") or 600)

    def _conditions(self, obj: Json, status: Json, new: Json | None) -> list[Json]:
        now = self.lab.stamp()
        wanted = _replicas(obj)
        _, missing = (0, wanted) if self._recreates(obj) else self._limits(obj)
        enough = status["availableReplicas"] >= wanted - missing
        words = ("MinimumReplicasAvailable", "Deployment has minimum availability.") if enough else (
            "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")  # fmt: skip
        old = obj.get("status") or {}
        conditions = _updated(old.get("conditions") or [], "Available", "True" if enough else "False", *words, now)
        if obj["spec"].get("paused"):
            return _updated(conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now)
        current = next((c for c in conditions if c["type"] == "Progressing"), None)
        name = new["metadata"]["name"] if new else ""
        complete = status["updatedReplicas"] == status["replicas"] == status["availableReplicas"] == wanted and new is not None
        if complete:
            said = f'ReplicaSet "{name}" has successfully progressed.'
            return _updated(conditions, "Progressing", "True", "NewReplicaSetAvailable", said, now)
        watched = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        moved = any(int(old.get(k) or 0) != status[k] for k in watched)
        fresh = int(old.get("observedGeneration") or 0) != status["observedGeneration"]
        if current is None or moved or fresh or current["reason"] in ("NewReplicaSetAvailable", "DeploymentPaused"):
            said = f'ReplicaSet "{name}" is progressing.'
            conditions = (
                [c for c in conditions if c["type"] != "Progressing"] if moved and current and current["status"] == "False" else conditions
            )
            return _updated(conditions, "Progressing", "True", "ReplicaSetUpdated", said, now, touch=True)
        since = moment(current.get("lastUpdateTime"))
        if current["status"] == "True" and since is not None and self.lab.now() >= since + timedelta(seconds=self._deadline(obj)):
            said = f'ReplicaSet "{name}" has timed out progressing.'
            return _updated(conditions, "Progressing", "False", "ProgressDeadlineExceeded", said, now)
        return conditions


def _updated(conditions: list[Json], type_: str, status: str, reason: str, message: str, now: str, *, touch: bool = False) -> list[Json]:
    """Conditions of a Deployment have an update time besides; it moves only when something is said anew (or ``touch``)."""
    old = next((c for c in conditions if c["type"] == type_), None)
    same = old is not None and (old["status"], old.get("reason"), old.get("message")) == (status, reason, message)
    if same and not touch:
        return conditions
    return set_condition(conditions, {"type": type_, "status": status, "reason": reason, "message": message, "lastUpdateTime": now}, now)


def _replicas(obj: Json) -> int:
    return int(obj["spec"].get("replicas", 1))


def _counted(obj: Json, what: str) -> int:
    return int((obj.get("status") or {}).get(what) or 0)


def _available(obj: Json) -> int:
    """Available pods of a ReplicaSet; no more than it may keep, since its status runs behind a scale-down."""
    return min(_replicas(obj), _counted(obj, "availableReplicas"))


def _revision(obj: Json) -> int:
    return int((obj["metadata"].get("annotations") or {}).get(REVISION) or 0)


async def _record_revision(keeper: PodKeeper, revisions: Informer, obj: Json) -> str:
    """The ControllerRevision of the present template; made when it is new. Returns its hash."""
    digest = template_hash(obj["spec"]["template"])
    name = f"{obj['metadata']['name']}-{digest}"
    namespace = obj["metadata"]["namespace"]
    if (namespace, name) in revisions.items:
        return digest
    uid = obj["metadata"]["uid"]
    number = max((int(r["revision"]) for r in revisions.values() if owned_by(r, uid)), default=0) + 1
    labels = {**(obj["spec"]["selector"].get("matchLabels") or {}), REVISION_HASH: digest}
    meta = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [reference(obj)]}
    template = {**obj["spec"]["template"], "$patch": "replace"}
    try:
        revisions.offer(
            await keeper.client.create(REVISIONS, {"metadata": meta, "data": {"spec": {"template": template}}, "revision": number})
        )
    except ApiError as error:
        if not error.conflict:
            raise
    return digest


class StatefulSets(PodKeeper):
    """Pods with names that last, made and replaced in order."""

    name = "statefulset-controller"
    kind = STATEFUL_SETS

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.revisions = lab.informers.of(REVISIONS)
        self.claims = lab.informers.of(CLAIMS)

    async def keep(self, obj: Json) -> None:
        digest = await _record_revision(self, self.revisions, obj)
        name = obj["metadata"]["name"]
        pods = {p["metadata"]["name"]: p for p in self.mine(obj) if p["metadata"]["uid"] not in self._removed}
        await self._fill(obj, pods, digest)
        extra = sorted(
            (p for n, p in pods.items() if _ordinal(n) >= _replicas(obj) and not deleting(p)),
            key=lambda p: -_ordinal(p["metadata"]["name"]),
        )
        for pod in extra[:1] if self._ordered(obj) else extra:
            await self.remove(obj, pod)
        if not extra:
            await self._update(obj, pods, digest)
        pods = {p["metadata"]["name"]: p for p in self.active(obj)}
        updated = sum((p["metadata"].get("labels") or {}).get(REVISION_HASH) == f"{name}-{digest}" for p in pods.values())
        current = f"{name}-{digest}" if updated == len(pods) else (obj.get("status") or {}).get("currentRevision") or f"{name}-{digest}"
        await self.write_status(
            obj,
            {
                "replicas": len(pods), "readyReplicas": sum(pod_ready(p) for p in pods.values()),
                "availableReplicas": sum(self.available(obj, p) for p in pods.values()), "updatedReplicas": updated,
                "currentReplicas": len(pods) if updated == len(pods) else len(pods) - updated,
                "updateRevision": f"{name}-{digest}", "currentRevision": current, "collisionCount": 0,
            },
        )  # fmt: skip

    def _ordered(self, obj: Json) -> bool:
        return bool(obj["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady")

    async def _fill(self, obj: Json, pods: dict[str, Json], digest: str) -> None:
        """Make what is missing, lowest first; in order each waits for the one before."""
        name = obj["metadata"]["name"]
        for ordinal in range(_replicas(obj)):
            chosen = f"{name}-{ordinal}"
            pod = pods.get(chosen)
            if pod is not None and finished(pod) and not deleting(pod):
                await self.remove(obj, pod)
                return
            if pod is None:
                await self._claim(obj, ordinal)
                await self._make_one(obj, chosen, ordinal, digest)
            if self._ordered(obj) and (pod is None or not self.available(obj, pod)):
                return

    async def _make_one(self, obj: Json, chosen: str, ordinal: int, digest: str) -> None:
        claims = obj["spec"].get("volumeClaimTemplates") or ()
        volumes = [
            {"name": c["metadata"]["name"], "persistentVolumeClaim": {"claimName": f"{c['metadata']['name']}-{chosen}"}} for c in claims
        ]  # fmt: skip
        held = [v for v in obj["spec"]["template"]["spec"].get("volumes") or () if v["name"] not in {c["name"] for c in volumes}]
        labels = {
            REVISION_HASH: f"{obj['metadata']['name']}-{digest}", "statefulset.kubernetes.io/pod-name": chosen,
            "apps.kubernetes.io/pod-index": str(ordinal),
        }  # fmt: skip
        spec: Json = {"hostname": chosen, "subdomain": obj["spec"].get("serviceName", "")}
        if volumes or held:
            spec["volumes"] = [*volumes, *held]
        await self.make(obj, chosen, labels=labels, spec=spec)

    async def _claim(self, obj: Json, ordinal: int) -> None:
        namespace = obj["metadata"]["namespace"]
        for template in obj["spec"].get("volumeClaimTemplates") or ():
            claim = f"{template['metadata']['name']}-{obj['metadata']['name']}-{ordinal}"
            if self.claims.get(claim, namespace) is None:
                labels = obj["spec"]["selector"].get("matchLabels") or {}
                meta = {"name": claim, "namespace": namespace, "labels": labels}
                self.claims.offer(await self.client.create(CLAIMS, {"metadata": meta, "spec": template["spec"]}))

    async def _update(self, obj: Json, pods: dict[str, Json], digest: str) -> None:
        """Replace old pods from the highest down, one at a time, when all others are well."""
        strategy = obj["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        least = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        for ordinal in range(_replicas(obj) - 1, least - 1, -1):
            pod = pods.get(f"{obj['metadata']['name']}-{ordinal}")
            if pod is None or deleting(pod):
                return
            if (pod["metadata"].get("labels") or {}).get(REVISION_HASH) != f"{obj['metadata']['name']}-{digest}":
                await self.remove(obj, pod)
                return
            if not self.available(obj, pod):
                return


def _ordinal(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else -1


class DaemonSets(PodKeeper):
    """One pod on every node that suits."""

    name = "daemonset-controller"
    kind = DAEMON_SETS

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.revisions = lab.informers.of(REVISIONS)
        self.nodes = self.follow(NODES, self._all)

    def _all(self, _: Json) -> list[Key]:
        return list(self.objects.items)

    async def keep(self, obj: Json) -> None:
        digest = await _record_revision(self, self.revisions, obj)
        wanted = {n["metadata"]["name"] for n in self.nodes.values() if _suits(obj, n)}
        pods: dict[str, list[Json]] = {}
        for pod in self.mine(obj):
            if pod["metadata"]["uid"] not in self._removed:
                pods.setdefault(_target(pod), []).append(pod)
        for node in sorted(wanted - pods.keys()):
            await self._make_on(obj, node, digest)
        for node, held in pods.items():
            for pod in held:
                if not deleting(pod) and (node not in wanted or finished(pod)):
                    await self.remove(obj, pod)
        await self._update(obj, {n: p[0] for n, p in pods.items() if n in wanted}, digest)
        placed = [p for p in self.active(obj) if _target(p) in wanted]
        ready = [p for p in placed if pod_ready(p)]
        available = [p for p in placed if self.available(obj, p)]
        await self.write_status(
            obj,
            {
                "desiredNumberScheduled": len(wanted), "currentNumberScheduled": len(placed), "numberMisscheduled": 0,
                "numberReady": len(ready), "numberAvailable": len(available), "numberUnavailable": len(wanted) - len(available) or None,
                "updatedNumberScheduled": sum((p["metadata"].get("labels") or {}).get(REVISION_HASH) == digest for p in placed),
            },
        )  # fmt: skip

    async def _make_on(self, obj: Json, node: str, digest: str) -> None:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
        spec = {"affinity": affinity, "tolerations": daemon_tolerations(obj["spec"]["template"]["spec"])}
        await self.make(obj, labels={REVISION_HASH: digest}, spec=spec)

    async def _update(self, obj: Json, pods: dict[str, Json], digest: str) -> None:
        strategy = obj["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        limit = max(1, share((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(pods), up=True))
        down = sum(not self.available(obj, p) for p in pods.values())
        for pod in pods.values():
            if deleting(pod) or (pod["metadata"].get("labels") or {}).get(REVISION_HASH) == digest:
                continue
            well = self.available(obj, pod)
            if not well or down < limit:
                down += well
                await self.remove(obj, pod)


def daemon_tolerations(spec: Json) -> list[Json]:
    """A template's tolerations and those that every DaemonSet pod is given."""
    added = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect} for key, effect in DAEMON_TOLERATIONS]
    if spec.get("hostNetwork"):
        added.append({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"})
    return [*(spec.get("tolerations") or ()), *added]


def _target(pod: Json) -> str:
    """The node a DaemonSet pod is for, also before it was bound."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for rule in term.get("matchFields") or ():
            return str(rule["values"][0])
    return ""


def _suits(obj: Json, node: Json) -> bool:
    spec = obj["spec"]["template"]["spec"]
    if not matches_node(spec, node["metadata"]["name"], node["metadata"].get("labels") or {}):
        return False
    held = daemon_tolerations(spec)
    return all(tolerates(held, t) for t in node["spec"].get("taints") or () if t["effect"] in ("NoSchedule", "NoExecute"))


class Jobs(PodKeeper):
    """Runs pods to their end."""

    name = "job-controller"
    kind = JOBS

    async def keep(self, obj: Json) -> None:
        if is_true(obj, "Complete") or is_true(obj, "Failed"):
            return
        spec, pods = obj["spec"], self.mine(obj)
        done = sum((p.get("status") or {}).get("phase") == "Succeeded" for p in pods)
        failed = sum((p.get("status") or {}).get("phase") == "Failed" for p in pods)
        wanted = int(spec.get("completions") or 1)
        live = self.active(obj)
        over = failed > int(spec.get("backoffLimit", 6))
        if not spec.get("suspend") and not over:
            for _ in range(min(int(spec.get("parallelism", 1)), wanted - done) - len(live)):
                await self.make(obj)
        live = self.active(obj)
        now = self.lab.stamp()
        status: Json = {"active": len(live), "ready": sum(pod_ready(p) for p in live), "succeeded": done, "failed": failed}
        status["startTime"] = (obj.get("status") or {}).get("startTime") or now
        status["uncountedTerminatedPods"] = {}
        if done >= wanted:
            status |= {"completionTime": now, "conditions": self._ended("SuccessCriteriaMet", "Complete", "CompletionsReached", now)}
            await self.lab.event(obj, "Completed", "Job completed", component=self.name)
        elif over:
            status["conditions"] = self._ended("FailureTarget", "Failed", "BackoffLimitExceeded", now)
        if any((obj.get("status") or {}).get(k) != v for k, v in status.items()):
            self.objects.offer(await self.client.patch_status(JOBS, obj["metadata"]["name"], status, obj["metadata"]["namespace"]))

    def _ended(self, first: str, last: str, reason: str, now: str) -> list[Json]:
        said = {"status": "True", "reason": reason, "lastProbeTime": now, "lastTransitionTime": now}
        return [{"type": first, **said}, {"type": last, **said}]


WORKLOADS: tuple[type[Controller], ...] = (Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs)
