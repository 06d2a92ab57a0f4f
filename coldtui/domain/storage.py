"""Storage: claims and volumes of Kubernetes, and Longhorn under them. Sizes in bytes."""

from __future__ import annotations

import json
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING

from .nodes import VolumeFill
from .objects import Condition, Ref
from .readings import Known, Reading, Unknown
from .values import dataclass
from .verdicts import seen, unsure

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


DISK_WARNING, DISK_CRITICAL = 0.70, 0.90
"""Share used. At 75 % (minimal-available 25 %) Longhorn stops placing replicas there."""
CLAIM_WARNING, CLAIM_CRITICAL = 0.85, 0.95
SCHEDULED_NOTICE, SCHEDULED_WARNING = 0.90, 1.00
"""Share promised of what may be. At 1 Longhorn places nothing more."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """Sums over the disks of Longhorn."""

    total_b: int
    used_b: int
    available_b: int
    reserved_b: int
    scheduled_b: int
    limit_b: int | None
    """What may be promised to replicas; None when the over-provisioning setting is not known."""
    disks: int
    """Disks in the sums."""
    unknown_disks: int
    """Disks without information: left out, so that the sums are lower bounds."""
    whole: bool
    """The sums are exact now."""
    why: str = ""
    """Why they are not."""
    doubled: tuple[str, ...] = ()
    """Nodes where two disks show the same size and room: perhaps one filesystem, counted twice."""

    @property
    def fraction(self) -> float | None:
        return self.used_b / self.total_b if self.total_b else None


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A copy that is being built."""

    volume: str
    """Key of the LhVolume."""
    percent: int
    replicas: int
    """How many copies are being built; `percent` is the lowest."""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tightest:
    """The disk with the least share of room."""

    node: str
    disk: str
    fraction: float


def capacity(world: World) -> Reading[Capacity]:
    """Total, used and available of all Longhorn disks. Never a guess: without Longhorn nodes it is Unknown with the reason."""
    state = world.sources["lh_nodes"]
    doubt = unsure(world, "lh_nodes")
    if state.as_of is None or not world.lh_nodes.items:
        return Unknown("lh_nodes", doubt or "Longhorn has no nodes")
    total = used = available = reserved = scheduled = disks = unknown = room = 0
    doubled = []
    for node in world.lh_nodes.items.values():
        sizes = set()
        for disk in node.disks:
            if not disk.known:
                unknown += 1
                continue
            disks += 1
            total += disk.maximum_b
            used += disk.used_b
            available += disk.available_b
            reserved += disk.reserved_b
            scheduled += disk.scheduled_b
            room += max(0, disk.maximum_b - disk.reserved_b)
            if (disk.maximum_b, disk.available_b) in sizes and node.name not in doubled:
                doubled.append(node.name)
            sizes.add((disk.maximum_b, disk.available_b))
    if not disks:
        return Unknown("lh_nodes", doubt or f"Longhorn tells nothing of its {unknown} disks")
    percent = number_setting(world, "storage-over-provisioning-percentage")
    why = doubt or (f"{unknown} disks tell nothing" if unknown else "")
    limit = None if percent is None else room * percent // 100
    value = Capacity(total, used, available, reserved, scheduled, limit, disks, unknown, not why, why, tuple(doubled))
    return Known(value, "lh_nodes", state.as_of)


def tightest(world: World) -> Tightest | None:
    """The fullest disk of all that are known."""
    found = [Tightest(n.name, d.name, d.fraction) for n in world.lh_nodes.items.values() for d in n.disks if d.fraction is not None]
    return min(found, key=lambda t: (-t.fraction, t.node, t.disk), default=None)


def setting(world: World, name: str) -> str | None:
    """The value of a Longhorn setting; None when it was not read."""
    found = world.lh_settings.items.get(f"longhorn-system/{name}")
    if found is None:
        found = next((s for s in world.lh_settings.items.values() if s.name == name), None)
    return None if found is None else found.value


def number_setting(world: World, name: str) -> int | None:
    """A setting as a number; values may be JSON per data engine (`{"v1":"3"}`), of which v1 is taken."""
    text = setting(world, name)
    if text is None:
        return None
    if text.startswith("{"):
        try:
            by_engine = json.loads(text)
        except ValueError:
            return None
        text = str(by_engine.get("v1", "")) if isinstance(by_engine, dict) else ""
    return int(text) if text.isascii() and text.isdigit() else None


_engines: tuple[object, dict[str, LhEngine]] = (None, {})
_replicas: tuple[object, dict[str, list[LhReplica]]] = (None, {})
_fills: tuple[object, dict[str, VolumeFill]] = (None, {})


def _engines_of(world: World) -> dict[str, LhEngine]:
    """Volume name -> its engine (the one with a node, during a migration). Kept for the last World: rows ask one by one."""
    global _engines
    kept, index = _engines
    if kept is not world.lh_engines.items:
        index = {}
        for engine in world.lh_engines.items.values():
            if engine.volume not in index or engine.modes:
                index[engine.volume] = engine
        _engines = (world.lh_engines.items, index)
    return index


def replicas_of(world: World, volume: LhVolume) -> tuple[LhReplica, ...]:
    """All replicas of a volume, by name."""
    global _replicas
    kept, index = _replicas
    if kept is not world.lh_replicas.items:
        index = {}
        for replica in world.lh_replicas.items.values():
            index.setdefault(replica.volume, []).append(replica)
        _replicas = (world.lh_replicas.items, index)
    return tuple(sorted(index.get(volume.name, ()), key=lambda r: r.name))


def engine_of(world: World, volume: LhVolume) -> LhEngine | None:
    return _engines_of(world).get(volume.name)


def good_replicas(world: World, volume: LhVolume) -> tuple[LhReplica, ...]:
    """Copies with good data: healthy, not failed, and read-write in the engine where that tells."""
    engine = engine_of(world, volume)
    modes = engine.modes if engine is not None and volume.state == "attached" else {}
    return tuple(r for r in replicas_of(world, volume) if r.good and modes.get(r.name, "RW") == "RW")


def healthy_copies(world: World, volume: LhVolume) -> int | None:
    """How many good copies there are; None when replicas were not read."""
    return len(good_replicas(world, volume)) if seen(world, "lh_replicas") else None


def rebuild_of(world: World, volume: LhVolume) -> Rebuild | None:
    """The rebuild that is under way, or None."""
    engine = engine_of(world, volume)
    if engine is None:
        return None
    running = [p for p in engine.rebuilds if p.running]
    building = [name for name, mode in engine.modes.items() if mode == "WO"]
    error = next((p.error for p in engine.rebuilds if p.error), "")
    if not running and not building:
        return Rebuild(volume.key, 0, 0, error) if error else None
    return Rebuild(volume.key, min((p.percent for p in running), default=0), max(len(running), len(building)), error)


def rebuilding(world: World) -> tuple[Rebuild, ...]:
    """All rebuilds under way, the slowest first."""
    found = (rebuild_of(world, v) for v in world.lh_volumes.items.values())
    return tuple(sorted((r for r in found if r is not None and r.replicas), key=lambda r: r.percent))


def claim_fills(world: World) -> dict[str, VolumeFill]:
    """Claim -> how full its filesystem is, as the kubelets say."""
    global _fills
    kept, index = _fills
    if kept is not world.node_stats:
        index = {}
        for stats in world.node_stats.values():
            if isinstance(stats, Known):
                for fill in stats.value.volumes:
                    index[f"{fill.namespace}/{fill.claim}"] = fill
        _fills = (world.node_stats, index)
    return index


def claim_fraction(world: World, claim: str) -> float | None:
    """Used share of a claim's filesystem; None when no kubelet told."""
    fill = claim_fills(world).get(claim)
    return fill.used_b / fill.capacity_b if fill is not None and fill.capacity_b > 0 else None


def title(volume: LhVolume) -> str:
    """How an operator knows a volume: by the claim it serves, else by its name."""
    return volume.claim_key or volume.name


def users(volume: LhVolume) -> str:
    """Who uses a volume now: workloads, else the claim."""
    names = [] if volume.workloads_gone else sorted({w.name or w.pod for w in volume.workloads})
    return ", ".join(names) or volume.claim_key
