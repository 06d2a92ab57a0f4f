"""What can be wrong with a standby."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from coldtui.lab.postgres.means import Means, Options, Switch, chosen, listed, number, until

SEGMENT_B = 16 << 20
ABOUT: dict[str, str] = {
    "pg-lagging": "a standby (instance=NAME) receives but does not replay; bytes=N of WAL are written meanwhile (16 MiB)",
    "pg-cut-off": "a standby (instance=NAME, instance=all) receives no WAL any more; bytes=N are written meanwhile (16 MiB)",
    "pg-held-back": "every standby (or instance=NAME) lacks the newest bytes=N of WAL (16 MiB) of this primary; kill=1 kills it then; the next one they follow",
    "pg-standby-lost": "the server of a standby (instance=NAME) is killed and does not start again",
    "pg-diverged": "a standby (instance=NAME) crashes at each start, since its data is of another history; only a new copy cures it",
    "pg-receiver-held": "a standby (instance=NAME) says that its WAL receiver runs, also when the primary has died: nobody is elected",
    "pg-split-brain": "a standby (instance=NAME) is promoted behind the operator's back",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StandbyFaults:
    """Without ``instance=`` of the last standby, unless said otherwise."""

    means: Means
    kill: Switch
    """The primary."""

    def all(self) -> dict[str, Switch]:
        return {
            "pg-lagging": self._lagging, "pg-cut-off": self._cut_off, "pg-held-back": self._held_back, "pg-standby-lost": self._lost,
            "pg-diverged": self._diverged, "pg-receiver-held": self._receiver_held, "pg-split-brain": self._split_brain,
        }  # fmt: skip

    async def _lagging(self, on: bool, options: Options) -> str:
        names = self.means.take("pg-lagging", on, options)
        for name in names:
            await self.means.sql(name, f"SELECT pg_wal_replay_{'pause' if on else 'resume'}() WHERE pg_is_in_recovery()")
        if not on:
            return f"{listed(names)} replays again"
        written = await self.means.write_wal(number(options, "bytes", SEGMENT_B))
        return f"{listed(names)} does not replay; {written} bytes of WAL were written since"

    async def _cut_off(self, on: bool, options: Options) -> str:
        """Like a machine without a network: neither a primary nor the archive reaches them."""
        names, cut = self.means.take("pg-cut-off", on, options), self.means.orders.cut
        for name in names:
            await asyncio.to_thread(self.means.database.servers.close_archive, on, name)
        if not on:
            cut.difference_update(names)
            return f"{listed(names)} receives WAL again"
        cut.update(names)
        await self._until_cut(names)
        written = await self.means.write_wal(number(options, "bytes", SEGMENT_B))
        return f"{listed(names)} receives nothing; {written} bytes of WAL were written since"

    async def _held_back(self, on: bool, options: Options) -> str:
        """Neither the primary nor the archive gives them anything newer: what was not received is lost with the primary."""
        means, primary = self.means, self.means.primary
        names = means.take("pg-held-back", on, options if not on or options.get("instance") else {**options, "instance": "all"})
        for name in names:
            await asyncio.to_thread(means.database.servers.close_archive, on, name)
            if on:
                means.orders.held[name] = primary
            else:
                means.orders.held.pop(name, None)
        if not on:
            ended = await self.kill(False, {})
            return f"{listed(names)} receives WAL again; {ended}"
        await self._until_cut(names)
        written = await means.write_wal(number(options, "bytes", SEGMENT_B))
        said = f"{listed(names)} has not received the last {written} bytes of WAL of {primary}"
        return f"{said}; {await self.kill(True, options)}" if chosen(options, "kill") else said

    async def _until_cut(self, names: list[str]) -> None:
        await until(lambda: all(self.means.manager(name).receiver_cut for name in names), f"{listed(names)} still receives")

    async def _lost(self, on: bool, options: Options) -> str:
        names = self.means.take("pg-standby-lost", on, options)
        await self._crash(names, self.means.orders.lost, on)
        return f"{listed(names)} is down and crashes at each start" if on else f"{listed(names)} starts again after its back-off"

    async def _diverged(self, on: bool, options: Options) -> str:
        names = self.means.take("pg-diverged", on, options)
        await self._crash(names, self.means.orders.diverged, on)
        return f"{listed(names)} crashes at each start until it is copied anew" if on else f"{listed(names)} can follow again"

    async def _crash(self, names: list[str], order: set[str], on: bool) -> None:
        for name in names:
            (order.add if on else order.discard)(name)
            if on:
                await asyncio.to_thread(self.means.database.servers[name].kill)
            self.means.manager(name).wake()

    async def _receiver_held(self, on: bool, options: Options) -> str:
        names, held = self.means.take("pg-receiver-held", on, options), self.means.orders.receiving
        (held.update if on else held.difference_update)(names)
        return f"{listed(names)} says that its WAL receiver runs" if on else f"{listed(names)} says what its WAL receiver does"

    async def _split_brain(self, on: bool, options: Options) -> str:
        names, servers = self.means.take("pg-split-brain", on, options), self.means.database.servers
        if not on:
            self.means.orders.rogue.difference_update(names)
            return f"{listed(names)} is made a standby again, by rewinding"
        self.means.orders.rogue.update(names)
        for name in names:  # an instance manager archives for the named primary only: the others must not find this timeline
            servers.fail_archiving(True, name)
            await asyncio.to_thread(servers[name].promote)
        return f"{listed(names)} was promoted: two instances say that they are primary"
