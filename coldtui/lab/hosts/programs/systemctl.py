"""systemctl and the commands that end a boot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from coldtui.lab.hosts.shell import Call, Program
from coldtui.lab.hosts.units import Unit, missing

MANAGER = {"Version": "252.39-1~deb12u1", "Architecture": "x86-64", "Virtualization": "kvm"}
WITH_VALUE = ("-p", "-P", "--property", "-t", "--type", "--state", "-n", "--lines", "-o", "--output", "-H", "--host", "--job-mode")


@dataclass(slots=True)
class Wish:
    """A command line of systemctl, read."""

    verb: str = ""
    names: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)
    properties: list[str] = field(default_factory=list)


def read(arguments: tuple[str, ...]) -> Wish:
    wish, rest, literal = Wish(), list(arguments), False
    while rest:
        word = rest.pop(0)
        if word == "--" and not literal:
            literal = True
        elif literal or not word.startswith("-"):
            if wish.verb:
                wish.names.append(word)
            else:
                wish.verb = word
        else:
            _option(wish, word, rest)
    return wish


def _option(wish: Wish, word: str, rest: list[str]) -> None:
    name, equal, value = word.partition("=")
    if not equal and name[:2] in ("-p", "-P") and len(name) > 2 and not name.startswith("--"):
        name, value = name[:2], name[2:]
    elif not equal and name in WITH_VALUE:
        value = rest.pop(0) if rest else ""
    if name in ("-p", "--property", "-P"):
        wish.properties += [part for part in value.split(",") if part]
    if name == "-P":
        wish.flags.add("--value")
    wish.flags.add({"-q": "--quiet", "-a": "--all"}.get(name, name))


def full(name: str) -> str:
    return name if "." in name else f"{name}.service"


async def systemctl(call: Call) -> int:
    wish = read(call.arguments)
    verb = wish.verb or ("list-units" if "--failed" in wish.flags or not wish.verb else "")
    if verb in ("reboot", "poweroff", "halt"):
        return _power(call, verb)
    if verb in ("start", "stop", "restart", "try-restart", "reload-or-restart"):
        return await _change(call, wish, {"start": "start", "stop": "stop"}.get(verb, "restart"))
    shown = VERBS.get(verb)
    if shown is None:
        call.err(f"Unknown command verb {verb}.")
        return 1
    return shown(call, wish)


def _power(call: Call, verb: str) -> int:
    if not call.root:
        call.err(f"Call to {verb.capitalize()} failed: Interactive authentication required.")
        return 1
    if verb == "reboot":
        call.machine.hooks.reboot()
    else:
        call.machine.hooks.halt()
    return 0


async def _change(call: Call, wish: Wish, what: str) -> int:
    machine = call.machine
    if not wish.names:
        call.err("Too few arguments.")
        return 1
    found: list[Unit] = []
    for name in map(full, wish.names):
        unit = machine.units.get(name)
        if unit is None:
            call.err(f"Failed to {what} {name}: Unit {name} not found.")
            return 5
        found.append(unit)
    if not call.root:
        for unit in found:
            call.err(f"Failed to {what} {unit.name}: Interactive authentication required.")
            call.err(f"See system logs and 'systemctl status {unit.name}' for details.")
        return 1
    jobs = {machine.job(unit, what) for unit in found}
    if "--no-block" not in wish.flags:
        await asyncio.wait(jobs)  # they go on when the caller is gone
    return 0


def _is_active(call: Call, wish: Wish) -> int:
    states = [_state(call, name) for name in wish.names]
    if "--quiet" not in wish.flags:
        for state in states:
            call.out(state)
    return 0 if "active" in states else 3


def _state(call: Call, name: str) -> str:
    unit = call.machine.units.get(full(name))
    return unit.active if unit is not None else "inactive"


def _is_failed(call: Call, wish: Wish) -> int:
    states = [_state(call, name) for name in wish.names]
    for state in states:
        call.out(state)
    return 0 if "failed" in states else 1


def _is_enabled(call: Call, wish: Wish) -> int:
    known = [full(name) in call.machine.units for name in wish.names]
    for name, there in zip(wish.names, known, strict=True):
        if there:
            call.out("enabled")
        else:
            call.err(f"Failed to get unit file state for {full(name)}: No such file or directory")
    return 0 if any(known) else 1


def _is_system_running(call: Call, wish: Wish) -> int:
    state = call.machine.state()
    call.out(state)
    return 0 if state == "running" else 1


def _show(call: Call, wish: Wish) -> int:
    machine = call.machine
    if not wish.names:
        _print(
            call, wish, {**MANAGER, "SystemState": machine.state(), "NNames": str(len(machine.units)), "NJobs": str(len(machine.jobs()))}
        )
        return 0
    for index, name in enumerate(map(full, wish.names)):
        if index:
            call.out("")
        unit = machine.units.get(name)
        _print(call, wish, unit.properties(machine.booted) if unit is not None else missing(name))
    return 0


def _print(call: Call, wish: Wish, values: dict[str, str]) -> None:
    """In systemd's order, whatever order was asked for; unknown properties are left out."""
    for key, value in values.items():
        if not wish.properties or key in wish.properties:
            call.out(value if "--value" in wish.flags else f"{key}={value}")


def _list_units(call: Call, wish: Wish) -> int:
    failed = "--failed" in wish.flags
    rows = [unit for unit in call.machine.units.values() if not failed or unit.active == "failed"]
    if "--no-legend" not in wish.flags and "--legend" not in wish.flags:
        call.out("  UNIT                        LOAD   ACTIVE SUB     DESCRIPTION")
    for unit in rows:
        state = unit.properties(call.machine.booted)
        call.out(f"  {unit.name:<27} loaded {unit.active} {state['SubState']} {unit.about}")
    if "--no-legend" not in wish.flags and "--legend" not in wish.flags:
        call.out(f"\n{len(rows)} loaded units listed.")
    return 0


def _list_jobs(call: Call, wish: Wish) -> int:
    jobs = call.machine.jobs()
    if not jobs:
        call.out("No jobs running.")
    for number, name in enumerate(jobs, 100):
        call.out(f"{number} {name} start running")
    return 0


def _status(call: Call, wish: Wish) -> int:
    status = 0
    for name in map(full, wish.names):
        unit = call.machine.units.get(name)
        if unit is None:
            call.err(f"Unit {name} could not be found.")
            status = max(status, 4)
            continue
        state = unit.properties(call.machine.booted)
        call.out(f"● {unit.name} - {unit.about}")
        call.out(f"     Loaded: loaded ({state['FragmentPath']}; enabled; preset: enabled)")
        call.out(f"     Active: {unit.active} ({state['SubState']}) since {state['StateChangeTimestamp']}")
        call.out(f"   Main PID: {unit.pid}")
        status = max(status, 0 if unit.active in ("active", "activating", "deactivating") else 3)
    return status


def _quiet(call: Call, wish: Wish) -> int:
    if not call.root:
        call.err(f"Failed to {wish.verb}: Interactive authentication required.")
        return 1
    return 0


VERBS = {
    "is-active": _is_active, "is-failed": _is_failed, "is-enabled": _is_enabled, "is-system-running": _is_system_running, "show": _show,
    "list-units": _list_units, "list-jobs": _list_jobs, "status": _status, "daemon-reload": _quiet, "reset-failed": _quiet,
}  # fmt: skip


async def inhibitors(call: Call) -> int:
    """``systemd-inhibit --list``: who would delay a shutdown."""
    unattended = (
        "Unattended Upgrades Shutdown 0 root 702 unattended-upgr shutdown Stop ongoing upgrades or perform upgrades before shutdown delay"
    )
    if "--no-legend" not in call.arguments:
        call.out(
            "WHO                          UID USER PID COMM            WHAT     WHY                                                       MODE"
        )
    call.out(unattended)
    return 0


async def reboot(call: Call) -> int:
    return _power(call, "reboot")


async def poweroff(call: Call) -> int:
    return _power(call, "poweroff")


async def shutdown(call: Call) -> int:
    return _power(call, "reboot" if "-r" in call.arguments else "poweroff")


PROGRAMS: dict[str, Program] = {
    "systemctl": systemctl, "reboot": reboot, "poweroff": poweroff, "halt": poweroff, "shutdown": shutdown,
    "systemd-inhibit": inhibitors,
}  # fmt: skip
