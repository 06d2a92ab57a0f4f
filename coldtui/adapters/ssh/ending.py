"""Ends a command on its host that does not end by itself.

sshd passes signals on for ordinary users only, and not to what sudo runs. So the process is also looked for, among the children of the sshd
that serves this very connection, and told by `kill` over a second channel: nobody else's process can be meant.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import Awaitable, Callable

import asyncssh

from ...domain.errors import ColdError
from .lines import NotSent
from .run import Session, Via

END_S = 1.5
"""For a command to go after it was told to."""
ASIDE_S = 3.0
"""Deadline of each of the small commands that look and kill."""
LIST = 'ps -o comm= -p "$PPID"; ps -o pid=,etimes=,args= --ppid "$PPID"'
_SELF = "ps -o"

Aside = Callable[[str, bytes], Awaitable[tuple[str, ...]]]
"""Runs words on the same connection; their output. Raises ColdError, NotSent."""


async def end(
    chan: asyncssh.SSHClientChannel[bytes], session: Session, words: str, via: Via, age_s: float, alone: bool, aside: Aside
) -> bool:
    """True: the command is gone. Takes some seconds at most; never raises for a host that does not answer. `alone`: it is our only one there."""
    group = 0
    with contextlib.suppress(ColdError, NotSent):  # a dead line
        # Before it is told: a shell that dies of the signal leaves its children, and only the name of their group leads to them.
        group = _find(await aside(LIST, b""), words, age_s, alone)
    for name in ("TERM", "KILL"):
        signal(chan, name)
        if group:
            try:
                await aside(f"{via.prefix}kill -s {name} -- -{group}", via.stdin)
            except (ColdError, NotSent):
                break
        if await _gone(session, END_S):
            return True
    chan.close()
    return False


def _find(lines: tuple[str, ...], words: str, age_s: float, alone: bool) -> int:
    """The process that the words became, the one of that age if there are several; 0: none is surely it."""
    try:
        bare = shlex.split(words)
    except ValueError:
        bare = [words]
    # A shell in between keeps the words; one that handed over to the program leaves its arguments, behind a name that may have changed.
    whole, rest = _shown(" ".join(bare)), _shown(" ".join(bare[1:]))
    # sshd has a process of its own for each connection: all its children are ours.
    only_ours = alone and bool(lines) and lines[0].startswith("sshd")
    found: list[tuple[float, int]] = []
    for line in lines[1:]:
        pid, age, args = (*line.split(None, 2), "", "", "")[:3]
        if not pid.isdecimal() or not age.isdecimal() or _SELF in args:
            continue
        args = _shown(args)
        if only_ours or args == whole or args.endswith(_shown(words)) or (rest and args.endswith(f" {rest}")):
            found.append((abs(float(age) - age_s), int(pid)))
    return min(found)[1] if found else 0


def _shown(args: str) -> str:
    """As ps writes them: what is no printable ASCII is not compared."""
    return "".join(c if " " <= c <= "~" else "?" for c in args).rstrip()


async def _gone(session: Session, within_s: float) -> bool:
    try:
        await asyncio.wait_for(asyncio.shield(session.ended), within_s)
    except TimeoutError:
        return False
    return True


def signal(chan: asyncssh.SSHClientChannel[bytes], name: str) -> None:
    try:
        chan.send_signal(name)
    except (OSError, asyncssh.Error):  # closed in the meantime
        return
