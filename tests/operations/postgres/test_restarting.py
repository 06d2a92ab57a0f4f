"""Restart a standby: what refuses and warns, and the pod that is another one afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, StepFailed, Unreachable
from coldtui.domain.plans import Outlook, Plan, PlannedStep, Rung
from coldtui.domain.pods import Pod
from coldtui.domain.readings import Known
from coldtui.lab.fakes import FakeKube
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline, perform
from coldtui.operations.postgres.facts import PgFacts
from coldtui.operations.postgres.restarting import RESTART_INSTANCE, Restart, RestartInstance
from coldtui.ports import Journal, Means
from tests.journals import a_run, an_entry
from tests.lab.postgres.conftest import Place, Site
from tests.operations.drain.ground import journal_in
from tests.operations.dying import killed
from tests.operations.means import ME
from tests.operations.postgres.ground import QUICK, ground
from tests.operations.postgres.scene import (
    NOW,
    Change,
    backup,
    cluster_with,
    facts_with,
    healthy,
    known,
    node_with,
    pod_with,
    row_with,
    sql_with,
    unread,
)

pytestmark = pytest.mark.timeout(180)


def restart(change: Change | None = None, name: str = "postgres-2") -> Plan:
    facts = healthy() if change is None else change(healthy())
    return RESTART_INSTANCE.plan(facts, RestartInstance(name), NOW)


def test_a_standby_is_restarted_on_the_verb() -> None:
    """Rung 2, one step."""
    plan = restart()
    assert (plan.rung, plan.verb, plan.confirm, plan.outlook, plan.blocked) == (Rung.DISRUPTIVE, "restart", "postgres-2", Outlook.GO, "")
    assert [s.title for s in plan.steps] == ["Restart postgres-2"]


@pytest.mark.parametrize(
    ("change", "code", "outlook"),
    [
        (cluster_with(target_primary="postgres-3"), "changing", Outlook.REFUSED),
        (cluster_with(reconciliation_disabled=True), "unmade", Outlook.REFUSED),
        (cluster_with(hibernation="on"), "unmade", Outlook.REFUSED),
        (cluster_with(fenced=("postgres-2",)), "fenced", Outlook.REFUSED),
        (cluster_with(fenced=("postgres-3",)), "other-fenced", Outlook.REFUSED),
        (pod_with("postgres-3", phase="Pending", is_ready=False), "other-waits", Outlook.REFUSED),
        (pod_with("postgres-3", deleted=NOW), "other-waits", Outlook.REFUSED),
        (facts_with(operator=known(None)), "operator", Outlook.REFUSED),
        (facts_with(pods=known({})), "no-pod", Outlook.REFUSED),
        (facts_with(operator=unread()), "operator-unread", Outlook.NOT_EVALUATED),
        (facts_with(pods=unread()), "pods-unread", Outlook.NOT_EVALUATED),
        (facts_with(backups=unread()), "backups-unread", Outlook.NOT_EVALUATED),
        (node_with(unschedulable=True), "node", Outlook.GO),
        (pod_with("postgres-3", is_ready=False), "last", Outlook.GO),
        (row_with(sync_state="sync"), "sync", Outlook.GO),
        (sql_with("postgres-2", connections=4), "clients", Outlook.GO),
        (facts_with(backups=known((replace(backup("running"), instance="postgres-2"),))), "backup", Outlook.GO),
    ],
)
def test_what_is_found_before_a_restart(change: Change, code: str, outlook: Outlook) -> None:
    """Each with its consequence for the plan."""
    plan = restart(change)
    assert f"postgres.restart.{code}" in {f.code for f in plan.findings}
    assert plan.outlook is outlook
    assert bool(plan.blocked) is (outlook is Outlook.REFUSED)


def of(facts: PgFacts) -> Pod:
    assert isinstance(facts.pods, Known)
    return facts.pods.value["postgres-2"]


@contextmanager
def stage(facts: PgFacts, folder: Path, **memo: Any) -> Iterator[tuple[FakeKube, PlannedStep, RunContext]]:
    """The step begun, with what its run remembers of the pod and of earlier attempts."""
    (planned,) = restart(None).steps
    kube = FakeKube({"pg_clusters": [facts.cluster], "pods": [of(facts)]})
    clock = SystemClock()
    with journal_in(folder) as journal:
        run = replace(a_run("20261124-180210-0009"), locks=())
        journal.begin(run, an_entry(run))
        kept = {f"0/{key}": value for key, value in {"uid": of(healthy()).uid, **memo}.items()}
        means = Means(kube, offline(clock, ME).shell, clock, ME)
        yield kube, planned, RunContext(run.id, RestartInstance("postgres-2"), means, journal, memo=kept, step=0)


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cluster_with(target_primary="pending"), "of cold-postgres to pending is under way"),
        (cluster_with(target_primary="postgres-3"), "of cold-postgres to postgres-3 is under way"),
        (cluster_with(current_primary="postgres-2", target_primary="postgres-2"), "postgres-2 leads now, or is about to"),
    ],
)
async def test_no_standby_is_deleted_that_may_be_needed(change: Change, words: str, asked: bool, tmp_path: Path) -> None:
    """It may be the one that is chosen, or is the primary by now; nor by a run that was killed right before its order and is taken up again."""
    with stage(change(healthy()), tmp_path, asked=asked) as (kube, planned, ctx):
        with pytest.raises(StepFailed, match=words):
            await Restart(QUICK).run(planned, ctx)
        assert kube.acts == []
        assert Restart(QUICK).left_behind(planned, ctx) == ""


async def test_a_standby_that_was_elected_while_the_api_was_away_stays(tmp_path: Path) -> None:
    """The order is not repeated on what was seen before."""
    with stage(healthy(), tmp_path) as (kube, planned, ctx):

        def away() -> Exception:
            kube.put("pg_clusters", cluster_with(current_primary="postgres-2", target_primary="postgres-2")(healthy()).cluster)
            return Unreachable("connection refused")

        kube.fail("delete", away)
        with pytest.raises(StepFailed, match="postgres-2 leads now, or is about to"):
            await Restart(QUICK).run(planned, ctx)
        assert kube.did("delete") == []
        assert list(kube.objects("pods")) == ["database/postgres-2"]
        assert Restart(QUICK).left_behind(planned, ctx) == ""


async def test_an_order_that_was_forbidden_deleted_nothing(tmp_path: Path) -> None:
    """And is not said to have."""
    with stage(healthy(), tmp_path) as (kube, planned, ctx):
        kube.allowed = lambda verb, group, resource: verb != "delete"
        with pytest.raises(Forbidden):
            await Restart(QUICK).run(planned, ctx)
        assert Restart(QUICK).left_behind(planned, ctx) == ""


def test_a_standby_is_another_pod_afterwards(real: Site, tmp_path: Path) -> None:
    """Killed in the middle and taken up again the pod is deleted once; it streams in the end, and the primary stayed where it was."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        name = next(n for n in on.database.servers if n != primary)
        before = (await on.pod(name))["metadata"]["uid"]
        async with ground(on, tmp_path) as at:
            params = RestartInstance(name)
            plan = RESTART_INSTANCE.plan(await RESTART_INSTANCE.gather(params, at.means, 10.0), params, at.means.clock.now())
            run = replace(a_run("20261124-180210-0001"), created=datetime.now(UTC), steps=("Restart",), locks=())
            at.journal.begin(run, an_entry(run))

            def ctx() -> RunContext:
                memo: dict[str, Any] = {}
                for event in at.journal.events(run.id):
                    memo.update(event.memo)
                return RunContext(run.id, params, at.means, at.journal, deadline=at.means.clock.now() + timedelta(seconds=60), memo=memo)

            def begun(journal: Journal) -> Awaitable[None]:
                return perform(plan, replace(ctx(), journal=journal), {Restart.name: Restart(QUICK)})

            await killed(at.journal, lambda event: bool(event.memo.get("0/asked")), begun)
            await perform(plan, ctx(), {Restart.name: Restart(QUICK)})
            after = (await on.pod(name))["metadata"]["uid"]
            assert after != before
            await perform(plan, ctx(), {Restart.name: Restart(QUICK)})  # a third attempt finds it done
            assert (await on.pod(name))["metadata"]["uid"] == after
        assert await on.until_whole() == primary

    real.play(scene)
