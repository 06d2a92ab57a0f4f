"""CloudNativePG clusters as the API describes them, and what can be judged from that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .nodes import LEASE_STALE, lease_age
from .objects import Condition, Ref
from .problems import Problem, Severity
from .readings import Freshness, Reading, Unknown
from .values import dataclass
from .verdicts import Grade, Verdict, seen, unsure

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
SLOW_CHANGE = timedelta(seconds=60)
"""A switchover takes 5 to 15 s: after this something holds it."""
CERTIFICATE_WARNING = timedelta(days=7)
"""As the kubectl plugin warns."""
CRASHING = frozenset({"CrashLoopBackOff", "Error", "OOMKilled", "Init:CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"})


def site_cluster(world: World) -> PgCluster | None:
    """The site's database: the configured cluster, else the first by name. None: there is none (or none was read)."""
    if world.site.pg_cluster:
        return world.pg_clusters.items.get(world.site.pg_cluster)
    return min(world.pg_clusters.items.values(), key=lambda c: c.key, default=None)


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


def overdue(cluster: PgCluster, now: datetime) -> str:
    """`ignored` or `hangs`, for a switchover that has taken far longer than one takes; empty: it has not, or nobody can tell."""
    since = cluster.target_primary_since
    if changing(cluster) != "switchover" or since is None or now - since < SLOW_CHANGE:
        return ""
    return "hangs" if cluster.phase == SWITCHING_OVER else "ignored"


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


def _ready(c: PgCluster, found: tuple[Instance, ...]) -> int:
    """By the pods, where all are known: the operator's own number is old while it is down."""
    return min(c.ready_instances, sum(i.ready for i in found)) if all(i.pods_known for i in found) else c.ready_instances


def verdict(world: World, cluster: PgCluster, now: datetime) -> Verdict:
    """The cluster in a word. `healthy` needs the phase, all instances, a known and ready primary, no fence, and live sources."""
    judged = _verdict(world, cluster, now)
    doubt = unsure(world, "pg_clusters", "pods")
    if doubt:
        last = "" if not seen(world, "pg_clusters", "pods") else f"; last seen {judged.word}"
        judged = Verdict(Grade.UNKNOWN, "unknown", f"{doubt}{last}")
    if world.pg_sql or world.pg_managers:
        from .disagreements import worsened  # they read this module's clusters
        from .topology import topology

        return worsened(judged, topology(world, cluster, now))
    return judged


def _verdict(world: World, c: PgCluster, now: datetime) -> Verdict:
    found = instances(world, c)
    primary = next((i for i in found if i.is_current), None)
    grade, word = PHASES.get(c.phase, (Grade.PART, c.phase or "unknown"))
    counted = f"{_ready(c, found)} of {c.instances} ready"
    if c.hibernated:
        return Verdict(Grade.OFF, "hibernated", "annotation cnpg.io/hibernation is on")
    if doubles := two_primaries(c, found):
        return Verdict(Grade.BAD, "two primaries", " and ".join(doubles))
    system = c.condition("ConsistentSystemID")
    if system is not None and system.status == "False" and system.reason == "Mismatch":
        return Verdict(Grade.BAD, "mixed systems", system.message)
    if c.all_fenced or (c.current_primary and c.is_fenced(c.current_primary)):
        return Verdict(Grade.BAD, "fenced", "all instances" if c.all_fenced else f"primary {c.current_primary}")
    if grade is Grade.BAD and c.phase != FAILING_OVER:
        return Verdict(Grade.BAD, word, c.phase_reason or c.phase)
    if electing(c, primary):
        return Verdict(Grade.BAD, "failing over", f"{c.current_primary} → nobody yet")
    if change := changing(c):
        what = f"{c.current_primary} → {'nobody yet' if c.target_primary == 'pending' else c.target_primary}"
        if held := overdue(c, now):  # one that is ignored leaves the old primary at work; one that has begun has stopped it
            return Verdict(Grade.PART if held == "ignored" else Grade.BAD, f"switchover {held}", what)
        return Verdict(Grade.BAD, "failing over", what) if change == "failover" else Verdict(Grade.PART, "switching over", what)
    if not c.phase:
        return Verdict(Grade.UNKNOWN, "unknown", "the operator has not said anything yet")
    if not c.current_primary:
        return Verdict(Grade.PART, word, counted) if c.phase != HEALTHY else Verdict(Grade.UNKNOWN, "unknown", "no primary is named")
    if c.phase == MAJOR_UPGRADE:
        return Verdict(Grade.PART, word, c.phase_reason or "no writes until it ends")
    if primary is None or not primary.ready:
        return Verdict(Grade.BAD, "primary down", f"{c.current_primary} {_down(primary) if primary else 'has no pod'}")
    if silent := silent_node(world, primary, now):
        return Verdict(Grade.UNKNOWN, "unknown", f"{primary.name}: {silent}")
    if c.phase in (FAILING_OVER, SWITCHING_OVER):  # done, and written until all instances are ready
        return Verdict(Grade.PART, "degraded" if c.ready_instances < c.instances else word, f"{c.current_primary} leads, {counted}")
    if grade is not Grade.GOOD:
        return Verdict(grade, word, c.phase_reason or counted)
    if not c.instances:
        return Verdict(Grade.UNKNOWN, "unknown", "how many instances are wanted is not known")
    for bad in (i for i in found if i.fenced):
        return Verdict(Grade.PART, "degraded", f"{bad.name} is fenced, {counted}")
    if c.fenced_unreadable:
        return Verdict(Grade.UNKNOWN, "unknown", "what is fenced cannot be read")
    for bad in (i for i in found if not i.ready):
        return Verdict(Grade.PART, "degraded", f"{bad.name} {_down(bad)}, {counted}")
    if c.ready_instances != c.instances or len(found) != c.instances:
        return Verdict(Grade.PART, "degraded", counted)
    for bad in found:
        if silent := silent_node(world, bad, now):
            return Verdict(Grade.UNKNOWN, "unknown", f"{bad.name}: {silent}")
    archiving = c.condition("ContinuousArchiving")
    if c.skip_wal_archiving or (archiving is not None and archiving.status == "False"):
        return Verdict(
            Grade.BAD, "not archiving", "skipWalArchiving is set" if c.skip_wal_archiving else archiving.message if archiving else ""
        )
    ready = c.condition("Ready")
    if ready is not None and ready.status != "True":
        return Verdict(Grade.PART, "not ready", ready.message or ready.reason)
    if c.reconciliation_disabled:
        return Verdict(Grade.PART, "unmanaged", "the operator was told to ignore it")
    manager = operator(world)
    if manager is not None and manager.available == 0 and manager.desired >= 0 and seen(world, "deployments"):
        return Verdict(Grade.PART, "unmanaged", "the operator is down: nobody would replace a dead primary")
    return Verdict(Grade.GOOD, "healthy", counted)


def _vip_hits(world: World, cluster: PgCluster) -> str:
    from .vips import database_vips  # vips reads this module's clusters

    addresses = [v.address for v in database_vips(world, cluster) if v.address]
    return f", VIP {addresses[0]}" if addresses else ""


def _write_hits(world: World, c: PgCluster) -> str:
    return f"writes through {c.write_service or c.name + '-rw'}{_vip_hits(world, c)}"


def _down(instance: Instance) -> str:
    """`has no pod`, `is not ready`, `is CrashLoopBackOff`."""
    if instance.pod is None:
        return "has no pod"
    return "is not ready" if instance.state == "Running" else f"is {instance.state}"


def _role_troubles(world: World, c: PgCluster, found: tuple[Instance, ...], now: datetime) -> Iterator[Problem]:
    primary = next((i for i in found if i.is_current), None)
    if doubles := two_primaries(c, found):
        yield Problem(
            c.ref, Severity.CRITICAL, f"{c.name}: {' and '.join(doubles)} both say that they are primary", c.current_primary_since,
            f"data may split; {_write_hits(world, c)}", "roles from pod labels and from what the instances report", "claims",
        )  # fmt: skip
    if change := "failover" if electing(c, primary) else changing(c):
        since = c.primary_failing_since or c.target_primary_since
        target = "nobody yet" if c.target_primary in ("pending", c.current_primary) else c.target_primary
        held = overdue(c, now)
        severity = Severity.CRITICAL if change == "failover" or held == "hangs" else Severity.WARNING
        what = f"{c.name}: {change} from {c.current_primary} to {target}" + (f" {'is ' if held == 'ignored' else ''}{held}" if held else "")
        hits, cause = _write_hits(world, c), c.phase if electing(c, primary) else c.phase_reason or c.phase
        if held == "ignored":
            hits, cause = f"{c.current_primary} leads as before", "the operator has not begun: does it run?"
        yield Problem(c.ref, severity, what, since, hits, cause, "role-change")
    elif c.phase == MAJOR_UPGRADE:
        what, since = f"{c.name}: major upgrade, no writes until it ends", world.pg_watched.phase_since
        yield Problem(c.ref, Severity.WARNING, what, since, _write_hits(world, c), c.phase_reason or "all instances are stopped for it")
    elif not c.current_primary and c.phase == HEALTHY:
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name} has no primary", None, _write_hits(world, c), c.phase_reason)
    elif primary is not None and seen(world, "pods") and not primary.ready:
        cause = primary.pod.message if primary.pod else f"pod {primary.name} does not exist"
        since = c.primary_failing_since or (primary.pod.ready_since if primary.pod else None)
        yield Problem(
            c.ref, Severity.CRITICAL, f"{c.name}: primary {primary.name} {_down(primary)}", since,
            _write_hits(world, c), cause or silent_node(world, primary, now), "primary-down",
        )  # fmt: skip
    elif primary is not None and (silent := silent_node(world, primary, now)):
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name}: primary {primary.name} may be gone", None, _write_hits(world, c), silent)
    system = c.condition("ConsistentSystemID")
    if system is not None and system.status == "False" and system.reason == "Mismatch":
        yield Problem(
            c.ref,
            Severity.CRITICAL,
            f"{c.name}: instances are of different systems",
            system.since,
            "replicas are not copies",
            system.message,
        )


def _fence_troubles(world: World, c: PgCluster) -> Iterator[Problem]:
    if c.all_fenced or c.is_fenced(c.current_primary):
        what = "all instances" if c.all_fenced else f"primary {c.current_primary}"
        yield Problem(
            c.ref,
            Severity.CRITICAL,
            f"{c.name}: {what} fenced",
            None,
            _write_hits(world, c),
            "annotation cnpg.io/fencedInstances; no failover happens",
        )
    elif c.fenced:
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name}: {', '.join(c.fenced)} fenced", None, "one copy less", "annotation cnpg.io/fencedInstances"
        )
    if c.fenced_unreadable:
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name}: what is fenced cannot be read", None, "", f"annotation says {c.fenced_unreadable}"
        )


def _spare(world: World, c: PgCluster, found: tuple[Instance, ...]) -> int:
    """Ready instances beside the primary, which may be among those that are not."""
    return sum(i.ready and not i.is_current for i in found) if seen(world, "pods") else max(0, c.ready_instances - 1)


def _copy_troubles(world: World, c: PgCluster, found: tuple[Instance, ...], now: datetime) -> Iterator[Problem]:
    if c.ready_instances < c.instances and c.phase and c.phase != MAJOR_UPGRADE:
        down = [i for i in found if not i.ready and not i.is_current and not i.fenced] if seen(world, "pods") else []
        names = ", ".join(f"{i.name} {i.state}" for i in down)
        cause = next((i.pod.message for i in down if i.pod is not None and i.pod.message), "")
        severity = Severity.CRITICAL if c.ready_instances == 0 else Severity.WARNING
        hits = _write_hits(world, c) if c.ready_instances == 0 else f"{_spare(world, c, found)} left to fail over to"
        if c.phase in SETTING_UP and not c.current_primary:  # a restore takes hours, and writes were never taken
            severity, hits = Severity.WARNING, "not in use before it is set up"
        if c.phase in SETTING_UP and now - c.created < SETUP_GRACE:
            severity = Severity.NOTICE
        since = next((i.pod.ready_since for i in down if i.pod is not None), None)
        yield Problem(
            c.ref,
            severity,
            f"{c.name}: {c.ready_instances} of {c.instances} instances ready",
            since,
            hits,
            "; ".join(x for x in (names, cause) if x),
            "copies",
        )
    timelines = {i.timeline for i in found if i.timeline}
    if len(timelines) > 1 and not changing(c) and c.phase == HEALTHY:
        behind = ", ".join(f"{i.name} on {i.timeline}" for i in found if i.timeline and i.timeline != c.timeline)
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name}: instances are on {len(timelines)} timelines", None, "a replica may have diverged", behind,
            "timelines",
        )  # fmt: skip
    nodes: dict[str, list[str]] = {}
    for i in found:
        if i.node and i.ready:
            nodes.setdefault(i.node, []).append(i.name)
    for node, names_ in nodes.items():
        if len(names_) > 1:
            alone = len(nodes) == 1
            yield Problem(
                c.ref, Severity.WARNING if alone else Severity.NOTICE, f"{c.name}: {' and '.join(names_)} share {node}", None,
                f"losing {node} takes {'all' if alone else len(names_)} of {c.instances}", "",
            )  # fmt: skip


def _archive_troubles(c: PgCluster, now: datetime) -> Iterator[Problem]:
    hits = "point-in-time recovery ends at the last archived WAL; WAL fills the disk"
    archiving = c.condition("ContinuousArchiving")
    if c.skip_wal_archiving:
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name} archives no WAL", None, hits, "annotation cnpg.io/skipWalArchiving is set")
    elif archiving is not None and archiving.status == "False":
        yield Problem(
            c.ref, Severity.CRITICAL, f"{c.name}: WAL archiving fails", archiving.since, hits, archiving.message or archiving.reason
        )
    elif not c.archives and not c.replica_cluster:
        yield Problem(c.ref, Severity.NOTICE, f"{c.name} has no WAL archive configured", None, "point-in-time recovery: none", "")
    if c.skip_empty_archive_check:
        yield Problem(
            c.ref,
            Severity.NOTICE,
            f"{c.name} may overwrite another archive",
            None,
            "",
            "annotation cnpg.io/skipEmptyWalArchiveCheck is set",
        )
    for plugin in c.plugins:
        if plugin.enabled and not plugin.loaded_version and c.phase:
            yield Problem(
                c.ref,
                Severity.WARNING,
                f"{c.name}: plugin {plugin.name} is not loaded",
                None,
                "WAL archiving, backups, failover",
                "not in status.pluginStatus",
            )
    for secret, expires in c.certificates.items():
        left = expires - now
        if left < CERTIFICATE_WARNING:
            severity = Severity.CRITICAL if left <= timedelta(0) else Severity.WARNING
            when = (
                "has expired"
                if left <= timedelta(0)
                else f"expires in {left.days} d"
                if left.days
                else f"expires in {int(left.total_seconds() // 3600)} h"
            )
            yield Problem(
                c.ref,
                severity,
                f"{c.name}: certificate {secret} {when}",
                None,
                "clients and replicas that verify it",
                "",
                f"certificate/{secret}",
            )


def _troubles(world: World, c: PgCluster, now: datetime) -> Iterator[Problem]:
    found = instances(world, c)
    if c.hibernated:
        yield Problem(
            c.ref, Severity.NOTICE, f"{c.name} is hibernated", None, _write_hits(world, c), "annotation cnpg.io/hibernation is on"
        )
        return
    grade, _ = PHASES.get(c.phase, (Grade.PART, ""))
    if grade is Grade.BAD and c.phase != FAILING_OVER:
        hits = "failover: none while it lasts" if c.phase in NO_FAILOVER else _write_hits(world, c)
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name}: {c.phase}", None, hits, c.phase_reason)
    elif c.phase == USER_ACTION:
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name} waits for a manual switchover", None, "its upgrade goes no further", c.phase_reason
        )
    yield from _role_troubles(world, c, found, now)
    yield from _fence_troubles(world, c)
    yield from _copy_troubles(world, c, found, now)
    yield from _archive_troubles(c, now)
    if c.reconciliation_disabled:
        yield Problem(
            c.ref,
            Severity.WARNING,
            f"{c.name} is ignored by its operator",
            None,
            "failover and repair: none",
            "annotation cnpg.io/reconciliationLoop is disabled",
        )
    if c.unusable_claims:
        yield Problem(
            c.ref,
            Severity.WARNING,
            f"{c.name}: {len(c.unusable_claims)} unusable claims",
            None,
            ", ".join(c.unusable_claims),
            "",
            "claims-unusable",
        )


def _operator_troubles(world: World) -> Iterator[Problem]:
    """An operator that is down fails nothing over and leaves every phase as it was."""
    manager = operator(world)
    if manager is None or not seen(world, "deployments") or manager.available > 0:
        return
    since = next((x.since for x in manager.conditions if x.type == "Available" and x.status != "True"), None)
    names = ", ".join(sorted(c.name for c in world.pg_clusters.items.values()))
    what = f"CloudNativePG operator is down (0 of {manager.desired})"
    hits = f"failover of {names}: none; phases are frozen"
    yield Problem(manager.ref, Severity.CRITICAL, what, since, hits, f"deployment {manager.key}", "operator-down")


def _missing(world: World) -> Iterator[Problem]:
    """The configuration names a cluster that is not there: nothing else would say why every screen of the database is empty."""
    named = world.site.pg_cluster
    if not named or named in world.pg_clusters.items or not world.sources["pg_clusters"].whole:
        return
    namespace, _, name = named.rpartition("/")
    found = ", ".join(sorted(world.pg_clusters.items)) or "none"
    what = f"cluster {named} of postgres.cluster does not exist"
    cause = f"clusters that exist: {found}; mend postgres.cluster"
    yield Problem(
        Ref("pg_clusters", name, namespace), Severity.CRITICAL, what, None, "everything of the site's database: not shown", cause, "missing"
    )


def troubles(world: World, cluster: PgCluster, now: datetime) -> tuple[Problem, ...]:
    """Everything that is wrong with one cluster, by its objects and by its servers."""
    found = tuple(_troubles(world, cluster, now))
    if world.pg_sql or world.pg_managers:
        from .topology import topology

        return (*topology(world, cluster, now).problems, *found)
    return found


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    if not world.pg_clusters.items:
        return tuple(_missing(world))
    found = [p for c in world.pg_clusters.items.values() for p in troubles(world, c, now)]
    for pooler in world.pg_poolers.items.values():
        if not pooler.paused and pooler.instances and pooler.ready < pooler.instances:
            severity = Severity.CRITICAL if pooler.ready == 0 else Severity.WARNING
            found.append(
                Problem(
                    pooler.ref,
                    severity,
                    f"pooler {pooler.name}: {pooler.ready} of {pooler.instances} ready",
                    None,
                    f"connections to {pooler.cluster}",
                    "",
                    "ready",
                )
            )
    return (*_operator_troubles(world), *_missing(world), *found)
