"""The outage of an act that does not come to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.domain.errors import StepFailed, Unauthorized, Unreachable
from coldtui.domain.runs import What
from coldtui.domain.troubles import LineTrouble
from coldtui.lab.fakes.database import FakeDatabase, FakeServer
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres.measuring import measuring
from coldtui.operations.postgres.probe import WriteProbe
from coldtui.operations.postgres.switchover import Switchover
from tests.lab.conftest import until
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.ground import recorded
from tests.operations.postgres.scene import healthy, plan_of

SITE = "database/cold-postgres"


def lasts(probe: WriteProbe) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return probe.open_s > 0.2

    return so


@pytest.mark.parametrize("asked", [True, False])
async def test_what_was_measured_is_told_on_the_way_out(asked: bool, tmp_path: Path) -> None:
    """Writes that have not come back when the run ends: their time until now is in the log and in the record; before the order nothing is claimed."""
    plan, clock = plan_of(), SystemClock()
    fake = FakeDatabase({"vip": FakeServer(healthy().status("postgres-1"), address="10.42.1.5:5432")})
    with journal_in(tmp_path) as journal:
        means = replace(offline(clock, ME), database=fake)
        ctx = RunContext(recorded(journal, 1, plan), Switchover("postgres-2"), means, journal, step=0)

        async def failing() -> None:
            async with measuring(plan.steps[0], ctx, replace(healthy(), clusters=(SITE,), site=SITE)) as outage:
                assert outage.probe is not None
                if asked:
                    await ctx.remember(asked="2026-11-24T12:00:00+00:00")
                fake.servers["vip"].fails = lambda: Unreachable("connection refused")
                await until(lasts(outage.probe))
                raise StepFailed("the switchover was abandoned")

        with pytest.raises(StepFailed, match="abandoned"):
            await failing()
        said = [e.text for e in journal.events(ctx.run) if e.what is What.SAID]
        memo = ctx.memo_of(plan.steps[0])
        if asked:
            assert said[0].startswith("writes through vip stopped for ")
            assert said[0].endswith(" ms until now")
            assert memo["outage_ms"] == memo["outage_total_ms"] > 200
            assert memo["pauses"] == 1
        else:
            assert (said, memo) == ([], {})


@pytest.mark.parametrize(("kind", "probed"), [("timeout", False), ("server", True)])
async def test_a_run_taken_up_again_waits_on_no_path_that_cannot_be_seen_from_here(kind: str, probed: bool, tmp_path: Path) -> None:
    """The Service address has no route from a workstation: no write through it would ever be accepted. One that answers and takes none is waited for."""
    plan, clock = plan_of(), SystemClock()
    fake = FakeDatabase({"rw": FakeServer(fails=lambda: LineTrouble("did not answer", kind=kind))})
    with journal_in(tmp_path) as journal:
        ctx = RunContext(recorded(journal, 1, plan), Switchover("postgres-2"), replace(offline(clock, ME), database=fake), journal, step=0)
        await ctx.remember(asked="2026-11-24T12:00:00+00:00")
        async with measuring(plan.steps[0], ctx, replace(healthy(), clusters=(SITE,), site=SITE)) as outage:
            assert (outage.probe is not None) is probed
            assert outage.words() == "the outage was not measured from its beginning: the runner was away"
            assert outage.memo()["outage_ms"] is None


async def test_where_no_write_can_be_tried_it_is_said_once(tmp_path: Path) -> None:
    """With the reason, before and in the end."""
    plan, clock = plan_of(), SystemClock()
    fake = FakeDatabase({"vip": FakeServer(fails=lambda: Unauthorized("vip does not let coldtui in"))})
    with journal_in(tmp_path) as journal:
        ctx = RunContext(recorded(journal, 1, plan), Switchover("postgres-2"), replace(offline(clock, ME), database=fake), journal, step=0)
        async with measuring(plan.steps[0], ctx, replace(healthy(), clusters=(SITE,), site=SITE)) as outage:
            assert outage.probe is None
            assert outage.words() == "the outage was not measured: vip does not let coldtui in"
        assert [call for call, _ in fake.calls] == ["probe_write"]  # no flood of refused logins
