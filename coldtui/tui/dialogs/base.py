"""Dialogs: focus on Cancel, buttons that carry the verb, and no key that is older than the dialog."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button

from ...present.lines import Line
from ..guard import Guarded
from ..widgets.lines import Lines

SETTLE_S = 0.3
"""Keys that come sooner were meant for what was there before: type-ahead over a slow link, a held key."""


class Dialog(Guarded, ModalScreen[bool]):
    """Answers True when the verb was chosen, False for Cancel and esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog.cancel"),
        Binding("left,right", "other", "Other button", show=False, id="dialog.other"),
    ]
    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > Vertical {
        width: 64; max-width: 96%; height: auto; max-height: 90%; border: round $primary; border-title-color: $title; padding: 1 2;
        background: $surface;
    }
    Dialog Horizontal { height: auto; align-horizontal: right; margin-top: 1; }
    Dialog Button { margin-left: 2; }
    """

    def __init__(self, title: str, lines: Sequence[Line], verb: str, *, risky: bool = False) -> None:
        super().__init__()
        self._title, self._lines, self._verb, self._risky = title, tuple(lines), verb, risky
        self.opened = time.monotonic()

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)
            text = Lines()
            text.styles.height = max(1, len(self._lines))
            yield text
            with Horizontal():
                yield Button(Content("Cancel"), id="cancel", compact=True)
                yield Button(Content(self._verb), id="go", compact=True, variant="error" if self._risky else "primary")

    def on_mount(self) -> None:
        self.query_one(Lines).put_cells(self._lines)
        self.query_one("#cancel", Button).focus()
        self.opened = time.monotonic()

    def fresh(self, at: float) -> bool:
        """Whether input from this moment (monotonic) was meant for the dialog."""
        return at - self.opened > SETTLE_S

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "go")

    def action_cancel(self) -> None:
        self.dismiss(False)

    def action_other(self) -> None:
        self.focus_next()
