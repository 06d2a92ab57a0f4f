"""The drain of the node that holds the primary, on real servers: the switchover is done and proven before anything is evicted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coldtui.domain.runs import What
from coldtui.lab.client import NODES
from coldtui.operations.catalogue import steps_of
from coldtui.operations.drain import DRAIN
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.engine import RunContext, perform
from tests.journals import a_run, an_entry
from tests.lab.postgres.conftest import Place, Site
from tests.operations.postgres.ground import ground

pytestmark = pytest.mark.timeout(240)


def test_the_primary_leaves_before_its_node_is_cordoned(real: Site, tmp_path: Path) -> None:
    """Switchover, proof, all following, and only then the cordon: one promotion in all, and the instance that is drained is a replica."""

    async def scene(on: Place) -> None:
        before = await on.status()
        old = before["currentPrimary"]
        node = (await on.pod(old))["spec"]["nodeName"]
        async with ground(on, tmp_path) as at:
            given = DrainNode(node=node, delete_emptydir=True, timeout=90)
            plan = DRAIN.plan(await DRAIN.gather(given, at.means, 10.0), given, at.means.clock.now())
            assert [s.name for s in plan.steps][:3] == ["postgres.switchover", "postgres.settle", "node.cordon"]
            run = replace(a_run("20261124-160210-0001"), created=datetime.now(UTC), steps=tuple(s.title for s in plan.steps), locks=())
            at.journal.begin(run, an_entry(run))
            ctx = RunContext(run.id, given, at.means, at.journal, deadline=at.means.clock.now() + timedelta(seconds=90))
            try:
                await perform(plan, ctx, steps_of(DRAIN))
            finally:
                await on.client.patch(NODES, node, {"spec": {"unschedulable": None}})
            finished = [e.text for e in at.journal.events(run.id) if e.what in (What.FINISHED, What.ALREADY)]
        after = await on.status()
        assert after["currentPrimary"] == plan.steps[0].args["to"]
        assert after["timelineID"] == before["timelineID"] + 1
        assert finished == [s.title for s in plan.steps]

    real.play(scene)
