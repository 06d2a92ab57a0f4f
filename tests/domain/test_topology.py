"""Three sources compared: what is believed, what contradicts, what would be lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from coldtui.domain import pgverdicts, problems
from coldtui.domain.postgres import PgCluster
from coldtui.domain.problems import Severity
from coldtui.domain.readings import Freshness, Known, Unknown
from coldtui.domain.replication import ManagerStatus
from coldtui.domain.topology import Topology, cluster_of, topology
from coldtui.domain.verdicts import Grade
from coldtui.domain.world import World
from tests.sample import NOW, build, cluster, healthy, state
from tests.topologies import HERE, MIB, SYSTEM, claim, known, server, trio, world_of


def look(world: World) -> Topology:
    return topology(world, cluster_of(world), NOW)


def said(world: World) -> list[str]:
    return [p.sentence for p in look(world).problems if p.severity is Severity.CRITICAL]


def of(world: World) -> PgCluster:
    return world.pg_clusters.items["cold/cold-postgres"]


def test_all_is_well() -> None:
    """Everyone agrees: no problem, nothing to lose, green stays green, and each value carries its source and age."""
    world = world_of(trio())
    found = look(world)
    assert (found.primary, found.problems) == ("postgres-1", ())
    assert [m.name for m in found.members] == ["postgres-1", "postgres-2", "postgres-3"]
    second = found.members[1]
    assert second.behind == Known(0, "sql", NOW - timedelta(seconds=1))
    assert (second.label.source, second.named.source, second.by_sql.source) == ("pods", "cluster", "sql")
    assert found.vip is not None
    assert found.vip.server == "postgres-1"
    assert (found.loss.octets, found.loss.gone) == (Known(0, "sql", NOW - timedelta(seconds=1)), False)
    assert pgverdicts.verdict(world, of(world), NOW).grade is Grade.GOOD


def test_without_servers_nothing_changes() -> None:
    """A site whose servers nobody asks is judged by its objects, as before."""
    world = build(healthy())
    assert not look(world).asked
    assert pgverdicts.verdict(world, of(world), NOW).grade is Grade.GOOD


def test_behind_in_bytes_and_seconds() -> None:
    """Bytes from the primary's position to what is replayed; seconds only when there are bytes."""
    found = look(world_of(trio(p2=known(server(at=HERE, replayed=HERE - 16 * MIB)))))
    second, third = found.members[1:]
    assert isinstance(second.behind, Known)
    assert second.behind.value == 16 * MIB
    assert (second.behind_s, third.behind_s) == (0.4, None)


def test_behind_without_the_primarys_sql() -> None:
    """The primary's position is taken from its manager when SQL does not tell it, and the source says so."""
    told = {"postgres-1": ManagerStatus("postgres-1", True, SYSTEM, 7, HERE + MIB)}
    world = world_of(trio(p1=Unknown("sql", "no password")), claim("postgres-1", source="manager"), managers=told)
    second = look(world).members[1]
    assert isinstance(second.behind, Known)
    assert (second.behind.value, second.behind.source) == (MIB, "manager, sql")


def test_loss_is_what_the_best_replica_has_not() -> None:
    """The better of two replicas counts, by what it has received, not by what it has replayed."""
    world = world_of(trio(p2=known(server(at=HERE - 32 * MIB)), p3=known(server(at=HERE - 16 * MIB, replayed=HERE - 64 * MIB))))
    loss = look(world).loss
    assert isinstance(loss.octets, Known)
    assert (loss.octets.value, loss.best, loss.gone) == (16 * MIB, "postgres-3", False)


def test_loss_of_a_primary_that_is_gone() -> None:
    """Its last known position less what the best replica has, with the age of that position."""
    gone = claim("postgres-1", seen_s=42, lsn=HERE + 5 * MIB, ended=True)
    loss = look(world_of(trio(p1=Unknown("sql", "connection refused"), vip=Unknown("sql", "connection refused")), gone)).loss
    assert isinstance(loss.octets, Known)
    assert loss.octets.value == 5 * MIB
    assert loss.gone
    assert loss.octets.as_of == NOW - timedelta(seconds=42)


def test_loss_that_cannot_be_known() -> None:
    """Without a position of the primary, or of any replica, no number is made up."""
    never = look(world_of(trio(p1=Unknown("sql", "refused")), claim("postgres-9"))).loss
    assert isinstance(never.octets, Unknown)
    assert "never told" in never.octets.reason
    deaf = look(world_of(trio(p2=Unknown("sql", "x"), p3=Unknown("sql", "y")))).loss
    assert isinstance(deaf.octets, Unknown)
    assert "replicas" in deaf.octets.reason


def test_two_primaries() -> None:
    """Both were seen as primary after the other had begun: red, and both are named; the verdict says so."""
    world = world_of(trio(p2=known(server(primary=True))), claim("postgres-1"), claim("postgres-2", since_s=5))
    assert said(world)[0] == "cold-postgres: postgres-1 and postgres-2 are both primary"
    judged = pgverdicts.verdict(world, of(world), NOW)
    assert (judged.grade, judged.word) == (Grade.BAD, "two primaries")
    assert any("both primary" in p.sentence for p in problems.problems(world, NOW))


def test_answers_of_a_switchover_are_no_two_primaries() -> None:
    """The old primary was last seen before the new one began: the answers are only of different moments."""
    claims = claim("postgres-1", seen_s=8), claim("postgres-2", since_s=2)
    assert not any("both" in s for s in said(world_of(trio(p2=known(server(primary=True, timeline=8))), *claims)))


def test_timelines() -> None:
    """A standby on an older timeline is red once a role change is long over, and has its grace just after one."""
    old = trio(p1=known(server(primary=True, timeline=8)), p3=known(server(timeline=8)))
    assert said(world_of(old)) == ["cold-postgres: postgres-2 is on timeline 7, primary postgres-1 on 8"]
    site = healthy()
    site["pg_clusters"] = [cluster(currentPrimaryTimestamp=(NOW - timedelta(seconds=20)).isoformat())]
    assert said(world_of(old, base=build(site))) == []


def test_the_promoted_standby_is_ahead_for_a_moment() -> None:
    """The target of a switchover says its new timeline before the Cluster names it: no divergence. Another one ahead is."""
    site = healthy()
    moving = {"targetPrimary": "postgres-2", "targetPrimaryTimestamp": NOW.isoformat(), "phase": "Switchover in progress"}
    site["pg_clusters"] = [cluster(**moving)]
    told = {n: ManagerStatus(n, n == "postgres-1", SYSTEM, 7, HERE, received=HERE) for n in ("postgres-1", "postgres-2", "postgres-3")}
    ahead = {n: replace(told[n], timeline=8) for n in ("postgres-2", "postgres-3")}
    gone = trio(p1=Unknown("sql", "refused"), p2=Unknown("sql", "refused"), p3=Unknown("sql", "refused"))
    assert not any("timeline" in s for s in said(world_of(gone, base=build(site), managers={**told, "postgres-2": ahead["postgres-2"]})))
    assert any(
        "postgres-3 is on timeline 8" in s
        for s in said(world_of(gone, base=build(site), managers={**told, "postgres-3": ahead["postgres-3"]}))
    )


def test_timelines_of_control_files() -> None:
    """A standby that is seen through its manager alone, or by SQL without its receiver, may say the old timeline for long: no contradiction."""
    site = healthy()
    site["pg_clusters"] = [cluster(timelineID=8)]
    lead = known(server(primary=True, timeline=8))
    third = known(server(timeline=7, receiver=None, timeline_sure=False))
    told = {"postgres-2": ManagerStatus("postgres-2", False, SYSTEM, 7, received=HERE, replayed=HERE, receiver_active=True)}
    world = world_of(trio(p1=lead, p2=Unknown("sql", "no password"), p3=third), base=build(site), managers=told)
    assert not any("timeline" in p.sentence for p in look(world).problems)
    assert [isinstance(m.timeline, Known) for m in look(world).members] == [True, False, False]


def test_system_ids() -> None:
    """A server of another system is no copy."""
    assert "of different systems" in said(world_of(trio(p3=known(server(system_id="999")))))[0]


def test_label_against_the_server() -> None:
    """Services follow the label: one that is wrong is red and names both sides; not while the label itself is old."""
    sql = trio(p1=known(server()), p2=known(server(primary=True)), vip=known(server(primary=True, started=NOW, listens="10.0.0.9:1")))
    world = world_of(sql, claim("postgres-2"))
    found = said(world)
    assert "cold-postgres: postgres-1 is labelled primary, but is replica by SQL" in found
    assert any(
        "the Cluster names postgres-1 primary, but it is a standby by SQL, postgres-2 is primary by its own word" in s for s in found
    )
    stale = replace(world, sources=world.sources.set("pods", state("pods", Freshness.STALE)))
    assert not any("labelled" in s for s in said(stale))


def test_vip_on_a_standby_and_on_the_wrong_server() -> None:
    """Both are red, with the server that answered."""
    astray = trio(vip=known(server(listens="10.0.0.3:5432")))
    assert said(world_of(astray)) == ["cold-postgres: the VIP leads to standby postgres-3, the primary is postgres-1"]
    assert pgverdicts.verdict(world_of(astray), of(world_of(astray)), NOW).word == "VIP astray"


def test_vip_that_is_not_reached() -> None:
    """A warning, with the reason, as the primary itself answers; the verdict is not green."""
    world = world_of(trio(vip=Unknown("sql", "vip (10.0.0.200:5432): connection refused")))
    warned = [p for p in look(world).problems if p.severity is Severity.WARNING]
    assert "connection refused" in warned[0].sentence
    assert pgverdicts.verdict(world, of(world), NOW).grade is Grade.PART


def test_nobody_is_primary() -> None:
    """Everyone answers as a standby."""
    world = world_of(trio(p1=known(server()), vip=Unknown("sql", "x")), claim("postgres-1", ended=True))
    assert "cold-postgres: nobody is primary: all instances are standbys" in said(world)
    assert look(world).primary == ""


def test_primary_that_is_silent() -> None:
    """Its standbys answer by the same way, so the way is not at fault: the verdict is not green though the pod looks ready."""
    world = world_of(trio(p1=Unknown("sql", "no answer"), vip=Unknown("sql", "no answer")), claim("postgres-1", seen_s=30, ended=True))
    assert said(world) == ["cold-postgres: primary postgres-1 does not answer, its standbys do"]
    assert pgverdicts.verdict(world, of(world), NOW).grade is Grade.BAD


def test_replica_that_is_silent() -> None:
    """One that answers by no way while others do is unknown, never healthy."""
    world = world_of(trio(p3=Unknown("sql", "no answer")))
    judged = pgverdicts.verdict(world, of(world), NOW)
    assert (judged.grade, judged.why) == (Grade.UNKNOWN, "postgres-3 answers neither SQL nor /pg/status")


def test_no_sql_at_all() -> None:
    """A password that is missing makes nothing worse by itself: the managers still tell, and the reason stands with each instance."""
    reason = "postgres-1 does not let coldtui in · check postgres.password_file"
    told = {
        n: ManagerStatus(n, n == "postgres-1", SYSTEM, 7 if n == "postgres-1" else None, HERE, HERE, HERE, True)
        for n in ("postgres-1", "postgres-2", "postgres-3")
    }
    world = world_of({n: Unknown("sql", reason) for n in told}, claim("postgres-1", source="manager"), managers=told)
    found = look(world)
    assert found.problems == ()
    assert found.loss.best == "postgres-2"
    assert found.members[0].sql == Unknown("sql", reason)
    assert pgverdicts.verdict(world, of(world), NOW).grade is Grade.GOOD


def test_a_missing_grant_is_named() -> None:
    """As a notice, with what it would show."""
    world = world_of(trio(p1=known(server(primary=True, missing=("pg_monitor: sessions of other users",)))))
    found = look(world).problems
    assert [(p.severity, p.sentence) for p in found] == [(Severity.NOTICE, "cold-postgres: SQL lacks pg_monitor")]


@pytest.mark.parametrize("age_s", [26, 600])
def test_old_answers_prove_nothing(age_s: float) -> None:
    """What is shown of them has its age; they raise no alarm."""
    sql = {
        name: known(reading.value, age_s)
        for name, reading in trio(p2=known(server(system_id="999", timeline=3))).items()
        if isinstance(reading, Known)
    }
    assert said(world_of(dict(sql), claim("postgres-1", seen_s=age_s))) == []


def test_sql_alone_with_the_api_down() -> None:
    """No Cluster was ever read: the servers that the configuration names still give roles, lag and loss."""
    base = build({}, sources={"pg_clusters": state("pg_clusters", Freshness.FAILED), "pods": state("pods", Freshness.FAILED)})
    found = look(world_of(trio(p2=known(server(at=HERE, replayed=HERE - MIB))), base=base))
    assert [(m.name, m.role) for m in found.members] == [("postgres-1", "primary"), ("postgres-2", "replica"), ("postgres-3", "replica")]
    assert isinstance(found.members[1].behind, Known)
    assert found.members[1].behind.value == MIB
    assert isinstance(found.loss.octets, Known)
    assert found.loss.octets.value == 0


def test_what_came_from_the_archive_is_not_lost() -> None:
    """A standby that is cut off replays from the archive past what it received: the further of both counts."""
    loss = look(world_of(trio(p2=known(server(at=HERE - 16 * MIB, replayed=HERE - 4 * MIB)), p3=known(server(at=HERE - 16 * MIB))))).loss
    assert isinstance(loss.octets, Known)
    assert (loss.octets.value, loss.best) == (4 * MIB, "postgres-2")


def test_a_standby_that_does_not_stream_is_no_green() -> None:
    """All pods are ready and the operator says healthy, but nothing arrives: a warning with the bytes, and the verdict says so."""
    world = world_of(trio(p2=known(server(at=HERE - MIB, receiver=None)), p3=known(server(replay_paused=True))))
    warned = [p.sentence for p in look(world).problems]
    assert warned == [
        "cold-postgres: postgres-2 receives no WAL, 1 MiB behind",
        "cold-postgres: postgres-3 has its replay paused",
    ]
    judged = pgverdicts.verdict(world, of(world), NOW)
    assert (judged.grade, judged.why) == (Grade.PART, "postgres-2 receives no WAL, 1 MiB behind")


def test_an_old_answer_is_no_answer() -> None:
    """With its age; and what a server said before that is no word against the Cluster's."""
    fresh = look(world_of(trio(p2=known(server(), 25)))).members[1]
    assert (fresh.answers, fresh.told) == (True, NOW - timedelta(seconds=25))
    old = look(world_of(trio(p2=known(server(), 26)))).members[1]
    assert (old.answers, old.told) == (False, NOW - timedelta(seconds=26))
    never = look(world_of(trio(p2=Unknown("sql", "refused")))).members[1]
    assert (never.answers, never.told) == (False, None)
    ended = claim("postgres-1", seen_s=60, ended=True)
    assert look(world_of(trio(p1=known(server(), 5)), ended)).primary == ""
    assert look(world_of(trio(p1=known(server(), 60)), ended)).primary == "postgres-1"


def test_who_follows_another_branch_has_no_number() -> None:
    """Positions of two timelines cannot be compared: it is neither behind by so much nor a copy of what the primary wrote."""
    first, second = claim("postgres-1"), claim("postgres-2", since_s=12)
    world = world_of(trio(p2=known(server(primary=True, timeline=8, at=HERE + MIB))), first, second)
    found = look(world)
    third = next(m for m in found.members if m.name == "postgres-3")
    assert third.behind == Unknown("sql", "it is on timeline 7, the primary on 8")
    assert (found.loss.octets, found.loss.best) == (Unknown("sql", "nobody follows postgres-2"), "")
    one = look(world_of(trio(p3=known(server(timeline=6)))))
    assert (one.loss.best, one.loss.octets) == ("postgres-2", Known(0, "sql", NOW - timedelta(seconds=1)))
