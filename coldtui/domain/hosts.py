"""Hosts behind nodes: how they are addressed over SSH, and the paths on them that no act of ours may ever name."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from .values import dataclass


@dataclass(frozen=True, slots=True)
class HostAddress:
    """`[user@]host[:port]` taken apart."""

    host: str
    user: str = ""
    """Empty: not told."""
    port: int = 0
    """0: not told."""


_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s:/\[\]]+)@)?(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[A-Za-z0-9_.-]+))(?::(?P<port>\d{1,5}))?"
)


def host_address(text: str) -> HostAddress:
    """Raises ValueError with what is wrong, such as `port 99999 is more than 65535`."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ValueError("it is no [user@]host[:port]; an IPv6 address stands in brackets")
    port = int(found["port"] or 0)
    if found["port"] and not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not between 1 and 65535")
    host = found["v6"] or found["host"]
    if host.startswith("-"):
        raise ValueError("a host does not begin with -")
    return HostAddress(host, found["user"] or "", port)


# ------------------------------------------------------------ what is never touched

NEVER = ("/var/lib/longhorn", "/var/lib/rancher/k3s/storage", "/var/lib/rancher/k3s/server/db")
"""The data of volumes and the datastore of the cluster."""
_TAILS = (("k3s", "storage"), ("server", "db"))
"""The same below another --data-dir."""
_DOORS = re.compile(r"^/proc/[^/]+/(?:root|cwd)(?=/|$)")
"""Other names for `/`."""
_WORDS = re.compile(r"[\s'\"`;|&<>()=,:\\]+")
_GLUED = re.compile(r"^-[A-Za-z0-9-]*/")
"""An option with its path behind it: `-C/var`."""
_WILD = re.compile(r"[*?\[\]{}$~`]")


def forbidden(paths: Iterable[str]) -> str:
    """The first text that is, holds, or may lead to one of `NEVER`: the path itself, something inside, a folder above; empty: none.

    A text may be a whole line for a shell: each of its words is judged. Wildcards and variables match anything; `..` is resolved by spelling
    (symbolic links are the caller's to resolve, on the host).
    """
    return next((text for text in paths if any(_leads(word) for word in (text, *_WORDS.split(text)) if "/" in word or ".." in word)), "")


def _leads(word: str) -> bool:
    word = _GLUED.sub("/", word)
    parts = word.split("/")
    if not word.startswith("/"):
        # Relative to a folder that we do not know: a step upward can lead anywhere.
        return ".." in parts or _has_tail([p for p in parts if p not in ("", ".")])
    if ".." in parts and any(_WILD.search(part) for part in parts):
        return True
    path = _without_doors(posixpath.normpath("/" + word.lstrip("/")))
    found = [part for part in path.split("/") if part]
    return _has_tail(found) or any(_meet(found, [p for p in never.split("/") if p]) for never in NEVER)


def _without_doors(path: str) -> str:
    while found := _DOORS.match(path):
        path = path[found.end() :] or "/"
    return path


def _meet(found: list[str], never: list[str]) -> bool:
    """Whether one of two paths is the other or above it."""
    return all(_may_be(a, b) for a, b in zip(found, never, strict=False))


def _may_be(part: str, name: str) -> bool:
    if part == name:
        return True
    if not _WILD.search(part):
        return False
    return any(c in part for c in "{$~`") or fnmatchcase(name, part) or "[" in part


def _has_tail(parts: list[str]) -> bool:
    return any(tuple(parts[i : i + 2]) in _TAILS for i in range(len(parts) - 1))
