"""How long an act stopped writes: measured while it goes on, and told however it ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ...domain.errors import ColdError, JournalTrouble
from ...domain.plans import PlannedStep
from ..engine import GATHER_S, RunContext
from .facts import PgFacts
from .paths import with_ways, write_paths, writing_way
from .probe import WriteProbe


@dataclass(frozen=True)
class Outage:
    probe: WriteProbe | None
    why: str = ""
    """Why nothing is measured."""
    again: bool = False
    """The runner was away when it began."""

    def words(self) -> str:
        if self.again:
            return "the outage was not measured from its beginning: the runner was away"
        return self.probe.words() if self.probe is not None else f"the outage was not measured: {self.why}"

    def memo(self) -> dict[str, Any]:
        if self.again or self.probe is None:
            return {"outage_ms": None, "outage_total_ms": None, "pauses": None}
        return self.probe.memo()


@contextlib.asynccontextmanager
async def measuring(planned: PlannedStep, ctx: RunContext, facts: PgFacts) -> AsyncIterator[Outage]:
    """Writes are tried on the path of the applications while the context lasts. Left by an error after the act was asked for (memo `asked`), what was
    measured until then is remembered and said."""
    means, again = ctx.means, bool(ctx.memo_of(planned).get("asked"))
    ways = await ctx.patiently(lambda: with_ways(means, facts, GATHER_S))
    way = await writing_way(means, ways)
    path = way.target
    if not path and again and not way.blind:  # writes have stopped by what this run asked for: they are tried until they come back
        path = next(iter(write_paths(ways, means.database)), "")
    if not path:
        await ctx.say(f"the outage cannot be measured: {way.why}")
        yield Outage(None, way.why, again)
        return
    async with WriteProbe(means.database, path, means.clock, first=None if again else means.clock.monotonic()) as probe:
        outage = Outage(probe, again=again)
        try:
            yield outage
        except JournalTrouble:
            raise
        except ColdError:
            if ctx.memo_of(planned).get("asked") and not again:
                await ctx.remember(**outage.memo())
                await ctx.say(outage.words())
            raise
