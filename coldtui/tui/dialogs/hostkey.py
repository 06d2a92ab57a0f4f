"""The key of a host that is in no known_hosts file: shown with its fingerprint, and taken only when `yes` is typed."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from ...domain.errors import HostKeyUnknown
from ...present import plans as plan_words
from ...present.lines import Line
from ...present.rows import Cell, Tone
from ..widgets.lines import Lines
from .base import Fresh
from .typed import WordLine

CELLS = 72


class HostKeyDialog(Fresh[bool]):
    """Answers True when the key was accepted."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", id="hostkey.cancel")]
    DEFAULT_CSS = """
    HostKeyDialog > Vertical { padding: 0 1; width: 76; max-width: 100%; }
    HostKeyDialog #note { height: 1; }
    HostKeyDialog #foot { height: 1; }
    HostKeyDialog #keys { width: 1fr; height: 1; }
    """

    def __init__(self, error: HostKeyUnknown, why_not: str = "") -> None:
        """`why_not`: why it cannot be accepted from here; empty: it can."""
        super().__init__()
        self._error, self._why_not = error, why_not

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content("A host that is not known yet")
            yield Lines(id="about")
            yield Lines(id="note")
            word = WordLine(self.cold.hand)
            word.display = not self._why_not
            yield word
            with Horizontal(id="foot"):
                yield Lines(id="keys")
                yield Button(Content("Cancel"), id="cancel", compact=True)

    def on_mount(self) -> None:
        about = self._about()
        lines = self.query_one("#about", Lines)
        lines.styles.height = len(about)
        lines.put_cells(about)
        self.query_one(WordLine).ask("yes", "To take this key type")
        self.query_one("#keys", Lines).put([(("esc", "key"), (" cancel", Tone.MUTED))])
        if self._why_not:
            self.note(self._why_not)
        self.renew()

    def _about(self) -> list[Line]:
        error = self._error
        place = error.line.partition(" ")[0]
        kind = error.fingerprint.partition(" ")[0].lower() or "ed25519"
        out = plan_words.hung(Cell("▲ ", Tone.WARN), error.title, Tone.STRONG, CELLS)
        out.append((Cell(""),))
        out.append((Cell("  host   ", Tone.MUTED), Cell(place, Tone.STRONG)))
        out += plan_words.hung(Cell("  shows  ", Tone.MUTED), error.fingerprint, Tone.STRONG, CELLS)
        out.append((Cell(""),))
        out += plan_words.hung(Cell("  "), "Compare it on the host's own console, not over this line:", Tone.PLAIN, CELLS)
        out += plan_words.hung(Cell("  "), f"ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub", Tone.STRONG, CELLS)
        out += plan_words.hung(Cell("  "), "If it differs, another machine answers in its place: leave.", Tone.PLAIN, CELLS)
        return out

    def note(self, text: str) -> None:
        self.query_one("#note", Lines).put([((text, Tone.WARN),)])

    def on_key(self, event: events.Key) -> None:
        word = self.query_one(WordLine)
        if event.is_printable and word.display and self.focused is self.query_one("#cancel"):
            event.stop()
            word.focus()
            word.take(event)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.note("pasted text is not taken here: type it")

    def on_word_line_told(self, message: WordLine.Told) -> None:
        message.stop()
        self.note(message.text)

    def on_word_line_entered(self, message: WordLine.Entered) -> None:
        message.stop()
        self.dismiss(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_cancel()

    def action_cancel(self) -> None:
        self.dismiss(False)
