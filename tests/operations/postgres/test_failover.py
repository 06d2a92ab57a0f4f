"""The plan of a failover: who, by which way, with what proof, at what loss; and each thing that refuses it, with its numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coldtui.domain.events import Event
from coldtui.domain.plans import Fate, Outlook, Rung, Weight, worse
from coldtui.domain.postgres import Synchronous
from coldtui.domain.readings import Unknown
from coldtui.domain.replication import FailoverQuorum, lsn_text
from coldtui.operations.engine import RunContext
from coldtui.operations.postgres.electing import Promoted
from coldtui.operations.postgres.failover_case import Case
from coldtui.operations.postgres.failover_facts import Rights
from coldtui.operations.postgres.failover_ways import Asked
from coldtui.operations.postgres.hosted import runs_in
from coldtui.operations.postgres.positions import end_of_segment
from coldtui.operations.postgres.promoting import loss_words, lost_in_short
from coldtui.operations.postgres.proving import Watch
from coldtui.operations.postgres.stopping import FailoverPace
from coldtui.operations.postgres.verifying import Look, Verifying, ahead_of
from coldtui.ports import HeldLease
from tests.operations.postgres.failover_scene import (
    BEST,
    OLD,
    OTHER,
    Change,
    all_of,
    behind,
    cut_off,
    finding,
    in_pg,
    killed,
    names_of_steps,
    operator_with,
    plan_of,
    wedged,
    well,
    with_,
)  # fmt: skip
from tests.operations.postgres.scene import HEAD, NOW, SYSTEM, TIMELINE, cluster_with, facts_with, known, manager_with, pod_with, sql_with

SEGMENT = 1 << 24


def free() -> Change:
    """The lease was given back."""
    return in_pg(facts_with(lease=known(HeldLease("database", "cold-postgres", "", "18", NOW, 1))))


# ------------------------------------------------------------ the ways


def test_the_operator_is_waited_for_as_long_as_it_may_do_it_itself() -> None:
    """34 s after the death of a pod, with an operator that runs: nothing is done but to follow it, and the plan says how long it may take."""
    plan = plan_of(killed())
    assert names_of_steps(plan) == ["promote", "verify-failover"]
    assert finding(plan, "waiting").sentence == "the operator has had 34 of 10 to 40 s: waiting is gentler"
    assert finding(plan, "way").sentence == "by wait: let the operator fail over"
    assert (plan.rung, plan.needs_reason, plan.confirm, plan.locks) == (Rung.DESTRUCTIVE, True, "cold-postgres", ("site",))
    assert plan.steps[0].args["by_hand"] is False


def test_once_its_time_is_over_the_best_replica_is_named_by_hand() -> None:
    """The proof is the kubelet's word; waiting and the node are left out, each with its reason."""
    plan = plan_of(in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=75)))(killed()))
    assert names_of_steps(plan) == ["prove-stopped", "promote", "verify-failover"]
    assert finding(plan, "way-wait").sentence == "not by wait: the operator has had 75 s and needs 10 to 40 s"
    assert "is Ready: declaring a living node out of service corrupts data" in finding(plan, "way-out-of-service").sentence
    assert finding(plan, "way-delete-pod").sentence.startswith("delete-pod is open too")
    assert "container postgres of postgres-1 does not run: CrashLoopBackOff" in finding(plan, "proof").sentence
    assert plan.title == "Fail cold-postgres over to postgres-2"


def test_without_an_operator_the_service_is_said_to_stay_behind() -> None:
    """The promotion is the instances' own; the -rw Service is not."""
    plan = plan_of(operator_with(0)(killed()))
    assert names_of_steps(plan) == ["prove-stopped", "promote", "verify-failover"]
    assert "the operator is down: 0 of" in finding(plan, "cause-operator").sentence
    assert (
        "the operator is down: postgres-2 is promoted, and the -rw Service does not lead to it before that has ended"
        in finding(plan, "service").sentence
    )


def test_a_wedged_primary_is_deleted_first() -> None:
    """Naming another one would hang: the old manager renews its lease."""
    plan = plan_of(wedged())
    assert names_of_steps(plan) == ["stop-primary", "prove-stopped", "promote", "verify-failover"]
    assert plan.steps[0].title == "Delete the pod of postgres-1 without grace"
    assert (
        "the manager of postgres-1 renews the lease: postgres-2 would wait for it, without end if it is renewed again"
        in finding(plan, "way-patch").sentence
    )
    assert "still renews the Lease" in finding(plan, "cause-wedged").sentence
    assert plan.steps[2].args["by_hand"] is False


def test_a_lease_that_was_renewed_a_moment_ago_is_not_left_alone_yet() -> None:
    """A look that falls between two renewals does not make a living manager a dead one."""
    plan = plan_of(with_(renews=known(False))(wedged()))
    assert names_of_steps(plan)[0] == "stop-primary"
    assert "the lease of postgres-1 was renewed 0 s ago and holds for 15" in finding(plan, "way-patch").sentence


def test_a_wedged_primary_without_an_operator_is_deleted_and_the_next_one_named() -> None:
    """Nobody else would elect one."""
    plan = plan_of(operator_with(0)(wedged()))
    assert names_of_steps(plan) == ["stop-primary", "prove-stopped", "promote", "verify-failover"]
    assert plan.steps[2].args["by_hand"] is True
    assert finding(plan, "way").sentence.endswith("then name postgres-2 by hand")


def test_a_node_that_is_gone_is_declared_out_of_service_only_with_proof() -> None:
    """SSH does not answer: the taint is not among what is open, and says why; answered for, it comes first and names what it leaves."""
    overdue = in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=200)))
    facts = overdue(cut_off())
    assert "nothing proves that k3s-worker-1 is off: no route to host" in finding(plan_of(facts), "way-out-of-service").sentence
    plan = plan_of(facts, old_primary_is_off=True)
    assert names_of_steps(plan) == ["prove-stopped", "stop-primary", "promote", "verify-failover"]
    assert plan.steps[1].title == "Declare k3s-worker-1 out of service"
    assert finding(plan, "proof").weight is Weight.WARNING
    assert "the taint stays on k3s-worker-1" in finding(plan, "taint").sentence
    assert "deleting a pod stops nothing there" in finding(plan, "way-delete-pod").sentence


def test_a_host_that_answers_without_the_server_is_proof() -> None:
    """The node is NotReady, but its container runtime tells over SSH."""
    facts = with_(host=known(False))(in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=200)))(cut_off()))
    plan = plan_of(facts)
    assert names_of_steps(plan)[:2] == ["prove-stopped", "stop-primary"]
    assert "by its container runtime over SSH" in finding(plan, "proof").sentence
    assert "still runs there" in finding(plan_of(with_(host=known(True))(facts)), "way-out-of-service").sentence


def test_a_cut_off_node_needs_proof_where_the_lease_tells_nothing() -> None:
    """No lease, no SSH, no kubelet: it is refused until somebody answers for it."""
    facts = in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=200)), facts_with(lease=known(None)))(cut_off())
    plan = plan_of(facts)
    assert plan.outlook is Outlook.REFUSED
    assert plan.steps == ()
    assert "--old-primary-is-off (" not in plan.blocked
    assert "then answer for it with --old-primary-is-off" in plan.blocked
    assert not plan_of(facts, old_primary_is_off=True).blocked


def test_a_lease_left_alone_behind_a_cut_off_node_may_lose_what_is_written_there() -> None:
    """Two primaries are possible for whoever reaches the old one: said, with the outlook of a loss."""
    plan = plan_of(in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=200)))(cut_off()))
    assert names_of_steps(plan) == ["prove-stopped", "promote", "verify-failover"]
    assert finding(plan, "cut-off").outlook is Outlook.WOULD_LOSE
    assert "the run waits until 15 s have passed" in finding(plan, "proof").sentence


@pytest.mark.parametrize(
    ("rights", "way", "missing"),
    [
        (Rights(patch_status=False), "patch", "patch on clusters/status"),
        (Rights(delete_pods=False), "delete-pod", "delete on pods"),
    ],
)
def test_a_right_that_is_missed_closes_its_way(rights: Rights, way: str, missing: str) -> None:
    """Asked before anything is done."""
    plan = plan_of(with_(rights=rights)(killed()), way=way)
    assert plan.outlook is Outlook.REFUSED
    assert missing in finding(plan, "way").sentence


def test_a_way_that_is_asked_for_is_taken_where_it_is_open() -> None:
    """Naming one by hand while the operator could still do it itself."""
    assert names_of_steps(plan_of(killed(), way="patch")) == ["prove-stopped", "promote", "verify-failover"]
    assert names_of_steps(plan_of(killed(), way="delete-pod"))[0] == "stop-primary"


def test_in_an_emergency_waiting_is_the_last_choice() -> None:
    """The operator would elect by itself: waited for, unless --emergency says not to; where nothing else is open it is waited for all the same."""
    assert names_of_steps(plan_of(killed())) == ["promote", "verify-failover"]
    assert names_of_steps(plan_of(killed(), emergency=True)) == ["prove-stopped", "promote", "verify-failover"]
    nothing_else = with_(rights=Rights(patch_status=False, delete_pods=False))(killed())
    assert names_of_steps(plan_of(nothing_else, emergency=True)) == ["promote", "verify-failover"]


# ------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("change", "params", "code", "words"),
    [
        (in_pg(cluster_with(fenced=(OLD,))), {}, "fenced", "postgres-1 is fenced"),
        (in_pg(cluster_with(fenced=("*",))), {}, "fenced", "all instances are fenced"),
        (in_pg(cluster_with(hibernation="on")), {}, "hibernated", "cold-postgres is hibernated"),
        (in_pg(cluster_with(replica_cluster=True)), {}, "replica-cluster", "follows another cluster"),
        (in_pg(cluster_with(fenced=(BEST,))), {"to": BEST}, "unfit", "postgres-2 is fenced"),
        (in_pg(pod_with(BEST, is_ready=False, state="Pending")), {"to": BEST}, "unfit", "postgres-2 is not ready: Pending"),
        (in_pg(manager_with(BEST, system_id="9")), {"to": BEST}, "unfit", f"system ID {', '.join(sorted(('9', SYSTEM)))}"),
        (in_pg(sql_with(BEST, timeline=TIMELINE - 1)), {"to": BEST}, "unfit", f"is on timeline {TIMELINE - 1}, the cluster on {TIMELINE}"),
        (behind(BEST, SEGMENT), {"to": BEST}, "worse", "postgres-2 has received 16 MiB (16,777,216 bytes) less than postgres-3"),
        (in_pg(), {"to": OLD}, "same", "is the primary that is lost"),
    ],
)
def test_what_refuses_it(change: Change, params: dict[str, Any], code: str, words: str) -> None:
    """Each by itself, with its numbers and a remedy; nothing is left to confirm."""
    plan = plan_of(change(killed()), **params)
    found = finding(plan, code)
    assert (found.weight, found.outlook) == (Weight.STOP, Outlook.REFUSED)
    assert words in found.sentence
    assert found.remedy
    assert found.sentence in plan.blocked
    assert plan.steps == ()


def test_nobody_fit_is_said_for_each() -> None:
    """The rows say why."""
    facts = in_pg(pod_with(BEST, is_ready=False, state="Pending"), facts_with(managers={}))(killed())
    plan = plan_of(facts)
    assert finding(plan, "nobody").outlook is Outlook.REFUSED
    assert [(i.fate, i.why) for i in plan.items] == [
        (Fate.NEVER, "postgres-2 is not ready: Pending"),
        (Fate.NEVER, "postgres-3 does not answer at /pg/status: not asked"),
        (Fate.STAYS, "postgres-1 comes back as a standby, or is cloned anew"),
    ]


def test_a_primary_that_is_well_is_to_be_switched_over() -> None:
    """The emergency is for one that is lost."""
    plan = plan_of(well())
    assert finding(plan, "well").sentence == "postgres-1 is well: switch over instead"
    assert not [f for f in plan.findings if ".way" in f.code]
    assert finding(plan, "well").remedy == "coldtui postgres switchover --to postgres-2"
    assert plan.blocked


def test_a_fenced_primary_is_not_well() -> None:
    """It is not lost, and nobody is told to switch over from it: the fence is to be lifted."""
    plan = plan_of(in_pg(cluster_with(fenced=(OLD,)))(well()))
    assert finding(plan, "fenced").sentence.startswith("postgres-1 is fenced")
    assert not any("is well" in f.sentence for f in plan.findings)


def test_a_cluster_that_is_being_made_has_nothing_to_fail_over_from() -> None:
    """It is neither lost nor well."""
    plan = plan_of(in_pg(cluster_with(current_primary="", phase="Setting up primary"))(well()))
    assert finding(plan, "none").sentence == "cold-postgres has no primary yet"
    assert plan.blocked
    assert not any("is well" in f.sentence for f in plan.findings)


def test_nobody_is_promoted_beside_a_server_that_answers() -> None:
    """A manager that hangs renews no Lease, and its pod is not Ready; but its server is a primary still: its pod is deleted first."""
    lost = killed()
    plan = plan_of(in_pg(facts_with(sql={**lost.pg.sql, OLD: known(well().pg.status(OLD))}))(lost), way="patch")
    assert any("the server of postgres-1 still runs" in f.sentence for f in plan.findings)
    assert "promote" not in names_of_steps(plan) or plan.blocked


def test_an_operator_told_to_ignore_the_cluster_is_not_to_be_brought_back() -> None:
    """The remedy is the annotation's."""
    plan = plan_of(in_pg(cluster_with(reconciliation_disabled=True))(killed()))
    assert finding(plan, "service").remedy == "remove the annotation; the run waits for it"


def test_a_primary_of_which_nothing_can_be_read_is_not_evaluated() -> None:
    """Neither its pod nor its manager nor SQL: that is no proof of anything."""
    facts = in_pg(facts_with(pods=Unknown("pods", "needs list on pods")))(killed())
    plan = plan_of(facts)
    assert finding(plan, "primary-unread").outlook is Outlook.NOT_EVALUATED
    assert plan.blocked


# ------------------------------------------------------------ who


def test_the_best_has_received_most_then_replayed_most_then_the_first_name() -> None:
    """As the operator elects."""
    assert plan_of(killed()).steps[0].args["to"] == BEST
    assert plan_of(behind(BEST, 8)(killed())).steps[0].args["to"] == OTHER
    replays = in_pg(manager_with(BEST, replayed=HEAD - 8), sql_with(BEST, replayed=HEAD - 8))
    assert plan_of(replays(killed())).steps[0].args["to"] == OTHER


def test_a_worse_one_that_is_accepted_says_what_it_costs() -> None:
    """And is named by hand: the operator would elect the other."""
    plan = plan_of(behind(BEST, SEGMENT)(killed()), to=BEST, accept_worse_candidate=True)
    assert finding(plan, "worse").outlook is Outlook.WOULD_LOSE
    assert finding(plan, "way-wait").sentence == "not by wait: it would elect postgres-3"
    assert plan.steps[1].args["by_hand"] is True


def test_each_instance_has_a_row() -> None:
    """Who leads, who follows and who is lost; what each has, and where it is. The old primary goes where its pod is deleted."""
    plan = plan_of(killed())
    first, second, old = plan.items
    assert [(i.object.rpartition("/")[2], i.word) for i in plan.items] == [(BEST, "leads"), (OTHER, "follows"), (OLD, "lost")]
    assert (first.object, first.fate, second.fate, old.fate) == ("pods/database/postgres-2", Fate.GOES, Fate.STAYS, Fate.STAYS)
    assert plan_of(wedged()).items[2].fate is Fate.GOES
    assert [(i.word, i.fate) for i in plan_of(well()).items] == [("follows", Fate.STAYS), ("follows", Fate.STAYS), ("leads", Fate.STAYS)]
    told = dict(first.facts)
    assert told["received"] == told["replayed"] == lsn_text(HEAD)
    assert (told["timeline"], told["WAL receiver"], told["pod"]) == (str(TIMELINE), "stopped", "Running")
    assert told["node"]


def test_the_way_is_one_line_with_whom_it_kills_and_who_leads() -> None:
    """For each way; none where nothing can be confirmed."""
    overdue = in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=200)))
    assert plan_of(killed()).gist == "way wait: nothing is written, the operator elects, postgres-2 likely"
    assert plan_of(killed(), way="patch").gist == "way patch: once postgres-1 is proven stopped, postgres-2 is named and leads"
    assert plan_of(wedged()).gist == "way delete-pod: kills postgres-1, then the operator elects, postgres-2 likely"
    assert plan_of(operator_with(0)(wedged())).gist == "way delete-pod: kills postgres-1, then postgres-2 is named and leads"
    off = plan_of(overdue(cut_off()), old_primary_is_off=True)
    assert off.gist.startswith("way out-of-service: declares k3s-worker-1 out of service, then ")
    assert plan_of(well()).gist == ""


# ------------------------------------------------------------ the loss


def test_the_loss_by_what_was_last_seen_of_the_primary() -> None:
    """In bytes, with both positions and the source."""
    plan = plan_of(killed(), primary_lsn=lsn_text(HEAD + SEGMENT))
    found = finding(plan, "loss")
    assert found.sentence.startswith(
        "about 16 MiB (16,777,216 bytes) would be lost: postgres-1 had written up to 5/1000000 (as it was last seen)"
    )
    assert found.outlook is Outlook.WOULD_LOSE
    assert plan.steps[0].args["estimate"] == SEGMENT


def test_a_loss_that_cannot_be_known_is_never_nothing() -> None:
    """With the reason, and the least that it must be."""
    plan = plan_of(killed())
    assert finding(plan, "loss").sentence.startswith("what would be lost cannot be known: postgres-1 answers neither SQL nor /pg/status")
    assert plan.steps[0].args["estimate"] is None
    unfit = all_of(in_pg(pod_with(OTHER, is_ready=False, state="Pending")), behind(BEST, 4096))
    assert "at least 4 KiB (4,096 bytes), since postgres-3 has it" in finding(plan_of(unfit(killed())), "loss").sentence
    older = plan_of(killed(), primary_lsn=lsn_text(HEAD - 8))
    assert "postgres-2 has received more than what was last seen" in finding(older, "loss").sentence


def test_a_quorum_that_is_not_met_is_a_loss_with_numbers() -> None:
    """The operator would not elect; by hand it may be done."""
    sync = cluster_with(synchronous=Synchronous("any", 1, quorum=True))
    quorum = FailoverQuorum("database", "cold-postgres", "any", OLD, (BEST, OTHER), 1)
    facts = all_of(in_pg(sync, pod_with(OTHER, is_ready=False, state="Pending")), with_(quorum=known(quorum)))(killed())
    plan = plan_of(facts)
    assert "each commit is on 1 of 2 synchronous standbys, 1 can be elected" in finding(plan, "quorum").sentence
    assert finding(plan, "quorum").outlook is Outlook.WOULD_LOSE
    assert names_of_steps(plan) == ["prove-stopped", "promote", "verify-failover"]
    assert "the failover quorum is not met" in finding(plan, "way-wait").sentence


def test_an_archived_segment_is_a_least_for_the_position() -> None:
    """It was written to its end."""
    assert end_of_segment("000000070000000500000001") == 0x5_0200_0000
    assert end_of_segment("00000008.history") is None


def test_a_segment_of_another_timeline_is_no_least() -> None:
    """An old primary that rejoined goes on telling the last that it archived, further on and of a timeline that was left."""
    unseen = all_of(in_pg(pod_with(OTHER, is_ready=False, state="Pending")))(killed())
    for line, said in ((TIMELINE, True), (TIMELINE - 1, False)):
        wal = f"{line:08X}0000000500000009"
        sentence = finding(plan_of(in_pg(manager_with(OTHER, last_archived_wal=wal))(unseen)), "loss").sentence
        assert (f"segment {wal} is archived" in sentence) is said
    assert end_of_segment("000000070000000500000100") is None  # of segments of less than 16 MiB


def test_what_was_lost_is_a_least_and_never_a_false_nothing() -> None:
    """The old primary may have written more than what was last seen of it; a replica that has more than that shows that it did."""
    found = Promoted(BEST, TIMELINE + 1, None, returned=False)
    args = {"from": OLD, "end": HEAD + SEGMENT, "end_source": "as it was last seen", "estimate": SEGMENT}
    words = loss_words(args, found, HEAD)
    assert words.startswith("at least 16 MiB (16,777,216 bytes) of WAL lost: postgres-1 had written up to 5/1000000 (as it was last seen)")
    assert words.endswith("it was estimated at 16 MiB (16,777,216 bytes)")
    beyond = {**args, "end": HEAD - 8, "estimate": None}
    assert lost_in_short(beyond, HEAD) == "what was lost is not known"
    assert loss_words(beyond, found, HEAD) == (
        "what was lost is not known: postgres-2 had received more than what was last seen of postgres-1; it could not be estimated"
    )
    assert lost_in_short(args, HEAD + SEGMENT) == "no WAL is known to be lost"
    assert lost_in_short({**args, "end": None}, HEAD) == "what was lost is not known"


def test_a_loss_that_grew_by_more_than_a_segment_is_no_longer_agreed_to() -> None:
    """Between the confirmation and the start of the run; the wording alone makes nothing worse."""
    before = plan_of(killed(), primary_lsn=lsn_text(HEAD + SEGMENT))
    assert worse(before, plan_of(killed(), primary_lsn=lsn_text(HEAD + 2 * SEGMENT))) == ()
    (grown,) = worse(before, plan_of(killed(), primary_lsn=lsn_text(HEAD + 2 * SEGMENT + 1)))
    assert grown.startswith("about 32 MiB (33,554,433 bytes) would be lost")


def test_a_worse_candidate_that_fell_back_further_is_no_longer_agreed_to() -> None:
    """What was accepted is what the plan said, not whatever it has become."""
    chosen = {"to": BEST, "accept_worse_candidate": True}
    before = plan_of(behind(BEST, 1024)(killed()), **chosen)
    assert worse(before, plan_of(behind(BEST, 1024 + SEGMENT)(killed()), **chosen)) == ()
    grown = worse(before, plan_of(behind(BEST, 1025 + SEGMENT)(killed()), **chosen))
    assert any(text.startswith("postgres-2 has received 16 MiB (16,778,241 bytes) less than postgres-3") for text in grown)


def test_the_least_that_is_lost_may_not_grow_unseen_either() -> None:
    """What cannot be known has a least, which is what was agreed to."""
    unfit = in_pg(pod_with(OTHER, is_ready=False, state="Pending"))
    before = plan_of(all_of(unfit, behind(BEST, 4096))(killed()))
    (grown,) = worse(before, plan_of(all_of(unfit, behind(BEST, 4097 + SEGMENT))(killed())))
    assert grown.startswith("what would be lost cannot be known: ")
    assert finding(before, "loss").amount == 4096


def test_a_paused_replay_is_ended_by_the_promotion() -> None:
    """It is a warning, with what is left to replay."""
    held = in_pg(manager_with(BEST, replay_paused=True, replayed=HEAD - SEGMENT), sql_with(BEST, replayed=HEAD - SEGMENT))
    plan = plan_of(held(killed()), to=BEST)
    found = finding(plan, "paused")
    assert (found.weight, found.outlook) == (Weight.WARNING, Outlook.GO)
    assert "its promotion ends the pause, and replays 16 MiB (16,777,216 bytes) before it leads" in found.sentence
    assert plan.steps


def test_a_lower_timeline_of_a_control_file_is_not_kept_quiet() -> None:
    """Without SQL it rules nobody out, as it is old until a restartpoint; that it may have diverged is a warning."""
    silent = in_pg(manager_with(BEST, timeline=TIMELINE - 2), facts_with(sql=dict.fromkeys((OLD, BEST, OTHER), Unknown("sql", "no login"))))
    plan = plan_of(silent(killed()), to=BEST)
    assert (
        finding(plan, "branch").sentence
        == f"postgres-2 is on timeline {TIMELINE - 2} by its control file, the cluster on {TIMELINE}: it may have diverged"
    )
    assert not [f for f in plan_of(killed()).findings if f.code.endswith("branch")]


# ------------------------------------------------------------ signs


def test_failovers_that_were_begun_again_are_seen_in_the_events() -> None:
    """Each but the last has gone back to the old primary."""

    def begun(count: int) -> Event:
        message = f"Initiating a failover from {OLD}"
        first, last = NOW - timedelta(seconds=90), NOW - timedelta(seconds=1)
        return Event(
            "database", "e", "Normal", "FailingOver", message, "Cluster", "cold-postgres", "database", count, first, last, "operator"
        )

    case = Case(with_(events=known((begun(3),)))(killed()), Asked(), NOW)
    assert len(case.signs.turned_back) == 2
    assert "stalled" in case.codes
    assert case.chosen.way == "patch"
    assert Case(with_(events=known((begun(1),)))(killed()), Asked(), NOW).signs.turned_back == ()


def test_a_plan_that_stays_the_same_is_not_worse() -> None:
    """Two seconds later, with a little less to wait: the run begins."""
    facts = killed()
    before = plan_of(facts)
    assert worse(before, plan_of(in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=36)))(facts))) == ()
    assert worse(before, plan_of(in_pg(cluster_with(primary_failing_since=NOW - timedelta(seconds=75)))(facts)))


def test_moments_are_by_the_clock_of_the_api_server() -> None:
    """Ours is 30 s behind: the operator has had 64 s, which is too long."""
    plan = plan_of(with_(skew_s=30.0)(killed()))
    assert finding(plan, "waiting").sentence == "the operator has had 64 of 10 to 40 s: it should have promoted one"
    assert finding(plan, "way").sentence.startswith("by patch")


def test_what_was_replayed_from_the_archive_counts() -> None:
    """A standby whose receiver ended early may have gone on from the archive."""
    ahead = in_pg(manager_with(OTHER, replayed=HEAD + 512), sql_with(OTHER, replayed=HEAD + 512))
    assert plan_of(ahead(killed())).steps[0].args["to"] == OTHER


def test_replicas_that_had_more_are_not_waited_for() -> None:
    """They have diverged from the new timeline, by so many bytes."""
    stood = {OLD: 900, BEST: 500, OTHER: 700}
    assert ahead_of(stood, 500, (BEST, OLD)) == {OTHER: 200}
    assert ahead_of(stood, None, (BEST, OLD)) == {}


def test_a_container_of_the_server_is_found_among_those_of_its_host() -> None:
    """By pod and container; another instance or a sidecar is none."""
    pod = killed().pod
    assert pod is not None

    def listing(name: str, container: str) -> str:
        labels = {"io.kubernetes.pod.namespace": "database", "io.kubernetes.pod.name": name, "io.kubernetes.container.name": container}
        return json.dumps({"containers": [{"id": "1", "labels": labels}]})

    assert runs_in(listing(OLD, "postgres"), pod)
    assert not runs_in(listing(OLD, "plugin-barman-cloud"), pod)
    assert not runs_in(listing(BEST, "postgres"), pod)
    for broken in ("[]", "{}", '{"containers": 3}'):
        with pytest.raises(ValueError, match="no list"):
            runs_in(broken, pod)


def test_a_lease_that_was_given_back_is_proof() -> None:
    """It is released once the server is down."""
    running = in_pg(pod_with(OLD, containers=tuple(replace(c, state="running") for c in killed().pod.containers)))  # type: ignore[union-attr]
    plan = plan_of(all_of(running, free())(killed()), way="patch")
    assert "has given the lease back" in finding(plan, "proof").sentence


async def test_of_two_primaries_the_wrong_one_is_named_and_the_run_comes_first() -> None:
    """A fence needs the site's lock, which this very run holds; a fenced instance starts no server, so the fence is lifted at the end."""
    managers = {name: replace(found, is_primary=True, timeline=TIMELINE) for name in (OLD, BEST) if (found := well().pg.manager(name))}
    cluster = replace(killed().cluster, current_primary=BEST, target_primary=BEST)
    look = Look(cluster, None, managers, (BEST,), None, Unknown("operator", "not asked"))
    ctx = cast(RunContext, SimpleNamespace(run="20261124-170210-0001"))
    seen = Verifying(plan_of(killed()).steps[-1], ctx, FailoverPace(), BEST, TIMELINE, OLD, killed().pg)
    assert await seen._not_leading(look) == (
        "one primary: postgres-1 and postgres-2 both say that they are; cancel this run first (coldtui run cancel 20261124-170210-0001), "
        "then fence postgres-1, delete its pod, and unfence it: coldtui postgres fence postgres-1"
    )


def test_a_lease_is_left_alone_only_while_its_holder_could_have_renewed_it() -> None:
    """Time in which the API was away, or in which nobody looked, is no time without a renewal."""
    lease = HeldLease("database", "cold-postgres", OLD, "17", NOW, 15)
    watch = Watch()
    for second in range(14):
        watch.see(lease, float(second))
    assert watch.left_s == 2.0
    watch.see(lease, 60.0)  # one long look elsewhere counts as one renewal that was missed
    assert watch.left_s == 0.0
    watch.away()
    watch.see(lease, 90.0)
    assert watch.left_s == 15.0
    watch.see(replace(lease, renewed=NOW + timedelta(seconds=1)), 91.0)
    assert (watch.left_s, watch.renewals) == (15.0, 1)
