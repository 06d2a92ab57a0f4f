"""Nodes: readiness, pressure, load, pods; beside the list, where there is room, all about the one under the cursor."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Horizontal

from ...domain.nodes import Node
from ...domain.objects import Ref
from ...domain.world import World
from ...present import nodes as node_words
from ...present import words
from ...present.rows import Cell, Row, Tone
from ..widgets.card import Card
from ..widgets.table import RowTable
from .base import WorldScreen

STATUS = next(at for at, column in enumerate(node_words.NODES.columns) if column.id == "status")


class NodesScreen(WorldScreen):
    NOUN = "nodes"
    CSS = """
    NodesScreen #list { width: 1fr; }
    NodesScreen #pane { display: none; width: 68; }
    NodesScreen.-wide #pane { display: block; }
    """

    def body(self) -> ComposeResult:
        with Horizontal():
            yield RowTable(replace(node_words.NODES, row=self._row), id="list")
            yield Card("", id="pane")

    def _row(self, world: World, node: Node, now: datetime) -> Row:
        """What was asked for and is not seen yet stands before the status, as its end may be cut: `cordon asked, Ready`."""
        row = node_words.NODES.row(world, node, now)
        asked = self.cold.acting.mark_of(Ref("nodes", node.name))
        if not asked:
            return row
        status = row.cells[STATUS]
        marked = Cell(f"{words.GLYPHS['part']} {asked}, {status.text.partition(' ')[2]}", Tone.ACCENT)
        return replace(row, cells=(*row.cells[:STATUS], marked, *row.cells[STATUS + 1 :]))

    def show(self, world: World, now: datetime) -> None:
        self.query_one(RowTable).show(world, now)
        self._show_pane()

    def _show_pane(self) -> None:
        pane = self.query_one("#pane", Card)
        if not self.has_class("-wide") or self.world is None or self.now is None:
            return
        node = self.query_one(RowTable).item
        pane.retitle(node.name if node is not None else "")
        asked = self.cold.acting.asked_line(Ref("nodes", node.name)) if node is not None else ()
        pane.show((*asked, *node_words.detail(self.world, node, self.now)) if node is not None else ())

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        super().on_row_table_row_highlighted(message)
        self._show_pane()

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        from .node import NodeScreen

        self.app.push_screen(NodeScreen(message.key))

    def reveal(self, ref: Ref) -> bool:
        return super().reveal(Ref("nodes", ref.name))
