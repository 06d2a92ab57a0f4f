"""Switchovers on a live site with three real servers: the real adapters, a real journal, steps run in this process by the engine's driver."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from coldtui.adapters.journal import SqliteJournal
from coldtui.adapters.kube.adapter import KubeAdapter
from coldtui.adapters.kube.adapter import connect as connect_kube
from coldtui.adapters.postgres import connect as connect_database
from coldtui.config.settings import Config, PostgresSection, VipSection
from coldtui.domain.plans import Plan
from coldtui.domain.runs import RunEvent, What
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, Step, left_behind, offline, perform
from coldtui.operations.postgres.following import Pace
from coldtui.operations.postgres.switchover import SWITCHOVER, Settle, SwitchOver, Switchover
from coldtui.ports import Kube, Means
from tests.journals import a_run, an_entry
from tests.lab.postgres.conftest import Place
from tests.operations.drain.ground import journal_in
from tests.operations.dying import killed
from tests.operations.means import ME

QUICK = Pace(look_s=0.1, warn_s=2.0, cause_s=4.0)


class Recorded:
    """One run, with all it left in the journal."""

    def __init__(self, plan: Plan, run: str, ctx: RunContext, steps: Iterable[Step]) -> None:
        self.plan, self.id, self.ctx = plan, run, ctx
        self.steps: dict[str, Step] = {step.name: step for step in steps}

    async def perform(self) -> None:
        await perform(self.plan, self.ctx, self.steps)

    @property
    def events(self) -> tuple[RunEvent, ...]:
        return self.ctx.journal.events(self.id)

    @property
    def said(self) -> list[str]:
        return [e.text for e in self.events if e.what in (What.SAID, What.WAITING, What.FAILED) and e.text]

    async def killed_at(self, last: Callable[[RunEvent], bool]) -> None:
        """Perform until such an event is on disk, and end there as a killed process does: nothing is written after it."""
        journal = cast(SqliteJournal, self.ctx.journal)
        await killed(journal, last, lambda dying: perform(self.plan, replace(self.ctx, journal=dying), self.steps))

    def memo_of(self, name: str) -> dict[str, Any]:
        """Of the step of that name."""
        index = next(i for i, step in enumerate(self.plan.steps) if step.name == name)
        return self.ctx.memo_of(self.plan.steps[index], index)

    @property
    def left(self) -> str:
        return "; ".join(left_behind(self.plan, self.ctx, self.steps))

    def taken_up(self) -> RunContext:
        """For another runner: only what the journal holds is known."""
        memo: dict[str, Any] = {}
        for event in self.events:
            if event.what in (What.STARTED, What.MEMO):
                memo.update(event.memo)
        return RunContext(self.id, self.ctx.params, self.ctx.means, self.ctx.journal, deadline=self.ctx.deadline, memo=memo)


def recorded(journal: SqliteJournal, number: int, plan: Plan) -> str:
    """The id of a run of this plan, confirmed and not begun."""
    made = a_run(f"20261124-150210-{number:04x}")
    run = replace(made, created=datetime.now(UTC), steps=tuple(s.title for s in plan.steps), locks=())
    journal.begin(run, an_entry(run))
    return run.id


class Going(Recorded):
    """A switchover."""

    def __init__(self, plan: Plan, run: str, ctx: RunContext, pace: Pace = QUICK) -> None:
        super().__init__(plan, run, ctx, (SwitchOver(pace), Settle(pace)))

    @property
    def memo(self) -> dict[str, Any]:
        return self.ctx.memo_of(self.plan.steps[0], 0)

    def again(self) -> Going:
        """The same run taken up by another runner."""
        return Going(self.plan, self.id, self.taken_up())


class Meddled:
    """The real client, with something done before a patch is sent."""

    def __init__(self, kube: KubeAdapter, before: Callable[[int], Awaitable[None]]) -> None:
        self._kube, self._before = kube, before
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def patch(self, *args: Any, **how: Any) -> Any:
        self.sent += 1
        await self._before(self.sent)
        return await self._kube.patch(*args, **how)


class Ground:
    def __init__(self, place: Place, means: Means, journal: SqliteJournal) -> None:
        self.place, self.means, self.journal = place, means, journal
        self._runs = 0

    async def plan(self, to: str, **params: Any) -> Plan:
        given = Switchover(to, **params)
        return SWITCHOVER.plan(await SWITCHOVER.gather(given, self.means, 10.0), given, self.means.clock.now())

    def meddle(self, before: Callable[[int], Awaitable[None]]) -> Meddled:
        """`before(n)` is awaited before the n-th patch; what it raises is raised instead."""
        made = Meddled(self.kube, before)
        self.means = replace(self.means, kube=cast(Kube, made))
        return made

    @property
    def kube(self) -> KubeAdapter:
        return cast(KubeAdapter, self.means.kube)

    async def going(self, to: str, *, timeout: int = 60, **params: Any) -> Going:
        """Planned and confirmed, not begun."""
        plan = await self.plan(to, **params)
        assert not plan.blocked, plan.blocked
        self._runs += 1
        run = recorded(self.journal, self._runs, plan)
        deadline = self.means.clock.now() + timedelta(seconds=timeout)
        return Going(plan, run, RunContext(run, Switchover(to), self.means, self.journal, deadline=deadline))


def config_of(place: Place) -> Config:
    told = place.database.settings()
    return dataclasses.replace(Config(), postgres=PostgresSection(**told["postgres"]), vip=VipSection(**told["vip"]))


@asynccontextmanager
async def ground(place: Place, folder: Path, *, writable: bool = True) -> AsyncIterator[Ground]:
    kube = connect_kube(kubeconfig=place.kubeconfig, writable=writable)
    database = connect_database(config_of(place), writable=writable, environ={})
    clock = SystemClock()
    means = Means(kube, offline(clock, ME).shell, clock, ME, pg_cluster="database/cold-postgres", database=database)
    try:
        with journal_in(folder) as journal:
            yield Ground(place, means, journal)
    finally:
        await database.aclose()
        await kube.aclose()
