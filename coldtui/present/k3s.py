"""K3s upgrade plans and datastore snapshots as rows, lines and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..domain import k3s as domain
from ..domain.k3s import EtcdSnapshot, UpgradePlan
from ..domain.readings import Known
from ..domain.text import counted
from ..domain.verdicts import Grade, Verdict, unsure
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, old, pair
from .rows import Cell, Column, Listing, Row, Tone
from .verdicts import aside, troubled, verdict_cell


def plan_verdict(world: World, plan: UpgradePlan) -> Verdict:
    if doubt := unsure(world, "upgrade_plans", "nodes"):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    for type_, word in (("Validated", "invalid"), ("LatestResolved", "no version")):
        found = plan.condition(type_)
        if found is not None and found.status == "False":
            return Verdict(Grade.BAD, word, found.message or found.reason)
    if failing := domain.failing_nodes(world, plan):
        node, why = min(failing.items())
        return Verdict(Grade.BAD, "failing", f"{node}: {why}")
    if plan.applying:
        return Verdict(Grade.PART, "applying", ", ".join(plan.applying))
    nodes = domain.targets(world, plan)
    if not nodes:
        return Verdict(Grade.OFF, "no nodes", "its selector finds none")
    if not plan.wanted:
        return Verdict(Grade.UNKNOWN, "unknown", "the version it goes to is not resolved yet")
    if domain.upgraded(world, plan) == len(nodes):
        return Verdict(Grade.GOOD, "done")
    return Verdict(Grade.PART, "waiting", f"{counted(len(nodes) - domain.upgraded(world, plan), 'node')} to go")


def _done_text(world: World, plan: UpgradePlan) -> str:
    if unsure(world, "nodes"):
        return UNKNOWN
    return f"{domain.upgraded(world, plan)}/{len(domain.targets(world, plan))}"


_PLAN_COLUMNS: tuple[Column, ...] = (
    Column("name", "PLAN", 16, grow=3, sort_key="E"),
    Column("state", "STATE", 12, sort_key="S"),
    Column("version", "VERSION", 16, grow=1, sort_key="V"),
    Column("done", "NODES", 5, right=True),
    Column("applying", "APPLYING", 16, grow=2),
    Column("channel", "CHANNEL", 10, grow=1, priority=2),
    Column("at_once", "AT ONCE", 7, right=True, priority=2),
    Column("age", "AGE", 5, right=True, priority=1),
    Column("namespace", "NAMESPACE", 14, priority=3),
)


def _plan_row(world: World, p: UpgradePlan, now: datetime) -> Row:
    cells = (
        Cell(p.name, Tone.STRONG),
        verdict_cell(plan_verdict(world, p)),
        Cell(p.wanted or UNKNOWN),
        Cell(_done_text(world, p)),
        Cell(", ".join(p.applying) or UNKNOWN),
        Cell(p.channel or UNKNOWN, Tone.MUTED),
        Cell(str(p.concurrency)),
        Cell(words.age(now - p.created) if p.created else UNKNOWN),
        Cell(p.namespace, Tone.MUTED),
    )
    return Row(p.key, cells, dim=old(world, "upgrade_plans"))


def _plan_json(world: World, p: UpgradePlan, now: datetime) -> dict[str, Any]:
    judged = plan_verdict(world, p)
    unknown = judged.grade is Grade.UNKNOWN
    nodes = domain.targets(world, p)
    return {
        "namespace": p.namespace,
        "name": p.name,
        "status": None if unknown else judged.word,
        "why": judged.why,
        "version": p.wanted or None,
        "channel": p.channel or None,
        "applying": list(p.applying),
        "nodes": [n.name for n in nodes],
        "upgraded": domain.upgraded(world, p) if not unsure(world, "nodes") else None,
        "concurrency": p.concurrency,
        **aside(world, now, ("upgrade_plans", "nodes"), {"status": judged.why} if unknown else {}),
    }


def _plans(world: World) -> Mapping[str, UpgradePlan]:
    return world.upgrade_plans.items


PLANS: Listing[UpgradePlan] = Listing(
    noun="plans",
    title="Upgrade plans",
    sources=("upgrade_plans", "nodes"),
    columns=_PLAN_COLUMNS,
    items=_plans,
    row=_plan_row,
    sorts={
        "name": lambda world, p: p.name,
        "state": lambda world, p: (not p.applying, p.name),
        "version": lambda world, p: (p.wanted, p.name),
    },
    default_sort="name",
    text=lambda p: f"{p.namespace} {p.name} {p.wanted} {p.channel} {' '.join(p.applying)}",
    trouble=lambda world, p, now: bool(domain.plan_troubles(world, p)),
    json=_plan_json,
    namespaced=True,
)


def snapshot_verdict(world: World, s: EtcdSnapshot) -> Verdict:
    if doubt := unsure(world, "etcd_snapshots"):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    if s.error:
        return Verdict(Grade.BAD, "failed", s.error)
    return Verdict(Grade.GOOD, "ready") if s.ready else Verdict(Grade.PART, "not ready")


_SNAPSHOT_COLUMNS: tuple[Column, ...] = (
    Column("name", "SNAPSHOT", 32, grow=3, sort_key="E"),
    Column("state", "STATE", 11, sort_key="S"),
    Column("age", "AGE", 5, right=True, sort_key="T"),
    Column("size", "SIZE", 8, right=True, sort_key="M"),
    Column("where", "WHERE", 14, grow=1),
    Column("taken", "TAKEN", 17, priority=1),
    Column("location", "LOCATION", 30, grow=2, priority=3),
)


def _snapshot_row(world: World, s: EtcdSnapshot, now: datetime) -> Row:
    cells = (
        Cell(s.snapshot or s.name, Tone.STRONG),
        verdict_cell(snapshot_verdict(world, s)),
        Cell(words.age(now - s.created) if s.created else UNKNOWN),
        Cell(words.size(s.size_b) if s.size_b is not None else UNKNOWN),
        Cell(f"s3 {s.bucket}".strip() if s.remote else s.node or UNKNOWN),
        Cell(words.stamp(s.created) if s.created else UNKNOWN),
        Cell(s.location or UNKNOWN, Tone.MUTED),
    )
    return Row(s.key, cells, dim=old(world, "etcd_snapshots"))


def _snapshot_json(world: World, s: EtcdSnapshot, now: datetime) -> dict[str, Any]:
    judged = snapshot_verdict(world, s)
    return {
        "name": s.snapshot or s.name,
        "status": None if judged.grade is Grade.UNKNOWN else judged.word,
        "error": s.error or None,
        "node": s.node or None,
        "bucket": s.bucket or None,
        "location": s.location or None,
        "size_b": s.size_b,
        "created": words.iso(s.created) if s.created else None,
        **aside(world, now, ("etcd_snapshots",), {"status": judged.why} if judged.grade is Grade.UNKNOWN else {}),
    }


def _snapshots(world: World) -> Mapping[str, EtcdSnapshot]:
    return world.etcd_snapshots.items


SNAPSHOTS: Listing[EtcdSnapshot] = Listing(
    noun="snapshots",
    title="K3s snapshots",
    sources=("etcd_snapshots",),
    columns=_SNAPSHOT_COLUMNS,
    items=_snapshots,
    row=_snapshot_row,
    sorts={
        "age": lambda world, s: -(s.created.timestamp() if s.created else 0.0),
        "name": lambda world, s: s.snapshot or s.name,
        "state": lambda world, s: (s.good, s.name),
        "size": lambda world, s: -(s.size_b or 0),
    },
    default_sort="age",
    text=lambda s: f"{s.snapshot} {s.name} {s.node} {s.location}",
    trouble=lambda world, s, now: s.ref in troubled(world, now, domain.problems),
    json=_snapshot_json,
)


def datastore_line(world: World, now: datetime) -> Line:
    """The newest copy of the datastore, or why there is none to show."""
    if doubt := unsure(world, "nodes"):
        return (label("K3s data"), Cell(f"? {doubt}", Tone.STALE))
    if not domain.etcd_nodes(world):
        return (label("K3s data"), Cell("not etcd: K3s makes no snapshots of it", Tone.MUTED))
    good = domain.last_snapshot(world)
    if not isinstance(good, Known) or good.value.created is None:
        return (label("K3s data"), Cell(f"? {good.reason}" if not isinstance(good, Known) else UNKNOWN, Tone.STALE))
    s, span = good.value, now - good.value.created
    where = f"s3 {s.bucket}".strip() if s.remote else s.node
    tone = Tone.STALE if unsure(world, "etcd_snapshots") else Tone.WARN if span > domain.SNAPSHOT_AGE else Tone.PLAIN
    return (label("K3s data"), Cell(f"snapshot {words.age(span)} ago on {where}", tone))


def describe_plan(world: World, p: UpgradePlan, now: datetime) -> tuple[Line, ...]:
    judged = plan_verdict(world, p)
    lines: list[Line] = [
        (label("State"), verdict_cell(judged), Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED)),
        pair("Version", p.wanted or UNKNOWN),
        pair("Channel", p.channel or "none"),
        pair("Nodes", f"{_done_text(world, p)} done, {p.concurrency} at once"),
        pair("Applying", ", ".join(p.applying) or "none"),
        pair("Before", "drains" if p.drains else "cordons" if p.cordon else "neither cordons nor drains"),
    ]
    for c in p.conditions:
        lines.append(pair(c.type, f"{c.status} {c.reason} {c.message}".strip()))
    return tuple(lines)
