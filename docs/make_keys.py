"""Makes docs/keys.md from the live bindings and the catalogue of commands. Never write that file by hand.

.venv/bin/python docs/make_keys.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from textual.binding import Binding
from textual.keys import format_key

from coldtui.operations.catalogue import CATALOGUE
from coldtui.tui import commands
from coldtui.tui.app import ColdApp
from coldtui.tui.dialogs.base import Dialog
from coldtui.tui.dialogs.form import FormDialog
from coldtui.tui.dialogs.help import HelpScreen, Palette
from coldtui.tui.dialogs.menu import Menu
from coldtui.tui.dialogs.plan import PlanDialog
from coldtui.tui.keymap import bindings_of
from coldtui.tui.screens import SCREENS, VIEWS, load
from coldtui.tui.screens.base import WorldScreen
from coldtui.tui.screens.listings import ListingsScreen
from coldtui.tui.screens.logs import ContainerList
from coldtui.tui.widgets.logview import LogView
from coldtui.tui.widgets.prompt import PromptInput
from coldtui.tui.widgets.table import RowTable
from coldtui.tui.widgets.textview import TextView

PAGE = Path(__file__).parent / "keys.md"
HEAD = """\
# Keys

This page is made from the program itself by `docs/make_keys.py`. Inside the console `?` shows the same for the screen you are on.

The last column is the name of the binding. Use it to choose other keys: see [keymap](configuration.md#keymap).
"""
ACTS = """\
## To act

The console is read-only until `A` arms it for 15 minutes. No act on an object has a key of its own: `x` shows what can be done to the one
under the cursor, and every act is also a command and in the palette. The verb that a plan asks for is typed: a paste, a held key, and what was typed
before the plan could be read do not count.
"""
_NAMES = {
    "enter": "enter",
    "ctrl+@": "ctrl-space",
    "ctrl+backslash": "ctrl-\\",
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "exclamation_mark": "!",
}


def key_name(key: str) -> str:
    """As the console's help writes it."""
    return _NAMES.get(key) or format_key(key).replace("+", "-").replace("pagedown", "pgdn").replace("pageup", "pgup")


def _keys(binding: Binding) -> str:
    return binding.key_display or key_name(binding.key)


def table(bindings: Iterable[Binding]) -> str:
    """One row for each action; several keys of one action share it."""
    rows: dict[tuple[str, str], tuple[list[str], Binding]] = {}
    for binding in bindings:
        keys, _ = rows.setdefault((binding.action, binding.id or ""), ([], binding))
        keys.append(_keys(binding))
    lines = ["| keys | does | in words | name |", "| --- | --- | --- | --- |"]
    for keys, binding in rows.values():
        shown = " ".join(f"`{key}`" for key in keys)
        said = " | ".join(text.replace("|", "\\|") for text in (binding.description, binding.tooltip))
        lines.append(f"| {shown} | {said} | {f'`{binding.id}`' if binding.id else ''} |")
    return "\n".join(lines) + "\n"


def own(cls: type, *common: type) -> list[Binding]:
    """What a class binds beyond classes that have a table of their own."""
    known = {(b.key, b.action, b.id) for b in bindings_of(*common)}
    return [b for b in bindings_of(cls) if (b.key, b.action, b.id) not in known]


def screens() -> str:
    """What single screens add."""
    out = []
    found = {entry.title: entry.load() for entry in SCREENS} | {name.capitalize(): load(path) for name, path in VIEWS.items()}
    for title, cls in found.items():
        more = own(cls, WorldScreen, ListingsScreen)
        if more:
            out.append(f"### {title}\n\n{table(more)}")
    return "\n".join(out)


def opened() -> str:
    lines = ["| command | also | opens or does | may be followed by |", "| --- | --- | --- | --- |"]
    for c in (*commands.catalogue(), *commands.acts(CATALOGUE)):
        also = " ".join(f"`:{alias}`" for alias in c.aliases)
        lines.append(f"| `:{c.name}` | {also} | {c.help} | {c.takes.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    parts = [
        HEAD,
        "## Everywhere\n\nIn a log the digits 0 to 6 mean something else: see [In a log](#in-a-log).\n\n" + table(bindings_of(ColdApp)),
        "## On every screen\n\n" + table(bindings_of(WorldScreen)),
        "## In a list\n\nThe keys that sort differ from list to list: a capital letter for each column. `?` names them.\n\n"
        + table(bindings_of(RowTable)),
        "## On a screen with several lists\n\n" + table(own(ListingsScreen, WorldScreen)),
        "## In a text\n\n" + table(bindings_of(TextView)),
        "## In a log\n\nThe log of a run lies in a file: `g` and `G` are its beginning and end, digits switch screens as elsewhere. All the keys of [a text](#in-a-text), and:\n\n"
        + table(own(LogView, TextView)),
        "## Keys of single screens\n\n" + screens(),
        "## While you type after `:` or `/`\n\n`enter` does it.\n\n" + table(bindings_of(PromptInput)),
        "## In the palette, the help and the list of containers\n\n"
        + table([*bindings_of(Palette), *bindings_of(HelpScreen), *bindings_of(ContainerList)]),
        ACTS,
        "### In the menu of acts\n\nEach act has the letter that stands before it.\n\n" + table(bindings_of(Menu)),
        "### In a plan\n\nLetters go to the word that is asked for, wherever the focus is.\n\n" + table(bindings_of(PlanDialog)),
        "### In its options\n\nSpace and the arrows change a choice.\n\n" + table(bindings_of(FormDialog)),
        "### In a question\n\n`y` is yes, `n` is no, and `enter` is the button that has the focus: Cancel, until you move.\n\n"
        + table(bindings_of(Dialog)),
        "## Commands\n\n" + opened(),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
