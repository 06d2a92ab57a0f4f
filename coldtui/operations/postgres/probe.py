"""How long writes stop: one tried every tenth of a second on the path that the applications take, each on a new connection."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import TracebackType
from typing import Any

from ...domain.errors import ColdError, Unauthorized
from ...domain.text import counted
from ...domain.troubles import trouble_of
from ...ports import Clock, Database

EVERY_S = 0.08
TRY_S = 1.0
"""For one try; a path that hangs holds the next ones no longer than it takes to begin them."""
AT_ONCE = 6
BARRED = 3
"""So many refused logins in a row are no outage but a wrong password: nobody is asked any more."""


class WriteProbe:
    """While the context lasts. Times are the clock's monotonic seconds.

    An outage is the time between two accepted writes with a refused one begun in between, or that two servers took, since no two take writes at
    once: by some hundredths of a second too long, never too short, however seldom a busy machine lets us try.
    """

    def __init__(
        self, database: Database, target: str, clock: Clock, *, every_s: float = EVERY_S, first: float | None = None, out: bool = False
    ) -> None:
        """`first`: when a write was accepted last, before this begins; `out`: it was seen that none was since."""
        self.target = target
        self._database, self._clock, self._every_s = database, clock, every_s
        self._accepted: list[tuple[float, float, str]] = [] if first is None else [(first, first, "")]
        """(begun, accepted, by whom; empty: not known)."""
        self._before = len(self._accepted)
        self._out = out and first is not None
        self._refused: list[float] = []
        """When they were begun."""
        self.where = ""
        """Which server took the newest accepted one."""
        self.barred = ""
        """Why it tries no more: the server does not let us in."""
        self._shut_out = 0
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
        while not self.barred:
            self._tries = {task for task in self._tries if not task.done()}
            if len(self._tries) < AT_ONCE:
                self._tries.add(asyncio.create_task(self._try(), name="write try"))
            await asyncio.sleep(self._every_s)

    async def _try(self) -> None:
        begun = self._clock.monotonic()
        try:
            where = await self._database.probe_write(self.target, deadline_s=TRY_S)
        except Unauthorized as error:
            self._shut_out += 1
            self._refused.append(begun)
            if self._shut_out >= BARRED:
                self.barred = trouble_of(error).words
            return
        except ColdError:
            self._refused.append(begun)
            return
        self._shut_out = 0
        self._accepted.append((begun, self._clock.monotonic(), where))
        self.where = where

    # --- what came of it

    def accepted_since(self, moment: float) -> bool:
        """Whether a write that was begun after then was accepted."""
        return any(begun > moment for begun, _, _ in self._accepted)

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """Outages that have ended, in order."""
        ends = sorted((accepted, where) for _, accepted, where in self._accepted)
        return tuple(
            b - a
            for number, ((a, there), (b, here)) in enumerate(pairwise(ends))
            if (there and here and there != here) or any(a < begun < b for begun in self._refused) or (self._out and not number)
        )

    @property
    def outage_ms(self) -> int:
        """The longest outage, one that lasts until now included; 0: no write was refused, and one server took them all."""
        return self._figures()[0]

    @property
    def total_ms(self) -> int:
        """All outages together."""
        return self._figures()[1]

    @property
    def pauses(self) -> int:
        return self._figures()[2]

    def _figures(self) -> tuple[int, int, int, bool]:
        """Longest, total, number, and whether the last lasts; of one moment, so that they agree."""
        gaps, lasting = self.gaps_s, self.open_s
        every = (*gaps, lasting)
        return round(max(every) * 1000), round(sum(every) * 1000), len(gaps) + bool(lasting), bool(lasting)

    @property
    def open_s(self) -> float:
        """How long the outage lasts that has not ended; 0: the newest write was accepted."""
        last = max((accepted for _, accepted, _ in self._accepted), default=None)
        if last is None:
            return 0.0
        still = any(begun > last for begun in self._refused) or (self._out and len(self._accepted) == self._before)
        return self._clock.monotonic() - last if still else 0.0

    def memo(self) -> dict[str, Any]:
        """For the record of a run; null: not measured."""
        if self.barred:
            return {"outage_ms": None, "outage_total_ms": None, "pauses": None}
        longest, total, pauses, _ = self._figures()
        return {"outage_ms": longest, "outage_total_ms": total, "pauses": pauses}

    def words(self) -> str:
        """`writes through vip stopped for 1,234 ms`, of several pauses the longest and all together."""
        if self.barred:
            return f"the outage was not measured: {self.barred}"
        longest, total, pauses, lasting = self._figures()
        if not pauses:
            return f"no write through {self.target} was refused"
        words = f"writes through {self.target} stopped for {longest:,} ms"
        if pauses == 1:
            return words + (" until now" if lasting else "")
        words += f" at the longest, {total:,} ms in all in {counted(pauses, 'pause')}"
        return words + (", the last until now" if lasting else "")
