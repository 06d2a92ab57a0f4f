"""The site at a glance: the site document's status, the cards of the home screen, the parts of the title line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from coldtui.domain.values import dataclass

from ..domain import deployments as domain_deployments
from ..domain import nodes as domain_nodes
from ..domain.nodes import Node
from ..domain.problems import problems
from ..domain.readings import Freshness, SourceState
from ..domain.sources import KUBE
from ..domain.world import World
from . import deployments as deployment_rows
from . import events as event_rows
from . import nodes as node_rows
from . import pods as pod_rows
from . import words
from .backups import recoverable_card, status_json_backups
from .lines import UNKNOWN, Line, count, cut_line, label, old, width
from .postgres import postgres_card, status_json_database
from .problems import json_of as problem_json
from .problems import severity_cell
from .rows import Cell, Tone
from .runs import recent_lines, title_cell
from .storage import status_json_storage, storage_card
from .verdicts import aside
from .vips import vip_line

# ---------------------------------------------------------------- the site document's status


def cluster_json(world: World, now: datetime) -> dict[str, Any]:
    """The site document's `cluster`; null for what was never read."""
    known = world.sources["nodes"].as_of is not None
    ready, total = node_rows.ready_count(world)
    masters = sorted(n.name for n in world.nodes.items.values() if n.control_plane)
    version = world.site.version or _kubelet_of(world, masters)
    reasons = {}
    if not known:
        reasons = dict.fromkeys(("total_nodes", "ready_nodes"), words.freshness(world.sources["nodes"], now))
    if not masters:
        reasons["master_node"] = reasons.get("total_nodes", "no node has a control plane role")
    if not version:
        reasons["k3s_version"] = "the API did not tell its version"
    return {
        "total_nodes": total if known else None,
        "ready_nodes": ready if known else None,
        "master_node": masters[0] if masters else None,
        "k3s_version": version or None,
        **aside(world, now, ("nodes",), reasons),
    }


def _kubelet_of(world: World, masters: list[str]) -> str:
    return world.nodes.items[masters[0]].kubelet_version if masters else ""


_PARTS: tuple[tuple[str, Callable[[World, datetime], Mapping[str, Any]]], ...] = (
    ("database", status_json_database),
    ("storage", status_json_storage),
    ("backups", status_json_backups),
)


def status_json(world: World, now: datetime) -> dict[str, Any]:
    """The site document's status: `cluster`, `database`, `storage`, `backups`; source and age beside, with a leading underscore."""
    parts: dict[str, Any] = {"cluster": {**cluster_json(world, now), "_source": "kubernetes"}}
    for name, make in _PARTS:
        parts[name] = {**make(world, now), "_source": "kubernetes"}
    line = world.sources[KUBE]
    return {
        **parts,
        "_site": world.site.name,
        "_at": words.iso(now),
        "_api": {"server": world.site.server, "freshness": line.freshness.value, "trouble": line.trouble.words if line.trouble else None},
        "_problems": [problem_json(world, p, now) for p in problems(world, now)],
    }


# ---------------------------------------------------------------- the cards


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the whole cluster and its worst node."""

    fraction: float | None
    """Sum of use over sum of allocatable, over the nodes that have a sample."""
    counted: int
    """Nodes that have a sample."""
    worst: Node | None
    worst_fraction: float


def _share(world: World, use: Callable[[Node], tuple[float, float] | None]) -> Share:
    used = total = worst_fraction = 0.0
    counted, worst = 0, None
    for node in world.nodes.items.values():
        pair = use(node)
        if pair is None or pair[1] <= 0:
            continue
        counted += 1
        used, total = used + pair[0], total + pair[1]
        if worst is None or pair[0] / pair[1] > worst_fraction:
            worst, worst_fraction = node, pair[0] / pair[1]
    return Share(used / total if total else None, counted, worst, worst_fraction)


def cpu_share(world: World) -> Share:
    def use(node: Node) -> tuple[float, float] | None:
        usage = world.node_usage.items.get(node.name)
        return None if usage is None else (usage.cpu_m, node.allocatable.cpu_m)

    return _share(world, use)


def memory_share(world: World) -> Share:
    def use(node: Node) -> tuple[float, float] | None:
        usage = world.node_usage.items.get(node.name)
        return None if usage is None else (usage.memory_b, node.allocatable.memory_b)

    return _share(world, use)


def disk_share(world: World) -> Share:
    def use(node: Node) -> tuple[float, float] | None:
        fraction = domain_nodes.disk_fraction(world, node)
        stats = world.node_stats.get(node.name)
        if fraction is None or stats is None:
            return None
        size = float(node.capacity.disk_b or 1)
        return fraction * size, size

    return _share(world, use)


_SHARES: tuple[tuple[str, str, str, Callable[[World], Share], float, float], ...] = (
    ("cpu", "CPU", "node_usage", cpu_share, 0.85, 0.95),
    ("memory", "Memory", "node_usage", memory_share, domain_nodes.MEMORY_WARNING, domain_nodes.MEMORY_CRITICAL),
    ("disk", "Disk", "node_stats", disk_share, domain_nodes.DISK_WARNING, domain_nodes.DISK_CRITICAL),
)
_LABEL = 9


def nodes_line(world: World) -> Line:
    """`● 5 ready`, `▲ 4 of 5 ready · 1 cordoned`."""
    ready, total = node_rows.ready_count(world)
    state = world.sources["nodes"]
    if state.as_of is None and not total:
        return (label("Nodes", _LABEL), Cell(f"? {state.freshness.value}", Tone.MUTED))
    cordoned = sum(1 for n in world.nodes.items.values() if n.unschedulable)
    stale = old(world, "nodes")
    if stale:
        first = Cell(f"{words.GLYPHS['off']} {ready} of {total} ready, as last read", Tone.STALE)
    elif ready < total:
        first = Cell(f"{words.GLYPHS['bad']} {ready} of {total} ready", Tone.BAD)
    else:
        prefix = "" if world.whole("nodes") else "≥ "
        first = Cell(f"{words.GLYPHS['good']} {prefix}{ready} ready", Tone.GOOD if world.whole("nodes") else Tone.STALE)
    more = (Cell(f" · {cordoned} cordoned", Tone.STALE if stale else Tone.WARN),) if cordoned else ()
    return (label("Nodes", _LABEL), first, *more)


def _share_line(world: World, now: datetime, spec: tuple[str, str, str, Callable[[World], Share], float, float], columns: int) -> Line:
    trend, title, kind, of, warn, critical = spec
    share = of(world)
    spark = words.spark(world.trends.get(trend, ()), columns, 1.0) if columns else ""
    if share.fraction is None:
        state = world.sources[kind]
        # One word: the worst line and the problems tell the whole story.
        why = "no sample yet" if state.freshness is Freshness.LIVE else state.freshness.value
        return (label(title, _LABEL), Cell(spark, Tone.STALE), Cell(f" {UNKNOWN} {why}", Tone.MUTED))
    stale = old(world, kind)
    line = [
        label(title, _LABEL),
        Cell(spark, Tone.STALE if stale else Tone.ACCENT),
        Cell(f" {words.percent(share.fraction):>4}", Tone.STALE if stale else Tone.STRONG),
    ]
    if share.counted < len(world.nodes):
        line.append(Cell(f" of {share.counted}/{len(world.nodes)} nodes", Tone.STALE))
    if share.worst is not None and len(world.nodes) > 1:
        tone = (
            Tone.STALE
            if stale
            else Tone.BAD
            if share.worst_fraction >= critical
            else Tone.WARN
            if share.worst_fraction >= warn
            else Tone.PLAIN
        )
        mark = f" {words.GLYPHS['bad']}" if share.worst_fraction >= warn and not stale else ""
        line.append(Cell("  worst " if columns else " · ", Tone.MUTED))  # where there is no room for the trend, the name comes first
        line.append(Cell(f"{share.worst.name} {words.percent(share.worst_fraction)}{mark}", tone))
    return tuple(line)


def network_line(world: World, columns: int) -> Line:
    """Bytes a second in and out over all nodes, from the kubelets' counters."""
    incoming, outgoing = _last(world.trends.get("net_rx", ())), _last(world.trends.get("net_tx", ()))
    stale = old(world, "node_stats")
    if incoming is None or outgoing is None:
        return (label("Network", _LABEL), Cell(" " * columns), Cell(f" {UNKNOWN} needs two samples", Tone.MUTED))
    spark = words.spark(world.trends.get("net_rx", ()), columns) if columns else ""
    text = f" {words.size(incoming)}/s in · {words.size(outgoing)}/s out"
    return (label("Network", _LABEL), Cell(spark, Tone.STALE if stale else Tone.ACCENT), Cell(text, Tone.STALE if stale else Tone.PLAIN))


def _last(samples: Iterable[float]) -> float | None:
    known = [v for v in samples if v == v]
    return known[-1] if known else None


def cluster_card(world: World, now: datetime, cells: int) -> tuple[Line, ...]:
    """Nodes, pods, CPU, memory, disk with their trend and worst node, network, VIP."""
    columns = 0 if cells < 44 else 12 if cells < 58 else 20
    lines = [
        nodes_line(world),
        (label("Pods", _LABEL), *pod_rows.counts(world)),
        *(_share_line(world, now, spec, columns) for spec in _SHARES),
        network_line(world, columns),
        vip_line(world, now, cells),
    ]
    return tuple(cut_line(line, cells) for line in lines)


def deployments_card(world: World, now: datetime, cells: int, rows: int) -> tuple[Line, ...]:
    """At most `rows` deployments, those with trouble or in motion first, and how many more there are."""
    items = list(world.deployments.items.values())
    if not items:
        state = world.sources["deployments"]
        text = "no deployments" if state.freshness is Freshness.LIVE else words.freshness(state, now)
        return ((Cell(text, Tone.MUTED),),)
    items.sort(key=lambda d: (domain_deployments.trouble(world, d, now) is None, d.rollout == "complete", _shipped(d.namespace), d.key))
    wide = min(max((width(d.name) for d in items), default=0), max(14, cells - 20))
    shown = items[:rows] if len(items) <= rows else items[: max(0, rows - 1)]
    lines = [cut_line(deployment_rows.card_line(world, d, now, wide), cells) for d in shown]
    if len(items) > len(shown):
        quiet = sum(1 for d in items[len(shown) :] if d.rollout == "complete")
        lines.append(
            (Cell("  ", Tone.MUTED), count(world, len(items) - len(shown), "deployments"), Cell(f" more, {quiet} complete", Tone.MUTED))
        )
    return tuple(lines)


def _shipped(namespace: str) -> bool:
    """Whether a namespace holds what the site is made of and not what it is for: listed after the applications."""
    return namespace.startswith("kube-") or namespace.endswith("-system") or namespace == "system-upgrade"


def events_card(world: World, now: datetime, cells: int, rows: int) -> tuple[Line, ...]:
    """Runs under way and those that ended lately, then the newest events, one a line."""
    runs = recent_lines(world, now, cells, max(1, rows // 2))
    if runs:
        rows -= len(runs)
    found = event_rows.newest(world, rows)
    if not found and runs:
        return runs
    if not found:
        state = world.sources["events"]
        text = "no events in the last hour" if state.freshness is Freshness.LIVE else words.freshness(state, now)
        return ((Cell(text, Tone.MUTED),),)
    return (*runs, *(cut_line(event_rows.line(world, event, now, narrow=cells < 44), cells) for event in found))


# ---------------------------------------------------------------- the title line


@dataclass(frozen=True, slots=True)
class Title:
    """The parts of the title line; the screen lays them out."""

    site: Cell
    version: Cell
    nodes: Cell
    sources: tuple[Cell, ...]
    """One a group of sources: `● kube 2s`, `○ pg stale 42s`."""
    run: Cell | None = None
    """The run that is under way: `◐ Drain k3s-worker-1 2/3`."""


_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kube", (KUBE, "nodes", "pods")),
    ("pg", ("pg_clusters", "pg_backups")),
    ("lh", ("lh_volumes", "lh_nodes")),
    ("lb", ("services", "l2_statuses")),
    ("usage", ("node_usage",)),
)
_RANK = {
    Freshness.FAILED: 5,
    Freshness.STALE: 4,
    Freshness.FORBIDDEN: 3,
    Freshness.LOADING: 2,
    Freshness.NOT_INSTALLED: 1,
    Freshness.LIVE: 0,
}


def source_cell(name: str, states: tuple[SourceState, ...], now: datetime) -> Cell:
    """How a group of sources stands: as its worst member does."""
    worst = max(states, key=lambda s: _RANK[s.freshness])
    match worst.freshness:
        case Freshness.LIVE:
            if worst.partial or any(s.partial for s in states):
                return Cell(f"{words.GLYPHS['part']} {name} loading", Tone.STALE)
            return Cell(f"{words.GLYPHS['good']} {name}", Tone.GOOD)
        case Freshness.STALE:
            since = min((s.as_of for s in states if s.as_of is not None), default=now)
            word = "saved" if worst.saved and worst.trouble is None else "stale"
            return Cell(f"{words.GLYPHS['off']} {name} {word} {words.age(now - since)}", Tone.STALE)
        case Freshness.FORBIDDEN:
            return Cell(f"{words.GLYPHS['off']} {name} not permitted", Tone.WARN)
        case Freshness.NOT_INSTALLED:
            return Cell(f"{words.GLYPHS['none']} {name} not installed", Tone.MUTED)
        case Freshness.LOADING:
            return Cell(f"{words.GLYPHS['none']} {name} loading", Tone.MUTED)
        case Freshness.FAILED:
            return Cell(f"{words.GLYPHS['bad']} {name} failed", Tone.BAD)


def title(world: World, now: datetime) -> Title:
    """Site, version, n/m nodes and the freshness of each group of sources."""
    ready, total = node_rows.ready_count(world)
    known = world.sources["nodes"].as_of is not None or total > 0
    if not known:
        nodes = Cell("?/? nodes", Tone.MUTED)
    else:
        tone = Tone.STALE if not world.whole("nodes") else Tone.BAD if ready < total else Tone.PLAIN
        nodes = Cell(f"{ready}/{total} nodes", tone)
    return Title(
        site=Cell(world.site.name or world.site.context or "site", Tone.ACCENT),
        version=Cell(f"k3s {world.site.version}" if "k3s" in world.site.version else world.site.version or "version ?", Tone.MUTED),
        nodes=nodes,
        sources=tuple(source_cell(name, tuple(world.sources[k] for k in kinds), now) for name, kinds in _GROUPS),
        run=title_cell(world, now),
    )


# ---------------------------------------------------------------- the command line


def report(world: World, now: datetime, cells: int = 100) -> tuple[Line, ...]:
    """The site at a glance as plain lines, for `coldtui status`."""
    head = title(world, now)
    first: list[Cell] = [head.site, Cell("  "), head.version, Cell("  "), head.nodes]
    for cell in head.sources:
        first += [Cell("  "), cell]
    found = problems(world, now)
    lines: list[Line] = [tuple(first), ()]
    if runs := recent_lines(world, now, cells, 5):
        lines += [*runs, ()]
    if found:
        for p in found[:10]:
            since = f" for {words.duration(now - p.since)}" if p.since else ""
            lines.append(
                (severity_cell(p.severity), Cell(f"  {p.sentence}{since}"), Cell(f" · hits {p.hits}" if p.hits else "", Tone.MUTED))
            )
        if len(found) > 10:
            lines.append((Cell(f"  and {len(found) - 10} more: coldtui problems", Tone.MUTED),))
    else:
        lines.append((Cell("no problems known", Tone.MUTED),))
    lines += [(), *cluster_card(world, now, cells)]
    for heading, card in (("PostgreSQL", postgres_card), ("Storage", storage_card), ("Recoverable", recoverable_card)):
        lines += [(), (Cell(heading, Tone.STRONG),), *card(world, now, cells)]
    lines += [(), (Cell("Deployments", Tone.STRONG),), *deployments_card(world, now, cells, 20)]
    return tuple(lines)
