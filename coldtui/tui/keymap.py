"""The operator's own keys: what they may bind, and what goes wrong when they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.binding import Binding, BindingType

from ..domain.text import one_of


def bindings_of(*classes: type) -> list[Binding]:
    """The bindings of classes and of what they inherit from within coldtui."""
    found: list[BindingType] = []
    for cls in classes:
        for part in reversed(cls.__mro__):
            if part.__module__.startswith("coldtui"):
                found += part.__dict__.get("BINDINGS", [])
    return list(Binding.make_bindings(found))


def scopes() -> dict[str, list[Binding]]:
    """Which bindings are live together: app, screen and the focused widget. Loads every screen."""
    from .app import ColdApp
    from .dialogs.base import Dialog
    from .dialogs.form import FormDialog
    from .dialogs.hostkey import HostKeyDialog
    from .dialogs.menu import Menu
    from .dialogs.plan import PlanDialog
    from .dialogs.secret import SecretDialog
    from .screens import SCREENS, VIEWS, load
    from .screens.base import WorldScreen
    from .widgets.logview import LogView
    from .widgets.table import RowTable
    from .widgets.textview import TextView

    app, out = bindings_of(ColdApp), {}
    screens = {entry.id: entry.load() for entry in SCREENS} | {name: load(path) for name, path in VIEWS.items()}
    for name, screen in (screens or {"screen": WorldScreen}).items():
        for widget in (RowTable, TextView, LogView):
            out[f"{name} with {widget.__name__}"] = [*bindings_of(widget), *bindings_of(screen), *app]
    for dialog in (Dialog, Menu, PlanDialog, FormDialog, SecretDialog, HostKeyDialog):
        out[dialog.__name__] = bindings_of(dialog)  # nothing else is live under a dialog
    return out


def conflicts(keymap: Mapping[str, str], among: Mapping[str, Iterable[Binding]] | None = None) -> list[str]:
    """What is wrong with a keymap, a sentence each: names that do not exist, and keys that would mean two things at once."""
    if not keymap:
        return []
    live = {name: list(bindings) for name, bindings in (among or scopes()).items()}
    ids = sorted({b.id for bindings in live.values() for b in bindings if b.id})
    said: list[str] = []
    for wanted in keymap:
        if wanted not in ids and not wanted.startswith("table.sort."):
            near = one_of(ids, wanted)
            said.append(f"keymap: there is no binding {wanted}" + (f"; did you mean {near}?" if near else ""))
    for bindings in live.values():
        users: dict[str, set[str]] = {}
        for b in bindings:
            keys = keymap.get(b.id or "", b.key).split(",")
            for key in keys:
                users.setdefault(key.strip(), set()).add(b.id or b.action)
        for key, names in users.items():
            if len(names) > 1 and any(name in keymap for name in names):
                said.append(f"keymap: {key} means {' and '.join(sorted(names))}")
    return list(dict.fromkeys(said))
