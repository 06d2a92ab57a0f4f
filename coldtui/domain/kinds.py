"""The kinds of object that the site is read from. A kind's `name` is also the name of its source and of its part of the World."""

from __future__ import annotations

from .values import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One Kubernetes resource as it is watched or polled."""

    name: str
    group: str
    """Empty for the core group."""
    version: str
    plural: str
    namespaced: bool
    title: str
    """What an operator calls it."""
    namespace: str = ""
    """Only this namespace is read (node leases)."""
    polled: bool = False
    """Cannot be watched: read again and again."""
    custom: bool = False
    """From a CRD or an aggregated API: 404 means "not installed"."""

    @property
    def group_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of the collection or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = namespace or self.namespace
        middle = f"/namespaces/{inside}" if self.namespaced and inside else ""
        return f"{root}{middle}/{self.plural}" + (f"/{name}" if name else "")


def _core(name: str, plural: str, namespaced: bool, title: str) -> Kind:
    return Kind(name, "", "v1", plural, namespaced, title)


def _longhorn(name: str, plural: str, title: str) -> Kind:
    return Kind(name, "longhorn.io", "v1beta2", plural, True, title, custom=True)


def _cnpg(name: str, plural: str, title: str) -> Kind:
    return Kind(name, "postgresql.cnpg.io", "v1", plural, True, title, custom=True)


NODES = _core("nodes", "nodes", False, "nodes")
LEASES = Kind("leases", "coordination.k8s.io", "v1", "leases", True, "node leases", namespace="kube-node-lease")
PODS = _core("pods", "pods", True, "pods")
EVENTS = _core("events", "events", True, "events")
NAMESPACES = _core("namespaces", "namespaces", False, "namespaces")
DEPLOYMENTS = Kind("deployments", "apps", "v1", "deployments", True, "deployments")
REPLICASETS = Kind("replicasets", "apps", "v1", "replicasets", True, "replica sets")
STATEFULSETS = Kind("statefulsets", "apps", "v1", "statefulsets", True, "stateful sets")
DAEMONSETS = Kind("daemonsets", "apps", "v1", "daemonsets", True, "daemon sets")
JOBS = Kind("jobs", "batch", "v1", "jobs", True, "jobs")
"""Not watched: asked for by name."""
BUDGETS = Kind("budgets", "policy", "v1", "poddisruptionbudgets", True, "disruption budgets")
SERVICES = _core("services", "services", True, "services")
ENDPOINTSLICES = Kind("endpointslices", "discovery.k8s.io", "v1", "endpointslices", True, "endpoint slices")
CLAIMS = _core("claims", "persistentvolumeclaims", True, "volume claims")
VOLUMES = _core("volumes", "persistentvolumes", False, "persistent volumes")
PG_CLUSTERS = _cnpg("pg_clusters", "clusters", "PostgreSQL clusters")
PG_BACKUPS = _cnpg("pg_backups", "backups", "PostgreSQL backups")
PG_SCHEDULES = _cnpg("pg_schedules", "scheduledbackups", "backup schedules")
PG_POOLERS = _cnpg("pg_poolers", "poolers", "connection poolers")
PG_QUORUMS = _cnpg("pg_quorums", "failoverquorums", "failover quorums")
"""Read only where a cluster wants one; never watched."""
PG_STORES = Kind("pg_stores", "barmancloud.cnpg.io", "v1", "objectstores", True, "object stores of the backup plugin", custom=True)
LH_NODES = _longhorn("lh_nodes", "nodes", "Longhorn nodes")
LH_VOLUMES = _longhorn("lh_volumes", "volumes", "Longhorn volumes")
LH_REPLICAS = _longhorn("lh_replicas", "replicas", "Longhorn replicas")
LH_ENGINES = _longhorn("lh_engines", "engines", "Longhorn engines")
LH_BACKUPS = _longhorn("lh_backups", "backups", "Longhorn backups")
LH_TARGETS = _longhorn("lh_targets", "backuptargets", "Longhorn backup targets")
LH_SNAPSHOTS = _longhorn("lh_snapshots", "snapshots", "Longhorn snapshots")
LH_JOBS = _longhorn("lh_jobs", "recurringjobs", "Longhorn recurring jobs")
LH_SETTINGS = _longhorn("lh_settings", "settings", "Longhorn settings")
IP_POOLS = Kind("ip_pools", "metallb.io", "v1beta1", "ipaddresspools", True, "address pools", custom=True)
L2_ADVERTISEMENTS = Kind("l2_advertisements", "metallb.io", "v1beta1", "l2advertisements", True, "L2 advertisements", custom=True)
L2_STATUSES = Kind("l2_statuses", "metallb.io", "v1beta1", "servicel2statuses", True, "VIP announcements", custom=True)
ETCD_SNAPSHOTS = Kind("etcd_snapshots", "k3s.cattle.io", "v1", "etcdsnapshotfiles", False, "K3s snapshots", custom=True)
UPGRADE_PLANS = Kind("upgrade_plans", "upgrade.cattle.io", "v1", "plans", True, "upgrade plans", custom=True)

NODE_USAGE = Kind("node_usage", "metrics.k8s.io", "v1beta1", "nodes", False, "node metrics", polled=True, custom=True)
POD_USAGE = Kind("pod_usage", "metrics.k8s.io", "v1beta1", "pods", True, "pod metrics", polled=True, custom=True)
NODE_STATS = Kind("node_stats", "", "v1", "nodes", False, "kubelet summaries", polled=True)
"""Not a collection: `/stats/summary` of each kubelet."""

WATCHED: tuple[Kind, ...] = (
    NODES, PODS, LEASES, PG_CLUSTERS, DEPLOYMENTS, LH_VOLUMES, LH_NODES, SERVICES, NAMESPACES, EVENTS,
    REPLICASETS, STATEFULSETS, DAEMONSETS, BUDGETS, ENDPOINTSLICES, CLAIMS, VOLUMES,
    PG_BACKUPS, PG_SCHEDULES, PG_STORES, PG_POOLERS,
    LH_REPLICAS, LH_ENGINES, LH_BACKUPS, LH_TARGETS, LH_SNAPSHOTS, LH_JOBS, LH_SETTINGS,
    IP_POOLS, L2_ADVERTISEMENTS, L2_STATUSES, ETCD_SNAPSHOTS, UPGRADE_PLANS,
)  # fmt: skip
"""In the order in which they are opened: what the first screen shows comes first."""

POLLED: tuple[Kind, ...] = (NODE_USAGE, POD_USAGE, NODE_STATS)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (*WATCHED, *POLLED)}
