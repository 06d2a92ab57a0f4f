"""A titled box of lines of cells, which repaints only what changed."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from ...present.lines import Line
from .lines import Lines


class Card(Lines):
    """`show(lines)` with lines of `present.rows.Cell`; what does not fit below is cut, and said in the border."""

    DEFAULT_CSS = """
    Card {
        border: round $rule; border-title-color: $title; border-title-style: bold; border-subtitle-color: $muted;
        padding: 0 1; height: 1fr;
    }
    """

    def __init__(self, title: str, *, subtitle: str = "", id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._border = ("", "")
        self._subtitle = subtitle
        self.opens = ""
        """The key that shows what does not fit."""
        self.retitle(title)

    def retitle(self, title: str, subtitle: str | None = None) -> None:
        """Change the words in the border; names are not markup."""
        if subtitle is not None:
            self._subtitle = subtitle
        if title != self._border[0]:
            self._border = (title, self._border[1])
            self.border_title = Content(title)
        self._say_rest()

    def show(self, lines: Sequence[Line]) -> None:
        self.put_cells(lines)
        self._say_rest()

    def on_resize(self) -> None:
        self._say_rest()

    def _say_rest(self) -> None:
        height = self.content_size.height
        rest = len(self.lines) - height if height else 0
        text = " · ".join(
            part for part in (self._subtitle, f"{rest} more{f': {self.opens}' if self.opens else ''}" if rest > 0 else "") if part
        )
        if text != self._border[1]:
            self._border = (self._border[0], text)
            self.border_subtitle = Content(text) if text else None
