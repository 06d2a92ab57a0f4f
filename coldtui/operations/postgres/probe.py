"""How long writes stop: one tried every tenth of a second on the path that the applications take, each on a new connection."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import TracebackType

from ...domain.errors import ColdError
from ...ports import Clock, Database

EVERY_S = 0.08
TRY_S = 1.0
"""For one try; a path that hangs holds the next ones no longer than it takes to begin them."""
AT_ONCE = 6


class WriteProbe:
    """While the context lasts. Times are the clock's monotonic seconds.

    An outage is the time between two accepted writes with a refused one begun in between, or that two servers took, since no two take writes at
    once: by some hundredths of a second too long, never too short, however seldom a busy machine lets us try.
    """

    def __init__(self, database: Database, target: str, clock: Clock, *, every_s: float = EVERY_S, first: float | None = None) -> None:
        """`first`: when a write was accepted last, before this begins."""
        self.target = target
        self._database, self._clock, self._every_s = database, clock, every_s
        self._accepted: list[tuple[float, float, str]] = [] if first is None else [(first, first, "")]
        """(begun, accepted, by whom; empty: not known)."""
        self._before = len(self._accepted)
        self._refused: list[float] = []
        """When they were begun."""
        self.where = ""
        """Which server took the newest accepted one."""
        self._tries: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WriteProbe:
        self._task = asyncio.create_task(self._work(), name="write probe")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        every = [task for task in (self._task, *self._tries) if task is not None]
        for task in every:
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            self._tries = {task for task in self._tries if not task.done()}
            if len(self._tries) < AT_ONCE:
                self._tries.add(asyncio.create_task(self._try(), name="write try"))
            await asyncio.sleep(self._every_s)

    async def _try(self) -> None:
        begun = self._clock.monotonic()
        try:
            where = await self._database.probe_write(self.target, deadline_s=TRY_S)
        except ColdError:
            self._refused.append(begun)
            return
        self._accepted.append((begun, self._clock.monotonic(), where))
        self.where = where

    # --- what came of it

    def accepted_since(self, moment: float) -> bool:
        """Whether a write that was begun after then was accepted."""
        return any(begun > moment for begun, _, _ in self._accepted)

    @property
    def first_accepted(self) -> float | None:
        """When the first write of its own was accepted."""
        return min((accepted for _, accepted, _ in self._accepted[self._before :]), default=None)

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Outages that have ended, in order."""
        ends = sorted((accepted, where) for _, accepted, where in self._accepted)
        return tuple(
            b - a
            for (a, there), (b, here) in pairwise(ends)
            if (there and here and there != here) or any(a < begun < b for begun in self._refused)
        )

    @property
    def outage_ms(self) -> int:
        """All outages together; 0: no write was refused, and one server took them all."""
        return round(sum(self.gaps_s) * 1000)

    def words(self) -> str:
        """`writes through vip stopped for 1,234 ms`."""
        if not self.gaps_s:
            return f"no write through {self.target} was refused"
        several = f" in {len(self.gaps_s)} pauses" if len(self.gaps_s) > 1 else ""
        return f"writes through {self.target} stopped for {self.outage_ms:,} ms{several}"
