"""Failovers on a live site with three real servers: the real adapters, a real journal, steps run in this process by the engine's driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal
from coldtui.adapters.kube.adapter import connect as connect_kube
from coldtui.adapters.postgres import connect as connect_database
from coldtui.adapters.ssh import connect as open_shell
from coldtui.config.settings import Config, NodeSection
from coldtui.domain.plans import Plan
from coldtui.lab.client import NODES
from coldtui.lab.postgres.faults import PgFaults
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext
from coldtui.operations.postgres.failover import FAILOVER, Failover
from coldtui.operations.postgres.promoting import Promote
from coldtui.operations.postgres.proving import ProveStopped
from coldtui.operations.postgres.stopping import FailoverPace, StopPrimary
from coldtui.operations.postgres.verifying import VerifyFailover
from coldtui.ports import Means
from tests.lab.postgres.conftest import Place
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.ground import Recorded, config_of, recorded

QUICK = FailoverPace(look_s=0.1, answer_s=2.0, warn_s=3.0, cause_s=6.0, host_s=1.0, alive_s=4.0, rejoin_s=60.0, archive_s=10.0)


class Going(Recorded):
    """A failover."""

    def __init__(self, plan: Plan, run: str, ctx: RunContext, pace: FailoverPace = QUICK) -> None:
        super().__init__(plan, run, ctx, (StopPrimary(pace), ProveStopped(pace), Promote(pace), VerifyFailover(pace)))
        self.pace = pace

    @property
    def promotion(self) -> dict[str, Any]:
        return self.memo_of("postgres.promote")

    def again(self) -> Going:
        """The same run taken up by another runner."""
        return Going(self.plan, self.id, self.taken_up(), self.pace)


class Ground:
    def __init__(self, place: Place, means: Means, journal: SqliteJournal) -> None:
        self.place, self.means, self.journal = place, means, journal
        self.faults = PgFaults(place.lab, place.database)
        self._runs = 0

    async def plan(self, **params: Any) -> Plan:
        given = Failover(**params)
        return FAILOVER.plan(await FAILOVER.gather(given, self.means, 10.0), given, self.means.clock.now())

    def going(self, plan: Plan, *, timeout: int = 120, **params: Any) -> Going:
        """Confirmed, not begun."""
        assert not plan.blocked, plan.blocked
        self._runs += 1
        run = recorded(self.journal, self._runs, plan)
        deadline = self.means.clock.now() + timedelta(seconds=timeout)
        return Going(plan, run, RunContext(run, Failover(**params), self.means, self.journal, deadline=deadline))


@asynccontextmanager
async def ground(place: Place, folder: Path) -> AsyncIterator[Ground]:
    """No host answers over SSH."""
    kube = connect_kube(kubeconfig=place.kubeconfig, writable=True)
    database = connect_database(config_of(place), writable=True, environ={})
    clock = SystemClock()
    nodes = [node["metadata"]["name"] for node in (await place.client.list(NODES))[0]]
    hosts = Config(nodes={name: NodeSection(ssh="nobody@127.0.0.1:1") for name in nodes})
    shell = open_shell(hosts, writable=True, secrets={}, clock=clock, environ={})
    means = Means(kube, shell, clock, ME, pg_cluster="database/cold-postgres", database=database)
    try:
        with journal_in(folder) as journal:
            yield Ground(place, means, journal)
    finally:
        await shell.aclose()
        await database.aclose()
        await kube.aclose()
