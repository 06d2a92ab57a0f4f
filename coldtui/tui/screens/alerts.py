"""Alerts: what is wrong now, worst first; and when nothing is, what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from ...domain.kinds import KINDS
from ...domain.objects import Ref
from ...domain.problems import Problem, Severity
from ...domain.readings import Freshness
from ...domain.sources import KUBE
from ...domain.world import World
from ...present import problems as problem_words
from ...present import words
from ...present.lines import Line, cut_line, pair
from ...present.rows import Cell, Tone
from ..widgets.card import Card
from ..widgets.fold import fold
from ..widgets.lines import Lines
from ..widgets.table import RowTable
from . import SCREENS, VIEWS, load
from .base import WorldScreen
from .pods import event_lines

UNWATCHED = "nobody is notified: no service; alerts are seen only while this is open"
API_KINDS = {
    "nodes": "Node", "pods": "Pod", "deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet",
    "claims": "PersistentVolumeClaim", "pg_clusters": "Cluster", "services": "Service", "lh_volumes": "Volume", "lh_nodes": "Node",
    "upgrade_plans": "Plan",
}  # fmt: skip
"""What events call the kinds that problems are about."""


def unread(world: World, now: datetime) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(how they stand, titles of the kinds) for everything that is not known to be true now; what is not installed is not missing."""
    groups: dict[str, list[str]] = {}
    for name, kind in KINDS.items():
        state = world.sources[name]
        if state.whole or state.freshness is Freshness.NOT_INSTALLED:
            continue
        said = "not permitted" if state.freshness is Freshness.FORBIDDEN else words.freshness(state, now)
        groups.setdefault(said, []).append(kind.title)
    return tuple((said, tuple(titles)) for said, titles in groups.items())


def unread_text(world: World, now: datetime) -> str:
    """`loading: pods, events · not permitted: node leases`; empty when everything was read."""
    everything = sum(world.sources[name].freshness is not Freshness.NOT_INSTALLED for name in KINDS)
    parts = []
    for said, titles in unread(world, now):
        what = "everything" if len(titles) == everything else ", ".join(titles)
        parts.append(f"{what} ({said})")
    return " · ".join(parts)


def looked_at(world: World) -> str:
    """`5 nodes, 15 pods, 2 deployments`: what could be judged."""
    parts = []
    for name, one, many in (
        ("nodes", "node", "nodes"), ("pods", "pod", "pods"), ("deployments", "deployment", "deployments"),
        ("pg_clusters", "PostgreSQL cluster", "PostgreSQL clusters"), ("lh_volumes", "Longhorn volume", "Longhorn volumes"),
        ("claims", "claim", "claims"), ("services", "service", "services"), ("pg_backups", "backup", "backups"),
        ("upgrade_plans", "upgrade plan", "upgrade plans"),
    ):  # fmt: skip
        count = len(world.shelf(name))
        if world.sources[name].as_of is not None and count:
            parts.append(f"{count} {one if count == 1 else many}")
    return ", ".join(parts)


def nothing_wrong(world: World, now: datetime) -> list[Line]:
    """Why the list is empty. It is an all-clear only when everything was read."""
    missing, seen = unread_text(world, now), looked_at(world)
    absent = [kind.title for name, kind in KINDS.items() if world.sources[name].freshness is Freshness.NOT_INSTALLED]
    lines: list[Line] = []
    if not missing:
        lines.append((Cell(f"{words.GLYPHS['good']} no problems", Tone.GOOD), Cell(" in all that is read", Tone.PLAIN)))
    elif not seen:
        lines.append((Cell("? not known: nothing could be judged yet", Tone.STALE),))
    else:
        lines.append((Cell("? no problems among what could be read", Tone.STALE),))
    if seen:
        lines += [(), pair("Looked at", seen)]
    if missing:
        lines += [(), pair("Not read", missing, Tone.WARN)]
    if absent:
        lines += [pair("Not installed", ", ".join(absent), Tone.MUTED)]
    return lines


ALERTS = replace(
    problem_words.PROBLEMS, columns=tuple(replace(c, width=48) if c.id == "sentence" else c for c in problem_words.PROBLEMS.columns)
)
"""What is wrong comes before what it hits: that is in the pane too."""


def object_title(ref: Ref) -> str:
    """`Longhorn node longhorn-system/k3s-worker-4`."""
    kind = KINDS.get(ref.kind)
    if ref.kind == "runs":
        return f"run {ref.name}"
    if ref.kind == "sources":
        return "the Kubernetes API" if ref.name == KUBE else f"reading {KINDS[ref.name].title}" if ref.name in KINDS else ref.name
    return f"{kind.title.removesuffix('s') if kind else ref.kind} {ref.key}"


class AlertsScreen(WorldScreen):
    AUTO_FOCUS = ""  # the table has the focus only while it is shown
    CSS = """
    AlertsScreen #split { layout: vertical; height: 1fr; }
    AlertsScreen #list { width: 1fr; height: 1fr; }
    AlertsScreen #pane { height: 8; }
    AlertsScreen.-wide #split { layout: horizontal; }
    AlertsScreen.-wide #pane { width: 40%; height: 1fr; margin-left: 1; }
    AlertsScreen #calm { display: none; height: 1fr; }
    AlertsScreen.-calm #split { display: none; }
    AlertsScreen.-calm #calm { display: block; }
    AlertsScreen #foot { height: 1; }
    AlertsScreen.-unread #foot { height: 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._calm: bool | None = None
        """Whether there is nothing to list; None before the first World."""

    def body(self) -> ComposeResult:
        with Horizontal(id="split"):
            yield RowTable(ALERTS, items=self._items, title="Alerts", id="list")
            yield Card("", id="pane")
        with Vertical(id="calm"):
            yield Card("Alerts", id="why")
        yield Lines(id="foot")

    def _items(self, world: World) -> Mapping[str, Problem]:
        """The very list that the second line shows the worst of."""
        return {problem.key: problem for problem in self.problems}

    def show(self, world: World, now: datetime) -> None:
        missing = unread_text(world, now)
        calm = not self.problems
        if calm != self._calm:
            self._calm = calm
            self.set_class(calm, "-calm")
            self.set_focus(None if calm else self.query_one("#list", RowTable))
            self.refresh_bindings()
        self.set_class(bool(missing and self.problems), "-unread")
        self.query_one("#list", RowTable).show(world, now)
        width = max(20, self.size.width - 4)
        why, lines = self.query_one("#why", Card), fold(nothing_wrong(world, now), width)
        why.styles.height = len(lines) + 2
        why.show(lines)
        foot: list[Line] = [(Cell(f" {UNWATCHED}", Tone.MUTED),)]
        if missing and self.problems:
            foot.insert(0, cut_line((Cell(" not judged: ", Tone.MUTED), Cell(missing, Tone.STALE)), self.size.width))
        self.query_one("#foot", Lines).put_cells(foot)
        self._show_pane()

    def on_resize(self) -> None:
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        if self.world is not None and self.now is not None and self.is_mounted and not self.has_class("-tiny"):
            self.show(self.world, self.now)

    def _problem(self) -> Problem | None:
        found: Problem | None = self.query_one("#list", RowTable).item
        return found

    def _show_pane(self) -> None:
        problem, pane = self._problem(), self.query_one("#pane", Card)
        if problem is None or self.world is None or self.now is None:
            return
        width = pane.content_size.width or self.size.width - 4
        pane.retitle(object_title(problem.object))
        pane.show(fold(problem_lines(self.world, problem, self.now, width, wide=self.has_class("-wide")), width))

    def subject(self) -> Ref | None:
        problem = self._problem() if self.is_mounted else None
        return problem.object if problem is not None and problem.object.kind in KINDS else None

    def reveal(self, ref: Ref) -> bool:
        key = next((p.key for p in self.problems if p.object == ref), None)
        table = self.query_one("#list", RowTable)
        return key is not None and (table.key == key or self._select(table, key))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"describe", "copy_name", "filter"} and not self.problems:
            return False
        if action in {"describe", "copy_name"}:  # what the cursor is on changes without a word to the bindings
            return True
        return super().check_action(action, parameters)

    def action_describe(self, yaml: bool) -> None:
        if self.subject() is None:
            self.say("this alert is not about an object of the cluster", Tone.MUTED)
            return
        super().action_describe(yaml)

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        message.prevent_default()
        self.hints.hush()  # no need to write out a sentence that was cut: the pane has it
        self._show_pane()

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        """Enter: where the object is listed; an object without a screen of its own is described."""
        problem = self._problem()
        if problem is None:
            return
        if problem.object.kind == "sources":
            self.say(" · ".join(part for part in (problem.sentence, problem.cause) if part), Tone.WARN)
        elif any(problem.object.kind in entry.kinds for entry in SCREENS):
            self.cold.open_ref(problem.object)
        else:
            self.app.push_screen(load(VIEWS["describe"])(problem.object, yaml=False))


def problem_lines(world: World, problem: Problem, now: datetime, width: int, *, wide: bool) -> list[Line]:
    """What, since when, what it hits, why; then what the cluster said about the object lately."""
    since = "not known" if problem.since is None else f"{words.stamp(problem.since)}, for {words.age(now - problem.since)}"
    tone = Tone.STRONG if problem.severity > Severity.NOTICE else Tone.PLAIN
    lines: list[Line] = [
        (problem_words.severity_cell(problem.severity), Cell("  "), Cell(problem.sentence, tone)),
        *(((),) if wide else ()),
        pair("Since", since, cells=8),
        pair("Hits", problem.hits or "not known", cells=8),
        pair("Cause", problem.cause or "the cluster gives none", Tone.PLAIN if problem.cause else Tone.MUTED, cells=8),
    ]
    if not wide or problem.object.kind == "runs":
        return lines
    if problem.object.kind == "sources":
        state = world.sources.get(problem.object.name)
        if state is not None:
            lines.append(pair("Read", f"last {words.age(now - state.as_of)} ago" if state.as_of else "never", cells=8))
            if problem.object.name != KUBE or state.retry_at is not None:
                lines.append(pair("Next", "it is tried again by itself; ctrl-r tries now", Tone.MUTED, cells=8))
        return lines
    kind = API_KINDS.get(problem.object.kind, "")
    about = [
        e
        for e in world.events.items.values()
        if e.object_kind == kind
        and e.object_name == problem.object.name
        and e.object_namespace in {problem.object.namespace, "", "default"}
    ]
    about.sort(key=lambda e: e.last, reverse=True)
    lines += [(), (Cell("Events", Tone.MUTED),)]
    state = world.sources["events"]
    if not about:
        lines.append((Cell("none lately" if state.whole else words.freshness(state, now), Tone.MUTED),))
    for e in about[:6]:
        lines += event_lines(e, now, width)
    return lines
