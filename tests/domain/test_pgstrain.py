"""What a database that still serves is about to stumble over."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain import pgstrain, pgverdicts
from coldtui.domain.pgstrain import RETAINED_B, WAITING, XID_CRITICAL, XID_WARNING
from coldtui.domain.postgres import Synchronous
from coldtui.domain.problems import Problem, Severity, problems
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import Archiver, ManagerStatus, Slot, Standby, unarchived
from coldtui.domain.sessions import DatabaseFacts
from coldtui.domain.topology import cluster_of, topology
from coldtui.domain.verdicts import Grade
from coldtui.domain.world import World
from coldtui.present.postgres import archiving
from tests.sample import NOW
from tests.topologies import HERE, SYSTEM, claim, known, server, trio, world_of

ROWS = (Standby("postgres-2", "streaming", "async"), Standby("postgres-3", "streaming", "async"))


def primary(ago_s: float = 1.0, **more: Any) -> World:
    return world_of(trio(p1=known(server(primary=True, listens="10.0.0.1:5432", **{"standbys": ROWS, **more}), ago_s)))


def found(world: World) -> list[Problem]:
    return list(topology(world, cluster_of(world), NOW).problems)


def said(world: World) -> list[tuple[str, Severity]]:
    return [(p.sentence.removeprefix("cold-postgres: "), p.severity) for p in found(world)]


def word(world: World) -> tuple[Grade, str]:
    judged = pgverdicts.verdict(world, world.pg_clusters.items["cold/cold-postgres"], NOW)
    return judged.grade, judged.word


def before(**span: float) -> Any:
    return NOW - timedelta(**span)


@pytest.mark.parametrize(
    ("setting", "count"),
    [("", 0), ('ANY 1 ("a","b")', 1), ("FIRST 2 (a, b, c)", 2), ("2 (a, b)", 2), ("a, b", 1), ("*", 1), (" any  3 (*)", 3)],
)
def test_how_many_standbys_a_setting_needs(setting: str, count: int) -> None:
    """All forms of synchronous_standby_names that PostgreSQL knows."""
    assert pgstrain.needed(setting) == count


def test_commits_that_wait_are_an_outage() -> None:
    """Fewer synchronous standbys stream than the server wants: red in the verdict and in the list of problems of the whole site."""
    row = Standby("postgres-2", "streaming", "quorum")
    well = primary(synchronous='ANY 1 ("postgres-2","postgres-3")', standbys=(row,))
    assert said(well) == []
    catching_up = replace(row, state="catchup", sync_state="potential")
    bad = primary(synchronous='ANY 1 ("postgres-2","postgres-3")', standbys=(catching_up,))
    assert said(bad) == [("commits wait: 1 synchronous standby needed, 0 stream", Severity.CRITICAL)]
    assert word(bad) == (Grade.BAD, "commits wait")
    assert "commits wait" in problems(bad, NOW)[0].sentence
    assert said(primary(ago_s=40, synchronous="ANY 1 (x)", standbys=(catching_up,))) == []


@pytest.mark.parametrize(("durability", "waits"), [("required", True), ("preferred", False)])
def test_without_sql_the_spec_and_the_manager_tell(durability: str, waits: bool) -> None:
    """Where durability is `preferred` the operator itself gives up on standbys, so nothing is claimed."""
    told = {"postgres-1": ManagerStatus("postgres-1", True, SYSTEM, 7, HERE, standbys=(Standby("postgres-2", "streaming", "async"),))}
    world = world_of({"postgres-1": Unknown("sql", "no password")}, claim("postgres-1", source="manager"), managers=told)
    cluster = replace(world.pg_clusters.items["cold/cold-postgres"], synchronous=Synchronous("any", 1, durability))
    shelf = replace(world.pg_clusters, items=world.pg_clusters.items.set("cold/cold-postgres", cluster))
    assert any("commits wait" in s for s, _ in said(replace(world, pg_clusters=shelf))) is waits


def test_a_failing_archiver_is_yellow_and_then_red() -> None:
    """Red when much waits; a failure older than the last success is none."""
    last = Archiver(last_wal="07", last_at=before(seconds=40), failed_wal="08", failed_at=before(seconds=30), waiting=1)
    assert said(primary(archiver=last)) == [("WAL archiving fails, 1 segment (16 MiB) waits", Severity.WARNING)]
    old = replace(last, last_at=before(minutes=7), waiting=190)
    assert said(primary(archiver=old)) == [("WAL archiving fails, 190 segments (3 GiB) wait", Severity.CRITICAL)]
    assert found(primary(archiver=old))[0].since == before(minutes=7)
    assert word(primary(archiver=old)) == (Grade.BAD, "not archiving")
    assert said(primary(archiver=replace(last, last_at=before(seconds=10)))) == []


@pytest.mark.parametrize("last_at", [None, before(hours=6)], ids=["newly promoted", "idle for hours"])
def test_the_first_failed_attempt_is_no_alarm(last_at: Any) -> None:
    """How long ago the last success was tells nothing of how long archiving fails."""
    first = Archiver(last_wal="07" if last_at else "", last_at=last_at, failed_wal="08", failed_at=before(seconds=2), waiting=1)
    assert [severity for _, severity in said(primary(archiver=first))] == [Severity.WARNING]
    assert word(primary(archiver=first)) == (Grade.PART, "degraded")
    light = archiving(primary(archiver=first).pg_clusters.items["cold/cold-postgres"], primary(archiver=first))
    assert (light.grade, light.why) == (Grade.PART, "08 failed, 1 segment (16 MiB) waits")


def test_a_failure_that_was_seen_to_last_is_red() -> None:
    """Also where little waits: an archive that fails for more than archive_timeout lacks more than it may."""
    fails = primary(archiver=Archiver(last_at=before(hours=6), failed_wal="08", failed_at=before(seconds=2), waiting=2))
    for minutes, severity in ((4, Severity.WARNING), (6, Severity.CRITICAL)):
        told = replace(claim("postgres-1"), unarchived=before(minutes=minutes))
        assert [s for _, s in said(replace(fails, pg_claims=fails.pg_claims.set("sql/postgres-1", told)))] == [severity]


def test_since_when_archiving_fails_is_remembered_from_answer_to_answer() -> None:
    """It begins with the first answer that says so, ends with a success, and begins anew after one; SQL and the manager are read alike."""
    well = server(primary=True, archiver=Archiver(last_at=before(seconds=50)))
    fails = server(primary=True, archiver=Archiver(last_at=before(seconds=50), failed_at=before(seconds=40)))
    again = server(primary=True, archiver=Archiver(last_at=before(seconds=20), failed_at=before(seconds=10)))
    assert unarchived(well, before(seconds=60), NOW) is None
    assert unarchived(fails, None, before(seconds=40)) == before(seconds=40)
    assert unarchived(fails, before(seconds=40), NOW) == before(seconds=40)
    assert unarchived(again, before(seconds=40), NOW) == NOW
    assert unarchived(server(primary=True), before(seconds=40), NOW) is None
    manager = ManagerStatus("postgres-1", True, SYSTEM, 7, HERE, last_archived_at=before(seconds=50), last_failed_at=before(seconds=40))
    assert unarchived(manager, before(seconds=40), NOW) == before(seconds=40)


def test_a_restarted_primary_is_given_time() -> None:
    """Its standbys connect again within seconds; who leads has not changed."""
    young = primary(synchronous='ANY 1 ("postgres-2")', standbys=(), started=before(seconds=3))
    assert "commits wait" not in str(said(young))
    grown = primary(synchronous='ANY 1 ("postgres-2")', standbys=(), started=before(seconds=12))
    assert "commits wait" in str(said(grown))


def test_a_backlog_of_the_archive_warns() -> None:
    """Also where nothing fails: an archive that is too slow lets the volume of WAL fill."""
    slow = Archiver(last_wal="07", last_at=before(seconds=5), waiting=WAITING)
    assert said(primary(archiver=slow)) == [("64 segments (1 GiB) wait to be archived", Severity.WARNING)]
    assert said(primary(archiver=replace(slow, waiting=WAITING - 1))) == []
    assert word(primary(archiver=slow)) == (Grade.PART, "degraded")


def test_a_slot_that_keeps_wal_warns() -> None:
    """By its size, whoever reads it; one whose WAL is gone is named as lost."""
    kept = Slot("_cnpg_postgres_3", False, "physical", "extended", 3 * RETAINED_B)
    assert said(primary(slots=(kept,))) == [("slot _cnpg_postgres_3 keeps 3 GiB of WAL", Severity.WARNING)]
    assert "not connected" in found(primary(slots=(kept,)))[0].cause
    assert said(primary(slots=(replace(kept, retained_b=RETAINED_B - 1),))) == []
    assert said(primary(slots=(replace(kept, wal_status="lost"),))) == [("slot _cnpg_postgres_3 is lost", Severity.WARNING)]


def test_connections_near_their_end() -> None:
    """Yellow with one in ten left, red when the primary takes no more."""
    assert said(primary(connections=87)) == []
    assert said(primary(connections=88)) == [("postgres-1 has 88 of 97 connections", Severity.WARNING)]
    assert said(primary(connections=97)) == [("postgres-1 has 97 of 97 connections", Severity.CRITICAL)]
    assert word(primary(connections=97)) == (Grade.BAD, "connections full")


def test_transaction_ids_before_they_run_out() -> None:
    """Known without a look at the databases; the oldest of them has its name while somebody looks."""
    assert said(primary(xid_age=XID_WARNING - 1)) == []
    world = primary(xid_age=1_200_000_000)
    assert said(world) == [("the oldest database has used 56% of its transaction IDs", Severity.WARNING)]
    looked = replace(world, pg_databases=Known((DatabaseFacts("app", 1, 1_200_000_000), DatabaseFacts("b", 1, 5)), "sql", NOW))
    assert said(looked)[0][0].startswith("database app ")
    assert found(looked)[0].key == found(world)[0].key
    assert word(primary(xid_age=XID_CRITICAL)) == (Grade.BAD, "wraparound near")


def test_a_problem_keeps_its_identity_while_numbers_move() -> None:
    """A row of the list stays where it is from tick to tick: no number is part of what a problem is known by."""
    first = primary(connections=88, archiver=Archiver(last_at=before(seconds=5), waiting=100), xid_age=XID_WARNING)
    later = primary(connections=93, archiver=Archiver(last_at=before(seconds=5), waiting=170), xid_age=XID_CRITICAL)
    assert [p.key for p in found(first)] == [p.key for p in found(later)]
    assert len({p.key for p in found(first)}) == 3
