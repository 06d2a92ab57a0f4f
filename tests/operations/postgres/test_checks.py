"""The pre-checks of a switchover: what refuses, what warns, and what is not evaluated, each with its numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.objects import Condition
from coldtui.domain.plans import Outlook, Rung, Weight
from coldtui.domain.postgres import ReportedState
from coldtui.domain.sessions import Session
from coldtui.operations.postgres.checks import candidates
from coldtui.operations.postgres.switchover import leased, no_instance, patch_of, unsettled
from coldtui.ports import HeldLease
from tests.operations.postgres.scene import (
    HEAD,
    NAMES,
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
    node_with,
    plan_of,
    pod_with,
    row_with,
    sql_with,
    unread,
)

SEGMENT = 16 << 20


def test_a_healthy_cluster_goes() -> None:
    """Two steps behind the site's lock, typed as the verb, with a reason; nothing warns; the delay of the shutdown is shown."""
    plan = plan_of()
    assert (plan.outlook, plan.blocked) == (Outlook.GO, "")
    assert [f.code for f in plan.findings if f.weight >= Weight.WARNING] == []
    assert [s.name for s in plan.steps] == ["postgres.switchover", "postgres.settle"]
    assert plan.steps[1].args["followers"] == ["postgres-1", "postgres-3"]
    assert (plan.rung, plan.verb, plan.confirm, plan.locks, plan.needs_reason) == (
        Rung.DISRUPTIVE, "switchover", "postgres-2", ("site",), True,
    )  # fmt: skip
    assert plan.object == "clusters/database/cold-postgres"
    assert "(spec.switchoverDelay)" in finding(plan, "delay").sentence
    assert finding(plan, "candidates").sentence.startswith("fit to lead: postgres-2 on ")
    assert ", 0 bytes behind; postgres-3 on " in finding(plan, "candidates").sentence


REFUSED = [
    pytest.param(cluster_with(target_primary="postgres-3"), "changing", "from postgres-1 to postgres-3", id="another-target"),
    pytest.param(cluster_with(target_primary="pending"), "changing", "from postgres-1 to pending", id="failover"),
    pytest.param(cluster_with(phase="Upgrading cluster", phase_reason="2 of 3"), "phase", "Upgrading cluster (2 of 3)", id="phase"),
    pytest.param(cluster_with(reconciliation_disabled=True), "ignored", "reconciliation is disabled", id="reconciliation"),
    pytest.param(cluster_with(hibernation="on"), "hibernated", "is hibernated", id="hibernated"),
    pytest.param(cluster_with(replica_cluster=True), "replica-cluster", "no writable primary", id="replica-cluster"),
    pytest.param(cluster_with(fenced=("postgres-2",)), "fenced", "postgres-2 is fenced", id="target-fenced"),
    pytest.param(cluster_with(fenced=("postgres-1",)), "fenced", "postgres-1 is fenced", id="primary-fenced"),
    pytest.param(facts_with(operator=known(None)), "operator", "no deployment", id="no-operator"),
    pytest.param(pod_with("postgres-2", is_ready=False, ready=0, state="Running"), "not-ready", "Running, 0 of", id="not-ready"),
    pytest.param(pod_with("postgres-2", deleted=NOW), "deleted", "is being deleted", id="deleted"),
    pytest.param(row_with(state="catchup"), "not-streaming", "catchup", id="catchup"),
    pytest.param(row_with(name="other"), "not-streaming", "knows no such standby", id="no-row"),
    pytest.param(manager_with("postgres-2", replay_paused=True), "paused", "replay is paused", id="paused"),
    pytest.param(
        both(sql_with("postgres-2", replay_paused=True), facts_with(managers={n: unread() for n in NAMES})),
        "paused",
        "replay is paused",
        id="paused-by-sql",
    ),
    pytest.param(manager_with("postgres-2", receiver_active=False), "no-receiver", "WAL receiver of postgres-2 is down", id="receiver"),
    pytest.param(manager_with("postgres-2", might_be_unavailable=True), "unavailable", "coming out of a fence", id="unavailable"),
    pytest.param(manager_with("postgres-2", rewinding=True), "unavailable", "being rewound", id="rewinding"),
    pytest.param(manager_with("postgres-2", system_id="9"), "system-id", "/pg/status of postgres-2 9", id="system-id"),
    pytest.param(sql_with("postgres-2", timeline=6), "timeline", "on timeline 6, postgres-1 on 7", id="timeline"),
    pytest.param(
        both(
            cluster_with(reported=(ReportedState("postgres-2", False, 8),)),
            lambda f: replace(f, sql={**f.sql, "postgres-2": unread()}),
        ),
        "timeline",
        "on timeline 8, postgres-1 on 7",
        id="timeline-reported",
    ),
    pytest.param(
        facts_with(lease=known(HeldLease("database", "cold-postgres", "postgres-3", "1", NOW, 15))), "lease", "held by postgres-3", id="lease"
    ),
]  # fmt: skip


OLD_CONTROL_FILE = [
    pytest.param(manager_with("postgres-2", timeline=6), id="by-its-manager"),
    pytest.param(sql_with("postgres-2", timeline=6, timeline_sure=False), id="by-sql-without-pg_monitor"),
    pytest.param(
        both(cluster_with(reported=(ReportedState("postgres-2", False, 6),)), lambda f: replace(f, sql={**f.sql, "postgres-2": unread()})),
        id="by-the-cluster",
    ),
]


@pytest.mark.parametrize("change", OLD_CONTROL_FILE)
def test_a_timeline_of_a_control_file_forbids_nothing(change: Change) -> None:
    """After a role change the control file of a standby is old for up to checkpoint_timeout, while it streams on the new timeline."""
    plan = plan_of(change)
    assert (plan.outlook, [f.code for f in plan.findings if "timeline" in f.code]) == (Outlook.GO, [])


@pytest.mark.parametrize(("change", "code", "words"), REFUSED)
def test_it_is_refused(change: Change, code: str, words: str) -> None:
    """With what stands in the way, and the plan cannot be confirmed."""
    plan = plan_of(change)
    found = finding(plan, code)
    assert words in found.sentence
    assert (found.weight, plan.outlook) == (Weight.STOP, Outlook.REFUSED)
    assert found.sentence in plan.blocked
    assert plan.findings[0].weight is Weight.STOP


def test_an_operator_that_is_down_refuses() -> None:
    """With how many of it are available."""
    facts = healthy()
    operator = facts.operator
    assert not hasattr(operator, "reason")
    down = replace(operator.value, available=0)  # type: ignore[type-var]
    plan = plan_of(facts_with(operator=known(down)))
    assert finding(plan, "operator").sentence == "the operator is down: 0 of 1 available"
    assert plan.outlook is Outlook.REFUSED


def test_the_primary_itself_is_refused() -> None:
    """It leads already: no step, and another is to be chosen."""
    plan = plan_of(to="postgres-1")
    assert finding(plan, "is-primary").sentence == "postgres-1 is the primary already"
    assert (plan.steps, plan.outlook) == ((), Outlook.REFUSED)


def test_all_fenced_is_one_sentence_each() -> None:
    """`*` fences the primary and the target."""
    plan = plan_of(cluster_with(fenced=("*",)))
    assert {f.sentence.partition(":")[0] for f in plan.findings if f.code == "postgres.fenced"} == {"all instances are fenced"}


def test_an_unknown_instance_offers_the_nearest_and_the_fit() -> None:
    """By name, and who could lead."""
    error = no_instance("postgres-22", healthy())
    assert error.title == "no instance postgres-22 in database/cold-postgres"
    assert "did you mean postgres-2" in error.hint
    assert error.hint.endswith("fit to lead: postgres-2, postgres-3")


def session(minutes: float) -> Session:
    return Session(7, NOW, "app", "app", "psql", "10.0.0.9", "active", transaction_at=NOW - timedelta(minutes=minutes))


WARNED = [
    pytest.param(row_with(replay=HEAD - 2 * SEGMENT), None, "", id="lag-read-elsewhere-too"),
    pytest.param(
        both(row_with(replay=HEAD - 2 * SEGMENT), manager_with("postgres-2", replayed=HEAD - 2 * SEGMENT), sql_with("postgres-2", replayed=None)),
        "lag",
        "33,554,432 bytes not replayed",
        id="lag",
    ),
    pytest.param(
        cluster_with(conditions=(Condition("ContinuousArchiving", "False", "ContinuousArchivingFailing", "exit status 1", NOW),)),
        "archive",
        "WAL archiving of postgres-1 fails, 0 WAL segments waiting",
        id="archive",
    ),
    pytest.param(manager_with("postgres-1", ready_wal=40), "archive-backlog", "40 WAL segments of postgres-1 wait", id="backlog"),
    pytest.param(facts_with(backups=known((backup("running"),))), "backup", "backup nightly-1 is running", id="backup"),
    pytest.param(facts_with(backups=known((backup("completed"), backup("running", "other")))), None, "", id="no-backup"),
    pytest.param(facts_with(sessions=known((session(5), session(0.1)))), "transactions", "1 transaction open for longer than 30 s will be cut, the oldest after 300 s", id="transactions"),
    pytest.param(node_with(unschedulable=True), "node", "is cordoned", id="cordoned"),
    pytest.param(node_with(conditions=(Condition("Ready", "True"), Condition("DiskPressure", "True"))), "pressure", "DiskPressure", id="pressure"),
    pytest.param(pod_with("postgres-3", is_ready=False), "no-spare", "no instance beside postgres-1 and postgres-2", id="no-spare"),
    pytest.param(facts_with(writers=known(("postgres-3",))), "writers", "leads to postgres-3, not to postgres-1 alone", id="writers"),
    pytest.param(sql_with("vip", in_recovery=True), "vip", "the VIP leads to a standby (10.42.1.5:5432)", id="vip"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "words"), WARNED)
def test_it_is_warned_of(change: Change, code: str | None, words: str) -> None:
    """With its number; and it goes all the same."""
    plan = plan_of(change)
    warned = [f.code for f in plan.findings if f.weight is Weight.WARNING]
    assert warned == ([f"postgres.{code}"] if code else [])
    if code:
        assert words in finding(plan, code).sentence
    assert (plan.outlook, plan.blocked) == (Outlook.GO, "")


def test_a_synchronous_candidate_is_better() -> None:
    """An asynchronous target is warned of while a synchronous one exists, which is named first among the fit."""
    rows = (
        replace(healthy().managers["postgres-1"].value.standbys[0]),  # type: ignore[union-attr]
        replace(healthy().managers["postgres-1"].value.standbys[1], sync_state="quorum"),  # type: ignore[union-attr]
    )
    change = manager_with("postgres-1", standbys=rows)
    assert "while postgres-3 is synchronous" in finding(plan_of(change), "async").sentence
    assert candidates(change(healthy()), NOW) == ("postgres-3", "postgres-2")


BLIND = [
    pytest.param(facts_with(operator=unread()), "operator-unread", "whether the operator runs", id="operator"),
    pytest.param(facts_with(pods=unread()), "pod-unread", "whether postgres-2 is ready", id="pods"),
    pytest.param(
        lambda f: replace(f, managers={**f.managers, "postgres-1": unread()}, sql={**f.sql, "postgres-1": unread()}),
        "stream-unread",
        "whether postgres-2 streams",
        id="primary",
    ),
    pytest.param(
        lambda f: replace(f, managers={**f.managers, "postgres-2": unread()}, sql={**f.sql, "postgres-2": unread()}),
        "instance-unread",
        "the state of postgres-2",
        id="target",
    ),
    pytest.param(facts_with(backups=unread()), "backups-unread", "whether a backup runs", id="backups"),
    pytest.param(facts_with(lease=unread()), "lease-unread", "who holds the primary's lease", id="lease"),
    pytest.param(facts_with(writers=unread()), "writers-unread", "where the -rw Service leads to", id="writers"),
    pytest.param(cluster_with(fenced_unreadable="[x"), "fence-unreadable", "what is fenced", id="fence"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "words"), BLIND)
def test_an_unread_premise_is_not_evaluated(change: Change, code: str, words: str) -> None:
    """Never taken for well: the plan says so, and the step is told which doubts were accepted."""
    plan = plan_of(change)
    found = finding(plan, code)
    assert found.sentence.startswith(f"{words}")
    assert "not evaluated" in found.sentence
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert found.code in plan.steps[0].args["doubts"]


def test_one_source_is_enough() -> None:
    """With every /pg/status silent SQL tells the same, and with SQL refused /pg/status does."""
    for change in (facts_with(managers={n: unread() for n in NAMES}), facts_with(sql={n: unread() for n in (*NAMES, "vip")})):
        assert plan_of(change).outlook is Outlook.GO


def test_the_patch_is_that_of_kubectl_cnpg_promote() -> None:
    """Guarded by the version that was read; the list of conditions whole with Ready false, or none."""
    raw = {
        "metadata": {"resourceVersion": "4711"},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "ClusterIsReady", "message": "x"}, {"type": "Other", "status": "True"}]},
    }  # fmt: skip
    body = patch_of(raw, "postgres-2", NOW)
    assert body["metadata"] == {"resourceVersion": "4711"}
    status = body["status"]
    assert status["targetPrimary"] == "postgres-2"
    assert status["targetPrimaryTimestamp"] == "2026-11-24T12:00:00.000000Z"
    assert (status["phase"], status["phaseReason"]) == ("Switchover in progress", "Switching over to postgres-2")
    assert status["conditions"][0] == {
        "type": "Ready", "status": "False", "reason": "ClusterIsNotReady", "message": "Cluster Is Not Ready", "lastTransitionTime": "2026-11-24T12:00:00Z",
    }  # fmt: skip
    assert status["conditions"][1] == {"type": "Other", "status": "True"}
    assert "conditions" not in patch_of({"metadata": {"resourceVersion": "1"}, "status": {}}, "postgres-2", NOW)["status"]


@pytest.mark.parametrize(
    ("changes", "followers", "left"),
    [
        ({}, ("postgres-1", "postgres-3"), "postgres-1 to stream from postgres-2"),
        ({}, ("postgres-2", "postgres-3"), ""),
        ({"ready_instances": 2}, ("postgres-2", "postgres-3"), "2 of 3 instances are ready"),
        ({"phase": "Switchover in progress"}, ("postgres-2", "postgres-3"), "the phase is 'Switchover in progress'"),
        ({"phase": "Switchover in progress", "ready_instances": 2}, ("postgres-3",), ""),
    ],
    ids=["absent", "settled", "not-ready", "phase", "one-was-down-before"],
)
def test_a_switchover_settles(changes: dict[str, Any], followers: tuple[str, ...], left: str) -> None:
    """Those that were ready before follow; the operator writes its phase only once all instances are ready, so with one down it is not waited for."""
    facts = healthy()
    head = facts.manager("postgres-1")
    assert head is not None
    assert unsettled(replace(facts.cluster, **changes), head, "postgres-2", followers) == left


def test_a_lease_that_nobody_holds_proves_nothing() -> None:
    """The operator makes the lease, and managers older than it leave it alone: no holder before, none to wait for."""
    facts = healthy()
    assert leased(facts)
    assert not leased(replace(facts, lease=known(HeldLease("database", "cold-postgres", "", "17", None, 15))))
    assert not leased(replace(facts, lease=known(None)))
