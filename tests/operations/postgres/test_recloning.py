"""Re-clone a standby: what refuses and warns, with numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coldtui.domain.plans import Outlook, Plan, Rung
from coldtui.domain.storage import Claim
from coldtui.operations.postgres.facts import PgFacts
from coldtui.operations.postgres.recloning import RECLONE_INSTANCE, RecloneInstance
from coldtui.operations.postgres.recloning_findings import RecloneFacts
from coldtui.operations.postgres.rights import DELETE_CLAIM, DELETE_POD
from coldtui.present.plans import blocked_words, not_permitted
from tests.operations.postgres.scene import (
    HEAD,
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
    row_with,
    sql_with,
    unread,
)

TARGET, GIB = "postgres-2", 1 << 30
CLAIM = Claim("database", TARGET, uid="u-1", requested_b=10 * GIB, labels={"cnpg.io/instanceName": TARGET})


def lost(facts: PgFacts) -> PgFacts:
    """It crashes at each start: it answers nowhere, and the primary knows no such standby."""
    head, sql = facts.managers["postgres-1"].value, facts.sql["postgres-1"].value  # type: ignore[union-attr]
    rows = tuple(row for row in head.standbys if row.name != TARGET)
    facts = both(manager_with("postgres-1", standbys=rows), sql_with("postgres-1", standbys=rows), pod_with(TARGET, is_ready=False))(facts)
    assert sql is not None
    return replace(facts, managers={**facts.managers, TARGET: unread()}, sql={**facts.sql, TARGET: unread()})


def reclone(change: Change | None = None, name: str = TARGET, **more: Any) -> Plan:
    pg = healthy() if change is None else change(healthy())
    facts = replace(RecloneFacts(pg, known((CLAIM,)), known(4 * GIB, "its databases by SQL")), **more)
    return RECLONE_INSTANCE.plan(facts, RecloneInstance(name), NOW)


def diverged(facts: PgFacts) -> PgFacts:
    """It answers, on an older timeline, and streams from nobody."""
    facts = lost(facts)
    manager = replace(healthy().managers[TARGET].value, timeline=5, received=HEAD - 100, replayed=HEAD - 100)  # type: ignore[union-attr]
    return replace(facts, managers={**facts.managers, TARGET: known(manager)})


def test_a_diverged_standby_may_be_cloned() -> None:
    """Rung 3: the name is typed. What is deleted, what it has that nobody else has, how much is copied, and who can take over meanwhile."""
    plan = reclone(diverged)
    assert (plan.rung, plan.confirm, plan.needs_reason, plan.outlook, plan.blocked) == (
        Rung.DESTRUCTIVE,
        TARGET,
        True,
        Outlook.WOULD_LOSE,
        "",
    )
    assert finding(plan, "reclone.claims").sentence == "1 volume claim will be deleted with all data: postgres-2"
    assert finding(plan, "reclone.diverged").sentence.startswith("postgres-2 is on timeline 5 at 4/FFFFFF9C, the primary on 7")
    assert finding(plan, "reclone.size").sentence == "4 GiB are copied from postgres-1 (its databases by SQL)"
    assert finding(plan, "reclone.left").sentence == "postgres-3 can take over from postgres-1 meanwhile"


def test_of_one_that_does_not_answer_nothing_is_known() -> None:
    """The usual case, a crash loop: that nobody can tell what it has stands there as not evaluated; it can be confirmed."""
    plan = reclone(lost)
    assert (plan.outlook, plan.blocked) == (Outlook.NOT_EVALUATED, "")
    assert "what is on postgres-2 that nobody else has: not evaluated" in finding(plan, "reclone.data-unread").sentence


@pytest.mark.parametrize(
    ("change", "more", "code", "words"),
    [
        (cluster_with(current_primary=TARGET), {}, "primary", "postgres-2 is the PRIMARY"),
        (cluster_with(target_primary=TARGET), {}, "primary", "postgres-2 is to be the primary"),
        (cluster_with(target_primary="postgres-3"), {}, "changing", "a switchover of cold-postgres to postgres-3 is under way"),
        (cluster_with(hibernation="on"), {}, "hibernated", "there is nobody to copy from"),
        (cluster_with(reconciliation_disabled=True), {}, "ignored", "nobody would make it anew"),
        (cluster_with(fenced=(TARGET,)), {}, "fenced", "postgres-2 is fenced"),
        (cluster_with(fenced_unreadable="[x"), {}, "fenced", "postgres-2 is fenced"),
        (
            cluster_with(fenced=("postgres-1",)),
            {},
            "source-fenced",
            "postgres-1, the primary, is fenced: postgres-2 may be the last good copy",
        ),
        (
            cluster_with(fenced=("postgres-3",)),
            {},
            "other-fenced",
            "postgres-3 fenced: the operator makes no pod again until that is lifted",
        ),
        (pod_with("postgres-3", phase="Pending"), {}, "other-waits", "the operator makes no pod again before it runs"),
        (cluster_with(current_primary="", target_primary=""), {}, "no-source", "has no primary to copy from"),
        (facts_with(operator=known(None)), {}, "operator", "there is no operator: nobody would make postgres-2 anew"),
        (pod_with("postgres-1", is_ready=False), {}, "source", "postgres-2 may be the last good copy"),
        (manager_with("postgres-1", is_primary=False), {}, "source", "says that it is none"),
        (
            both(diverged, manager_with(TARGET, received=HEAD + 4096)),
            {},
            "ahead",
            "postgres-2 has received 4,096 bytes more than anybody (5/1000; postgres-1 5/0)",
        ),
        (
            facts_with(backups=known((replace(backup("running"), instance=TARGET),))),
            {},
            "backup",
            "backup nightly-1 is running on postgres-2",
        ),
        (None, {"claims": known(())}, "no-claims", "no volume claim of postgres-2 was found"),
        (None, {"size_b": known(11 * GIB)}, "size", "11 GiB are to be copied and the claim asks for 10 GiB only"),
        (facts_with(nodes=known({})), {}, "nodes", "none of 0 nodes is ready and takes pods"),
    ],
)
def test_what_refuses(change: Change | None, more: dict[str, Any], code: str, words: str) -> None:
    """Each with its sentence and its numbers."""
    plan = reclone(change, **more)
    assert plan.outlook is Outlook.REFUSED
    assert words in finding(plan, f"reclone.{code}").sentence
    assert words in plan.blocked


def test_another_one_that_is_not_ready_is_told() -> None:
    """The operator waits for it before it makes a new instance; no stop, as both may need the cure."""
    plan = reclone(both(diverged, pod_with("postgres-3", is_ready=False)))
    assert plan.blocked == ""
    assert "postgres-3 is not ready: the operator makes no new instance until it is" in finding(plan, "reclone.other-unready").sentence


def test_one_that_streams_is_never_ahead() -> None:
    """Under a load it is read a moment after the primary, and further: that is no WAL of its own."""
    assert "postgres.reclone.ahead" not in {f.code for f in reclone(manager_with(TARGET, received=HEAD + 4096)).findings}


def test_one_without_a_pod_is_left_to_the_operator() -> None:
    """It may be making it just now."""

    def change(facts: PgFacts) -> PgFacts:
        pods = {name: pod for name, pod in facts.pods.value.items() if name != TARGET}  # type: ignore[union-attr]
        return replace(facts, pods=known(pods))

    assert "postgres-2 has no pod" in reclone(change).blocked


@pytest.mark.parametrize(
    ("change", "more", "code"),
    [
        (facts_with(operator=unread()), {}, "operator-unread"),
        (facts_with(backups=unread()), {}, "backups-unread"),
        (facts_with(pods=unread()), {}, "pods-unread"),
        (facts_with(nodes=unread()), {}, "nodes-unread"),
        (None, {"claims": unread()}, "claims-unread"),
        (lambda facts: replace(facts, managers={**facts.managers, "postgres-1": unread()}), {}, "source-unread"),
    ],
)
def test_what_cannot_be_read_is_not_evaluated(change: Change | None, more: dict[str, Any], code: str) -> None:
    """With the reason; never taken for well."""
    plan = reclone(change, **more)
    assert plan.outlook is Outlook.NOT_EVALUATED
    assert "not evaluated" in finding(plan, f"reclone.{code}").sentence


@pytest.mark.parametrize(
    ("change", "more", "code", "words"),
    [
        (None, {}, "streams", "postgres-2 streams from postgres-1, 0 bytes behind: there is nothing to cure"),
        (row_with(sync_state="quorum"), {}, "sync", "commits may wait until it is back"),
        (pod_with("postgres-3", is_ready=False), {}, "last", "until it is copied nothing can take over from postgres-1"),
        (sql_with(TARGET, connections=3), {}, "clients", "3 connections to postgres-2 will break"),
        (None, {"size_b": unread()}, "size-unread", "how much is to be copied: not known, connection refused"),
    ],
)
def test_what_warns(change: Change | None, more: dict[str, Any], code: str, words: str) -> None:
    """It may be done all the same."""
    plan = reclone(change, **more)
    assert finding(plan, f"reclone.{code}").sentence.endswith(words)
    assert (plan.outlook, plan.blocked) == (Outlook.GO, "")


def test_missing_rights_are_told_before() -> None:
    """Both by verb and resource, so that the command line can say `not permitted` before anything is deleted."""
    plan = reclone(diverged, lacking=(DELETE_POD, DELETE_CLAIM))
    assert not_permitted(plan)
    assert blocked_words(plan).startswith("it needs delete on pods in database")
    assert [f.sentence for f in plan.findings if ".right-" in f.code][1] == "it needs delete on persistentvolumeclaims in database"
