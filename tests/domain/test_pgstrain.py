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
from coldtui.domain.replication import Archiver, ManagerStatus, Slot, Standby
from coldtui.domain.sessions import DatabaseFacts
from coldtui.domain.topology import cluster_of, topology
from coldtui.domain.verdicts import Grade
from coldtui.domain.world import World
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
    """Red when more than CloudNativePG's archive_timeout is missing in the archive; a failure older than the last success is none."""
    last = Archiver(last_wal="07", last_at=before(seconds=40), failed_wal="08", failed_at=before(seconds=30), waiting=1)
    assert said(primary(archiver=last)) == [("WAL archiving fails, 1 segment (16 MiB) wait", Severity.WARNING)]
    old = replace(last, last_at=before(minutes=7), waiting=190)
    assert said(primary(archiver=old)) == [("WAL archiving fails, 190 segments (3 GiB) wait", Severity.CRITICAL)]
    assert found(primary(archiver=old))[0].since == before(minutes=7)
    assert word(primary(archiver=old)) == (Grade.BAD, "not archiving")
    assert said(primary(archiver=replace(last, last_at=before(seconds=10)))) == []


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
