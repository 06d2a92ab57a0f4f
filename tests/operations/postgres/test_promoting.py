"""A promotion by hand: how long what was judged of a Cluster holds, and what of an outage may be claimed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.domain.errors import Refused
from coldtui.domain.plans import PlannedStep
from coldtui.domain.postgres import PgCluster
from coldtui.domain.replication import SEGMENT_B
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres import promoting
from coldtui.operations.postgres.failover import Failover
from coldtui.operations.postgres.failover_facts import FailoverFacts
from coldtui.operations.postgres.promoting import JUDGED_S, Promote, cast_of
from coldtui.ports import Clock, Kube
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.failover_scene import BEST, behind, killed, plan_of
from tests.operations.postgres.ground import recorded
from tests.operations.postgres.scene import NOW


class Late(SystemClock):
    """Its monotonic seconds are moved by hand."""

    def __init__(self) -> None:
        self.moment = 100.0

    def monotonic(self) -> float:
        return self.moment


class Fixed(SystemClock):
    """It is the moment of the scene."""

    def now(self) -> datetime:
        return NOW


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


@pytest.mark.parametrize(("accepted", "more", "refused"), [(True, SEGMENT_B, False), (True, SEGMENT_B + 1, True), (False, 0, True)])
async def test_a_worse_candidate_is_named_only_as_bad_as_it_was_accepted(
    accepted: bool, more: int, refused: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is judged once more right before it is named: it may have fallen back meanwhile."""
    plan = plan_of(behind(BEST, 1024)(killed()), to=BEST, way="patch", accept_worse_candidate=True)
    args = {**plan.steps[-1].args, "worse": accepted}

    async def facts(planned: PlannedStep, ctx: RunContext) -> FailoverFacts:
        return behind(BEST, 1024 + more)(killed())

    async def well(planned: PlannedStep, ctx: RunContext) -> bool:
        return False

    monkeypatch.setattr(promoting, "facts_of", facts)
    monkeypatch.setattr(promoting, "well_again", well)
    with journal_in(tmp_path) as journal:
        clock = Fixed()
        ctx = RunContext(recorded(journal, 1, plan), Failover(), offline(clock, ME), journal, step=0)
        judged = Promote()._still_right(replace(plan.steps[-1], args=args), ctx)
        if refused:
            with pytest.raises(Refused, match="cannot take the place") as told:
                await judged
            assert "less than postgres-3" in told.value.detail
        else:
            assert await judged == cast_of(killed().cluster)
