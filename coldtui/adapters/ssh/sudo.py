"""Root through sudo. A password goes to sudo's standard input and nowhere else, and only after sudo said for this very command that it wants one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable, Mapping

from ...domain.errors import SecretWanted, StepFailed
from ...domain.secret import Secret
from ...ports import Command, Finished, Output, ShellAddress

Say = Callable[[str, bytes, Callable[[Output], None] | None, str, bytes], Awaitable[Finished]]
"""(words for the remote shell, stdin, receiver of lines, what stands before a command of root, what that reads) -> how it ended; deadlines are inside."""
_BARE, _ASKING = "sudo -n -- ", "sudo -k -S -p '' -- "

_WANTED = re.compile(r"sudo: .*(?:password is required|terminal is required|no askpass|a password)", re.IGNORECASE)
_WRONG = re.compile(r"sudo: .*(?:incorrect password|no password was provided)|^Sorry, try again|Authentication failure", re.IGNORECASE)
_MAY_NOT = re.compile(r"is not in the sudoers|is not allowed to|may not run sudo", re.IGNORECASE)


async def as_root(
    say: Say, address: ShellAddress, command: Command, secrets: Mapping[str, Secret], on_line: Callable[[Output], None] | None
) -> Finished:
    """Run it as root, whoever logs in. Raises SecretWanted, StepFailed."""
    words = shlex.join(command.argv)
    if address.user == "root":
        return await say(words, command.stdin, on_line, "", b"")
    held = _Held(on_line)
    ended = await say(_BARE + words, command.stdin, held, _BARE, b"")
    if not _from_sudo(ended):
        held.release()
        return ended
    said = await _complaint(say, ended, "sudo -n true")
    if not _WANTED.search(said):
        raise _refusal(address, said, ended)
    password = secrets.get(f"sudo/{address.node}") or secrets.get("sudo")
    if password is None:
        raise SecretWanted(
            f"sudo on {address.node} wants a password", secret=f"sudo/{address.node}", detail=f"user {address.user}",
            hint="give it, or let that user run sudo without one (NOPASSWD), or log in as root: ssh.user",
        )  # fmt: skip
    # -k: a cached authorisation would leave the password unread, for the command to read as its own input.
    given = password.reveal().encode() + b"\n"
    held = _Held(on_line)
    ended = await say(_ASKING + words, given + command.stdin, held, _ASKING, given)
    if not _from_sudo(ended):
        held.release()
        return ended
    said = "\n".join(ended.err)
    if not _WRONG.search(said):
        said = await _complaint(say, ended, "sudo -k -S -p '' -v", given)
    if _WRONG.search(said):
        raise SecretWanted(
            f"sudo on {address.node} does not take that password", secret=f"sudo/{address.node}", wrong=True, detail=f"user {address.user}",
            hint="give the right one",
        )  # fmt: skip
    raise _refusal(address, said, ended)


class _Held:
    """Keeps sudo's own words back until it is known whose they are; all else passes at once."""

    def __init__(self, on_line: Callable[[Output], None] | None) -> None:
        self._on_line = on_line
        self._kept: list[Output] = []
        self._passing = False

    def __call__(self, line: Output) -> None:
        if (
            not self._passing
            and line.stream == "err"
            and (line.text.startswith(("sudo: ", "Sorry, ")) or not line.text)
            and len(self._kept) < 20
        ):
            self._kept.append(line)
            return
        self.release()
        if self._on_line is not None:
            self._on_line(line)

    def release(self) -> None:
        self._passing = True
        if self._on_line is not None:
            for line in self._kept:
                self._on_line(line)
        self._kept = []


def _from_sudo(ended: Finished) -> bool:
    """Whether it may be sudo that ended and not the command: it says nothing but its own complaint."""
    if ended.exit == 127 and any("sudo" in line and "not found" in line for line in ended.err):
        return True
    lines = [line for line in ended.err if line]
    return (
        ended.exit == 1
        and not ended.out
        and bool(lines)
        and all(line.startswith(("sudo: ", "Sorry, ")) or _MAY_NOT.search(line) for line in lines)
    )


async def _complaint(say: Say, ended: Finished, probe: str, stdin: bytes = b"") -> str:
    """sudo's complaint in English: asked again in that language when the first was in another."""
    said = "\n".join(ended.err)
    if _WANTED.search(said) or _MAY_NOT.search(said) or ended.exit == 127:
        return said
    again = await say(f"env LC_ALL=C {probe}", stdin, None, "", b"")
    return "\n".join(again.err)


def _refusal(address: ShellAddress, said: str, ended: Finished) -> StepFailed:
    if ended.exit == 127:
        return StepFailed(
            f"there is no sudo on {address.node}", detail=f"user {address.user} is not root", hint="log in as root: ssh.user: root"
        )
    said = said.strip().split("\n")[-1].removeprefix("sudo: ")[:200] or (ended.err or ("",))[-1]
    return StepFailed(
        f"sudo on {address.node} refuses", detail=f"user {address.user}: {said}", hint="mend /etc/sudoers there, or log in as root"
    )
