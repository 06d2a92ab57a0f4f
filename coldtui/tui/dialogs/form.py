"""The parameters of an operation with their defaults, before its plan is made again; what raises the confirmation stands apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Button, Input

from ...domain.errors import UsageError
from ...present import plans as plan_words
from ...present.rows import Cell, Tone
from ..guard import Guarded, GuardedWidget
from ..theme import palette_of
from ..widgets.draw import Spans, strip_of
from ..widgets.lines import Lines
from .base import Fresh

if TYPE_CHECKING:
    from ...operations.engine import AnyOperation
    from ...operations.params import Param

CELLS = 74


class Choice(GuardedWidget, can_focus=True):
    """Yes or no, or one of a few words: space and the arrows change it."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Choice { height: 1; width: 1fr; }"

    def __init__(self, choices: tuple[Any, ...], value: Any, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.choices, self.value = choices, value

    def on_key(self, event: events.Key) -> None:
        by = {"space": 1, "right": 1, "left": -1}.get(event.key)
        if by is not None:
            event.stop()
            at = self.choices.index(self.value) if self.value in self.choices else 0
            self.value = self.choices[(at + by) % len(self.choices)]
            self.refresh()

    def on_click(self) -> None:
        self.value = self.choices[(self.choices.index(self.value) + 1) % len(self.choices)]
        self.refresh()

    def draw_line(self, y: int) -> Strip:
        if self.choices == (False, True):
            spans: Spans = (("[x] yes" if self.value else "[ ] no", Tone.STRONG if self.value else Tone.PLAIN),)
        else:
            spans = ((f"‹ {self.value} ›" if not self.app.no_color else f"< {self.value} >", Tone.STRONG),)
        return strip_of(spans, self.size.width, palette_of(self), "cursor" if self.has_focus else "")

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()


class FieldInput(Guarded, Input):
    """A number or a text."""


class FormDialog(Fresh[Mapping[str, Any] | None]):
    """Answers with all values, checked, or None when nothing was changed."""

    AUTO_FOCUS = "FieldInput, Choice"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", id="form.cancel", tooltip="Leave the values as they were"),
        Binding("enter", "done", "Plan with these", id="form.done", priority=True, tooltip="Plan again with these values"),
        Binding("down", "app.focus_next", "Down", show=False, id="form.down"),
        Binding("up", "app.focus_previous", "Up", show=False, id="form.up"),
    ]
    DEFAULT_CSS = """
    FormDialog > Vertical { padding: 0 1; width: 78; max-width: 100%; }
    FormDialog VerticalScroll { height: auto; max-height: 1fr; scrollbar-size: 0 0; }
    FormDialog .row { height: 1; }
    FormDialog .name { width: 25; height: 1; }
    FormDialog .unit { width: 32; height: 1; }
    FormDialog .head { height: 2; }
    FormDialog FieldInput { width: 1fr; height: 1; border: none; padding: 0; background: $panel; }
    FormDialog FieldInput:focus { border: none; background: $cursor; background-tint: $foreground 0%; }
    FormDialog #about { height: 2; margin-top: 1; }
    FormDialog #foot { height: 1; }
    FormDialog #keys { width: 1fr; height: 1; }
    """

    def __init__(self, operation: AnyOperation, values: Mapping[str, Any], title: str) -> None:
        super().__init__()
        from ...operations.params import params_of

        self._operation, self._values = operation, dict(values)
        every = params_of(operation.params)
        self._title = title
        self._object = next(p for p in every if p.required)
        fields = [p for p in every if p is not self._object]
        self._fields = tuple(sorted(fields, key=lambda p: p.grave))
        """Grave ones last."""

    # ------------------------------------------------------------ layout

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(f"Options: {self._title}")
            with VerticalScroll(can_focus=False):
                told = False
                for p in self._fields:
                    if p.grave and not told:
                        told = True
                        yield Lines(id="grave", classes="head")
                    with Horizontal(classes="row"):
                        yield Lines(id=f"name-{p.name}", classes="name")
                        yield self._widget(p)
                        yield Lines(id=f"unit-{p.name}", classes="unit")
            yield Lines(id="about")
            with Horizontal(id="foot"):
                yield Lines(id="keys")
                yield Button(Content("Cancel"), id="cancel", compact=True)

    def _widget(self, p: Param) -> Widget:
        value = self._values.get(p.name, "" if p.required else p.default)
        if p.kind is bool:
            return Choice((False, True), bool(value), id=f"field-{p.name}")
        if p.choices:
            return Choice(p.choices, value, id=f"field-{p.name}")
        text = ",".join(value) if isinstance(value, (tuple, list)) else str(value)
        return FieldInput(text, compact=True, select_on_focus=False, id=f"field-{p.name}")

    def on_mount(self) -> None:
        for found in self.query(FieldInput):
            found.cursor_blink = False
        for p in self._fields:
            self.query_one(f"#name-{p.name}", Lines).put([((p.flag, Tone.WARN if p.grave else Tone.PLAIN),)])
            self.query_one(f"#unit-{p.name}", Lines).put([((f"  {self._hint(p)}", Tone.MUTED),)])
        for head in self.query("#grave"):
            assert isinstance(head, Lines)
            head.put([(), (("▲ These raise what must be confirmed", Tone.WARN),)])
        keys = (
            ("enter", "key"),
            (" plans with these   ", Tone.MUTED),
            ("space", "key"),
            (" changes   ", Tone.MUTED),
            ("esc", "key"),
            (" cancels", Tone.MUTED),
        )
        self.query_one("#keys", Lines).put([keys])
        self.renew()

    @staticmethod
    def _hint(p: Param) -> str:
        """Unit, bounds and default."""
        bounds = (
            f"{p.least} to {p.most}" if p.least is not None and p.most is not None else f"at least {p.least}" if p.least is not None else ""
        )
        default = {True: "yes", False: "no", "": "empty", (): "none"}.get(p.default, p.default) if p.kind is not int else p.default
        return " · ".join(part for part in (p.unit, bounds, f"default {default}" if not p.required else "must be given") if part)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        name = (event.widget.id or "").removeprefix("field-")
        p = next((p for p in self._fields if p.name == name), None)
        about = p.about if p is not None else self._operation.about
        self._say(about[:1].upper() + about[1:], Tone.MUTED)

    def _say(self, text: str, tone: Tone) -> None:
        self.query_one("#about", Lines).put_cells(plan_words.hung(Cell(""), text, tone, CELLS)[:2])

    # ------------------------------------------------------------ answers

    def _given(self) -> dict[str, Any]:
        out = {self._object.name: self._values[self._object.name]}
        for p in self._fields:
            widget = self.query_one(f"#field-{p.name}")
            out[p.name] = widget.value if isinstance(widget, Choice) else widget.value.strip() if isinstance(widget, Input) else None
        return out

    def action_done(self) -> None:
        from ...operations.params import make

        if self.focused is self.query_one("#cancel"):
            self.action_cancel()
            return
        given = self._given()
        try:
            make(self._operation.params, given)
        except UsageError as error:
            self._say(f"✗ {error}", Tone.BAD)
            return
        self.dismiss(given)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_cancel()
