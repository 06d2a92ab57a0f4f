"""One node: conditions, sizes, requests and use, trends, its events, and the pods that run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from immutables import Map
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from ...domain.objects import Ref
from ...domain.pods import Pod
from ...domain.world import World
from ...present import events as event_words
from ...present import nodes as node_words
from ...present import storage as storage_words
from ...present import words
from ...present.lines import Line
from ...present.pods import PODS
from ...present.rows import Cell, Tone
from ..widgets.card import Card
from ..widgets.table import RowTable
from .base import WorldScreen

PODS_HERE = replace(PODS, columns=tuple(replace(c, priority=4) if c.id == "namespace" else c for c in PODS.columns))
"""Beside the facts there is little room: the state of a pod stays, its namespace goes."""


class NodeScreen(WorldScreen):
    NOUN = "pods"
    CSS = """
    NodeScreen #facts { height: 12; }
    NodeScreen #more, NodeScreen #storage { display: none; }
    NodeScreen.-wide #sides { height: 1fr; }
    NodeScreen.-wide #facts { width: 68; height: 1fr; }
    NodeScreen.-wide #storage { display: block; height: auto; max-height: 15; }
    NodeScreen.-wide #more { display: block; height: 6; }
    NodeScreen #sides { layout: vertical; }
    NodeScreen.-wide #sides { layout: horizontal; }
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.node = name

    def body(self) -> ComposeResult:
        with Horizontal(id="sides"):
            yield Card(f"Node {self.node}", id="facts")
            with Vertical():
                yield RowTable(PODS_HERE, items=self._pods, title=f"Pods on {self.node}", id="pods")
                yield Card("Storage", id="storage")
                yield Card("Events", id="more")

    def _pods(self, world: World) -> Mapping[str, Pod]:
        found: Mapping[str, Pod] = world.pods_of_node.get(self.node, Map())
        return found

    def show(self, world: World, now: datetime) -> None:
        self.query_one(RowTable).show(world, now)
        node = world.nodes.items.get(self.node)
        facts = self.query_one("#facts", Card)
        lines: list[Line]
        if node is None:
            facts.show(self._missing(world, now))
        elif self.has_class("-wide"):
            facts.show((*self.cold.acting.asked_line(Ref("nodes", self.node)), *node_words.detail(world, node, now)))
            self.query_one("#more", Card).show(self._events(world, now))
            storage, lines = self.query_one("#storage", Card), [*storage_words.on_node(world, self.node, now)]
            if storage.styles.height is None or storage.styles.height.value != len(lines) + 2:
                storage.styles.height = len(lines) + 2
            storage.show(lines)
        else:  # what an incident asks first comes first; the rest is in describe
            lines = [
                *self.cold.acting.asked_line(Ref("nodes", self.node)),
                node_words.headline(world, node, now),
                *node_words.sizes(world, node),
            ]
            lines.append(storage_words.node_line(world, self.node, now))
            if note := node_words.usage_note(world, node, now):
                lines.append(note)
            facts.show((*lines, *node_words.trends(world, node)[:3], *node_words.facts(world, node, now)))

    def _missing(self, world: World, now: datetime) -> tuple[Line, ...]:
        state = world.sources["nodes"]
        text = "this node is no longer in the cluster" if state.whole else f"this node is not known: {words.freshness(state, now)}"
        return ((Cell(text, Tone.WARN),),)

    def _events(self, world: World, now: datetime) -> tuple[Line, ...]:
        about = [e for e in world.events.items.values() if e.object_kind == "Node" and e.object_name == self.node]
        about.sort(key=lambda e: e.last, reverse=True)
        if not about:
            state = world.sources["events"]
            return ((Cell("none lately" if state.whole else words.freshness(state, now), Tone.MUTED),),)
        out: list[Line] = []
        for e in about[:20]:
            tone = Tone.WARN if e.type != "Normal" else Tone.PLAIN
            out.append((Cell(f"{event_words.last_seen(e, now):<8} ", Tone.MUTED), Cell(f"{e.reason} ", tone), Cell(e.message)))
        return tuple(out)

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        from .pods import PodScreen

        self.app.push_screen(PodScreen(message.key))

    def subject(self) -> Ref | None:
        """The pod under the cursor, or the node itself when it has none."""
        return super().subject() or Ref("nodes", self.node)

    def acts_on(self) -> Ref:
        """The node, whatever pod the cursor is on."""
        return Ref("nodes", self.node)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "logs" and self.is_mounted:
            found: Any = super().subject()
            return super().check_action(action, parameters) and found is not None
        return super().check_action(action, parameters)
