"""Text to read: describe, YAML, help. Search, wrap, copy, save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from ...present.lines import Line
from ...present.rows import Tone
from ..guard import GuardedWidget
from ..theme import palette_of
from . import filters
from .draw import Spans, ends, spans_of, strip_of, width_of


class TakeText(Message):
    """Copy or save was asked for; the screen does it (`WorldScreen.take`)."""

    def __init__(self, stem: str, lines: Sequence[str], *, to_file: bool, ending: str = "txt") -> None:
        super().__init__()
        self.stem, self.lines, self.to_file, self.ending = stem, lines, to_file, ending


READING: list[BindingType] = [
    Binding("j,down", "scroll_rows(1)", "Down", show=False, id="text.down", tooltip="One line down"),
    Binding("k,up", "scroll_rows(-1)", "Up", show=False, id="text.up", tooltip="One line up"),
    Binding("pagedown,ctrl+f,space", "scroll_page(1)", "Page down", show=False, id="text.page-down"),
    Binding("pageup,ctrl+b", "scroll_page(-1)", "Page up", show=False, id="text.page-up"),
    Binding("g,home", "edge(-1)", "Top", show=False, id="text.top"),
    Binding("G,end", "edge(1)", "Bottom", show=False, id="text.bottom"),
    Binding("left", "pan(-1)", "Left", show=False, id="text.left", tooltip="Half a screen to the left"),
    Binding("right", "pan(1)", "Right", show=False, id="text.right", tooltip="Half a screen to the right"),
    Binding("w", "wrap", "Wrap", id="text.wrap", tooltip="Wrap long lines, or cut them"),
    Binding("n", "match(1)", "Next match", show=False, id="text.next"),
    Binding("N", "match(-1)", "Previous match", show=False, id="text.previous"),
    Binding("c", "copy", "Copy", show=False, id="text.copy", tooltip="Copy the whole text to the terminal's clipboard"),
    Binding("ctrl+s", "save", "Save", id="text.save", tooltip="Save the whole text to a file"),
]


class TextView(GuardedWidget, can_focus=True):
    """`show(lines)`: lines of cells. Keeps its place when the text is replaced."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "TextView { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = READING

    def __init__(self, title: str = "", *, stem: str = "text", ending: str = "txt", wrap: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title, self.stem, self.ending = title, stem, ending
        self.wrap = wrap
        self.filter = filters.NO_FILTER
        self.top = self._pan = 0
        self.match: int | None = None
        """Number of the line that n and N came to."""
        self._lines: tuple[Spans, ...] = ()
        self._rows: list[tuple[int, int]] = []
        """(line, first cell) of each row of the screen."""

    # ------------------------------------------------------------ content

    def show(self, lines: Sequence[Line]) -> None:
        self.show_spans([spans_of(line) for line in lines])

    def show_spans(self, lines: Sequence[Spans]) -> None:
        new = tuple(lines)
        if new != self._lines:
            self._lines = new
            self._reflow()

    @property
    def text(self) -> list[str]:
        return ["".join(text for text, _ in line).rstrip() for line in self._lines]

    def set_filter(self, typed: str) -> str:
        """Search: the first match from here on is shown. Returns what is wrong with what was typed."""
        self.filter = filters.parse(typed)
        self.match = None
        if self.filter.text is not None:
            at = self._rows[self.top][0] if self.top < len(self._rows) else 0
            self._find(at, 1)
        self.refresh()
        return self.filter.note

    def clear_narrowing(self) -> bool:
        """What esc does before it goes back."""
        if not self.filter.typed:
            return False
        self.set_filter("")
        return True

    # ------------------------------------------------------------ moving

    @property
    def page(self) -> int:
        return max(1, self.size.height - 1)

    def _reflow(self) -> None:
        width = self.size.width
        at = self._rows[self.top][0] if self.top < len(self._rows) else 0
        if self.wrap and width > 0:
            self._rows = []
            for number, line in enumerate(self._lines):
                size = max(1, sum(width_of(text) for text, _ in line))
                self._rows += [(number, start) for start in range(0, size, width)]
        else:
            self._rows = [(number, 0) for number in range(len(self._lines))]
        self.top = next((row for row, (number, _) in enumerate(self._rows) if number >= at), 0)
        self._go(self.top)
        self.refresh()

    def _go(self, top: int) -> None:
        top = max(0, min(top, len(self._rows) - self.page))
        if top != self.top:
            self.top = top
            self.refresh()

    def action_scroll_rows(self, by: int) -> None:
        self._go(self.top + by)

    def action_scroll_page(self, by: int) -> None:
        self._go(self.top + by * (self.page - 1))

    def action_edge(self, where: int) -> None:
        self._go(0 if where < 0 else len(self._rows))

    def action_pan(self, by: int) -> None:
        if not self.wrap:
            self._pan = max(0, self._pan + by * max(1, self.size.width // 2))
            self.refresh()

    def action_wrap(self) -> None:
        self.wrap, self._pan = not self.wrap, 0
        self._reflow()

    def action_match(self, by: int) -> None:
        if self.filter.text is None:
            return
        here = self.match if self.match is not None else (self._rows[self.top][0] if self._rows else 0) - by
        self._find(here + by, by)
        self.refresh()

    def _find(self, start: int, by: int) -> None:
        """The next match from a line on, round the end."""
        test, total = self.filter.text, len(self._lines)
        if test is None or not total:
            return
        for step in range(total):
            number = (start + by * step) % total
            if test("".join(text for text, _ in self._lines[number])):
                self.match = number
                row = next(row for row, (line, _) in enumerate(self._rows) if line == number)
                if not self.top <= row < self.top + self.page:
                    self._go(row - self.page // 3)
                return

    def action_copy(self) -> None:
        self.post_message(TakeText(self.stem, self.text, to_file=False, ending=self.ending))

    def action_save(self) -> None:
        self.post_message(TakeText(self.stem, self.text, to_file=True, ending=self.ending))

    # ------------------------------------------------------------ drawing

    def _head(self) -> Spans:
        left: list[tuple[str, Tone | str]] = [(f" {self.title}", "title")]
        if self.filter.typed:
            found = "" if self.filter.text is None else "  no match" if self.match is None else f"  line {self.match + 1}"
            left += [(f"  /{self.filter.typed}", Tone.ACCENT), (found, Tone.MUTED)]
        last = min(self.top + self.page, len(self._rows))
        where = "all" if last - self.top >= len(self._rows) else f"{100 * last // max(1, len(self._rows))} %"
        right: Spans = ((f"{'wrap · ' if self.wrap else ''}{len(self._lines)} lines · {where} ", Tone.MUTED),)
        return ends(left, right, self.size.width)

    def draw_line(self, y: int) -> Strip:
        palette, width = palette_of(self), self.size.width
        if y == 0:
            return strip_of(self._head(), width, palette)
        at = self.top + y - 1
        if at >= len(self._rows):
            return strip_of((), width, palette)
        number, start = self._rows[at]
        spans, ground = self._lines[number], "match" if number == self.match else ""
        if self.wrap:
            spans = _part(spans, start, width)
        return strip_of(spans, width, palette, ground, left=self._pan)

    def on_resize(self) -> None:
        self._reflow()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._go(self.top + 3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._go(self.top - 3)


def _part(spans: Spans, start: int, width: int) -> Spans:
    """The cells [start, start + width) of a line."""
    from .draw import _shift, wrap

    out, room = [], width
    for text, ink in _shift(spans, start) if start else spans:
        if room <= 0:
            break
        piece = wrap(text, room)[0]
        out.append((piece, ink))
        room -= width_of(piece)
    return tuple(out)
