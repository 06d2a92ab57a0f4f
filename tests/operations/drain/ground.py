"""A drain on a real API: the lab's site with its controllers, the real adapter, a real journal; steps run in this process by the engine's driver."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.domain.plans import Plan
from coldtui.domain.runs import RunEvent, What
from coldtui.lab import site
from coldtui.lab.client import PODS, Informers, Json, KubeClient
from coldtui.lab.controllers.base import Controller, Crew, Lab, Pace, pod_ready
from coldtui.lab.play import play
from coldtui.lab.supervisor import ALL
from coldtui.live.pace import SystemClock
from coldtui.operations.drain import DRAIN
from coldtui.operations.drain.draining import Pace as DrainPace
from coldtui.operations.drain.evict import EvictPods, SeeGone
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.engine import RunContext, Step, left_behind, offline, perform
from coldtui.operations.nodes import CORDON_STEP
from coldtui.ports import Means
from tests.controlplane.plane import ControlPlane
from tests.journals import a_run, an_entry
from tests.lab.conftest import FAST, until
from tests.operations.means import ME

QUICK = DrainPace(look_s=0.1, retry_s=0.4, tell_s=0.5, node_s=0.3, answer_s=1.0)
"""What takes seconds takes tenths."""
REAL = dataclasses.replace(Pace(), pod_start=0.3, pod_stop=0.3, promotion=0.3, rejoin=0.3, unready=1.0, rebuild=2.0, boot=0.5)
"""Heartbeats as they are, since the real controllers judge them."""
WORKER = "k3s-worker-1"


class Drain:
    """One run of a drain, with all it left in the journal."""

    def __init__(self, ground: Ground, plan: Plan, run: str, ctx: RunContext, steps: dict[str, Step]) -> None:
        self.ground, self.plan, self.id, self.ctx, self.steps = ground, plan, run, ctx, steps

    async def perform(self) -> None:
        await perform(self.plan, self.ctx, self.steps)

    @property
    def events(self) -> tuple[RunEvent, ...]:
        return self.ground.journal.events(self.id)

    def told(self, pod: str) -> list[str]:
        """What was said about the pods whose name begins so, in order."""
        return [e.text for e in self.events if e.what is What.ITEM and e.object.rpartition("/")[2].startswith(pod)]

    @property
    def said(self) -> list[str]:
        return [e.text for e in self.events if e.what in (What.SAID, What.WAITING, What.FAILED) and e.text]

    @property
    def left(self) -> str:
        return "; ".join(left_behind(self.plan, self.ctx, self.steps))

    def again(self, **changes: Any) -> Drain:
        """The same run taken up by another runner: only what the journal holds is known."""
        memo: dict[str, Any] = {}
        for event in self.events:
            if event.what in (What.STARTED, What.MEMO):
                memo.update(event.memo)
        ctx = replace(self.ctx, memo=memo, step=-1, _cancelled=asyncio.Event(), _waiting="", _items={}, **changes)
        return Drain(self.ground, self.plan, self.id, ctx, self.steps)


class Ground:
    """A live site and the means to drain it."""

    def __init__(self, client: KubeClient, lab: Lab | None, kube: KubeAdapter, journal: SqliteJournal) -> None:
        self.client, self.kube, self.journal = client, kube, journal
        self._lab = lab
        clock = SystemClock()
        self.means = Means(kube, offline(clock, ME).shell, clock, ME)
        self._runs = 0

    @property
    def lab(self) -> Lab:
        assert self._lab is not None
        return self._lab

    async def plan(self, node: str = WORKER, **params: Any) -> Plan:
        given = DrainNode(node=node, **params)
        return DRAIN.plan(await DRAIN.gather(given, self.means, 10.0), given, self.means.clock.now())

    async def drain(self, node: str = WORKER, *, pace: DrainPace = QUICK, **params: Any) -> Drain:
        """Planned and confirmed, not begun."""
        plan = await self.plan(node, **params)
        self._runs += 1
        run = replace(
            a_run(f"20261124-140210-{self._runs:04x}"), created=datetime.now(UTC), steps=tuple(s.title for s in plan.steps), locks=()
        )
        self.journal.begin(run, an_entry(run))
        timeout = int(params.get("timeout", 600))
        deadline = self.means.clock.now() + timedelta(seconds=timeout) if timeout else None
        ctx = RunContext(run.id, DrainNode(node=node, **params), self.means, self.journal, deadline=deadline)
        steps: dict[str, Step] = {step.name: step for step in (CORDON_STEP, EvictPods(pace), SeeGone())}
        return Drain(self, plan, run.id, ctx, steps)

    async def settle(self, condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
        await until(condition, seconds)


@contextmanager
def journal_in(folder: Path) -> Iterator[SqliteJournal]:
    made = open_journal(str(folder / "journal.db"), clock=SystemClock(), reserve_b=0)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def real_ground(plane: ControlPlane, folder: Path, *, pace: Pace | None = None) -> AsyncIterator[Ground]:
    """On a real control plane (with the lab's CRDs): the whole site made by ordinary requests, its machines and operators played, all pods Ready."""
    kubeconfig = plane.kubeconfigs["admin"]
    async with play(kubeconfig, pace=pace or REAL, still=True) as lab:

        async def running() -> bool:
            pods = (await lab.client.list(PODS))[0]
            return len(pods) >= 60 and all(pod_ready(p) for p in pods)

        await until(running, 120)
        kube = connect(kubeconfig=kubeconfig, writable=True)
        try:
            with journal_in(folder) as journal:
                yield Ground(lab.client, lab, kube, journal)
        finally:
            await kube.aclose()


@asynccontextmanager
async def ground(
    kubeconfig: Path, folder: Path, *, objects: list[Json] | None = None, crew: tuple[type[Controller], ...] = ALL, pace: Pace = FAST
) -> AsyncIterator[Ground]:
    """On the embedded server: `objects`, by default the whole site, and every controller at work."""
    async with KubeClient.from_kubeconfig(kubeconfig) as client:
        if objects is None:
            seed = site.build(datetime.now(UTC))
            objects = [*seed.objects, *seed.derived]
        await site.load(client, objects)
        lab = Lab(client, Informers(client), pace, still=True)
        working = await Crew.start(lab, crew)
        kube = connect(kubeconfig=kubeconfig, writable=True)
        try:
            with journal_in(folder) as journal:
                yield Ground(client, lab, kube, journal)
        finally:
            await kube.aclose()
            await working.stop()
