"""A login shell that is just big enough: one line of words, `VAR=value` before it, `&&`, `||` and `;` between commands, and the programs."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from coldtui.lab.hosts.machine import Machine

NOT_FOUND, USAGE, NOT_EXECUTABLE = 127, 2, 126
LINKS = {"&&", "||", ";"}
REFUSED = {"|", "&", "<", ">", ">>", "(", ")", "|&", "<<"}
SEARCH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class Io(Protocol):
    """Where a command reads and writes."""

    def out(self, text: str) -> None: ...

    def err(self, text: str) -> None: ...

    async def line(self) -> str:
        """The next line of stdin with its newline; empty at the end."""
        ...

    async def flush(self) -> None:
        """Wait until the reader has caught up."""
        ...


@dataclass(slots=True)
class Call:
    """One run of a program."""

    argv: tuple[str, ...]
    machine: Machine
    io: Io
    user: str
    """Whose rights count: sudo makes it `root`."""
    login: str
    """Who logged in."""
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> bool:
        return self.user == "root"

    @property
    def arguments(self) -> tuple[str, ...]:
        return self.argv[1:]

    def out(self, text: str) -> None:
        """One line of stdout."""
        self.io.out(text + "\n")

    def err(self, text: str) -> None:
        self.io.err(text + "\n")

    def like(self, argv: tuple[str, ...], *, user: str = "", environ: Mapping[str, str] | None = None) -> Call:
        """The same place, another program."""
        return Call(argv, self.machine, self.io, user or self.user, self.login, {**self.environ, **(environ or {})})


Program = Callable[[Call], Awaitable[int]]


class Unreadable(Exception):
    """The line has something that this shell does not do."""


def words(line: str) -> list[str]:
    """The words of a line; operators are words of their own. Raises Unreadable."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError as error:
        raise Unreadable(f"syntax error: {error}") from None


async def run_line(line: str, call: Call) -> int:
    """Run a line as a shell does; the exit status of what ran last."""
    try:
        found = words(line)
    except Unreadable as error:
        call.err(f"bash: line 1: {error}")
        return USAGE
    status, command, link = 0, list[str](), ";"
    for word in [*found, ";"]:
        if word in REFUSED:
            call.err(f"bash: line 1: this host's shell does not do `{word}'")
            return USAGE
        if word not in LINKS:
            command.append(word)
            continue
        if command and (link == ";" or (link == "&&") == (status == 0)):
            status = await run_words(tuple(command), call)
        command, link = [], word
    return status


async def run_words(command: tuple[str, ...], call: Call) -> int:
    """Run one command with the assignments before it."""
    environ: dict[str, str] = {}
    while command and "=" in command[0] and command[0].partition("=")[0].isidentifier():
        key, _, value = command[0].partition("=")
        environ[key] = value
        command = command[1:]
    if not command:
        return 0
    return await run(call.like(command, environ=environ))


def find(name: str) -> Program | None:
    """The program of a name or of a path in one of the usual folders."""
    from coldtui.lab.hosts.programs import PROGRAMS  # they use this module

    folder, base = posixpath.split(name)
    if folder and folder not in SEARCH:
        return None
    return PROGRAMS.get(base)


async def run(call: Call) -> int:
    """Run a program by name; 127 when there is none."""
    program = find(call.argv[0])
    if program is None:
        missing = "No such file or directory" if "/" in call.argv[0] else "command not found"
        call.err(f"bash: line 1: {call.argv[0]}: {missing}")
        return NOT_FOUND
    return await program(call)
