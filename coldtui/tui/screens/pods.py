"""Pods of all namespaces, and one pod with its containers and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from ...domain.events import Event
from ...domain.objects import Ref
from ...domain.pods import Container, Pod
from ...domain.text import counted
from ...domain.world import World
from ...present import pods as pod_words
from ...present import words
from ...present.lines import Line, label, pad
from ...present.rows import Cell, Column, Listing, Row, Tone
from ..widgets.card import Card
from ..widgets.fold import flow, fold
from ..widgets.table import RowTable
from . import SCREENS, VIEWS, load
from .base import WorldScreen

OWNER_KINDS = {
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
    "DaemonSet": "daemonsets",
    "Cluster": "pg_clusters",
    "Node": "nodes",
}
"""API kind of an owner -> the kind that we read."""
EVENTS_SHOWN = 20


def owner_ref(world: World, pod: Pod) -> Ref | None:
    """What made the pod: the Deployment behind a ReplicaSet, else the controller. None without one, or when its kind is not read."""
    owner = pod.owner
    if owner is None or owner.kind not in OWNER_KINDS:
        return None
    if owner.kind == "ReplicaSet":
        name = pod_words.owner(pod)
        kind, _, name = name.partition("/")
        if kind == "deployment" and f"{pod.namespace}/{name}" in world.deployments.items:
            return Ref("deployments", name, pod.namespace)
    return Ref(OWNER_KINDS[owner.kind], owner.name, "" if owner.kind == "Node" else pod.namespace)


def without_containers(world: World, pod: Pod, now: datetime) -> list[Line]:
    """`present.pods.detail` less its table of containers, for where they are shown in another way."""
    lines, block = list(pod_words.detail(world, pod, now)), list(pod_words.containers(world, pod, now))
    at = next((i for i in range(len(lines)) if lines[i : i + len(block)] == block), None)
    if at is not None:
        del lines[at : at + len(block)]
        if at < len(lines) and not lines[at] and not lines[at - 1]:
            del lines[at]
    return lines


def container_lines(world: World, pod: Pod, now: datetime) -> list[Line]:
    """The containers one below the other, for a pane that is too narrow for their table."""
    lines: list[Line] = []
    for c in pod.containers:
        name = c.name + (" (init)" if c.init else "")
        lines.append((Cell(pad(name, 15) + " ", Tone.STRONG), pod_words.container_state(world, c, now)))
        if c.restarts or c.last_reason:
            lines.append((label(""), *restarts_cells(c, now)))
        if c.message:
            lines.append((label(""), Cell(c.message, Tone.WARN)))
        lines.append((label(""), Cell(c.image, Tone.MUTED)))
    return lines


def restarts_cells(c: Container, now: datetime) -> tuple[Cell, ...]:
    ended = ended_before(c, now)
    bad = bool(c.last_exit_code)
    return (Cell(counted(c.restarts, "restart")), Cell(f", before: {ended}" if ended else "", Tone.WARN if bad else Tone.MUTED))


def ended_before(c: Container, now: datetime) -> str:
    """`OOMKilled 137, 5m ago`; empty when no instance ended before."""
    said = f"{c.last_reason} {c.last_exit_code if c.last_exit_code is not None else ''}".strip()
    return f"{said}, {words.age(now - c.last_finished)} ago" if said and c.last_finished else said


def pane_lines(world: World, pod: Pod, now: datetime, width: int) -> tuple[Line, ...]:
    lines = without_containers(world, pod, now)
    labels_at = next((i for i, line in enumerate(lines) if line and line[0].text.startswith("Labels")), len(lines))
    body = [*lines[:labels_at], *(() if labels_at and not lines[labels_at - 1] else ((),)), *container_lines(world, pod, now)]
    if lines[labels_at:]:
        body += [(), *lines[labels_at:]]
    return fold((_narrow(line) for line in body), width)


def _narrow(line: Line) -> Line:
    """A label column of 12 cells instead of 16: names have the room that the blanks had."""
    if len(line) > 1 and len(line[0].text) == 16 and not line[0].text[11:].strip():
        return (replace(line[0], text=line[0].text[:12]), *line[1:])
    return line


def worth_looking_at(pod: Pod) -> int:
    """Number of the container that an operator most likely wants: a failing one, else the first that is not for initialising."""

    def rank(c: Container) -> tuple[int, int]:
        if c.state == "waiting" and (c.reason.endswith("BackOff") or c.last_exit_code):
            return 0, -c.restarts
        if c.state == "terminated" and c.exit_code:
            return 1, -c.restarts
        if c.init:
            return (2 if c.state == "running" else 4), 0
        return 3, 0

    return min(range(len(pod.containers)), key=lambda i: (rank(pod.containers[i]), i), default=0)


class PodActions(WorldScreen):
    """What the keys of a pod have in common, wherever it is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "node", "Node", id="pods.node", tooltip="Go to the node that it runs on"),
        Binding("J", "owner", "Owner", id="pods.owner", tooltip="Go to what made it: deployment, stateful set, database"),
        # Not in the hints here: on 80 columns the log comes before what is the same everywhere.
        Binding("d", "describe(False)", "Describe", show=False, id="describe", tooltip="All about this pod, with its events"),
        Binding("y", "describe(True)", "YAML", show=False, id="yaml", tooltip="The object as the API gives it"),
    ]

    def pod(self) -> Pod | None:
        raise NotImplementedError

    def action_node(self) -> None:
        pod = self.pod()
        if pod is None:
            self.say("nothing is selected", Tone.MUTED)
        elif not pod.node:
            self.say(f"{pod.name} is not on a node yet", Tone.WARN)
        else:
            self.cold.open_ref(Ref("nodes", pod.node))

    def action_owner(self) -> None:
        pod = self.pod()
        if pod is None or self.world is None:
            self.say("nothing is selected", Tone.MUTED)
            return
        ref = owner_ref(self.world, pod)
        if ref is None:
            self.say(f"{pod.name} has no owner" if pod.owner is None else f"{pod_words.owner(pod)} is not read by the console", Tone.MUTED)
        elif any(ref.kind in entry.kinds for entry in SCREENS):
            self.cold.open_ref(ref)
        else:
            self.app.push_screen(load(VIEWS["describe"])(ref, yaml=False))


class PodsScreen(PodActions):
    NOUN = "pods"
    CSS = """
    PodsScreen #list { width: 1fr; }
    PodsScreen #pane { display: none; width: 35%; min-width: 42; max-width: 76; margin-left: 1; }
    PodsScreen.-wide #pane { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("0", "all", "All namespaces", show=False, id="pods.all", tooltip="Pods of all namespaces again"),
    ]

    def body(self) -> ComposeResult:
        with Horizontal():
            yield RowTable(pod_words.PODS, id="list")
            yield Card("", id="pane")

    def show(self, world: World, now: datetime) -> None:
        self.query_one("#list", RowTable).show(world, now)
        self._show_pane()

    def pod(self) -> Pod | None:
        found: Pod | None = self.query_one("#list", RowTable).item
        return found

    def _show_pane(self) -> None:
        if not self.has_class("-wide") or self.world is None or self.now is None:
            return
        pod, pane = self.pod(), self.query_one("#pane", Card)
        pane.retitle(pod.name if pod is not None else "Pod")
        pane.show(pane_lines(self.world, pod, self.now, pane.content_size.width) if pod is not None else ())

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_pane)  # the pane gets its width with the layout that follows

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        if self.has_class("-wide"):
            message.prevent_default()  # the pane says what a column had to cut
            self.hints.hush()
        self._show_pane()

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        self.app.push_screen(PodScreen(message.key))

    def action_all(self) -> None:
        self.query_one("#list", RowTable).set_namespace("")


_CONTAINER_COLUMNS: tuple[Column, ...] = (
    Column("name", "CONTAINER", 16, grow=6),
    Column("state", "STATE", 26, grow=3),
    Column("restarts", "RESTARTS", 8, right=True),
    Column("before", "ENDED BEFORE", 22, grow=2, priority=1),
    Column("image", "IMAGE", 30, grow=5, priority=2),
)


def _container_row(world: World, c: Container, now: datetime) -> Row:
    cells = (
        Cell(c.name + (" (init)" if c.init else ""), Tone.STRONG),
        pod_words.container_state(world, c, now),
        Cell(str(c.restarts), Tone.PLAIN if c.restarts else Tone.MUTED),
        Cell(ended_before(c, now) or "–", Tone.WARN if c.last_exit_code else Tone.MUTED),
        Cell(c.image, Tone.MUTED),
    )
    return Row(c.name, cells)


CONTAINERS: Listing[Container] = Listing(
    noun="containers",
    title="Containers",
    sources=("pods",),
    columns=_CONTAINER_COLUMNS,
    items=lambda world: {},
    row=_container_row,
    sorts={},
    default_sort="",
    text=lambda c: f"{c.name} {c.image} {c.state} {c.reason}",
    trouble=lambda world, c, now: c.state != "running" and c.exit_code != 0,
    roster=lambda world: world.pods.roster,
)
"""The containers of one pod, in the pod's own order; `RowTable(items=...)` says which pod."""


class PodScreen(PodActions):
    """One pod: what it is, its containers, what was said about it lately. Enter on a container opens its log."""

    CSS = """
    PodScreen #sides { layout: vertical; }
    PodScreen #facts { height: 8; }
    PodScreen.-wide #sides { layout: horizontal; }
    PodScreen.-wide #facts { width: 46%; height: 1fr; }
    """

    def __init__(self, key: str) -> None:
        """`key`: namespace/name."""
        super().__init__()
        self.key = key
        self._last_seen: Pod | None = None
        self._placed = False
        """The cursor was put on the container that is worth a look."""

    @property
    def ref(self) -> Ref:
        namespace, _, name = self.key.partition("/")
        return Ref("pods", name, namespace)

    def body(self) -> ComposeResult:
        yield RowTable(CONTAINERS, items=self._containers, title=f"Containers of {self.ref.name}", id="containers")
        with Horizontal(id="sides"):
            yield Card(f"Pod {self.ref.name}", id="facts")
            yield Card("Events", id="events")

    def _containers(self, world: World) -> Mapping[str, Container]:
        pod = world.pods.items.get(self.key)
        if pod is None:
            return {}
        self._last_seen = pod
        # Numbered so that the order is the pod's: init containers first.
        return {f"{i:03}": c for i, c in enumerate(pod.containers)}

    def pod(self) -> Pod | None:
        return self.world.pods.items.get(self.key) if self.world is not None else None

    def subject(self) -> Ref | None:
        return self.ref

    def show(self, world: World, now: datetime) -> None:
        table = self.query_one(RowTable)
        table.show(world, now)
        table.styles.height = 2 + max(2, min(6, len(table.keys)))
        if self._last_seen is not None and not self._placed:
            self._placed = True
            table.select(f"{worth_looking_at(self._last_seen):03}")
        pod, facts = world.pods.items.get(self.key), self.query_one("#facts", Card)
        width = facts.content_size.width or self.size.width - 4
        if pod is None:
            facts.show(fold([self._missing(world, now)], width))
        else:
            facts.retitle(f"Pod {pod.name}", pod.namespace)
            facts.show(fold(self._facts(world, pod, now), width))
        card = self.query_one("#events", Card)
        card.show(self._events(world, now, card.content_size.width or self.size.width - 4))

    def on_resize(self) -> None:
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        if self.world is not None and self.now is not None and self.is_mounted and not self.has_class("-tiny"):
            self.show(self.world, self.now)

    def _facts(self, world: World, pod: Pod, now: datetime) -> list[Line]:
        lines = without_containers(world, pod, now)
        if self.has_class("-wide"):
            return lines
        named = {line[0].text.strip(): line for line in lines[1:] if line and line[0].text.strip()}
        first = ("Says", "Terminating", "Node", "Owner", "Usage", "Restarts", "Created", "Address")
        return [lines[0], *(named[name] for name in first if name in named)]

    def _missing(self, world: World, now: datetime) -> Line:
        state = world.sources["pods"]
        if not state.whole:
            return (Cell(f"this pod is not known: {words.freshness(state, now)}", Tone.STALE),)
        after = f" · it ran on {self._last_seen.node}" if self._last_seen is not None and self._last_seen.node else ""
        return (Cell(f"this pod is no longer in the cluster{after}", Tone.WARN),)

    def _events(self, world: World, now: datetime, width: int) -> tuple[Line, ...]:
        name, namespace = self.ref.name, self.ref.namespace
        about = [e for e in world.events.items.values() if (e.object_kind, e.object_name, e.object_namespace) == ("Pod", name, namespace)]
        state = world.sources["events"]
        if not about:
            text = "none lately (the cluster keeps them for an hour)" if state.whole else f"events: {words.freshness(state, now)}"
            return ((Cell(text, Tone.MUTED if state.whole else Tone.STALE),),)
        about.sort(key=lambda e: e.last, reverse=True)
        lines: list[Line] = [] if state.whole else [(Cell(f"as read: {words.freshness(state, now)}", Tone.STALE),)]
        return (*lines, *(line for e in about[:EVENTS_SHOWN] for line in event_lines(e, now, width)))

    def action_logs(self, previous: bool) -> None:
        self._open_log(previous)

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        self._open_log(False)

    def _open_log(self, previous: bool) -> None:
        chosen: Container | None = self.query_one(RowTable).item
        self.app.push_screen(load(VIEWS["logs"])(self.ref, previous=previous, container=chosen.name if chosen is not None else ""))


def event_lines(event: Event, now: datetime, width: int) -> list[Line]:
    """One event, its message to the end: `5m x3   BackOff  Back-off restarting …`."""
    loud = event.type != "Normal"
    seen = words.age(now - event.last) + (f" x{event.count}" if event.count > 1 else "")
    head = (
        Cell(pad(seen, 9) + " ", Tone.MUTED),
        Cell(f"{words.GLYPHS['bad']} " if loud else "  ", Tone.WARN),
    )
    indent = sum(len(cell.text) for cell in head)
    rows = flow((Cell(f"{event.reason}  ", Tone.WARN if loud else Tone.PLAIN), Cell(event.message)), max(10, width - indent))
    return [(*head, *rows[0]), *((Cell(" " * indent), *row) for row in rows[1:])]
