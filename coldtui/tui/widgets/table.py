"""The one table of the console: a windowed, line-rendered view of a `Listing`.

Only visible rows are built, only changed cells are marked for painting, and the cursor stays on its object when rows come, go or reorder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from ...domain.kinds import KINDS
from ...domain.readings import Freshness, SourceState
from ...domain.world import World
from ...present import words
from ...present.rows import Cell, Listing, Row, Tone
from ..guard import GuardedWidget
from ..theme import palette_of
from . import filters
from .columns import GUTTER, Place, all_places, fitting_places
from .draw import Spans, ends, fit, strip_of, width_of
from .draw import words as broken

_REORDER_SHARE = 0.03
"""Of a core, that ordering may cost: a listing that takes long (20,000 rows: 50 ms) is ordered the less often."""


class RowTable(GuardedWidget, can_focus=True):
    """A listing as a table. Call `show(world, now)` on a tick."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "RowTable { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Open", id="table.open", tooltip="Open what the cursor is on"),
        Binding("j,down", "cursor(1)", "Down", show=False, id="table.down", tooltip="Next row"),
        Binding("k,up", "cursor(-1)", "Up", show=False, id="table.up", tooltip="Previous row"),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False, id="table.page-down"),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False, id="table.page-up"),
        Binding("g,home", "end(-1)", "First", show=False, id="table.first", tooltip="First row"),
        Binding("G,end", "end(1)", "Last", show=False, id="table.last", tooltip="Last row"),
        Binding("space", "mark", "Mark", show=False, id="table.mark", tooltip="Mark this row, go to the next"),
        Binding("ctrl+@", "mark_range", "Mark range", show=False, id="table.mark-range", tooltip="Mark from the last mark to here"),
        Binding("ctrl+backslash", "clear_marks", "Clear marks", show=False, id="table.clear-marks"),
        Binding("O", "cycle_sort", "Sort", show=False, id="table.sort-next", tooltip="Sort by the next column"),
        Binding("ctrl+z", "trouble", "Trouble", id="table.trouble", tooltip="Show only rows with trouble, or all again"),
        Binding("ctrl+w", "wide", "Wide", show=False, id="table.wide", tooltip="All columns at full width; left and right move"),
        Binding("left", "pan(-1)", "Left", show=False, id="table.left"),
        Binding("right", "pan(1)", "Right", show=False, id="table.right"),
    ]

    class RowChosen(Message):
        """Enter on a row."""

        def __init__(self, table: RowTable, key: str) -> None:
            super().__init__()
            self.table, self.key = table, key

        @property
        def control(self) -> RowTable:
            return self.table

    class RowHighlighted(RowChosen):
        """The cursor came to another row; `key` is empty when there is none."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RowTable.RowHighlighted) and message.table is self.table

    def __init__(
        self,
        listing: Listing[Any],
        *,
        items: Callable[[World], Mapping[str, Any]] | None = None,
        title: str = "",
        id: str | None = None,
    ) -> None:
        """`items`: another choice of the listing's objects, such as the pods of one node. `title`: instead of the listing's."""
        super().__init__(id=id)
        self.listing = listing
        self.items = items or listing.items
        self.title = title or listing.title
        self.namespace = ""
        self.filter = filters.NO_FILTER
        self.trouble_only = False
        self.wide = False
        self.sort_by, self.descending = listing.default_sort, False
        self.marks: set[str] = set()
        self.cursor = self.top = self._pan = 0
        self.total = 0
        """Objects before filters, after the namespace."""
        self._world: World | None = None
        self._now: datetime | None = None
        self._objects: Mapping[str, Any] = {}
        self._roster: Any = object()
        self._sorted: list[str] = []
        self._keys: list[str] = []
        self._shown_objects: Mapping[str, Any] | None = None
        self._last_order = 0.0
        self._order_cost = 0.0
        self._order_planned = False
        self._rows: dict[str, Row] = {}
        self._needs: dict[int, int] = {}
        self._places: tuple[Place, ...] = ()
        self._layout_for: tuple[int, bool, int] | None = None
        self._title_spans: Spans = ()
        self._highlighted: str | None = None
        self._last_mark: str | None = None
        for column in listing.columns:
            if column.sort_key and column.id in listing.sorts:
                self._bindings.key_to_bindings[column.sort_key] = [
                    Binding(
                        column.sort_key,
                        f"sort('{column.id}')",
                        f"Sort by {column.title}",
                        show=False,
                        id=f"table.sort.{listing.noun}.{column.id}",
                        tooltip="Again: the other way round",
                    )
                ]

    # ------------------------------------------------------------ what others ask

    @property
    def key(self) -> str | None:
        """The object under the cursor."""
        return self._keys[self.cursor] if self.cursor < len(self._keys) else None

    @property
    def item(self) -> Any:
        """The domain value under the cursor, or None."""
        return self._objects.get(self.key) if self.key is not None else None

    @property
    def keys(self) -> tuple[str, ...]:
        """What is listed now, in order."""
        return tuple(self._keys)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The marked rows in order, or the one under the cursor."""
        marked = tuple(key for key in self._keys if key in self.marks)
        return marked or ((self.key,) if self.key is not None else ())

    def select(self, key: str) -> bool:
        """Move the cursor to an object; False when it is not listed."""
        if key not in self._keys:
            return False
        self._move_to(self._keys.index(key))
        return True

    @property
    def cut(self) -> str:
        """The full text of the first column under the cursor when the column could not show all of it, else empty."""
        row = self._rows.get(self.key or "")
        if row is None:
            return ""
        short = next((p for p in self._places if width_of(row.cells[p.number].text) > p.width), None)
        return row.cells[short.number].text if short and not short.column.right and short.column.priority == 0 else ""

    # ------------------------------------------------------------ showing

    def show(self, world: World, now: datetime) -> None:
        """Take a newer World, or the same one at a later moment."""
        self._world, self._now = world, now
        roster = self.listing.roster(world)
        self._objects = self.items(world)
        if roster != self._roster or len(self._objects) != self.total_objects:
            wait = self._last_order + self._order_cost / _REORDER_SHARE - time.monotonic()
            if self._order_cost < 0.02 or wait <= 0 or not self._sorted:
                self._roster = roster
                self._order()
            elif not self._order_planned:  # rows that came and went must not wait for the next change
                self._order_planned = True
                self.set_timer(wait, self._order_now)
        elif (self._objects is not self._shown_objects and (self.filter or self.trouble_only)) or self.trouble_only:
            self._narrow()
        self._shown_objects = self._objects
        self._refresh_rows()

    def _order_now(self) -> None:
        self._order_planned = False
        if self._world is not None and self._now is not None:
            self.show(self._world, self._now)

    @property
    def total_objects(self) -> int:
        return len(self._sorted)

    def set_filter(self, typed: str) -> str:
        """Filter by what was typed after `/`; returns what is wrong with it, if anything."""
        self.filter = filters.parse(typed)
        self._narrow_and_paint()
        return self.filter.note

    def set_namespace(self, namespace: str) -> None:
        """Only this namespace; empty for all."""
        self.namespace = namespace
        self._narrow_and_paint()

    def _narrow_and_paint(self) -> None:
        if self._world is not None:
            self._narrow()
            self._rows.clear()
            self._refresh_rows()
            self.refresh()

    def _order(self) -> None:
        assert self._world is not None
        began = time.thread_time()
        world, objects = self._world, self._objects
        by = self.listing.sorts.get(self.sort_by)
        if by is None:
            self._sorted = sorted(objects, reverse=self.descending)
        else:
            pairs = [(by(world, item), key) for key, item in objects.items()]
            pairs.sort(reverse=self.descending)
            self._sorted = [key for _, key in pairs]
        self._narrow()
        self._last_order = time.monotonic()
        self._order_cost = time.thread_time() - began

    def _narrow(self) -> None:
        """Namespace, filter and trouble; the cursor stays on its object and on its line of the screen."""
        assert self._world is not None
        assert self._now is not None
        old_key, old_line = self.key, self.cursor - self.top
        objects, keys = self._objects, self._sorted
        if self.namespace and self.listing.namespaced:
            prefix = self.namespace + "/"
            keys = [key for key in keys if key.startswith(prefix)]
        self.total = len(keys)
        if (test := self.filter.text) is not None:
            text = self.listing.text
            keys = [key for key in keys if (item := objects.get(key)) is not None and test(text(item))]
        elif (label_test := self.filter.labels) is not None:
            labels = self.listing.labels
            keys = [key for key in keys if (item := objects.get(key)) is not None and label_test(labels(item))]
        if self.trouble_only:
            trouble, world, now = self.listing.trouble, self._world, self._now
            keys = [key for key in keys if (item := objects.get(key)) is not None and trouble(world, item, now)]
        if keys != self._keys:
            self._keys = list(keys) if keys is self._sorted else keys
            if old_key is not None and old_key in self._objects:
                try:
                    self.cursor = self._keys.index(old_key)
                except ValueError:
                    self.cursor = min(self.cursor, max(0, len(self._keys) - 1))
                else:
                    self.top = self.cursor - old_line
            self.cursor = min(self.cursor, max(0, len(self._keys) - 1))
            self._keep_in_view()
            self.refresh()
        if self.marks:
            self.marks &= set(self._sorted)

    def _refresh_rows(self) -> None:
        """Build the visible rows again and mark what changed of them for painting."""
        old, self._rows = self._rows, {}
        if self._lay_out():
            self.refresh()
        else:
            for line, key in enumerate(self._keys[self.top : self.top + self.page]):
                row = self._row(key)
                before = old.get(key)
                if before is None or row is None or before.dim != row.dim:
                    if before is not row:
                        self._refresh_line(line)
                elif before.cells != row.cells:
                    for place in self._places:
                        if before.cells[place.number] != row.cells[place.number]:
                            self.refresh(Region(place.x, line + 2, place.width, 1))
            if not self._keys:
                self.refresh(Region(0, 2, self.size.width, max(1, self.size.height - 2)))
        title = self._title()
        if title != self._title_spans:
            self._title_spans = title
            self.refresh(Region(0, 0, self.size.width, 1))
        if self.key != self._highlighted:
            self._highlighted = self.key
            self.post_message(self.RowHighlighted(self, self.key or ""))

    def _refresh_line(self, line: int) -> None:
        self.refresh(Region(0, line + 2, self.size.width, 1))

    def _row(self, key: str) -> Row | None:
        row = self._rows.get(key)
        if row is None and self._world is not None and self._now is not None:
            item = self._objects.get(key)
            if item is None:
                return None
            row = self._rows[key] = self.listing.row(self._world, item, self._now)
        return row

    # ------------------------------------------------------------ layout

    @property
    def page(self) -> int:
        """Rows that fit."""
        return max(1, self.size.height - 2)

    def _lay_out(self) -> bool:
        """Give the columns their places; True when one moved. A column grows to what visible rows need and never shrinks again
        until the size changes, so that scrolling does not make columns jump."""
        width = self.size.width
        if self._layout_for is None or self._layout_for[:2] != (width, self.wide):
            self._needs = {}
        needs = self._needs
        for key in self._keys[self.top : self.top + self.page]:
            row = self._row(key)
            if row is not None:
                for number, cell in enumerate(row.cells):
                    size = width_of(cell.text)
                    if size > needs.get(number, 0):
                        needs[number] = size
        columns = self.listing.columns
        places = all_places(columns, needs, self._pan) if self.wide else fitting_places(columns, needs, width, lend=bool(self._rows))
        self._layout_for = (width, self.wide, self._pan)
        changed = places != self._places
        self._places = places
        return changed

    # ------------------------------------------------------------ drawing

    def draw_line(self, y: int) -> Strip:
        width, palette = self.size.width, palette_of(self)
        if self._layout_for is None or self._layout_for[0] != width:
            self._lay_out()
        if y == 0:
            return strip_of(self._title_spans or self._title(), width, palette)
        if y == 1:
            return strip_of(self._header(), width, palette)
        line = y - 2
        at = self.top + line
        if at < len(self._keys):
            return self._draw_row(self._keys[at], at == self.cursor)
        if not self._keys:
            lines = self._emptiness(width - 4)
            if 1 <= line <= len(lines):
                return strip_of(lines[line - 1], width, palette)
        return strip_of((), width, palette)

    def _draw_row(self, key: str, on_cursor: bool) -> Strip:
        palette = palette_of(self)
        ground = ("cursor" if self.has_focus else "cursor-idle") if on_cursor else ""
        width, row = self.size.width, self._row(key)
        if row is None:
            return strip_of(((f" {key} is gone", Tone.MUTED),), width, palette, ground)
        marked = key in self.marks
        blank = palette.style(Tone.PLAIN, ground)
        segments = [Segment("▌" if marked else " ", palette.style(Tone.ACCENT, ground))]
        x = GUTTER
        for place in self._places:
            if place.x >= width:
                break
            if place.x > x:
                segments.append(Segment(" " * (place.x - x), blank))
            cell = row.cells[place.number]
            segments += self._draw_cell(cell, place, row.dim, ground)
            x = place.x + place.width
        if x < width:
            segments.append(Segment(" " * (width - x), blank))
        return Strip(segments).adjust_cell_length(width, blank)

    def _draw_cell(self, cell: Cell, place: Place, dim: bool, ground: str) -> list[Segment]:
        palette = palette_of(self)
        if cell.spans and not dim and width_of(cell.text) <= place.width:
            pad = " " * (place.width - width_of(cell.text))
            spans = ((pad, Tone.PLAIN), *cell.spans) if place.column.right else (*cell.spans, (pad, Tone.PLAIN))
            return [Segment(text, palette.style(tone, ground)) for text, tone in spans if text]
        tone = Tone.STALE if dim and cell.tone in {Tone.PLAIN, Tone.STRONG, Tone.GOOD, Tone.ACCENT} else cell.tone
        return [Segment(fit(cell.text, place.width, right=place.column.right), palette.style(tone, ground))]

    def _header(self) -> Spans:
        out: list[tuple[str, Tone | str]] = [(" " * GUTTER, Tone.MUTED)]
        x = GUTTER
        for place in self._places:
            out.append((" " * (place.x - x), Tone.MUTED))
            title, sorted_by = place.column.title, place.column.id == self.sort_by
            arrow = ("↓" if self.descending else "↑") if sorted_by else ""
            room = place.width
            text = fit(title, room) if not place.column.right else fit(title, room, right=True)
            if arrow:
                text = fit(arrow + title, room, right=True) if place.column.right else fit(title + arrow, room)
                if width_of(title) + 1 > room:
                    text = fit(title[: room - 1] + arrow, room)
            out.append((text, "title" if sorted_by else Tone.MUTED))
            x = place.x + place.width
        return tuple(out)

    def _title(self) -> Spans:
        if self._world is None:
            return ((f" {self.title}", "title"),)
        state = self._state()
        where = f" ({self.namespace or 'all namespaces'})" if self.listing.namespaced else ""
        bound = "≥" if state.partial or (state.freshness is Freshness.LOADING and self.total) else ""
        narrowed = len(self._keys) != self.total or bool(self.filter) or self.trouble_only
        count = f" [{bound}{len(self._keys)} of {bound}{self.total}]" if narrowed else f" [{bound}{self.total}]"
        if state.as_of is None and not self.total:
            count = ""
        left: list[tuple[str, Tone | str]] = [(f" {self.title}", "title"), (where, Tone.MUTED), (count, Tone.PLAIN)]
        if self.filter.typed:
            left.append((f" /{self.filter.typed}", Tone.ACCENT))
        if self.trouble_only:
            left.append((" ▲ trouble only", Tone.WARN))
        if self.marks:
            left.append((f" {len(self.marks)} marked", Tone.ACCENT))
        right = self._freshness(state)
        if sum(width_of(text) for text, _ in (*left, *right)) >= self.size.width:
            right = self._freshness(state, brief=True)  # that it is old must be seen before why
        return ends(left, right, self.size.width)

    def _state(self) -> SourceState:
        assert self._world is not None
        name = self.listing.sources[0] if self.listing.sources else ""
        return self._world.sources.get(name) or SourceState(name)

    def _freshness(self, state: SourceState, *, brief: bool = False) -> Spans:
        """How the main source stands, or the first of the others that is in trouble; nothing while all is live."""
        assert self._world is not None
        assert self._now is not None
        if state.freshness is not Freshness.LIVE or state.partial:
            text = words.freshness(state, self._now)
            if brief:
                text = text.partition(":")[0]
            cause = f" · {state.trouble.words}" if state.trouble and state.freshness is Freshness.STALE and not brief else ""
            glyph = "◐" if state.partial or state.freshness is Freshness.LOADING else "○"
            return ((f"{glyph} {text}{cause} ", Tone.STALE if state.freshness is Freshness.LOADING else Tone.WARN),)
        for name in self.listing.sources[1:]:
            other = self._world.sources.get(name)
            if other is not None and other.freshness not in {Freshness.LIVE, Freshness.LOADING}:
                title = KINDS[name].title if name in KINDS else name
                return ((f"○ {title}: {words.freshness(other, self._now)} ", Tone.STALE),)
        return ()

    def _emptiness(self, width: int) -> list[Spans]:
        """Why there are no rows, in words."""
        if self._world is None or self._now is None:
            return [((f"  loading {self.listing.noun} …", Tone.MUTED),)]
        state, noun = self._state(), self.listing.noun
        title = KINDS[state.name].title if state.name in KINDS else noun
        trouble = state.trouble
        where = f" in namespace {self.namespace}" if self.namespace and self.listing.namespaced else ""
        first: str
        tone: Tone = Tone.PLAIN
        more = ""
        if self.total and (self.filter or self.trouble_only):
            first = f"none of {self.total} {noun}{where} " + (f"match /{self.filter.typed}" if self.filter else "has trouble")
            more = "esc shows all" if self.filter else "ctrl-z shows all"
        else:
            match state.freshness:
                case Freshness.LOADING:
                    first, tone = f"loading {title} …", Tone.MUTED
                case Freshness.NOT_INSTALLED:
                    first, more = f"{title}: not installed on this cluster", trouble.hint if trouble else ""
                case Freshness.FORBIDDEN:
                    first, tone, more = f"not permitted: {trouble.words if trouble else title}", Tone.WARN, trouble.hint if trouble else ""
                case Freshness.FAILED:
                    first, tone, more = f"{title} could not be read: {trouble.words if trouble else ''}", Tone.BAD, self._retry(state)
                case Freshness.STALE:
                    first, tone, more = (
                        f"no {noun}{where} when last read, {words.freshness(state, self._now)}",
                        Tone.STALE,
                        self._retry(state),
                    )
                case Freshness.LIVE:
                    first = f"no {noun}{where} yet: still loading" if state.partial else f"no {noun}{where}"
                    tone = Tone.MUTED
        out: list[Spans] = [((f"  {line}", tone),) for line in broken(first, width)]
        return out + [((f"  {line}", Tone.MUTED),) for line in broken(more, width) if line]

    def _retry(self, state: SourceState) -> str:
        hint = state.trouble.hint if state.trouble else ""
        again = "trying again by itself · ctrl-r tries now"
        return f"{hint} · {again}" if hint else again

    # ------------------------------------------------------------ moving

    def _keep_in_view(self) -> bool:
        """Scroll so that the cursor is visible; True when the window moved."""
        page = self.page
        top = max(0, min(self.top, len(self._keys) - page))
        top = max(min(top, self.cursor), self.cursor - page + 1, 0)
        moved = top != self.top
        self.top = top
        return moved

    def _move_to(self, index: int) -> None:
        index = max(0, min(len(self._keys) - 1, index))
        if not self._keys:
            return
        old, self.cursor = self.cursor, index
        if self._keep_in_view():
            if len(self._rows) > 4 * self.page:
                self._rows.clear()
            if self._lay_out():
                self.refresh()
            else:
                self.refresh(Region(0, 2, self.size.width, self.page))
        elif old != index:
            self._refresh_line(old - self.top)
            self._refresh_line(index - self.top)
        if self.key != self._highlighted:
            self._highlighted = self.key
            self.post_message(self.RowHighlighted(self, self.key or ""))

    def action_cursor(self, by: int) -> None:
        self._move_to(self.cursor + by)

    def action_page(self, by: int) -> None:
        self.top += by * (self.page - 1)
        self._move_to(self.cursor + by * (self.page - 1))
        self._lay_out()
        self.refresh(Region(0, 2, self.size.width, self.page))

    def action_end(self, where: int) -> None:
        self._move_to(0 if where < 0 else len(self._keys) - 1)

    def action_choose(self) -> None:
        if self.key is not None:
            self.post_message(self.RowChosen(self, self.key))

    def action_mark(self) -> None:
        if self.key is not None:
            self.marks ^= {self.key}
            self._last_mark = self.key
            self._refresh_line(self.cursor - self.top)
            self._retitle()
            self._move_to(self.cursor + 1)

    def action_mark_range(self) -> None:
        if self.key is None:
            return
        start = self._keys.index(self._last_mark) if self._last_mark in self._keys else self.cursor
        low, high = sorted((start, self.cursor))
        self.marks |= set(self._keys[low : high + 1])
        self._retitle()
        self.refresh()

    def action_clear_marks(self) -> None:
        self.marks.clear()
        self._retitle()
        self.refresh()

    def _retitle(self) -> None:
        self._title_spans = self._title()
        self.refresh(Region(0, 0, self.size.width, 1))

    def action_sort(self, column: str) -> None:
        if column == self.sort_by:
            self.descending = not self.descending
        else:
            self.sort_by, self.descending = column, False
        if self._world is not None:
            self._order()
            self._keep_in_view()
            self._refresh_rows()
        self.refresh()

    def action_cycle_sort(self) -> None:
        order = [column.id for column in self.listing.columns if column.id in self.listing.sorts]
        if order:
            at = order.index(self.sort_by) if self.sort_by in order else -1
            self.action_sort(order[(at + 1) % len(order)])

    def action_trouble(self) -> None:
        self.trouble_only = not self.trouble_only
        self._narrow_and_paint()

    def action_wide(self) -> None:
        self.wide, self._pan = not self.wide, 0
        self._lay_out()
        self.refresh()

    def action_pan(self, by: int) -> None:
        if self.wide:
            self._pan = max(0, min(len(self.listing.columns) - 2, self._pan + by))
            self._lay_out()
            self.refresh()

    def clear_narrowing(self) -> bool:
        """What esc does before it goes back: clear the filter, then trouble-only, then the marks. True when there was one."""
        if self.filter.typed:
            self.set_filter("")
        elif self.trouble_only:
            self.action_trouble()
        elif self.marks:
            self.action_clear_marks()
        else:
            return False
        return True

    # ------------------------------------------------------------ events

    def on_resize(self) -> None:
        self._keep_in_view()
        if self._world is not None:
            self._refresh_rows()
        self.refresh()

    def on_focus(self) -> None:
        self._refresh_line(self.cursor - self.top)

    def on_blur(self) -> None:
        self._refresh_line(self.cursor - self.top)

    def on_click(self, event: events.Click) -> None:
        line = event.y - 2
        if line == -1:
            place = next((p for p in self._places if p.x <= event.x < p.x + p.width), None)
            if place is not None and place.column.id in self.listing.sorts:
                self.action_sort(place.column.id)
        elif line >= 0 and self.top + line < len(self._keys):
            self._move_to(self.top + line)
            if event.chain == 2:
                self.action_choose()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._move_to(self.cursor + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._move_to(self.cursor - 3)
