"""Clusters of every shape and in every trouble: what is judged of each, in one table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coldtui.domain import pgverdicts
from coldtui.domain.elections import candidates, in_order, some_manager_answers
from coldtui.domain.failover import delay_s, lost_primary, prospect
from coldtui.domain.failover_signs import answers, follow, lost_for, nothing, prospect_of, settling, signs_of
from coldtui.domain.losses import last_position
from coldtui.domain.postgres import PgCluster
from coldtui.domain.problems import Severity
from coldtui.domain.readings import Known
from coldtui.domain.topology import Topology, cluster_of, primary_of, topology
from coldtui.domain.world import World
from tests import clusters
from tests.sample import NOW
from tests.tui.screens import pg_states as states

P1, P2 = "postgres-1", "postgres-2"
NO_PRIMARY = "none yet: it has no primary"
FOLLOWS = "none to a writable primary: it follows another cluster"
NO_COPY = "all: there is no replica"
WHOLE, PART_OF = "postgres-2 has all", "postgres-2 has most"
CRASHED = "postgres-1 is not ready: CrashLoopBackOff"
HANGS = "postgres-1 does not answer: postgres-1 did not answer within 2 s; the pod does not answer within 2 s"
Expected = tuple[str, str, str, str]
"""(grade and word of the verdict, primary, what becomes of a failover, loss)."""

TABLE: dict[Callable[[], World], Expected] = {
    # one instance
    clusters.one: ("good healthy", P1, "well: no-replica", NO_COPY),
    clusters.one_down: ("bad primary down", P1, f"{CRASHED}: no-replica", NO_COPY),
    clusters.one_without_pod: ("bad primary down", P1, "postgres-1 has no pod: no-replica", NO_COPY),
    clusters.fenced_one: ("bad fenced", P1, "postgres-1 is not ready: fenced, no-replica", NO_COPY),
    # two, and two of three
    clusters.two: ("good healthy", P1, "well", WHOLE),
    clusters.two_lost: ("bad primary down", P1, f"{CRASHED} (10 to 40 s)", WHOLE),
    clusters.two_both_lost: ("bad primary down", P1, f"{CRASHED}: no-replica", "what the replicas have received is not known"),
    clusters.two_of_three: ("part degraded", P1, "well", WHOLE),
    clusters.two_of_three_lost: ("bad primary down", P1, f"{CRASHED} (10 to 40 s)", WHOLE),
    # being made, restored, upgraded; following another one
    clusters.asked_for: ("unknown unknown", "", NO_PRIMARY, "not asked"),
    clusters.setting_up: ("part setting up", "", NO_PRIMARY, "there is no primary"),
    clusters.restoring: ("part setting up", "", NO_PRIMARY, "there is no primary"),
    clusters.joining: ("part adding replica", P1, "well: no-replica", NO_COPY),
    clusters.upgrading: (
        "part upgrading", P1, "none while it is upgraded: all its pods are away on purpose", "no instance runs while it is upgraded",
    ),
    clusters.replica_cluster: ("good healthy", P1, FOLLOWS, "it follows another cluster"),
    clusters.replica_cluster_headless: ("bad primary down", P1, FOLLOWS, "it follows another cluster"),
    states.hibernated: ("off hibernated", P1, "none while it is hibernated", "not asked"),
    # three, each in another trouble
    states.site: ("good healthy", P1, "well", WHOLE),
    states.standby_lost: ("part degraded", P1, "well", WHOLE),
    states.receiver_held: ("bad failing over", P1, f"{CRASHED}: receiver (10 to 40 s)", PART_OF),
    states.electing: ("bad failing over", P1, f"{CRASHED} (10 to 40 s)", PART_OF),
    states.operator_down: ("bad primary down", P1, f"{CRASHED}: operator", PART_OF),
    states.fenced: ("bad fenced", P1, "postgres-1 is not ready: fenced", WHOLE),
    states.ignored: ("part switchover ignored", P1, "well: operator", WHOLE),
    states.archiver_fails: ("bad not archiving", P1, "well", WHOLE),
    states.two_primaries: ("bad two primaries", P2, "well: two-primaries", "nobody follows postgres-2"),
    states.wedged: ("bad primary silent", P1, f"{HANGS}: wedged, status-check", PART_OF),
    states.status_cut: ("part degraded", P1, "well: status-check", WHOLE),
    states.unready: ("bad primary down", P1, "postgres-1 is not ready: unready", WHOLE),
    states.quorum_not_met: ("bad primary down", P1, f"{CRASHED}: quorum", "postgres-3 has most"),
    states.refused: ("good healthy", P1, "well", WHOLE),
    states.api_down: ("unknown unknown", P1, "not known: its Cluster was never read", WHOLE),
    states.api_paused: ("unknown unknown", P1, "well", WHOLE),
    states.busy: ("bad not archiving", P1, "well", WHOLE),
}  # fmt: skip


def outlook(world: World, t: Topology, c: PgCluster) -> str:
    found = prospect_of(world, t, NOW)
    if found is None:
        return nothing(world, c)
    causes = ", ".join(cause.code for cause in found.causes)
    span = f" ({found.expected_s[0]} to {found.expected_s[1]} s)" if found.expected_s is not None else ""
    return f"{found.lost or 'well'}{': ' if causes else ''}{causes}{span}"


def loss(t: Topology) -> str:
    if not isinstance(t.loss.octets, Known):
        return t.loss.octets.reason
    return f"{t.loss.best} has {'all' if t.loss.octets.value == 0 else 'most'}"


@pytest.mark.parametrize("shape", TABLE, ids=lambda f: f.__name__)
def test_what_is_judged(shape: Callable[[], World]) -> None:
    """Of each: the verdict, who is primary, what becomes of a failover, and what a loss would cost."""
    world = shape()
    c = cluster_of(world)
    assert c is not None
    t, verdict = topology(world, c, NOW), pgverdicts.verdict(world, c, NOW)
    assert (f"{verdict.grade.name.lower()} {verdict.word}", t.primary, outlook(world, t, c), loss(t)) == TABLE[shape]


@pytest.mark.parametrize("shape", TABLE, ids=lambda f: f.__name__)
def test_every_function_has_an_answer(shape: Callable[[], World]) -> None:
    """Also of a cluster that its faces would not ask about: nothing raises, and each remedy names its acts in the words of a face."""
    world = shape()
    c = cluster_of(world)
    assert c is not None
    t, signs = topology(world, c, NOW), signs_of(world, c, NOW)
    found = prospect(signs)
    assert primary_of(world, c, NOW) == t.primary
    assert bool(found.lost) == bool(lost_primary(signs)[0])
    assert set(candidates(signs)) <= set(signs.replicas)
    assert set(in_order(signs)) <= set(c.instance_names)
    assert some_manager_answers(signs) or not in_order(signs)
    assert delay_s(c) == 0
    assert settling(c) == (shape is states.ignored)
    gone = lost_for(world, t, found, NOW)
    assert (gone is not None) <= bool(found.lost)
    assert not (answers(world, c.current_primary, NOW) and found.lost) or shape is states.unready
    assert (last_position(world, "postgres-9"), follow(world.pg_watched, c, c, NOW, gap=False).turned_back) == (None, ())
    for cause in found.causes:
        said = cause.advice(lambda act: f"<{act.name}>")
        assert all(act.words in cause.remedy and f"<{act.name}>" in said for act in cause.acts)
        assert cause.remedy
        assert "coldtui" not in cause.remedy
    for m in t.members:
        assert m.answers <= (m.told is not None)


AS_MEANT = (
    clusters.one, clusters.two, clusters.two_of_three, clusters.asked_for, clusters.setting_up, clusters.restoring, clusters.joining,
    clusters.upgrading, clusters.replica_cluster, states.hibernated,
)  # fmt: skip


@pytest.mark.parametrize("shape", AS_MEANT, ids=lambda f: f.__name__)
def test_what_is_meant_so_is_no_contradiction(shape: Callable[[], World]) -> None:
    """A cluster that is made, restored, upgraded, put to sleep, or follows another one has no sources that contradict each other."""
    world = shape()
    assert [p.sentence for p in topology(world, cluster_of(world), NOW).problems if p.severity is Severity.CRITICAL] == []


def test_each_shape_is_in_the_table() -> None:
    """A new shape has to be judged."""
    assert set(clusters.SHAPES) <= set(TABLE)
