"""CloudNativePG clusters as the API describes them, and what can be judged from that."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .nodes import LEASE_STALE, lease_age
from .objects import Condition, Ref
from .readings import Freshness, Reading, Unknown
from .values import dataclass
from .verdicts import Grade, seen, unsure

if TYPE_CHECKING:
    from .deployments import Deployment
    from .pods import Pod
    from .world import World


LAG_UNKNOWN = Unknown("sql", "needs SQL: no server was asked")
"""Nothing that is watched tells how far a replica is behind."""


@dataclass(frozen=True, slots=True)
class ReportedState:
    """What an instance last told the operator (`status.instancesReportedState`); old during a role change."""

    name: str
    is_primary: bool
    timeline: int | None = None
    ip: str = ""


@dataclass(frozen=True, slots=True)
class PluginUse:
    """An entry of `spec.plugins`, with the version from `status.pluginStatus` (empty: not loaded)."""

    name: str
    enabled: bool = True
    wal_archiver: bool = False
    parameters: dict[str, str] = field(default_factory=dict)
    loaded_version: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Synchronous:
    """`spec.postgresql.synchronous`."""

    method: str
    """any or first."""
    number: int
    durability: str = "required"
    """required (writes wait) or preferred (writes go on)."""
    quorum: bool = False


@dataclass(frozen=True, slots=True)
class PgCluster:
    namespace: str
    name: str
    uid: str
    created: datetime
    phase: str
    """What the operator last wrote; frozen while the operator is down. Exact strings, unknown ones shown as they are."""
    current_primary: str
    """Pod name, written by the instance itself after its promotion."""
    target_primary: str
    """Pod name, or the word `pending` while a failover waits."""
    phase_reason: str = ""
    instances: int = 0
    """spec.instances: how many are wanted."""
    made_instances: int = 0
    """status.instances: groups of claims, not pods."""
    ready_instances: int = 0
    instance_names: tuple[str, ...] = ()
    instances_status: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """`healthy`, `replicating` (active, not ready), `failed` -> pod names."""
    reported: tuple[ReportedState, ...] = ()
    timeline: int | None = None
    system_id: str = ""
    current_primary_since: datetime | None = None
    target_primary_since: datetime | None = None
    primary_failing_since: datetime | None = None
    nodes_used: int | None = None
    """status.topology.nodesUsed; None when the operator could not tell."""
    dangling_claims: tuple[str, ...] = ()
    healthy_claims: tuple[str, ...] = ()
    initializing_claims: tuple[str, ...] = ()
    resizing_claims: tuple[str, ...] = ()
    unusable_claims: tuple[str, ...] = ()
    write_service: str = ""
    read_service: str = ""
    first_recoverability: datetime | None = None
    """In-tree archive and snapshots only; never set for the plugin."""
    first_recoverability_by: dict[str, datetime] = field(default_factory=dict)
    last_good_backup: datetime | None = None
    last_good_backup_by: dict[str, datetime] = field(default_factory=dict)
    last_failed_backup: datetime | None = None
    plugins: tuple[PluginUse, ...] = ()
    certificates: dict[str, datetime] = field(default_factory=dict)
    """Secret -> when its certificate expires."""
    conditions: tuple[Condition, ...] = ()
    image: str = ""
    version: str = ""
    """PostgreSQL version from the image's tag, else the major version of its data; empty when neither tells."""
    fenced: tuple[str, ...] = ()
    """Annotation cnpg.io/fencedInstances; `*` means all."""
    fenced_unreadable: str = ""
    """The annotation's text when it is no JSON list: nobody can tell what is fenced."""
    hibernation: str = ""
    """Annotation cnpg.io/hibernation: `on`, `off` or empty."""
    reconciliation_disabled: bool = False
    """Annotation cnpg.io/reconciliationLoop: the operator ignores the cluster."""
    skip_wal_archiving: bool = False
    skip_empty_archive_check: bool = False
    restarted_at: str = ""
    failover_delay_s: int = 0
    switchover_delay_s: int = 3600
    stop_delay_s: int = 1800
    smart_shutdown_s: int = 180
    """spec.smartShutdownTimeout: so long a stopping server lets sessions end by themselves and takes no new ones."""
    min_sync: int = 0
    max_sync: int = 0
    synchronous: Synchronous | None = None
    update_strategy: str = "unsupervised"
    update_method: str = "restart"
    budget: bool = True
    """spec.enablePDB."""
    maintenance: bool = False
    """spec.nodeMaintenanceWindow.inProgress."""
    replica_cluster: bool = False
    """spec.replica: this whole cluster follows another one; it has no writable primary."""
    replica_source: str = ""
    storage_size: str = ""
    storage_class: str = ""
    wal_size: str = ""
    in_tree_archive: bool = False
    """spec.backup.barmanObjectStore (deprecated, removed in operator 1.31)."""
    archive_path: str = ""
    """destinationPath of the in-tree archive."""
    snapshot_class: str = ""
    retention: str = ""
    backup_target: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def writes_at(self) -> str:
        """Name of the Service that leads to the primary."""
        return self.write_service or f"{self.name}-rw"

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pg_clusters", self.name, self.namespace)

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def all_fenced(self) -> bool:
        return "*" in self.fenced

    def is_fenced(self, instance: str) -> bool:
        return "*" in self.fenced or instance in self.fenced

    @property
    def hibernated(self) -> bool:
        return self.hibernation == "on"

    @property
    def archiver(self) -> PluginUse | None:
        """The plugin that archives WAL, if one does."""
        return next((p for p in self.plugins if p.enabled and p.wal_archiver), None)

    @property
    def archives(self) -> bool:
        """Whether WAL archiving is configured at all."""
        return self.in_tree_archive or self.archiver is not None


@dataclass(frozen=True, slots=True)
class PgPooler:
    namespace: str
    name: str
    cluster: str
    type: str = "rw"
    """rw, ro or r."""
    instances: int = 0
    """Wanted."""
    ready: int = 0
    """status.instances."""
    pool_mode: str = ""
    paused: bool = False

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pg_poolers", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class Instance:
    """One PostgreSQL instance: what the operator says of it and what its pod shows."""

    name: str
    role: str
    """`primary`, `replica`, `unhealthy` (an old primary during a role change), or empty: not known."""
    pod: Pod | None
    """None: there is no such pod now."""
    status: str = ""
    """`healthy`, `replicating` or `failed` as the operator last sorted it; empty: not listed."""
    timeline: int | None = None
    fenced: bool = False
    is_current: bool = False
    """Named by status.currentPrimary."""
    is_target: bool = False
    reports_primary: bool = False
    pods_known: bool = True
    """False: pods could not be read, so a missing pod says nothing."""
    lag_bytes: Reading[int] = LAG_UNKNOWN

    @property
    def node(self) -> str:
        return self.pod.node if self.pod else ""

    @property
    def state(self) -> str:
        """The pod's STATUS as kubectl says it, `no pod`, or `?` when pods are not known."""
        if self.pod is None:
            return "no pod" if self.pods_known else "?"
        return "Terminating" if self.pod.deleted is not None else self.pod.state

    @property
    def ready(self) -> bool:
        return self.pod is not None and self.pod.is_ready and self.pod.deleted is None

    @property
    def restarts(self) -> int:
        return self.pod.restarts if self.pod else 0


HEALTHY = "Cluster in healthy state"
"""The phase of a cluster that the operator has no work with; it does not mean that all instances are ready."""
FAILING_OVER = "Failing over"
SWITCHING_OVER = "Switchover in progress"
USER_ACTION = "Waiting for user action"
ONLINE_UPGRADE = "Online upgrade in progress"
MAJOR_UPGRADE = "Upgrading Postgres major version"
"""All pods are deleted on purpose; a job upgrades the data of the primary. There is nothing to fail over to before it ends."""

PHASES: dict[str, tuple[Grade, str]] = {
    HEALTHY: (Grade.GOOD, "healthy"),
    "Setting up primary": (Grade.PART, "setting up"),
    "Creating a new replica": (Grade.PART, "adding replica"),
    "Waiting for the instances to become active": (Grade.PART, "waiting"),
    SWITCHING_OVER: (Grade.PART, "switching over"),
    FAILING_OVER: (Grade.BAD, "failing over"),
    "Primary instance is being restarted in-place": (Grade.PART, "restarting"),
    "Primary instance is being restarted without a switchover": (Grade.PART, "restarting"),
    "Applying configuration": (Grade.PART, "applying config"),
    ONLINE_UPGRADE: (Grade.PART, "upgrading"),
    "Upgrading cluster": (Grade.PART, "upgrading"),
    MAJOR_UPGRADE: (Grade.PART, "upgrading"),
    "Cluster upgrade delayed": (Grade.PART, "upgrade delayed"),
    "Promoting to primary cluster": (Grade.PART, "promoting"),
    USER_ACTION: (Grade.PART, "waits for you"),
    "Cluster is unrecoverable and needs manual intervention": (Grade.BAD, "unrecoverable"),
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required": (Grade.BAD, "plugin missing"),
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins": (Grade.BAD, "plugin failing"),
    "Cluster has incomplete or invalid image catalog": (Grade.BAD, "bad catalog"),
    "Cluster cannot execute instance online upgrade due to missing architecture binary": (Grade.BAD, "cannot upgrade"),
    "Unable to create required cluster objects": (Grade.BAD, "cannot create"),
    "Invalid cluster definition": (Grade.BAD, "invalid"),
    "Not enough disk space": (Grade.BAD, "disk full"),
    "Instance Status Extraction Error: HTTP communication issue": (Grade.BAD, "unreachable"),
}
"""Every phase of operator 1.30, by its exact text. Any other is shown as it is, never as healthy."""

NO_FAILOVER = frozenset(
    {
        "Cluster cannot proceed to reconciliation due to an unknown plugin being required",
        "Cluster cannot proceed to reconciliation due to an error while interacting with plugins",
        "Cluster has incomplete or invalid image catalog",
        "Unable to create required cluster objects",
        "Invalid cluster definition",
        "Not enough disk space",
        "Instance Status Extraction Error: HTTP communication issue",
        "Promoting to primary cluster",
        "Primary instance is being restarted without a switchover",
        MAJOR_UPGRADE,
    }
)
"""Phases in which the operator attempts no failover: its loop ends before it looks at the primary, or it waits for that very restart or upgrade
(cluster_controller.go). `Cluster is unrecoverable…` is none of them: a failed job of one instance keeps nobody from failing over."""

SETTING_UP = frozenset({"Setting up primary", "Creating a new replica", "Waiting for the instances to become active"})
SETUP_GRACE = timedelta(minutes=10)
"""A cluster younger than this may still be making its first instances."""
SILENCE = timedelta(seconds=10)
"""One question without an answer ends a claim; so long without one tells more than that."""
SLOW_CHANGE = timedelta(seconds=60)
"""A switchover takes 5 to 15 s: after this something holds it."""
ARCHIVE_LATE = timedelta(minutes=5)
"""CloudNativePG sets archive_timeout to it: so much may be missing in the archive at most while all is well. A failure is red when it lasts longer."""
CERTIFICATE_WARNING = timedelta(days=7)
"""As the kubectl plugin warns."""
CRASHING = frozenset({"CrashLoopBackOff", "Error", "OOMKilled", "Init:CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"})


def site_cluster(world: World) -> PgCluster | None:
    """The site's database: the configured cluster (a name without namespace where one has it), else the first by name. None: there is none (or none
    was read)."""
    named, every = world.site.pg_cluster, world.pg_clusters.items
    if "/" in named:
        return every.get(named)
    found = [c for c in every.values() if named in ("", c.name)]
    return None if named and len(found) > 1 else min(found, key=lambda c: c.key, default=None)


def absent(world: World) -> tuple[str, str] | None:
    """That the cluster of the configuration does not exist, or could be several, and which there are; None: it is there, or nobody can tell."""
    named = world.site.pg_cluster
    if not named or site_cluster(world) is not None or unsure(world, "pg_clusters"):
        return None
    several = sum(c.name == named for c in world.pg_clusters.items.values())
    what = f"is in {several} namespaces" if several else "does not exist"
    return f"cluster {named} of postgres.cluster {what}", f"found: {', '.join(sorted(world.pg_clusters.items)) or 'none'}"


def _order(name: str) -> tuple[str, int]:
    head, _, serial = name.rpartition("-")
    return (head, int(serial)) if serial.isdigit() else (name, 0)


def instances(world: World, cluster: PgCluster) -> tuple[Instance, ...]:
    """All instances the operator knows of: the primary first, then by number."""
    known = seen(world, "pods")
    status = {name: word for word, names in cluster.instances_status.items() for name in names}
    reported = {state.name: state for state in cluster.reported}
    primaries = [n for n in (cluster.current_primary, cluster.target_primary) if n and n != "pending"]
    found = []
    for name in {*cluster.instance_names, *status, *reported, *primaries}:
        pod = world.pods.items.get(f"{cluster.namespace}/{name}")
        state = reported.get(name)
        role = (pod.labels.get("cnpg.io/instanceRole") or pod.labels.get("role") or "") if pod else ""
        if not role and name == cluster.current_primary:
            role = "primary"
        elif not role and state is not None and not state.is_primary:
            role = "replica"
        found.append(
            Instance(
                name,
                role,
                pod,
                status.get(name, ""),
                _timeline(cluster, state),
                cluster.is_fenced(name),
                name == cluster.current_primary,
                name == cluster.target_primary,
                state is not None and state.is_primary,
                known,
            )
        )
    return tuple(sorted(found, key=lambda i: (not i.is_current, _order(i.name))))


def _timeline(cluster: PgCluster, state: ReportedState | None) -> int | None:
    """As an instance reported it. A standby reads it from its control file, which is on the old timeline until a restartpoint (5 minutes and more
    after a role change) while it streams on the new one: a lower one than the cluster's says nothing."""
    if state is None or state.timeline is None:
        return None
    return state.timeline if state.is_primary or state.timeline >= (cluster.timeline or 0) else None


def operator(world: World) -> Deployment | None:
    """The Deployment of the CloudNativePG operator, wherever it was installed."""
    named = (d for d in world.deployments.items.values() if d.name.startswith("cnpg-controller-manager"))
    labelled = (
        d
        for d in world.deployments.items.values()
        if d.labels.get("app.kubernetes.io/name") == "cloudnative-pg"
        and not d.name.startswith("barman")  # the plugin may bear the label too
    )
    return next(named, None) or next(labelled, None)


def changing(cluster: PgCluster) -> str:
    """`switchover`, `failover` or empty: whether another instance is to become primary."""
    if not cluster.target_primary or cluster.target_primary == cluster.current_primary or not cluster.current_primary:
        return ""
    return "failover" if cluster.target_primary == "pending" or cluster.phase == FAILING_OVER else "switchover"


def begun(world: World, cluster: PgCluster) -> bool:
    """Whether a switchover has reached the old primary: it is taken out of the services, its pod is not ready, or it leads by its own word no more.

    The phase is none of the signs while these can be seen: whoever asks for a switchover writes it, whether or not an operator is there to read it.
    """
    old = next((i for i in instances(world, cluster) if i.is_current), None)
    if old is not None and old.pods_known and (old.role == "unhealthy" or not old.ready):
        return True
    said = [x for x in world.pg_claims.values() if x.name == cluster.current_primary] if site_cluster(world) == cluster else []
    if said:
        return all(x.ended and world.at - x.seen > SILENCE for x in said)
    return (old is None or not old.pods_known) and cluster.phase == SWITCHING_OVER


def overdue(world: World, cluster: PgCluster, now: datetime) -> str:
    """`ignored` or `hangs`, for a switchover that has taken far longer than one takes; empty: it has not, or nobody can tell."""
    since = cluster.target_primary_since
    if changing(cluster) != "switchover" or since is None or now - since < SLOW_CHANGE:
        return ""
    return "hangs" if begun(world, cluster) else "ignored"


def archive_late(cluster: PgCluster, now: datetime) -> bool:
    """Whether archiving fails for so long by the word of its instance that more is missing than may be; of one that tells no time too."""
    archiving = cluster.condition("ContinuousArchiving")
    return archiving is not None and archiving.status == "False" and (archiving.since is None or now - archiving.since > ARCHIVE_LATE)


def electing(cluster: PgCluster, primary: Instance | None) -> bool:
    """A failover that has found nobody yet. While it waits the operator takes the target back each second (replicas.go), which means no end of it."""
    if cluster.phase != FAILING_OVER or cluster.target_primary not in ("pending", cluster.current_primary):
        return False
    return cluster.target_primary == "pending" or primary is None or (primary.pods_known and not primary.ready)


def two_primaries(cluster: PgCluster, found: tuple[Instance, ...]) -> tuple[str, ...]:
    """Instances that claim to be primary at once. What instances reported is old during a role change, so it counts only outside one."""
    if changing(cluster) or cluster.phase in (SWITCHING_OVER, FAILING_OVER):
        return ()
    named = {i.name for i in found if i.pod is not None and i.role == "primary"}
    claims = named | {i.name for i in found if i.reports_primary}
    return tuple(sorted(claims)) if len(claims) > 1 else ()


def silent_node(world: World, instance: Instance, now: datetime) -> str:
    """Why the node of an instance is not to be trusted: its pods look fine for some 45 s after a power cut. Empty: nothing known against it."""
    node = world.nodes.items.get(instance.node) if instance.node else None
    if node is None:
        return ""
    if node.ready != "True":
        return f"its node {node.name} is {node.status.partition(',')[0]}"
    if world.sources["leases"].freshness is Freshness.LIVE:
        age = lease_age(world, node.name, now)
        if age is not None and age > LEASE_STALE:
            return f"its node {node.name} has been silent for {int(age.total_seconds()) // 10 * 10} s"
    return ""
