"""The services of a host as systemd knows them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

SUB = {"active": "running", "inactive": "dead", "activating": "start", "deactivating": "stop-sigterm", "failed": "failed"}


@dataclass(slots=True)
class Unit:
    """One service and the state of its present life."""

    name: str
    """With `.service`."""
    about: str
    active: str = "active"
    """ActiveState."""
    pid: int = 0
    invocation: str = field(default_factory=lambda: uuid.uuid4().hex)
    """InvocationID: new with each start."""
    entered: datetime | None = None
    """ActiveEnterTimestamp."""
    changed: datetime | None = None
    """StateChangeTimestamp."""
    started: datetime | None = None
    """ExecMainStartTimestamp."""
    stopped: datetime | None = None
    """InactiveEnterTimestamp."""
    restarts: int = 0
    notify: bool = False

    def turn(self, state: str, now: datetime) -> None:
        """Enter a state."""
        self.active, self.changed = state, now
        if state == "active":
            self.entered = now
        elif state == "inactive":
            self.stopped, self.pid = now, 0

    def begin(self, now: datetime, pid: int) -> None:
        """A new life: another InvocationID, another process."""
        self.invocation, self.pid, self.started = uuid.uuid4().hex, pid, now
        self.turn("activating", now)

    def properties(self, booted: datetime) -> dict[str, str]:
        """As ``systemctl show`` prints them, in its order."""
        running = self.active in ("active", "activating", "deactivating")
        return {
            "Type": "notify" if self.notify else "simple",
            "Restart": "always" if self.notify else "on-failure",
            "MainPID": str(self.pid if running else 0),
            "Result": "success",
            "NRestarts": str(self.restarts),
            "ExecMainStartTimestamp": timestamp(self.started),
            "ExecMainPID": str(self.pid),
            "ExecMainStatus": "0",
            "Id": self.name,
            "Names": self.name,
            "Description": self.about,
            "LoadState": "loaded",
            "ActiveState": self.active,
            "SubState": SUB[self.active],
            "FragmentPath": f"/etc/systemd/system/{self.name}" if self.notify else f"/lib/systemd/system/{self.name}",
            "UnitFileState": "enabled",
            "UnitFilePreset": "enabled",
            "StateChangeTimestamp": timestamp(self.changed),
            "StateChangeTimestampMonotonic": _monotonic(self.changed, booted),
            "InactiveExitTimestamp": timestamp(self.started),
            "ActiveEnterTimestamp": timestamp(self.entered),
            "ActiveEnterTimestampMonotonic": _monotonic(self.entered, booted),
            "ActiveExitTimestamp": timestamp(self.stopped),
            "InactiveEnterTimestamp": timestamp(self.stopped),
            "InactiveEnterTimestampMonotonic": _monotonic(self.stopped, booted),
            "CanStart": "yes",
            "CanStop": "yes",
            "NeedDaemonReload": "no",
            "InvocationID": self.invocation if running else "",
        }


def missing(name: str) -> dict[str, str]:
    """What ``systemctl show`` says of a unit that does not exist."""
    return {
        "MainPID": "0", "Result": "success", "NRestarts": "0", "Id": name, "Names": name, "Description": name, "LoadState": "not-found",
        "ActiveState": "inactive", "SubState": "dead", "UnitFileState": "", "ActiveEnterTimestamp": "", "ActiveEnterTimestampMonotonic": "0",
        "InvocationID": "",
    }  # fmt: skip


def timestamp(moment: datetime | None) -> str:
    """``Mon 2026-05-04 12:00:00 UTC``."""
    return moment.astimezone(UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC") if moment else ""


def _monotonic(moment: datetime | None, booted: datetime) -> str:
    return str(max(0, int((moment - booted).total_seconds() * 1_000_000))) if moment else "0"
