"""Hibernate and wake: what refuses and warns, with numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.backups import PgSchedule
from coldtui.domain.objects import Condition
from coldtui.domain.plans import Finding, Outlook, Plan, Rung
from coldtui.domain.postgres import HEALTHY
from coldtui.domain.sessions import Session
from coldtui.domain.storage import Claim
from coldtui.operations.postgres.hibernating import HIBERNATE_CLUSTER, WAKE_CLUSTER, HibernateCluster, WakeCluster
from coldtui.operations.postgres.hibernation_findings import SleepFacts
from coldtui.operations.postgres.ordering import guarded
from coldtui.operations.postgres.rights import CHANGE_CLUSTER
from coldtui.present.plans import blocked_words, not_permitted
from tests.operations.postgres.scene import (
    NAMES,
    NOW,
    Change,
    backup,
    both,
    cluster_with,
    facts_with,
    healthy,
    known,
    manager_with,
    sql_with,
    unread,
)

Turn = Callable[[SleepFacts], SleepFacts]
HOURLY = PgSchedule("database", "hourly", cluster="cold-postgres", schedule="0 0 * * * *", next_run=NOW + timedelta(minutes=30))


def claim(name: str, **more: Any) -> Claim:
    return Claim("database", name, uid=f"uid-{name}", labels={"cnpg.io/instanceName": name}, **more)


def facts(change: Change | None = None, **more: Any) -> SleepFacts:
    pg = healthy() if change is None else change(healthy())
    return replace(SleepFacts(pg, known(tuple(map(claim, NAMES))), known(())), **more)


def sleep(change: Change | None = None, **more: Any) -> Plan:
    return HIBERNATE_CLUSTER.plan(facts(change, **more), HibernateCluster("cold-postgres"), NOW)


ASLEEP = both(
    cluster_with(hibernation="on", conditions=(Condition("cnpg.io/hibernation", "True", "Hibernated"),)),
    facts_with(pods=known({}), writers=known(())),
)


def wake(change: Change = ASLEEP, **more: Any) -> Plan:
    return WAKE_CLUSTER.plan(facts(change, **more), WakeCluster("cold-postgres"), NOW)


def found(plan: Plan, code: str) -> Finding:
    (one,) = [f for f in plan.findings if f.code == f"postgres.{code}"]
    return one


def session(application: str, age_s: int = 0) -> Session:
    at = NOW - timedelta(seconds=age_s)
    return Session(41, at, "app", "app", application, "10.42.1.9", "active", transaction_at=at if age_s else None)


def test_the_name_is_typed_and_a_reason_given() -> None:
    """Rung 3, one step, and every volume is said to stay."""
    plan = sleep()
    assert (plan.rung, plan.confirm, plan.needs_reason, plan.outlook, plan.blocked) == (
        Rung.DESTRUCTIVE,
        "cold-postgres",
        True,
        Outlook.GO,
        "",
    )
    assert [s.title for s in plan.steps] == ["Hibernate cold-postgres"]
    assert found(plan, "hibernate.claims").sentence == "3 claims of cold-postgres stay as they are"


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (cluster_with(target_primary="postgres-3"), "changing", "a switchover of cold-postgres to postgres-3 is under way"),
        (cluster_with(phase="Upgrading cluster"), "phase", "the operator would wait until it is"),
        (cluster_with(fenced=("postgres-2",)), "fenced", "postgres-2 fenced"),
        (cluster_with(fenced=("*",)), "fenced", "all instances fenced"),
        (cluster_with(fenced_unreadable="[x"), "fenced", "what is fenced in cold-postgres cannot be told"),
        (cluster_with(reconciliation_disabled=True), "ignored", "the operator ignores cold-postgres: nobody would stop the instances"),
        (facts_with(operator=known(None)), "operator", "there is no operator"),
    ],
)
def test_what_refuses_a_sleep(change: Change, code: str, words: str) -> None:
    """Each with its sentence."""
    plan = sleep(change)
    assert words in found(plan, f"hibernate.{code}").sentence
    assert words in plan.blocked


def test_data_that_goes_is_not_put_to_sleep() -> None:
    """A claim that is being deleted, or a primary without one, refuses both ways; a standby without one is cloned anew."""
    going = known((claim("postgres-1"), claim("postgres-2"), claim("postgres-3", deleted=NOW)))
    assert "1 claim being deleted: postgres-3" in sleep(claims=going).blocked
    assert "1 claim being deleted: postgres-3" in wake(claims=going).blocked
    assert "postgres-1, the primary, has no claim" in wake(claims=known((claim("postgres-2"),))).blocked
    plan = wake(claims=known((claim("postgres-1"), claim("postgres-2"))))
    assert found(plan, "wake.bare").sentence.startswith("postgres-3 without a claim")
    assert not plan.blocked


@pytest.mark.parametrize(
    ("change", "more", "code"),
    [
        (facts_with(operator=unread()), {}, "operator-unread"),
        (facts_with(backups=unread()), {}, "backups-unread"),
        (facts_with(sessions=unread()), {}, "sessions-unread"),
        (None, {"claims": unread()}, "claims-unread"),
        (None, {"schedules": unread()}, "schedules-unread"),
        (both(facts_with(managers={}), facts_with(sql={})), {}, "archive-unread"),
    ],
)
def test_what_cannot_be_read_is_not_evaluated(change: Change | None, more: dict[str, Any], code: str) -> None:
    """With the reason; never taken for well."""
    plan = sleep(change, **more)
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert "not evaluated" in found(plan, f"hibernate.{code}").sentence


def test_whom_it_hits() -> None:
    """Connections by application, long transactions, readers of standbys, a backup under way, schedules, WAL that only the volume has."""
    busy = known((session("shop"), session("shop", 40), session("report")))
    plan = sleep(
        both(
            facts_with(sessions=busy, backups=known((backup("running"),))),
            sql_with("postgres-2", connections=4),
            manager_with("postgres-1", ready_wal=7),
        ),
        schedules=known((HOURLY, replace(HOURLY, name="off", suspended=True), replace(HOURLY, name="other", cluster="x"))),
    )
    assert found(plan, "hibernate.sessions").sentence == "3 connections to postgres-1 will break: shop on app (2), report on app (1)"
    assert "up to 180 s to stop (spec.smartShutdownTimeout)" in found(plan, "hibernate.wait").sentence
    assert "1 transaction open for longer than 30 s will be cut, the oldest after 40 s" in found(plan, "hibernate.transactions").sentence
    assert found(plan, "hibernate.readers").sentence == "connections to standbys will break: postgres-2 4"
    assert found(plan, "hibernate.backup").sentence == "backup nightly-1 is running and breaks off"
    assert found(plan, "hibernate.schedule").sentence == "schedule hourly makes no backup meanwhile, next at 2026-11-24 12:30Z"
    assert found(plan, "hibernate.archive").sentence == "7 WAL segments not archived yet: they stay on the volume of postgres-1 only"


def test_a_missing_right_is_told_before() -> None:
    """By verb and resource, so that the command line can say `not permitted`."""
    plan = sleep(lacking=(CHANGE_CLUSTER,))
    assert blocked_words(plan) == "it needs patch on clusters in database → ask for that right (RBAC)"
    assert not_permitted(plan)


def test_waking_asks_y_or_n() -> None:
    """Rung 1; refused where nobody would make the pods or no node takes them; a fence is warned of."""
    plan = wake()
    assert (plan.rung, plan.confirm, plan.blocked, [s.title for s in plan.steps]) == (
        Rung.VISIBLE,
        "cold-postgres",
        "",
        ["Wake cold-postgres"],
    )
    assert "nobody would make the pods" in wake(both(ASLEEP, facts_with(operator=known(None)))).blocked
    assert "nobody would make the pods" in wake(both(ASLEEP, cluster_with(reconciliation_disabled=True))).blocked
    assert (
        found(wake(both(ASLEEP, cluster_with(fenced=("postgres-2",)))), "wake.fenced").sentence
        == "postgres-2 fenced: not started by waking"
    )
    nodes = healthy().nodes.value  # type: ignore[union-attr]
    shut = known({name: replace(node, unschedulable=True) for name, node in nodes.items()})
    assert f"none of {len(nodes)} nodes is ready and takes pods" in wake(both(ASLEEP, facts_with(nodes=shut))).blocked
    assert wake(both(ASLEEP, facts_with(nodes=unread()))).outlook is Outlook.NOT_EVALUATED


def test_nothing_to_do_is_said() -> None:
    """Asleep already, or awake; one that is on its way to sleep is followed, whatever its phase."""
    assert sleep(ASLEEP).done == "cold-postgres is hibernated already"
    assert wake(cluster_with(phase=HEALTHY)).done == "cold-postgres is not hibernated"
    halfway = sleep(cluster_with(hibernation="on", phase="Waiting for the instances to become active"))
    assert not halfway.done
    assert not halfway.blocked


def test_the_annotation_is_guarded() -> None:
    """Exactly the version that was read."""
    raw = {"metadata": {"resourceVersion": "9"}}
    assert guarded(raw, hibernation="on") == {"metadata": {"resourceVersion": "9", "annotations": {"cnpg.io/hibernation": "on"}}}
