"""Screens that are tables of objects with a pane beside them: most nouns need no more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from coldtui.domain.values import dataclass

from ...domain.objects import Ref
from ...domain.world import World
from ...present.lines import Line
from ...present.rows import Listing
from ..widgets.card import Card
from ..widgets.table import RowTable
from . import VIEWS, load
from .base import WorldScreen


@dataclass(frozen=True, slots=True)
class Part:
    """One table of a screen."""

    id: str
    listing: Listing[Any]
    detail: Callable[[World, Any, datetime], tuple[Line, ...]]
    """What the pane says of an item."""
    ref: Callable[[Any], Ref | None]
    """The object that describe, YAML and copy are about."""
    key: Callable[[Ref], str | None]
    """The row of an object, None when this table does not list its kind."""
    share: int = 1
    """Height in relation to the other tables."""
    least: int = 4


def plain_part(
    id: str, listing: Listing[Any], kind: str, detail: Callable[[World, Any, datetime], tuple[Line, ...]], share: int = 1
) -> Part:
    """A table whose keys are the keys of one kind's shelf."""

    def ref(item: Any) -> Ref:
        namespace, slash, name = item.key.partition("/")
        return Ref(kind, name, namespace) if slash else Ref(kind, namespace)

    return Part(id, listing, detail, ref, lambda wanted: wanted.key if wanted.kind == kind else None, share)


class ListingsScreen(WorldScreen):
    """Set PARTS. Tab goes from table to table, the pane follows the cursor of the focused one."""

    PARTS: ClassVar[tuple[Part, ...]] = ()
    DEFAULT_CSS = """
    ListingsScreen #tables { width: 1fr; }
    ListingsScreen #pane { display: none; width: 44%; }
    ListingsScreen.-wide #pane { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "part(1)", "Next table", show=False, id="listings.next", tooltip="Next table of this screen"),
        Binding("shift+tab", "part(-1)", "Previous table", show=False, id="listings.previous", tooltip="Previous table of this screen"),
    ]

    def body(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="tables"):
                for part in self.PARTS:
                    yield RowTable(part.listing, id=part.id)
            yield Card("", id="pane")

    def on_mount(self) -> None:
        super().on_mount()
        for part in self.PARTS:
            table = self._table_of(part)
            table.styles.height = f"{part.share}fr"
            table.styles.min_height = part.least

    def _table_of(self, part: Part) -> RowTable:
        return self.query_one(f"#{part.id}", RowTable)

    @property
    def part(self) -> Part:
        """The part whose table has the focus, or the first."""
        table = self.table
        return next((p for p in self.PARTS if table is not None and table.id == p.id), self.PARTS[0])

    def show(self, world: World, now: datetime) -> None:
        for part in self.PARTS:
            self._table_of(part).show(world, now)
        self._show_pane()

    def _show_pane(self) -> None:
        if not self.has_class("-wide") or self.world is None or self.now is None:
            return
        part, pane = self.part, self.query_one("#pane", Card)
        item = self._table_of(part).item
        ref = part.ref(item) if item is not None else None
        pane.retitle(ref.name if ref is not None else part.listing.title)
        pane.show(part.detail(self.world, item, self.now) if item is not None else ())

    def subject(self) -> Ref | None:
        if not self.is_mounted:
            return None
        item = self._table_of(self.part).item
        return self.part.ref(item) if item is not None else None

    def reveal(self, ref: Ref) -> bool:
        for part in self.PARTS:
            key = part.key(ref)
            if key is not None:
                table = self._table_of(part)
                table.focus()
                return table.key == key or self._select(table, key)
        return False

    def action_part(self, by: int) -> None:
        at = self.PARTS.index(self.part)
        self._table_of(self.PARTS[(at + by) % len(self.PARTS)]).focus()
        self._show_pane()

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        super().on_row_table_row_highlighted(message)
        self._show_pane()

    def on_row_table_row_chosen(self, message: RowTable.RowChosen) -> None:
        """Enter: all about the object. A noun with a screen of its own for one object overrides this."""
        ref = self.subject()
        if ref is not None and "describe" in VIEWS:
            self.app.push_screen(load(VIEWS["describe"])(ref, yaml=False))

    def on_descendant_focus(self) -> None:
        self._show_pane()
