"""The World: everything known of the site at one moment, frozen.

It is for screens and for filling forms; it never leaves its process and no act rests on it.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from immutables import Map

from .backups import LhBackup, LhBackupTarget, LhRecurringJob, PgBackup, PgSchedule, PgStore
from .deployments import Budget, DaemonSet, Deployment, ReplicaSet, StatefulSet
from .events import Event
from .k3s import EtcdSnapshot, UpgradePlan
from .kinds import KINDS
from .nodes import Lease, Node, NodeLoad, NodeStats, NodeUsage
from .pods import Namespace, Pod, PodCounts, PodUsage
from .postgres import PgCluster, PgPooler
from .readings import Reading, SourceState, Unknown
from .replication import Claim as PrimaryClaim
from .replication import FailoverQuorum, ManagerStatus, PrimaryLease, SqlStatus, Watched
from .runboard import RunBoard
from .sessions import DatabaseFacts, Progress, Session, TableFacts
from .sources import KUBE
from .storage import Claim, LhEngine, LhNode, LhReplica, LhSetting, LhSnapshot, LhVolume, Volume
from .values import dataclass
from .vips import EndpointSlice, IpPool, L2Advertisement, L2Status, Service


class Keyed(Protocol):
    @property
    def key(self) -> str: ...


T = TypeVar("T", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[T]):
    """The objects of one kind by key (`namespace/name` or `name`)."""

    items: Map[str, T] = field(default_factory=Map)
    roster: int = 0
    """Rises when a key comes or goes (not when an object changes), so that a table knows when its rows must be ordered anew."""

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What site this is."""

    name: str = ""
    server: str = ""
    """URL of the API, without credentials."""
    context: str = ""
    cluster_uid: str = ""
    """UID of namespace kube-system: identifies the cluster."""
    version: str = ""
    """gitVersion of the server, such as v1.34.4+k3s1."""
    production: bool = False
    clock_skew_s: float | None = None
    """The API server's clock minus this machine's; None: not told. Every age on the screen is wrong by as much."""
    pg_cluster: str = ""
    """`namespace/name` of the CloudNativePG cluster that is the site's database; empty: the only one there is, or the first."""
    vip_probe: str = ""
    """`host:port` at which its VIP is tried by the configuration; empty: at the address of its service."""


DATABASE = "database"
"""Name under which the servers of the site's database are wanted, beside the kinds."""
SESSIONS = "pg_sessions"
"""Name under which sessions and work in progress of its primary are wanted besides."""
SIZES = "pg_databases"
"""Name under which its databases are wanted besides: their sizes cost it a connection and a walk through its files."""
TABLES = "pg_tables"
"""Name under which the tables with the most dead rows are wanted."""
NOT_SHOWN = Unknown("sql", "not asked: no screen shows it")
"""Of what is read only while somebody looks."""
NOT_ASKED = Unknown("kube", "not asked")
"""Of what nobody has asked for yet."""

Trend = tuple[float, ...]
"""Samples of equal distance, oldest first; NaN where a sample is missing."""


@dataclass(frozen=True, slots=True)
class World:
    revision: int
    at: datetime
    """When this revision was built (UTC)."""
    site: SiteFacts = SiteFacts()
    sources: Map[str, SourceState] = field(default_factory=lambda: Map({name: SourceState(name) for name in (KUBE, *KINDS)}))

    nodes: Shelf[Node] = Shelf()
    leases: Shelf[Lease] = Shelf()
    pods: Shelf[Pod] = Shelf()
    events: Shelf[Event] = Shelf()
    namespaces: Shelf[Namespace] = Shelf()
    deployments: Shelf[Deployment] = Shelf()
    replicasets: Shelf[ReplicaSet] = Shelf()
    statefulsets: Shelf[StatefulSet] = Shelf()
    daemonsets: Shelf[DaemonSet] = Shelf()
    budgets: Shelf[Budget] = Shelf()
    services: Shelf[Service] = Shelf()
    endpointslices: Shelf[EndpointSlice] = Shelf()
    claims: Shelf[Claim] = Shelf()
    volumes: Shelf[Volume] = Shelf()
    pg_clusters: Shelf[PgCluster] = Shelf()
    pg_backups: Shelf[PgBackup] = Shelf()
    pg_schedules: Shelf[PgSchedule] = Shelf()
    pg_poolers: Shelf[PgPooler] = Shelf()
    pg_stores: Shelf[PgStore] = Shelf()
    lh_nodes: Shelf[LhNode] = Shelf()
    lh_volumes: Shelf[LhVolume] = Shelf()
    lh_replicas: Shelf[LhReplica] = Shelf()
    lh_engines: Shelf[LhEngine] = Shelf()
    lh_backups: Shelf[LhBackup] = Shelf()
    lh_targets: Shelf[LhBackupTarget] = Shelf()
    lh_snapshots: Shelf[LhSnapshot] = Shelf()
    lh_jobs: Shelf[LhRecurringJob] = Shelf()
    lh_settings: Shelf[LhSetting] = Shelf()
    ip_pools: Shelf[IpPool] = Shelf()
    l2_advertisements: Shelf[L2Advertisement] = Shelf()
    l2_statuses: Shelf[L2Status] = Shelf()
    etcd_snapshots: Shelf[EtcdSnapshot] = Shelf()
    upgrade_plans: Shelf[UpgradePlan] = Shelf()
    node_usage: Shelf[NodeUsage] = Shelf()
    pod_usage: Shelf[PodUsage] = Shelf()
    node_stats: Map[str, Reading[NodeStats]] = field(default_factory=Map)
    """Per node, since each kubelet answers, lacks a permission or hangs on its own."""

    # Indices over the pods, kept by the builder so that no screen walks 20,000 of them.
    node_loads: Map[str, NodeLoad] = field(default_factory=Map)
    pods_of_node: Map[str, Map[str, Pod]] = field(default_factory=Map)
    restless_pods: Map[str, Pod] = field(default_factory=Map)
    pod_counts: PodCounts = field(default_factory=PodCounts)

    trends: Map[str, Trend] = field(default_factory=Map)
    """`cpu`, `memory`, `disk` (0..1), `net_rx`, `net_tx` (bytes/s) of the site, and `cpu/NODE`, `memory/NODE`, `disk/NODE`, `net_rx/NODE`, `net_tx/NODE`.
    Of the database: `pg_lag/INSTANCE` (bytes), `pg_tps` (1/s), `pg_connections`, `pg_wal` (bytes/s), `pg_hit` (0..1)."""
    trend_step_s: float = 15.0

    pg_sql: Map[str, Reading[SqlStatus]] = field(default_factory=Map)
    """What the servers of the site's database say, by instance, and `vip` for the one behind its address. Empty: nobody asks."""
    pg_managers: Map[str, Reading[ManagerStatus]] = field(default_factory=Map)
    """`/pg/status` of its pods, by `namespace/name`."""
    pg_claims: Map[str, PrimaryClaim] = field(default_factory=Map)
    """Who says to be primary since when, by `SOURCE/NAME`."""
    pg_lease: Reading[PrimaryLease | None] = NOT_ASKED
    """Of its primary; None: there is none of its name (operators before 1.30)."""
    pg_quorum: Reading[FailoverQuorum | None] = NOT_ASKED
    """Read only where its Cluster wants one; None: none is recorded."""
    pg_watched: Watched = Watched()
    pg_sessions: Reading[tuple[Session, ...]] = NOT_SHOWN
    """Of the primary."""
    pg_progress: Reading[tuple[Progress, ...]] = NOT_SHOWN
    pg_databases: Reading[tuple[DatabaseFacts, ...]] = NOT_SHOWN
    pg_tables: Map[str, Reading[tuple[TableFacts, ...]]] = field(default_factory=Map)
    """By database: the tables with the most dead rows, those first. Only of the largest databases, and while somebody looks."""

    runs: RunBoard = RunBoard()
    """Of the journal on this machine; source `journal` says how it stands, and is not there where nobody reads it."""

    def shelf(self, kind: str) -> Shelf[Any]:
        """The shelf of a kind by its name (`domain.kinds`)."""
        found: Shelf[Any] = getattr(self, kind)
        return found

    def whole(self, *kinds: str) -> bool:
        """Whether totals over these kinds are exact now."""
        return all(self.sources[kind].whole for kind in kinds)
