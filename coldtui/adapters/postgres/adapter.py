"""`ports.Database`: the fixed reads on kept read-only connections, and acts, each on a connection of its own, behind the write gate."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

from psycopg import sql as compose
from psycopg.errors import Diagnostic

from ...config.settings import Config
from ...domain.errors import Forbidden, Refused, UsageError
from ...domain.hosts import host_address
from ...domain.replication import SqlStatus
from ...domain.secret import Secret
from ...domain.sessions import DatabaseFacts, Progress, Session, TableFacts, left_out, name_parts
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from ...ports import Chosen, Told
from . import decode, sql
from .lines import Connection, Lines, all_of, one_of
from .writes import Writes

VIP = "vip"
PORT = 5432
_STATEMENTS = {"vacuum": "VACUUM (VERBOSE)", "vacuum full": "VACUUM (FULL, VERBOSE)", "analyze": "ANALYZE (VERBOSE)"}


def connect(
    config: Config, *, writable: bool, secrets: Mapping[str, Secret] | None = None, environ: Mapping[str, str] = os.environ
) -> PostgresAdapter:
    """For the servers that the configuration names; others are told by `at`. Reaches nothing yet."""
    adapter = PostgresAdapter(Lines(config.postgres, secrets or {}, environ), writable=writable)
    for name, address in config.postgres.instances.items():
        adapter.fix(name, address, f"postgres.instances.{name}")
    if config.vip_tried:
        adapter.fix(VIP, config.vip_tried, "vip.probe" if config.vip.probe else "POSTGRES_PRIMARY_HOST")
    return adapter


class PostgresAdapter:
    """See `ports.Database`."""

    def __init__(self, lines: Lines, *, writable: bool) -> None:
        self._lines, self._writable = lines, writable
        self._writes = Writes(lines)

    def fix(self, target: str, address: str, setting: str) -> None:
        """An address of the configuration. One that is none is told to whoever asks for this target; the others are reached."""
        try:
            host, port = str(ip_address(address.strip())), PORT
        except ValueError:
            try:
                found = host_address(address)
            except ValueError as error:
                self._lines.mistakes[target] = f"{setting} cannot be {plain(address)!r}", str(error), f"mend {setting}: host, or host:port"
                return
            host, port = found.host, found.port or PORT
        self._lines.put(target, host, port, fixed=True)

    @property
    def targets(self) -> tuple[str, ...]:
        return (*self._lines.places, *self._lines.mistakes)

    def at(self, target: str, host: str, port: int) -> None:
        self._lines.put(target, host, port, fixed=False)

    # --- reads

    async def status(self, target: str, *, deadline_s: float = 2.0, anew: bool = False) -> SqlStatus:
        async def work(connection: Connection) -> SqlStatus:
            row = await one_of(connection, sql.status(connection.info.server_version))
            waiting = None
            if row["may_list"]:
                waiting = (await one_of(connection, sql.WAITING))["count"]
            newest = None
            if row["in_recovery"] and row["may_list_wal"] and not decode.receives(row):
                newest = (await one_of(connection, sql.NEWEST))["timeline"]
            return decode.status(row, waiting, newest)

        if anew:
            async with (
                _within(deadline_s, target),
                self._lines.own(target, read_only=True, deadline_s=deadline_s, statement_s=deadline_s) as connection,
            ):
                return decode.reached(await one_of(connection, sql.REACHED))
        found: SqlStatus = await self._lines.ask(target, work, deadline_s)
        return found

    async def sessions(self, target: str, *, deadline_s: float = 2.0) -> tuple[Session, ...]:
        rows = await self._lines.ask(target, lambda connection: all_of(connection, sql.SESSIONS), deadline_s)
        return tuple(decode.session(row) for row in rows)

    async def progress(self, target: str, *, deadline_s: float = 2.0) -> tuple[Progress, ...]:
        async def work(connection: Connection) -> list[dict[str, Any]]:
            return await all_of(connection, sql.progress(connection.info.server_version))

        return tuple(decode.progress(row) for row in await self._lines.ask(target, work, deadline_s))

    async def databases(self, target: str, *, deadline_s: float = 5.0) -> tuple[DatabaseFacts, ...]:
        async with (
            _within(deadline_s, target),
            self._lines.own(target, read_only=True, deadline_s=deadline_s, statement_s=deadline_s) as connection,
        ):  # the sizes of a large one take seconds, for which no other question shall wait
            return tuple(decode.database(row) for row in await all_of(connection, sql.DATABASES))

    async def tables(self, target: str, database: str, *, most: int = 200, deadline_s: float = 5.0) -> tuple[TableFacts, ...]:
        async with (
            _within(deadline_s, target),
            self._lines.own(target, read_only=True, database=database, deadline_s=deadline_s, statement_s=deadline_s) as connection,
        ):
            return tuple(decode.table(row) for row in await all_of(connection, sql.TABLES, (most,)))

    # --- acts

    def _gate(self, what: str) -> None:
        if not self._writable:
            raise Refused("read-only: this connection does not change anything", detail=what)

    async def cancel(self, target: str, session: Chosen, *, deadline_s: float = 5.0) -> bool:
        return await self._signal("cancel", sql.CANCEL, target, session, deadline_s)

    async def terminate(self, target: str, session: Chosen, *, deadline_s: float = 5.0) -> bool:
        return await self._signal("terminate", sql.TERMINATE, target, session, deadline_s)

    async def _signal(self, verb: str, statement: str, target: str, session: Chosen, deadline_s: float) -> bool:
        self._gate(f"{verb} {session.pid} on {target}")
        async with (
            _within(deadline_s, target),
            self._lines.own(target, read_only=False, deadline_s=deadline_s, statement_s=deadline_s) as connection,
        ):
            rows = await all_of(connection, statement, (session.pid, session.started))
            return bool(rows) and all(next(iter(row.values())) for row in rows)

    async def maintain(
        self,
        target: str,
        database: str,
        statement: Sequence[str],
        *,
        told: Callable[[Told], None] | None = None,
        deadline_s: float = 0.0,
    ) -> None:
        self._gate(f"{' '.join(statement)} on {target}")
        async with self._lines.own(target, read_only=False, database=database, statement_s=deadline_s) as connection:
            if (await one_of(connection, sql.PROBE))["pg_is_in_recovery"]:
                raise Refused(f"{target} is a standby", hint="maintenance runs on the primary")
            skipped: list[str] = []

            def hear(notice: Diagnostic) -> None:
                line = Told(plain(notice.severity or ""), plain(notice.message_primary or ""))
                if line.severity == "WARNING" and left_out(line.text):
                    skipped.append(line.text)
                if told is not None:
                    told(line)

            connection.add_notice_handler(hear)
            for one in composed(statement, database):
                await _cancellable(connection, one)
            if (
                skipped and len(statement) > 1
            ):  # the server only warns; of a whole database others' tables are left out as a matter of course
                raise Forbidden(
                    f"{target}: {skipped[0]}", detail=f"{len(skipped)} in all", hint="needs its owner, or pg_maintain (17 and later)"
                )

    async def probe_write(self, target: str, *, deadline_s: float = 1.0) -> str:
        self._gate(f"a write through {target}")
        return await self._writes.prove(target, deadline_s)

    async def aclose(self) -> None:
        await self._writes.aclose()
        await self._lines.aclose()


def composed(statement: Sequence[str], database: str) -> list[compose.Composed]:
    """The statements for one order: a table each, or the whole database. Raises UsageError for an unknown one."""
    what, *tables = statement
    names = [compose.Identifier(*name_parts(table)) for table in tables]
    if what == "reindex":  # CONCURRENTLY stands where PostgreSQL 13 wants it; the newer ones take it there too
        if not names:
            return [compose.SQL("REINDEX (VERBOSE) DATABASE CONCURRENTLY ") + compose.Identifier(database)]
        return [compose.SQL("REINDEX (VERBOSE) TABLE CONCURRENTLY ") + name for name in names]
    if what not in _STATEMENTS:
        raise UsageError(f"unknown maintenance {plain(what)}", hint=f"one of {', '.join((*_STATEMENTS, 'reindex'))}")
    head = compose.SQL(_STATEMENTS[what])
    return [compose.Composed([head, compose.SQL(" "), name]) for name in names] or [compose.Composed([head])]


async def _cancellable(connection: Connection, statement: compose.Composed) -> None:
    """Cancelling the task cancels the statement on the server, which otherwise would go on without us."""
    try:
        await connection.execute(statement)
    except asyncio.CancelledError:
        await asyncio.shield(connection.cancel_safe(timeout=5.0))
        raise


@asynccontextmanager
async def _within(deadline_s: float, target: str) -> AsyncIterator[None]:
    """A deadline whose end is told as ours."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except TimeoutError:
        raise LineTrouble(f"{target} did not answer within {deadline_s:.0f} s", kind="timeout") from None
