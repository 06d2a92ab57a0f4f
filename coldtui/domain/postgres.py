"""CloudNativePG clusters as the API describes them, and what can be judged from that."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem
from .readings import Reading, Unknown

if TYPE_CHECKING:
    from .pods import Pod
    from .world import World


LAG_UNKNOWN = Unknown("sql", "needs SQL: not read yet by this version")
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
    lag_bytes: Reading[int] = LAG_UNKNOWN

    @property
    def node(self) -> str:
        return self.pod.node if self.pod else ""

    @property
    def state(self) -> str:
        """The pod's STATUS as kubectl says it, or `no pod`."""
        return self.pod.state if self.pod else "no pod"

    @property
    def ready(self) -> bool:
        return self.pod is not None and self.pod.is_ready and self.pod.deleted is None

    @property
    def restarts(self) -> int:
        return self.pod.restarts if self.pod else 0


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
