"""The one list of decoders: name of a `domain.kinds.Kind` -> how it is read."""

from __future__ import annotations

from typing import Any

from .backups import LH_BACKUPS, LH_JOBS, LH_TARGETS, PG_BACKUPS, PG_SCHEDULES, PG_STORES
from .decoding import Decoder
from .deployments import BUDGETS, DAEMONSETS, DEPLOYMENTS, REPLICASETS, STATEFULSETS
from .events import EVENTS
from .k3s import ETCD_SNAPSHOTS, UPGRADE_PLANS
from .nodes import LEASES, NODE_USAGE, NODES
from .pods import NAMESPACES, POD_USAGE, PODS
from .postgres import PG_CLUSTERS, PG_POOLERS, PG_QUORUMS
from .storage import CLAIMS, LH_ENGINES, LH_NODES, LH_REPLICAS, LH_SETTINGS, LH_SNAPSHOTS, LH_VOLUMES, VOLUMES
from .vips import ENDPOINTSLICES, IP_POOLS, L2_ADVERTISEMENTS, L2_STATUSES, SERVICES

DECODERS: dict[str, Decoder[Any]] = {
    "nodes": NODES,
    "leases": LEASES,
    "node_usage": NODE_USAGE,
    "pods": PODS,
    "namespaces": NAMESPACES,
    "pod_usage": POD_USAGE,
    "events": EVENTS,
    "deployments": DEPLOYMENTS,
    "replicasets": REPLICASETS,
    "statefulsets": STATEFULSETS,
    "daemonsets": DAEMONSETS,
    "budgets": BUDGETS,
    "services": SERVICES,
    "endpointslices": ENDPOINTSLICES,
    "claims": CLAIMS,
    "volumes": VOLUMES,
    "pg_clusters": PG_CLUSTERS,
    "pg_backups": PG_BACKUPS,
    "pg_schedules": PG_SCHEDULES,
    "pg_stores": PG_STORES,
    "pg_poolers": PG_POOLERS,
    "lh_nodes": LH_NODES,
    "lh_volumes": LH_VOLUMES,
    "lh_replicas": LH_REPLICAS,
    "lh_engines": LH_ENGINES,
    "lh_backups": LH_BACKUPS,
    "lh_targets": LH_TARGETS,
    "lh_snapshots": LH_SNAPSHOTS,
    "lh_jobs": LH_JOBS,
    "lh_settings": LH_SETTINGS,
    "ip_pools": IP_POOLS,
    "l2_advertisements": L2_ADVERTISEMENTS,
    "l2_statuses": L2_STATUSES,
    "etcd_snapshots": ETCD_SNAPSHOTS,
    "upgrade_plans": UPGRADE_PLANS,
}


def registered(kind: str) -> Decoder[Any] | None:
    """Of a watched kind, or of one that is read only when asked for (`domain.drains`, failover quorums)."""
    return DECODERS.get(kind) or _of_plans(kind)


def _of_plans(kind: str) -> Decoder[Any] | None:
    from . import drains  # 5 ms that no start of the console must pay

    found: dict[str, Decoder[Any]] = {
        "drain_pods": drains.DRAIN_PODS,
        "drain_budgets": drains.DRAIN_BUDGETS,
        "drain_volumes": drains.DRAIN_VOLUMES,
        "lh_attachments": drains.LH_ATTACHMENTS,
        "pg_quorums": PG_QUORUMS,
    }
    return found.get(kind)
