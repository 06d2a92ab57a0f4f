"""Restart the primary in place: what refuses and warns, the outage that is measured, and a server that is a new one on the same timeline."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.errors import Unreachable
from coldtui.domain.plans import Outlook, Plan, Rung
from coldtui.domain.runs import What
from coldtui.domain.sessions import Session
from coldtui.lab.fakes import FakeDatabase, FakeServer
from coldtui.live.pace import SystemClock
from coldtui.operations.engine import RunContext, offline
from coldtui.operations.postgres.facts import PgFacts
from coldtui.operations.postgres.ordering import holds
from coldtui.operations.postgres.probe import WriteProbe
from coldtui.operations.postgres.restarting import RESTART_INSTANCE, RestartInstance
from coldtui.operations.postgres.restarting_primary import PHASE, RestartPrimary, patch_of
from tests.journals import a_run, an_entry
from tests.lab.conftest import until
from tests.lab.postgres.conftest import Place, Site
from tests.operations.drain.ground import journal_in
from tests.operations.means import ME
from tests.operations.postgres.ground import QUICK, ground
from tests.operations.postgres.running import Act, planned
from tests.operations.postgres.scene import (
    NOW,
    Change,
    backup,
    both,
    cluster_with,
    facts_with,
    finding,
    healthy,
    known,
    manager_with,
    pod_with,
    sql_with,
    unread,
)

pytestmark = pytest.mark.timeout(240)
PRIMARY = "postgres-1"


def restart(change: Change | None = None) -> Plan:
    facts = healthy() if change is None else change(healthy())
    return RESTART_INSTANCE.plan(facts, RestartInstance(PRIMARY), NOW)


def session(age_s: int) -> Session:
    at = NOW - timedelta(seconds=age_s)
    return Session(41, at, "app", "app", "shop", "10.42.1.9", "active", transaction_at=at)


def without(part: str) -> Change:
    def change(facts: PgFacts) -> PgFacts:
        if part == "sql":
            return replace(facts, sql={**facts.sql, PRIMARY: unread()})
        return replace(facts, managers={**facts.managers, PRIMARY: unread()})

    return change


def test_the_plan_says_what_it_costs() -> None:
    """Rung 2 with a reason; in place; that a switchover is gentler and to whom; connections and how long no new ones are taken."""
    plan = restart(sql_with(PRIMARY, connections=12))
    assert (plan.rung, plan.confirm, plan.outlook, plan.blocked, plan.needs_reason) == (Rung.DISRUPTIVE, PRIMARY, Outlook.GO, "", True)
    assert [(s.name, s.title) for s in plan.steps] == [("postgres.restart-primary", "Restart postgres-1 in place")]
    assert plan.steps[0].args["followers"] == ["postgres-2", "postgres-3"]
    assert finding(plan, "restart.primary").remedy == "switch over to postgres-2 first, then restart postgres-1 as a standby"
    said = "12 connections to postgres-1 will break; for up to 180 s it lets them end and takes no new ones (spec.smartShutdownTimeout)"
    assert finding(plan, "restart.clients").sentence == said


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (cluster_with(target_primary="postgres-3"), "changing", "a switchover of cold-postgres to postgres-3 is under way"),
        (cluster_with(phase=PHASE), "already", "postgres-1 is being restarted already"),
        (cluster_with(phase="Upgrading cluster"), "phase", "cold-postgres is busy: Upgrading cluster"),
        (cluster_with(hibernation="on"), "hibernated", "cold-postgres is hibernated"),
        (cluster_with(fenced=(PRIMARY,)), "fenced", "postgres-1 is fenced"),
        (cluster_with(fenced_unreadable="[x"), "fenced", "postgres-1 is fenced"),
        (cluster_with(replica_cluster=True), "replica-cluster", "follows another cluster"),
        (facts_with(pods=known({})), "no-pod", "postgres-1 has no pod that stays"),
        (pod_with(PRIMARY, deleted=NOW), "no-pod", "postgres-1 has no pod that stays"),
        (manager_with(PRIMARY, is_primary=False), "no-primary", "is named primary and says that it is none"),
    ],
)
def test_what_refuses(change: Change, code: str, words: str) -> None:
    """Each with its sentence, and the plan cannot be confirmed."""
    plan = restart(change)
    assert plan.outlook is Outlook.REFUSED
    assert words in finding(plan, f"restart.{code}").sentence
    assert words in plan.blocked


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (facts_with(pods=unread()), "pods-unread"),
        (without("managers"), "manager-unread"),
        (without("sql"), "started-unread"),
        (facts_with(backups=unread()), "backups-unread"),
    ],
)
def test_what_cannot_be_read_is_not_evaluated(change: Change, code: str) -> None:
    """With the reason; never taken for well."""
    plan = restart(change)
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert "not evaluated" in finding(plan, f"restart.{code}").sentence


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            facts_with(sessions=known((session(95), session(3)))),
            "transactions",
            "1 transaction open for longer than 30 s will be cut, the oldest after 95 s",
        ),
        (facts_with(backups=known((backup("running"),))), "backup", "backup nightly-1 is running and breaks off"),
        (manager_with(PRIMARY, ready_wal=40), "archive", "40 WAL segments wait for the archive"),
        (facts_with(operator=known(None)), "no-operator", "nothing fails over"),
        (both(pod_with("postgres-2", is_ready=False), pod_with("postgres-3", is_ready=False)), "last", "nothing can take over"),
    ],
)
def test_what_warns(change: Change, code: str, words: str) -> None:
    """With its numbers; it may be done all the same: the operator is not needed for it."""
    plan = restart(change)
    assert words in finding(plan, f"restart.{code}").sentence
    assert plan.outlook is Outlook.GO


def test_the_patch_is_the_one_of_the_plugin() -> None:
    """Phase and reason of exactly that version, the cluster not ready, and every other condition kept."""
    raw = {
        "metadata": {"resourceVersion": "9"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "X", "status": "True"}]},
    }
    made = patch_of(raw, datetime(2026, 11, 24, tzinfo=UTC))
    assert made["metadata"] == {"resourceVersion": "9"}
    assert (made["status"]["phase"], made["status"]["phaseReason"]) == (PHASE, "Requested by the user")
    assert [(c["type"], c["status"]) for c in made["status"]["conditions"]] == [("Ready", "False"), ("X", "True")]


def test_an_order_that_stands_there_is_known_again() -> None:
    """Whatever else the Cluster has; its version and whole lists tell nothing."""
    wanted = {"metadata": {"resourceVersion": "9"}, "status": {"phase": PHASE, "conditions": [{"type": "Ready", "status": "False"}]}}
    assert holds({"metadata": {"resourceVersion": "10"}, "status": {"phase": PHASE, "conditions": [], "more": 1}}, wanted)
    assert not holds({"metadata": {"resourceVersion": "10"}, "status": {"phase": "Cluster in healthy state"}}, wanted)
    mark = {"metadata": {"resourceVersion": "9", "annotations": {"cnpg.io/hibernation": "on"}}}
    assert not holds({"metadata": {"resourceVersion": "10"}}, mark)


async def test_a_path_that_stays_dead_is_named(tmp_path: Path) -> None:
    """All else is proven, and the run waits: what for is said, and unsaid once a write is taken."""
    clock = SystemClock()
    fake = FakeDatabase({"vip": FakeServer(healthy().status(PRIMARY), fails=lambda: Unreachable("connection refused"))})
    with journal_in(tmp_path) as journal:
        run = replace(a_run("20261124-190210-0009"), locks=())
        journal.begin(run, an_entry(run))
        ctx = RunContext(run.id, RestartInstance(PRIMARY), replace(offline(clock, ME), database=fake), journal, step=0)

        def waits() -> list[str]:
            return [event.text for event in journal.events(run.id) if event.what is What.WAITING]

        async def told() -> bool:
            return bool(waits())

        async with WriteProbe(fake, "vip", clock) as probe:
            task = asyncio.create_task(RestartPrimary(QUICK)._accepted(probe, ctx))
            await until(told)
            assert waits() == ["a write to be accepted through vip"]
            fake.servers["vip"].fails = None
            async with asyncio.timeout(20):
                await task
        assert waits()[-1] == ""


def started(on: Place, name: str) -> Any:
    return on.sql(name, "SELECT pg_postmaster_start_time()")[0][0]


def test_the_primary_is_restarted(real: Site, tmp_path: Path) -> None:
    """A newer server, the same primary and timeline, both standbys stream, and how long writes stopped is told in ms."""

    async def scene(on: Place) -> None:
        before = await on.status()
        primary = before["currentPrimary"]
        since = started(on, primary)
        async with ground(on, tmp_path) as at:
            params = RestartInstance(primary)
            act = Act(at, await planned(at, RESTART_INSTANCE, params), params, (RestartPrimary(QUICK),), 1)
            await act.perform()
            assert started(on, primary) > since
            assert act.memo["outage_ms"] > 0
            outcome = act.memo["outcome"]
            assert outcome.startswith(
                f"{primary} was restarted and leads as before, timeline {before['timelineID']}; writes through vip stopped for "
            )
        assert await on.until_whole() == primary
        assert (await on.status())["timelineID"] == before["timelineID"]

    real.play(scene)


@pytest.mark.parametrize("key", ["asked", "sent"])
def test_killed_it_is_restarted_once(key: str, real: Site, tmp_path: Path) -> None:
    """Killed before its order is sent, or right after: taken up again it is restarted exactly once, and a third attempt finds it done."""

    async def scene(on: Place) -> None:
        primary = (await on.status())["currentPrimary"]
        starts = {started(on, primary)}
        async with ground(on, tmp_path) as at:
            params = RestartInstance(primary)
            act = Act(at, await planned(at, RESTART_INSTANCE, params), params, (RestartPrimary(QUICK),), 1)
            await act.killed_when(key)
            await act.perform()
            await on.until_whole()
            starts.add(started(on, primary))
            await act.perform()
            await asyncio.sleep(0)
            starts.add(started(on, primary))
        assert len(starts) == 2
        assert await on.until_whole() == primary

    real.play(scene)
