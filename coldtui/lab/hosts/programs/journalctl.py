"""journalctl: read, follow, and make room."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from coldtui.lab.hosts.journal import FORMS, Entry, formatted
from coldtui.lab.hosts.programs.systemctl import full
from coldtui.lab.hosts.shell import Call, Program

FOLDER = "/var/log/journal"
TAIL = 10
"""What -f shows of the past unless -n says otherwise."""
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
WITH_VALUE = {"-u": "unit", "--unit": "unit", "-o": "output", "--output": "output", "-S": "since", "--since": "since", "-U": "until", "--until": "until",
              "-t": "ident", "--identifier": "ident", "-p": "priority", "--priority": "priority", "--vacuum-size": "vacuum-size",
              "--vacuum-time": "vacuum-time", "--after-cursor": "after"}  # fmt: skip
MATCHES = {"_SYSTEMD_INVOCATION_ID": "invocation", "INVOCATION_ID": "invocation", "_BOOT_ID": "boot", "SYSLOG_IDENTIFIER": "ident"}


@dataclass(slots=True)
class Wish:
    """A command line of journalctl, read."""

    flags: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)
    lines: int | None = None
    boot: str | None = None
    wrong: str = ""


def read(arguments: tuple[str, ...]) -> Wish:
    wish, rest = Wish(), list(arguments)
    while rest:
        word = rest.pop(0)
        name, equal, value = word.partition("=")
        if not equal and len(name) > 2 and name[:2] in ("-u", "-o", "-n", "-b", "-t", "-p") and name[1] != "-":
            name, equal, value = name[:2], "=", name[2:]
        if name in WITH_VALUE:
            value = value if equal else rest.pop(0) if rest else ""
            if WITH_VALUE[name] == "unit":
                wish.units.add(full(value))
            else:
                wish.values[WITH_VALUE[name]] = value
        elif name in ("-n", "--lines"):
            if not equal and rest and (rest[0].isdigit() or rest[0] == "all"):
                value = rest.pop(0)
            wish.lines = None if value == "all" else int(value) if value.isdigit() else TAIL
        elif name in ("-b", "--boot"):
            wish.boot = value if equal else rest.pop(0) if rest and re.fullmatch(r"-?\d+|[0-9a-f]{32}", rest[0]) else "0"
        elif name in MATCHES and equal:
            wish.values[MATCHES[name]] = value
        elif word.startswith("-"):
            wish.flags.update(
                {"-f": {"--follow"}, "-r": {"--reverse"}, "-k": {"--dmesg"}, "-e": set(), "-q": {"--quiet"}}.get(word, {word})
            )
        elif not equal and word != "+":
            wish.wrong = word
    if (form := wish.values.get("output")) is not None and form not in FORMS:
        wish.wrong = form
    return wish


async def journalctl(call: Call) -> int:
    wish = read(call.arguments)
    if wish.wrong:
        call.err(f"Failed to parse arguments: {wish.wrong!r}")
        return 1
    if "--disk-usage" in wish.flags:
        return _disk_usage(call)
    if "vacuum-size" in wish.values or "vacuum-time" in wish.values:
        return _vacuum(call, wish)
    if "--list-boots" in wish.flags:
        return _list_boots(call)
    form = wish.values.get("output", "short")
    with call.machine.journal.follow() as coming:
        found = [entry for entry in call.machine.journal.entries if _wanted(call, wish, entry)]
        follow = "--follow" in wish.flags
        limit = wish.lines if wish.lines is not None else TAIL if follow and "--no-tail" not in wish.flags else len(found)
        found = found[len(found) - limit :] if limit < len(found) else found
        for entry in reversed(found) if "--reverse" in wish.flags else found:
            call.out(formatted(entry, form, call.machine.name))
        if not follow:
            if not found and "--quiet" not in wish.flags:
                call.out("-- No entries --")
            return 0
        while True:
            await call.io.flush()
            entry = await coming.get()
            if _wanted(call, wish, entry):
                call.out(formatted(entry, form, call.machine.name))


def _wanted(call: Call, wish: Wish, entry: Entry) -> bool:
    values = wish.values
    if wish.units and entry.unit not in wish.units:
        return False
    if "--dmesg" in wish.flags and entry.ident != "kernel":
        return False
    if "ident" in values and entry.ident != values["ident"]:
        return False
    if "invocation" in values and entry.invocation != values["invocation"]:
        return False
    boot = _boot(call, wish)
    if boot is not None and entry.boot.replace("-", "") != boot:
        return False
    now = call.machine.now()
    since, until = (moment(values[key], now) if key in values else None for key in ("since", "until"))
    return (since is None or entry.at >= since) and (until is None or entry.at <= until)


def _boot(call: Call, wish: Wish) -> str | None:
    """The boot ID that was asked for, without dashes."""
    if "boot" in wish.values:
        return wish.values["boot"].replace("-", "")
    asked = "0" if wish.boot is None and "--dmesg" in wish.flags else wish.boot
    if asked is None or len(asked) == 32:
        return asked
    boots = call.machine.journal.boots()
    number = int(asked)
    index = len(boots) - 1 + number if number <= 0 else number - 1
    return boots[index].replace("-", "") if 0 <= index < len(boots) else "none"


def moment(text: str, now: datetime) -> datetime | None:
    """``@1714816800``, ``2026-05-04 12:00:00[ UTC]``, ``now``, ``today``, ``-90s``, ``5 min ago``; None: not understood."""
    if text == "now":
        return now
    if text == "today":
        return now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text.startswith("@"):
        return datetime.fromtimestamp(float(text[1:]), UTC)
    units = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
    if found := re.fullmatch(r"-?(\d+)\s*([a-z]+?)s?(?: ago)?", text):
        factor = units.get(found[2]) or units.get(found[2] + "s")
        return now - timedelta(seconds=int(found[1]) * factor) if factor else None
    try:
        made = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return None
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _archived(call: Call) -> str:
    return f"{FOLDER}/{call.machine.identity.machine_id}"


def _disk_usage(call: Call) -> int:
    call.out(f"Archived and active journals take up {human(call.machine.tree.size(FOLDER))} in the file system.")
    return 0


def _vacuum(call: Call, wish: Wish) -> int:
    """Remove archived files, oldest first; the active one stays, whatever its size."""
    limit = size(wish.values.get("vacuum-size", "0")) if "vacuum-size" in wish.values else None
    folder, tree = _archived(call), call.machine.tree
    if not call.root:
        call.err(f"Failed to vacuum {folder}: Permission denied")
        return 1
    freed = 0
    for name in sorted(n for n in tree.children(folder) if "@" in n):
        if limit is not None and tree.size(folder) <= limit:
            break
        here = tree.size(f"{folder}/{name}")
        tree.remove(f"{folder}/{name}")
        freed += here
        call.err(f"Deleted archived journal {folder}/{name} ({human(here)}).")
    call.err(f"Vacuuming done, freed {human(freed)} of archived journals from {folder}.")
    if freed:
        call.machine.hooks.cleaned()
    return 0


def size(text: str) -> int:
    """``200M`` -> bytes; 0 for what is no size."""
    found = re.fullmatch(r"(\d+)([KMGT]?)", text.strip().upper().removesuffix("B"))
    return int(found[1]) * SIZES[found[2]] if found else 0


def human(count: int) -> str:
    """``1.2G`` as systemd writes sizes."""
    for unit in ("G", "M", "K"):
        if count >= SIZES[unit]:
            return f"{count / SIZES[unit]:.1f}{unit}"
    return f"{count}B"


def _list_boots(call: Call) -> int:
    boots = call.machine.journal.boots()
    for index, boot in enumerate(boots):
        times = [entry.at for entry in call.machine.journal.entries if entry.boot == boot]
        first, last = (f"{at.astimezone(UTC):%a %Y-%m-%d %H:%M:%S UTC}" for at in (times[0], times[-1]))
        call.out(f"{index - len(boots) + 1:>3} {uuid.UUID(boot).hex} {first}—{last}")
    return 0


PROGRAMS: dict[str, Program] = {"journalctl": journalctl}
