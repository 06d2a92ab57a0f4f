"""The line that opens for `:` and `/`, and closes again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.suggester import Suggester
from textual.widgets import Input

from ...present.rows import Tone
from ..guard import Guarded
from .draw import width_of
from .lines import Lines


class Completion(Suggester):
    """Completes from whatever the asker offers now."""

    def __init__(self, offer: Callable[[str], Sequence[str]]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.offer = offer

    async def get_suggestion(self, value: str) -> str | None:
        return next((found for found in self.offer(value) if found != value), None) if value else None


class PromptInput(Guarded, Input):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="prompt.cancel"),
        Binding("tab", "complete", "Complete", id="prompt.complete"),
        Binding("up", "history(-1)", "Before", show=False, id="prompt.before"),
        Binding("down", "history(1)", "After", show=False, id="prompt.after"),
    ]

    def action_cancel(self) -> None:
        self._line.cancel()

    def action_complete(self) -> None:
        if self._line.offer is not None:
            found = next((word for word in self._line.offer(self.value) if word != self.value), None)
            if found is not None:
                self.value = found
                self.cursor_position = len(found)

    def action_history(self, by: int) -> None:
        self._line.recall(by)

    @property
    def _line(self) -> PromptLine:
        parent = self.parent
        assert isinstance(parent, PromptLine)
        return parent


class PromptLine(Guarded, Horizontal):
    """Hidden until `ask`. One at a time; what it is for is given by the asker."""

    DEFAULT_CSS = """
    PromptLine { height: 1; display: none; background: $surface; }
    PromptLine.-open { display: block; }
    PromptLine > #sign { width: 2; height: 1; }
    PromptLine > PromptInput { width: 1fr; height: 1; border: none; padding: 0; background: $surface; }
    PromptLine > PromptInput:focus { border: none; background-tint: $foreground 0%; }
    PromptLine > #note { width: auto; min-width: 1; max-width: 60%; height: 1; }
    """

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self.offer: Callable[[str], Sequence[str]] | None = None
        self._changed: Callable[[str], str] | None = None
        self._done: Callable[[str], None] | None = None
        self._cancelled: Callable[[], None] | None = None
        self._before: object = None
        self._history: list[str] = []
        self._at = 0
        self._tone = Tone.WARN

    def compose(self) -> ComposeResult:
        yield Lines(id="sign")
        yield PromptInput(compact=True, select_on_focus=False)
        yield Lines(id="note")

    def on_mount(self) -> None:
        self.input.cursor_blink = False

    @property
    def input(self) -> PromptInput:
        return self.query_one(PromptInput)

    @property
    def open(self) -> bool:
        return self.has_class("-open")

    def ask(
        self,
        sign: str,
        *,
        value: str = "",
        changed: Callable[[str], str] | None = None,
        done: Callable[[str], None],
        cancelled: Callable[[], None] | None = None,
        offer: Callable[[str], Sequence[str]] | None = None,
        history: list[str] | None = None,
        tone: Tone = Tone.WARN,
    ) -> None:
        """Open with a sign. `changed` is told each keystroke and answers with a note (or nothing); `done` gets the text on enter."""
        self._before = self.screen.focused
        self._changed, self._done, self._cancelled, self.offer = None, done, cancelled, offer
        self._history, self._at = history if history is not None else [], len(history or ())
        self._tone = tone
        self.query_one("#sign", Lines).put([((f" {sign}", "key"),)])
        self.note("")
        self.add_class("-open")
        self.input.suggester = Completion(offer) if offer else None
        self.input.value = value
        self.input.cursor_position = len(value)
        self._changed = changed
        self.screen.set_focus(self.input)

    def note(self, text: str) -> None:
        note = self.query_one("#note", Lines)
        note.styles.width = width_of(text) + 1 if text else 1
        note.put([((text, self._tone),)])

    def close(self) -> None:
        self._changed = self._done = self._cancelled = None
        self.remove_class("-open")
        before = self._before
        if isinstance(before, PromptInput) or before is None:
            self.screen.set_focus(None)
        elif before in self.screen.focus_chain or getattr(before, "is_attached", False):
            self.screen.set_focus(before)  # type: ignore[arg-type]  # it was the focused widget

    def cancel(self) -> None:
        cancelled = self._cancelled
        self.close()
        if cancelled is not None:
            cancelled()

    def recall(self, by: int) -> None:
        if self._history:
            self._at = max(0, min(len(self._history), self._at + by))
            value = self._history[self._at] if self._at < len(self._history) else ""
            self.input.value = value
            self.input.cursor_position = len(value)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._changed is not None:
            self.note(self._changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        done, value = self._done, event.value
        self.close()
        if done is not None:
            done(value)
