"""Dialogs: focus on Cancel, buttons that carry the verb, and no key that is older than the dialog, held down or pasted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button

from ...present.lines import Line
from ..guard import Guarded
from ..hand import BURST_S
from ..widgets.lines import Lines

if TYPE_CHECKING:
    from ..app import ColdApp

T = TypeVar("T")

SETTLE_S = 0.3
"""Keys that come sooner were meant for what was there before: type-ahead over a slow link, a held key."""


class Fresh(Guarded, ModalScreen[T]):
    """A dialog that takes only what was typed for it: the app drops input older than `opened`."""

    DEFAULT_CSS = """
    Fresh { align: center middle; background: $background 60%; }
    Fresh > Vertical {
        width: 64; max-width: 96%; height: auto; max-height: 90%; border: round $primary; border-title-color: $title; padding: 1 2;
        background: $surface;
    }
    Fresh Button { margin-left: 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.opened = time.monotonic()

    @property
    def cold(self) -> ColdApp:
        """The console."""
        return cast("ColdApp", self.app)

    def renew(self) -> None:
        """Something else is asked from now on: what was typed before is not meant for it."""
        self.opened = time.monotonic()

    def fresh(self, at: float) -> bool:
        """Whether input from this moment (monotonic) was meant for the dialog."""
        return at - self.opened > SETTLE_S

    def decide(self, event: events.Key, act: Callable[[], object]) -> None:
        """Do what a single key decides, if a hand pressed it just now, and nothing comes right behind it as the rest of a paste would."""
        key, at, hand = event.key, event.time, self.cold.hand
        if doubt := hand.doubt(key, at):
            self.note(doubt)
            return

        def alone() -> None:
            if hand.followed(key, at):
                self.note(f"{key} came together with other keys: press it once more")
            elif self.is_current:
                act()

        self.set_timer(2 * BURST_S, alone)

    def note(self, text: str) -> None:
        """Tell the operator why nothing happened."""
        raise NotImplementedError

    def arming_changed(self) -> None:
        """The console was armed, or is read-only again."""

    def action_cancel(self) -> None:
        self.dismiss(None)


class Dialog(Fresh[bool]):
    """A question with two answers: True when the verb was chosen, False for Cancel and esc. `y` and `n` answer too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="dialog.cancel"),
        Binding("left,right", "other", "Other button", show=False, id="dialog.other"),
    ]
    DEFAULT_CSS = """
    Dialog Horizontal { height: auto; align-horizontal: right; margin-top: 1; }
    """

    def __init__(self, title: str, lines: Sequence[Line], verb: str, *, risky: bool = False) -> None:
        super().__init__()
        self._title, self._lines, self._verb, self._risky = title, tuple(lines), verb, risky

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
        self.renew()

    def on_key(self, event: events.Key) -> None:
        """`y`, and enter on the verb, count only when a hand pressed them just now."""
        if event.key == "n":
            event.stop()
            self.action_cancel()
        elif event.key == "y" or (event.key == "enter" and self.focused is self.query_one("#go")):
            event.stop()  # else the button would press itself
            self.decide(event, lambda: self.dismiss(True))

    def note(self, text: str) -> None:
        self.query_one(Vertical).border_subtitle = Content(text)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "go")

    def action_cancel(self) -> None:
        self.dismiss(False)

    def action_other(self) -> None:
        self.focus_next()
