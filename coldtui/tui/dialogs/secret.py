"""Asks for a password without echo. It goes into a `Secret` and nowhere else."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.strip import Strip
from textual.widgets import Button

from ...domain.plans import Finding, Plan
from ...domain.secret import Secret
from ...present import plans as plan_words
from ...present.rows import Cell, Tone
from ..guard import GuardedWidget
from ..theme import palette_of
from ..widgets.draw import strip_of
from ..widgets.lines import Lines
from .base import Fresh

CELLS = 60


class SecretLine(GuardedWidget, can_focus=True):
    """Shows that something was typed, not what and not how much. A paste may be what a password manager gives."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "SecretLine { height: 1; width: 1fr; background: $panel; }"

    def __init__(self) -> None:
        super().__init__()
        self._typed: list[str] = []

    def reveal(self) -> Secret:
        return Secret("".join(self._typed))

    @property
    def empty(self) -> bool:
        return not self._typed

    def on_unmount(self) -> None:
        self._typed = []

    def on_key(self, event: events.Key) -> None:
        if event.key in {"backspace", "ctrl+h"}:
            self._typed = self._typed[:-1]
        elif event.key in {"ctrl+u", "ctrl+w"}:
            self._typed = []
        elif event.is_printable and event.character:
            self._typed = [*self._typed, event.character]
        else:
            return
        event.stop()
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self._typed = [*self._typed, *event.text.splitlines()[0]] if event.text else self._typed
        self.refresh()

    def draw_line(self, y: int) -> Strip:
        said = "(typed, not shown)" if self._typed else "(nothing is shown while you type)"
        cursor = "█" if self.has_focus else "_"
        return strip_of(((cursor, Tone.ACCENT), (f" {said}", Tone.MUTED)), self.size.width, palette_of(self))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()


class SecretDialog(Fresh[Secret | None]):
    """Answers with the secret, or None."""

    AUTO_FOCUS = "SecretLine"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="secret.cancel")]
    DEFAULT_CSS = """
    SecretDialog > Vertical { padding: 0 1; width: 64; }
    SecretDialog #foot { height: 1; margin-top: 1; }
    SecretDialog #keys { width: 1fr; height: 1; }
    """

    def __init__(self, name: str, finding: Finding, plan: Plan) -> None:
        """`name`: `sudo/NODE`, `sudo` or `key/PATH`."""
        super().__init__()
        self._secret, self._finding, self._plan = name, finding, plan

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(f"{self._what} for {self._plan.title}")
            yield Lines(id="about")
            yield SecretLine()
            with Horizontal(id="foot"):
                yield Lines(id="keys")
                yield Button(Content("Cancel"), id="cancel", compact=True)

    @property
    def _what(self) -> str:
        kind, _, of = self._secret.partition("/")
        return f"Passphrase of {of}" if kind == "key" else f"sudo password{' on ' + of if of else ''}"

    def on_mount(self) -> None:
        about = plan_words.hung(Cell(""), self._finding.sentence, Tone.PLAIN, CELLS)
        about += plan_words.hung(
            Cell(""), "It is handed to this run alone, in memory: it stands in no file, log or audit.", Tone.MUTED, CELLS
        )
        lines = self.query_one("#about", Lines)
        lines.styles.height = len(about)
        lines.put_cells(about)
        self._say(())
        self.renew()

    def _say(self, told: tuple[tuple[str, Tone | str], ...]) -> None:
        self.query_one("#keys", Lines).put(
            [told or (("enter", "key"), (" gives it   ", Tone.MUTED), ("esc", "key"), (" cancel", Tone.MUTED))]
        )

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter" and self.focused is self.query_one(SecretLine):
            event.stop()
            self._give()

    def _give(self) -> None:
        line = self.query_one(SecretLine)
        if line.empty:
            self.note("nothing was typed")
        else:
            self.dismiss(line.reveal())

    def note(self, text: str) -> None:
        self._say(((text, Tone.WARN),))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_cancel()
