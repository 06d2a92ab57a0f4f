"""The line in which a word is typed to confirm: takes no paste, no held key, and says why."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.strip import Strip

from ...present.rows import Tone
from ..guard import GuardedWidget
from ..hand import REPEAT_S, Hand, typed_at_once
from ..theme import palette_of
from ..widgets.draw import Spans, strip_of, width_of

ROOM = 16
"""So many letters more than the word has are shown before more are left out."""


class WordLine(GuardedWidget, can_focus=True):
    """`ask(word)`; letters come by `take`, from the dialog too while its Cancel has the focus. Posts `Entered` and `Told`."""

    DEFAULT_CSS = "WordLine { height: 1; width: 1fr; }"
    ALLOW_SELECT = False

    class Entered(Message):
        """Enter, pressed by hand, after the whole word was typed by hand."""

    class Told(Message):
        """Why what was typed does not count; empty: it does."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, hand: Hand, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.hand = hand
        self.word, self.label = "", ""
        self.typed = ""
        self._times: list[float] = []

    def ask(self, word: str, label: str) -> None:
        """Begin with nothing typed. `label` stands before the word: `Type the verb to go on`."""
        self.word, self.label = word, label
        self.clear()

    def clear(self) -> None:
        self.typed, self._times = "", []
        self.refresh()

    @property
    def complete(self) -> bool:
        return bool(self.word) and self.typed == self.word

    def take(self, event: events.Key) -> None:
        """A letter."""
        letter = event.character or ""
        if self.hand.since_same(event.key, event.time) < REPEAT_S:
            self.post_message(self.Told(f"{letter} is held down: a repeated letter does not count"))
        elif len(self.typed) < len(self.word) + ROOM:
            self.typed += letter
            self._times.append(event.time)
            self.refresh()
            self.post_message(self.Told(""))

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            self._enter(event)
        elif event.key in {"backspace", "ctrl+h"}:
            event.stop()
            self.typed, self._times = self.typed[:-1], self._times[:-1]
            self.refresh()
        elif event.key in {"ctrl+u", "ctrl+w"}:
            event.stop()
            self.clear()
        elif event.is_printable:
            event.stop()
            self.take(event)

    def on_paste(self, event: events.Paste) -> None:
        event.stop()
        self.post_message(self.Told("pasted text is not taken here: type it"))

    def _enter(self, event: events.Key) -> None:
        if (doubt := self.doubt()) or (doubt := self.hand.doubt(event.key, event.time)):
            self.post_message(self.Told(doubt))
        else:
            self.post_message(self.Entered())

    def doubt(self) -> str:
        """Why what stands here does not confirm; empty: it does."""
        if not self.typed:
            return f"type {self.word} first"
        if self.typed != self.word:
            return f"{self.typed} is not {self.word}: capitals count"
        if typed_at_once(self._times):
            self.clear()
            return "that came all at once, as a paste does: type it by hand"
        return ""

    # ------------------------------------------------------------ drawing

    def draw_line(self, y: int) -> Strip:
        return strip_of(self._spans() if y == 0 else (), self.size.width, palette_of(self))

    def _spans(self) -> Spans:
        right = self.word.startswith(self.typed)
        cursor = ("█" if self.has_focus else "_", Tone.ACCENT)
        state = ("  ✓ enter", Tone.GOOD) if self.complete else ("" if right else "  ✗ another word", Tone.BAD)
        head: Spans = ((f"{self.label} ", Tone.PLAIN), (self.word, Tone.STRONG), (": ", Tone.PLAIN))
        room = self.size.width - width_of(state[0]) - 1
        if sum(width_of(text) for text, _ in head) + width_of(self.word) > room:
            head = ((f"{self.label}: ", Tone.PLAIN),)  # the title says which
        left = max(8, room - sum(width_of(text) for text, _ in head))
        return (*head, (self.typed[-left:], Tone.STRONG if right else Tone.BAD), cursor, state)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()
