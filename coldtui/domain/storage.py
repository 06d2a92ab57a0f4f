"""Storage: claims and volumes of Kubernetes, and Longhorn under them. Sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim."""

    namespace: str
    name: str
    uid: str = ""
    created: datetime | None = None
    phase: str = ""
    """Pending, Bound or Lost."""
    storage_class: str = ""
    volume: str = ""
    """Name of the bound PersistentVolume."""
    requested_b: int = 0
    capacity_b: int | None = None
    access: tuple[str, ...] = ()
    deleted: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    """Resizing, FileSystemResizePending, …"""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("claims", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class Volume:
    """A PersistentVolume."""

    name: str
    created: datetime | None = None
    phase: str = ""
    """Available, Bound, Released, Failed."""
    capacity_b: int | None = None
    storage_class: str = ""
    claim: str = ""
    """`namespace/name`."""
    reclaim: str = ""
    driver: str = ""
    """CSI driver; empty for host paths and local volumes."""
    handle: str = ""
    """volumeHandle: the name of the Longhorn volume."""
    message: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        return Ref("volumes", self.name)


@dataclass(frozen=True, slots=True)
class LhDisk:
    """One disk of a Longhorn node."""

    name: str
    uuid: str = ""
    path: str = ""
    type: str = "filesystem"
    allow_scheduling: bool = True
    evicting: bool = False
    reserved_b: int = 0
    maximum_b: int = 0
    """0 with no information: the disk is then unknown, not empty."""
    available_b: int = 0
    """Free on the filesystem, rounded down to 100 MiB; everything that lies there counts."""
    scheduled_b: int = 0
    """Sum of nominal sizes promised to replicas; not use."""
    replicas: int = 0
    conditions: tuple[Condition, ...] = ()
    tags: tuple[str, ...] = ()

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def known(self) -> bool:
        return self.maximum_b > 0

    @property
    def used_b(self) -> int:
        return max(0, self.maximum_b - self.available_b)

    @property
    def fraction(self) -> float | None:
        return self.used_b / self.maximum_b if self.maximum_b > 0 else None

    @property
    def schedulable(self) -> bool | None:
        """Longhorn's own word; None when it says nothing."""
        found = self.condition("Schedulable")
        return None if found is None or found.status not in ("True", "False") else found.status == "True"


@dataclass(frozen=True, slots=True)
class LhNode:
    namespace: str
    name: str
    allow_scheduling: bool = True
    evicting: bool = False
    auto_evicting: bool = False
    zone: str = ""
    tags: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    disks: tuple[LhDisk, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_nodes", self.name, self.namespace)

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def ready(self) -> str:
        """`True`, `False` or `Unknown`."""
        found = self.condition("Ready")
        return found.status if found else "Unknown"


@dataclass(frozen=True, slots=True)
class Workload:
    """Who uses a volume, as Longhorn last saw it."""

    pod: str
    pod_status: str = ""
    name: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True)
class LhVolume:
    namespace: str
    name: str
    created: datetime | None = None
    size_b: int = 0
    actual_b: int = 0
    """On one replica, snapshots included: may exceed `size_b`."""
    state: str = ""
    """creating, attached, detached, attaching, detaching, deleting."""
    robustness: str = ""
    """healthy, degraded, faulted; unknown is normal while detached."""
    replicas: int = 0
    """Wanted copies."""
    node: str = ""
    """Where it is attached."""
    wanted_node: str = ""
    claim_namespace: str = ""
    claim: str = ""
    volume: str = ""
    """The PersistentVolume."""
    claim_gone: bool = False
    """The claim named here is history (lastPVCRefAt is set)."""
    workloads: tuple[Workload, ...] = ()
    workloads_gone: bool = False
    conditions: tuple[Condition, ...] = ()
    last_backup: str = ""
    last_backup_at: datetime | None = None
    last_degraded_at: datetime | None = None
    last_salvaged_at: datetime | None = None
    restore_required: bool = False
    restore_initiated: bool = False
    standby: bool = False
    expansion_required: bool = False
    access: str = ""
    """rwo, rwop or rwx."""
    locality: str = ""
    engine: str = "v1"
    encrypted: bool = False
    from_backup: str = ""
    backup_target: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_volumes", self.name, self.namespace)

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def claim_key(self) -> str:
        """`namespace/name` of the claim it serves now; empty when none does."""
        return f"{self.claim_namespace}/{self.claim}" if self.claim and not self.claim_gone else ""

    @property
    def restoring(self) -> bool:
        return self.restore_required or (bool(self.from_backup) and not self.restore_initiated and not self.standby)


@dataclass(frozen=True, slots=True)
class LhReplica:
    namespace: str
    name: str
    volume: str = ""
    node: str = ""
    disk: str = ""
    """UUID."""
    disk_path: str = ""
    engine: str = ""
    healthy_at: datetime | None = None
    """Set: has good data."""
    failed_at: datetime | None = None
    active: bool = True
    evicting: bool = False
    state: str = ""
    """running, stopped, starting, stopping, error, unknown."""
    size_b: int = 0
    retries: int = 0
    address: str = ""
    """ip:port while it runs."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_replicas", self.name, self.namespace)

    @property
    def good(self) -> bool:
        """Has good data and has not failed since."""
        return self.healthy_at is not None and self.failed_at is None


@dataclass(frozen=True, slots=True)
class Progress:
    """A rebuild or a restore of one replica."""

    address: str
    """tcp://ip:port."""
    running: bool
    percent: int
    error: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class LhEngine:
    namespace: str
    name: str
    volume: str = ""
    node: str = ""
    state: str = ""
    modes: dict[str, str] = field(default_factory=dict)
    """replica -> RW, WO (being rebuilt) or ERR."""
    rebuilds: tuple[Progress, ...] = ()
    restores: tuple[Progress, ...] = ()
    size_b: int = 0
    snapshots: int = 0
    expanding: bool = False
    expansion_error: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_engines", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class LhSnapshot:
    namespace: str
    name: str
    volume: str = ""
    created: datetime | None = None
    """When it was taken (status.creationTime), else when the object was made."""
    ready: bool = False
    error: str = ""
    size_b: int = 0
    """Bytes that only this snapshot holds."""
    restore_b: int = 0
    user_created: bool = False
    removed: bool = False
    parent: str = ""
    job: str = ""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_snapshots", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class LhSetting:
    namespace: str
    name: str
    value: str = ""
    applied: bool = True

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_settings", self.name, self.namespace)


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
