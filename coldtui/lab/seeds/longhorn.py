"""Longhorn: volumes with engine, replicas, claim and PersistentVolume; nodes with disks; snapshots, backups, policy, settings."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import stamp
from coldtui.lab.seeds.parts import Host, Seed, container, daemon_set, deployment, make, running, service, uid

NAMESPACE = "longhorn-system"
API = "longhorn.io/v1beta2"
VERSION = "v1.12.1"
GIB = 2**30
DISK_B = 100 * GIB
"""Five disks of this size make the 500 GiB of the site."""
TARGET_URL = "s3://cold-storage-backups@auto/"
ENGINE_IMAGE = f"longhornio/longhorn-engine:{VERSION}"
SETTINGS = {
    "node-drain-policy": "block-if-contains-last-replica",
    "node-down-pod-deletion-policy": "do-nothing",
    "storage-over-provisioning-percentage": "100",
    "storage-minimal-available-percentage": "25",
    "storage-reserved-percentage-for-default-disk": "30",
    "default-replica-count": '{"v1":"3","v2":"3"}',
    "replica-soft-anti-affinity": "false",
    "replica-replenishment-wait-interval": "600",
    "concurrent-replica-rebuild-per-node-limit": "5",
    "auto-salvage": "true",
    "auto-delete-pod-when-volume-detached-unexpectedly": "true",
    "allow-recurring-job-while-volume-detached": "false",
    "recurring-job-max-retention": "100",
    "snapshot-max-count": "250",
    "failed-backup-ttl": "1440",
    "backup-execution-timeout": "1",
    "deleting-confirmation-flag": "false",
    "current-longhorn-version": VERSION,
}


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """One claim and what it holds."""

    namespace: str
    claim: str
    size_gib: int
    used_gib: float
    """On one replica."""
    replicas: tuple[str, ...]
    """Names of the hosts with a copy."""
    attached: str
    """Host of the pod that uses it."""
    pod: str
    workload: tuple[str, str]
    """Kind and name."""
    days: float = 90


def volume_name(claim_uid: str) -> str:
    return f"pvc-{claim_uid}"


def disk_uuid(host: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"disk.{host}.cold.example"))


def manager_name(host: str) -> str:
    """The instance manager of a host."""
    return f"instance-manager-{uuid.uuid5(uuid.NAMESPACE_DNS, host).hex}"


def condition(type_: str, ok: bool, reason: str, now: str, message: str = "") -> Json:
    return {
        "type": type_,
        "status": "True" if ok else "False",
        "reason": reason,
        "message": message,
        "lastProbeTime": "",
        "lastTransitionTime": now,
    }


def volume(
    name: str, size_b: int, created: str, *, replicas: int, actual_b: int, attached: str, last_backup: tuple[str, str] = ("", "")
) -> Json:
    """A volume; detached when ``attached`` is empty. ``last_backup``: name and time."""
    obj = make(API, "Volume", name, NAMESPACE, created=created, labels={"longhornvolume": name, "backup-target": "default"})
    obj["metadata"]["finalizers"] = ["longhorn.io"]
    obj["spec"] = {
        "size": str(size_b), "numberOfReplicas": replicas, "frontend": "blockdev", "dataEngine": "v1", "accessMode": "rwo",
        "dataLocality": "disabled", "nodeID": attached, "image": ENGINE_IMAGE, "replicaAutoBalance": "ignored", "backupTargetName": "default",
        "snapshotMaxCount": 250, "snapshotMaxSize": "0", "staleReplicaTimeout": 30, "fromBackup": "", "Standby": False, "encrypted": False,
        "backupCompressionMethod": "lz4",
    }  # fmt: skip
    obj["status"] = {
        "state": "attached" if attached else "detached", "robustness": "healthy" if attached else "unknown", "currentNodeID": attached,
        "ownerID": attached, "actualSize": actual_b, "currentImage": ENGINE_IMAGE, "lastBackup": last_backup[0], "lastBackupAt": last_backup[1],
        "lastDegradedAt": "", "restoreRequired": False, "restoreInitiated": False, "isStandby": False, "expansionRequired": False,
        "conditions": [condition("Scheduled", True, "", created), condition("TooManySnapshots", False, "", created), condition("Restore", False, "", created)],
        "kubernetesStatus": {},
    }  # fmt: skip
    return obj


def replica(owner: Json, index: int, host: str, created: str, *, running: bool) -> Json:
    """One copy of a volume on a host's disk."""
    name = owner["metadata"]["name"]
    short = uuid.uuid5(uuid.NAMESPACE_OID, f"{name}{index}{host}").hex[:8]
    labels = {"longhornvolume": name, "longhornnode": host, "longhorndiskuuid": disk_uuid(host)}
    obj = make(API, "Replica", f"{name}-r-{short}", NAMESPACE, created=created, labels=labels, owner=owner)
    obj["spec"] = {
        "volumeName": name, "nodeID": host, "diskID": disk_uuid(host), "diskPath": "/var/lib/longhorn/", "active": True, "healthyAt": created,
        "lastHealthyAt": created, "failedAt": "", "lastFailedAt": "", "engineName": f"{name}-e-0", "dataDirectoryName": f"{name}-{short}",
        "desireState": "running" if running else "stopped", "evictionRequested": False, "volumeSize": owner["spec"]["size"], "dataEngine": "v1",
        "image": ENGINE_IMAGE, "rebuildRetryCount": 0, "hardNodeAffinity": "", "snapshotMaxCount": 250, "snapshotMaxSize": "0",
    }  # fmt: skip
    obj["status"] = {
        "currentState": "running" if running else "stopped", "started": running, "instanceManagerName": manager_name(host) if running else "",
        "currentImage": ENGINE_IMAGE, "ownerID": host, "ip": "", "storageIP": "", "port": 10000 + index * 10, "conditions": [],
    }  # fmt: skip
    return obj


def engine(owner: Json, replicas: Sequence[Json], created: str, snapshots: Json | None = None) -> Json:
    """The controller process of a volume, on the node where it is attached."""
    name, host = owner["metadata"]["name"], owner["status"]["currentNodeID"]
    obj = make(API, "Engine", f"{name}-e-0", NAMESPACE, created=created, labels={"longhornvolume": name, "longhornnode": host}, owner=owner)
    addresses = {r["metadata"]["name"]: replica_address(r) for r in replicas}
    obj["spec"] = {
        "volumeName": name, "volumeSize": owner["spec"]["size"], "nodeID": host, "active": True, "desireState": "running" if host else "stopped",
        "frontend": "blockdev", "dataEngine": "v1", "image": ENGINE_IMAGE, "replicaAddressMap": addresses, "disableFrontend": False,
        "snapshotMaxCount": 250, "snapshotMaxSize": "0",
    }  # fmt: skip
    obj["status"] = {
        "currentState": "running" if host else "stopped", "currentSize": owner["spec"]["size"], "ownerID": host, "currentImage": ENGINE_IMAGE,
        "replicaModeMap": {r["metadata"]["name"]: "RW" for r in replicas} if host else {}, "currentReplicaAddressMap": addresses if host else {},
        "endpoint": f"/dev/longhorn/{name}" if host else "", "isExpanding": False, "started": bool(host), "rebuildStatus": {}, "restoreStatus": {},
        "backupStatus": {}, "purgeStatus": {}, "instanceManagerName": manager_name(host) if host else "", "snapshots": snapshots or {}, "conditions": [],
    }  # fmt: skip
    return obj


def replica_address(obj: Json) -> str:
    """Where a replica listens, as engines name it in their progress maps (there with ``tcp://``)."""
    number = sum(obj["spec"]["nodeID"].encode()) % 200 + 2
    return f"10.42.{number}.{sum(obj['metadata']['name'].encode()) % 250 + 2}:{obj['status'].get('port') or 10000}"


def persistent(name: str, size_gib: int, created: str, claim: Json) -> Json:
    """The PersistentVolume that binds a Longhorn volume to a claim."""
    meta = claim["metadata"]
    obj = make("v1", "PersistentVolume", name, created=created, annotations={"pv.kubernetes.io/provisioned-by": "driver.longhorn.io"})
    bound = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}
    obj["spec"] = {
        "capacity": {"storage": f"{size_gib}Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "longhorn",
        "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Filesystem", "claimRef": bound,
        "csi": {"driver": "driver.longhorn.io", "fsType": "ext4", "volumeHandle": name, "volumeAttributes": {"numberOfReplicas": "3", "staleReplicaTimeout": "30"}},
    }  # fmt: skip
    obj["status"] = {"phase": "Bound"}
    return obj


def snapshot(owner: Json, name: str, taken: str, *, size_b: int, job: str = "", parent: str = "", child: str = "volume-head") -> Json:
    """A finished snapshot of a volume."""
    volume_ = owner["metadata"]["name"]
    labels = {"RecurringJob": job, "policy": "seed"} if job else {}
    obj = make(API, "Snapshot", name, NAMESPACE, created=taken, labels={"longhornvolume": volume_}, owner=owner)
    obj["spec"] = {"volume": volume_, "createSnapshot": False, "labels": labels}
    obj["status"] = {
        "readyToUse": True, "creationTime": taken, "requestedTime": taken, "size": size_b, "restoreSize": int(owner["spec"]["size"]), "parent": parent,
        "children": {child: True}, "userCreated": True, "markRemoved": False, "labels": labels, "error": "", "ownerID": owner["status"]["ownerID"],
    }  # fmt: skip
    return obj


def backup(
    owner: Json, name: str, snapshot_name: str, taken: datetime, *, size_b: int, new_b: int, job: str = "", labels: Json | None = None
) -> Json:
    """A finished backup of a volume."""
    volume_ = owner["metadata"]["name"]
    held = labels if labels is not None else {"RecurringJob": job, "policy": "seed"} if job else {}
    obj = make(API, "Backup", name, NAMESPACE, created=stamp(taken), labels={"backup-volume": volume_, "backup-target": "default"})
    obj["metadata"]["finalizers"] = ["longhorn.io"]
    obj["spec"] = {"snapshotName": snapshot_name, "backupMode": "incremental", "labels": held, "backupBlockSize": "2097152"}
    obj["status"] = finished_backup(owner, name, snapshot_name, taken, taken + timedelta(minutes=3), size_b, new_b, held)
    return obj


def finished_backup(
    owner: Json, name: str, snapshot_name: str, taken: datetime, ended: datetime, size_b: int, new_b: int, labels: Json
) -> Json:
    """The status of a completed backup."""
    volume_ = owner["metadata"]["name"]
    return {
        "state": "Completed", "progress": 100, "error": "", "messages": {}, "url": f"{TARGET_URL}?backup={name}&volume={volume_}", "volumeName": volume_,
        "volumeSize": owner["spec"]["size"], "size": str(size_b), "newlyUploadDataSize": str(new_b), "reUploadedDataSize": "0",
        "snapshotName": snapshot_name, "snapshotCreatedAt": stamp(taken), "backupCreatedAt": stamp(ended), "lastSyncedAt": stamp(ended),
        "backupTargetName": "default", "compressionMethod": "lz4", "labels": labels, "volumeCreated": owner["metadata"].get("creationTimestamp", ""),
        "volumeBackingImageName": "", "ownerID": owner["status"].get("ownerID", ""),
    }  # fmt: skip


def backup_volume(owner: Json, newest: Json, stored_b: int, created: str) -> Json:
    """All backups of one volume on the target."""
    name = owner["metadata"]["name"]
    digest = uuid.uuid5(uuid.NAMESPACE_OID, name).hex[:8]
    obj = make(
        API, "BackupVolume", f"{name}-{digest}", NAMESPACE, created=created, labels={"backup-volume": name, "backup-target": "default"}
    )
    at = newest["status"]["backupCreatedAt"]
    obj["spec"] = {"volumeName": name, "backupTargetName": "default"}
    obj["status"] = {
        "lastBackupName": newest["metadata"]["name"], "lastBackupAt": at, "size": owner["spec"]["size"], "dataStored": str(stored_b),
        "createdAt": created, "storageClassName": "longhorn", "messages": {}, "lastSyncedAt": at, "lastModificationTime": at, "labels": {},
    }  # fmt: skip
    return obj


def storage_node(seed: Seed, host: Host, scheduled: dict[str, int], used_b: int) -> Json:
    """The storage node of a host with its one disk. ``scheduled``: replica -> nominal bytes."""
    name = f"default-disk-{disk_uuid(host.name).replace('-', '')[:16]}"
    made = seed.ago(days=180)
    obj = make(API, "Node", host.name, NAMESPACE, created=made)
    obj["metadata"]["finalizers"] = ["longhorn.io"]
    obj["spec"] = {
        "name": host.name, "allowScheduling": True, "evictionRequested": False, "tags": [], "instanceManagerCPURequest": 0,
        "disks": {
            name: {"path": "/var/lib/longhorn/", "diskType": "filesystem", "allowScheduling": True, "evictionRequested": False,
                   "storageReserved": DISK_B * 30 // 100, "tags": [], "diskDriver": ""}
        },
    }  # fmt: skip
    free = (DISK_B - used_b) // (100 * 2**20) * (100 * 2**20)
    message = f"Disk {name} ({disk_uuid(host.name)}) on the node {host.name} is ready"
    obj["status"] = {
        "autoEvicting": False, "region": "", "zone": "",
        "conditions": [
            condition("Ready", True, "", made, f"Node {host.name} is ready"), condition("Schedulable", True, "", made),
            condition("MountPropagation", True, "", made), condition("RequiredPackages", True, "", made), condition("KernelModulesLoaded", True, "", made),
            condition("NFSClientInstalled", True, "", made), condition("Multipathd", True, "", made),
        ],
        "diskStatus": {
            name: {
                "diskName": name, "diskPath": "/var/lib/longhorn/", "diskType": "filesystem", "diskUUID": disk_uuid(host.name), "filesystemType": "ext2/ext3",
                "instanceManagerName": manager_name(host.name), "storageMaximum": DISK_B, "storageAvailable": free,
                "storageScheduled": sum(scheduled.values()), "scheduledReplica": scheduled, "scheduledBackingImage": {}, "diskDriver": "",
                "conditions": [condition("Ready", True, "", made, message), condition("Schedulable", True, "", made), condition("Error", False, "", made)],
            }
        },
    }  # fmt: skip
    return obj


def recurring_job(seed: Seed, name: str, task: str, cron: str, retain: int) -> None:
    made = seed.ago(days=170)
    obj = make(API, "RecurringJob", name, NAMESPACE, created=made)
    obj["spec"] = {
        "name": name,
        "task": task,
        "cron": cron,
        "retain": retain,
        "concurrency": 2,
        "groups": ["default"],
        "labels": {"policy": "seed"},
        "parameters": {},
    }
    obj["status"] = {"executionCount": 680 if task == "snapshot" else 170, "ownerID": seed.hosts[1].name}
    job = make("batch/v1", "CronJob", name, NAMESPACE, created=made, labels={"recurring-job.longhorn.io": name})
    template = {
        "spec": {"containers": [container("recurring-job", f"longhornio/longhorn-manager:{VERSION}")], "restartPolicy": "OnFailure"}
    }
    job["spec"] = {
        "schedule": cron, "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1, "suspend": False,
        "jobTemplate": {"spec": {"template": template}},
    }  # fmt: skip
    hours = seed.now.hour % 6 if task == "snapshot" else (seed.now.hour - 2) % 24
    job["status"] = {"lastScheduleTime": seed.ago(hours=hours, minutes=seed.now.minute, seconds=seed.now.second)}
    seed.add(obj, job)


def add_system(seed: Seed) -> None:
    """Managers, instance managers, engine image, CSI: the pods of Longhorn itself."""
    manager = f"longhornio/longhorn-manager:{VERSION}"
    seed.add(make("v1", "ServiceAccount", "longhorn-service-account", NAMESPACE, created=seed.ago(days=170)))
    daemon_set(seed, NAMESPACE, "longhorn-manager",
               {"containers": [container("longhorn-manager", manager, port=9500, cpu="50m", memory="128Mi")], "serviceAccountName": "longhorn-service-account"},
               days=170, labels={"app": "longhorn-manager"}, restarts={seed.hosts[2].name: 1})  # fmt: skip
    daemon_set(seed, NAMESPACE, f"engine-image-ei-{uuid.uuid5(uuid.NAMESPACE_URL, ENGINE_IMAGE).hex[:8]}",
               {"containers": [container("engine-image", ENGINE_IMAGE, cpu="5m", memory="16Mi")]}, days=170,
               labels={"longhorn.io/component": "engine-image"})  # fmt: skip
    daemon_set(seed, NAMESPACE, "longhorn-csi-plugin",
               {"containers": [container("longhorn-csi-plugin", manager, cpu="20m", memory="48Mi"), container("node-driver-registrar", "longhornio/csi-node-driver-registrar:v2.15.0", cpu="5m", memory="16Mi")],
                "serviceAccountName": "longhorn-service-account"}, days=170)  # fmt: skip
    names = [h.name for h in seed.hosts if not h.master]
    for index, name in enumerate(("csi-attacher", "csi-provisioner", "csi-resizer", "csi-snapshotter")):
        hosts = [names[(index + n) % len(names)] for n in range(3)]
        deployment(
            seed, NAMESPACE, name, {"containers": [container(name, f"longhornio/{name}:v8.3.0", cpu="10m", memory="24Mi")]}, hosts, days=170
        )
    deployment(
        seed,
        NAMESPACE,
        "longhorn-driver-deployer",
        {"containers": [container("longhorn-driver-deployer", manager, cpu="5m", memory="24Mi")]},
        names[1:2],
        days=170,
    )
    deployment(seed, NAMESPACE, "longhorn-ui", {"containers": [container("longhorn-ui", f"longhornio/longhorn-ui:{VERSION}", port=8000, cpu="5m", memory="24Mi")]},
               [names[0], names[2]], days=170)  # fmt: skip
    service(seed, NAMESPACE, "longhorn-backend", {"app": "longhorn-manager"}, {"manager": 9500}, days=170)
    service(seed, NAMESPACE, "longhorn-frontend", {"app": "longhorn-ui"}, {"http": 80}, days=170)


def add_instance_managers(seed: Seed, nodes: dict[str, Json]) -> None:
    """One instance manager a node with the budget that guards it. Owned by the storage node, since the kind InstanceManager is not served here."""
    for host in seed.hosts:
        pod = manager_pod(host.name, nodes[host.name], seed.ago(days=41))
        seed.add(running(seed, pod, host, seed.ago(days=41)), manager_budget(host.name, seed.ago(days=41)))


def manager_pod(host: str, owner: Json, created: str) -> Json:
    """The pod that runs engines and replicas on a node; bound to it from the start."""
    name = manager_name(host)
    labels = {
        "longhorn.io/component": "instance-manager",
        "longhorn.io/node": host,
        "longhorn.io/instance-manager-type": "aio",
        "longhorn.io/data-engine": "v1",
    }
    pod = make("v1", "Pod", name, NAMESPACE, created=created, labels=labels, owner=owner)
    pod["spec"] = {
        "nodeName": host, "containers": [container("instance-manager", f"longhornio/longhorn-instance-manager:{VERSION}", cpu="200m", memory="256Mi")],
        "tolerations": [{"operator": "Exists"}], "serviceAccountName": "longhorn-service-account", "restartPolicy": "Never",
    }  # fmt: skip
    pod["status"] = {}
    return pod


def manager_budget(host: str, created: str) -> Json:
    """Same name as the pod: guards what runs in it."""
    name = manager_name(host)
    labels = {"longhorn.io/component": "instance-manager", "longhorn.io/node": host}
    obj = make("policy/v1", "PodDisruptionBudget", name, NAMESPACE, created=created, labels=labels)
    obj["spec"] = {"minAvailable": 1, "selector": {"matchLabels": labels}}
    obj["metadata"]["generation"] = 1
    obj["status"] = {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1, "disruptionsAllowed": 0, "observedGeneration": 1}
    return obj


def add_volumes(seed: Seed, specs: Sequence[VolumeSpec]) -> dict[str, Json]:
    """All volumes with what belongs to them, then the storage nodes; returns these by host."""
    scheduled: dict[str, dict[str, int]] = {h.name: {} for h in seed.hosts}
    used = dict.fromkeys(scheduled, 0)
    volumes: list[tuple[Json, VolumeSpec]] = []
    for spec in specs:
        made = seed.ago(days=spec.days)
        claim = make("v1", "PersistentVolumeClaim", spec.claim, spec.namespace, created=made, labels={"app": spec.workload[1]})
        claim["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
        name = volume_name(claim["metadata"]["uid"])
        actual = int(spec.used_gib * GIB)
        obj = volume(name, spec.size_gib * GIB, made, replicas=len(spec.replicas), actual_b=actual, attached=spec.attached)
        obj["status"]["kubernetesStatus"] = {
            "pvName": name, "pvStatus": "Bound", "namespace": spec.namespace, "pvcName": spec.claim, "lastPVCRefAt": "", "lastPodRefAt": "",
            "workloadsStatus": [{"podName": spec.pod, "podStatus": "Running", "workloadName": spec.workload[1], "workloadType": spec.workload[0]}],
        }  # fmt: skip
        claim["spec"] = {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "longhorn", "resources": {"requests": {"storage": f"{spec.size_gib}Gi"}}, "volumeName": name,
        }  # fmt: skip
        claim["status"] = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": f"{spec.size_gib}Gi"}}
        claim["metadata"]["annotations"] = {
            "pv.kubernetes.io/bind-completed": "yes",
            "volume.kubernetes.io/storage-provisioner": "driver.longhorn.io",
        }
        if spec.workload[0] == "Cluster":
            claim["metadata"]["labels"] = {
                "cnpg.io/cluster": spec.workload[1], "cnpg.io/instanceName": spec.pod, "cnpg.io/pvcRole": "PG_DATA", "role": "replica",
            }  # fmt: skip
            claim["metadata"]["annotations"]["cnpg.io/pvcStatus"] = "ready"
        copies = [replica(obj, i, host, made, running=bool(spec.attached)) for i, host in enumerate(spec.replicas)]
        for copy in copies:
            scheduled[copy["spec"]["nodeID"]][copy["metadata"]["name"]] = spec.size_gib * GIB
            used[copy["spec"]["nodeID"]] += actual
        seed.add(claim, persistent(name, spec.size_gib, made, claim), obj, *copies)
        if spec.attached:
            seed.add(attachment(name, spec.attached, made))
        add_history(seed, obj, copies, spec)
        volumes.append((obj, spec))
    nodes = {}
    for host in seed.hosts:
        # Beside the replicas: images, logs, the system. Together about 150 GiB of the 500.
        nodes[host.name] = storage_node(seed, host, scheduled[host.name], used[host.name] + int((9.0 + host.number * 0.4) * GIB))
        seed.add(nodes[host.name])
    return nodes


def attachment_name(name: str, host: str) -> str:
    return f"csi-{uuid.uuid5(uuid.NAMESPACE_OID, name + host).hex}"


def attachment(name: str, host: str, made: str) -> Json:
    """Says that a volume is attached to a host."""
    obj = make("storage.k8s.io/v1", "VolumeAttachment", attachment_name(name, host), created=made)
    obj["spec"] = {"attacher": "driver.longhorn.io", "nodeName": host, "source": {"persistentVolumeName": name}}
    obj["status"] = {"attached": True}
    return obj


def add_history(seed: Seed, obj: Json, copies: Sequence[Json], spec: VolumeSpec) -> None:
    """Snapshots of the last two days each six hours, backups of the last three nights, and the engine that knows the chain."""
    midnight = seed.now.replace(hour=0, minute=0, second=0, microsecond=0)
    slots = [midnight + timedelta(hours=6 * n) for n in range(-4, 4)]
    taken = [s for s in slots if s < seed.now - timedelta(minutes=5)][-5:]
    names = [f"snapshot-{uid('Snapshot', obj['metadata']['name'], stamp(t))[:8]}-{t:%m%d%H}" for t in taken]
    chain: Json = {}
    for index, (name, at) in enumerate(zip(names, taken, strict=True)):
        parent = names[index - 1] if index else ""
        child = names[index + 1] if index + 1 < len(names) else "volume-head"
        size = int(spec.used_gib * GIB * 0.01) * (index + 1)
        seed.add(snapshot(obj, name, stamp(at), size_b=size, job="snapshot-6h", parent=parent, child=child))
        chain[name] = {
            "name": name,
            "parent": parent,
            "children": {child: True},
            "removed": False,
            "usercreated": True,
            "created": stamp(at),
            "size": str(size),
            "labels": {"RecurringJob": "snapshot-6h"},
        }
    chain["volume-head"] = {
        "name": "volume-head", "parent": names[-1] if names else "", "children": {}, "removed": False, "usercreated": False, "created": seed.ago(minutes=5),
        "size": "16777216", "labels": {},
    }  # fmt: skip
    seed.add(engine(obj, copies, seed.ago(days=spec.days), chain))
    nights = [n for n in (midnight + timedelta(hours=2, days=-d) for d in (3, 2, 1, 0)) if n < seed.now - timedelta(minutes=10)][-3:]
    newest: Json = {}
    for night in nights:
        size = int(spec.used_gib * GIB * 0.92)
        name = f"backup-{uid('Backup', obj['metadata']['name'], stamp(night))[:16]}"
        newest = backup(
            obj, name, f"backup-d-{night:%Y%m%d}-{obj['metadata']['uid'][:8]}", night, size_b=size, new_b=size // 60, job="backup-daily"
        )
        seed.add(newest)
    obj["status"] |= {"lastBackup": newest["metadata"]["name"], "lastBackupAt": newest["status"]["snapshotCreatedAt"]}
    seed.add(backup_volume(obj, newest, int(spec.used_gib * GIB * 1.1), seed.ago(days=spec.days)))


def add_policy(seed: Seed) -> None:
    """Backup target, recurring jobs, settings, system backup, storage class."""
    target = make(API, "BackupTarget", "default", NAMESPACE, created=seed.ago(days=170))
    target["spec"] = {"backupTargetURL": TARGET_URL, "credentialSecret": "cold-r2", "pollInterval": "5m0s"}
    target["status"] = {
        "available": True, "lastSyncedAt": seed.ago(minutes=2), "ownerID": seed.hosts[1].name,
        "conditions": [condition("Unavailable", False, "", seed.ago(days=30))],
    }  # fmt: skip
    keys = make("v1", "Secret", "cold-r2", NAMESPACE, created=seed.ago(days=170))
    keys["stringData"] = {
        "AWS_ACCESS_KEY_ID": "lab",
        "AWS_SECRET_ACCESS_KEY": seed.letters(32),
        "AWS_ENDPOINTS": "https://0123456789abcdef.r2.cloudflarestorage.com",
    }
    seed.add(target, keys)
    recurring_job(seed, "snapshot-6h", "snapshot", "0 */6 * * *", 30)
    recurring_job(seed, "backup-daily", "backup", "0 2 * * *", 30)
    for name, value in SETTINGS.items():
        seed.add(make(API, "Setting", name, NAMESPACE, created=seed.ago(days=170), value=value, status={"applied": True}))
    whole = make(API, "SystemBackup", f"system-{seed.now - timedelta(days=3):%Y%m%d}", NAMESPACE, created=seed.ago(days=3))
    whole["spec"] = {"volumeBackupPolicy": "if-not-present"}
    whole["status"] = {
        "state": "Ready", "version": VERSION, "createdAt": seed.ago(days=3), "lastSyncedAt": seed.ago(days=3), "conditions": [],
        "managerImage": f"longhornio/longhorn-manager:{VERSION}", "ownerID": seed.hosts[1].name, "gitCommit": "",
    }  # fmt: skip
    seed.add(whole)
    default = make(
        "storage.k8s.io/v1",
        "StorageClass",
        "longhorn",
        created=seed.ago(days=170),
        annotations={"storageclass.kubernetes.io/is-default-class": "true"},
    )
    default |= {
        "provisioner": "driver.longhorn.io", "allowVolumeExpansion": True, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
        "parameters": {"numberOfReplicas": "3", "staleReplicaTimeout": "30", "fsType": "ext4", "dataLocality": "disabled"},
    }  # fmt: skip
    seed.add(default)
