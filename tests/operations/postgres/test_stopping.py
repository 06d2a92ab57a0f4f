"""The order that stops the old primary of a failover: what is said to have been done was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from coldtui.domain.errors import ColdError, Conflict, Forbidden, NotFound, Unreachable
from coldtui.domain.plans import PlannedStep
from coldtui.domain.readings import Known
from coldtui.domain.runs import What
from coldtui.lab.fakes import FakeKube
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres.stopping import StopPrimary
from tests.journals import a_run, an_entry
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.scene import healthy


@contextmanager
def stage(folder: Path) -> Iterator[tuple[FakeKube, PlannedStep, RunContext]]:
    """The manager of postgres-1 does not answer, on a node that lives; the step has begun."""
    facts, clock = healthy(), SystemClock()
    assert isinstance(facts.pods, Known)
    assert isinstance(facts.nodes, Known)
    pod = facts.pods.value["postgres-1"]
    kube = FakeKube({"pg_clusters": [facts.cluster], "pods": [pod], "nodes": facts.nodes.value.values()})
    args = {"namespace": "database", "cluster": "cold-postgres", "from": "postgres-1", "to": "postgres-2", "way": "delete-pod"}
    planned = PlannedStep("postgres.stop-primary", "Stop it", {**args, "node": pod.node})
    with journal_in(folder) as journal:
        run = replace(a_run("20261124-170210-0001"), locks=())
        journal.begin(run, an_entry(run))
        yield kube, planned, RunContext(run.id, None, replace(offline(clock, ME), kube=kube), journal, memo={"0/uid": pod.uid}, step=0)


def said(ctx: RunContext) -> list[str]:
    return [event.text for event in ctx.journal.events(ctx.run) if event.what is What.SAID]


async def test_an_order_that_was_forbidden_deleted_nothing(tmp_path: Path) -> None:
    """What the run leaves behind does not claim it."""
    with stage(tmp_path) as (kube, planned, ctx):
        kube.allowed = lambda verb, group, resource: verb != "delete"
        with pytest.raises(Forbidden):
            await StopPrimary().run(planned, ctx)
        assert StopPrimary().left_behind(planned, ctx) == ""


@pytest.mark.parametrize("make", [lambda: Conflict("another pod has the name"), lambda: NotFound("pods database/postgres-1")])
async def test_a_pod_that_went_by_another_hand_is_not_ours(make: Callable[[], ColdError], tmp_path: Path) -> None:
    """Gone between the look and the order: nothing was deleted, and that is said."""
    with stage(tmp_path) as (kube, planned, ctx):
        kube.fail("delete", make)
        await StopPrimary().run(planned, ctx)
        assert said(ctx) == ["the pod of postgres-1 that this run began with is gone: nothing was deleted"]
        assert StopPrimary().left_behind(planned, ctx) == ""


async def test_an_order_whose_answer_was_lost_may_have_been_ours(tmp_path: Path) -> None:
    """The first was sent and not answered, the second finds nothing: it was deleted by this run."""
    with stage(tmp_path) as (kube, planned, ctx):
        kube.fail("delete", lambda: Unreachable("connection reset"))
        kube.fail("delete", lambda: NotFound("pods database/postgres-1"))
        await StopPrimary().run(planned, ctx)
        assert said(ctx) == ["the pod of postgres-1 was deleted without grace: its kubelet ends the server now"]
        assert StopPrimary().left_behind(planned, ctx) == "the pod of postgres-1 was deleted without grace"
