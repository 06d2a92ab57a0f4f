"""Pods as rows with kubectl's words, as JSON and as the lines of a description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain import pods as domain
from ..domain.pods import Container, Pod
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Ago, Line, count, label, old, pair, state_cell, table, why_missing
from .rows import Cell, Column, Listing, Row, Tone

NONE = "<none>"


def restarts(pod: Pod, now: datetime, ago: Ago = words.age) -> str:
    """The RESTARTS column of kubectl: `3 (5m ago)`."""
    if pod.restarts == 0 or pod.last_restart is None:
        return str(pod.restarts)
    return f"{pod.restarts} ({ago(now - pod.last_restart)} ago)"


def owner(pod: Pod) -> str:
    """`deployment/cold-backend` where a ReplicaSet's name tells it, else the controller itself."""
    if pod.owner is None:
        return "static" if pod.mirror else NONE
    if pod.owner.kind == "ReplicaSet":
        name, dash, _ = pod.owner.name.rpartition("-")
        return f"deployment/{name}" if dash else f"replicaset/{pod.owner.name}"
    return f"{pod.owner.kind.lower()}/{pod.owner.name}"


def status_cell(world: World, pod: Pod, now: datetime) -> Cell:
    stale = old(world, "pods")
    if domain.silent_node(world, pod):
        return Cell(f"? {pod.state}", Tone.STALE)  # the cluster's last word; nobody can confirm it
    if domain.trouble(world, pod, now) is not None:
        return state_cell("bad", pod.state, Tone.BAD if pod.state not in domain.FINE | domain.STARTING else Tone.WARN, stale=stale)
    if pod.finished:
        return state_cell("done", pod.state, Tone.MUTED, stale=stale)
    if pod.deleted is not None or pod.state not in domain.FINE or not pod.is_ready:
        return state_cell("part", pod.state, Tone.WARN, stale=stale)
    return state_cell("good", pod.state, Tone.GOOD, stale=stale)


_COLUMNS: tuple[Column, ...] = (
    Column("namespace", "NAMESPACE", 10, grow=1, sort_key="U"),
    Column("name", "NAME", 28, grow=4, sort_key="E"),
    Column("ready", "READY", 5, right=True, sort_key="R"),
    Column("status", "STATUS", 12, grow=1, sort_key="S"),
    Column("restarts", "RESTARTS", 8, grow=1, sort_key="X"),
    Column("age", "AGE", 5, right=True, priority=1, sort_key="T"),
    Column("node", "NODE", 14, grow=1, priority=1, sort_key="L"),
    Column("ip", "IP", 12, priority=3),
    Column("cpu", "CPU", 6, right=True, priority=2, sort_key="C"),
    Column("mem", "MEM", 8, right=True, priority=2, sort_key="M"),
    Column("owner", "OWNER", 22, grow=1, priority=4, sort_key="W"),
)


def _cell(world: World, pod: Pod, now: datetime, column: str, ago: Ago) -> Cell:
    match column:
        case "namespace":
            return Cell(pod.namespace, Tone.MUTED)
        case "name":
            return Cell(pod.name, Tone.STRONG)
        case "ready":
            short = pod.ready < pod.total and not pod.finished
            return Cell(f"{pod.ready}/{pod.total}", Tone.WARN if short and not old(world, "pods") else Tone.PLAIN)
        case "status":
            return status_cell(world, pod, now)
        case "plain_status":
            return replace(status_cell(world, pod, now), text=pod.state)
        case "restarts":
            return Cell(restarts(pod, now, ago), Tone.MUTED if not pod.restarts else Tone.PLAIN)
        case "age":
            return Cell(ago(now - pod.created))
        case "node":
            return Cell(pod.node or NONE)
        case "ip":
            return Cell(pod.ip or NONE)
        case "cpu" | "mem":
            usage = world.pod_usage.items.get(pod.key)
            if usage is None:
                return Cell(UNKNOWN, Tone.MUTED)
            text = words.cpu(usage.cpu_m) if column == "cpu" else words.size(usage.memory_b)
            return Cell(text, Tone.STALE if old(world, "pod_usage") else Tone.PLAIN)
        case "owner":
            return Cell(owner(pod), Tone.MUTED)
    raise AssertionError(column)


def _row(world: World, pod: Pod, now: datetime) -> Row:
    dim = pod.finished or old(world, "pods")
    return Row(pod.key, tuple(_cell(world, pod, now, column.id, words.age) for column in _COLUMNS), dim=dim)


def json_of(world: World, pod: Pod, now: datetime) -> dict[str, Any]:
    """A pod for scripts: kubectl's words, numbers as numbers, null when unknown with the reason beside."""
    usage = world.pod_usage.items.get(pod.key)
    state = world.sources["pods"]
    reasons = {} if usage is not None else {"cpu_m": why_missing(world, "pod_usage", now, "no sample yet")}
    if usage is None:
        reasons["memory_b"] = reasons["cpu_m"]
    found = domain.trouble(world, pod, now)
    return {
        "namespace": pod.namespace,
        "name": pod.name,
        "status": pod.state,
        "phase": pod.phase,
        "ready": f"{pod.ready}/{pod.total}",
        "restarts": pod.restarts,
        "last_restart": words.iso(pod.last_restart) if pod.last_restart else None,
        "created": words.iso(pod.created),
        "node": pod.node or None,
        "ip": pod.ip or None,
        "owner": None if pod.owner is None else {"kind": pod.owner.kind, "name": pod.owner.name},
        "cpu_m": usage.cpu_m if usage else None,
        "memory_b": usage.memory_b if usage else None,
        "trouble": found.sentence if found else None,
        "_reasons": reasons,
        "_age_s": None if state.as_of is None else max(0, int((now - state.as_of).total_seconds())),
        "_freshness": state.freshness.value,
    }


def _items(world: World) -> Mapping[str, Pod]:
    return world.pods.items


def _usage_down(world: World, pod: Pod, what: str) -> float:
    usage = world.pod_usage.items.get(pod.key)
    return 1 if usage is None else -(usage.cpu_m if what == "cpu" else usage.memory_b)


def _roster(world: World) -> Any:
    """Rows come and go with the roster; states and usage shift the other orders, seldom enough to follow."""
    return world.pods.roster, world.pod_counts, world.sources["pod_usage"].as_of


PODS: Listing[Pod] = Listing(
    noun="pods",
    title="Pods",
    sources=("pods", "pod_usage"),
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "name": lambda world, p: (p.name, p.namespace),
        "namespace": lambda world, p: p.key,
        "ready": lambda world, p: (p.finished or p.ready == p.total, p.key),
        "status": lambda world, p: (p.calm, p.state, p.key),
        "restarts": lambda world, p: (-p.restarts, p.key),
        "age": lambda world, p: -p.created.timestamp(),
        "node": lambda world, p: (p.node == "", p.node, p.key),
        "cpu": lambda world, p: _usage_down(world, p, "cpu"),
        "mem": lambda world, p: _usage_down(world, p, "mem"),
        "owner": lambda world, p: (owner(p), p.key),
    },
    default_sort="namespace",
    text=lambda p: f"{p.namespace}/{p.name} {p.state} {p.node} {p.ip}",
    trouble=lambda world, p, now: (not p.calm and domain.trouble(world, p, now) is not None) or bool(domain.silent_node(world, p)),
    labels=lambda p: p.labels,
    roster=_roster,
    json=json_of,
    namespaced=True,
)
"""For the console. Default order is the API's own: namespace/name."""

_PLAIN = tuple(replace(c, priority=0) for c in _COLUMNS[:6]) + tuple(
    replace(c, priority=1) for c in (_COLUMNS[7], _COLUMNS[6], *_COLUMNS[8:])
)


def _plain_row(world: World, pod: Pod, now: datetime) -> Row:
    ids = ("plain_status" if c.id == "status" else c.id for c in _PLAIN)
    return Row(pod.key, tuple(_cell(world, pod, now, column, words.duration) for column in ids), dim=old(world, "pods"))


PODS_PLAIN: Listing[Pod] = replace(PODS, columns=_PLAIN, row=_plain_row)
"""For the command line: kubectl's columns and exact ages."""


def counts(world: World) -> Line:
    """`61 running · 1 pending · 3 finished`, saying how whole it is."""
    c = world.pod_counts
    if old(world, "pods"):
        return (
            Cell(f"{c.running} running, as last read", Tone.STALE),
            *((Cell(f" · {c.pending} pending", Tone.STALE),) if c.pending else ()),
        )
    running = count(world, c.running, "pods")
    if running.text == "?":
        return (Cell(f"? {world.sources['pods'].freshness.value}", Tone.MUTED),)
    parts = [running, Cell(" running")]
    if c.pending:
        parts.append(Cell(f" · {words.GLYPHS['part']} {c.pending} pending", Tone.WARN if world.whole("pods") else Tone.STALE))
    if c.finished:
        parts.append(Cell(f" · {c.finished} finished", Tone.MUTED))
    return tuple(parts)


def container_state(world: World, c: Container, now: datetime) -> Cell:
    """`running 3h`, `waiting CrashLoopBackOff`, `ended Completed (0)`."""
    cell = _container_state(c, now)
    return Cell(f"{words.GLYPHS['off']}{cell.text[1:]}", Tone.STALE) if old(world, "pods") else cell


def _container_state(c: Container, now: datetime) -> Cell:
    if c.state == "running":
        since = f" {words.age(now - c.started)}" if c.started else ""
        return Cell(f"{words.GLYPHS['good' if c.ready else 'part']} running{since}", Tone.GOOD if c.ready else Tone.WARN)
    if c.state == "terminated":
        fine = c.exit_code == 0
        code = "" if c.exit_code is None else f" ({c.exit_code})"
        return Cell(
            f"{words.GLYPHS['done' if fine else 'failed']} ended {c.reason}{code}".replace("  ", " "), Tone.MUTED if fine else Tone.BAD
        )
    if c.state == "waiting":
        calm = c.reason in domain.STARTING or not c.reason
        return Cell(f"{words.GLYPHS['part' if calm else 'bad']} waiting {c.reason}".rstrip(), Tone.WARN if calm else Tone.BAD)
    return Cell(f"{words.GLYPHS['off']} no status yet", Tone.MUTED)


def containers(world: World, pod: Pod, now: datetime) -> tuple[Line, ...]:
    def line(c: Container) -> tuple[Cell, ...]:
        last = f"{c.last_reason} {c.last_exit_code if c.last_exit_code is not None else ''}".strip()
        if last and c.last_finished:
            last += f", {words.age(now - c.last_finished)} ago"
        return (
            Cell(c.name + (" (init)" if c.init else ""), Tone.STRONG),
            container_state(world, c, now),
            Cell(str(c.restarts)),
            Cell(last, Tone.WARN if last and c.last_exit_code else Tone.MUTED),
            Cell(c.image, Tone.MUTED),
        )

    return table(("CONTAINER", "STATE", "RESTARTS", "ENDED BEFORE", "IMAGE"), (line(c) for c in pod.containers), right=frozenset({2}))


def detail(world: World, pod: Pod, now: datetime) -> tuple[Line, ...]:
    """One pod as lines, for the pane beside the list and for `describe`."""
    usage = world.pod_usage.items.get(pod.key)
    found = domain.trouble(world, pod, now)
    top: list[Cell] = [status_cell(world, pod, now), Cell(f"  {pod.ready}/{pod.total} ready", Tone.MUTED)]
    if found is not None:
        top.append(Cell(f"  {found.sentence}", Tone.WARN))
    if usage is None:
        used = pair("Usage", why_missing(world, "pod_usage", now, "no sample yet"), Tone.MUTED)
    else:
        used = pair(
            "Usage",
            f"CPU {words.cpu(usage.cpu_m)}  memory {words.size(usage.memory_b)}",
            Tone.STALE if old(world, "pod_usage") else Tone.PLAIN,
        )
    lines: list[Line] = [
        tuple(top),
        (),
        pair("Namespace", pod.namespace),
        pair("Node", pod.node or "not scheduled", Tone.PLAIN if pod.node else Tone.WARN),
        pair("Address", pod.ip or UNKNOWN),
        pair("Owner", owner(pod)),
        pair("Created", f"{words.stamp(pod.created)}  ({words.age(now - pod.created)})"),
        pair("Restarts", restarts(pod, now)),
        (
            label("Requests"),
            Cell(
                f"CPU {_or_none(words.cpu(pod.cpu_request_m), pod.cpu_request_m)}  memory {_or_none(words.size(pod.memory_request_b), pod.memory_request_b)}"
            ),
        ),
        (
            label("Limits"),
            Cell(
                f"CPU {_or_none(words.cpu(pod.cpu_limit_m), pod.cpu_limit_m)}  memory {_or_none(words.size(pod.memory_limit_b), pod.memory_limit_b)}"
            ),
        ),
        used,
        pair("Quality", f"{pod.qos or UNKNOWN}, priority {pod.priority}"),
    ]
    if pod.deleted is not None:
        over = now - pod.deleted
        text = (
            f"grace of {pod.grace_s} s ends {words.stamp(pod.deleted)}"
            if over.total_seconds() < 0
            else f"{words.age(over)} past its grace period"
        )
        lines.append(pair("Terminating", text, Tone.WARN))
    lines += [pair("Claims" if i == 0 else "", claim) for i, claim in enumerate(pod.claims)]
    if pod.message:
        lines.append(pair("Says", pod.message, Tone.WARN))
    lines += [(), *containers(world, pod, now)]
    if pod.labels:
        lines += [(), *(pair("Labels" if i == 0 else "", f"{k}={v}", Tone.MUTED) for i, (k, v) in enumerate(sorted(pod.labels.items())))]
    return tuple(lines)


def _or_none(text: str, value: int) -> str:
    return text if value else "none"
