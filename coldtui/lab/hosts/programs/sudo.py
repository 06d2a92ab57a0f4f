"""sudo: for `lab` with or without a password, as the host has it; for root always without."""

from __future__ import annotations

from dataclasses import dataclass, field

from coldtui.lab.hosts import shell
from coldtui.lab.hosts.shell import Call, Program

TRIES = 3
WITH_VALUE = {"-u": "user", "--user": "user", "-p": "prompt", "--prompt": "prompt", "-g": "", "-C": "", "-T": "", "-h": "", "-D": ""}


@dataclass(slots=True)
class Wish:
    """A command line of sudo, read."""

    flags: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()


def read(arguments: tuple[str, ...]) -> Wish:
    """Options end at ``--`` or at the first word that is none."""
    wish, rest = Wish(), list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "--":
            break
        name, equal, value = option.partition("=")
        if equal and name in WITH_VALUE:
            wish.values[WITH_VALUE[name]] = value
        elif option in WITH_VALUE:
            wish.values[WITH_VALUE[option]] = rest.pop(0) if rest else ""
        elif option.startswith("--"):
            wish.flags.add(
                {"--non-interactive": "n", "--stdin": "S", "--validate": "v", "--list": "l", "--reset-timestamp": "k"}.get(option, option)
            )
        else:
            wish.flags.update(option[1:])
    wish.command = tuple(rest)
    return wish


async def sudo(call: Call) -> int:
    wish = read(call.arguments)
    target = wish.values.get("user") or "root"
    if not wish.command and not wish.flags & {"v", "l", "k", "K", "i", "s"}:
        call.err("usage: sudo -h | -K | -k | -V")
        return 1
    if not wish.command and wish.flags & {"k", "K"} and not wish.flags & {"v", "l"}:
        return 0
    if not call.root and call.machine.sudo_password and not await _prove(call, wish):
        return 1
    if not wish.command:
        if "l" in wish.flags:
            tag = "" if call.machine.sudo_password else "NOPASSWD: "
            call.out(f"User {call.user} may run the following commands on {call.machine.name}:\n    (ALL : ALL) {tag}ALL")
        return 0
    command = wish.command
    while command and "=" in command[0] and command[0].partition("=")[0].isidentifier():
        command = command[1:]
    if not command or shell.find(command[0]) is None:
        call.err(f"sudo: {command[0] if command else ''}: command not found")
        return 1
    return await shell.run(call.like(command, user=target))


async def _prove(call: Call, wish: Wish) -> bool:
    """Ask for the password as the options say; False with sudo's words when it is not given."""
    if "n" in wish.flags:
        call.err("sudo: a password is required")
        return False
    if "S" not in wish.flags:
        call.err(
            "sudo: a terminal is required to read the password; either use the -S option to read from standard input "
            "or configure an askpass helper\nsudo: a password is required"
        )
        return False
    prompt = wish.values.get("prompt", f"[sudo] password for {call.user}: ")
    for attempt in range(1, TRIES + 1):
        call.io.err(prompt)
        line = await call.io.line()
        if not line:
            call.err(
                f"sudo: {attempt - 1} incorrect password attempt{'s' * (attempt > 2)}"
                if attempt > 1
                else "sudo: no password was provided\nsudo: a password is required"
            )
            return False
        if line.rstrip("\r\n") == call.machine.sudo_password:
            return True
        if attempt < TRIES:
            call.err("Sorry, try again.")
    call.machine.say(
        "sudo", f"pam_unix(sudo:auth): authentication failure; logname={call.user} uid=1000 euid=0 user={call.user}", priority=5
    )
    call.err(f"sudo: {TRIES} incorrect password attempts")
    return False


PROGRAMS: dict[str, Program] = {"sudo": sudo}
