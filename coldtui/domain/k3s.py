"""K3s itself: datastore snapshots and upgrade plans."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem, Severity
from .readings import Freshness, Known, Reading, Unknown
from .selectors import Selector
from .values import dataclass
from .verdicts import seen, unsure

if TYPE_CHECKING:
    from .nodes import Node
    from .world import World


@dataclass(frozen=True, slots=True)
class EtcdSnapshot:
    """An ETCDSnapshotFile: one copy of the datastore, on a server's disk or in a bucket."""

    name: str
    snapshot: str = ""
    """spec.snapshotName: what a restore asks for."""
    node: str = ""
    """Server that holds it; `s3` for a remote copy."""
    location: str = ""
    bucket: str = ""
    """Set for a copy in S3."""
    ready: bool | None = None
    size_b: int | None = None
    created: datetime | None = None
    """When it was taken, else when the object appeared."""
    error: str = ""

    @property
    def key(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        return Ref("etcd_snapshots", self.name)

    @property
    def remote(self) -> bool:
        return self.node == "s3" or bool(self.bucket)

    @property
    def good(self) -> bool:
        return self.ready is True and not self.error


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """A Plan of the system-upgrade-controller."""

    namespace: str
    name: str
    created: datetime | None = None
    version: str = ""
    channel: str = ""
    concurrency: int = 1
    cordon: bool = False
    drains: bool = False
    exclusive: bool = False
    image: str = ""
    selector: Selector | None = None
    """Nodes it upgrades; None: none."""
    applying: tuple[str, ...] = ()
    """Nodes being upgraded now."""
    latest_version: str = ""
    latest_hash: str = ""
    conditions: tuple[Condition, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("upgrade_plans", self.name, self.namespace)

    def condition(self, type_: str) -> Condition | None:
        return next((c for c in self.conditions if c.type == type_), None)

    @property
    def wanted(self) -> str:
        """The version it goes to, as K3s writes it (`v1.34.4+k3s1`)."""
        return (self.latest_version or self.version).replace("-k3s", "+k3s")


SNAPSHOT_AGE = timedelta(hours=26)
"""K3s takes one each 12 h by default: two were missed."""
MAX_SKEW = 3
"""Minor versions an agent may be older than the server."""


def minor(version: str) -> tuple[int, int] | None:
    """(major, minor) of `v1.34.4+k3s1`; None for other text."""
    parts = version.removeprefix("v").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 2 and parts[0].isdecimal() and parts[1].isdecimal() else None


def versions(world: World) -> dict[str, tuple[str, ...]]:
    """Kubelet version -> the nodes that run it, sorted."""
    found: dict[str, list[str]] = {}
    for node in world.nodes.items.values():
        found.setdefault(node.kubelet_version, []).append(node.name)
    return {version: tuple(sorted(names)) for version, names in sorted(found.items())}


def etcd_nodes(world: World) -> tuple[str, ...]:
    """Servers that keep the datastore in etcd; none means SQLite or an outside database, which has no such snapshots."""
    return tuple(sorted(n.name for n in world.nodes.items.values() if "etcd" in n.roles))


def targets(world: World, plan: UpgradePlan) -> tuple[Node, ...]:
    """Nodes that a plan upgrades."""
    selector = plan.selector
    return (
        ()
        if selector is None
        else tuple(sorted((n for n in world.nodes.items.values() if selector.matches(n.labels)), key=lambda n: n.name))
    )


def upgraded(world: World, plan: UpgradePlan) -> int:
    """How many of its nodes run the plan's version already."""
    return sum(1 for n in targets(world, plan) if plan.wanted and n.kubelet_version == plan.wanted)


def last_snapshot(world: World) -> Reading[EtcdSnapshot]:
    """The newest good copy of the datastore."""
    state = world.sources["etcd_snapshots"]
    good = [s for s in world.etcd_snapshots.items.values() if s.good and s.created is not None]
    if not good or state.as_of is None:
        return Unknown("etcd_snapshots", unsure(world, "etcd_snapshots") or "no good snapshot")
    return Known(max(good, key=_taken), "etcd_snapshots", state.as_of)


def _taken(snapshot: EtcdSnapshot) -> datetime:
    return snapshot.created or datetime.min.replace(tzinfo=UTC)


def failing_nodes(world: World, plan: UpgradePlan) -> dict[str, str]:
    """Node -> why the plan's job fails there, from its pods."""
    return {
        pod.labels.get("upgrade.cattle.io/node") or pod.node: f"{pod.state} {pod.message}".strip()
        for pod in world.restless_pods.values()
        if pod.labels.get("upgrade.cattle.io/plan") == plan.name
        and pod.namespace == plan.namespace
        and (
            pod.phase == "Failed"
            or pod.state in ("Error", "CrashLoopBackOff", "Init:Error", "Init:CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull")
        )
    }


def _plan_troubles(world: World, plan: UpgradePlan) -> Iterator[Problem]:
    for type_, what in (("Validated", "is not valid"), ("LatestResolved", "finds no version")):
        found = plan.condition(type_)
        if found is not None and found.status == "False":
            yield Problem(
                plan.ref,
                Severity.WARNING,
                f"upgrade plan {plan.name} {what}",
                found.since,
                "nodes stay as they are",
                found.message or found.reason,
            )
    failing = failing_nodes(world, plan)
    if failing:
        node, why = min(failing.items())
        yield Problem(
            plan.ref,
            Severity.WARNING,
            f"upgrade plan {plan.name} fails on {', '.join(sorted(failing))}",
            None,
            "they stay on their version, perhaps cordoned",
            f"{node}: {why}",
        )
    elif plan.applying:
        all_ = targets(world, plan)
        done = f"{upgraded(world, plan)} of {len(all_)} nodes done" if all_ else ""
        complete = plan.condition("Complete")
        to = f" to {plan.wanted}" if plan.wanted else ""
        yield Problem(
            plan.ref,
            Severity.NOTICE,
            f"upgrade plan {plan.name} brings {', '.join(plan.applying)}{to}",
            complete.since if complete else None,
            done,
            "",
        )


def _version_troubles(world: World) -> Iterator[Problem]:
    servers = [m for n in world.nodes.items.values() if n.control_plane and (m := minor(n.kubelet_version))]
    if not servers or not seen(world, "nodes"):
        return
    lowest, highest = min(servers), max(servers)
    for node in sorted(world.nodes.items.values(), key=lambda n: n.name):
        own = minor(node.kubelet_version)
        if own is None or node.control_plane:
            continue
        if own > lowest:
            yield Problem(
                node.ref,
                Severity.WARNING,
                f"{node.name} is newer than the server ({node.kubelet_version})",
                None,
                "not supported",
                f"the server runs {lowest[0]}.{lowest[1]}",
            )
        elif own[0] == highest[0] and highest[1] - own[1] > MAX_SKEW:
            yield Problem(
                node.ref,
                Severity.WARNING,
                f"{node.name} is {highest[1] - own[1]} minor versions older than the server",
                None,
                "not supported",
                node.kubelet_version,
            )
    found = versions(world)
    if len(found) > 1:
        most = max(found.values(), key=len)
        odd = ", ".join(f"{name} {version}" for version, names in found.items() if names != most for name in names[:3])
        first = min(world.nodes.items.values(), key=lambda n: (not n.control_plane, n.name))
        yield Problem(first.ref, Severity.NOTICE, f"nodes run {len(found)} versions of K3s", None, "", odd)


def _snapshot_troubles(world: World, now: datetime) -> Iterator[Problem]:
    servers = etcd_nodes(world)
    if not servers or not seen(world, "etcd_snapshots", "nodes") or world.sources["etcd_snapshots"].freshness is Freshness.NOT_INSTALLED:
        return
    good = last_snapshot(world)
    newest = max(world.etcd_snapshots.items.values(), key=_taken, default=None)
    ref = Ref("etcd_snapshots", newest.name if newest else "")
    if newest is not None and newest.error:
        yield Problem(
            ref, Severity.WARNING, "last snapshot of the K3s datastore failed", newest.created, f"server {newest.node}", newest.error
        )
    if isinstance(good, Unknown):
        yield Problem(ref, Severity.WARNING, "no good snapshot of the K3s datastore", None, "a lost server cannot be restored", "")
    elif now - _taken(good.value) > SNAPSHOT_AGE:
        hours = int((now - _taken(good.value)).total_seconds() // 3600)
        yield Problem(
            good.value.ref,
            Severity.WARNING,
            f"last good snapshot of the K3s datastore is {hours} h old",
            good.value.created,
            "a restore loses what came after",
            "",
        )


def plan_troubles(world: World, plan: UpgradePlan) -> tuple[Problem, ...]:
    return tuple(_plan_troubles(world, plan))


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return (
        *(p for plan in world.upgrade_plans.items.values() for p in _plan_troubles(world, plan)),
        *_version_troubles(world),
        *_snapshot_troubles(world, now),
    )
