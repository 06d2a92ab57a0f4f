"""The gate: what a closed one lets through, word by word, and what not even an open one does.

A reading command stands here or it is not sent. Whoever needs another adds its exact form, and asks what it could change.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from ...domain.errors import Refused
from ...domain.hosts import forbidden
from ...domain.text import plain
from ...ports import Command

Args = tuple[str, ...]

_K3S = "/var/lib/rancher/k3s"
PATHS = frozenset(
    {
        "/", "/run/log/journal", "/var/cache/apt/archives", "/var/lib/kubelet", "/var/lib/longhorn", "/var/lib/rancher", _K3S,
        "/var/log/journal", f"{_K3S}/agent/containerd", f"{_K3S}/agent/images", f"{_K3S}/data", f"{_K3S}/data/current", f"{_K3S}/data/previous",
        f"{_K3S}/server/db", f"{_K3S}/storage",
    }
)  # fmt: skip
"""Folders and links whose size, place and names may be read."""
_INSIDE = re.compile(rf"{_K3S}/(?:data/[0-9a-f]{{64}}|agent/images/(?!\.)[A-Za-z0-9_.+-]+)")
"""One unpacked release; one file with images."""
_FILES = frozenset({"/proc/sys/kernel/random/boot_id", "/proc/uptime", "/proc/loadavg", "/etc/os-release", "/run/reboot-required"})
_UNIT = re.compile(r"k3s(?:-agent)?(?:\.service)?")
_ALONE: frozenset[Args] = frozenset(
    {
        ("hostname",), ("who",), ("uptime", "-s"), ("id", "-u"), ("uname", "-r"), ("sudo", "-n", "true"), ("k3s", "--version"),
        ("pgrep", "-x", "-c", "postgres"), ("systemctl", "is-system-running"), ("systemd-inhibit", "--list", "--no-legend", "--no-pager"),
    }
)  # fmt: skip


def check(command: Command, *, writable: bool) -> None:
    """Raises Refused, before anything is sent."""
    if not command.argv:
        raise Refused("there is no command to run")
    read = not command.mutates and not command.stdin and is_read(command.argv)
    if read:
        return
    line = plain(shlex.join(command.argv))[:200]
    if not writable:
        what = "it changes something" if command.mutates else "it is not among the reading commands"
        raise Refused(f"not sent to the host: {line}", detail=f"{what}, and nothing may be changed now", hint="confirm it as an operation")
    if found := forbidden(command.argv):
        raise Refused(
            f"not sent to the host: {line}",
            detail=f"{plain(found)[:200]} holds or leads to data of volumes or the cluster's datastore",
            hint="nothing of ours ever touches those; do it by hand if you are sure",
        )


def is_read(argv: Args) -> bool:
    """Whether these are the words of a command that only reads."""
    if argv[:2] == ("env", "LC_ALL=C"):
        argv = argv[2:]
    if argv in _ALONE:
        return True
    form = _FORMS.get(argv[0]) if argv else None
    return form is not None and form(argv[1:])


def _path(text: str) -> bool:
    return text in PATHS or _INSIDE.fullmatch(text) is not None


def _cat(args: Args) -> bool:
    return len(args) == 1 and args[0] in _FILES


def _systemctl(args: Args) -> bool:
    if len(args) >= 2 and args[0] == "is-active":
        return all(_UNIT.fullmatch(unit) for unit in args[1:])
    if len(args) >= 2 and args[0] == "show":
        options = re.compile(r"--property=[A-Za-z]+(?:,[A-Za-z]+)*|--no-pager")
        units = [arg for arg in args[1:] if not options.fullmatch(arg)]
        return bool(units) and all(_UNIT.fullmatch(unit) for unit in units)
    return False


_JOURNAL_ALONE = re.compile(
    r"-[fkq]|--follow|--no-pager|--utc|--disk-usage|--list-boots"
    r"|--lines=\d{1,5}|--unit=k3s(?:-agent)?(?:\.service)?|--output=[a-z-]+|--boot(?:=-?\d+)?|--since=[0-9 :.@TZ+-]+|--until=[0-9 :.@TZ+-]+"
)
_JOURNAL_VALUES = {
    "-u": _UNIT,
    "-n": re.compile(r"\d{1,5}"),
    "-o": re.compile(r"[a-z-]+"),
    "-b": re.compile(r"-?\d+"),
    "--since": re.compile(r"[0-9 :.@TZ+-]+"),
    "--until": re.compile(r"[0-9 :.@TZ+-]+"),
}


def _journalctl(args: Args) -> bool:
    left = list(args)
    while left:
        arg = left.pop(0)
        value = _JOURNAL_VALUES.get(arg)
        if value is not None:
            if not left or not value.fullmatch(left.pop(0)):
                return False
        elif not _JOURNAL_ALONE.fullmatch(arg):
            return False
    return bool(args)


def _df(args: Args) -> bool:
    return (
        len(args) >= 3
        and args[0] == "-B1"
        and re.fullmatch(r"--output=[a-z]+(?:,[a-z]+)*", args[1]) is not None
        and all(map(_path, args[2:]))
    )


def _du(args: Args) -> bool:
    return len(args) >= 4 and args[:3] == ("-x", "-s", "-B1") and all(map(_path, args[3:]))


def _ls(args: Args) -> bool:
    return len(args) == 2 and re.fullmatch(r"-[1AlF]{1,4}", args[0]) is not None and _path(args[1])


def _readlink(args: Args) -> bool:
    return len(args) >= 2 and args[0] == "-f" and all(map(_path, args[1:]))


def _k3s(args: Args) -> bool:
    return args in {
        ("crictl", "images", "-o", "json"), ("crictl", "imagefsinfo", "-o", "json"),
        ("crictl", "ps", "-o", "json"), ("crictl", "ps", "-a", "-o", "json"),
    }  # fmt: skip


_FORMS: dict[str, Callable[[Args], bool]] = {
    "cat": _cat, "systemctl": _systemctl, "journalctl": _journalctl, "df": _df, "du": _du, "ls": _ls, "readlink": _readlink, "k3s": _k3s,
}  # fmt: skip
