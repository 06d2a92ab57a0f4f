"""Nodes as rows, as the site document's JSON and as the lines of their detail screen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain import nodes as domain
from ..domain.nodes import Node, NodeLoad, NodeStats
from ..domain.problems import Severity
from ..domain.readings import Known, Unknown
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Ago, Line, count, label, old, pair, state_cell, table, why_missing
from .rows import Cell, Column, Listing, Row, Tone

_NO_LOAD = NodeLoad()


def roles(node: Node) -> str:
    """The ROLES column of kubectl."""
    return ",".join(node.roles) or "<none>"


def status_cell(world: World, node: Node) -> Cell:
    stale = old(world, "nodes")
    if node.ready != "True":
        return state_cell("bad", node.status, Tone.BAD, stale=stale)
    if node.pressures:
        return state_cell("bad", node.status, Tone.BAD, stale=stale)
    if node.unschedulable:
        return state_cell("part", node.status, Tone.WARN, stale=stale)
    return state_cell("good", node.status, Tone.GOOD, stale=stale)


def share_cell(fraction: float | None, warn: float, critical: float, *, stale: bool = False) -> Cell:
    """A share in percent; unknown is `–`, stale is never coloured as health."""
    if fraction is None:
        return Cell(UNKNOWN, Tone.MUTED)
    text = words.percent(fraction)
    if stale:
        return Cell(text, Tone.STALE)
    return Cell(text, Tone.BAD if fraction >= critical else Tone.WARN if fraction >= warn else Tone.PLAIN)


def _disk_stale(world: World, node: Node, now: datetime) -> bool:
    reading = world.node_stats.get(node.name)
    return isinstance(reading, Known) and (now - reading.as_of).total_seconds() > 120


def lease_text(world: World, node: Node, now: datetime, ago: Ago = words.age) -> str:
    span = domain.lease_age(world, node.name, now)
    return UNKNOWN if span is None else ago(span)


def _lease_cell(world: World, node: Node, now: datetime, ago: Ago) -> Cell:
    span = domain.lease_age(world, node.name, now)
    late = span is not None and span > domain.LEASE_STALE
    return Cell(lease_text(world, node, now, ago), Tone.STALE if old(world, "leases") else Tone.WARN if late else Tone.PLAIN)


def pods_cell(world: World, node: Node) -> Cell:
    """Unfinished pods of how many the node takes; `?` while pods were never read."""
    load = world.node_loads.get(node.name, _NO_LOAD)
    read = world.sources["pods"].as_of is not None
    total = (
        Cell(str(load.pods), Tone.STALE) if read and old(world, "pods") else count(world, load.pods, "pods")
    )  # the title says since when
    return replace(total, text=f"{total.text}/{node.allocatable.pods}" if node.allocatable.pods else total.text)


def _request_share(world: World, asked: int, of: int) -> Cell:
    if not of or (world.sources["pods"].as_of is None and not asked):
        return Cell(UNKNOWN, Tone.MUTED)
    share = asked / of
    return Cell(words.percent(share), Tone.STALE if not world.whole("pods") else Tone.WARN if share > 0.9 else Tone.PLAIN)


def taints_text(node: Node) -> str:
    return ",".join(str(t) for t in node.taints) or "<none>"


_COLUMNS: tuple[Column, ...] = (
    Column("name", "NAME", 12, grow=3, sort_key="E"),
    Column("status", "STATUS", 10, grow=2, sort_key="S"),
    Column("roles", "ROLES", 13, grow=1, priority=1, sort_key="R"),
    Column("cpu", "CPU%", 4, right=True, sort_key="C"),
    Column("mem", "MEM%", 4, right=True, sort_key="M"),
    Column("disk", "DISK%", 5, right=True, sort_key="K"),
    Column("pods", "PODS", 6, right=True, sort_key="P"),
    Column("age", "AGE", 5, right=True, priority=1, sort_key="T"),
    Column("version", "VERSION", 13, grow=1, priority=2, sort_key="V"),
    Column("ip", "IP", 15, priority=3),
    Column("cpu_req", "CPU-REQ", 7, right=True, priority=4),
    Column("mem_req", "MEM-REQ", 7, right=True, priority=4),
    Column("lease", "LEASE", 5, right=True, priority=4),
    Column("taints", "TAINTS", 20, grow=2, priority=6),
)


def _row(world: World, node: Node, now: datetime) -> Row:
    return Row(node.key, tuple(_cell(world, node, now, column.id, words.age) for column in _COLUMNS), dim=old(world, "nodes"))


def _cell(world: World, node: Node, now: datetime, column: str, ago: Ago) -> Cell:
    load = world.node_loads.get(node.name, _NO_LOAD)
    match column:
        case "name":
            return Cell(node.name, Tone.STRONG)
        case "status":
            return status_cell(world, node)
        case "plain_status":
            return replace(status_cell(world, node), text=node.status)
        case "roles":
            return Cell(roles(node))
        case "cpu":
            return share_cell(domain.cpu_fraction(world, node), 0.85, 0.95, stale=old(world, "node_usage"))
        case "mem":
            fraction = domain.memory_fraction(world, node)
            return share_cell(fraction, domain.MEMORY_WARNING, domain.MEMORY_CRITICAL, stale=old(world, "node_usage"))
        case "disk":
            fraction = domain.disk_fraction(world, node)
            return share_cell(fraction, domain.DISK_WARNING, domain.DISK_CRITICAL, stale=_disk_stale(world, node, now))
        case "pods":
            return pods_cell(world, node)
        case "age":
            return Cell(ago(now - node.created))
        case "version":
            return Cell(node.kubelet_version)
        case "ip":
            return Cell(node.internal_ip or "<none>")
        case "cpu_req":
            return _request_share(world, load.cpu_request_m, node.allocatable.cpu_m)
        case "mem_req":
            return _request_share(world, load.memory_request_b, node.allocatable.memory_b)
        case "lease":
            return _lease_cell(world, node, now, ago)
        case "taints":
            return Cell(taints_text(node), Tone.MUTED if not node.taints else Tone.PLAIN)
        case "os":
            return Cell(node.os_image)
        case "kernel":
            return Cell(node.kernel_version)
        case "runtime":
            return Cell(node.runtime_version)
    raise AssertionError(column)


def _trouble(world: World, node: Node, now: datetime) -> bool:
    return domain.trouble(world, node, now) is not None


def _down(fraction: float | None) -> float:
    """Sort key: the fullest first, the unknown last."""
    return 1.0 if fraction is None else -fraction


def percent_number(fraction: float | None) -> float | None:
    """45.2, or None for what is not known."""
    return None if fraction is None else round(fraction * 100, 1)


def _disk_reason(world: World, node: Node, now: datetime) -> str:
    reading = world.node_stats.get(node.name)
    if isinstance(reading, Unknown):
        return reason_text(reading)
    if reading is not None:
        return "the kubelet did not say"
    return why_missing(world, "node_stats", now, "no sample yet")


def reason_text(unknown: Unknown) -> str:
    return unknown.reason or "not known"


def json_of(world: World, node: Node, now: datetime) -> dict[str, Any]:
    """The site document's node: percentages of allocatable (disk: of the kubelet's file system) with one decimal, null when unknown.

    Beside it, with a leading underscore: ages in seconds, reasons for each null, addresses, versions, requests.
    """
    load = world.node_loads.get(node.name, _NO_LOAD)
    usage = world.node_usage.items.get(node.name)
    stats = world.node_stats.get(node.name)
    cpu, memory, disk = domain.cpu_fraction(world, node), domain.memory_fraction(world, node), domain.disk_fraction(world, node)
    pods_known = world.sources["pods"].as_of is not None
    reasons: dict[str, str] = {}
    if cpu is None:
        reasons["cpu_usage"] = why_missing(world, "node_usage", now, "no sample yet")
    if memory is None:
        reasons["memory_usage"] = why_missing(world, "node_usage", now, "no sample yet")
    if disk is None:
        reasons["disk_usage"] = _disk_reason(world, node, now)
    if not pods_known:
        reasons["pods"] = why_missing(world, "pods", now, "loading")
    lease = domain.lease_age(world, node.name, now)
    state = world.sources["nodes"]
    return {
        "name": node.name,
        "status": node.status,
        "role": ",".join(node.roles) or "worker",  # without role labels kubectl says <none>; here it is a worker
        "cpu_usage": percent_number(cpu),
        "memory_usage": percent_number(memory),
        "disk_usage": percent_number(disk),
        "pods": load.pods if pods_known else None,
        "_reasons": reasons,
        "_age_s": None if state.as_of is None else max(0, int((now - state.as_of).total_seconds())),
        "_freshness": state.freshness.value,
        "_usage_age_s": None if usage is None else max(0, int((now - usage.at).total_seconds())),
        "_disk_age_s": max(0, int((now - stats.as_of).total_seconds())) if isinstance(stats, Known) else None,
        "_roles": list(node.roles),
        "_created": words.iso(node.created),
        "_version": node.kubelet_version,
        "_ip": node.internal_ip,
        "_os": node.os_image,
        "_kernel": node.kernel_version,
        "_runtime": node.runtime_version,
        "_unschedulable": node.unschedulable,
        "_taints": [str(t) for t in node.taints],
        "_pressures": [c.type for c in node.pressures],
        "_lease_age_s": None if lease is None else int(lease.total_seconds()),
        "_allocatable": {"cpu_m": node.allocatable.cpu_m, "memory_b": node.allocatable.memory_b, "pods": node.allocatable.pods},
        "_requests": {"cpu_m": load.cpu_request_m, "memory_b": load.memory_request_b} if pods_known else None,
    }


def _items(world: World) -> Mapping[str, Node]:
    return world.nodes.items


NODES: Listing[Node] = Listing(
    noun="nodes",
    title="Nodes",
    sources=("nodes", "node_usage", "node_stats", "pods", "leases"),
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "name": lambda world, n: n.name,
        "status": lambda world, n: (n.ready == "True", not n.unschedulable, n.name),
        "roles": lambda world, n: (not n.control_plane, n.name),
        "cpu": lambda world, n: _down(domain.cpu_fraction(world, n)),
        "mem": lambda world, n: _down(domain.memory_fraction(world, n)),
        "disk": lambda world, n: _down(domain.disk_fraction(world, n)),
        "pods": lambda world, n: -world.node_loads.get(n.name, _NO_LOAD).pods,
        "age": lambda world, n: -n.created.timestamp(),
        "version": lambda world, n: (n.kubelet_version, n.name),
    },
    default_sort="name",
    text=lambda n: f"{n.name} {n.status} {roles(n)} {n.kubelet_version} {n.internal_ip}",
    trouble=_trouble,
    labels=lambda n: n.labels,
    json=json_of,
)
"""For the console. Sort keys ascend to what matters first: the fullest, the newest, the worst."""

_PLAIN = tuple(replace(c, priority=0) for c in (*_COLUMNS[:3], _COLUMNS[7], _COLUMNS[8], *_COLUMNS[3:7])) + tuple(
    replace(c, priority=1)
    for c in (
        *_COLUMNS[9:],
        Column("os", "OS-IMAGE", 10),
        Column("kernel", "KERNEL-VERSION", 10),
        Column("runtime", "CONTAINER-RUNTIME", 10),
    )
)


def _plain_row(world: World, node: Node, now: datetime) -> Row:
    ids = ("plain_status" if c.id == "status" else c.id for c in _PLAIN)
    return Row(node.key, tuple(_cell(world, node, now, column, words.duration) for column in ids), dim=old(world, "nodes"))


NODES_PLAIN: Listing[Node] = replace(NODES, columns=_PLAIN, row=_plain_row)
"""For the command line: kubectl's columns and exact ages first, ours after them, priority 1 for `-o wide`."""


# ---------------------------------------------------------------- the node screen


def headline(world: World, node: Node, now: datetime) -> Line:
    """The worst thing about the node, or that nothing is wrong."""
    found = domain.trouble(world, node, now)
    if found is None:
        text = "no trouble known" if not old(world, "nodes") else f"as last read, {words.freshness(world.sources['nodes'], now)}"
        return (status_cell(world, node), Cell("  "), Cell(text, Tone.MUTED))
    tone = Tone.BAD if found.severity is Severity.CRITICAL else Tone.WARN if found.severity is Severity.WARNING else Tone.PLAIN
    parts = [status_cell(world, node), Cell("  "), Cell(found.sentence, tone)]
    if found.cause:
        parts.append(Cell(f" · {found.cause}", Tone.MUTED))
    return tuple(parts)


def facts(world: World, node: Node, now: datetime) -> tuple[Line, ...]:
    """Name, versions, addresses, heartbeat, cordon and taints."""
    lease = lease_text(world, node, now)
    lines: list[Line] = [
        pair("Role", roles(node)),
        pair("Address", f"{node.internal_ip or UNKNOWN}  pods {node.pod_cidr or UNKNOWN}"),
        pair("Kubelet", node.kubelet_version),
        pair("Runtime", node.runtime_version),
        pair("System", f"{node.os_image} · kernel {node.kernel_version} · {node.architecture}"),
        pair("Boot", node.boot_id or UNKNOWN),
        pair("Created", f"{words.stamp(node.created)}  ({words.age(now - node.created)})"),
        (
            label("Lease"),
            _lease_cell(world, node, now, words.age),
            Cell(" ago" if lease != UNKNOWN else f" {_no_lease(world, now)}", Tone.MUTED),
        ),
        pair("Schedulable", "no, cordoned" if node.unschedulable else "yes", Tone.WARN if node.unschedulable else Tone.PLAIN),
    ]
    taints = [str(t) for t in node.taints] or ["none"]
    lines += [pair("Taints" if i == 0 else "", taint) for i, taint in enumerate(taints)]
    return tuple(lines)


def _no_lease(world: World, now: datetime) -> str:
    return why_missing(world, "leases", now, "no lease")


def conditions(world: World, node: Node, now: datetime) -> tuple[Line, ...]:
    """Every condition with since when and why; Ready first. Without colours of health when the nodes are not live."""
    stale = old(world, "nodes")

    def line(type_: str, status: str, reason: str, message: str, since: datetime | None) -> tuple[Cell, ...]:
        good = status == ("True" if type_ == "Ready" else "False")
        known = type_ == "Ready" or type_ in domain.PRESSURES
        if known:
            first = state_cell("good" if good else "bad", type_, Tone.GOOD if good else Tone.BAD, stale=stale)
        else:
            first = Cell(f"{words.GLYPHS['none']} {type_}", Tone.STALE if stale else Tone.PLAIN)
        return (
            first,
            Cell(status),
            Cell(words.age(now - since) if since else UNKNOWN, Tone.MUTED),
            Cell(reason),
            Cell(message, Tone.MUTED),
        )

    ordered = sorted(node.conditions, key=lambda c: (c.type != "Ready", c.type))
    return table(
        ("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"), (line(c.type, c.status, c.reason, c.message, c.since) for c in ordered)
    )


def sizes(world: World, node: Node) -> tuple[Line, ...]:
    """Usage, requests, limits, allocatable and capacity of CPU, memory, disk and pods: what is asked first stands first, since the end may be cut."""
    load = world.node_loads.get(node.name, _NO_LOAD) if world.sources["pods"].as_of is not None else None
    usage = world.node_usage.items.get(node.name)
    reading = world.node_stats.get(node.name)
    stats: NodeStats | None = reading.value if isinstance(reading, Known) else None
    none = Cell(UNKNOWN, Tone.MUTED)

    def of(value: int | None, total: int, text: str) -> Cell:
        if value is None:
            return none
        return Cell(f"{text} {words.percent(value / total)}" if total else text)

    def limit(value: int, total: int, text: str) -> Cell:
        """No limit at all is not a limit of nothing."""
        return of(value, total, text) if value else Cell("none", Tone.MUTED)

    capacity, able = node.capacity, node.allocatable
    cpu_used, mem_used = (usage.cpu_m, usage.memory_b) if usage else (None, None)
    disk_used = stats.disk_used_b if stats else None
    fraction = stats.disk_fraction if stats else None
    body: list[Iterable[Cell]] = [
        (
            label("CPU", 6), of(cpu_used, able.cpu_m, words.cpu(cpu_used)) if cpu_used is not None else none,
            of(load.cpu_request_m, able.cpu_m, words.cpu(load.cpu_request_m)) if load else none,
            limit(load.cpu_limit_m, able.cpu_m, words.cpu(load.cpu_limit_m)) if load else none,
            Cell(words.cpu(able.cpu_m)), Cell(words.cpu(capacity.cpu_m)),
        ),
        (
            label("Memory", 6), of(mem_used, able.memory_b, words.size(mem_used)) if mem_used is not None else none,
            of(load.memory_request_b, able.memory_b, words.size(load.memory_request_b)) if load else none,
            limit(load.memory_limit_b, able.memory_b, words.size(load.memory_limit_b)) if load else none,
            Cell(words.size(able.memory_b)), Cell(words.size(capacity.memory_b)),
        ),
        (
            label("Disk", 6), Cell(f"{words.size(disk_used)} {words.percent(fraction)}") if disk_used is not None else none, none, none,
            Cell(words.size(able.disk_b)),
            Cell(words.size(stats.disk_capacity_b)) if stats and stats.disk_capacity_b is not None else Cell(words.size(capacity.disk_b)),
        ),
        (
            label("Pods", 6), of(load.pods, able.pods, str(load.pods)) if load else none, none, none, Cell(str(able.pods)), Cell(str(capacity.pods)),
        ),
    ]  # fmt: skip
    return table(("", "USED", "REQUESTS", "LIMITS", "ALLOC", "CAPACITY"), (tuple(row) for row in body), right=frozenset({1, 2, 3, 4, 5}))


def usage_note(world: World, node: Node, now: datetime) -> Line | None:
    """Why usage is missing or old, when it is."""
    parts = []
    if world.node_usage.items.get(node.name) is None:
        parts.append(f"CPU and memory: {why_missing(world, 'node_usage', now, 'no sample yet')}")
    elif old(world, "node_usage"):
        parts.append(f"CPU and memory: {words.freshness(world.sources['node_usage'], now)}")
    if domain.disk_fraction(world, node) is None:
        parts.append(f"disk: {_disk_reason(world, node, now)}")
    return (Cell(" · ".join(parts), Tone.STALE),) if parts else None


def trends(world: World, node: Node, columns: int = 24) -> tuple[Line, ...]:
    """CPU, memory, disk and network of the last minutes as blocks; nothing where there are no samples."""
    lines: list[Line] = []
    for name, title in (("cpu", "CPU"), ("memory", "Memory"), ("disk", "Disk")):
        samples = world.trends.get(f"{name}/{node.name}", ())
        known = [v for v in samples if v == v]
        if known:
            lines.append((label(title, 8), Cell(words.spark(samples, columns, 1.0), Tone.ACCENT), Cell(f" {words.percent(known[-1])}")))
    for name, title in (("net_rx", "In"), ("net_tx", "Out")):
        samples = world.trends.get(f"{name}/{node.name}", ())
        known = [v for v in samples if v == v]
        if known:
            lines.append((label(title, 8), Cell(words.spark(samples, columns), Tone.ACCENT), Cell(f" {words.size(known[-1])}/s")))
    return tuple(lines)


def detail(world: World, node: Node, now: datetime) -> tuple[Line, ...]:
    """Everything about one node as lines, for the pane beside the list and for `describe`."""
    lines: list[Line] = [headline(world, node, now), ()]
    lines += [*facts(world, node, now), (), *sizes(world, node)]
    if note := usage_note(world, node, now):
        lines.append(note)
    if shown := trends(world, node):
        lines += [(), *shown]
    return (*lines, (), *conditions(world, node, now))


def ready_count(world: World) -> tuple[int, int]:
    """(ready, all) as last read."""
    return sum(1 for n in world.nodes.items.values() if n.ready == "True"), len(world.nodes)
