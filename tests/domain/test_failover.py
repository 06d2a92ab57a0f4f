"""Why the operator would not fail over: causes, the order of its election, and what is to be expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.elections import in_order
from coldtui.domain.failover import Cause, Prospect, Signs, candidates, prospect
from coldtui.domain.failover_signs import KEPT, follow
from coldtui.domain.objects import Condition
from coldtui.domain.postgres import FAILING_OVER, HEALTHY, PgCluster, Synchronous
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import FailoverQuorum, ManagerStatus, PrimaryLease, Watched
from tests.sample import NOW, build, healthy
from tests.topologies import server

WORLD = build(healthy())
CLUSTER = WORLD.pg_clusters.items["cold/cold-postgres"]
PODS = {name: WORLD.pods.items[f"cold/{name}"] for name in CLUSTER.instance_names}
OPERATOR = next(d for d in WORLD.deployments.items.values() if d.name.startswith("cnpg-controller-manager"))
REFUSED = Unknown("manager", "connection refused")


def known(value: Any) -> Known[Any]:
    return Known(value, "test", NOW)


def standby(name: str, received: int = 100, **more: Any) -> Known[ManagerStatus]:
    return known(ManagerStatus(name, False, "7", received=received, replayed=received, receiver_active=False, **more))


def primary(**more: Any) -> Known[ManagerStatus]:
    return known(ManagerStatus("postgres-1", True, "7", 7, 100, **more))


def signs(cluster: Mapping[str, Any] | None = None, pods: Mapping[str, Mapping[str, Any] | None] | None = None, **more: Any) -> Signs:
    """postgres-1 is gone and its pod is not Ready, the others are well; changes on top."""
    changed = {"postgres-1": {"is_ready": False, "state": "CrashLoopBackOff"}, **(pods or {})}
    found = {n: replace(p, **(changed.get(n) or {})) for n, p in PODS.items() if n not in changed or changed[n] is not None}
    base: dict[str, Any] = {
        "managers": {"postgres-1": REFUSED, "postgres-2": standby("postgres-2"), "postgres-3": standby("postgres-3")},
        "sql": {}, "operator": known(OPERATOR), "lease": known(PrimaryLease("postgres-1", NOW - timedelta(seconds=60), 15)), "quorum": known(None),
        "check_failed": known(None),
    }  # fmt: skip
    return Signs(replace(CLUSTER, **(cluster or {})), NOW, found, **(base | more))


def well(**more: Any) -> Signs:
    managers = {"postgres-1": primary(), "postgres-2": standby("postgres-2"), "postgres-3": standby("postgres-3")}
    return signs(pods={"postgres-1": {}}, **({"managers": managers} | more))


def told(s: Signs) -> dict[str, str]:
    return {cause.code: cause.sentence for cause in prospect(s).causes}


def only(s: Signs) -> Cause:
    (cause,) = prospect(s).causes
    return cause


def test_a_lost_primary_is_replaced() -> None:
    """Nothing stands against it: what is lost is named, and how long it takes."""
    found = prospect(signs())
    assert found == Prospect("postgres-1 is not ready: CrashLoopBackOff", (), (), (10, 40), found.since, "")
    assert prospect(well()) == Prospect("", (), (), None, None, "")


@pytest.mark.parametrize(
    ("phase", "held"),
    [
        ("Not enough disk space", True), ("Cluster has incomplete or invalid image catalog", True), ("Invalid cluster definition", True),
        ("Primary instance is being restarted without a switchover", True), ("Primary instance is being restarted in-place", False),
        ("Cluster is unrecoverable and needs manual intervention", False), ("Creating a new replica", False), (HEALTHY, False),
    ],
)  # fmt: skip
def test_phases(phase: str, held: bool) -> None:
    """Only those in which the loop of the operator ends before it looks at the primary, or waits for its restart."""
    assert ("phase" in told(signs({"phase": phase}))) is held


def test_an_election_that_turns_back() -> None:
    """While a receiver runs `pending` is taken back each second: that is an election, and only after 30 s one that does not end."""
    turned = tuple(NOW - timedelta(seconds=s) for s in range(12, 0, -1))
    found = prospect(signs({"phase": FAILING_OVER}, turned_back=turned))
    assert (found.causes, found.under_way) == ((), "electing")
    long = tuple(NOW - timedelta(seconds=s) for s in range(40, 0, -1))
    assert "went back to postgres-1 40 times in 40 s" in told(signs({"phase": FAILING_OVER}, turned_back=long))["stalled"]
    assert told(signs(turned_back=(NOW - timedelta(minutes=9),))) == {}
    anew = {"phase": FAILING_OVER, "current_primary_since": NOW - timedelta(seconds=20)}
    assert "stalled" not in told(signs(anew, turned_back=long[:15])), "those were of its last reign"


def test_turns_are_kept_for_as_long_as_they_count() -> None:
    """One turn a second for a minute: the first of them is still known, and their number has a limit."""
    pending = replace(CLUSTER, target_primary="pending", phase=FAILING_OVER)
    back = replace(CLUSTER, phase=FAILING_OVER)
    watched = Watched()
    for second in range(60):
        at = NOW + timedelta(seconds=second)
        watched = follow(follow(watched, back, pending, at, gap=False), pending, back, at, gap=False)
    assert (watched.turned_back[0], len(watched.turned_back)) == (NOW, 60)
    assert KEPT >= 300


@pytest.mark.parametrize(
    ("cluster", "word"),
    [
        ({"target_primary": "pending"}, "electing"),
        ({"phase": FAILING_OVER}, "electing"),
        ({"phase": FAILING_OVER, "target_primary": "postgres-3"}, "postgres-3"),
        ({"phase": "Switchover in progress", "target_primary": "postgres-3"}, ""),
    ],
)
def test_what_is_under_way(cluster: dict[str, Any], word: str) -> None:
    """An election between two of its turns is one."""
    assert prospect(signs(cluster)).under_way == word


def test_a_new_primary_in_the_old_phase_is_no_election() -> None:
    """After a failover the phase stays until all is well again."""
    managers = {"postgres-1": primary(), "postgres-2": standby("postgres-2"), "postgres-3": REFUSED}
    assert prospect(well(cluster={"phase": FAILING_OVER}, managers=managers)).under_way == ""


def test_the_first_in_line_is_not_ready() -> None:
    """The operator waits for the one that has received most, though another is ready; without its pod the next one is first."""
    managers = {"postgres-1": REFUSED, "postgres-2": standby("postgres-2"), "postgres-3": standby("postgres-3", 200)}
    unready = {"is_ready": False, "state": "Running"}
    found = signs(managers=managers, pods={"postgres-3": unready})
    assert (in_order(found), candidates(found)) == (("postgres-3", "postgres-2"), ("postgres-2",))
    assert only(found).code == "unready"
    assert "postgres-3 is first in line and answers, and its pod is not Ready" in only(found).sentence
    assert told(signs(managers=managers, pods={"postgres-3": {**unready, "deleted": NOW}})) == {}
    assert told(signs(managers=managers, pods={"postgres-3": {**unready, "phase": "Pending"}})) == {}


def test_a_primary_that_answers_and_is_not_ready() -> None:
    """It is first in line itself: nobody else is elected while it answers as primary."""
    managers = {"postgres-1": primary(), "postgres-2": standby("postgres-2"), "postgres-3": standby("postgres-3", 200)}
    assert "postgres-1 answers as primary while its pod is not Ready" in told(signs(managers=managers))["unready"]


def test_what_a_new_primary_said_as_a_standby() -> None:
    """Named primary a second ago, its answers of before that moment say nothing of it; later ones do."""
    managers = {"postgres-1": standby("postgres-1"), "postgres-2": standby("postgres-2"), "postgres-3": standby("postgres-3")}
    new = {"current_primary_since": NOW - timedelta(seconds=1)}
    assert prospect(signs(new, pods={"postgres-1": {}}, managers=managers)).lost == ""
    old = {"current_primary_since": NOW - timedelta(seconds=10)}
    assert prospect(signs(old, pods={"postgres-1": {}}, managers=managers)).lost == "postgres-1 says that it is a replica"


def test_nobody_to_elect() -> None:
    """Each replica with its reason."""
    found = told(
        signs({"fenced": ("postgres-2",)}, managers={"postgres-2": standby("postgres-2", might_be_unavailable=True), "postgres-3": REFUSED})
    )
    assert "postgres-2: fenced; postgres-3: connection refused" in found["no-replica"]


def test_two_primaries() -> None:
    """The remedy stops the wrong one and makes a standby of it."""
    managers = {
        "postgres-1": primary(),
        "postgres-2": known(ManagerStatus("postgres-2", True, "7", 8, 100)),
        "postgres-3": standby("postgres-3"),
    }
    cause = only(well(managers=managers))
    assert cause.code == "two-primaries"
    assert (
        cause.remedy
        == "fence postgres-2, delete its pod, then unfence it: it comes back as a standby, and what it wrote on timeline 8 is lost"
    )
    assert [(act.name, act.object) for act in cause.acts] == [("postgres.fence", "postgres-2"), ("postgres.unfence", "postgres-2")]


def test_a_pod_that_is_ready_and_does_not_answer() -> None:
    """The operator waits; with a manager that renews the lease it will neither stop nor be replaced."""
    ready = {"postgres-1": {"is_ready": True}}
    assert set(told(signs(pods=ready))) == {"status-check"}
    renewing = known(PrimaryLease("postgres-1", NOW - timedelta(seconds=2), 15))
    assert set(told(signs(pods=ready, lease=renewing))) == {"wedged", "status-check"}
    said = told(signs(pods={"postgres-1": {"is_ready": True, "deleted": NOW}}))
    assert said == {}
    serves = {"postgres-1": known(server(primary=True))}
    assert only(signs(pods=ready, sql=serves)).remedy == "see the log of postgres-1, and what bars its port 8000"


def test_a_restart_in_place_is_no_outliving() -> None:
    """A container that has just begun renews the Lease in the name of the one that died with its server: it starts that again."""
    alive = known(PrimaryLease("postgres-1", NOW - timedelta(seconds=2), 15))
    box = replace(PODS["postgres-1"].containers[0], started=NOW - timedelta(seconds=5), init=False)
    fallen = {"is_ready": False, "state": "Running", "ready_since": NOW - timedelta(seconds=40)}
    assert told(signs(pods={"postgres-1": {**fallen, "containers": (box,)}}, lease=alive)) == {}
    old = replace(box, started=NOW - timedelta(seconds=600))
    assert set(told(signs(pods={"postgres-1": {**fallen, "containers": (old,)}}, lease=alive))) == {"wedged"}


def test_a_manager_that_outlives_its_server() -> None:
    """Its pod is not Ready any more and the operator elects; but the Lease is renewed on, so nobody will be promoted (issue 11348)."""
    since = {"postgres-1": {"is_ready": False, "state": "Running", "ready_since": NOW - timedelta(seconds=40)}}
    named = {"phase": FAILING_OVER, "target_primary": "postgres-2"}
    alive = known(PrimaryLease("postgres-1", NOW - timedelta(seconds=3), 15))
    found = prospect(signs(named, pods=since, lease=alive))
    assert [cause.code for cause in found.causes] == ["wedged"]
    assert "whoever is elected waits for it without end" in found.causes[0].sentence
    died = known(PrimaryLease("postgres-1", NOW - timedelta(seconds=39), 60))
    assert told(signs(named, pods=since, lease=died)) == {}


def test_a_fence_and_a_restart_in_place() -> None:
    """Both leave the primary as it is."""
    assert "postgres-1 is fenced" in told(signs({"fenced": ("postgres-1",)}))["fenced"]
    managers = {"postgres-1": primary(might_be_unavailable=True), "postgres-2": standby("postgres-2"), "postgres-3": standby("postgres-3")}
    assert "or is restarted in place" in told(signs(managers=managers))["fenced"]


def test_hibernation_waits_for_health() -> None:
    """Until the cluster is healthy the operator goes on as ever, and fails over."""
    waiting = Condition("cnpg.io/hibernation", "False", "WaitingForHealthy", "", NOW)
    assert told(signs({"hibernation": "on", "conditions": (waiting,)})) == {}
    assert set(told(signs({"hibernation": "on"}))) == {"hibernated"}


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"failover_delay_s": 60}, "waits 50 s more (spec.failoverDelay 60 s)"),
        ({"phase": "Online upgrade in progress"}, "waits 20 s more (during an online upgrade 30 s)"),
    ],
)
def test_a_delay_ends_by_itself(cluster: dict[str, Any], words: str) -> None:
    """With the moment of its end."""
    found = prospect(signs({**cluster, "primary_failing_since": NOW - timedelta(seconds=10)}))
    assert words in found.causes[0].sentence
    assert found.causes[0].until is not None
    assert found.expected_s is not None


def test_a_quorum() -> None:
    """R + W > N, by the standbys that can be elected."""
    wants: dict[str, Any] = {"synchronous": Synchronous("any", 1, quorum=True)}
    names = ("postgres-2", "postgres-3", "postgres-4")
    quorum = known(FailoverQuorum("cold", "cold-postgres", "any", "postgres-1", names, 1))
    sentence = told(signs(wants, quorum=quorum))["quorum"]
    assert "only on postgres-4 (no pod); each commit is on 1 of 3 synchronous standbys, 2 can be elected" in sentence
    met = known(FailoverQuorum("cold", "cold-postgres", "any", "postgres-1", names[:2], 1))
    assert told(signs(wants, quorum=met)) == {}
    assert "none is recorded" in told(signs(wants))["quorum"]


def test_a_receiver_that_runs() -> None:
    """Named while an election waits for it, and not before."""
    managers = {
        "postgres-1": REFUSED,
        "postgres-2": known(ManagerStatus("postgres-2", False, "7", received=1, receiver_active=True)),
        "postgres-3": standby("postgres-3"),
    }
    assert "WAL receiver of postgres-2" in told(signs({"target_primary": "pending"}, managers=managers))["receiver"]
    assert told(signs(managers=managers)) == {}


def test_a_receiver_ends_by_itself_at_first() -> None:
    """Each death of a node passes this stage: for 30 s from the beginning of the election it ends alone, after that it does not."""
    held = {
        "postgres-1": REFUSED,
        "postgres-2": standby("postgres-2"),
        "postgres-3": known(ManagerStatus("postgres-3", False, "7", receiver_active=True)),
    }

    def after(seconds: float, *turned_back: float) -> Prospect:
        begun = {"target_primary": "pending", "target_primary_since": NOW - timedelta(seconds=seconds)}
        return prospect(signs(begun, managers=held, turned_back=tuple(NOW - timedelta(seconds=s) for s in turned_back)))

    early = after(12)
    assert early.causes[0].sentence == "waits for the WAL receiver of postgres-3 to end, usually within 5 s of the primary"
    assert early.causes[0].until == NOW + timedelta(seconds=18)
    assert early.expected_s == (10, 40)
    late = after(31)
    assert (late.causes[0].code, late.causes[0].until, late.expected_s) == ("receiver", None, None)
    assert late.causes[0].remedy == "see that the old primary postgres-1 is stopped"
    assert [cause.code for cause in after(1, 32, 1).causes] == ["stalled", "receiver"]


def test_our_acts_in_a_remedy() -> None:
    """Each face says them in its own way; with a primary that is well there is nothing to fail over, and the plan of a failover does not name itself."""
    down = known(replace(OPERATOR, available=0))
    lost = only(signs(operator=down))
    assert lost.remedy == f"bring deployment {OPERATOR.key} back, or fail over"
    assert lost.advice(lambda act: f"`x: {act.words}`") == f"bring deployment {OPERATOR.key} back, or `x: fail over`"
    assert lost.besides == f"bring deployment {OPERATOR.key} back"
    calm = only(well(operator=down))
    assert (calm.remedy, calm.acts) == (f"bring deployment {OPERATOR.key} back", ())
    fenced = next(iter(prospect(signs({"fenced": ("postgres-1",)})).causes))
    assert fenced.advice(lambda act: f"coldtui postgres unfence {act.object}") == "coldtui postgres unfence postgres-1"
    renewing = known(PrimaryLease("postgres-1", NOW - timedelta(seconds=2), 15))
    wedged = prospect(signs(pods={"postgres-1": {"is_ready": True}}, lease=renewing)).causes[0]
    assert (wedged.code, wedged.besides) == ("wedged", "")


def test_a_quorum_names_who_has_to_come_back() -> None:
    """Of those that are away one is enough, or all are needed, or it is the lost primary itself."""
    wants: dict[str, Any] = {"synchronous": Synchronous("any", 1, quorum=True)}

    def remedy(number: int, *names: str) -> str:
        away = {"postgres-2": {"is_ready": False, "state": "Pending"}}
        quorum = known(FailoverQuorum("cold", "cold-postgres", "any", "postgres-1", names, number))
        return next(cause.remedy for cause in prospect(signs(wants, away, quorum=quorum)).causes if cause.code == "quorum")

    assert remedy(1, "postgres-2", "postgres-3") == "bring postgres-2 back, or fail over"
    assert remedy(2, "postgres-2", "postgres-3", "postgres-4") == "bring postgres-2 or postgres-4 back, or fail over"
    assert remedy(1, "postgres-2", "postgres-3", "postgres-4") == "bring postgres-2 and postgres-4 back, or fail over"
    assert remedy(2, "postgres-2", "postgres-3", "postgres-4", "postgres-5").startswith(
        "bring 2 of postgres-2, postgres-4 and postgres-5 back"
    )
    assert remedy(1, "postgres-1", "postgres-3") == "bring postgres-1 back, or fail over"


def test_the_operator_is_away() -> None:
    """Down, ignoring, or not read: the last is no cause, and said as what may hide one."""
    down = known(replace(OPERATOR, available=0))
    assert "operator is down" in told(signs(operator=down))["operator"]
    assert set(told(signs({"reconciliation_disabled": True}))) == {"disabled"}
    found = prospect(signs(operator=Unknown("deployments", "forbidden")))
    assert (found.causes, found.blind) == ((), ("whether the operator runs (forbidden)",))


def test_it_is_a_cluster() -> None:
    """The sample is what these tests change."""
    assert isinstance(CLUSTER, PgCluster)
    assert (CLUSTER.current_primary, CLUSTER.phase) == ("postgres-1", HEALTHY)


def test_nobody_answers_us() -> None:
    """Where no instance lets us in, that is our way to them: the pods are all that counts, nothing is called lost, and the screen says what is not known."""
    nobody = {"managers": dict.fromkeys(PODS, REFUSED), "sql": dict.fromkeys(PODS, Unknown("sql", "password authentication failed"))}
    found = prospect(well(**nobody))
    assert (found.lost, found.causes) == ("", ())
    assert any("/pg/status (connection refused)" in words for words in found.blind)
    down = {name: {"is_ready": False, "state": "CrashLoopBackOff"} for name in ("postgres-2", "postgres-3")}
    found = prospect(signs(pods={"postgres-1": {}, **down}, **nobody))
    assert found.lost == ""
    assert "postgres-2: CrashLoopBackOff" in told(signs(pods={"postgres-1": {}, **down}, **nobody))["no-replica"]


def test_a_node_that_died_looks_like_a_wedged_server_at_first() -> None:
    """Until the silence of the kubelet or a renewal after the primary's last word tells, no pod is to be deleted: seen on a real node without power."""
    ready, renewed = (
        {"postgres-1": {"is_ready": True}},
        PrimaryLease("postgres-1", NOW - timedelta(seconds=9), 15, NOW - timedelta(seconds=11)),
    )
    died: dict[str, Any] = {
        "pods": ready,
        "lease": known(renewed),
        "node_heard": NOW - timedelta(seconds=5),
        "last_word": NOW - timedelta(seconds=8),
    }
    early = prospect(signs(**died))
    assert "shows within 12 s" in early.causes[0].sentence
    assert early.causes[0].until is not None
    assert early.expected_s == (10, 40)
    quiet = prospect(signs(**{**died, "node_heard": NOW - timedelta(seconds=24), "last_word": NOW - timedelta(seconds=20)}))
    assert "silent for 24 s" in quiet.causes[0].sentence
    assert quiet.causes[0].until == NOW + timedelta(seconds=26)
    assert quiet.expected_s == (60, 110)
    before = PrimaryLease("postgres-1", NOW - timedelta(seconds=9), 15, NOW - timedelta(seconds=22))
    lives: dict[str, Any] = {
        "pods": ready,
        "lease": known(before),
        "node_heard": NOW - timedelta(seconds=3),
        "last_word": NOW - timedelta(seconds=20),
    }
    assert set(told(signs(**lives))) == {"status-check"}, "the lease was not seen to be renewed since: no wedge"
    since = PrimaryLease("postgres-1", NOW - timedelta(seconds=2), 15, NOW - timedelta(seconds=4))
    assert set(told(signs(**{**lives, "lease": known(since)}))) == {"wedged", "status-check"}
