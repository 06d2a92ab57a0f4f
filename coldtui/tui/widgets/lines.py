"""Line-rendered widgets: each line is spans of text and tone; only lines that changed are painted."""

from __future__ import annotations

from collections.abc import Sequence

from textual.geometry import Region
from textual.strip import Strip

from ...present.lines import Line
from ..guard import GuardedWidget
from ..theme import palette_of
from .draw import Spans, spans_of, strip_of


class Lines(GuardedWidget):
    """Lines of spans. `put` takes the whole content and paints what differs."""

    ALLOW_SELECT = False
    GROUND = ""
    """Palette ground of the whole widget."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: tuple[Spans, ...] = ()
        self.first = 0
        """The first line shown."""

    def put(self, lines: Sequence[Spans]) -> bool:
        """True when anything changed."""
        old, self.lines = self.lines, tuple(lines)
        if old == self.lines:
            return False
        for y in range(self.first, max(len(old), len(self.lines))):
            before = old[y] if y < len(old) else ()
            after = self.lines[y] if y < len(self.lines) else ()
            if before != after:
                self.refresh(Region(0, y - self.first, self.content_size.width, 1))  # relative to the content, inside border and padding
        return True

    def put_cells(self, lines: Sequence[Line]) -> bool:
        """The same for lines of `present` cells."""
        return self.put([spans_of(line) for line in lines])

    def draw_line(self, y: int) -> Strip:
        at = y + self.first
        spans = self.lines[at] if at < len(self.lines) else ()
        return strip_of(spans, self.content_size.width, palette_of(self), self.GROUND)
