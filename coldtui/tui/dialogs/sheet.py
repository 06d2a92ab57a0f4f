"""A text inside a dialog: as high as it is long, up to the room there is, and then it scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events

from ...present.lines import Line
from ...present.rows import Tone
from ..widgets.draw import Spans
from ..widgets.lines import Lines


class Sheet(Lines):
    """Scrolled by the dialog's keys: it never has the focus, which stays where an answer is given."""

    def fill(self, lines: Sequence[Line], room: int) -> None:
        """Show lines in at most `room` rows; stays where it was scrolled to."""
        self.put_cells(lines)
        height = max(1, min(len(lines), room))
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height
        self._height = height
        self.roll(0)

    _height = 1

    def roll(self, by: int) -> None:
        """Scroll by rows."""
        first = max(0, min(self.first + by, len(self.lines) - self._height))
        if first != self.first:
            self.first = first
            self.refresh()

    @property
    def page(self) -> int:
        return max(1, self._height - 1)

    @property
    def above(self) -> int:
        return self.first

    @property
    def below(self) -> int:
        return max(0, len(self.lines) - self.first - self._height)

    def rule(self, cells: int) -> Spans:
        """A line to stand below it that says how much is out of sight."""
        parts = [f"{self.above} lines above" if self.above else "", f"{self.below} more lines below" if self.below else ""]
        said = " · ".join(part for part in parts if part)
        if not said:
            return (("─" * cells, "rule"),)
        said = f" {said}: pgup pgdn "
        return (("──", "rule"), (said, Tone.ACCENT), ("─" * max(0, cells - 2 - len(said)), "rule"))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.roll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.roll(-3)
