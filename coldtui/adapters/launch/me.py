"""Who we are and where: for the audit, and to know when a node is the machine under our feet."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...domain.runs import Who
from ...domain.text import plain
from ...ports import Self

PROC = Path("/proc")
UTMP = Path("/run/utmp")
_UNSET = 0xFFFFFFFF
_PARENTS = 30
_UTMP = struct.Struct("<hxxi32s4s32s256shhiii4I20x")
"""utmp(5) on Linux: type, pid, line, id, user, host, exit, session, seconds, microseconds, address."""
_USER_PROCESS = 7


def me(face: str, environ: Mapping[str, str] = os.environ, *, proc: Path = PROC, utmp: Path = UTMP) -> Self:
    """Reads a few small files; never raises."""
    user = _name_of(os.geteuid())
    who = Who(login(environ, proc) or user, user, source(environ, proc, utmp), plain(socket.gethostname()), face)
    return Self(who, plain(socket.gethostname()), _read(proc / "sys/kernel/random/boot_id").strip(), own_addresses(proc))


def login(environ: Mapping[str, str], proc: Path = PROC) -> str:
    """The user of the login session, which neither sudo nor su changes; else the user before sudo; empty: nobody is told."""
    text = _read(proc / "self/loginuid").strip()
    if text.isdigit() and int(text) != _UNSET:
        return _name_of(int(text))
    for variables in (environ, *_parents_environments(proc)):
        name = variables.get("SUDO_USER") or variables.get("DOAS_USER") or ""
        if name and name != "root":
            return plain(name)[:64]
    return ""


def source(environ: Mapping[str, str], proc: Path = PROC, utmp: Path = UTMP) -> str:
    """Address from which the SSH connection comes. sudo drops the variable: then the parents' are looked at, and who is on this terminal."""
    for variables in (environ, *_parents_environments(proc)):
        for name in ("SSH_CONNECTION", "SSH_CLIENT"):
            found = _address(variables.get(name, "").split(" ")[0])
            if found:
                return found
    return _from_utmp(utmp, _terminal(proc))


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return ""


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


# ------------------------------------------------------------ parents and terminal


def _stat(pid: str, proc: Path) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may hold anything: state, parent, group, session, terminal."""
    return _read(proc / pid / "stat").rpartition(")")[2].split()


def _parents_environments(proc: Path) -> Iterator[dict[str, str]]:
    pid = "self"
    for _ in range(_PARENTS):
        fields = _stat(pid, proc)
        if len(fields) < 2 or fields[1] in ("0", "1"):
            return
        pid = fields[1]
        text = _read(proc / pid / "environ")
        if text:
            yield dict(part.partition("=")[::2] for part in text.split("\0") if "=" in part)


def _terminal(proc: Path) -> str:
    """`pts/3`, from the device number of the controlling terminal; empty: none."""
    fields = _stat("self", proc)
    number = int(fields[4]) if len(fields) > 4 and fields[4].lstrip("-").isdigit() else 0
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    return f"pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else ""


def _from_utmp(utmp: Path, line: str) -> str:
    if not line:
        return ""
    try:
        data = utmp.read_bytes()[: 1 << 20]
    except OSError:
        return ""
    for at in range(0, len(data) - _UTMP.size + 1, _UTMP.size):
        record = _UTMP.unpack_from(data, at)
        if record[0] == _USER_PROCESS and record[2].rstrip(b"\0").decode("ascii", "replace") == line:
            return _address(record[5].rstrip(b"\0").decode("ascii", "replace"))
    return ""


# ------------------------------------------------------------ addresses


def own_addresses(proc: Path = PROC) -> tuple[str, ...]:
    """Of this machine, without loopback and link-local ones, IPv4 first."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [
        *_ipv4(_read(proc / "net/fib_trie")),
        *_ipv6(_read(proc / "net/if_inet6")),
    ]
    kept = [a for a in dict.fromkeys(found) if not (a.is_loopback or a.is_link_local)]
    return tuple(map(str, kept))


def _ipv4(text: str) -> Iterator[ipaddress.IPv4Address]:
    """An address of our own is a leaf that is marked `host LOCAL`."""
    for found in re.finditer(r"\|-- (\d+\.\d+\.\d+\.\d+)\s+/32 host LOCAL", text):
        yield ipaddress.IPv4Address(found.group(1))


def _ipv6(text: str) -> Iterator[ipaddress.IPv6Address]:
    for line in text.splitlines():
        digits = line.split(" ")[0]
        if re.fullmatch(r"[0-9a-f]{32}", digits):
            yield ipaddress.IPv6Address(int(digits, 16))
