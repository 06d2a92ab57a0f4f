"""CloudNativePG: the cluster, its instances, services, budgets, schedules and backups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from cronsim import CronSim

from coldtui.lab.client import Json
from coldtui.lab.controllers.base import micro, stamp
from coldtui.lab.seeds.parts import Seed, budget, container, deployment, make, running, service, uid

API = "postgresql.cnpg.io/v1"
NAMESPACE, CLUSTER = "database", "cold-postgres"
OPERATOR_NAMESPACE = "cnpg-system"
OPERATOR = {"app.kubernetes.io/name": "cloudnative-pg"}
IMAGE = "ghcr.io/cloudnative-pg/postgresql:18.6-standard-bookworm"
PLUGIN = "barman-cloud.cloudnative-pg.io"
PLUGIN_VERSION = "0.13.0"
STORE = "cold-r2"
INSTANCES = ("postgres-1", "postgres-2", "postgres-3")
VIP = "192.168.15.200"
TIMELINE = 7
SYSTEM_ID = "7421583964172849173"


def instance_pod(cluster: Json, name: str, role: str = "", created: str = "") -> Json:
    """The pod of an instance as the operator makes it: same name, same claim, wherever it may run; its role is written on it once it runs."""
    namespace, owner = cluster["metadata"]["namespace"], cluster["metadata"]["name"]
    labels = {
        "cnpg.io/cluster": owner, "cnpg.io/instanceName": name, "cnpg.io/podRole": "instance",
        **({"cnpg.io/instanceRole": role, "role": role} if role else {}),
        "app.kubernetes.io/name": "postgresql", "app.kubernetes.io/component": "database", "app.kubernetes.io/instance": owner,
        "app.kubernetes.io/managed-by": "cloudnative-pg",
    }  # fmt: skip
    serial = name.rpartition("-")[2]
    pod = make(
        "v1",
        "Pod",
        name,
        namespace,
        created=created,
        labels=labels,
        annotations={"cnpg.io/nodeSerial": serial, "cnpg.io/operatorVersion": "1.30.0"},
        owner=cluster,
    )
    postgres = container(
        "postgres", cluster["spec"]["imageName"], cpu="250m", memory="512Mi", limit="1Gi", mounts={"pgdata": "/var/lib/postgresql/data"}
    )
    postgres["command"] = ["/controller/manager", "instance", "run", "--status-port-tls", "--log-level=info"]
    postgres["ports"] = [{"name": n, "containerPort": p} for n, p in (("postgresql", 5432), ("metrics", 9187), ("status", 8000))]
    sidecar = container(
        "plugin-barman-cloud", f"ghcr.io/cloudnative-pg/plugin-barman-cloud-sidecar:v{PLUGIN_VERSION}", cpu="20m", memory="64Mi"
    )
    spread = {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 100,
                "podAffinityTerm": {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"cnpg.io/cluster": owner, "cnpg.io/podRole": "instance"}},
                },
            }
        ]
    }
    pod["spec"] = {
        "containers": [postgres, sidecar], "hostname": name, "serviceAccountName": owner, "terminationGracePeriodSeconds": 1800,
        "affinity": {"podAntiAffinity": spread},
        "volumes": [{"name": "pgdata", "persistentVolumeClaim": {"claimName": name}}, {"name": "scratch-data", "emptyDir": {}}, {"name": "shm", "emptyDir": {"medium": "Memory"}}],
    }  # fmt: skip
    pod["status"] = {}
    return pod


def condition(type_: str, reason: str, message: str, since: str, ok: bool = True) -> Json:
    return {"type": type_, "status": "True" if ok else "False", "reason": reason, "message": message, "lastTransitionTime": since}


def cluster(seed: Seed, newest: datetime, oldest: datetime) -> Json:
    """The Cluster object in good health. ``newest``: last backup, ``oldest``: first recoverable moment."""
    made, promoted = seed.ago(days=172), seed.now - timedelta(days=12, hours=3)
    obj = make(API, "Cluster", CLUSTER, NAMESPACE, created=made)
    obj["metadata"]["generation"] = 3
    obj["spec"] = {
        "instances": len(INSTANCES), "imageName": IMAGE, "primaryUpdateStrategy": "unsupervised", "primaryUpdateMethod": "switchover", "enablePDB": True,
        "storage": {"size": "20Gi", "storageClass": "longhorn", "resizeInUseVolumes": True},
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "affinity": {"enablePodAntiAffinity": True, "podAntiAffinityType": "preferred", "topologyKey": "kubernetes.io/hostname"},
        "bootstrap": {"initdb": {"database": "app", "owner": "app"}},
        "postgresql": {
            "parameters": {"max_connections": "200", "shared_buffers": "256MB", "archive_timeout": "5min", "wal_keep_size": "512MB"},
        },
        "replicationSlots": {"highAvailability": {"enabled": True, "slotPrefix": "_cnpg_"}, "updateInterval": 30},
        "plugins": [{"name": PLUGIN, "enabled": True, "isWALArchiver": True, "parameters": {"barmanObjectName": STORE}}],
        "switchoverDelay": 3600, "failoverDelay": 0, "startDelay": 3600, "stopDelay": 1800, "smartShutdownTimeout": 180, "enableSuperuserAccess": False,
    }  # fmt: skip
    expiry = (seed.now + timedelta(days=61)).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    obj["status"] = {
        "phase": "Cluster in healthy state", "currentPrimary": INSTANCES[0], "targetPrimary": INSTANCES[0], "currentPrimaryTimestamp": micro(promoted),
        "targetPrimaryTimestamp": micro(promoted - timedelta(seconds=4)), "instances": len(INSTANCES), "readyInstances": len(INSTANCES),
        "instanceNames": list(INSTANCES), "instancesStatus": {"healthy": list(INSTANCES)}, "timelineID": TIMELINE, "systemID": SYSTEM_ID,
        "latestGeneratedNode": len(INSTANCES), "pvcCount": len(INSTANCES), "healthyPVC": list(INSTANCES), "image": IMAGE,
        "writeService": f"{CLUSTER}-rw", "readService": f"{CLUSTER}-r", "cloudNativePGCommitHash": "8a1d2c5f", "jobCount": 0,
        "topology": {"successfullyExtracted": True, "nodesUsed": len(INSTANCES), "instances": {name: {} for name in INSTANCES}},
        "certificates": {
            "serverTLSSecret": f"{CLUSTER}-server", "serverCASecret": f"{CLUSTER}-ca", "clientCASecret": f"{CLUSTER}-ca",
            "replicationTLSSecret": f"{CLUSTER}-replication",
            "expirations": {f"{CLUSTER}-{part}": expiry for part in ("ca", "server", "replication")},
        },
        "pluginStatus": [{"name": PLUGIN, "version": PLUGIN_VERSION, "capabilities": ["TYPE_RECONCILER_HOOKS", "TYPE_LIFECYCLE_SERVICE"], "operatorCapabilities": []}],
        "conditions": [
            condition("Ready", "ClusterIsReady", "Cluster is Ready", stamp(promoted)), condition("Initialized", "BootstrapCompleted", "Cluster bootstrap completed", made),
            condition("ConsistentSystemID", "Unique", "A single, unique system ID was found across reporting instances.", made),
            condition("ContinuousArchiving", "ContinuousArchivingSuccess", "Continuous archiving is working", stamp(promoted)),
            condition("LastBackupSucceeded", "LastBackupSucceeded", "Backup was successful", stamp(newest)),
        ],
    }  # fmt: skip
    return obj


def object_store(seed: Seed, newest: datetime, oldest: datetime) -> Json:
    obj = make("barmancloud.cnpg.io/v1", "ObjectStore", STORE, NAMESPACE, created=seed.ago(days=172))
    key = {"name": "cold-r2-credentials"}
    obj["spec"] = {
        "retentionPolicy": "30d",
        "configuration": {
            "destinationPath": "s3://cold-postgres-backups/", "endpointURL": "https://0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com",
            "s3Credentials": {"accessKeyId": {**key, "key": "ACCESS_KEY_ID"}, "secretAccessKey": {**key, "key": "ACCESS_SECRET_KEY"}},
            "wal": {"compression": "gzip", "maxParallel": 4}, "data": {"compression": "gzip", "immediateCheckpoint": True, "jobs": 2},
        },
    }  # fmt: skip
    obj["status"] = {
        "serverRecoveryWindow": {CLUSTER: {"firstRecoverabilityPoint": stamp(oldest), "lastSuccessfulBackupTime": stamp(newest)}}
    }
    return obj


def backup_status(started: datetime, stopped: datetime, pod: str, wal: int) -> Json:
    """The status of a completed plugin backup. ``wal``: number of the segment in which it began."""

    def segment(number: int) -> str:
        return f"{TIMELINE:08X}{number >> 8:08X}{number & 255:08X}"

    return {
        "phase": "completed", "method": "plugin", "online": True, "backupId": f"{started:%Y%m%dT%H%M%S}", "backupName": f"backup-{started:%Y%m%d%H%M%S}",
        "startedAt": stamp(started), "stoppedAt": stamp(stopped), "reconciliationStartedAt": stamp(started), "reconciliationTerminatedAt": stamp(stopped),
        "beginWal": segment(wal), "endWal": segment(wal + 1), "beginLSN": f"{wal >> 8:X}/{(wal & 255) << 24 | 0x28:X}",
        "endLSN": f"{(wal + 1) >> 8:X}/{((wal + 1) & 255) << 24 | 0x158:X}", "instanceID": {"podName": pod, "ContainerID": "containerd://" + "c01d" * 16},
        "majorVersion": 18, "pluginMetadata": {"timeline": str(TIMELINE), "clusterUID": uid("Cluster", NAMESPACE, CLUSTER), "version": PLUGIN_VERSION},
    }  # fmt: skip


def backup(
    seed: Seed, name: str, started: datetime, minutes: float, wal: int, *, schedule: str = "", text: str = "", error: str = ""
) -> Json:
    labels = {"cnpg.io/cluster": CLUSTER}
    if schedule:
        labels |= {"cnpg.io/scheduled-backup": schedule, "cnpg.io/immediateBackup": "false"}
    obj = make(
        API, "Backup", name, NAMESPACE, created=stamp(started), labels=labels, annotations={"coldtui/description": text} if text else None
    )
    obj["spec"] = {"cluster": {"name": CLUSTER}, "method": "plugin", "target": "prefer-standby", "pluginConfiguration": {"name": PLUGIN}}
    stopped = started + timedelta(minutes=minutes)
    obj["status"] = backup_status(started, stopped, INSTANCES[1], wal)
    if error:
        obj["status"] = {
            "phase": "failed",
            "method": "plugin",
            "error": error,
            "startedAt": stamp(started),
            "stoppedAt": stamp(stopped),
            "instanceID": {"podName": INSTANCES[1]},
        }
    return obj


def schedule(seed: Seed, name: str, cron: str) -> Json:
    obj = make(API, "ScheduledBackup", name, NAMESPACE, created=seed.ago(days=172))
    obj["spec"] = {
        "schedule": cron, "cluster": {"name": CLUSTER}, "method": "plugin", "pluginConfiguration": {"name": PLUGIN}, "backupOwnerReference": "none",
        "target": "prefer-standby", "immediate": False, "suspend": False,
    }  # fmt: skip
    obj["status"] = {
        "lastCheckTime": seed.ago(seconds=20),
        "lastScheduleTime": stamp(previous(cron, seed.now)),
        "nextScheduleTime": stamp(following(cron, seed.now)),
    }
    return obj


def following(cron: str, now: datetime) -> datetime:
    """The next time a six-field schedule (or a five-field one of Longhorn's) is due."""
    return next(CronSim(cron, now))  # type: ignore[no-any-return]


def previous(cron: str, now: datetime) -> datetime:
    """The last time it was due."""
    return next(CronSim(cron, now, reverse=True))  # type: ignore[no-any-return]


def add_postgres(seed: Seed, hosts: Sequence[str]) -> Json:
    """All of it; instances go to ``hosts`` in order. Returns the Cluster."""
    midnight = seed.now.replace(hour=0, minute=0, second=0, microsecond=0)
    nights = [n for n in (midnight + timedelta(hours=2, days=-d) for d in range(7, -1, -1)) if n < seed.now - timedelta(minutes=15)]
    oldest = nights[0] - timedelta(days=23)
    obj = cluster(seed, nights[-1], oldest)
    for suffix in ("server", "replication", "ca", "app"):
        secret = make("v1", "Secret", f"{CLUSTER}-{suffix}", NAMESPACE, created=seed.ago(days=172), labels={"cnpg.io/cluster": CLUSTER})
        secret |= {
            "type": "Opaque",
            "stringData": {"username": "app", "password": seed.letters(24), "dbname": "app"} if suffix == "app" else {"ca.crt": "lab"},
        }
        seed.add(secret)
    keys = make("v1", "Secret", "cold-r2-credentials", NAMESPACE, created=seed.ago(days=172))
    seed.add(keys | {"stringData": {"ACCESS_KEY_ID": "lab", "ACCESS_SECRET_KEY": seed.letters(32)}})
    seed.add(make("v1", "ServiceAccount", CLUSTER, NAMESPACE, created=seed.ago(days=172)))
    seed.add(obj)
    since = seed.ago(days=12)
    reported: Json = {}
    for index, (name, host) in enumerate(zip(INSTANCES, hosts, strict=True)):
        pod = running(seed, instance_pod(obj, name, "replica" if index else "primary", since), seed.host(host), since)
        seed.add(pod)
        reported[name] = {"isPrimary": index == 0, "timeLineID": TIMELINE, "ip": pod["status"]["podIP"]}
    obj["status"]["instancesReportedState"] = reported
    base = {"cnpg.io/cluster": CLUSTER}
    for suffix, selector in (
        ("rw", {"cnpg.io/instanceRole": "primary"}),
        ("ro", {"cnpg.io/instanceRole": "replica"}),
        ("r", {"cnpg.io/podRole": "instance"}),
    ):
        service(seed, NAMESPACE, f"{CLUSTER}-{suffix}", {**base, **selector}, {"postgres": 5432}, days=172, labels=base)
    vip = service(seed, NAMESPACE, f"{CLUSTER}-vip", {**base, "cnpg.io/instanceRole": "primary"}, {"postgres": 5432}, days=172, kind="LoadBalancer", labels=base,
                  annotations={"metallb.io/loadBalancerIPs": VIP, "metallb.io/ip-allocated-from-pool": "cold-pool"})  # fmt: skip
    vip["status"] = {"loadBalancer": {"ingress": [{"ip": VIP, "ipMode": "VIP"}]}}
    budget(seed, NAMESPACE, CLUSTER, {**base, "cnpg.io/instanceRole": "replica"}, least=1, pods=2, days=172, owner=obj)
    budget(seed, NAMESPACE, f"{CLUSTER}-primary", {**base, "cnpg.io/instanceRole": "primary"}, least=1, pods=1, days=172, owner=obj)
    lease = make("coordination.k8s.io/v1", "Lease", CLUSTER, NAMESPACE, created=seed.ago(days=172))
    lease["spec"] = {
        "holderIdentity": INSTANCES[0],
        "leaseDurationSeconds": 15,
        "renewTime": micro(seed.now),
        "leaseTransitions": TIMELINE - 1,
    }
    seed.add(lease, object_store(seed, nights[-1], oldest))
    seed.add(schedule(seed, f"{CLUSTER}-daily", "0 0 2 * * *"), schedule(seed, f"{CLUSTER}-six-hourly", "0 0 */6 * * *"))
    for number, night in enumerate(nights):
        name = f"{CLUSTER}-daily-{night:%Y%m%d%H%M%S}"
        seed.add(backup(seed, name, night, 6.2, 0x4A00 + number * 37, schedule=f"{CLUSTER}-daily"))
    for slot in (midnight + timedelta(hours=6 * n) for n in range(-4, 4)):
        if slot.hour and slot < seed.now - timedelta(minutes=15):
            seed.add(
                backup(seed, f"{CLUSTER}-six-hourly-{slot:%Y%m%d%H%M%S}", slot, 1.4, 0x4B20 + slot.hour, schedule=f"{CLUSTER}-six-hourly")
            )
    when = seed.now - timedelta(days=2, hours=5)
    seed.add(backup(seed, f"{CLUSTER}-{when:%Y%m%d%H%M%S}", when, 6.0, 0x4AF0, text="before upgrade to v1.5.173"))
    failed = seed.now - timedelta(days=5, hours=1)
    seed.add(
        backup(
            seed,
            f"{CLUSTER}-{failed:%Y%m%d%H%M%S}",
            failed,
            0.4,
            0x4A90,
            text="by hand",
            error="rpc error: code = Unknown desc = exit status 4: connection to the bucket timed out",
        )
    )
    add_operator(seed)
    return obj


def add_operator(seed: Seed) -> None:
    names = [h.name for h in seed.hosts if not h.master]
    deployment(seed, OPERATOR_NAMESPACE, "cnpg-controller-manager", {"containers": [container("manager", "ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0", port=9443, cpu="100m", memory="128Mi")]},
               names[1:2], days=172, labels=OPERATOR)  # fmt: skip
    deployment(seed, OPERATOR_NAMESPACE, "barman-cloud", {"containers": [container("barman-cloud", f"ghcr.io/cloudnative-pg/plugin-barman-cloud:v{PLUGIN_VERSION}", port=9090, cpu="20m", memory="48Mi")]},
               names[3:4], days=120)  # fmt: skip
    service(seed, OPERATOR_NAMESPACE, "cnpg-webhook-service", OPERATOR, {"webhook": 443}, days=172)
