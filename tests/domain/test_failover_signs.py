"""The signs of a failover as the World has them: only what is known to be true now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from immutables import Map

from coldtui.domain.failover import prospect
from coldtui.domain.failover_signs import follow, lost_for, prospect_of, signs_of
from coldtui.domain.postgres import PgCluster
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import Watched
from coldtui.domain.topology import topology
from coldtui.domain.world import World
from tests.sample import NOW, build
from tests.tui.screens import pg_states as states


def mine(world: World) -> PgCluster:
    return world.pg_clusters.items["cold/cold-postgres"]


def causes(world: World) -> list[str]:
    found = prospect_of(world, topology(world, mine(world), NOW), NOW)
    assert found is not None
    return [cause.code for cause in found.causes]


def test_each_scenario_has_its_cause() -> None:
    """What the lab can do to a failover is named by its code, from the World alone."""
    assert causes(states.site()) == []
    assert causes(states.electing()) == []
    assert causes(states.operator_down()) == ["operator"]
    assert causes(states.fenced())[0] == "fenced"
    assert causes(states.wedged())[0] == "wedged"
    assert causes(states.quorum_not_met())[0] == "quorum"
    assert causes(states.two_primaries()) == ["two-primaries"]


def test_old_answers_prove_nothing() -> None:
    """With the API silent for 42 s its objects, /pg/status and the Lease count as not known, and a primary that answers SQL is not lost."""
    world = states.api_paused()
    signs = signs_of(world, mine(world), NOW)
    assert signs.pods is None
    assert all(isinstance(reading, Unknown) for reading in signs.managers.values())
    assert isinstance(signs.lease, Unknown)
    assert isinstance(signs.operator, Unknown)
    found = prospect_of(world, topology(world, mine(world), NOW), NOW)
    assert found is not None
    assert found.lost == ""
    assert len(found.blind) >= 3


def test_an_answer_from_before_the_pod_fell_is_none() -> None:
    """At the moment of its death the last answers of a primary do not make it alive."""
    world = states.electing()
    fell = next(p.ready_since for p in world.pods.items.values() if p.name == "postgres-1")
    assert fell is not None
    at = fell + timedelta(milliseconds=300)
    answered = Known(states.told("postgres-1"), "manager", fell - timedelta(milliseconds=200))
    world = replace(world, pg_managers=world.pg_managers.set("cold/postgres-1", answered), pg_sql=Map())
    assert isinstance(signs_of(world, mine(world), at).managers["postgres-1"], Unknown)
    later = replace(answered, as_of=fell + timedelta(seconds=2))
    world = replace(world, pg_managers=world.pg_managers.set("cold/postgres-1", later))
    assert isinstance(signs_of(world, mine(world), fell + timedelta(seconds=3)).managers["postgres-1"], Known)


def test_how_long_it_is_gone() -> None:
    """From its last word, or from when the operator saw it fail where that is later."""
    for made, seconds in ((states.electing, 12), (states.wedged, 50)):
        world = made()
        t = topology(world, mine(world), NOW)
        found = prospect_of(world, t, NOW)
        assert found is not None
        assert lost_for(world, t, found, NOW) == timedelta(seconds=seconds)


def test_what_was_seen_of_the_cluster() -> None:
    """The beginning of a phase counts as seen without a gap only, and an election that turns back is kept."""
    c = mine(states.site())
    first = follow(Watched(), None, c, NOW, gap=False)
    assert (first.phase, first.phase_since, first.phase_seen) == (c.phase, NOW, False)
    later, failing = NOW + timedelta(seconds=9), replace(c, phase="Failing over", target_primary="pending")
    second = follow(first, c, failing, later, gap=False)
    assert (second.phase_since, second.phase_seen) == (later, True)
    assert not follow(first, c, failing, later, gap=True).phase_seen
    back = replace(failing, target_primary=c.current_primary)
    assert follow(second, failing, back, later, gap=False).turned_back == (later,)
    won = replace(failing, target_primary="postgres-2", current_primary="postgres-2")
    assert follow(second, failing, won, later, gap=False).turned_back == ()
    stuck = follow(second, failing, back, later, gap=False)
    assert follow(stuck, back, won, later, gap=False).turned_back == (), "of an election that is over nothing is left for the next"


def test_a_switchover_is_no_loss() -> None:
    """While the old primary stops on purpose nobody is told that no failover happens."""
    from coldtui.domain.disagreements import problems_of

    world = states.ignored()
    told = problems_of(world, topology(world, mine(world), NOW), NOW)
    assert not [p for p in told if "fail over" in p.sentence]


def test_problems_tell_what_no_other_does() -> None:
    """A quorum that is not met is a problem of its own; an operator that is down is one already."""
    from coldtui.domain.problems import problems

    sentences = [p.sentence for p in problems(states.quorum_not_met(), NOW)]
    assert any("will not fail over: the failover quorum is not met" in s for s in sentences)
    down = [p.sentence for p in problems(states.operator_down(), NOW)]
    assert sum("operator" in s for s in down) == 1


def test_a_moment_of_silence_is_no_problem() -> None:
    """A few seconds of silence do not tell that nobody takes over: the pod of a dead node looks Ready too."""
    from coldtui.domain.problems import problems

    def told(for_s: float) -> bool:
        world = states.lost(build(states.raw()), for_s=for_s, lease_s=2, sql=states.HANGS, why="the pod does not answer within 2 s")
        return any("will not fail over" in p.sentence for p in problems(world, NOW))

    assert not told(3)
    assert not told(11)
    assert told(14)


def test_a_missing_right_is_named() -> None:
    """Where no instance manager may be asked, what is not read says which right is missing, and the primary is not called lost."""
    refused = Unknown("manager", "needs get on pods/proxy", kind="forbidden")
    world = states.site(base=build(states.raw()), managers={f"cold/{name}": refused for name in states.NAMES})
    c = next(iter(world.pg_clusters.items.values()))
    found = prospect(signs_of(world, c, NOW))
    assert (found.lost, found.causes) == ("", ())
    assert "needs get on pods/proxy" in "; ".join(found.blind)
