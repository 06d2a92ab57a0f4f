"""Longhorn volumes and nodes, and claims, as rows, a card, JSON and lines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..domain import storage as domain
from ..domain import storage_troubles
from ..domain.readings import Known
from ..domain.storage import Capacity, Claim, LhNode, LhReplica, LhVolume
from ..domain.verdicts import Grade, Verdict, unsure
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, count, cut_line, label, old, pair, table
from .rows import Cell, Column, Listing, Row, Tone
from .verdicts import aside, badge, nothing, staleness, troubled, verdict_cell

SOURCES = ("lh_nodes", "lh_volumes", "lh_replicas", "lh_engines")


def volume_verdict(world: World, v: LhVolume) -> Verdict:
    """One volume in a word. `unknown` robustness is normal while detached: that is `detached`, not bad and not green."""
    if doubt := unsure(world, "lh_volumes"):
        return Verdict(Grade.UNKNOWN, v.robustness or "unknown", doubt)
    if v.robustness == "faulted":
        return Verdict(Grade.BAD, "faulted", "no usable copy")
    if v.restoring:
        return Verdict(Grade.PART, "restoring")
    if v.robustness == "degraded":
        rebuild = domain.rebuild_of(world, v)
        if rebuild is not None and rebuild.replicas:
            return Verdict(Grade.PART, f"rebuild {rebuild.percent}%", "degraded")
        return Verdict(Grade.PART, "degraded", rebuild.error if rebuild else "")
    if v.robustness == "healthy" and v.state == "attached":
        return Verdict(Grade.GOOD, "healthy")
    if v.state == "detached":
        return Verdict(Grade.OFF, "detached", "its health is not known while detached")
    return Verdict(Grade.UNKNOWN, v.state or "unknown", f"robustness {v.robustness or 'not told'}")


def copies_text(world: World, v: LhVolume) -> str:
    """`2/3` good copies of those wanted; `?/3` when replicas were not read."""
    copies = domain.healthy_copies(world, v)
    return f"{'?' if copies is None else copies}/{v.replicas}"


def _share(fraction: float | None, warn: float, critical: float, *, stale: bool) -> Cell:
    if fraction is None:
        return Cell(UNKNOWN, Tone.MUTED)
    tone = Tone.STALE if stale else Tone.BAD if fraction >= critical else Tone.WARN if fraction >= warn else Tone.PLAIN
    return Cell(words.percent(fraction), tone)


_VOLUME_COLUMNS: tuple[Column, ...] = (
    Column("claim", "CLAIM", 22, grow=4, sort_key="E"),
    Column("state", "STATE", 13, sort_key="S"),
    Column("copies", "COPIES", 6, right=True, sort_key="R"),
    Column("size", "SIZE", 8, right=True, sort_key="M"),
    Column("fill", "FULL", 4, right=True, sort_key="F"),
    Column("node", "NODE", 14, grow=1, sort_key="L"),
    Column("actual", "ON DISK", 8, right=True, priority=1, sort_key="K"),
    Column("backup", "BACKUP", 6, right=True, priority=1, sort_key="B"),
    Column("user", "USED BY", 16, grow=1, priority=2),
    Column("name", "VOLUME", 40, priority=4),
)


def _volume_row(world: World, v: LhVolume, now: datetime) -> Row:
    stale = old(world, "lh_volumes")
    copies = domain.healthy_copies(world, v)
    short = copies is not None and copies < v.replicas and v.state == "attached"
    fill = domain.claim_fraction(world, v.claim_key) if v.claim_key else None
    cells = (
        Cell(domain.title(v), Tone.STRONG),
        verdict_cell(volume_verdict(world, v)),
        Cell(copies_text(world, v), Tone.STALE if stale or old(world, "lh_replicas") else Tone.WARN if short else Tone.PLAIN),
        Cell(words.size(v.size_b)),
        _share(fill, domain.CLAIM_WARNING, domain.CLAIM_CRITICAL, stale=old(world, "node_stats")),
        Cell(v.node or UNKNOWN),
        Cell(words.size(v.actual_b)),
        Cell(words.age(now - v.last_backup_at) if v.last_backup_at else "never", Tone.PLAIN if v.last_backup_at else Tone.MUTED),
        Cell(", ".join(w.name or w.pod for w in v.workloads) if not v.workloads_gone else UNKNOWN, Tone.MUTED),
        Cell(v.name, Tone.MUTED),
    )
    return Row(v.key, cells, dim=stale)


def _volume_json(world: World, v: LhVolume, now: datetime) -> dict[str, Any]:
    judged = volume_verdict(world, v)
    copies, fill, rebuild = domain.healthy_copies(world, v), domain.claim_fills(world).get(v.claim_key), domain.rebuild_of(world, v)
    reasons = {}
    if judged.grade is Grade.UNKNOWN:
        reasons["status"] = judged.why
    if copies is None:
        reasons["healthy_replicas"] = unsure(world, "lh_replicas")
    if fill is None:
        reasons["used_b"] = unsure(world, "node_stats") or "no kubelet tells how full it is"
    return {
        "name": v.name,
        "claim": v.claim_key or None,
        "status": None if judged.grade is Grade.UNKNOWN else judged.word,
        "state": v.state or None,
        "robustness": v.robustness or None,
        "replicas": v.replicas,
        "healthy_replicas": copies,
        "rebuild_percent": rebuild.percent if rebuild and rebuild.replicas else None,
        "size_b": v.size_b,
        "actual_size_b": v.actual_b,
        "used_b": fill.used_b if fill else None,
        "node": v.node or None,
        "workloads": [w.name or w.pod for w in v.workloads] if not v.workloads_gone else [],
        "last_backup": words.iso(v.last_backup_at) if v.last_backup_at else None,
        **aside(world, now, ("lh_volumes", "lh_replicas"), reasons),
    }


def _volumes(world: World) -> Mapping[str, LhVolume]:
    return world.lh_volumes.items


_HEALTH = {"faulted": 0, "degraded": 1, "unknown": 2, "": 2, "healthy": 3}

VOLUMES: Listing[LhVolume] = Listing(
    noun="storage",
    title="Longhorn volumes",
    sources=("lh_volumes", "lh_replicas", "lh_engines", "node_stats"),
    columns=_VOLUME_COLUMNS,
    items=_volumes,
    row=_volume_row,
    sorts={
        "claim": lambda world, v: domain.title(v),
        "state": lambda world, v: (_HEALTH.get(v.robustness, 2), domain.title(v)),
        "copies": lambda world, v: (_HEALTH.get(v.robustness, 2), v.replicas, domain.title(v)),
        "size": lambda world, v: -v.size_b,
        "fill": lambda world, v: -(domain.claim_fraction(world, v.claim_key) or 0.0),
        "node": lambda world, v: (v.node, domain.title(v)),
        "actual": lambda world, v: -v.actual_b,
        "backup": lambda world, v: v.last_backup_at.timestamp() if v.last_backup_at else 0.0,
    },
    default_sort="claim",
    text=lambda v: f"{v.claim_key} {v.name} {v.state} {v.robustness} {v.node}",
    trouble=lambda world, v, now: bool(storage_troubles.volume_troubles(world, v)),
    labels=lambda v: v.labels,
    json=_volume_json,
)


def node_verdict(world: World, n: LhNode) -> Verdict:
    if doubt := unsure(world, "lh_nodes"):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    if n.ready != "True":
        found = n.condition("Ready")
        return Verdict(Grade.BAD, "not ready", f"{found.reason} {found.message}".strip() if found else "no Ready condition")
    if n.evicting or n.auto_evicting:
        return Verdict(Grade.PART, "evicting")
    placing = n.condition("Schedulable")
    if not n.allow_scheduling or (placing is not None and placing.status == "False"):
        return Verdict(Grade.PART, "no new copies", placing.message if placing and placing.status == "False" else "scheduling is off")
    if any(not d.known for d in n.disks) or not n.disks:
        return Verdict(Grade.UNKNOWN, "disk unknown", "a disk tells nothing" if n.disks else "no disk is known")
    for d in n.disks:
        if d.schedulable is False:
            found = d.condition("Schedulable")
            return Verdict(
                Grade.PART, "disk full" if found and "Pressure" in found.reason else "disk closed", found.message if found else ""
            )
    return Verdict(Grade.GOOD, "ready")


_NODE_COLUMNS: tuple[Column, ...] = (
    Column("name", "NODE", 14, grow=3, sort_key="E"),
    Column("state", "STATE", 14, sort_key="S"),
    Column("full", "FULL", 4, right=True, sort_key="F"),
    Column("free", "FREE", 8, right=True, sort_key="R"),
    Column("total", "TOTAL", 8, right=True, sort_key="M"),
    Column("promised", "PROMISED", 8, right=True, sort_key="P"),
    Column("copies", "COPIES", 6, right=True, sort_key="C"),
    Column("disks", "DISKS", 5, right=True, priority=1),
    Column("reserved", "RESERVED", 8, right=True, priority=2),
    Column("zone", "ZONE", 8, priority=3),
)


def _sums(n: LhNode) -> tuple[int, int, int, int]:
    """(total, used, promised, reserved) over the disks that are known."""
    known = [d for d in n.disks if d.known]
    return (
        sum(d.maximum_b for d in known),
        sum(d.used_b for d in known),
        sum(d.scheduled_b for d in known),
        sum(d.reserved_b for d in known),
    )


def _full(n: LhNode) -> float | None:
    total, used, _, _ = _sums(n)
    return used / total if total else None


def _node_row(world: World, n: LhNode, now: datetime) -> Row:
    total, used, promised, reserved = _sums(n)
    prefix = "≥ " if total and any(not d.known for d in n.disks) else ""
    stale = old(world, "lh_nodes")
    cells = (
        Cell(n.name, Tone.STRONG),
        verdict_cell(node_verdict(world, n)),
        _share(_full(n), domain.DISK_WARNING, domain.DISK_CRITICAL, stale=stale),
        Cell(prefix + words.size(total - used) if total else UNKNOWN),
        Cell(prefix + words.size(total) if total else UNKNOWN),
        Cell(words.size(promised) if total else UNKNOWN),
        Cell(str(sum(d.replicas for d in n.disks))),
        Cell(str(len(n.disks))),
        Cell(words.size(reserved) if total else UNKNOWN, Tone.MUTED),
        Cell(n.zone or UNKNOWN, Tone.MUTED),
    )
    return Row(n.key, cells, dim=stale)


def _node_json(world: World, n: LhNode, now: datetime) -> dict[str, Any]:
    judged = node_verdict(world, n)
    return {
        "name": n.name,
        "status": None if judged.grade is Grade.UNKNOWN else judged.word,
        "why": judged.why,
        "ready": n.ready,
        "scheduling": n.allow_scheduling,
        "evicting": n.evicting or n.auto_evicting,
        "disks": [
            {
                "name": d.name,
                "path": d.path,
                "total_b": d.maximum_b if d.known else None,
                "used_b": d.used_b if d.known else None,
                "available_b": d.available_b if d.known else None,
                "scheduled_b": d.scheduled_b,
                "reserved_b": d.reserved_b,
                "replicas": d.replicas,
                "schedulable": d.schedulable,
            }
            for d in n.disks
        ],
        **aside(world, now, ("lh_nodes",), {"status": judged.why} if judged.grade is Grade.UNKNOWN else {}),
    }


def _nodes(world: World) -> Mapping[str, LhNode]:
    return world.lh_nodes.items


NODES: Listing[LhNode] = Listing(
    noun="storage-nodes",
    title="Longhorn nodes",
    sources=("lh_nodes",),
    columns=_NODE_COLUMNS,
    items=_nodes,
    row=_node_row,
    sorts={
        "name": lambda world, n: n.name,
        "state": lambda world, n: (n.ready == "True", n.allow_scheduling, n.name),
        "full": lambda world, n: -(_full(n) or 0.0),
        "free": lambda world, n: _sums(n)[0] - _sums(n)[1],
        "total": lambda world, n: -_sums(n)[0],
        "promised": lambda world, n: -_sums(n)[2],
        "copies": lambda world, n: -sum(d.replicas for d in n.disks),
    },
    default_sort="name",
    text=lambda n: f"{n.name} {n.zone} {' '.join(d.path for d in n.disks)}",
    trouble=lambda world, n, now: bool(storage_troubles.node_troubles(n)),
    json=_node_json,
)


_CLAIM_COLUMNS: tuple[Column, ...] = (
    Column("namespace", "NAMESPACE", 10, grow=1, sort_key="U"),
    Column("name", "CLAIM", 24, grow=4, sort_key="E"),
    Column("state", "STATE", 10, sort_key="S"),
    Column("size", "SIZE", 8, right=True, sort_key="M"),
    Column("fill", "FULL", 4, right=True, sort_key="F"),
    Column("age", "AGE", 5, right=True, sort_key="T"),
    Column("class", "CLASS", 12, grow=1, priority=1, sort_key="C"),
    Column("access", "ACCESS", 14, priority=3),
    Column("volume", "VOLUME", 40, priority=4),
)


def claim_verdict(world: World, c: Claim) -> Verdict:
    if doubt := unsure(world, "claims"):
        return Verdict(Grade.UNKNOWN, c.phase or "unknown", doubt)
    if c.deleted is not None:
        return Verdict(Grade.PART, "deleting")
    grade = {"Bound": Grade.GOOD, "Pending": Grade.PART, "Lost": Grade.BAD}.get(c.phase, Grade.UNKNOWN)
    return Verdict(grade, c.phase or "unknown")


def _claim_row(world: World, c: Claim, now: datetime) -> Row:
    size = c.capacity_b if c.capacity_b is not None else c.requested_b
    cells = (
        Cell(c.namespace, Tone.MUTED),
        Cell(c.name, Tone.STRONG),
        verdict_cell(claim_verdict(world, c)),
        Cell(words.size(size)),
        _share(domain.claim_fraction(world, c.key), domain.CLAIM_WARNING, domain.CLAIM_CRITICAL, stale=old(world, "node_stats")),
        Cell(words.age(now - c.created) if c.created else UNKNOWN),
        Cell(c.storage_class or UNKNOWN),
        Cell(",".join(c.access), Tone.MUTED),
        Cell(c.volume or UNKNOWN, Tone.MUTED),
    )
    return Row(c.key, cells, dim=old(world, "claims"))


def _claim_json(world: World, c: Claim, now: datetime) -> dict[str, Any]:
    fill = domain.claim_fills(world).get(c.key)
    return {
        "namespace": c.namespace,
        "name": c.name,
        "phase": c.phase,
        "requested_b": c.requested_b,
        "capacity_b": c.capacity_b,
        "used_b": fill.used_b if fill else None,
        "storage_class": c.storage_class or None,
        "volume": c.volume or None,
        "access": list(c.access),
        **aside(world, now, ("claims",), {} if fill else {"used_b": unsure(world, "node_stats") or "no kubelet tells how full it is"}),
    }


def _claims(world: World) -> Mapping[str, Claim]:
    return world.claims.items


CLAIMS: Listing[Claim] = Listing(
    noun="claims",
    title="Volume claims",
    sources=("claims", "node_stats"),
    columns=_CLAIM_COLUMNS,
    items=_claims,
    row=_claim_row,
    sorts={
        "namespace": lambda world, c: (c.namespace, c.name),
        "name": lambda world, c: (c.name, c.namespace),
        "state": lambda world, c: (c.phase == "Bound", c.name),
        "size": lambda world, c: -(c.capacity_b or c.requested_b),
        "fill": lambda world, c: -(domain.claim_fraction(world, c.key) or 0.0),
        "age": lambda world, c: -(c.created.timestamp() if c.created else 0.0),
        "class": lambda world, c: (c.storage_class, c.name),
    },
    default_sort="namespace",
    text=lambda c: f"{c.namespace} {c.name} {c.phase} {c.storage_class} {c.volume}",
    trouble=lambda world, c, now: c.ref in troubled(world, now, storage_troubles.problems),
    labels=lambda c: c.labels,
    json=_claim_json,
    namespaced=True,
)


def capacity_line(world: World, now: datetime, cells: int) -> Line:
    """`150 GiB of 500 GiB ███████░░░░░ 30%`; a sum that misses a disk says `≥`, an old one how old."""
    read = domain.capacity(world)
    if not isinstance(read, Known):
        return (Cell(f"? {read.reason}", Tone.STALE),)
    c: Capacity = read.value
    fraction = c.fraction or 0.0
    bound = "≥ " if c.unknown_disks else ""
    tone = (
        Tone.STALE
        if not c.whole
        else Tone.BAD
        if fraction >= domain.DISK_CRITICAL
        else Tone.WARN
        if fraction >= domain.DISK_WARNING
        else Tone.PLAIN
    )
    text = f"{bound}{words.size(c.used_b)} of {bound}{words.size(c.total_b)} "
    filled, empty = words.bar(fraction, max(6, min(20, cells - len(text) - 6)))
    line = [
        Cell(text, tone),
        Cell(filled, tone if tone is not Tone.PLAIN else Tone.ACCENT),
        Cell(empty, Tone.MUTED),
        Cell(f" {words.percent(fraction)}", tone),
    ]
    if mark := staleness(world, now, "lh_nodes"):
        line.append(mark)
    elif c.unknown_disks:
        line.append(Cell(f"  {c.unknown_disks} disks unknown", Tone.STALE))
    return tuple(line)


def volumes_line(world: World, now: datetime) -> Line:
    """`12 volumes ● 11 healthy · ◐ 1 rebuild 40%`, the worst named first."""
    volumes = world.lh_volumes.items
    if not volumes:
        return (nothing(world, "lh_volumes", "volumes", now),)
    total = count(world, len(volumes), "lh_volumes")
    line = [total, Cell(" volume  " if total.text == "1" else " volumes  ", Tone.MUTED)]
    if not world.whole("lh_volumes"):
        return (*line, Cell(f"health {words.freshness(world.sources['lh_volumes'], now)}", Tone.STALE))
    judged = [volume_verdict(world, v) for v in volumes.values()]
    parts = []
    for grade, word in ((Grade.BAD, "faulted"), (Grade.PART, ""), (Grade.UNKNOWN, ""), (Grade.GOOD, "healthy"), (Grade.OFF, "detached")):
        some = [j for j in judged if j.grade is grade]
        if some:
            shared = {j.word for j in some}
            said = word or (next(iter(shared)) if len(shared) == 1 else "not healthy" if grade is Grade.PART else "unknown")
            parts.append(badge(grade, f"{len(some)} {said}"))
    for i, part in enumerate(parts):
        line += [Cell(" · ", Tone.MUTED), part] if i else [part]
    return tuple(line)


def storage_card(world: World, now: datetime, cells: int) -> tuple[Line, ...]:
    """Capacity, health of volumes, the tightest disk, what is promised."""
    if not world.lh_nodes.items and not world.lh_volumes.items:
        line: Line = (nothing(world, "lh_nodes", "Longhorn nodes", now),)
        claims = (
            (
                count(world, len(world.claims), "claims"),
                Cell(" claim of other storage" if len(world.claims) == 1 else " claims of other storage", Tone.MUTED),
            )
            if len(world.claims)
            else ()
        )
        return (cut_line(line, cells), *((cut_line(claims, cells),) if claims else ()))
    lines: list[Line] = [capacity_line(world, now, cells), volumes_line(world, now)]
    tight = domain.tightest(world)
    read = domain.capacity(world)
    if tight is not None:
        share = _share(tight.fraction, domain.DISK_WARNING, domain.DISK_CRITICAL, stale=old(world, "lh_nodes"))
        lines.append((label("Tightest", 10), Cell(f"{tight.node} "), share))
    if isinstance(read, Known):
        c = read.value
        limit = f" of {words.size(c.limit_b)}" if c.limit_b is not None else ""
        tone = Tone.STALE if not c.whole else Tone.WARN if c.limit_b and c.scheduled_b > domain.SCHEDULED_NOTICE * c.limit_b else Tone.PLAIN
        lines.append((label("Promised", 10), Cell(f"{words.size(c.scheduled_b)}{limit}", tone), Cell("  to all copies", Tone.MUTED)))
        if c.doubled:
            lines.append((Cell(f"disks of {', '.join(c.doubled)} may be one, counted twice", Tone.WARN),))
    return tuple(cut_line(line, cells) for line in lines)


def describe_volume(world: World, v: LhVolume, now: datetime) -> tuple[Line, ...]:
    """The detail pane of a Longhorn volume: health, copies and where they are."""
    judged = volume_verdict(world, v)
    engine = domain.engine_of(world, v)
    lines: list[Line] = [
        (label("State"), verdict_cell(judged), Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED)),
        pair("Volume", v.name),
        pair("Claim", v.claim_key or (f"none (was {v.claim_namespace}/{v.claim})" if v.claim else "none")),
        pair("Used by", domain.users(v) or "nothing"),
        pair("Attached to", v.node or "nowhere"),
        pair("Size", f"{words.size(v.size_b)}, {words.size(v.actual_b)} on each copy with snapshots"),
        pair("Copies", f"{copies_text(world, v)} good"),
        pair("Snapshots", str(engine.snapshots) if engine else UNKNOWN),
        pair("Last backup", f"{words.stamp(v.last_backup_at)}, {words.age(now - v.last_backup_at)} ago" if v.last_backup_at else "never"),
        pair("Kind", f"{v.access or UNKNOWN}, engine {v.engine}, locality {v.locality or UNKNOWN}{', encrypted' if v.encrypted else ''}"),
    ]
    body = []
    for r in domain.replicas_of(world, v):
        mode = engine.modes.get(r.name, "") if engine else ""
        state = "failed" if r.failed_at else "rebuilding" if mode == "WO" else "good" if r.good else "never used"
        grade = {"failed": Grade.BAD, "rebuilding": Grade.PART, "good": Grade.GOOD}.get(state, Grade.OFF)
        if unsure(world, "lh_replicas", "lh_engines"):
            grade = Grade.UNKNOWN
        body.append((badge(grade, state), Cell(r.node or UNKNOWN), Cell(r.state or UNKNOWN), Cell(r.disk_path or UNKNOWN, Tone.MUTED)))
    if body:
        lines += [(), *table(("COPY", "NODE", "PROCESS", "DISK"), body)]
    if rebuild := domain.rebuild_of(world, v):
        lines.append(pair("Rebuild", f"{rebuild.percent} %" if rebuild.replicas else f"failed: {rebuild.error}", Tone.WARN))
    for p in storage_troubles.volume_troubles(world, v):
        lines.append((label("Problem"), Cell(p.sentence, Tone.WARN), Cell(f"  {p.cause}" if p.cause else "", Tone.MUTED)))
    return tuple(lines)


def describe_node(world: World, n: LhNode, now: datetime) -> tuple[Line, ...]:
    """The detail pane of a Longhorn node: its disks."""
    judged = node_verdict(world, n)
    lines: list[Line] = [
        (label("State"), verdict_cell(judged), Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED)),
        pair("Scheduling", "on" if n.allow_scheduling else "off"),
        pair("Tags", ", ".join(n.tags) or "none"),
        (),
    ]
    body = [
        (
            Cell(d.path or d.name),
            _share(d.fraction, domain.DISK_WARNING, domain.DISK_CRITICAL, stale=old(world, "lh_nodes")),
            Cell(words.size(d.available_b) if d.known else UNKNOWN),
            Cell(words.size(d.maximum_b) if d.known else UNKNOWN),
            Cell(words.size(d.scheduled_b)),
            Cell(str(d.replicas)),
        )
        for d in n.disks
    ]
    lines += table(("DISK", "FULL", "FREE", "TOTAL", "PROMISED", "COPIES"), body, right=frozenset({1, 2, 3, 4, 5}))
    for p in storage_troubles.node_troubles(n):
        lines.append((label("Problem"), Cell(p.sentence, Tone.WARN), Cell(f"  {p.cause}" if p.cause else "", Tone.MUTED)))
    return tuple(lines)


def _here(world: World, name: str) -> tuple[LhNode | None, list[tuple[LhReplica, LhVolume | None]], list[LhVolume]]:
    """(the Longhorn node, copies on it with their volumes, volumes that are attached there) of a cluster node."""
    found = next((n for n in world.lh_nodes.items.values() if n.name == name), None)
    volumes = {v.name: v for v in world.lh_volumes.items.values()}
    copies = [(r, volumes.get(r.volume)) for r in world.lh_replicas.items.values() if r.node == name]
    attached = sorted((v for v in volumes.values() if v.node == name), key=domain.title)
    return found, copies, attached


def node_line(world: World, name: str, now: datetime) -> Line:
    """The storage of one cluster node in a line: `● ready  62% full · 8 copies · 3 attached`."""
    node, copies, attached = _here(world, name)
    if node is None:
        return (label("Storage"), nothing(world, "lh_nodes", "Longhorn", now))
    full = _full(node)
    bad = sum(not r.good for r, _ in copies)
    line = [
        label("Storage"),
        verdict_cell(node_verdict(world, node)),
        Cell("  "),
        _share(full, domain.DISK_WARNING, domain.DISK_CRITICAL, stale=old(world, "lh_nodes")),
        Cell(" full · "),
        count(world, len(copies), "lh_replicas"),
        Cell(" copies"),
    ]
    if bad:
        line.append(Cell(f", {bad} not good", Tone.WARN))
    return (*line, Cell(" · "), count(world, len(attached), "lh_volumes"), Cell(" attached"))


def on_node(world: World, name: str, now: datetime) -> tuple[Line, ...]:
    """The storage of one cluster node: its Longhorn disks, the volumes attached there, and the copies that lie there."""
    node, copies, attached = _here(world, name)
    if node is None:
        return ((nothing(world, "lh_nodes", "Longhorn nodes", now),),)
    lines: list[Line] = list(describe_node(world, node, now))
    shown = [(verdict_cell(volume_verdict(world, v)), Cell(domain.title(v), Tone.STRONG), Cell(words.size(v.size_b))) for v in attached]
    lines.append(())
    if shown:
        lines += table(("ATTACHED", "CLAIM", "SIZE"), shown, right=frozenset({2}))
    else:
        lines.append((nothing(world, "lh_volumes", "volumes attached here", now),))
    body = []
    for r, v in sorted(copies, key=lambda pair: (pair[0].good, domain.title(pair[1]) if pair[1] else pair[0].volume)):
        grade, word = (Grade.GOOD, "good") if r.good else (Grade.BAD, "failed") if r.failed_at else (Grade.OFF, "never used")
        if unsure(world, "lh_replicas"):
            grade = Grade.UNKNOWN
        others = domain.healthy_copies(world, v) if v is not None else None
        of = f"{UNKNOWN if others is None else others} of {v.replicas if v is not None else UNKNOWN} good"
        body.append((badge(grade, word), Cell(domain.title(v) if v is not None else r.volume), Cell(of, Tone.MUTED)))
    lines.append(())
    if body:
        lines += table(("COPY", "OF", "IN ALL"), body)
    else:
        lines.append((nothing(world, "lh_replicas", "copies here", now),))
    return tuple(lines)


def status_json_storage(world: World, now: datetime) -> dict[str, Any]:
    """The site document's `storage`, in Gi of all Longhorn disks; null is unknown and `_reasons` says why. Exact bytes stand beside."""
    read = domain.capacity(world)
    keys = ("total_capacity", "used", "available")
    if not isinstance(read, Known):
        return {**dict.fromkeys(keys), **aside(world, now, SOURCES, dict.fromkeys(keys, read.reason))}
    c = read.value
    return {
        "total_capacity": words.quantity_gi(c.total_b),
        "used": words.quantity_gi(c.used_b),
        "available": words.quantity_gi(c.available_b),
        **aside(world, now, SOURCES, {}),
        "_whole": c.whole,
        "_why": c.why or None,
        "_total_b": c.total_b,
        "_used_b": c.used_b,
        "_available_b": c.available_b,
        "_scheduled_b": c.scheduled_b,
        "_reserved_b": c.reserved_b,
        "_limit_b": c.limit_b,
        "_volumes": len(world.lh_volumes) if world.sources["lh_volumes"].as_of is not None else None,
        "_degraded": sum(v.robustness in ("degraded", "faulted") for v in world.lh_volumes.items.values()),
    }
