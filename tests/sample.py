"""A small healthy site as the API sends it, to be broken by tests: raw objects in, a World out."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from immutables import Map

from coldtui.adapters.kube.decoders import registered
from coldtui.domain.nodes import NodeStats, VolumeFill
from coldtui.domain.pods import Pod
from coldtui.domain.readings import Freshness, Known, Reading, SourceState, Trouble
from coldtui.domain.world import Shelf, SiteFacts, World

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GIB = 1 << 30
HOSTILE = "evil[/b]\u202e\x1b[31m"
"""Markup, a bidi override and an escape sequence in one name."""
Raw = dict[str, Any]
Site = dict[str, list[Raw]]


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def ahead(**span: float) -> str:
    return (NOW + timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(name: str, namespace: str = "", **more: Any) -> Raw:
    found: Raw = {"name": name, "uid": f"uid-{name}", "creationTimestamp": ago(days=40), **more}
    return {**found, "namespace": namespace} if namespace else found


def node(name: str, *roles: str, ready: str = "True", **more: Any) -> Raw:
    labels = {f"node-role.kubernetes.io/{role}": "true" for role in roles}
    return {
        "metadata": meta(name, labels={**labels, "kubernetes.io/hostname": name}),
        "spec": more.get("spec", {}),
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletReady", "lastTransitionTime": ago(days=2)}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
            "nodeInfo": {"kubeletVersion": more.get("version", "v1.34.4+k3s1")},
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
        },
    }


def instance_pod(name: str, on: str, role: str, cluster: str = "cold-postgres", **state: Any) -> Raw:
    ready = state.get("ready", True)
    waiting = state.get("waiting")
    container: Raw = {"name": "postgres", "ready": ready, "restartCount": state.get("restarts", 0), "image": "pg"}
    container["state"] = (
        {"waiting": {"reason": waiting, "message": "back-off 5m0s"}} if waiting else {"running": {"startedAt": ago(days=9)}}
    )
    return {
        "metadata": meta(
            name, "cold", labels={"cnpg.io/cluster": cluster, "cnpg.io/podRole": "instance", "cnpg.io/instanceRole": role, "role": role}
        ),
        "spec": {"nodeName": on, "containers": [{"name": "postgres", "image": "pg"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.42.1.7",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": ago(hours=1)}],
            "containerStatuses": [container],
        },
    }


def cluster(**status: Any) -> Raw:
    names = ["postgres-1", "postgres-2", "postgres-3"]
    return {
        "metadata": meta("cold-postgres", "cold", annotations={}, labels={"app": "db"}),
        "spec": {
            "instances": 3,
            "imageName": "ghcr.io/cloudnative-pg/postgresql:18.6-standard-trixie",
            "storage": {"size": "10Gi", "storageClass": "longhorn"},
            "plugins": [
                {
                    "name": "barman-cloud.cloudnative-pg.io",
                    "isWALArchiver": True,
                    "parameters": {"barmanObjectName": "r2", "serverName": "cold-postgres"},
                }
            ],
        },
        "status": {
            "phase": "Cluster in healthy state",
            "currentPrimary": "postgres-1",
            "targetPrimary": "postgres-1",
            "currentPrimaryTimestamp": "2026-11-20T03:04:05.123456Z",
            "targetPrimaryTimestamp": "2026-11-20T03:04:04.123456Z",
            "instances": 3,
            "readyInstances": 3,
            "instanceNames": names,
            "instancesStatus": {"healthy": names},
            "instancesReportedState": {n: {"isPrimary": n == "postgres-1", "timeLineID": 7, "ip": "10.42.0.1"} for n in names},
            "timelineID": 7,
            "systemID": "7412345678901234567",
            "topology": {"successfullyExtracted": True, "nodesUsed": 3},
            "writeService": "cold-postgres-rw",
            "readService": "cold-postgres-r",
            "pluginStatus": [{"name": "barman-cloud.cloudnative-pg.io", "version": "0.14.0"}],
            "certificates": {"expirations": {"cold-postgres-server": "2027-02-01 10:00:00 +0000 UTC"}},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "ClusterIsReady", "lastTransitionTime": ago(days=4)},
                {
                    "type": "ContinuousArchiving",
                    "status": "True",
                    "reason": "ContinuousArchivingSuccess",
                    "lastTransitionTime": ago(days=4),
                },
            ],
            **status,
        },
    }


def pg_backup(name: str, phase: str = "completed", **status: Any) -> Raw:
    times = {"startedAt": ago(hours=10), "stoppedAt": ago(hours=9.9)} if phase in ("completed", "failed") else {"startedAt": ago(hours=1)}
    return {
        "metadata": meta(
            name, "cold", creationTimestamp=ago(hours=10), labels={"cnpg.io/cluster": "cold-postgres", "cnpg.io/scheduled-backup": "daily"}
        ),
        "spec": {
            "cluster": {"name": "cold-postgres"},
            "method": "plugin",
            "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
        },
        "status": {
            "phase": phase,
            "backupId": "20261124T020000",
            "method": "plugin",
            "instanceID": {"podName": "postgres-2"},
            **times,
            **status,
        },
    }


def pg_schedule(schedule: str = "0 0 2 * * *", **spec: Any) -> Raw:
    return {
        "metadata": meta("daily", "cold"),
        "spec": {"schedule": schedule, "cluster": {"name": "cold-postgres"}, "method": "plugin", **spec},
        "status": {"lastScheduleTime": "2026-11-24T02:00:00Z", "nextScheduleTime": "2026-11-25T02:00:00Z", "lastCheckTime": ago(hours=10)},
    }


def pg_store(name: str = "r2", **window: Any) -> Raw:
    """The plugin's ObjectStore: 30 days back."""
    told = {"firstRecoverabilityPoint": ago(days=30), "lastSuccessfulBackupTime": ago(hours=10), **window}
    return {
        "metadata": meta(name, "cold"),
        "spec": {"retentionPolicy": "30d", "configuration": {"destinationPath": "s3://cold/", "endpointURL": "https://x.r2.example"}},
        "status": {"serverRecoveryWindow": {"cold-postgres": told}},
    }


def lh_node(name: str, available: int = 70 * GIB, maximum: int = 100 * GIB, **more: Any) -> Raw:
    fine = {"status": "True", "reason": "", "message": "", "lastProbeTime": "", "lastTransitionTime": ago(days=3)}
    return {
        "metadata": meta(name, "longhorn-system"),
        "spec": {
            "allowScheduling": True,
            "evictionRequested": False,
            "disks": {
                "default": {"path": "/var/lib/longhorn/", "diskType": "filesystem", "allowScheduling": True, "storageReserved": 30 * GIB}
            },
            **more.get("spec", {}),
        },
        "status": {
            "conditions": [{"type": "Ready", **fine, **more.get("ready", {})}, {"type": "Schedulable", **fine}],
            "diskStatus": {
                "default": {
                    "diskUUID": f"disk-{name}",
                    "storageMaximum": maximum,
                    "storageAvailable": available,
                    "storageScheduled": 20 * GIB,
                    "scheduledReplica": {"r-1": 10 * GIB, "r-2": 10 * GIB},
                    "conditions": [{"type": "Ready", **fine}, {"type": "Schedulable", **fine, **more.get("placing", {})}],
                }
            },
        },
    }


def lh_volume(name: str = "pvc-7f31", claim: str = "postgres-1", **status: Any) -> Raw:
    return {
        "metadata": meta(name, "longhorn-system"),
        "spec": {"size": str(10 * GIB), "numberOfReplicas": 3, "nodeID": "k3s-worker-1", "accessMode": "rwo", "dataEngine": "v1"},
        "status": {
            "state": "attached",
            "robustness": "healthy",
            "actualSize": 4 * GIB,
            "currentNodeID": "k3s-worker-1",
            "lastBackupAt": ago(hours=3),
            "lastBackup": "backup-1",
            "lastDegradedAt": "",
            "kubernetesStatus": {
                "namespace": "cold",
                "pvcName": claim,
                "pvName": name,
                "lastPVCRefAt": "",
                "lastPodRefAt": "",
                "workloadsStatus": [{"podName": claim, "podStatus": "Running", "workloadName": "cold-postgres", "workloadType": "Cluster"}],
            },
            "conditions": [{"type": "Scheduled", "status": "True", "reason": "", "message": "", "lastTransitionTime": ago(days=9)}],
            **status,
        },
    }


def lh_replica(number: int, on: str, volume: str = "pvc-7f31", **spec: Any) -> Raw:
    return {
        "metadata": meta(f"{volume}-r-{number}", "longhorn-system", labels={"longhornvolume": volume}),
        "spec": {
            "volumeName": volume, "nodeID": on, "diskID": f"disk-{on}", "diskPath": "/var/lib/longhorn/", "healthyAt": ago(days=9), "failedAt": "",
            "active": True, "volumeSize": str(10 * GIB), **spec,
        },
        "status": {"currentState": "running", "ip": "10.42.0.5", "port": 10000 + number},
    }  # fmt: skip


def lh_engine(volume: str = "pvc-7f31", modes: Mapping[str, str] | None = None, **status: Any) -> Raw:
    wanted = {f"{volume}-r-{n}": "RW" for n in (1, 2, 3)} if modes is None else dict(modes)
    return {
        "metadata": meta(f"{volume}-e-0", "longhorn-system"),
        "spec": {"volumeName": volume, "nodeID": "k3s-worker-1", "volumeSize": str(10 * GIB)},
        "status": {
            "currentState": "running",
            "replicaModeMap": wanted,
            "currentSize": str(10 * GIB),
            "snapshots": {"volume-head": {"name": "volume-head"}, "s1": {"name": "s1"}},
            **status,
        },
    }


def lh_backup(name: str, state: str = "Completed", **status: Any) -> Raw:
    return {
        "metadata": meta(name, "longhorn-system", creationTimestamp=ago(hours=3), labels={"backup-volume": "pvc-7f31", "backup-target": "default"}),
        "spec": {"snapshotName": "s1", "backupMode": "incremental"},
        "status": {
            "state": state, "progress": 100, "size": str(2 * GIB), "volumeSize": str(10 * GIB), "newlyUploadDataSize": "", "volumeName": "pvc-7f31",
            "snapshotCreatedAt": ago(hours=3), "backupCreatedAt": ago(hours=2.9), "labels": {"RecurringJob": "backup-daily"}, **status,
        },
    }  # fmt: skip


def lh_target(**status: Any) -> Raw:
    return {
        "metadata": meta("default", "longhorn-system"),
        "spec": {"backupTargetURL": "s3://cold@auto/longhorn/", "credentialSecret": "r2", "pollInterval": "5m0s"},
        "status": {"available": True, "lastSyncedAt": ago(minutes=2), "conditions": [], **status},
    }


def vip_service(name: str = "cold-postgres-vip", ip: str = "192.168.15.200", **more: Any) -> Raw:
    return {
        "metadata": meta(name, "cold", annotations={"metallb.io/ip-allocated-from-pool": "lan"}),
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.43.0.7",
            "ports": [{"name": "postgres", "port": 5432, "targetPort": 5432, "protocol": "TCP", "nodePort": 31000}],
            "selector": {"cnpg.io/cluster": "cold-postgres", "cnpg.io/instanceRole": "primary"},
            "externalTrafficPolicy": "Cluster",
            **more,
        },
        "status": {"loadBalancer": {"ingress": [{"ip": ip}] if ip else []}},
    }


def endpoint_slice(service: str = "cold-postgres-vip", ready: bool = True) -> Raw:
    return {
        "metadata": meta(f"{service}-x1", "cold", labels={"kubernetes.io/service-name": service}),
        "addressType": "IPv4",
        "endpoints": [
            {
                "addresses": ["10.42.1.7"],
                "conditions": {"ready": ready, "serving": ready, "terminating": False},
                "nodeName": "k3s-worker-1",
                "targetRef": {"kind": "Pod", "namespace": "cold", "name": "postgres-1"},
            }
        ],
        "ports": [{"port": 5432}],
    }


def l2_status(on: str = "k3s-worker-3", service: str = "cold-postgres-vip") -> Raw:
    return {
        "metadata": meta("l2-abcde", "metallb-system"),
        "status": {"node": on, "serviceName": service, "serviceNamespace": "cold", "interfaces": [{"name": "eth0"}]},
    }


def etcd_snapshot(name: str = "etcd-snapshot-k3s-master-1", **status: Any) -> Raw:
    return {
        "metadata": meta(f"local-{name}"),
        "spec": {"snapshotName": name, "nodeName": "k3s-master", "location": "file:///var/lib/rancher/k3s/server/db/snapshots/x"},
        "status": {"readyToUse": True, "size": "12Mi", "creationTime": ago(hours=5), **status},
    }


def plan(**more: Any) -> Raw:
    return {
        "metadata": meta("agents", "system-upgrade"),
        "spec": {
            "version": "v1.34.4+k3s1",
            "concurrency": 1,
            "cordon": True,
            "drain": {"force": True},
            "nodeSelector": {"matchExpressions": [{"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"}]},
            "upgrade": {"image": "rancher/k3s-upgrade"},
        },
        "status": {"latestVersion": "v1.34.4-k3s1", "latestHash": "abc", "conditions": [{"type": "Complete", "status": "True"}], **more},
    }


def healthy() -> Site:
    """Five nodes, one database of three, one volume, one address, backups that work: nothing is wrong with it."""
    workers = [f"k3s-worker-{n}" for n in (1, 2, 3)]
    return {
        "nodes": [node("k3s-master", "control-plane", "etcd"), *(node(w) for w in workers), node("k3s-worker-4")],
        "pods": [instance_pod(f"postgres-{n}", w, "primary" if n == 1 else "replica") for n, w in enumerate(workers, 1)],
        "deployments": [
            {
                "metadata": meta(
                    "cnpg-controller-manager", "cnpg-system", generation=1, labels={"app.kubernetes.io/name": "cloudnative-pg"}
                ),
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "cnpg"}}, "template": {"spec": {"containers": []}}},
                "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
            }
        ],
        "pg_clusters": [cluster()],
        "pg_backups": [pg_backup("daily-20261124020000")],
        "pg_schedules": [pg_schedule()],
        "claims": [
            {
                "metadata": meta("postgres-1", "cold"),
                "spec": {
                    "storageClassName": "longhorn",
                    "volumeName": "pvc-7f31",
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "10Gi"}},
                },
                "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}},
            }
        ],
        "lh_nodes": [lh_node(w) for w in workers],
        "lh_volumes": [lh_volume()],
        "lh_replicas": [lh_replica(n, w) for n, w in enumerate(workers, 1)],
        "lh_engines": [lh_engine()],
        "lh_backups": [lh_backup("backup-1")],
        "lh_targets": [lh_target()],
        "lh_jobs": [
            {
                "metadata": meta("backup-daily", "longhorn-system"),
                "spec": {
                    "name": "backup-daily",
                    "task": "backup",
                    "cron": "0 2 * * *",
                    "retain": 30,
                    "concurrency": 2,
                    "groups": ["default"],
                },
                "status": {"executionCount": 40},
            }
        ],
        "lh_settings": [{"metadata": meta("storage-over-provisioning-percentage", "longhorn-system"), "value": '{"v1":"100","v2":"100"}'}],
        "services": [vip_service()],
        "endpointslices": [endpoint_slice()],
        "ip_pools": [
            {
                "metadata": meta("lan", "metallb-system"),
                "spec": {"addresses": ["192.168.15.200-192.168.15.210"]},
                "status": {"assignedIPv4": 1, "availableIPv4": 10},
            }
        ],
        "l2_advertisements": [{"metadata": meta("lan", "metallb-system"), "spec": {"ipAddressPools": ["lan"]}}],
        "l2_statuses": [l2_status()],
        "pg_stores": [pg_store()],
        "etcd_snapshots": [etcd_snapshot()],
        "upgrade_plans": [plan()],
    }


def state(name: str, freshness: Freshness, partial: bool = False) -> SourceState:
    """A source as it stands 42 s after its last good word."""
    then = NOW - timedelta(seconds=42)
    match freshness:
        case Freshness.LIVE:
            return SourceState(name, as_of=NOW, partial=partial)
        case Freshness.STALE:
            return SourceState(name, as_of=then, trouble=Trouble("refused", "connection refused"), since=then)
        case Freshness.FORBIDDEN:
            return SourceState(name, as_of=then, trouble=Trouble("forbidden", f"needs list on {name}"))
        case Freshness.NOT_INSTALLED:
            return SourceState(name, trouble=Trouble("not-installed", "no such kind"))
        case Freshness.FAILED:
            return SourceState(name, trouble=Trouble("refused", "connection refused"))
        case Freshness.LOADING:
            return SourceState(name)


def decode(kind: str, raw: Raw) -> Any:
    """One object through its decoder, from bytes."""
    found = registered(kind)
    assert found is not None, kind
    return found.item(json.dumps(raw).encode(), NOW)


def build(
    site: Site, *, sources: Mapping[str, SourceState] | None = None, fills: tuple[VolumeFill, ...] = (), facts: SiteFacts | None = None
) -> World:
    """The World of these objects. All sources are live unless others are given; `fills` come from the kubelet of k3s-worker-1."""
    shelves: dict[str, Any] = {}
    for kind, raws in site.items():
        items = [decode(kind, raw) for raw in raws]
        shelves[kind] = Shelf(Map({item.key: item for item in items}), len(items))
    blank = World(1, NOW)
    known = {name: SourceState(name, as_of=NOW) for name in blank.sources} | dict(sources or {})
    pods: Shelf[Pod] = shelves.get("pods", Shelf())
    stats: Map[str, Reading[NodeStats]] = Map()
    if fills:
        told = NodeStats("k3s-worker-1", NOW, None, None, None, None, None, None, None, None, None, None, None, None, fills)
        stats = Map({"k3s-worker-1": Known(told, "node_stats", NOW)})
    return World(
        1,
        NOW,
        facts or SiteFacts(name="cold"),
        Map(known),
        **shelves,
        restless_pods=Map({k: p for k, p in pods.items.items() if not p.calm}),
        node_stats=stats,
    )


def broken(site: Site | None = None) -> Site:
    """A copy to break."""
    return copy.deepcopy(site or healthy())
