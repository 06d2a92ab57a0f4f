"""What every screen of the console is: bars around a body, shown the newest World on a tick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, cast, runtime_checkable

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen

from ...domain.objects import Ref
from ...domain.problems import Problem
from ...domain.text import counted
from ...domain.world import World
from ...present.problems import worst_line
from ...present.rows import Cell, Tone
from ..guard import Guarded
from ..widgets import take
from ..widgets.bars import HintLine, TitleBar, WorstLine
from ..widgets.draw import spans_of, words
from ..widgets.lines import Lines
from ..widgets.prompt import PromptInput, PromptLine
from ..widgets.table import RowTable
from ..widgets.textview import TakeText
from . import VIEWS, load

if TYPE_CHECKING:
    from ..app import ColdApp

LEAST = (60, 15)
"""Below this only the worst problem is shown."""
WIDE = 120


@runtime_checkable
class Narrowable(Protocol):
    """A widget that `/` works on."""

    def set_filter(self, typed: str) -> str: ...

    def clear_narrowing(self) -> bool: ...


class WorldScreen(Guarded, Screen[None]):
    """Implement `body` and `show`; the rest is here: bars, prompt, filter, esc, copy, describe, the fallback for tiny terminals."""

    NOUN = ""
    """Kind of the objects in the first table, for copy, describe and logs; empty: `subject` tells."""
    AUTO_FOCUS = "RowTable, TextView, LogView"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", show=False, id="back", tooltip="Close, clear the filter, go back"),
        Binding("x", "menu", "Act", id="act.menu", tooltip="What can be done to this object"),
        Binding("slash", "filter", "Filter", key_display="/", id="filter", tooltip="text, regular expression, !not, -l label=value"),
        Binding("d", "describe(False)", "Describe", id="describe", tooltip="All about this object, with its events"),
        Binding("y", "describe(True)", "YAML", id="yaml", tooltip="The object as the API gives it"),
        Binding("l", "logs(False)", "Logs", id="logs", tooltip="Follow the log of this pod"),
        Binding(
            "p", "logs(True)", "Previous log", show=False, id="logs.previous", tooltip="The log of the instance before the last restart"
        ),
        Binding("c", "copy_name", "Copy name", show=False, id="copy", tooltip="Copy the name through the terminal's clipboard"),
    ]
    DEFAULT_CSS = """
    WorldScreen { layout: vertical; background: $background; }
    WorldScreen > #body { height: 1fr; }
    WorldScreen > #tiny { display: none; height: 1fr; }
    WorldScreen.-tiny > * { display: none; }
    WorldScreen.-tiny > #tiny { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.now: datetime | None = None
        self.problems: tuple[Problem, ...] = ()
        self._waiting: list[Callable[[], None]] = []

    # ------------------------------------------------------------ for subclasses

    def body(self) -> ComposeResult:
        """The widgets between the second line and the hints."""
        raise NotImplementedError

    def show(self, world: World, now: datetime) -> None:
        """Hand what changed to the widgets. Called a few times a second at most, only while the screen is on top of its stack."""
        raise NotImplementedError

    def subject(self) -> Ref | None:
        """The object that copy, describe and logs are about: the one under the cursor of the focused table."""
        table = self.table
        if table is None or table.key is None or not self.NOUN:
            return None
        namespace, slash, name = table.key.partition("/")
        return Ref(self.NOUN, name, namespace) if slash else Ref(self.NOUN, namespace)

    def acts_on(self) -> Ref | None:
        """The object that acts are about: what is under the cursor."""
        return self.subject()

    def act_values(self) -> Mapping[str, str]:
        """What is known of it besides its name, by the fields of operations."""
        return {}

    def acts_besides(self) -> tuple[tuple[Ref, Mapping[str, str]], ...]:
        """Other objects that the menu offers acts on, each with what is known of it."""
        return ()

    def reveal(self, ref: Ref) -> bool:
        """Put the cursor on an object; False when it is not listed."""
        table = self.table
        return table is not None and (table.key == ref.key or self._select(table, ref.key))

    def narrow(self, argument: str) -> None:
        """What follows the command: `ns`, `/filter`, `app=x` or `-l app=x`. Empty: as it was."""
        table, typed = self.table, argument.strip()
        if table is None or not typed:
            return
        if typed.startswith("/"):
            self._say_note(table.set_filter(typed[1:]))
        elif typed.startswith("-l") or "=" in typed:
            self._say_note(table.set_filter(typed if typed.startswith("-l") else f"-l {typed}"))
        elif table.listing.namespaced:
            table.set_namespace("" if typed in {"all", "*"} else typed)
        else:
            self._say_note(table.set_filter(typed))

    # ------------------------------------------------------------ what widgets and others use

    @property
    def cold(self) -> ColdApp:
        """The console."""
        return cast("ColdApp", self.app)

    @property
    def table(self) -> RowTable | None:
        """The focused table, or the first."""
        if isinstance(self.focused, RowTable):
            return self.focused
        return next(iter(self.query(RowTable)), None)

    @property
    def hints(self) -> HintLine:
        return self.query_one(HintLine)

    def say(self, text: str, tone: Tone = Tone.PLAIN, *, sticky: bool = False) -> None:
        """A notice in the last line."""
        if self.is_mounted:
            self.hints.say(text, tone, sticky=sticky)

    def _say_note(self, note: str) -> None:
        if note:
            self.say(note, Tone.WARN)

    def when_shown(self, act: Callable[[], None]) -> None:
        """Do something once the screen has shown a World: now, if it has."""
        if self.world is not None and self.is_mounted:
            act()
        else:
            self._waiting.append(act)

    def offer(self, world: World, now: datetime, problems: tuple[Problem, ...]) -> None:
        """From the app: a newer World, or the same at a later moment."""
        if not self.is_mounted or not self.query(HintLine):
            return
        self.world, self.now, self.problems = world, now, problems
        self.show_title()
        self.query_one(WorstLine).show(world, problems, now, self.cold.worst_at, self.cold.key_of("worst"))
        if self.has_class("-tiny"):
            self._show_tiny()
        else:
            self.show(world, now)
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()

    def show_title(self) -> None:
        if self.world is not None and self.now is not None:
            for title in self.query(TitleBar):
                title.show(self.world, self.now, armed=self.cold.acting.arming.left)

    def _select(self, table: RowTable, key: str) -> bool:
        if table.select(key):
            return True
        if table.filter or table.trouble_only or table.namespace:
            table.set_namespace("")
            table.trouble_only = False
            table.set_filter("")
        return table.select(key)

    # ------------------------------------------------------------ layout

    def compose(self) -> ComposeResult:
        yield TitleBar(id="title")
        yield WorstLine(id="worst")
        with Vertical(id="body"):
            yield from self.body()
        yield PromptLine()
        yield HintLine(id="hints")
        yield Lines(id="tiny")

    def on_mount(self) -> None:
        self._size_classes()

    def on_resize(self) -> None:
        self._size_classes()

    def _size_classes(self) -> None:
        width, height = self.size.width or self.app.size.width, self.size.height or self.app.size.height
        tiny = width < LEAST[0] or height < LEAST[1]
        was = (self.has_class("-tiny"), self.has_class("-wide"))
        self.set_class(tiny, "-tiny")
        self.set_class(width >= WIDE, "-wide")
        if tiny:
            self._show_tiny()
        elif was != (tiny, width >= WIDE) and self.world is not None and self.now is not None:
            self.show(self.world, self.now)

    def _show_tiny(self) -> None:
        """The least that helps: the worst problem, and how much room the rest needs."""
        width, height = self.size.width or 40, self.size.height or 10
        problem = "".join(text for text, _ in spans_of(worst_line(self.problems, self.now))) if self.now else "reading the site"
        lines = [((line, Tone.STRONG),) for line in words(problem, width - 2)]
        if len(self.problems) > 1:
            lines.append(((f"and {len(self.problems) - 1} more", Tone.MUTED),))
        lines.append((("", Tone.PLAIN),))
        lines += [
            ((line, Tone.MUTED),)
            for line in words(f"This terminal is {width}x{height}; the console needs {LEAST[0]}x{LEAST[1]}.", width - 2)
        ]
        if self.is_mounted and (found := self.query("#tiny")):
            cast(Lines, found.first()).put([((" ", Tone.PLAIN), *line) for line in lines])

    def on_screen_resume(self) -> None:
        self.cold.publish(force=True)

    # ------------------------------------------------------------ keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "describe":
            return "describe" in VIEWS and self._may_describe()
        if action == "logs":
            subject_kind = self.NOUN if self.NOUN else getattr(self.subject(), "kind", "")
            return "logs" in VIEWS and subject_kind == "pods"
        if action == "menu":
            ref = self.acts_on() if self.is_mounted else None
            return ref is not None and self.cold.acting.can_act_on(ref.kind)
        if action == "filter":
            return self._filtered is not None and not isinstance(self.focused, PromptInput)
        if action == "copy_name":
            return bool(self.NOUN) or self.subject() is not None
        return True

    def _may_describe(self) -> bool:
        return bool(self.NOUN) or self.subject() is not None

    @property
    def _filtered(self) -> Narrowable | None:
        """What `/` works on: the focused widget if it can be narrowed, else the first that can."""
        if isinstance(self.focused, Narrowable):
            return self.focused
        return next((widget for widget in self.query("*") if isinstance(widget, Narrowable)), None)

    def action_filter(self) -> None:
        target = self._filtered
        if target is None:
            return
        now = getattr(getattr(target, "filter", None), "typed", "")
        self.query_one(PromptLine).ask(
            "/", value=now, changed=target.set_filter, done=lambda typed: None, cancelled=lambda: self._unfilter(target)
        )

    def _unfilter(self, target: Narrowable) -> None:
        target.set_filter("")

    def action_back(self) -> None:
        """One step back: the notice, then the filter, then the screen."""
        if self.hints.hush(all=True):
            return
        if self._filtered is not None and self._filtered.clear_narrowing():
            return
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_menu(self) -> None:
        ref = self.acts_on()
        if ref is None:
            return
        from ..dialogs.menu import Menu

        acting = self.cold.acting
        marked = len(self.table.marks) if self.table is not None else 0
        menu = Menu(acting, ref, marked, self.act_values(), self.acts_besides())
        self.app.push_screen(menu, lambda act: acting.ask(act.operation, act.values) if act is not None else None)

    def action_copy_name(self) -> None:
        found = self.subject()
        if found is None:
            self.say("nothing is selected", Tone.MUTED)
            return
        self.app.copy_to_clipboard(found.name)
        self.say(f"copied {found.name}", Tone.MUTED)

    def action_describe(self, yaml: bool) -> None:
        if (ref := self.subject()) is not None:
            self.app.push_screen(load(VIEWS["describe"])(ref, yaml=yaml))

    def action_logs(self, previous: bool) -> None:
        ref = self.subject()
        if ref is not None and ref.kind == "pods":
            self.app.push_screen(load(VIEWS["logs"])(ref, previous=previous))

    # ------------------------------------------------------------ messages

    def on_row_table_row_highlighted(self, message: RowTable.RowHighlighted) -> None:
        """A name that its column could not show whole is written out in the last line."""
        if message.table.cut and message.table.has_focus:
            self.say(message.table.cut, Tone.STRONG)
        else:
            self.hints.hush()

    def on_take_text(self, message: TakeText) -> None:
        message.stop()
        self.take(message.stem, message.lines, to_file=message.to_file, ending=message.ending)

    def take(self, stem: str, lines: Sequence[str], *, to_file: bool, ending: str = "txt") -> None:
        """Copy text to the clipboard, or save it; what is too long to copy is saved too."""
        text = "\n".join(lines)
        if not to_file:
            if len(text.encode()) <= take.CLIPBOARD_CAP_B:
                self.app.copy_to_clipboard(text)
                self.say(f"copied {counted(len(lines), 'line')}", Tone.MUTED)
                return
            self.app.copy_to_clipboard(_tail(text, take.CLIPBOARD_CAP_B))
        path = self.cold.save_folder / take.file_name(stem, self.cold.now(), ending)
        if not path.exists():
            self._write(path, lines, copied=not to_file)
            return
        from ..dialogs.base import Dialog

        question = Dialog("Save", [(Cell(str(path), Tone.STRONG),), (Cell("is there already. Its text will be replaced."),)], "Replace it")
        self.app.push_screen(question, lambda yes: self._write(path, lines, copied=not to_file) if yes else None)

    def _write(self, path: Path, lines: Sequence[str], *, copied: bool) -> None:
        try:
            size = take.write(path, lines)
        except OSError as error:
            self.say(f"not saved: {path}: {error.strerror}", Tone.BAD, sticky=True)
            return
        before = "too long for the clipboard: its end is copied, all of it is" if copied else ""
        self.say(f"{before} saved {path} ({counted(len(lines), 'line')}, {size} bytes)".strip(), sticky=True)


def _tail(text: str, limit_b: int) -> str:
    return text.encode()[-limit_b:].decode("utf-8", "ignore")
