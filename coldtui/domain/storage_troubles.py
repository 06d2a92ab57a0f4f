"""What is wrong with storage: volumes, Longhorn's nodes and disks, claims, and settings that endanger them all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Condition, Ref
from .problems import Problem, Severity
from .readings import Known
from .storage import (
    CLAIM_CRITICAL,
    CLAIM_WARNING,
    DISK_CRITICAL,
    DISK_WARNING,
    SCHEDULED_NOTICE,
    SCHEDULED_WARNING,
    Claim,
    LhDisk,
    LhNode,
    LhVolume,
    Rebuild,
    capacity,
    claim_fills,
    good_replicas,
    healthy_copies,
    number_setting,
    rebuild_of,
    setting,
    title,
    users,
)
from .text import counted

if TYPE_CHECKING:
    from .world import World

CLAIM_GRACE = timedelta(seconds=60)


def _volume_troubles(world: World, v: LhVolume) -> Iterator[Problem]:
    name, hits = title(v), users(v)
    rebuild = rebuild_of(world, v)
    scheduled = v.condition("Scheduled")
    unplaced = scheduled is not None and scheduled.status == "False"
    if v.robustness == "faulted":
        yield Problem(
            v.ref,
            Severity.CRITICAL,
            f"volume {name} is faulted: no usable copy of {v.replicas}",
            v.last_degraded_at,
            hits,
            scheduled.message if unplaced and scheduled else "",
        )
    elif v.robustness == "degraded":
        yield _degraded(world, v, rebuild, scheduled.message if unplaced and scheduled else "")
    elif unplaced and scheduled is not None:
        yield Problem(
            v.ref, Severity.WARNING, f"volume {name}: a copy cannot be placed", scheduled.since, hits, scheduled.message or scheduled.reason
        )
    elif rebuild is not None and rebuild.replicas:
        yield Problem(v.ref, Severity.NOTICE, f"volume {name} builds a copy", None, hits, f"rebuilding {rebuild.percent} %")
    restore = v.condition("Restore")
    if restore is not None and restore.reason == "RestoreFailure":
        yield Problem(v.ref, Severity.CRITICAL, f"restore of volume {name} failed", restore.since, hits, restore.message)
    elif v.restore_required and v.robustness != "faulted" and not v.standby:
        yield Problem(
            v.ref, Severity.NOTICE, f"volume {name} is being restored", restore.since if restore else None, hits, "not usable yet"
        )
    snapshots = v.condition("TooManySnapshots")
    if snapshots is not None and snapshots.status == "True":
        yield Problem(v.ref, Severity.WARNING, f"volume {name} has too many snapshots", snapshots.since, hits, snapshots.message)
    if v.size_b and v.actual_b > 2 * v.size_b:
        times = v.actual_b / v.size_b
        yield Problem(
            v.ref,
            Severity.NOTICE,
            f"volume {name} takes {times:.1f} times its size",
            None,
            f"on each of {v.replicas} copies",
            "snapshots hold the rest",
        )


def _degraded(world: World, v: LhVolume, rebuild: Rebuild | None, unplaced: str) -> Problem:
    copies = healthy_copies(world, v)
    shown = f"has {copies} of {v.replicas} copies" if copies is not None else f"has fewer than {v.replicas} copies"
    cause = unplaced
    if rebuild is not None and rebuild.replicas:
        cause = f"rebuilding {rebuild.percent} %"
    elif rebuild is not None and rebuild.error:
        cause = f"rebuild failed: {rebuild.error}"
    if copies == 1:
        last = good_replicas(world, v)[0]
        node = world.nodes.items.get(last.node)
        if node is not None and node.ready != "True":
            return Problem(
                v.ref,
                Severity.CRITICAL,
                f"volume {title(v)}: the only good copy is on {last.node}, which is {node.status}",
                v.last_degraded_at,
                users(v),
                cause,
            )
        if node is not None and node.unschedulable:
            return Problem(
                v.ref,
                Severity.CRITICAL,
                f"volume {title(v)}: the only good copy is on {last.node}, which is cordoned",
                v.last_degraded_at,
                users(v),
                cause,
            )
    return Problem(v.ref, Severity.WARNING, f"volume {title(v)} {shown}", v.last_degraded_at, users(v), cause)


NODE_CONDITIONS = ("MountPropagation", "RequiredPackages", "KernelModulesLoaded")


def _node_troubles(n: LhNode) -> Iterator[Problem]:
    ready = n.condition("Ready")
    if n.ready != "True":
        copies = sum(d.replicas for d in n.disks)
        cause = " ".join(x for x in (ready.reason, ready.message) if x) if ready else "no Ready condition"
        yield Problem(
            n.ref,
            Severity.WARNING,
            f"Longhorn on {n.name} is not ready",
            ready.since if ready else None,
            f"{counted(copies, 'copy', 'copies')} there",
            cause,
        )
        return  # its disks only repeat it
    for type_ in NODE_CONDITIONS:
        found = n.condition(type_)
        if found is not None and found.status == "False":
            yield Problem(
                n.ref,
                Severity.WARNING,
                f"Longhorn on {n.name}: {type_} is false",
                found.since,
                "volumes there may not attach",
                found.message or found.reason,
            )
    placing = n.condition("Schedulable")
    if not n.allow_scheduling or (placing is not None and placing.status == "False"):
        cause = "scheduling is off" if not n.allow_scheduling else (placing.message or placing.reason if placing else "")
        yield Problem(n.ref, Severity.NOTICE, f"Longhorn puts no new copies on {n.name}", placing.since if placing else None, "", cause)
    if n.evicting or n.auto_evicting:
        what = f"Longhorn moves its {sum(d.replicas for d in n.disks)} copies off {n.name}"
        yield Problem(n.ref, Severity.NOTICE, what, None, "", "eviction requested", "moves-off")
    for d in n.disks:
        yield from _disk_troubles(n, d)


def _disk_troubles(n: LhNode, d: LhDisk) -> Iterator[Problem]:
    where = f"disk {d.path or d.name} of {n.name}"
    ready, placing = d.condition("Ready"), d.condition("Schedulable")
    if not d.known or (ready is not None and ready.status == "False"):
        cause = (ready.message or ready.reason) if ready else "no size is known"
        yield Problem(
            n.ref,
            Severity.WARNING,
            f"{where} tells nothing",
            ready.since if ready else None,
            f"{counted(d.replicas, 'copy', 'copies')} there",
            cause,
        )
        return
    fraction = d.fraction or 0.0
    if fraction >= DISK_WARNING:
        severity = Severity.CRITICAL if fraction >= DISK_CRITICAL else Severity.WARNING
        cause = placing.message if placing is not None and placing.status == "False" else ""
        yield Problem(
            n.ref,
            severity,
            f"{where} is {fraction:.0%} full",
            None,
            f"{counted(d.replicas, 'copy', 'copies')} there",
            cause,
            f"full/{d.name}",
        )
    elif placing is not None and placing.status == "False" and n.allow_scheduling and not _follows_node(placing):
        yield Problem(
            n.ref,
            Severity.WARNING,
            f"{where} takes no new copies",
            placing.since,
            f"{counted(d.replicas, 'copy', 'copies')} there",
            placing.message or placing.reason,
        )
    elif not d.allow_scheduling:
        yield Problem(
            n.ref, Severity.NOTICE, f"{where} takes no new copies", None, "", "eviction requested" if d.evicting else "scheduling is off"
        )


def _follows_node(condition: Condition) -> bool:
    """A cordoned node makes its disks unschedulable: the node says so already."""
    return "Cordon" in condition.reason or "NodeNotReady" in condition.reason


def _waiting_pod(world: World, claim: Claim) -> str:
    """A pod that waits for this claim; empty: none."""
    for pod in world.restless_pods.values():
        if pod.namespace == claim.namespace and claim.name in pod.claims:
            return pod.name
    return ""


def _claim_troubles(world: World, now: datetime) -> Iterator[Problem]:
    for c in world.claims.items.values():
        if c.phase == "Lost":
            yield Problem(c.ref, Severity.CRITICAL, f"claim {c.key} has lost its volume", None, "", f"volume {c.volume} is gone")
        elif c.phase == "Pending" and c.created is not None and now - c.created > CLAIM_GRACE:
            pod = _waiting_pod(world, c)
            said = [
                e
                for e in world.events.items.values()
                if e.object_name == c.name and e.object_namespace == c.namespace and e.type == "Warning"
            ]
            cause = max(said, key=lambda e: (e.last, e.name)).message if said else ""
            severity = Severity.WARNING if pod or cause else Severity.NOTICE
            hits = f"pod {pod} waits for it" if pod else "no pod waits for it"
            yield Problem(c.ref, severity, f"claim {c.key} is pending", c.created, hits, cause)
    for key, fill in claim_fills(world).items():
        fraction = fill.used_b / fill.capacity_b if fill.capacity_b > 0 else 0.0
        if fraction >= CLAIM_WARNING:
            severity = Severity.CRITICAL if fraction >= CLAIM_CRITICAL else Severity.WARNING
            ref = Ref("claims", fill.claim, fill.namespace)
            what, hits = _whose(world, fill.namespace, fill.claim) or (f"claim {key}", "what runs on it")
            yield Problem(ref, severity, f"{what} is {fraction:.0%} full", None, hits, "", "full")


def _whose(world: World, namespace: str, claim: str) -> tuple[str, str] | None:
    """(what a claim is called, what it hits when it is full), of one that is named after a PostgreSQL instance (CloudNativePG, pkg/specs/pvcs.go)."""
    name = claim.removesuffix("-wal")
    pod = world.pods.items.get(f"{namespace}/{name}")
    if pod is None or "cnpg.io/cluster" not in pod.labels:
        return None
    return f"{'WAL' if name != claim else 'data'} volume of {name}", f"PostgreSQL of {name} is stopped when it is full"


def _site_troubles(world: World) -> Iterator[Problem]:
    read = capacity(world)
    if isinstance(read, Known) and read.value.limit_b and read.value.scheduled_b > SCHEDULED_NOTICE * read.value.limit_b:
        share = read.value.scheduled_b / read.value.limit_b
        ref = Ref("lh_settings", "storage-over-provisioning-percentage", "longhorn-system")
        yield Problem(
            ref,
            Severity.WARNING if share >= SCHEDULED_WARNING else Severity.NOTICE,
            f"Longhorn has promised {share:.0%} of what it may",
            None,
            "new volumes and lost copies find no room",
            "sum of nominal sizes of all copies",
            "promised",
        )
    if number_setting(world, "concurrent-replica-rebuild-per-node-limit") == 0:
        ref = Ref("lh_settings", "concurrent-replica-rebuild-per-node-limit", "longhorn-system")
        yield Problem(
            ref, Severity.WARNING, "Longhorn rebuilds nothing", None, "lost copies stay lost", "the limit of rebuilds per node is 0"
        )
    if setting(world, "deleting-confirmation-flag") == "true":
        ref = Ref("lh_settings", "deleting-confirmation-flag", "longhorn-system")
        yield Problem(
            ref,
            Severity.NOTICE,
            "Longhorn may be uninstalled without asking",
            None,
            "all volumes",
            "setting deleting-confirmation-flag is true",
        )


def volume_troubles(world: World, volume: LhVolume) -> tuple[Problem, ...]:
    return tuple(_volume_troubles(world, volume))


def node_troubles(node: LhNode) -> tuple[Problem, ...]:
    return tuple(_node_troubles(node))


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return (
        *(p for v in world.lh_volumes.items.values() for p in _volume_troubles(world, v)),
        *(p for n in world.lh_nodes.items.values() for p in _node_troubles(n)),
        *_claim_troubles(world, now),
        *_site_troubles(world),
    )
