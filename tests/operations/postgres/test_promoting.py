"""A promotion by hand: how long what was judged of a Cluster holds, and what of an outage may be claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.domain.postgres import PgCluster
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres.failover import Failover
from coldtui.operations.postgres.promoting import JUDGED_S, Promote, cast_of
from coldtui.ports import Clock, Kube
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.failover_scene import BEST, killed, plan_of
from tests.operations.postgres.ground import recorded


class Late(SystemClock):
    """Its monotonic seconds are moved by hand."""

    def __init__(self) -> None:
        self.moment = 100.0

    def monotonic(self) -> float:
        return self.moment


class Api:
    """A Cluster that stays as it is; whoever reads it waits so long."""

    def __init__(self, cluster: PgCluster, clock: Late, read_s: float) -> None:
        self.cluster, self.clock, self.read_s = cluster, clock, read_s
        self.sent: list[str] = []

    async def fetch(self, kind: Any, name: str, namespace: str) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "17"}, "status": {}}

    async def read(self, kind: Any, name: str, namespace: str) -> PgCluster:
        self.clock.moment += self.read_s
        return self.cluster

    async def patch(self, kind: Any, name: str, body: Any, namespace: str, **how: Any) -> None:
        self.sent.append(body["status"]["targetPrimary"])


@pytest.mark.parametrize(("read_s", "gate_s"), [(0.1, 0.1), (JUDGED_S, 0.0), (0.1, JUDGED_S)])
async def test_a_judgement_that_aged_on_the_way_is_not_acted_on(read_s: float, gate_s: float, tmp_path: Path) -> None:
    """Whether the API was slow to answer or a lock held the run: nothing is sent, and nothing is recorded as asked for."""
    plan, clock = plan_of(killed(), way="patch"), Late()
    api = Api(killed().cluster, clock, read_s)

    async def gate() -> str:
        clock.moment += gate_s
        return ""

    with journal_in(tmp_path) as journal:
        means = replace(offline(cast(Clock, clock), ME), kube=cast(Kube, api))
        step = next(n for n, s in enumerate(plan.steps) if s.name == "postgres.promote")
        ctx = RunContext(recorded(journal, 1, plan), Failover(), means, journal, step=step, gate=gate)
        fresh = read_s + gate_s < JUDGED_S
        assert await Promote()._sent(plan.steps[step], ctx, cast_of(api.cluster)) is fresh
        assert api.sent == ([BEST] if fresh else [])
        assert bool(ctx.memo_of(plan.steps[step]).get("asked")) is fresh
