"""The one catalogue of commands: the `:` prompt, the palette and help read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from coldtui.domain.values import dataclass

from ..domain.text import one_of
from ..present.rows import Tone
from . import theme
from .screens import SCREENS, Entry

if TYPE_CHECKING:
    from ..operations.engine import AnyOperation
    from .app import ColdApp


@dataclass(frozen=True, slots=True)
class Command:
    """Something that can be typed after `:`."""

    name: str
    help: str
    run: Callable[[ColdApp, str], None]
    aliases: tuple[str, ...] = ()
    takes: str = ""
    """What may follow, for help."""
    offer: Callable[[ColdApp], Sequence[str]] | None = None
    """Words that may follow."""


def _screen(entry: Entry) -> Command:
    def run(app: ColdApp, argument: str) -> None:
        app.go(entry.id, argument if entry.narrows else "")
        if argument and not entry.narrows:
            app.say(f":{entry.id} takes nothing after it", Tone.MUTED)

    takes = entry.takes or ("[NAMESPACE | /FILTER | LABEL=VALUE]" if entry.narrows else "")
    words = [word for word in entry.takes.strip("[]").split(" | ") if word.islower() and word.isalpha()]
    offer = (lambda app: words) if entry.takes else _namespaces if entry.narrows else None
    return Command(entry.id, entry.help or entry.title, run, entry.aliases, takes, offer)


def _namespaces(app: ColdApp) -> Sequence[str]:
    return sorted(app.world.namespaces.items) if app.world is not None else ()


def _themes(app: ColdApp) -> Sequence[str]:
    return theme.names()


OWN: tuple[Command, ...] = (
    Command("worst", "Open the object of the worst problem", lambda app, _: app.action_worst(), ("problem",)),
    Command("refresh", "Read everything anew and paint the whole screen", lambda app, _: app.action_refresh()),
    Command("theme", "Change the colours", lambda app, name: app.choose_theme(name), (), "NAME", _themes),
    Command("help", "Keys and commands of this screen", lambda app, _: app.action_help(), ("h", "?")),
    Command("suspend", "Stop the console and go to the shell (fg comes back)", lambda app, _: app.action_suspend_process()),
    Command("quit", "Leave the console", lambda app, _: app.leave(), ("q", "q!", "qa", "exit")),
)


def catalogue(app: ColdApp | None = None) -> tuple[Command, ...]:
    """Screens first; with the app also the acts that its desk knows."""
    desk = app.acting.desk if app is not None else None
    return (*(_screen(entry) for entry in SCREENS), *OWN, *(acts(desk.operations) if desk is not None else ()))


def acts(operations: Mapping[str, AnyOperation]) -> tuple[Command, ...]:
    """One command for each operation: its verb, such as `:drain NODE`, or noun and verb where another noun has that verb too."""
    from .acting import kind_of, required, sentence

    made: list[Command] = []
    taken = {word for c in catalogue() for word in (c.name, *c.aliases)}
    for name, operation in operations.items():
        noun, _, verb = name.partition(".")
        if kind := kind_of(name):
            names = [word for word in (verb, f"{noun}-{verb}") if word not in taken]
            taken.update(names)
            fields = required(operation)
            wanted = (
                " ".join(field.upper() for field in fields) if len(fields) > 1 or fields == ("pid",) else noun.upper() if fields else ""
            )
            does, offer = partial(_act, name), partial(_objects, kind)
            made.append(Command(names[0], sentence(operation.about), does, tuple(names[1:]), f"[{wanted}]" if wanted else "", offer))
    return tuple(made)


def _act(name: str, app: ColdApp, argument: str) -> None:
    """On the object that is named, else on the one under the cursor."""
    from .acting import required

    noun = name.partition(".")[0]
    fields = required(app.acting.need_desk().find(name))
    words = argument.split()
    here = [act for act in app.acting.acts_on(app.top.acts_on(), app.top.act_values()) if act.operation == name]
    if not words and len(here) == 1:
        app.acting.ask(name, here[0].values)
        return
    if len(words) < len(fields):
        several = len(fields) > 1 or fields == ("pid",)
        what, wanted = (" and ".join(fields[len(words) :]), " ".join(fields).upper()) if several else (noun, noun.upper())
        app.say(f"which {what}? :{name.partition('.')[2]} {wanted}", Tone.WARN)
    elif len(words) > len(fields):
        app.say(f"one {noun} at a time; options are in the plan, behind ctrl-o", Tone.WARN)
    else:
        app.acting.ask(name, dict(zip(fields, words, strict=True)))


def _objects(kind: str, app: ColdApp) -> Sequence[str]:
    if kind in ("pg_sessions", "pg_databases"):
        return ()
    if kind == "pg_instances":
        return (
            sorted(name for cluster in app.world.pg_clusters.items.values() for name in cluster.instance_names)
            if app.world is not None
            else ()
        )
    if kind in ("pg_sessions", "pg_databases"):
        return ()
    return sorted(item.name for item in app.world.shelf(kind).items.values()) if app.world is not None else ()


def find(name: str, app: ColdApp | None = None) -> Command | None:
    return next((c for c in catalogue(app) if name == c.name or name in c.aliases), None)


def nearest(name: str, app: ColdApp | None = None) -> str | None:
    """The name of the command that was perhaps meant."""
    by_word = {word: c.name for c in reversed(catalogue(app)) for word in (*c.aliases, c.name) if len(word) > 1}
    begins = next((word for word in sorted(by_word) if word.startswith(name)), None)
    found = begins or one_of(list(by_word), name)
    return by_word[found] if found is not None else None


def complete(app: ColdApp, typed: str) -> list[str]:
    """What may be meant by what is typed so far, whole lines."""
    name, space, rest = typed.partition(" ")
    if not space:
        every = catalogue(app)
        words = [c.name for c in every] + [alias for c in every for alias in c.aliases if len(alias) > 2]
        return [word for word in words if word.startswith(name)]
    command = find(name, app)
    if command is None or command.offer is None:
        return []
    return [f"{name} {word}" for word in command.offer(app) if word.startswith(rest)]
