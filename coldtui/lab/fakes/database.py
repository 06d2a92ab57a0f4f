"""Servers in memory: set what each says, let one hang or fail, see what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ...domain.errors import Refused, Unreachable
from ...domain.replication import SqlStatus
from ...domain.sessions import DatabaseFacts, Progress, Session, TableFacts
from ...ports import Chosen, Told

T = TypeVar("T")


@dataclass
class FakeServer:
    """One target."""

    status: SqlStatus | None = None
    """None: nobody listens."""
    sessions: tuple[Session, ...] = ()
    progress: tuple[Progress, ...] = ()
    databases: tuple[DatabaseFacts, ...] = ()
    tables: Mapping[str, tuple[TableFacts, ...]] = field(default_factory=dict)
    """By database."""
    address: str = ""
    """`host:port`, as `probe_write` answers."""
    hangs: bool = False
    """Connections are taken and nothing comes."""
    fails: Callable[[], Exception] | None = None
    """Raised instead of any answer."""


class FakeDatabase:
    """Port `Database`."""

    def __init__(self, servers: Mapping[str, FakeServer] | None = None) -> None:
        self.servers: dict[str, FakeServer] = dict(servers or {})
        self.writable = True
        """The write gate."""
        self.calls: list[tuple[str, str]] = []
        """(method, target), in order."""
        self.ended: list[tuple[str, str, Chosen]] = []
        """(cancel or terminate, target, session) that hit."""
        self.maintained: list[tuple[str, str, tuple[str, ...]]] = []
        """(target, database, statement)."""
        self.says: tuple[Told, ...] = ()
        """What a maintenance statement tells."""
        self.busy = asyncio.Event()
        """Clear it to let maintenance take its time; it ends when this is set."""
        self.busy.set()
        self.told_addresses: dict[str, tuple[str, int]] = {}
        self.closed = False

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(self.servers)

    def at(self, target: str, host: str, port: int) -> None:
        self.told_addresses[target] = (host, port)

    async def status(self, target: str, *, deadline_s: float = 2.0, anew: bool = False) -> SqlStatus:
        found = (await self._server("status", target, deadline_s)).status
        assert found is not None
        return found

    async def sessions(self, target: str, *, deadline_s: float = 2.0) -> tuple[Session, ...]:
        return (await self._server("sessions", target, deadline_s)).sessions

    async def progress(self, target: str, *, deadline_s: float = 2.0) -> tuple[Progress, ...]:
        return (await self._server("progress", target, deadline_s)).progress

    async def databases(self, target: str, *, deadline_s: float = 5.0) -> tuple[DatabaseFacts, ...]:
        return (await self._server("databases", target, deadline_s)).databases

    async def tables(self, target: str, database: str, *, most: int = 200, deadline_s: float = 5.0) -> tuple[TableFacts, ...]:
        found = (await self._server("tables", target, deadline_s)).tables.get(database, ())
        return tuple(sorted(found, key=lambda t: -t.dead))[:most]

    # acts

    async def cancel(self, target: str, session: Chosen, *, deadline_s: float = 5.0) -> bool:
        return await self._end("cancel", target, session, deadline_s)

    async def terminate(self, target: str, session: Chosen, *, deadline_s: float = 5.0) -> bool:
        hit = await self._end("terminate", target, session, deadline_s)
        server = self.servers[target]
        server.sessions = tuple(s for s in server.sessions if (s.pid, s.started) != (session.pid, session.started))
        return hit

    async def _end(self, how: str, target: str, session: Chosen, deadline_s: float) -> bool:
        self._gate(how)
        server = await self._server(how, target, deadline_s)
        hit = any((s.pid, s.started) == (session.pid, session.started) for s in server.sessions)
        if hit:
            self.ended.append((how, target, session))
        return hit

    async def maintain(
        self, target: str, database: str, statement: Sequence[str], *, told: Callable[[Told], None] | None = None, deadline_s: float = 0.0
    ) -> None:
        self._gate(statement[0])
        server = await self._server("maintain", target, deadline_s or 5.0)
        if server.status is not None and server.status.in_recovery:
            raise Refused(f"{target} is a standby")
        self.maintained.append((target, database, tuple(statement)))
        if told is not None:
            for line in self.says:
                told(line)
        await self.busy.wait()

    async def probe_write(self, target: str, *, deadline_s: float = 1.0) -> str:
        server = await self._server("probe_write", target, deadline_s)
        if server.status is not None and server.status.in_recovery:
            raise Refused(f"{target} takes no writes", detail=server.address)
        return server.address

    async def aclose(self) -> None:
        self.closed = True

    # inside

    def _gate(self, what: str) -> None:
        if not self.writable:
            raise Refused(f"{what}: nothing is changed in read-only mode")

    async def _server(self, call: str, target: str, deadline_s: float) -> FakeServer:
        self.calls.append((call, target))
        server = self.servers.get(target)
        if server is None:
            raise Unreachable(f"no address of {target} is known")
        if server.hangs:
            await asyncio.sleep(deadline_s)
            raise Unreachable(f"{target} did not answer within {deadline_s:g} s")
        if server.fails is not None:
            raise server.fails()
        if server.status is None:
            raise Unreachable(f"{target} refuses connections", detail=server.address)
        return server
