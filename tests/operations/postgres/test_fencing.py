"""Fence and unfence: what refuses and warns, the list that others share, and the server that really stops and comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, Refused, StepFailed
from coldtui.domain.plans import Outlook, Plan, PlannedStep, Rung, Weight
from coldtui.domain.readings import Known
from coldtui.domain.runs import What
from coldtui.lab.client import PG_CLUSTERS
from coldtui.lab.fakes import FakeKube
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import AnyOperation, RunContext, Step, offline, perform
from coldtui.operations.postgres.fencing import (
    ANNOTATION,
    FENCE,
    FENCE_INSTANCE,
    UNFENCE,
    UNFENCE_INSTANCE,
    FenceInstance,
    Fencing,
    UnfenceInstance,
    annotation_of,
    fenced_names,
)
from coldtui.operations.postgres.following import Pace
from coldtui.ports import Means
from tests.journals import a_run, an_entry
from tests.lab.conftest import until
from tests.lab.postgres.conftest import NAME, NS, Place, Site
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.ground import Ground, ground
from tests.operations.postgres.scene import NOW, Change, cluster_with, facts_with, healthy, manager_with, pod_with, unread

pytestmark = pytest.mark.timeout(180)


def fence(change: Change | None = None, name: str = "postgres-2") -> Plan:
    facts = healthy() if change is None else change(healthy())
    return FENCE_INSTANCE.plan(facts, FenceInstance(name), NOW)


def unfence(change: Change, name: str = "postgres-2") -> Plan:
    return UNFENCE_INSTANCE.plan(change(healthy()), UnfenceInstance(name), NOW)


def test_a_standby_is_fenced_on_the_verb() -> None:
    """Rung 2, one step, and who could take over meanwhile."""
    plan = fence()
    assert (plan.rung, plan.verb, plan.confirm, plan.outlook, plan.blocked) == (Rung.DISRUPTIVE, "fence", "postgres-2", Outlook.GO, "")
    assert [f.sentence for f in plan.findings] == [
        "postgres-3 can take over from postgres-1 meanwhile",
        "until it is unfenced the operator makes no missing pod of cold-postgres again",
    ]


def test_the_primary_is_fenced_on_its_name_only() -> None:
    """Rung 3: writes stop and nothing fails over."""
    plan = fence(name="postgres-1")
    assert (plan.rung, plan.blocked) == (Rung.DESTRUCTIVE, "")
    assert plan.findings[0].sentence.endswith("writes stop until it is unfenced, and nothing fails over meanwhile")
    assert plan.findings[0].weight is Weight.STOP


@pytest.mark.parametrize(
    ("change", "code", "outlook"),
    [
        (cluster_with(fenced_unreadable="[x"), "fence.unreadable", Outlook.REFUSED),
        (cluster_with(target_primary="postgres-3"), "fence.changing", Outlook.REFUSED),
        (cluster_with(hibernation="on"), "fence.hibernated", Outlook.REFUSED),
        (pod_with("postgres-3", is_ready=False), "fence.last", Outlook.GO),
        (facts_with(pods=unread()), "fence.pods", Outlook.NOT_EVALUATED),
        (manager_with("postgres-1", standbys=(replace(healthy().managers["postgres-1"].value.standbys[0], sync_state="quorum"),)), "fence.sync", Outlook.GO),  # type: ignore[union-attr]
    ],
)  # fmt: skip
def test_what_is_found_before_a_fence(change: Change, code: str, outlook: Outlook) -> None:
    """Each with its consequence for the plan."""
    plan = fence(change)
    assert f"postgres.{code}" in {f.code for f in plan.findings}
    assert plan.outlook is outlook
    assert bool(plan.blocked) is (outlook is Outlook.REFUSED)


def test_nothing_to_do_is_said() -> None:
    """A second fence, and the lifting of one that is not there."""
    assert fence(cluster_with(fenced=("postgres-2",))).done == "postgres-2 is fenced already"
    assert unfence(cluster_with(fenced=())).done == "postgres-2 is not fenced"
    assert unfence(cluster_with(fenced=("postgres-2",))).steps[0].title == "Unfence postgres-2"


def test_one_of_all_cannot_be_let_go() -> None:
    """Under `*`."""
    plan = unfence(cluster_with(fenced=("*",)))
    assert plan.outlook is Outlook.REFUSED
    assert "none can be let go alone" in plan.blocked


def test_the_fence_of_one_that_is_gone_can_be_lifted() -> None:
    """Only its entry is left: it keeps the operator from making pods, so it must come off."""
    plan = unfence(cluster_with(fenced=("postgres-9",)), "postgres-9")
    assert (plan.blocked, plan.done, len(plan.steps)) == ("", "", 1)
    assert plan.findings[-1].sentence == "postgres-9 is no instance of cold-postgres any more: its entry is taken off, and nothing starts"


@contextmanager
def stage(folder: Path, *, fenced: bool) -> Iterator[tuple[FakeKube, PlannedStep, RunContext]]:
    """postgres-2 has no pod, and the Cluster is as the step wants it."""
    cluster = cluster_with(fenced=("postgres-2",) if fenced else ())(healthy()).cluster
    kube, clock = FakeKube({"pg_clusters": [cluster]}), SystemClock()
    with journal_in(folder) as journal:
        run = replace(a_run("20261124-170210-0009"), locks=())
        journal.begin(run, an_entry(run))
        means = Means(kube, offline(clock, ME).shell, clock, ME)
        (planned,) = fence().steps
        yield kube, planned, RunContext(run.id, FenceInstance("postgres-2"), means, journal, step=0)


async def test_a_fence_does_not_wait_for_a_pod_that_nobody_makes(tmp_path: Path) -> None:
    """While it is fenced the operator makes none: seen missing twice, some time apart, it is said at once and how to go back."""
    with stage(tmp_path, fenced=True) as (_, planned, ctx):
        step = Fencing(FENCE, fence=True, pace=Pace(look_s=0.05, answer_s=0.2))
        with pytest.raises(StepFailed, match="postgres-2 has no pod") as caught:
            async with asyncio.timeout(20):
                await step._followed(planned, ctx)
        assert caught.value.hint == "coldtui postgres unfence postgres-2"
        assert [e.text for e in ctx.journal.events(ctx.run) if e.what is What.WAITING] == ["a pod of postgres-2, it has none"]


@pytest.mark.parametrize("fenced", [True, False])
async def test_a_pod_that_is_away_for_a_moment_is_waited_for(fenced: bool, tmp_path: Path) -> None:
    """The annotation stands: an end as `not found` would say that nothing was done."""
    with stage(tmp_path, fenced=fenced) as (kube, planned, ctx):
        pods, head = healthy().pods, healthy().manager("postgres-2")
        assert isinstance(pods, Known)
        assert head is not None
        step = Fencing(FENCE if fenced else UNFENCE, fence=fenced, pace=Pace(look_s=0.05, answer_s=60.0 if fenced else 0.0))
        task = asyncio.create_task(step._followed(planned, ctx))

        async def waits() -> bool:
            return task.done() or any(e.what is What.WAITING for e in ctx.journal.events(ctx.run))

        await until(waits)
        await asyncio.sleep(0.2)
        assert not task.done()
        kube.managers["database/postgres-2"] = replace(head, might_be_unavailable=fenced)
        kube.put("pods", replace(pods.value["postgres-2"], is_ready=not fenced))
        async with asyncio.timeout(20):
            await task


def test_the_list_is_kept_and_guarded() -> None:
    """Others' fences stay; an empty list takes the annotation off; what is no list is never written over."""

    def raw(text: str) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "9", "annotations": {ANNOTATION: text}}}

    assert fenced_names(raw('["postgres-3"]')) == ["postgres-3"]
    assert fenced_names(raw("null")) == []
    assert annotation_of(raw("[]"), ["postgres-3", "postgres-2", "postgres-3"]) == {
        "metadata": {"resourceVersion": "9", "annotations": {ANNOTATION: '["postgres-2", "postgres-3"]'}}
    }
    assert annotation_of(raw("[]"), [])["metadata"]["annotations"] == {ANNOTATION: None}
    for text in ("{", '"postgres-2"', "[1]"):
        with pytest.raises(Refused, match="what is fenced cannot be told"):
            fenced_names(raw(text))


async def done_by(at: Ground, operation: AnyOperation, params: Any, number: int) -> list[str]:
    plan = operation.plan(await operation.gather(params, at.means, 10.0), params, at.means.clock.now())
    assert not plan.blocked
    assert not plan.done
    run = replace(a_run(f"20261124-170210-{number:04x}"), created=datetime.now(UTC), steps=tuple(s.title for s in plan.steps), locks=())
    at.journal.begin(run, an_entry(run))
    ctx = RunContext(run.id, params, at.means, at.journal, deadline=at.means.clock.now() + timedelta(seconds=40))
    steps: dict[str, Step] = {step.name: step for step in operation.steps}
    await perform(plan, ctx, steps)
    return [e.text for e in at.journal.events(run.id) if e.text]


def test_the_entry_of_one_that_is_gone_comes_off(real: Site, tmp_path: Path) -> None:
    """Named by the annotation and by nothing else; who may not change the Cluster leaves nothing that may be fenced."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at:
            await on.annotate(fencedInstances='["postgres-9"]')
            said = await done_by(at, UNFENCE_INSTANCE, UnfenceInstance("postgres-9"), 3)
            assert "postgres-9 is not fenced any more" in said
            assert ANNOTATION not in (await on.client.get(PG_CLUSTERS, NAME, NS))["metadata"].get("annotations", {})

            async def closed(nth: int) -> None:
                raise Forbidden("patch on clusters")

            at.meddle(closed)
            primary = (await on.status())["currentPrimary"]
            name = next(n for n in on.database.servers if n != primary)
            with pytest.raises(Forbidden):
                await done_by(at, FENCE_INSTANCE, FenceInstance(name), 4)
            last = [event.memo for event in at.journal.events("20261124-170210-0004") if "0/asked" in event.memo][-1]
            assert last == {"0/asked": False}

    real.play(scene)


def test_a_standby_stops_and_comes_back(real: Site, tmp_path: Path) -> None:
    """Fenced: its server is down, its pod there and not ready, another's entry in the list kept. Unfenced: it runs and streams again."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        async with ground(on, tmp_path) as at:
            moved: list[int] = []

            async def touch(nth: int) -> None:
                if not moved:
                    moved.append(nth)
                    await on.annotate(fencedInstances='["postgres-9"]')

            kube = at.meddle(touch)
            said = await done_by(at, FENCE_INSTANCE, FenceInstance(name), 1)
            assert f"{name} is stopped and fenced" in said
            assert kube.sent == 2  # a conflict, and the list read anew
            assert not on.database.servers[name].running
            annotations = (await on.client.get(PG_CLUSTERS, NAME, NS))["metadata"]["annotations"]
            assert json.loads(annotations[ANNOTATION]) == sorted([name, "postgres-9"])
            said = await done_by(at, UNFENCE_INSTANCE, UnfenceInstance(name), 2)
            assert f"{name} is ready again" in said
            assert on.database.servers[name].running
            annotations = (await on.client.get(PG_CLUSTERS, NAME, NS))["metadata"]["annotations"]
            assert json.loads(annotations[ANNOTATION]) == ["postgres-9"]
        await on.annotate(fencedInstances=None)
        assert await on.until_whole() == primary

    real.play(scene)
