"""The write that proves that commits end: of those that hang none is left behind, and never more than a few lie at one server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg
from psycopg.errors import Diagnostic

from ...domain.errors import Refused
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from . import sql
from .lines import Connection, Lines, all_of, one_of

MOST = 8
"""Commits that lie at one server at once. One that waits for a disk ends by no cancelling, and takes one of the server's connections."""
CANCEL_S, CLOSE_S = 5.0, 1.0


@dataclass
class _Write:
    """One on its way: once it is sent, where it is committed, and how it is cancelled."""

    where: str = ""
    connection: Connection | None = None
    unreplicated: str = ""
    """What the server says of a commit that stopped waiting for its standbys."""
    recalled: bool = False

    def hear(self, notice: Diagnostic) -> None:
        """A cancelled wait is a success with a warning: only the place in the server's source tells it in all languages."""
        if notice.source_function == "SyncRepWaitForLSN":
            self.unreplicated = plain(notice.message_primary or "the wait for a standby was cancelled")


class Writes:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._under_way: dict[asyncio.Task[str], _Write] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def prove(self, target: str, deadline_s: float) -> str:
        """`ports.Database.probe_write`. Who waits for it is told at the deadline, whatever the server still does with the statement."""
        write = _Write()
        task = asyncio.create_task(self._write(target, write, deadline_s), name="write")
        self._under_way[task] = write
        task.add_done_callback(self._over)
        try:
            await asyncio.wait({task}, timeout=deadline_s)
            if task.done():
                return task.result()
        finally:
            if not task.done():
                self._recall(task, write)
        if write.connection is not None:
            raise LineTrouble(f"{target} does not end a commit ({write.where}) within {deadline_s:g} s", kind="server")
        raise LineTrouble(f"{target} did not answer within {deadline_s:g} s", kind="timeout")

    async def _write(self, target: str, write: _Write, deadline_s: float) -> str:
        async with self._lines.own(target, read_only=False, deadline_s=deadline_s, statement_s=deadline_s) as connection:
            row = await one_of(connection, sql.PROBE)
            where = plain(row["listens"])
            if row["pg_is_in_recovery"]:
                raise Refused(f"{target} leads to a standby ({where})")
            if row["read_only"]:
                raise Refused(f"{target} takes no writes ({where}): transactions are read-only there")
            if sum(w.where == where for w in self._under_way.values()) >= MOST:
                raise LineTrouble(f"{target} does not end a commit ({where}): {MOST} lie there", kind="server")
            write.where, write.connection = where, connection
            connection.add_notice_handler(write.hear)
            await all_of(connection, sql.WRITE)
            if write.unreplicated:
                raise Refused(f"{target} did not wait for its standbys ({where})", detail=write.unreplicated)
            return where

    def _over(self, task: asyncio.Task[str]) -> None:
        self._under_way.pop(task, None)
        if not task.cancelled():
            task.exception()  # whoever asked has been told, or no longer listens

    def _recall(self, task: asyncio.Task[str], write: _Write) -> None:
        """Stop it on the server, in the background."""
        if write.recalled:
            return
        write.recalled = True
        if write.connection is None:
            task.cancel()  # nothing is written yet
            return
        ending = asyncio.create_task(self._end(task, write.connection), name="write recalled")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    @staticmethod
    async def _end(task: asyncio.Task[str], connection: Connection) -> None:
        """statement_timeout does not hold for a commit. What was cancelled is waited for, so that it is counted as long as it lies there; where
        even that cannot be told to the server, the line is given up."""
        try:
            await connection.cancel_safe(timeout=CANCEL_S)
        except (psycopg.Error, OSError):
            task.cancel()
        await asyncio.wait({task})

    async def aclose(self) -> None:
        """Those that are recalled get a moment to end."""
        for task, write in tuple(self._under_way.items()):
            self._recall(task, write)
        left = {*self._under_way, *self._ending}
        if left:
            _, left = await asyncio.wait(left, timeout=CLOSE_S)
        for _ in range(2):  # the first one only lets the driver cancel again, and wait for seconds
            for one in left:
                one.cancel()
            await asyncio.sleep(0)
        if left:
            await asyncio.wait(left, timeout=CLOSE_S)
