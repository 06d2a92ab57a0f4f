"""The archiver and the slots of a primary by whoever tells of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from coldtui.domain.pgserver import archiver_of, slots_of
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import Archiver, ManagerStatus, Slot
from coldtui.domain.topology import Member, cluster_of, topology
from coldtui.domain.world import World
from tests.sample import NOW
from tests.topologies import HERE, SYSTEM, known, server, trio, world_of

REFUSED = Unknown("sql", "postgres-1 does not let coldtui in", "unauthorized")
SLOT = Slot("_cnpg_postgres_2", True, "physical", "reserved", 4096)
MANAGER = ManagerStatus(
    "postgres-1", True, SYSTEM, 7, HERE, archiving=False, last_archived_wal="A0", last_archived_at=NOW - timedelta(minutes=15),
    last_failed_wal="A1", last_failed_at=NOW - timedelta(seconds=30), ready_wal=190, slots=(SLOT,),
)  # fmt: skip


def primary(world: World) -> Member:
    return next(m for m in topology(world, cluster_of(world), NOW).members if m.name == "postgres-1")


def test_sql_tells() -> None:
    """Where SQL tells all, it is believed alone."""
    told = server(primary=True, archiver=Archiver(9, "B0", waiting=2), slots=())
    found = primary(world_of(trio(p1=known(told)), managers={"postgres-1": MANAGER}))
    archiver = archiver_of(found)
    assert isinstance(archiver, Known)
    assert (archiver.source, archiver.value.last_wal, archiver.value.waiting) == ("sql", "B0", 2)
    assert slots_of(found) == Known((), "sql", NOW - timedelta(seconds=1))


def test_the_manager_tells_where_sql_is_refused() -> None:
    """Without a login the instance manager's archiver, backlog and slots are known, and named as its own."""
    found = primary(world_of(trio(p1=REFUSED), managers={"postgres-1": MANAGER}))
    archiver, slots = archiver_of(found), slots_of(found)
    assert isinstance(archiver, Known)
    assert (archiver.source, archiver.value.failing, archiver.value.waiting, archiver.value.last_wal) == ("manager", True, 190, "A0")
    assert slots == Known((SLOT,), "manager", NOW - timedelta(seconds=1))


def test_the_manager_tells_what_sql_lacks_the_grant_for() -> None:
    """Without pg_monitor the counts are SQL's and how much waits is the manager's; both are named."""
    told = server(primary=True, archiver=Archiver(9, "B0"))
    archiver = archiver_of(primary(world_of(trio(p1=known(told)), managers={"postgres-1": MANAGER})))
    assert isinstance(archiver, Known)
    assert (archiver.source, archiver.value.archived, archiver.value.waiting) == ("sql, manager", 9, 190)


def test_a_manager_whose_server_stands_tells_nothing() -> None:
    """A fenced primary's manager answers, but not for its archiver: it is unknown, with the reason of SQL."""
    stopped = replace(MANAGER, archiving=None, ready_wal=None, slots=())
    archiver = archiver_of(primary(world_of(trio(p1=REFUSED), managers={"postgres-1": stopped})))
    assert isinstance(archiver, Unknown)
    assert "does not let coldtui in" in archiver.reason
