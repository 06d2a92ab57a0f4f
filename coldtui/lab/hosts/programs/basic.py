"""Who and where am I: hostname, id, uptime, cat and their like."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

from coldtui.lab.hosts import shell
from coldtui.lab.hosts.machine import Machine
from coldtui.lab.hosts.shell import Call, Program

IDS = {"root": "uid=0(root) gid=0(root) groups=0(root)", "lab": "uid=1000(lab) gid=1000(lab) groups=1000(lab),4(adm),27(sudo)"}


async def hostname(call: Call) -> int:
    name, ip = call.machine.name, call.machine.identity.ip
    call.out(f"{ip} " if call.arguments[:1] in (("-I",), ("--all-ip-addresses",)) else name)
    return 0


async def uname(call: Call) -> int:
    parts = {
        "s": "Linux",
        "n": call.machine.name,
        "r": call.machine.identity.kernel,
        "v": "#1 SMP PREEMPT_DYNAMIC Debian",
        "m": "x86_64",
        "o": "GNU/Linux",
    }
    asked = "".join(word.lstrip("-") for word in call.arguments) or "s"
    call.out(" ".join(text for letter, text in parts.items() if letter in asked or "a" in asked))
    return 0


async def user_id(call: Call) -> int:
    names = [word for word in call.arguments if not word.startswith("-")]
    flags = "".join(word.lstrip("-") for word in call.arguments if word.startswith("-"))
    user = names[0] if names else call.user
    if user not in IDS:
        call.err(f"id: ‘{user}’: no such user")
        return 1
    if "u" in flags:
        call.out(user if "n" in flags else IDS[user].partition("=")[2].partition("(")[0])
    elif "G" in flags:
        call.out(" ".join(re.findall(r"\((\w+)\)", IDS[user].partition("groups=")[2])))
    else:
        call.out(IDS[user])
    return 0


async def whoami(call: Call) -> int:
    call.out(call.user)
    return 0


async def who(call: Call) -> int:
    for session in call.machine.sessions:
        if session.terminal:
            call.out(f"{session.user:<8} {session.terminal:<12} {session.since.astimezone(UTC):%Y-%m-%d %H:%M} ({session.peer})")
    return 0


def _lasting(seconds: float) -> str:
    minutes = int(seconds // 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    clock = f"{hours}:{rest:02}" if hours else f"{rest} min"
    return f"{days} days, {clock}" if days > 1 else f"1 day, {clock}" if days else clock


async def uptime(call: Call) -> int:
    machine = call.machine
    now = machine.now()
    if call.arguments in (("-s",), ("--since",)):
        call.out(f"{machine.booted.astimezone(UTC):%Y-%m-%d %H:%M:%S}")
        return 0
    lasting = _lasting((now - machine.booted).total_seconds())
    if call.arguments in (("-p",), ("--pretty",)):
        call.out(f"up {lasting}")
        return 0
    users = len([s for s in machine.sessions if s.terminal])
    call.out(f" {now:%H:%M:%S} up {lasting},  {users} user{'s' * (users != 1)},  load average: {_load(machine)}")
    return 0


def _load(machine: Machine) -> str:
    return ", ".join(f"{0.3 + machine.dice.random() * 0.6:.2f}" for _ in range(3))


async def date(call: Call) -> int:
    now = call.machine.now().astimezone(UTC)
    form = next((word for word in call.arguments if word.startswith("+")), "")
    if form:
        call.out(now.strftime(form[1:].replace("%s", str(int(now.timestamp()))).replace("%N", f"{now.microsecond * 1000:09}")))
    else:
        call.out(now.strftime("%a %b %e %H:%M:%S UTC %Y"))
    return 0


def _os_release(machine: Machine) -> str:
    return f'PRETTY_NAME="{machine.identity.os_image}"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n'


def _up(machine: Machine) -> str:
    seconds = (datetime.now(UTC) - machine.booted).total_seconds()
    return f"{seconds:.2f} {seconds * 3.1:.2f}\n"


PSEUDO: dict[str, Callable[[Machine], str]] = {
    "/proc/sys/kernel/random/boot_id": lambda machine: f"{machine.boot_id}\n",
    "/proc/uptime": _up,
    "/proc/sys/kernel/hostname": lambda machine: f"{machine.name}\n",
    "/proc/loadavg": lambda machine: f"{_load(machine).replace(',', '')} 2/611 20417\n",
    "/proc/version": lambda machine: f"Linux version {machine.identity.kernel} (debian-kernel@lists.debian.org)\n",
    "/etc/hostname": lambda machine: f"{machine.name}\n",
    "/etc/machine-id": lambda machine: f"{machine.identity.machine_id}\n",
    "/etc/os-release": _os_release,
}
"""Files that are made when they are read."""
ROOT_ONLY = ("/var/lib/rancher", "/etc/rancher", "/root")


async def cat(call: Call) -> int:
    names = [word for word in call.arguments if word != "-" and not word.startswith("-")]
    if not names:
        while line := await call.io.line():
            call.io.out(line)
        return 0
    status = 0
    for name in names:
        path = call.machine.tree.resolve(name) or name
        entry = call.machine.tree.get(path)
        if path in PSEUDO:
            call.io.out(PSEUDO[path](call.machine))
        elif path.startswith(ROOT_ONLY) and not call.root:
            call.err(f"cat: {name}: Permission denied")
            status = 1
        elif entry is None:
            call.err(f"cat: {name}: No such file or directory")
            status = 1
        elif entry.kind == "d":
            call.err(f"cat: {name}: Is a directory")
            status = 1
        else:
            call.io.out(entry.text)
    return status


async def true(call: Call) -> int:
    return 0


async def false(call: Call) -> int:
    return 1


async def echo(call: Call) -> int:
    silent = call.arguments[:1] == ("-n",)
    call.io.out(" ".join(call.arguments[1:] if silent else call.arguments) + ("" if silent else "\n"))
    return 0


async def sleep(call: Call) -> int:
    try:
        await asyncio.sleep(sum(float(word.removesuffix("s")) for word in call.arguments))
    except ValueError:
        call.err(f"sleep: invalid time interval ‘{' '.join(call.arguments)}’")
        return 1
    return 0


async def exit_(call: Call) -> int:
    return int(call.arguments[0]) & 255 if call.arguments and call.arguments[0].isdigit() else 0


async def sh(call: Call) -> int:
    """``sh -c LINE``, or lines from stdin."""
    if call.arguments[:1] and call.arguments[0].lstrip("-").endswith("c") and len(call.arguments) > 1:
        return await shell.run_line(call.arguments[1], call)
    status = 0
    while line := await call.io.line():
        status = await shell.run_line(line, call)
    return status


async def env(call: Call) -> int:
    """With a command: run it. Without: show the environment."""
    rest = list(call.arguments)
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        rest.pop(0)
    if rest:
        given = dict(
            word.split("=", 1) for word in call.arguments[: len(call.arguments) - len(rest)] if "=" in word and not word.startswith("-")
        )
        return await shell.run(call.like(tuple(rest), environ=given))
    home = "/root" if call.root else f"/home/{call.user}"
    for key, value in {"USER": call.user, "HOME": home, "LANG": "C.UTF-8", "PATH": ":".join(shell.SEARCH), **call.environ}.items():
        call.out(f"{key}={value}")
    return 0


async def which(call: Call) -> int:
    """Also ``command -v``."""
    status = 0
    for name in (word for word in call.arguments if not word.startswith("-")):
        if shell.find(name) is None:
            status = 1
        else:
            call.out(f"/usr/local/bin/{name}" if name == "k3s" else f"/usr/bin/{name}")
    return status


async def nproc(call: Call) -> int:
    call.out("4")
    return 0


async def timeout(call: Call) -> int:
    """``timeout [options] SECONDS COMMAND``; 124 when the time is over."""
    rest = list(call.arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-k", "-s") and rest:
            rest.pop(0)
    if len(rest) < 2:
        call.err("timeout: missing operand")
        return 125
    try:
        async with asyncio.timeout(float(rest[0].removesuffix("s")) or None):
            return await shell.run(call.like(tuple(rest[1:])))
    except TimeoutError:
        return 124


PROGRAMS: dict[str, Program] = {
    "hostname": hostname, "uname": uname, "id": user_id, "whoami": whoami, "who": who, "uptime": uptime, "date": date, "cat": cat, "true": true,
    ":": true, "false": false, "echo": echo, "sleep": sleep, "exit": exit_, "sh": sh, "bash": sh, "env": env, "which": which, "command": which,
    "nproc": nproc, "timeout": timeout, "sync": true,
}  # fmt: skip
