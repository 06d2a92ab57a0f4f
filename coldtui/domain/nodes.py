"""Nodes: readiness, pressure, taints, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem, Severity
from .readings import Freshness, Known
from .text import counted
from .values import dataclass

if TYPE_CHECKING:
    from .world import World

LEASE_STALE = timedelta(seconds=40)
"""leaseDurationSeconds of a kubelet; it renews each 10 s."""
DISK_WARNING, DISK_CRITICAL = 0.80, 0.90
"""Image garbage collection starts at 85 % of the disk, eviction at 90 to 95 %."""
MEMORY_WARNING, MEMORY_CRITICAL = 0.85, 0.95

PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class Size:
    """CPU in millicores, memory and ephemeral storage in bytes, pods as a count."""

    cpu_m: int = 0
    memory_b: int = 0
    disk_b: int = 0
    pods: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    uid: str
    created: datetime
    roles: tuple[str, ...]
    """Sorted, from label keys `node-role.kubernetes.io/*`."""
    labels: dict[str, str]
    unschedulable: bool
    taints: tuple[Taint, ...]
    conditions: tuple[Condition, ...]
    internal_ip: str
    hostname: str
    kubelet_version: str
    runtime_version: str
    os_image: str
    kernel_version: str
    architecture: str
    boot_id: str
    pod_cidr: str
    capacity: Size
    allocatable: Size

    @property
    def key(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        return Ref("nodes", self.name)

    def condition(self, type_: str) -> Condition | None:
        for condition in self.conditions:  # no generator: asked thousands of times a second on a big site
            if condition.type == type_:
                return condition
        return None

    @property
    def ready(self) -> str:
        """`True`, `False` or `Unknown` (no heartbeat)."""
        found = self.condition("Ready")
        return found.status if found else "Unknown"

    @property
    def status(self) -> str:
        """The STATUS column of kubectl (printers/internalversion printNode): Ready, NotReady, Unknown; SchedulingDisabled."""
        found = self.condition("Ready")
        words = ["Unknown" if found is None else "Ready" if found.status == "True" else "NotReady"]
        if self.unschedulable:
            words.append("SchedulingDisabled")
        return ",".join(words)

    @property
    def pressures(self) -> tuple[Condition, ...]:
        return tuple(c for c in self.conditions if c.type in PRESSURES and c.status == "True")

    @property
    def control_plane(self) -> bool:
        return "control-plane" in self.roles or "master" in self.roles


@dataclass(frozen=True, slots=True)
class Lease:
    """A kubelet's heartbeat: the node's name and when it last renewed, by the node's own clock."""

    name: str
    renewed: datetime | None
    observed: datetime
    """When we saw this renewal: the age that counts, since clocks differ (client-go's leader election judges the same way)."""
    holder: str = ""

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """metrics.k8s.io: CPU in millicores, memory (working set) in bytes."""

    name: str
    cpu_m: int
    memory_b: int
    at: datetime

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class VolumeFill:
    """How full a claim is, from the kubelet's summary."""

    namespace: str
    claim: str
    capacity_b: int
    used_b: int


@dataclass(frozen=True, slots=True)
class NodeStats:
    """The kubelet's summary. Bytes; None = the kubelet did not say (absent is not 0)."""

    name: str
    at: datetime
    disk_capacity_b: int | None
    disk_used_b: int | None
    disk_available_b: int | None
    inodes: int | None
    inodes_free: int | None
    image_capacity_b: int | None
    image_used_b: int | None
    rx_b: int | None
    """Counter; a rate is made in `live.history`, a decrease (reboot) drops the sample."""
    tx_b: int | None
    cpu_m: int | None
    memory_working_b: int | None
    memory_available_b: int | None
    volumes: tuple[VolumeFill, ...] = ()

    @property
    def key(self) -> str:
        return self.name

    @property
    def disk_fraction(self) -> float | None:
        """Used share as an operator sees it in df: used / (used + available), reserved blocks left out."""
        if self.disk_used_b is None or self.disk_available_b is None or self.disk_used_b + self.disk_available_b <= 0:
            return None
        return self.disk_used_b / (self.disk_used_b + self.disk_available_b)


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """What the pods of one node ask for; kept up to date by the builder of the World."""

    pods: int = 0
    """Pods that are neither Succeeded nor Failed."""
    all_pods: int = 0
    cpu_request_m: int = 0
    memory_request_b: int = 0
    cpu_limit_m: int = 0
    memory_limit_b: int = 0


def lease_age(world: World, node: str, now: datetime) -> timedelta | None:
    """Time since the last observed renewal; None when no lease is known."""
    lease = world.leases.items.get(node)
    return None if lease is None else max(timedelta(0), now - lease.observed)


def cpu_fraction(world: World, node: Node) -> float | None:
    """Share of allocatable, as kubectl top. None: no sample."""
    usage = world.node_usage.items.get(node.name)
    return usage.cpu_m / node.allocatable.cpu_m if usage and node.allocatable.cpu_m else None


def memory_fraction(world: World, node: Node) -> float | None:
    usage = world.node_usage.items.get(node.name)
    return usage.memory_b / node.allocatable.memory_b if usage and node.allocatable.memory_b else None


def disk_fraction(world: World, node: Node) -> float | None:
    stats = world.node_stats.get(node.name)
    return stats.value.disk_fraction if isinstance(stats, Known) else None


def _hits(world: World, node: Node) -> str:
    load = world.node_loads.get(node.name)
    parts = [counted(load.pods, "pod")] if load and load.pods else []
    for cluster in world.pg_clusters.items.values():
        pod = world.pods.items.get(f"{cluster.namespace}/{cluster.current_primary}")
        if pod is not None and pod.node == node.name:
            parts.append(f"primary of {cluster.name}")
    if node.control_plane:
        parts.append("control plane")
    return ", ".join(parts)


def trouble(world: World, node: Node, now: datetime) -> Problem | None:
    """The worst thing about one node, or None."""
    return max(_troubles(world, node, now), key=lambda p: p.severity, default=None)


def _troubles(world: World, node: Node, now: datetime) -> Iterator[Problem]:
    ready = node.condition("Ready")
    status = ready.status if ready else "Unknown"
    if status != "True":
        word = "does not report (status unknown)" if status == "Unknown" else "is not ready"
        cause = " ".join(x for x in ((ready.reason, ready.message) if ready else ("no Ready condition",)) if x)
        yield Problem(node.ref, Severity.CRITICAL, f"{node.name} {word}", ready.since if ready else None, _hits(world, node), cause)
    elif world.sources["leases"].freshness is Freshness.LIVE:
        age = lease_age(world, node.name, now)
        if age is not None and age > LEASE_STALE:
            seconds = int(age.total_seconds())
            yield Problem(
                node.ref, Severity.WARNING, f"{node.name} has not renewed its lease for {seconds // 10 * 10} s",
                world.leases.items[node.name].observed, _hits(world, node), "still Ready; the control plane waits 50 s before it says otherwise",
            )  # fmt: skip
    for pressure in node.pressures:
        yield Problem(node.ref, Severity.CRITICAL, f"{node.name} has {pressure.type}", pressure.since, _hits(world, node), pressure.message)
    for what, value, warn, crit in (
        ("disk", disk_fraction(world, node), DISK_WARNING, DISK_CRITICAL),
        ("memory", memory_fraction(world, node), MEMORY_WARNING, MEMORY_CRITICAL),
    ):
        if value is not None and value >= warn:
            severity = Severity.CRITICAL if value >= crit else Severity.WARNING
            yield Problem(node.ref, severity, f"{node.name} {what} is {value:.0%} full", None, _hits(world, node), "")
    if node.unschedulable:
        yield Problem(node.ref, Severity.NOTICE, f"{node.name} is cordoned", None, "no new pods go there", "")


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return tuple(p for node in world.nodes.items.values() for p in _troubles(world, node, now))
