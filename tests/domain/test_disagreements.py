"""Where the sources contradict one another, and what that makes of the verdict."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain import pgverdicts
from coldtui.domain.disagreements import WORDS, problems_of, worsened
from coldtui.domain.postgres import MAJOR_UPGRADE, PgCluster
from coldtui.domain.problems import Problem, Severity, problems
from coldtui.domain.readings import Unknown
from coldtui.domain.topology import Topology, cluster_of, topology
from coldtui.domain.verdicts import Grade, Verdict
from coldtui.domain.world import World
from coldtui.present.postgres_head import vip_cell
from tests.sample import NOW, build, cluster, healthy
from tests.topologies import HERE, MIB, claim, known, server, trio, world_of

GOOD = Verdict(Grade.GOOD, "healthy")


def look(world: World) -> Topology:
    return topology(world, cluster_of(world), NOW)


def changed(world: World, **fields: Any) -> World:
    c = replace(world.pg_clusters.items["cold/cold-postgres"], **fields)
    return replace(world, pg_clusters=replace(world.pg_clusters, items=world.pg_clusters.items.set(c.key, c)))


def of(world: World) -> PgCluster:
    return world.pg_clusters.items["cold/cold-postgres"]


def following(**more: Any) -> World:
    """A cluster that follows another one: all its servers are standbys, and the designated primary bears the label."""
    standbys = {f"p{n}": known(server(listens=f"10.0.0.{n}:5432")) for n in (1, 2, 3)}
    made = world_of(trio(**standbys, vip=known(server(listens="10.0.0.1:5432"))), claim("postgres-1", ended=True))
    return changed(made, replica_cluster=True, **more)


def test_a_cluster_that_follows_another_is_well() -> None:
    """Nobody in it is primary by design: neither the label of the designated primary nor a VIP that leads to it contradicts anything."""
    world = following()
    assert [p.sentence for p in look(world).problems] == []
    assert pgverdicts.verdict(world, of(world), NOW).grade is Grade.GOOD


def test_a_vip_that_leads_past_the_designated_primary_is_told() -> None:
    """Also there the address belongs to one instance."""
    world = following()
    astray = replace(world, pg_sql=world.pg_sql.set("vip", known(server(listens="10.0.0.2:5432"))))
    assert [p.code for p in look(astray).problems] == ["vip"]
    assert "the designated primary is postgres-1" in look(astray).problems[0].sentence


def test_a_major_upgrade_contradicts_nothing() -> None:
    """All servers are stopped for it: what they said last does not fit together, and that is no finding."""
    silent = {f"p{n}": Unknown("sql", "connection refused") for n in (1, 2, 3)}
    world = changed(world_of(trio(**silent, vip=Unknown("sql", "connection refused"))), phase=MAJOR_UPGRADE, ready_instances=0)
    assert look(world).problems == ()
    assert pgverdicts.verdict(world, of(world), NOW).word == "upgrading"


@pytest.mark.parametrize("name", ["erp-system", "primary-db", "VIP", "timeline"])
def test_the_name_of_a_cluster_says_nothing_of_its_trouble(name: str) -> None:
    """The verdict goes by the code of a problem; a name may hold any word."""
    site = healthy()
    site["pg_clusters"] = [cluster()]
    world = build(site)
    c = replace(of(world), name=name)
    t = Topology(
        c,
        (),
        "",
        None,
        look(world).loss,
        (Problem(c.ref, Severity.CRITICAL, f"{name}: x is labelled primary", None, "", "", "label/x"),),
        True,
    )
    assert worsened(GOOD, t) == Verdict(Grade.BAD, "contradiction", "x is labelled primary")


@pytest.mark.parametrize("kind", WORDS)
def test_each_kind_has_its_word(kind: str) -> None:
    """With or without whom it is about."""
    t = look(world_of(trio()))
    for code in (kind, f"{kind}/postgres-1"):
        bad = replace(t, problems=(Problem(of(world_of(trio())).ref, Severity.CRITICAL, "a: b", None, "", "", code),))
        assert worsened(GOOD, bad).word == WORDS[kind]


def test_an_answer_of_the_vip_from_before_the_primary_led_contradicts_nothing() -> None:
    """After a switchover the VIP was last asked while the old primary led: that is no VIP astray, and the head says when it was."""
    promoted = known(server(primary=True, timeline=8, listens="10.0.0.2:5432"))
    old = {
        "p1": known(server(listens="10.0.0.1:5432", timeline=8)),
        "p2": promoted,
        "p3": known(server(listens="10.0.0.3:5432", timeline=8)),
    }
    done = {"current_primary": "postgres-2", "target_primary": "postgres-2", "timeline": 8}

    def told(vip_s: float, standby: bool = False) -> World:
        vip = known(server(primary=not standby, listens="10.0.0.1:5432"), vip_s)
        claims = (claim("postgres-1", ended=True), claim("postgres-2", since_s=3))
        return changed(world_of(trio(**old, vip=vip), *claims), **done, current_primary_since=NOW - timedelta(seconds=4))

    for standby in (False, True):
        assert [p.code for p in look(told(5, standby)).problems] == []
        assert [p.code for p in look(told(1, standby)).problems] == ["vip"]
    assert vip_cell(look(told(5)), NOW).text == "led to postgres-1, 5s ago, before postgres-2 led"
    assert vip_cell(look(told(1)), NOW).text.startswith("▲ leads to")


def worlds() -> dict[str, World]:
    far = known(server(at=HERE - 80 * MIB))
    cut = known(server(at=HERE - 80 * MIB, receiver=None))
    return {
        "two behind": world_of(trio(p2=far, p3=far)),
        "two cut off": world_of(trio(p2=cut, p3=cut)),
        "two primaries": world_of(trio(p2=known(server(primary=True, timeline=8))), claim("postgres-1"), claim("postgres-2", 60)),
        "primary silent": world_of(trio(p1=Unknown("sql", "connection refused")), claim("postgres-1", ended=True)),
        "other systems": world_of(trio(p2=known(server(system_id="1")), p3=known(server(system_id="2", timeline=9)))),
        "following": following(),
    }


@pytest.mark.parametrize("name", worlds())
def test_each_problem_is_known_by_a_key_of_its_own(name: str) -> None:
    """A table of problems has a row for each: none hides another."""
    keys = [p.key for p in problems(worlds()[name], NOW)]
    assert len(keys) == len(set(keys))


def test_a_standby_that_falls_further_behind_is_the_same_problem() -> None:
    """The number moves each tick, in units that can be read; the row stays."""
    first = look(world_of(trio(p2=known(server(at=HERE - 70 * MIB))))).problems
    later = look(world_of(trio(p2=known(server(at=HERE - 90 * MIB))))).problems
    assert [p.sentence for p in first] == ["cold-postgres: postgres-2 replays 70 MiB behind"]
    assert [p.key for p in first] == [p.key for p in later]


def test_what_the_judges_find_has_a_code() -> None:
    """A problem without one would be known by a sentence with numbers."""
    for name, world in worlds().items():
        assert all(p.code for p in problems_of(world, look(world), NOW)), name
