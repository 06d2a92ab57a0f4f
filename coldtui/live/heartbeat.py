"""Whether the API answers at all: the only thing that notices a paused server, and the quickest to notice a dead one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from ..domain.errors import ColdError, Unauthorized
from ..domain.readings import Trouble
from ..domain.sources import KUBE
from ..domain.troubles import trouble_of
from ..ports import Clock, Kube
from .builder import Builder
from .line import Line
from .pace import Pace
from .waits import happens, within

log = logging.getLogger("coldtui.live")

MISSES = 2
"""One lost probe may be chance."""
NAGGING_S = 0.2
"""Least distance of two probes, as a share of the normal one's seconds (1.0 = one second)."""


class Heartbeat:
    """Probes on the face's loop; judges for all threads by the Line."""

    def __init__(
        self,
        kube: Callable[[], Kube],
        line: Line,
        builder: Builder,
        clock: Clock,
        pace: Pace,
        good: Callable[[bool], None],
        denied: Callable[[], None],
    ) -> None:
        """`kube()` is the client of the moment. On the loop, `good(returned)` is called after each answer (`returned`: the API was lost or
        not ready before), and `denied()` when our credentials or the server's certificate are not accepted."""
        self._kube, self._line, self._builder, self._clock, self._pace = kube, line, builder, clock, pace
        self._good, self._denied = good, denied
        self._loop = asyncio.get_running_loop()
        self._nudge = asyncio.Event()
        self._misses = 0
        self._first_miss: datetime | None = None
        self._ready = True
        self.latency_s: float | None = None
        """Round trip of the last answered probe."""
        self.readiness = ""
        """What `/readyz` said last: `ok`, or what is not ready."""

    def suspect(self) -> None:
        """Probe now: something broke. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._nudge.set)
        except RuntimeError:
            if not self._line.closed:
                raise

    async def run(self) -> None:
        while True:
            self._nudge.clear()
            wait_s = await self._beat()
            if wait_s <= 0:
                continue
            pause = min(wait_s, NAGGING_S * self._pace.lost_probe_s)
            await asyncio.sleep(pause)
            await happens(self._nudge, max(0.0, wait_s - pause))

    async def _beat(self) -> float:
        """One probe; returns seconds until the next."""
        pace = self._pace
        sent, began = self._clock.monotonic(), self._clock.now()
        try:
            said = await within(self._kube().alive(deadline_s=pace.probe_s), pace.probe_s * 1.1)
        except Unauthorized as error:  # an answer, but nothing can be read with these credentials: as good as a lost line
            self._denied()
            return self._missed(trouble_of(error), began)
        except (ColdError, TimeoutError) as error:
            return self._missed(trouble_of(error), began)
        except Exception as error:
            log.error("heartbeat: fault of this program, tried again", exc_info=error)
            self._builder.troubled(KUBE, trouble_of(error))
            return pace.heartbeat_s
        self._builder.line_good()
        self._answered(sent, said)
        return pace.heartbeat_s if self._ready else pace.lost_probe_s

    def _answered(self, sent: float, said: str) -> None:
        self.latency_s = self._clock.monotonic() - sent
        self.readiness = said
        self._misses, self._first_miss = 0, None
        ready = said.strip() in ("", "ok")
        returned = not self._line.up or (ready and not self._ready)
        self._ready = ready
        if returned:
            log.info("the API answers again")
            self._line.wake()
        self._good(returned)

    def _missed(self, trouble: Trouble, began: datetime) -> float:
        self._misses += 1
        self._first_miss = self._first_miss or began
        unambiguous = trouble.kind in ("refused", "unauthorized")
        if trouble.kind == "tls":
            self._denied()
        if self._line.up and not unambiguous and self._misses < MISSES:
            return 0.0
        if self._line.up:
            log.warning("the API is lost: %s", trouble.words)
            self._line.lose()
            self._builder.line_lost(trouble, self._first_miss)
            self._kube().streams.shut()
        else:
            self._builder.line_lost(trouble, self._first_miss)
        return self._pace.lost_probe_s
