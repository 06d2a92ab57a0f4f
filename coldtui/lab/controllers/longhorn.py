"""Longhorn: volumes follow their pods, replicas follow their nodes, sizes drift, claims get volumes."""

from __future__ import annotations

import asyncio
import copy
import uuid

from coldtui.lab.client import (
    ATTACHMENTS,
    BUDGETS,
    CLAIMS,
    LH_ENGINES,
    LH_NODES,
    LH_REPLICAS,
    LH_SETTINGS,
    LH_VOLUMES,
    NODES,
    PODS,
    STORAGE_CLASSES,
    VOLUMES,
    ApiError,
    Json,
    Key,
    Kind,
    kind_of,
)
from coldtui.lab.controllers.base import Controller, Lab, deleting, finished, node_ready, pod_ready, quantity, set_condition
from coldtui.lab.seeds import longhorn as make

NAMESPACE = make.NAMESPACE
STEP_B = 100 * 2**20
"""Longhorn rounds free space to this."""


async def create_whole(lab: Lab, obj: Json) -> Json:
    """Create an object of the seeds' builders through the API: the status is written apart, the uid is the server's."""
    kind = kind_of(obj)
    body = copy.deepcopy(obj)
    for field in ("uid", "creationTimestamp"):
        body["metadata"].pop(field, None)
    status = body.pop("status", None) if kind.status else None
    made = await lab.client.create(kind, body)
    if status:
        made = await lab.client.patch_status(kind, made["metadata"]["name"], status, made["metadata"].get("namespace", ""))
    lab.informers.of(kind).offer(made)
    return made


class Volumes(Controller):
    """One volume with its engine and replicas: where it is attached, which copies are good, what is being rebuilt."""

    name = "longhorn-volumes"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.volumes = self.follow(LH_VOLUMES)
        self.replicas = self.follow(LH_REPLICAS, _of_volume)
        self.engines = lab.informers.of(LH_ENGINES)
        self.nodes = lab.informers.of(NODES)
        self._readiness: dict[str, bool] = {}
        self.nodes.listen(self._node_changed)
        self.pods = self.follow(PODS, self._of_pod)
        self._rebuilding: dict[str, float] = {}
        """Replica -> when its rebuild began."""
        self._free: dict[Key, float] = {}
        """Volumes that were detached, and from when on they may be attached anew."""
        lab.machines.listen(self._switched)

    def _switched(self, name: str) -> None:
        """Engines notice at once when the machine of a copy goes, long before its node is called unready."""
        for key in self.volumes.items:
            self.enqueue(key)

    def _node_changed(self, before: Json | None, after: Json | None) -> None:
        obj = after or before
        assert obj is not None
        name, ready = obj["metadata"]["name"], node_ready(after)
        if self._readiness.get(name) != ready:
            self._readiness[name] = ready
            for key in self.volumes.items:
                self.enqueue(key)

    def _of_pod(self, pod: Json) -> list[Key]:
        if (pod["metadata"].get("labels") or {}).get("longhorn.io/component") == "instance-manager":
            return list(self.lab.informers.of(LH_VOLUMES).items)
        claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["spec"].get("volumes") or () if "persistentVolumeClaim" in v}
        if not claims:
            return []
        namespace = pod["metadata"]["namespace"]
        return [k for k, v in self.lab.informers.of(LH_VOLUMES).items.items() if (s := _claim(v))[0] == namespace and s[1] in claims]

    def _up(self, node: str) -> bool:
        """Copies on a node are served while its machine is on, the node is ready and its instance manager runs."""
        manager = self.pods.get(make.manager_name(node), NAMESPACE)
        ready = node_ready(self.nodes.get(node)) and manager is not None and pod_ready(manager)
        return ready and node not in self.lab.machines.down

    async def reconcile(self, key: Key) -> None:
        volume = self.volumes.items.get(key)
        if volume is None or deleting(volume):
            return
        user = self._user(key, volume)
        where = user["spec"]["nodeName"] if user is not None else ""
        if (
            where
            and node_ready(self.nodes.get(where))
            and not self._up(where)
            and (volume.get("status") or {}).get("currentNodeID") == where
        ):
            return  # its engine is gone, and there is nobody who could say anything about its copies
        copies = sorted((r for r in self.replicas.values() if r["spec"]["volumeName"] == key[1]), key=lambda r: str(r["metadata"]["name"]))
        good: list[str] = []
        progress: dict[str, int] = {}
        for copy_ in copies:
            state, percent = await self._tend(volume, copy_, attached=bool(where))
            if state == "RW":
                good.append(copy_["metadata"]["name"])
            elif state == "WO":
                progress[copy_["metadata"]["name"]] = percent
        if where and copies and not good and progress:
            good = await self._salvage(volume, list(progress))
            progress = {}
        await self._write_engine(volume, where, copies, good, progress)
        await self._write(volume, user, where, len(good))
        if progress:
            self.enqueue(key, max(0.05, self.pace.rebuild / 20))

    def _user(self, key: Key, volume: Json) -> Json | None:
        """The pod that holds the volume: on the node where it is attached, whether it is about to end or not; else the first that waits for it,
        once the volume is detached."""
        users = self._users(volume)
        current, clock = (volume.get("status") or {}).get("currentNodeID"), asyncio.get_running_loop().time()
        if (here := next((pod for pod in users if pod["spec"]["nodeName"] == current), None)) is not None:
            return here
        if current:
            self._free[key] = clock + self.pace.attach
        left = self._free.get(key, 0.0) - clock
        if users and left > 0:
            self.enqueue(key, left)
        return users[0] if users and left <= 0 else None

    def _users(self, volume: Json) -> list[Json]:
        namespace, claim = _claim(volume)
        return [
            pod for key, pod in sorted(self.pods.items.items())
            if claim and key[0] == namespace and not finished(pod) and pod["spec"].get("nodeName")
            and any(v.get("persistentVolumeClaim", {}).get("claimName") == claim for v in pod["spec"].get("volumes") or ())
        ]  # fmt: skip

    async def _tend(self, volume: Json, copy_: Json, *, attached: bool) -> tuple[str, int]:
        """Bring one replica to what its node allows; returns its mode (RW, WO, ERR) and the percentage of its rebuild."""
        name, spec = copy_["metadata"]["name"], copy_["spec"]
        clock, now = asyncio.get_running_loop().time(), self.lab.stamp()
        if not self._up(spec["nodeID"]):
            self._rebuilding.pop(name, None)
            if attached and not spec.get("failedAt"):
                await self._patch(
                    LH_REPLICAS, name, {"spec": {"failedAt": now, "lastFailedAt": now, "healthyAt": "", "desireState": "stopped"}}
                )
                gone = {"currentState": "unknown" if not node_ready(self.nodes.get(spec["nodeID"])) else "stopped", "started": False}
                await self._status(LH_REPLICAS, name, {**gone, "instanceManagerName": ""})
            return "ERR", 0
        if not attached or not spec.get("failedAt"):
            return "RW", 100
        began = self._rebuilding.get(name)
        if began is None:
            began = self._rebuilding[name] = clock
            await self._status(
                LH_REPLICAS, name, {"currentState": "running", "started": True, "instanceManagerName": make.manager_name(spec["nodeID"])}
            )
            await self.lab.event(
                volume,
                "Rebuilding",
                f"Start rebuilding replica {name} for {volume['metadata']['name']}",
                component="longhorn-engine-controller",
            )
        percent = int(100 * (clock - began) / self.pace.rebuild)
        if percent < 100:
            return "WO", percent
        del self._rebuilding[name]
        await self._patch(
            LH_REPLICAS,
            name,
            {"spec": {"failedAt": "", "healthyAt": now, "lastHealthyAt": now, "desireState": "running", "rebuildRetryCount": 0}},
        )
        await self.lab.event(
            volume,
            "Rebuilt",
            f"replica {name} has been rebuilt for volume {volume['metadata']['name']}",
            component="longhorn-engine-controller",
        )
        return "RW", 100

    async def _salvage(self, volume: Json, names: list[str]) -> list[str]:
        """All copies had failed and some are back: there is nothing to rebuild from, so these are taken as they are (auto-salvage)."""
        for name in names:
            self._rebuilding.pop(name, None)
            await self._patch(LH_REPLICAS, name, {"spec": {"failedAt": "", "healthyAt": self.lab.stamp(), "desireState": "running"}})
        said = f"volume {volume['metadata']['name']} requested remount: salvaged {len(names)} replicas"
        await self.lab.event(volume, "AutoSalvaged", said, warning=True, component="longhorn-volume-controller")
        await self._status(LH_VOLUMES, volume["metadata"]["name"], {"lastAutoSalvagedAt": self.lab.stamp()})
        return names

    async def _write_engine(self, volume: Json, where: str, copies: list[Json], good: list[str], progress: dict[str, int]) -> None:
        name = f"{volume['metadata']['name']}-e-0"
        engine = self.engines.get(name, NAMESPACE)
        if engine is None:
            return
        if engine["spec"].get("nodeID", "") != where:
            await self._patch(LH_ENGINES, name, {"spec": {"nodeID": where, "desireState": "running" if where else "stopped"}})
        modes = {
            r["metadata"]["name"]: "RW" if r["metadata"]["name"] in good else "WO" if r["metadata"]["name"] in progress else None
            for r in copies
        }
        source = next((r for r in copies if r["metadata"]["name"] in good), None)
        rebuilds: dict[str, Json | None] = dict.fromkeys((engine.get("status") or {}).get("rebuildStatus") or {})
        for copy_ in copies:
            if (percent := progress.get(copy_["metadata"]["name"])) is not None:
                address = make.replica_address(source) if source else ""
                rebuilds[f"tcp://{make.replica_address(copy_)}"] = {
                    "isRebuilding": True, "progress": percent, "state": "in_progress", "error": "", "fromReplicaAddress": f"tcp://{address}",
                }  # fmt: skip
        status: Json = {
            "currentState": "running" if where else "stopped", "replicaModeMap": modes if where else dict.fromkeys(modes),
            "rebuildStatus": rebuilds, "endpoint": f"/dev/longhorn/{volume['metadata']['name']}" if where else "",
        }  # fmt: skip
        if _changes(engine.get("status") or {}, status):
            await self._status(LH_ENGINES, name, status)

    async def _write(self, volume: Json, user: Json | None, where: str, good: int) -> None:
        old, now = volume.get("status") or {}, self.lab.stamp()
        wanted = int(volume["spec"]["numberOfReplicas"])
        attached = bool(where)
        if not attached or not node_ready(self.nodes.get(where)):
            robustness = "unknown"
        else:
            robustness = "healthy" if good >= wanted else "degraded" if good else "faulted"
        status: Json = {"state": "attached" if attached else "detached", "robustness": robustness, "currentNodeID": where}
        if where:
            status["ownerID"] = where
        if robustness == "degraded" and old.get("robustness") != "degraded":
            status["lastDegradedAt"] = now
        held = old.get("kubernetesStatus") or {}
        if user is not None and held.get("workloadsStatus"):
            first = {
                **held["workloadsStatus"][0],
                "podName": user["metadata"]["name"],
                "podStatus": (user.get("status") or {}).get("phase", ""),
            }
            status["kubernetesStatus"] = {"workloadsStatus": [first]}
        if not _changes(old, status):
            return
        if volume["spec"].get("nodeID", "") != where:
            await self._patch(LH_VOLUMES, volume["metadata"]["name"], {"spec": {"nodeID": where}})
            await self._attach(volume["metadata"]["name"], old.get("currentNodeID", ""), where)
        await self._status(LH_VOLUMES, volume["metadata"]["name"], status)
        if old.get("robustness") != robustness and robustness != "unknown":
            said = f"volume {volume['metadata']['name']} became {robustness}"
            await self.lab.event(
                volume, robustness.capitalize(), said, warning=robustness != "healthy", component="longhorn-volume-controller"
            )

    async def _attach(self, name: str, before: str, after: str) -> None:
        """The VolumeAttachment goes with the volume."""
        if before:
            await self.client.delete(ATTACHMENTS, make.attachment_name(name, before))
        if after:
            try:
                await create_whole(self.lab, make.attachment(name, after, ""))
            except ApiError as error:
                if not error.conflict:
                    raise

    async def _patch(self, kind: Kind, name: str, patch: Json) -> None:
        self.lab.informers.of(kind).offer(await self.client.patch(kind, name, patch, NAMESPACE))

    async def _status(self, kind: Kind, name: str, status: Json) -> None:
        self.lab.informers.of(kind).offer(await self.client.patch_status(kind, name, status, NAMESPACE))


class StorageNodes(Controller):
    """Storage nodes: conditions, the budgets and pods of the instance managers, free space that moves."""

    name = "longhorn-nodes"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.storage = self.follow(LH_NODES)
        self.nodes = self.follow(NODES, lambda n: [(NAMESPACE, n["metadata"]["name"])])
        self.volumes = self.follow(LH_VOLUMES, self._of_volume)
        self.replicas = self.follow(LH_REPLICAS, lambda r: [(NAMESPACE, r["spec"]["nodeID"])])
        self.budgets = lab.informers.of(BUDGETS)
        self.settings = lab.informers.of(LH_SETTINGS)
        self.pods = self.follow(PODS, self._of_pod)

    def _of_volume(self, volume: Json) -> list[Key]:
        return [(NAMESPACE, where)] if (where := (volume.get("status") or {}).get("currentNodeID")) else []

    def _of_pod(self, pod: Json) -> list[Key]:
        labels = pod["metadata"].get("labels") or {}
        return [(NAMESPACE, labels["longhorn.io/node"])] if labels.get("longhorn.io/component") == "instance-manager" else []

    async def reconcile(self, key: Key) -> None:
        obj, node = self.storage.items.get(key), self.nodes.get(key[1])
        if obj is None or deleting(obj):
            return
        await self._conditions(obj, node)
        if node is not None:
            await self._guard(obj, node)

    async def _conditions(self, obj: Json, node: Json | None) -> None:
        now, name = self.lab.stamp(), obj["metadata"]["name"]
        ready, cordoned = node_ready(node), bool(node and node["spec"].get("unschedulable"))
        reason = "" if ready else "KubernetesNodeGone" if node is None else "KubernetesNodeNotReady"
        said = f"Node {name} is ready" if ready else f"Kubernetes node {name} not ready: {reason}"
        status = obj["status"]
        conditions = set_condition(
            status.get("conditions") or (),
            {"type": "Ready", "status": "True" if ready else "False", "reason": reason, "message": said},
            now,
        )
        able = ready and not cordoned
        why = "" if able else "KubernetesNodeCordoned" if cordoned else "KubernetesNodeNotReady"
        conditions = set_condition(
            conditions, {"type": "Schedulable", "status": "True" if able else "False", "reason": why, "message": ""}, now
        )
        disks: Json = {}
        for disk, held in (status.get("diskStatus") or {}).items():
            mine = set_condition(
                held.get("conditions") or (),
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "reason": "" if ready else "NodeNotReady",
                    "message": held["conditions"][0].get("message", ""),
                },
                now,
            )
            mine = set_condition(
                mine,
                {"type": "Schedulable", "status": "True" if ready else "False", "reason": "" if ready else "DiskNotReady", "message": ""},
                now,
            )
            placed = self._placed(held["diskUUID"])
            new = {
                "conditions": mine,
                "scheduledReplica": {**dict.fromkeys(held.get("scheduledReplica") or {}), **placed},
                "storageScheduled": sum(placed.values()),
            }
            if _changes(held, new):
                disks[disk] = new
        if conditions != status.get("conditions") or disks:
            patch: Json = {"conditions": conditions}
            if disks:
                patch["diskStatus"] = disks
            self.storage.offer(await self.client.patch_status(LH_NODES, name, patch, NAMESPACE))

    def _placed(self, disk: str) -> dict[str, int]:
        return {
            r["metadata"]["name"]: int(r["spec"]["volumeSize"])
            for r in self.replicas.values()
            if r["spec"]["diskID"] == disk and not deleting(r)
        }

    async def _guard(self, obj: Json, node: Json) -> None:
        """The instance manager's budget goes when a cordoned node may be drained. Its pod is never restarted: when it has gone or failed a new one
        is made, but not on a cordoned node, since it would not mind the cordon (longhorn-manager, instance_manager_controller.go, handlePod)."""
        host = obj["metadata"]["name"]
        name = make.manager_name(host)
        budget, pod = self.budgets.get(name, NAMESPACE), self.pods.get(name, NAMESPACE)
        cordoned = bool(node["spec"].get("unschedulable"))
        if pod is not None and finished(pod) and not deleting(pod):
            await self.client.delete(PODS, name, NAMESPACE, uid=pod["metadata"]["uid"])
        elif pod is not None and pod_ready(pod):
            # Budgets are only seen to while the instance manager runs.
            if cordoned and budget is not None and self._may_go(host):
                await self.client.delete(BUDGETS, name, NAMESPACE)
            elif not cordoned and budget is None:
                await create_whole(self.lab, make.manager_budget(host, ""))
        elif pod is None and not cordoned and node_ready(node) and not self.lab.machines.silent(host):
            try:
                await create_whole(self.lab, make.manager_pod(host, obj, ""))
            except ApiError as error:
                if not error.conflict:
                    raise

    def _may_go(self, host: str) -> bool:
        """No volume attached here, and by the drain policy another good copy of each volume that has one here.

        A copy elsewhere counts while the budget of its node's instance manager is there: another drain might take it away.
        """
        if any((v.get("status") or {}).get("currentNodeID") == host for v in self.volumes.values()):
            return False
        policy = self.settings.get("node-drain-policy", NAMESPACE)
        value = policy["value"] if policy else "block-if-contains-last-replica"
        if value == "always-allow":
            return True
        here = [r for r in self.replicas.values() if r["spec"]["nodeID"] == host]
        if value == "block-for-eviction":
            return not here
        if value == "allow-if-replica-is-stopped":
            here = [r for r in here if (r.get("status") or {}).get("currentState") != "stopped"]
        needed = {r["spec"]["volumeName"] for r in here if r["spec"].get("healthyAt") or r["spec"].get("failedAt")}
        return needed <= {r["spec"]["volumeName"] for r in self.replicas.values() if r["spec"]["nodeID"] != host and self._protected(r)}

    def _protected(self, copy_: Json) -> bool:
        spec = copy_["spec"]
        good = spec.get("healthyAt") and not spec.get("failedAt") and node_ready(self.nodes.get(spec["nodeID"]))
        return bool(good and self.budgets.get(make.manager_name(spec["nodeID"]), NAMESPACE) is not None)


class Drift(Controller):
    """Sizes move as data is written: slowly, and never past what a volume may hold."""

    name = "longhorn-drift"
    key: Key = (NAMESPACE, "*")

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.volumes = lab.informers.of(LH_VOLUMES)
        self.storage = lab.informers.of(LH_NODES)
        self.replicas = lab.informers.of(LH_REPLICAS)
        self._owed: dict[str, int] = {}

    async def run(self) -> None:
        if not self.lab.still:
            self.enqueue(self.key, self.pace.drift)
        await super().run()

    async def reconcile(self, key: Key) -> None:
        attached = [v for v in self.volumes.values() if (v.get("status") or {}).get("state") == "attached"]
        for volume in self.lab.dice.sample(attached, min(3, len(attached))):
            size, actual = int(volume["spec"]["size"]), int(volume["status"]["actualSize"])
            grown = min(self.lab.dice.randrange(1, 8) * 2**20, max(0, int(size * 0.9) - actual))
            if not grown:
                continue
            name = volume["metadata"]["name"]
            self.volumes.offer(await self.client.patch_status(LH_VOLUMES, name, {"actualSize": actual + grown}, NAMESPACE))
            for copy_ in self.replicas.values():
                if copy_["spec"]["volumeName"] == name:
                    self._owed[copy_["spec"]["nodeID"]] = self._owed.get(copy_["spec"]["nodeID"], 0) + grown
        for host, owed in self._owed.items():
            if owed >= STEP_B and (obj := self.storage.get(host, NAMESPACE)) is not None:
                disk, held = next(iter(obj["status"]["diskStatus"].items()))
                self._owed[host] = owed - STEP_B
                left = {disk: {"storageAvailable": max(0, held["storageAvailable"] - STEP_B)}}
                self.storage.offer(await self.client.patch_status(LH_NODES, host, {"diskStatus": left}, NAMESPACE))
        self.enqueue(key, self.pace.drift)


KINDS = {"Replica": LH_REPLICAS, "Engine": LH_ENGINES}
"""Parts of a volume."""


class Provisioner(Controller):
    """Gives a claim of Longhorn's class a volume with its replicas, and binds it."""

    name = "longhorn-provisioner"

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.claims = self.follow(CLAIMS)
        self.classes = lab.informers.of(STORAGE_CLASSES)
        self.storage = lab.informers.of(LH_NODES)
        self.volumes = lab.informers.of(VOLUMES)
        for kind in KINDS.values():
            lab.informers.of(kind)
        self._released: dict[Key, set[str]] = {}
        """Volumes whose claims are gone."""
        self.claims.listen(self._claim_gone)

    def _claim_gone(self, before: Json | None, after: Json | None) -> None:
        if before is not None and after is None and (name := before["spec"].get("volumeName")):
            key = (before["metadata"]["namespace"], before["metadata"]["name"])
            self._released.setdefault(key, set()).add(name)
            self.enqueue(key)

    async def _reclaim(self, name: str) -> None:
        """A released volume of policy Delete goes, with everything that belongs to it."""
        volume = self.volumes.get(name)
        if volume is not None and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
            with_all = self.lab.informers.of(LH_REPLICAS).values() + self.lab.informers.of(LH_ENGINES).values()
            for kind, obj in [
                (LH_VOLUMES, name),
                *((KINDS[o["kind"]], o["metadata"]["name"]) for o in with_all if o["spec"]["volumeName"] == name),
            ]:
                await self._let_go(kind, obj, NAMESPACE)
            await self._let_go(VOLUMES, name, "")

    async def _let_go(self, kind: Kind, name: str, namespace: str) -> None:
        """Delete, and take the finalizer away, as the manager does when it has cleaned up."""
        await self.client.delete(kind, name, namespace)
        try:
            await self.client.patch(kind, name, {"metadata": {"finalizers": None}}, namespace)
        except ApiError as error:
            if not error.missing:
                raise

    async def reconcile(self, key: Key) -> None:
        for released in sorted(self._released.pop(key, ())):
            await self._reclaim(released)
        claim = self.claims.items.get(key)
        if claim is None or deleting(claim) or claim["spec"].get("volumeName") or (claim.get("status") or {}).get("phase") == "Bound":
            return
        chosen = self.classes.get(claim["spec"].get("storageClassName") or "longhorn")
        if chosen is None or chosen["provisioner"] != "driver.longhorn.io":
            return
        count = int((chosen.get("parameters") or {}).get("numberOfReplicas") or 3)
        size = int(quantity(claim["spec"]["resources"]["requests"]["storage"]))
        name = make.volume_name(claim["metadata"]["uid"])
        hosts = self._hosts(size, count)
        now = self.lab.stamp()
        if len(hosts) < count:
            await self.lab.event(
                claim,
                "ProvisioningFailed",
                f"insufficient storage: {len(hosts)} of {count} replicas can be placed",
                warning=True,
                component="driver.longhorn.io",
            )
            self.enqueue(key, self.pace.attach * 2)
            return
        body = make.volume(name, size, now, replicas=count, actual_b=0, attached="")
        body["status"]["kubernetesStatus"] = {
            "pvName": name, "pvStatus": "Bound", "namespace": key[0], "pvcName": key[1], "lastPVCRefAt": "", "lastPodRefAt": "",
            "workloadsStatus": [{"podName": "", "podStatus": "", "workloadName": "", "workloadType": ""}],
        }  # fmt: skip
        volume = await create_whole(self.lab, body)
        copies = [await create_whole(self.lab, make.replica(volume, i, host, now, running=False)) for i, host in enumerate(hosts)]
        await create_whole(self.lab, make.engine(volume, copies, now))
        await create_whole(self.lab, make.persistent(name, size // make.GIB or 1, now, claim))
        await self.client.patch(CLAIMS, key[1], {"spec": {"volumeName": name}}, key[0])
        status = {"phase": "Bound", "accessModes": claim["spec"]["accessModes"], "capacity": claim["spec"]["resources"]["requests"]}
        self.claims.offer(await self.client.patch_status(CLAIMS, key[1], status, key[0]))
        await self.lab.event(
            claim,
            "ProvisioningSucceeded",
            f"Successfully provisioned volume {name}",
            component=f"driver.longhorn.io_csi-provisioner_{uuid.uuid4().hex[:8]}",
        )

    def _hosts(self, size: int, count: int) -> list[str]:
        """The nodes with the most free space that accept a replica of this size."""
        fitting = []
        for obj in self.storage.values():
            ready = all(c["status"] == "True" for c in obj["status"].get("conditions") or () if c["type"] in ("Ready", "Schedulable"))
            for disk, held in (obj["status"].get("diskStatus") or {}).items():
                room = held["storageMaximum"] - obj["spec"]["disks"][disk]["storageReserved"] - held["storageScheduled"]
                if ready and obj["spec"]["allowScheduling"] and held["storageAvailable"] > held["storageMaximum"] * 0.25 and size <= room:
                    fitting.append((-room, obj["metadata"]["name"]))
        return [name for _, name in sorted(fitting)[:count]]


def _claim(volume: Json) -> tuple[str, str]:
    held = (volume.get("status") or {}).get("kubernetesStatus") or {}
    return held.get("namespace", ""), held.get("pvcName", "")


def _of_volume(obj: Json) -> list[Key]:
    return [(NAMESPACE, obj["spec"]["volumeName"])]


def _changes(old: Json, new: Json) -> bool:
    """Whether a merge patch with ``new`` would change ``old``."""
    for key, value in new.items():
        have = old.get(key)
        if isinstance(value, dict):
            if _changes(have or {}, value):
                return True
        elif have != value:
            return True
    return False


LONGHORN: tuple[type[Controller], ...] = (Volumes, StorageNodes, Drift, Provisioner)
