"""`x`: what can be done to the object under the cursor, each with its key and how it is confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from ...domain.objects import Ref
from ...domain.plans import Rung
from ...present import plans as plan_words
from ...present.lines import Line, pad, width
from ...present.rows import Cell, Tone
from ..widgets.draw import Spans, fit, spans_of
from ..widgets.lines import Lines
from .base import Fresh

if TYPE_CHECKING:
    from ..acting import Act, Acting

RESERVED = frozenset("jkqxynAID")
"""Letters that move, close, or mean yes and no."""


def keys_for(verbs: list[str]) -> list[str]:
    """A letter for each verb: its first that is free."""
    taken = set(RESERVED)
    found = []
    for verb in verbs:
        key = next((letter for letter in verb if letter.isalpha() and letter not in taken), "")
        taken.add(key)
        found.append(key)
    return found


class Menu(Fresh["Act | None"]):
    """Answers with the act that was chosen. Choosing confirms nothing: what asks still asks."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,x", "cancel", "Cancel", id="menu.cancel"),
        Binding("enter", "choose", "Choose", id="menu.choose"),
        Binding("A", "arm", "Arm", show=False, id="menu.arm", tooltip="Arm, while nothing can be done"),
        Binding("j,down", "move(1)", "Down", show=False, id="menu.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="menu.up"),
    ]
    DEFAULT_CSS = """
    Menu > Vertical { width: 76; padding: 0 1; }
    """

    def __init__(
        self,
        acting: Acting,
        ref: Ref,
        marked: int = 0,
        values: Mapping[str, str] | None = None,
        besides: Sequence[tuple[Ref, Mapping[str, str]]] = (),
    ) -> None:
        super().__init__()
        self.acting, self.ref, self.marked = acting, ref, marked
        others = [act for other, known in besides for act in acting.acts_on(other, known, whom=other.name)]
        self.acts = (*others, *acting.acts_on(ref, values, whom=ref.name if others else ""))
        self.keys = keys_for([act.verb for act in self.acts])
        self.at = 0

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(f"What can be done to {self.ref.name}")
            yield Lines()

    def on_mount(self) -> None:
        self.renew()
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def arming_changed(self) -> None:
        self._draw()

    def _draw(self) -> None:
        text = self.query_one(Lines)
        cells = min(76, self.app.size.width) - 4
        lines: list[Spans] = [spans_of(line) for line in self._head(cells)]
        lines.append(())
        titles = [act.verb for act in self.acts]
        room = max((width(title) for title in titles), default=0) + 2
        for number, (act, key, title) in enumerate(zip(self.acts, self.keys, titles, strict=True)):
            lines += self._entry(act, key, pad(title, room), number == self.at, cells)
        if not self.acts:
            lines.append((("nothing can be done to this", Tone.MUTED),))
        lines += [(), (("enter", "key"), (f" {self._enter_words()}   ", Tone.MUTED), ("esc", "key"), (" close", Tone.MUTED))]
        text.styles.height = len(lines)
        text.put(lines)

    def _head(self, cells: int) -> list[Line]:
        lines = plan_words.address_lines(self.acting.world, str(self.ref), self.acting.now, cells)
        if why := self.acting.why_not():
            lines += plan_words.hung(Cell("READ-ONLY ", Tone.WARN), f"{why}; plans can be looked at.", Tone.PLAIN, cells)
        if self.marked:
            lines += plan_words.hung(
                Cell("◐ ", Tone.WARN), f"{self.marked} rows are marked: an act takes one, {self.ref.name}", Tone.PLAIN, cells
            )
        return lines

    def _entry(self, act: Act, key: str, title: str, here: bool, cells: int) -> list[Spans]:
        off = bool(self.acting.why_not())
        tone = Tone.MUTED if off else Tone.STRONG
        sign = ("▸ " if here else "  ", "title")
        how = ("plan only" if act.rung > Rung.SMALL else "not now") if off else plan_words.rung_words(act.rung)
        first: Spans = (
            sign,
            (f"{key} ", "key" if not off else Tone.MUTED),
            (title, "title" if here and not off else tone),
            (how, Tone.MUTED),
        )
        return [first, ((fit(f"      {act.about}", cells), Tone.MUTED if off else Tone.PLAIN),)] if here else [first]

    def _enter_words(self) -> str:
        if not self.acts:
            return "does nothing"
        if self.acting.why_not():
            return "looks at the plan" if self.acts[self.at].rung > Rung.SMALL else "does nothing while read-only"
        return "does it" if self.acts[self.at].rung is Rung.SMALL else "shows the plan"

    # ------------------------------------------------------------ keys

    def on_key(self, event: events.Key) -> None:
        if event.key in self.keys and event.key:
            event.stop()
            self.at = self.keys.index(event.key)
            self.decide(event, self.action_choose)
        elif event.key == "enter" and self.acts and self.acts[self.at].rung is Rung.SMALL:
            event.stop()  # acts at once
            self.decide(event, self.action_choose)

    def action_move(self, by: int) -> None:
        if self.acts:
            self.at = (self.at + by) % len(self.acts)
            self._draw()

    def action_arm(self) -> None:
        if self.acting.why_not():
            self.acting.arming.toggle()

    def action_choose(self) -> None:
        if self.acts:
            self.dismiss(self.acts[self.at])

    def note(self, text: str) -> None:
        self.query_one(Vertical).border_subtitle = Content(text)
