"""Help and palette: both made from the live bindings and the one catalogue of commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Input

from coldtui.domain.values import dataclass

from ...present.rows import Tone
from ..commands import catalogue
from ..guard import Guarded
from ..widgets.draw import Spans, fit, width_of
from ..widgets.lines import Lines
from ..widgets.textview import TakeText, TextView

if TYPE_CHECKING:
    from ..acting import Act
    from ..app import ColdApp


@dataclass(frozen=True, slots=True)
class KeyHelp:
    """One thing that keys do."""

    keys: str
    """`j ↓`."""
    description: str
    tooltip: str
    where: str
    action: str
    namespace: Any


def live_keys(screen: Screen[Any]) -> list[KeyHelp]:
    """What the keys do on a screen now: the focused widget's first, then the screen's, then the app's."""
    app = screen.app
    found: dict[tuple[int, str], KeyHelp] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.description or binding.system or not active.enabled:
            continue
        node = active.node
        where = "everywhere" if node is app else "screen" if node is screen else "here"
        key = app.get_key_display(binding)
        place = (id(node), binding.action)
        if place in found:
            key = f"{found[place].keys} {key}"
        found[place] = KeyHelp(key, binding.description, active.tooltip or binding.tooltip, where, binding.action, node)
    return list(found.values())


def help_lines(screen: Screen[Any]) -> list[Spans]:
    titles = {"here": "In this list or text", "screen": "On this screen", "everywhere": "Everywhere"}
    keys = live_keys(screen)
    out: list[Spans] = []
    for where, title in titles.items():
        rows = [k for k in keys if k.where == where]
        if rows:
            wide = max(width_of(k.keys) for k in rows)
            out += [((title, "title"),)]
            for k in rows:
                tip = f"  {k.tooltip}" if k.tooltip else ""
                out.append(((f"  {fit(k.keys, wide)}  ", "key"), (fit(k.description, 16), Tone.PLAIN), (tip, Tone.MUTED)))
            out.append(())
    out.append((("Commands", "title"), ("  after :   (:- does the last one again)", Tone.MUTED)))
    for c in catalogue(cast("ColdApp", screen.app)):
        names = " ".join((c.name, *c.aliases))
        out.append(((f"  :{fit(names, 24)}", "key"), (c.help, Tone.PLAIN), (f"  {c.takes}" if c.takes else "", Tone.MUTED)))
    return out


class HelpScreen(Guarded, ModalScreen[None]):
    """`?`"""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "dismiss", "Close", id="help.close")]
    CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen > Vertical {
        width: 100; max-width: 98%; height: 90%; border: round $primary; border-title-color: $title; padding: 0 1; background: $surface;
    }
    """

    def __init__(self, lines: Sequence[Spans]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content("Help")
            yield TextView("j k scroll · w wrap · esc closes", stem="coldtui-help")

    def on_mount(self) -> None:
        self.query_one(TextView).show_spans(self._lines)
        self.query_one(TextView).focus()

    def on_take_text(self, message: TakeText) -> None:
        message.stop()
        cast("ColdApp", self.app).top.take(message.stem, message.lines, to_file=message.to_file)


@dataclass(frozen=True, slots=True)
class Offer:
    """One line of the palette."""

    name: str
    help: str
    keys: str
    run: Callable[[], Any]


class Palette(Guarded, ModalScreen[None]):
    """ctrl-p: commands and keys of this screen, found by any part of their words."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="palette.close"),
        Binding("down,ctrl+n", "move(1)", "Down", id="palette.down"),
        Binding("up", "move(-1)", "Up", id="palette.up"),
    ]
    CSS = """
    Palette { align: center top; background: $background 60%; }
    Palette > Vertical { width: 80; max-width: 96%; height: 20; max-height: 90%; margin-top: 2; border: round $primary; background: $surface; padding: 0 1; }
    Palette Input, Palette Input:focus { border: none; height: 1; padding: 0; background: $surface; background-tint: $foreground 0%; }
    Palette Lines { height: 1fr; }
    """

    def __init__(self, offers: Sequence[Offer]) -> None:
        super().__init__()
        self._offers = tuple(offers)
        self._found = self._offers
        self._at = 0

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Input(placeholder="what to do", compact=True)
            yield Lines()

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.query_one(Input).focus()
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        words = event.value.lower().split()
        self._found = tuple(o for o in self._offers if all(w in f"{o.name} {o.help} {o.keys}".lower() for w in words))
        self._at = 0
        self._draw()

    def action_move(self, by: int) -> None:
        self._at = max(0, min(len(self._found) - 1, self._at + by))
        self._draw()

    def _draw(self) -> None:
        lines = self.query_one(Lines)
        height = max(1, lines.size.height)
        first = max(0, min(self._at - height // 2, len(self._found) - height))
        width = max((width_of(o.name) for o in self._offers), default=0) + 2
        shown: list[Spans] = []
        for number, offer in enumerate(self._found[first : first + height], first):
            sign = "▸ " if number == self._at else "  "
            tone = "title" if number == self._at else Tone.PLAIN
            shown.append(
                ((sign + fit(offer.name, width), tone), (offer.help, Tone.MUTED), (f"  {offer.keys}" if offer.keys else "", "key"))
            )
        lines.put(shown or [(("nothing is called that", Tone.MUTED),)])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        chosen = self._found[self._at] if self._at < len(self._found) else None
        self.dismiss(None)
        if chosen is not None:
            self.app.call_later(chosen.run)


def offers(app: ColdApp) -> list[Offer]:
    """What can be done to the object under the cursor, the catalogue, then what the keys of the current screen do."""
    screen = app.screen
    out = _acts(app)
    out += [Offer(f":{c.name}", c.help, "", _command(app, c.name)) for c in catalogue() if not c.takes.startswith("NAME")]
    for name in _theme_names():
        out.append(Offer(f":theme {name}", "Colours", "", _command(app, f"theme {name}")))
    for k in live_keys(screen):
        if k.where != "everywhere":
            out.append(Offer(k.description, k.tooltip, k.keys, _action(app, k)))
    return out


def _acts(app: ColdApp) -> list[Offer]:
    """Each with how it is confirmed, or that it cannot be now."""
    from ...present.plans import rung_words

    why = app.acting.why_not()
    out = []
    for act in app.acting.acts_on(app.top.acts_on(), app.top.act_values()):
        told = f"{f'read-only: {why}' if why else rung_words(act.rung)} · {act.about}"
        out.append(Offer(act.title, told, "", _ask(app, act)))
    return out


def _ask(app: ColdApp, act: Act) -> Callable[[], None]:
    return lambda: app.acting.ask(act.operation, act.values)


def _theme_names() -> tuple[str, ...]:
    from .. import theme

    return theme.names()


def _command(app: ColdApp, line: str) -> Callable[[], None]:
    return lambda: app.run_command(line)


def _action(app: ColdApp, key: KeyHelp) -> Callable[[], Any]:
    return lambda: app.run_action(key.action, key.namespace)
