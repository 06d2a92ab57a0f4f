"""A client that writes through the VIP and remembers each row that the server has acknowledged, so that none can be lost unnoticed.

    async with writing(dsn, password) as load: ...
    lost = await load.missing(dsn_of_the_primary)

From a test without an event loop: ``with in_background(dsn, password) as load``.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import psycopg

TABLE = "lab_load"
DEADLINE_S = 2.0
"""For a connection and for a row: a hung address must not stop the count of what is refused."""
CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (run uuid NOT NULL, id bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(),"
    " pad text, PRIMARY KEY (run, id))"
)
INSERT = f"INSERT INTO {TABLE} (run, id, pad) VALUES (%s, %s, %s)"


@dataclass(slots=True)
class Load:
    """One writer. Every row is a transaction of its own."""

    dsn: str
    """Of the VIP; who logs in must be able to create a table in the database."""
    password: str
    per_s: float = 50.0
    """Rows a second; 0: as many as go."""
    pad: int = 200
    """Bytes of each row beside its number."""
    run: str = field(default_factory=lambda: str(uuid.uuid4()))
    acknowledged: list[int] = field(default_factory=list)
    """Numbers of the rows whose commit was confirmed."""
    refused: int = 0
    """Attempts that failed; a row whose commit was on the wire then may be there all the same."""
    gaps: list[float] = field(default_factory=list)
    """Seconds between two confirmations where attempts failed in between: outages as a client saw them."""
    _next: int = 0
    _last: float = 0.0
    _broken: bool = False

    async def work(self) -> None:
        """Write until cancelled, with a new connection after each failure."""
        while True:
            try:
                async with self._connected() as connection:
                    while True:
                        await self._row(connection)
            except (psycopg.Error, TimeoutError, OSError):
                self.refused += 1
                self._broken = True
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
        async with asyncio.timeout(DEADLINE_S):
            connection = await psycopg.AsyncConnection.connect(
                self.dsn, password=self.password, autocommit=True, connect_timeout=2, application_name="lab-load"
            )  # fmt: skip
        try:
            async with asyncio.timeout(DEADLINE_S):
                await connection.execute(CREATE.encode())
            yield connection
        finally:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    async def _row(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        began = time.monotonic()
        number, self._next = self._next, self._next + 1
        async with asyncio.timeout(DEADLINE_S):
            await connection.execute(INSERT.encode(), (self.run, number, "x" * self.pad))
        now = time.monotonic()
        self.acknowledged.append(number)
        if self._broken:
            self.gaps.append(now - self._last if self._last else 0.0)
        self._last, self._broken = now, False
        if self.per_s:
            await asyncio.sleep(max(0.0, began + 1 / self.per_s - now))

    async def missing(self, dsn: str) -> list[int]:
        """Acknowledged rows that a server does not have. ``dsn`` with its password. Raises psycopg.Error."""
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=2) as connection:
            cursor = await connection.execute(f"SELECT id FROM {TABLE} WHERE run = %s".encode(), (self.run,))
            have = {row[0] for row in await cursor.fetchall()}
        return [number for number in self.acknowledged if number not in have]


@asynccontextmanager
async def writing(dsn: str, password: str, per_s: float = 50.0, pad: int = 200) -> AsyncIterator[Load]:
    """A load while the context lasts; ask it afterwards."""
    load = Load(dsn, password, per_s, pad)
    task = asyncio.create_task(load.work(), name="lab-load")
    try:
        yield load
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def in_background(dsn: str, password: str, per_s: float = 50.0, pad: int = 200) -> Iterator[Load]:
    """`writing` in a thread of its own."""
    load = Load(dsn, password, per_s, pad)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="lab-load", daemon=True)
    thread.start()
    work = asyncio.run_coroutine_threadsafe(load.work(), loop)
    try:
        yield load
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            asyncio.run_coroutine_threadsafe(_drain(), loop).result(5.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5.0)
        loop.close()


async def _drain() -> None:
    """Let the cancelled work come to its end."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.gather(*others, return_exceptions=True)
