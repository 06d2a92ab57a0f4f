"""What the faults of the database have in common: who is primary, which instances are meant, SQL, waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from coldtui.domain.errors import ColdError, NotFound, UsageError
from coldtui.lab.client import PG_CLUSTERS, Json
from coldtui.lab.controllers.base import Lab
from coldtui.lab.postgres.database import Database
from coldtui.lab.postgres.manager import Manager
from coldtui.lab.postgres.orders import Orders

Options = Mapping[str, Any]
Switch = Callable[[bool, Options], Awaitable[str]]
"""Switches one fault on or off; returns in a sentence what is now. Raises ColdError."""
SETTLE_S = 20.0
"""For the servers to run and stream. Below the deadline of the control socket."""


@dataclass(slots=True)
class Means:
    """Shared by the faults of one lab."""

    lab: Lab
    database: Database
    chosen: dict[str, list[str]] = field(default_factory=dict)
    """Fault -> the instances that it was switched on for."""

    @property
    def orders(self) -> Orders:
        return self.database.managers.orders

    @property
    def cluster(self) -> Json:
        namespace, name = self.database.managers.cluster_key
        return self.lab.informers.of(PG_CLUSTERS).get(name, namespace) or {}

    @property
    def status(self) -> Json:
        return self.cluster.get("status") or {}

    @property
    def primary(self) -> str:
        return str(self.status.get("currentPrimary", ""))

    def manager(self, name: str) -> Manager:
        return self.database.managers.by_name[name]

    # --- who

    def take(self, fault: str, on: bool, options: Options) -> list[str]:
        """The standbys that are meant: those of ``instance=``, else the last one; at the end those that it was switched on for."""
        wanted = str(options.get("instance", ""))
        if not on:
            return [wanted] if wanted and wanted != "all" else self.chosen.pop(fault, [])
        standbys = [name for name in self.database.servers if name != self.primary]
        names = standbys if wanted == "all" else [wanted] if wanted else standbys[-1:]
        for name in names:
            if name not in self.database.servers:
                raise NotFound(f"there is no instance {name}", hint="known: " + ", ".join(self.database.servers))
            if name == self.primary:
                raise UsageError(f"{name} is the primary", hint="this fault is of a standby: " + ", ".join(standbys))
        self.remember(fault, *names)
        return names

    def take_primary(self, fault: str, on: bool) -> list[str]:
        """The primary; at the end whoever was it when the fault began."""
        if not on:
            return self.chosen.pop(fault, [])
        self.remember(fault, self.primary)
        return [self.primary]

    def remember(self, fault: str, *names: str) -> None:
        known = self.chosen.setdefault(fault, [])
        known += [name for name in names if name not in known]

    # --- servers

    async def sql(self, name: str, statement: str) -> list[tuple[object, ...]]:
        return await asyncio.to_thread(self.database.servers[name].sql, statement)

    async def write_wal(self, amount: float) -> int:
        """So many bytes of WAL that change nothing; returns how many it became."""
        name = self.primary
        before = str((await self.sql(name, "SELECT pg_current_wal_insert_lsn()"))[0][0])
        left = int(amount)
        while left > 0:
            size = min(left, 4 << 20)
            await self.sql(name, f"SELECT pg_logical_emit_message(true, 'lab', repeat('x', {size}))")
            left -= size
        return int(str((await self.sql(name, f"SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')"))[0][0]))

    # --- waiting

    async def settle(self) -> None:
        """Wait until whoever shall run runs, and there is a primary that answers. Raises ColdError."""
        await until(self._settled, "the servers do not all run")

    def _settled(self) -> bool:
        down = self.orders.lost | self.orders.diverged | self.orders.unready
        return bool(self.primary) and all(m.state.ready or m.name in down or m.fenced for m in self.database.managers.by_name.values())


async def until(holds: Callable[[], bool] | Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Raises ColdError saying ``otherwise`` when it does not come true in time."""
    try:
        async with asyncio.timeout(SETTLE_S):
            while True:
                found = holds()
                if (found if isinstance(found, bool) else await found) is True:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ColdError(otherwise, detail=f"within {SETTLE_S:.0f} s") from None


def number(options: Options, key: str, default: float) -> float:
    """Raises UsageError."""
    try:
        found = float(options.get(key, default))
    except (TypeError, ValueError):
        found = -1.0
    if found < 0:
        raise UsageError(f"{key}={options[key]} is no number", hint=f"write {key}={default:g}")
    return found


def chosen(options: Options, key: str) -> bool:
    """Whether an option such as ``stays=1`` was given."""
    return str(options.get(key, "")).lower() in ("1", "true", "yes")


def listed(names: list[str]) -> str:
    return ", ".join(names) or "nobody"
