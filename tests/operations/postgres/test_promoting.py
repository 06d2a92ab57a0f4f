"""A promotion by hand: how long what was judged of a Cluster holds, and what of an outage may be claimed."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from coldtui.domain.errors import ColdError, Refused, Unreachable
from coldtui.domain.plans import PlannedStep
from coldtui.domain.postgres import PgCluster
from coldtui.domain.replication import SEGMENT_B
from coldtui.domain.runs import What
from coldtui.lab.fakes.database import FakeDatabase, FakeServer
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres import promoting
from coldtui.operations.postgres.failover import Failover
from coldtui.operations.postgres.failover_facts import FailoverFacts
from coldtui.operations.postgres.promoting import JUDGED_S, Promote, cast_of, measured, probing
from coldtui.operations.postgres.stopping import FailoverPace
from coldtui.ports import Clock, Kube
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.failover_scene import BEST, behind, killed, plan_of
from tests.operations.postgres.ground import recorded
from tests.operations.postgres.scene import NOW, healthy


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


# --- the outage


class Moved(SystemClock):
    """The system's clock, set forward by hand."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


PACE = FailoverPace(look_s=0.02, answer_s=0.3)


def down() -> ColdError:
    return Unreachable("connection refused")


@pytest.mark.parametrize(("away_s", "again"), [(0.0, False), (600.0, False), (0.0, True)])
async def test_an_outage_is_claimed_only_where_writes_were_tried_all_the_time(away_s: float, again: bool, tmp_path: Path) -> None:
    """A run that was away between the promotion and the wait after it, or takes that wait up again, does not know when writes came back."""
    plan, clock = plan_of(killed(), way="patch"), Moved()
    server = FakeServer(healthy().status("vip"), address="10.42.1.5:5432", fails=down)
    promote, verify = len(plan.steps) - 2, len(plan.steps) - 1
    with journal_in(tmp_path) as journal:
        means = replace(offline(cast(Clock, clock), ME), database=FakeDatabase({"vip": server}))
        ctx = RunContext(recorded(journal, 1, plan), Failover(), means, journal, step=promote)
        await ctx.remember(path="vip")
        since = ctx.now
        async with contextlib.AsyncExitStack() as stack:
            probe = await probing(plan.steps[promote], ctx, stack, since)
            assert probe is not None
            await measured(ctx, probe, PACE)
        ctx.step = verify
        if again:
            await ctx.remember(begins=True)
        clock.ahead_s, server.fails = away_s, None
        async with contextlib.AsyncExitStack() as stack:
            probe = await probing(plan.steps[verify], ctx, stack, since, out=True)
            if probe is not None:
                await measured(ctx, probe, PACE)
        memo, said = ctx.memo_of(plan.steps[verify]), [e.text for e in journal.events(ctx.run) if e.what is What.SAID]
    if away_s or again:
        assert said == ["the outage was not measured: the run was interrupted, and nobody tried writes meanwhile"]
        assert "outage_ms" not in memo
    else:
        assert 250 < memo["outage_ms"] == memo["outage_total_ms"]
        assert memo["pauses"] == 1
        assert said == [f"writes through vip stopped for {memo['outage_ms']:,} ms since this run turned to the promotion"]


async def test_a_promotion_that_is_taken_up_again_measures_nothing(tmp_path: Path) -> None:
    """Also one that only follows an election: writes may have been back long before the runner was. The steps after it say nothing else."""
    plan = plan_of(killed())
    with journal_in(tmp_path) as journal:
        fake = FakeDatabase({"vip": FakeServer(healthy().status("vip"))})
        means = replace(offline(SystemClock(), ME), database=fake)
        ctx = RunContext(recorded(journal, 1, plan), Failover(), means, journal, step=0, memo={"0/path": "vip", "0/begins": True})
        async with contextlib.AsyncExitStack() as stack:
            assert await probing(plan.steps[0], ctx, stack, ctx.now) is None
            ctx.step = 1
            assert await probing(plan.steps[1], ctx, stack, ctx.now, out=True) is None
        assert [e.text.partition(":")[0] for e in journal.events(ctx.run) if e.what is What.SAID] == ["the outage was not measured"]
        assert fake.calls == []


@pytest.mark.parametrize(
    ("database", "why"), [(None, "no connection to the database servers"), (FakeDatabase({}), "neither the VIP nor the -rw Service")]
)
async def test_why_nothing_can_be_measured_is_said_once(database: FakeDatabase | None, why: str, tmp_path: Path) -> None:
    """A path that is found only after the promotion was not tried while writes were stopped."""
    plan = plan_of(killed())
    with journal_in(tmp_path) as journal:
        means = replace(offline(SystemClock(), ME), database=cast(Any, database))
        ctx = RunContext(recorded(journal, 1, plan), Failover(), means, journal, step=0)
        async with contextlib.AsyncExitStack() as stack:
            assert await probing(plan.steps[0], ctx, stack, ctx.now) is None
            ctx.step = 1
            assert await probing(plan.steps[1], ctx, stack, ctx.now, out=True) is None
        (said,) = [e.text for e in journal.events(ctx.run) if e.what is What.SAID]
        assert said.startswith(f"the outage was not measured: {why}")
