"""A host's journal: entries that survive a boot, the forms in which journalctl writes them, and followers."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

KEPT = 4000
"""Entries; older ones are forgotten."""
FORMS = ("short", "short-iso", "short-precise", "short-iso-precise", "short-unix", "cat", "json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line with what journald knows about it."""

    number: int
    """Grows by one with each entry of this host."""
    at: datetime
    boot: str
    """Boot ID, with dashes."""
    ident: str
    """SYSLOG_IDENTIFIER: `k3s`, `systemd`, `kernel`."""
    pid: int
    unit: str
    """The unit that it is about; empty: none."""
    message: str
    priority: int = 6
    invocation: str = ""


@dataclass(slots=True)
class Journal:
    """What a host has written down, oldest first."""

    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=KEPT))
    _number: int = 0
    _followers: list[asyncio.Queue[Entry]] = field(default_factory=list)

    def write(
        self, at: datetime, boot: str, ident: str, pid: int, message: str, *, unit: str = "", priority: int = 6, invocation: str = ""
    ) -> None:
        self._number += 1
        entry = Entry(self._number, at, boot, ident, pid, unit, message, priority, invocation)
        self.entries.append(entry)
        for follower in self._followers:
            follower.put_nowait(entry)

    @contextmanager
    def follow(self) -> Iterator[asyncio.Queue[Entry]]:
        """A queue of all entries that are written from now on."""
        queue: asyncio.Queue[Entry] = asyncio.Queue()
        self._followers.append(queue)
        try:
            yield queue
        finally:
            self._followers.remove(queue)

    def boots(self) -> list[str]:
        """Boot IDs, oldest first."""
        return list(dict.fromkeys(entry.boot for entry in self.entries))


def formatted(entry: Entry, form: str, host: str) -> str:
    """One entry as ``journalctl -o FORM`` writes it."""
    at = entry.at.astimezone(UTC)
    if form == "cat":
        return entry.message
    if form == "json":
        return json.dumps(_fields(entry, host), separators=(",", ":"))
    when = {
        "short": at.strftime("%b %d %H:%M:%S"),
        "short-precise": at.strftime("%b %d %H:%M:%S.%f"),
        "short-iso": at.strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "short-iso-precise": at.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
        "short-unix": f"{at.timestamp():.6f}",
    }[form]
    who = f"{entry.ident}[{entry.pid}]" if entry.pid else entry.ident
    return f"{when} {host} {who}: {entry.message}"


def _fields(entry: Entry, host: str) -> dict[str, str]:
    stamp = str(int(entry.at.timestamp() * 1_000_000))
    found = {
        "__CURSOR": f"s=c01d;i={entry.number:x};b={entry.boot.replace('-', '')};t={int(stamp):x}",
        "__REALTIME_TIMESTAMP": stamp,
        "_BOOT_ID": entry.boot.replace("-", ""),
        "_HOSTNAME": host,
        "PRIORITY": str(entry.priority),
        "SYSLOG_IDENTIFIER": entry.ident,
        "MESSAGE": entry.message,
    }
    if entry.pid:
        found["_PID"] = str(entry.pid)
    if entry.unit:
        found["UNIT" if entry.ident == "systemd" else "_SYSTEMD_UNIT"] = entry.unit
    if entry.invocation:
        found["INVOCATION_ID" if entry.ident == "systemd" else "_SYSTEMD_INVOCATION_ID"] = entry.invocation
    return found
