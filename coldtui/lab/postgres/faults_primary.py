"""What can be wrong with the primary."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from coldtui.lab.client import PODS
from coldtui.lab.controllers.kubelet import STOP_SECONDS
from coldtui.lab.postgres.means import Means, Options, Switch, chosen, listed

FAULT = "pg-primary-killed"
ABOUT: dict[str, str] = {
    FAULT: "the primary is killed with -9 under load; its container comes back after its back-off, with stays=1 only at the end of the fault",
    "pg-primary-wedged": "the primary's server is frozen: its status fails, then its pod is not Ready; its lease is renewed, so that whoever is elected waits for it",
    "pg-status-cut": "the status of the primary cannot be read; its server works",
    "pg-primary-unready": "the readiness probe of the primary fails; its server works, so that the operator waits for it",
    "archiver-failing": "no WAL segment can be archived",
}


@dataclass(frozen=True, slots=True)
class PrimaryFaults:
    """Of whoever is primary when they are switched on."""

    means: Means
    write: Callable[[], Awaitable[None]]
    """Have a client write through the VIP, if none does."""

    def all(self) -> dict[str, Switch]:
        return {
            FAULT: self.killed, "pg-primary-wedged": self._wedged, "pg-status-cut": self._status_cut, "pg-primary-unready": self._unready,
            "archiver-failing": self._archiver,
        }  # fmt: skip

    async def killed(self, on: bool, options: Options) -> str:
        means = self.means
        if not on:
            names = means.take_primary(FAULT, on)
            means.orders.lost.difference_update(names)
            return f"{listed(names)} may start again after its back-off" if names else "ended"
        await self.write()
        (name,) = means.take_primary(FAULT, on)
        if chosen(options, "stays"):
            means.orders.lost.add(name)
        last = (await means.sql(name, "SELECT pg_current_wal_lsn()"))[0][0]
        await asyncio.to_thread(means.database.servers[name].kill)
        means.manager(name).wake()
        return f"{name} was killed at about {last}; the lease of a dead primary is free {means.lab.pace.lease:.0f} s after its last renewal"

    async def _wedged(self, on: bool, options: Options) -> str:
        names = self.means.take_primary("pg-primary-wedged", on)
        for name in names:
            await (self._freeze(name) if on else self._thaw(name))
        return (
            f"the server of {listed(names)} is frozen; its pod is Ready for some time yet"
            if on
            else f"the server of {listed(names)} goes on"
        )

    async def _freeze(self, name: str) -> None:
        manager = self.means.manager(name)
        await self._stop_takes(name, "1800")
        self.means.orders.wedged.add(name)
        await manager.gauge.freeze()
        await asyncio.to_thread(manager.server.freeze)

    async def _thaw(self, name: str) -> None:
        manager = self.means.manager(name)
        await asyncio.to_thread(manager.server.thaw)
        manager.gauge.frozen = False
        self.means.orders.wedged.discard(name)
        await self._stop_takes(name, None)
        manager.wake()

    async def _stop_takes(self, name: str, seconds: str | None) -> None:
        """A frozen server does not shut down: its pod goes after its grace period only."""
        pod = self.means.manager(name).pod
        if pod is not None:
            patch = {"metadata": {"annotations": {STOP_SECONDS: seconds}}}
            await self.means.lab.client.patch(PODS, name, patch, pod["metadata"]["namespace"])

    async def _status_cut(self, on: bool, options: Options) -> str:
        names, mute = self.means.take_primary("pg-status-cut", on), self.means.orders.mute
        (mute.update if on else mute.difference_update)(names)
        return f"the status of {listed(names)} cannot be read; its server works" if on else f"the status of {listed(names)} can be read"

    async def _unready(self, on: bool, options: Options) -> str:
        names, unready = self.means.take_primary("pg-primary-unready", on), self.means.orders.unready
        (unready.update if on else unready.difference_update)(names)
        return f"the readiness probe of {listed(names)} {'fails; its server works' if on else 'succeeds again'}"

    async def _archiver(self, on: bool, options: Options) -> str:
        await asyncio.to_thread(self.means.database.servers.fail_archiving, on)
        await self.means.write_wal(1 << 16)
        await self.means.sql(self.means.primary, "SELECT pg_switch_wal()")
        return "WAL segments cannot be archived" if on else "WAL segments are archived again"
