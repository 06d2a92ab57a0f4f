"""The command line taken apart: global flags, a command, its flags and words. Mistakes offer what is nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from coldtui.domain.values import dataclass

from ..domain.errors import UsageError
from ..domain.text import one_of, plain


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: a switch, or with `value` (what its value is called) something that takes one."""

    names: tuple[str, ...]
    about: str
    value: str = ""
    choices: tuple[str, ...] = ()
    number: bool = False
    dest: str = ""

    @property
    def key(self) -> str:
        return self.dest or self.names[0].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it says of itself, what it takes, and where it is implemented."""

    name: str
    about: str
    run: str
    """`module:function` under coldtui.cli, imported only when it runs."""
    flags: tuple[Flag, ...] = ()
    words: tuple[str, ...] = ()
    """Names of positional words; those in brackets may be left out."""
    more: str = ""
    """Further help."""
    verbs: Mapping[str, Command] = field(default_factory=dict)
    """A command that is a noun: what can be done, by name. Where it has a `run` too, that is meant when no verb follows. Its names may cost less
    than its commands."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was asked for."""

    command: Command | None
    flags: Mapping[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    help: bool = False


def parse(argv: list[str], commands: Mapping[str, Command], global_flags: tuple[Flag, ...]) -> Parsed:
    """Raises UsageError with the nearest known word."""
    command: Command | None = None
    flags: dict[str, Any] = {}
    words: list[str] = []
    asked_help = False
    known = {name: flag for flag in global_flags for name in flag.names}
    rest = iter(argv)
    for word in rest:
        if word == "--":
            words += list(rest)
            break
        if word in ("-h", "--help"):
            asked_help = True
        elif word.startswith("-") and word != "-" and not word[1:].isdigit():  # a number is a word, and refused as such
            _take(word, rest, known, flags, command)
        elif command is None:
            if word == "help":
                asked_help = True
                continue
            command = _command(word, commands)
            known = {**known, **{name: flag for flag in command.flags for name in flag.names}}
        elif command.verbs:
            command = _command(word, command.verbs, command.name)
            known = {**known, **{name: flag for flag in command.flags for name in flag.names}}
        else:
            words.append(word)
    if command is not None and not asked_help:
        _count(command, words)
    return Parsed(command, flags, tuple(words), asked_help)


def _command(word: str, commands: Mapping[str, Command], noun: str = "") -> Command:
    if word in commands:
        return commands[word]
    swapped = next((name for name in commands if sorted(name) == sorted(word)), None)  # the commonest slip: `nodse` is nodes, not node
    near = swapped or one_of(tuple(commands), word)
    what = f"unknown verb {plain(word)!r} of {noun}" if noun else f"unknown command {plain(word)!r}"
    raise UsageError(what, hint=f"did you mean {near}?" if near else f"known: {', '.join(commands)}")


def _take(word: str, rest: Iterator[str], known: Mapping[str, Flag], flags: dict[str, Any], command: Command | None) -> None:
    name, equal, value = word.partition("=")
    flag = known.get(name)
    if flag is None and not word.startswith("--") and len(word) > 2:
        flag = known.get(word[:2])
        if flag is not None and not flag.value:  # -fp: several switches in one
            flags[flag.key] = True
            _take("-" + word[2:], rest, known, flags, command)
            return
        name, equal, value = word[:2], "=", word[2:].removeprefix("=")  # -nkube-system
    if flag is None:
        raise _unknown(name, known, command)
    if not flag.value:
        if equal:
            raise UsageError(f"{name} takes no value", hint=f"write {name} alone")
        flags[flag.key] = True
        return
    if not equal:
        found = next(rest, None)
        if found is None:
            raise UsageError(f"{name} needs {flag.value}", hint=f"write {name} {flag.value}")
        value = found
    flags[flag.key] = _value(name, flag, value)


def _unknown(name: str, known: Mapping[str, Flag], command: Command | None) -> UsageError:
    near = one_of(tuple(known), name)
    of = f" of {command.name}" if command is not None else ""
    if command is not None and command.verbs and not near:
        return UsageError(f"unknown flag {plain(name)!r}{of}", hint="flags of a verb stand behind it")
    where = f"coldtui {command.name} --help" if command is not None else "coldtui --help"
    return UsageError(f"unknown flag {plain(name)!r}{of}", hint=f"did you mean {near}?" if near else f"see {where}")


def _value(name: str, flag: Flag, value: str) -> Any:
    if flag.choices and value not in flag.choices:
        near = one_of(flag.choices, value)
        raise UsageError(
            f"{name} cannot be {plain(value)!r}", hint=f"did you mean {near}?" if near else f"one of {', '.join(flag.choices)}"
        )
    if flag.number:
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"{name} needs a whole number", detail=f"not {plain(value)!r}", hint=f"write {name} 3")
        return int(value)
    return value


def _count(command: Command, words: list[str]) -> None:
    if command.verbs and not command.run:
        raise UsageError(f"{command.name} needs a verb", hint=f"one of {', '.join(command.verbs)}")
    needed = [w for w in command.words if not w.startswith("[")]
    if len(words) < len(needed):
        raise UsageError(f"{command.name} needs {needed[len(words)]}", hint=usage(command))
    if len(words) > len(command.words) and not (command.words and command.words[-1].endswith("...]")):
        raise UsageError(f"{command.name} does not take {plain(words[len(command.words)])!r}", hint=usage(command))


def usage(command: Command) -> str:
    """`coldtui logs POD [flags]`."""
    if command.verbs:
        return f"coldtui {command.name} {'[VERB ...] [flags]' if command.run else 'VERB ...'}"
    return " ".join(["coldtui", command.name, *command.words]) + (" [flags]" if command.flags else "")


def help_text(about: str, commands: Mapping[str, Command], global_flags: tuple[Flag, ...]) -> str:
    wide = max(len(name) for name in commands) + 2
    lines = [about, "", "coldtui [global flags] COMMAND [flags]        without a command: the console", "", "Commands"]
    lines += [f"  {name.ljust(wide)}{c.about}" for name, c in commands.items()]
    lines += ["", "Global flags", *flag_lines(global_flags), "", "coldtui COMMAND --help says more about one of them."]
    return "\n".join(lines)


def command_help(command: Command, global_flags: tuple[Flag, ...]) -> str:
    lines = [usage(command), "", command.about]
    if command.more:
        lines += ["", command.more]
    if command.verbs:
        wide = max(len(name) for name in command.verbs) + 2
        lines += ["", "Verbs", *(f"  {name.ljust(wide)}{verb.about}" for name, verb in command.verbs.items())]
        lines += ["", f"coldtui {command.name} VERB --help says more about one of them."]
    if command.flags:
        lines += ["", "Flags", *flag_lines(command.flags)]
    return "\n".join([*lines, "", "Global flags", *flag_lines(global_flags)])


def flag_lines(flags: tuple[Flag, ...]) -> list[str]:
    left = [", ".join(f.names) + (f" {f.value}" if f.value else "") for f in flags]
    wide = max(len(text) for text in left) + 2
    return [f"  {text.ljust(wide)}{flag.about}" for text, flag in zip(left, flags, strict=True)]
