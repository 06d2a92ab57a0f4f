"""One maintenance statement at work: what the server says of it goes into the log, its progress among the items, its end is awaited."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from ...domain.errors import ColdError, StepFailed, Unauthorized, Unreachable
from ...domain.sessions import Session, left_out, name_parts
from ...domain.text import counted, plain
from ...ports import Database, Told
from ..engine import RunContext
from .session_findings import OURS

LOOK_S = 1.0
READ_S = 2.0
STOP_S = 10.0
"""For the server to stop a statement that was cancelled."""
INDEXES_S, MOST_TABLES, SHOWN = 5.0, 20_000, 5
MOST_LINES = 200
"""Of what the server says between two looks; the rest is counted."""
_AT_WORK = re.compile(r'^(?:aggressively )?(?:vacuuming|analyzing|finished vacuuming) "(?:[^".]+\.)?([^"]+)"')
_FIRST_WORD = {"vacuum": "VACUUM", "vacuum-full": "VACUUM", "analyze": "ANALYZE", "reindex": "REINDEX"}


class Maintaining:
    def __init__(self, ctx: RunContext, database: Database, instance: str, name: str, kind: str, table: str, *, ident: str = "") -> None:
        """`ident`: the table as SQL writes it, where that is known."""
        self.ident = ident or table
        self.ctx, self.database, self.instance, self.name, self.kind, self.table = ctx, database, instance, name, kind, table
        self.object = f"tables/{name}.{table}" if table else f"databases/{name}"
        self.at_work = table
        """The table that the server is at."""
        self.skipped = self.gone = 0
        self._lines: list[str] = []

    async def run(self) -> str:
        """To the end; returns what is to be said of it. Raises Cancelled, StepFailed, Forbidden (the grant named), Unreachable.

        Whatever ends us ends the statement on the server too.
        """
        began = self.ctx.now
        statement = (self.kind.replace("-", " "), *([self.ident] if self.table else []))
        task = asyncio.create_task(self.database.maintain(self.instance, self.name, statement, told=self._hear), name="maintenance")
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_S)
                await self._flush()
                if not task.done():
                    await self._look()
                    self.ctx.check()
            await self._ended(task)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=STOP_S)
            if task.done() and not task.cancelled():
                task.exception()  # it was raised, or something graver is
        await self.ctx.waiting("")
        return "; ".join((f"done in {(self.ctx.now - began).total_seconds():.0f} s", *self._lacking(), *await self._invalid()))

    def _lacking(self) -> Iterator[str]:
        if self.skipped:
            yield f"{counted(self.skipped, 'table')} left out: they need their owner, or pg_maintain (17 and later)"
        if self.gone:
            yield f"{counted(self.gone, 'table')} left out: dropped meanwhile"

    async def _invalid(self) -> tuple[str, ...]:
        """Indexes that a reindex left as they were, or leaves behind."""
        if self.kind != "reindex":
            return ()
        try:
            tables = await self.database.tables(self.instance, self.name, most=MOST_TABLES, deadline_s=INDEXES_S)
        except ColdError as error:
            return (f"whether all indexes are valid is not known: {error.title}",)
        found = [index for t in tables if not self.table or self.table == t.shown for index in t.invalid]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return (f"not valid: {', '.join(found[:SHOWN])}{more}: DROP INDEX CONCURRENTLY",) if found else ()

    async def _ended(self, task: asyncio.Task[None]) -> None:
        try:
            await task
        except Unauthorized:
            raise
        except Unreachable as error:
            if "user request" in error.detail:
                raise StepFailed("somebody cancelled the statement on the server", detail=error.detail, hint="ask for it again") from error
            raise StepFailed("the statement broke off", detail=str(error), hint="it is safe to ask for it again") from error

    def _hear(self, line: Told) -> None:
        if found := _AT_WORK.match(line.text):
            self.at_work = found.group(1)
        if line.severity == "WARNING":
            self.skipped += left_out(line.text)
            self.gone += line.text.endswith("relation no longer exists")
        self._lines.append(f"{line.severity}: {line.text}")

    async def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if len(lines) > MOST_LINES:
            lines = [*lines[:MOST_LINES], f"({len(lines) - MOST_LINES:,} more lines)"]
        if lines:
            await self.ctx.write(tuple(lines))

    async def _look(self) -> None:
        """Progress, and who holds us up. That it cannot be seen ends nothing."""
        try:
            progress = await self.database.progress(self.instance, deadline_s=READ_S)
            sessions = await self.database.sessions(self.instance, deadline_s=READ_S)
        except ColdError as error:
            await self.ctx.item(self.object, f"progress not known: {error.title}")
            return
        ours = self._ours(sessions)
        if ours is None:
            return
        by_pid = {s.pid: s for s in sessions}
        holders = [f"{pid} ({by_pid[pid].user or by_pid[pid].kind})" if pid in by_pid else str(pid) for pid in ours.blocked_by]
        await self.ctx.waiting(f"{', '.join(holders)} to let go of a lock on {self.at_work or self.name}" if holders else "")
        for part in progress:
            if part.pid == ours.pid:
                percent = "" if part.fraction is None else f", {min(1.0, part.fraction):.0%}"
                at = f"{self.at_work}: " if not self.table and self.at_work else ""
                await self.ctx.item(self.object, f"{at}{part.phase}{percent}")

    def _ours(self, sessions: tuple[Session, ...]) -> Session | None:
        """The newest of this program's that runs such a statement there: an older one may be of a runner that was killed."""
        table = name_parts(self.ident)[-1].replace('"', '""') if self.table else ""
        words = _FIRST_WORD[self.kind], plain(f'"{table}"') if table else ""
        found = [
            s
            for s in sessions
            if s.application == OURS
            and s.database == self.name
            and s.query.startswith(words[0])
            and words[1] in s.query
            and s.state == "active"
        ]
        return max(found, key=lambda s: s.started, default=None)
