"""Sessions, who blocks whom, and what the primary's server tells, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from coldtui.domain.readings import Known, Unknown
from coldtui.domain.replication import ManagerStatus, Slot
from coldtui.domain.sessions import Progress, Session
from coldtui.domain.world import World
from coldtui.present import postgres_activity as activity
from coldtui.present.lines import plain_text
from coldtui.present.postgres_listings import SESSIONS_PLAIN, state_lines
from coldtui.present.postgres_server import server_lines
from coldtui.present.rows import Tone
from tests.sample import NOW
from tests.topologies import HERE, SYSTEM, known, server, trio, world_of

REFUSED = Unknown("sql", "postgres-1 does not let coldtui in", "unauthorized")


def session(pid: int, *blocked: int, status: str = "active", wait: str = "", tx_s: float = 15) -> Session:
    at = NOW - timedelta(seconds=tx_s)
    return Session(pid, NOW - timedelta(hours=1), "app", "app", "web", "10.0.0.9", status, wait, at, at, at, "SELECT 1", blocked)


def chain(**more: Any) -> World:
    """101 holds up 102 and through it 103; 104 does something else, for the longest."""
    found = (
        session(104, tx_s=900),
        session(103, 102, wait="Lock: tuple", tx_s=20),
        session(102, 101, wait="Lock: transactionid", tx_s=30),
        session(101, status="idle in transaction", wait="Client: ClientRead", tx_s=60),
    )
    return world_of(trio(), pg_sessions=Known(found, "sql", NOW), **more)


def rows(world: World, listing: Any) -> list[str]:
    items = sorted(listing.items(world).values(), key=lambda item: listing.sorts[listing.default_sort](world, item))
    return [" ".join(cell.text for cell in listing.row(world, item, NOW).cells) for item in items]


def test_the_root_is_marked_in_the_tree() -> None:
    """Who holds the others up is named as the root, with how many wait, also through another; the others name whom they wait for."""
    found = rows(chain(), activity.LOCKS)
    assert "▲ ROOT, holds up 2" in found[0]
    assert "for 101" in found[1]
    assert "for 102" in found[2]
    assert "transactionid" not in found[1]


def test_the_culprit_is_the_first_session() -> None:
    """Who blocks stands above those that are blocked, and these above the rest, however long that takes; on the command line too."""
    for listing in (activity.SESSIONS, SESSIONS_PLAIN):
        assert [int(row.split()[0]) for row in rows(chain(), listing)] == [101, 102, 103, 104]
    assert "ROOT" in rows(chain(), activity.SESSIONS)[0]


def test_the_tree_is_made_once_of_an_answer() -> None:
    """A queue of hundreds costs tenths of a second to put in order: screens ask for the same rows many times before the next answer comes."""
    world = chain()
    assert activity.LOCKS.items(world) is activity.LOCKS.items(replace(world, revision=world.revision + 1))


def test_a_queue_as_long_as_a_server_has_connections() -> None:
    """Where each waits for all before it, however many they are, each stands below the one before it and the root holds up all."""
    many = 1200
    found = (session(1, tx_s=many + 1), *(session(n, *range(max(1, n - 3), n), tx_s=many + 1 - n) for n in range(2, many + 1)))
    world = replace(chain(), pg_sessions=Known(found, "sql", NOW))
    assert [b.session.pid for b in activity.LOCKS.items(world).values()] == list(range(1, many + 1))
    assert [b.depth for b in activity.LOCKS.items(world).values()] == list(range(many))
    assert activity.held_up(world)[1] == many - 1


def test_two_that_wait_for_each_other() -> None:
    """In a circle nobody is the root and nobody is counted as waiting for itself."""
    world = replace(chain(), pg_sessions=Known((session(1, 2), session(2, 1)), "sql", NOW))
    assert activity.held_up(world) == {1: 1, 2: 1}
    assert not any(activity.is_root(s, activity.held_up(world)) for s in activity.sessions_of(world).values())


def test_an_idle_session_runs_no_query() -> None:
    """Its query has ended, and that it waits for its client is no news."""
    world = chain()
    said = plain_text(activity.session_lines(world, next(s for s in activity.sessions_of(world).values() if s.pid == 101), NOW))
    assert "Last query  ended 60s ago" in said
    assert "Holds up    2 sessions, waits for nobody" in said
    assert "Query for" not in said
    assert "ClientRead" not in said


def test_the_manager_stands_in_for_refused_sql() -> None:
    """The archiver's failure, the backlog in segments and bytes, and the slots are told by /pg/status, which is named; then why SQL is not."""
    manager = ManagerStatus(
        "postgres-1", True, SYSTEM, 7, HERE, archiving=False, last_archived_wal="A0", last_archived_at=NOW - timedelta(minutes=15),
        last_failed_wal="A1", last_failed_at=NOW - timedelta(seconds=30), ready_wal=190, slots=(Slot("s", False, "physical", retained_b=3 << 30),),
    )  # fmt: skip
    world = world_of(trio(p1=REFUSED), managers={"postgres-1": manager})
    said = plain_text(server_lines(world, NOW))
    for part in (
        "SQL         postgres-1 does not let coldtui in", "Source      postgres-1 by /pg/status, 0s ago", "Archived    A0 15m ago",
        "Fails       A1 30s ago", "WAL waiting 190 segments (3 GiB)", "Slot        s inactive, keeps 3 GiB",
    ):  # fmt: skip
        assert part in said, said
    assert "times" not in said, "the manager does not count"
    assert "190 segments" in plain_text(state_lines(world, NOW)[1])


def test_old_words_of_the_server_are_dim() -> None:
    """What was told twenty minutes ago is not in the colour of now, and says how old it is."""
    old = Known(server(primary=True, listens="10.0.0.1:5432"), "sql", NOW - timedelta(minutes=20))
    line = server_lines(world_of(trio(p1=old)), NOW)[0]
    assert plain_text([line]) == "Source      postgres-1 by SQL, 20m ago"
    assert line[-1].tone is Tone.STALE


def test_a_phase_that_counts_nothing_has_no_percent() -> None:
    """VACUUM FULL is called so, and a phase without a total is named alone."""
    work = (
        Progress(7, "vacuum full", "app", "orders", "rebuilding index", 0, 0),
        Progress(8, "vacuum", "app", "bills", "scanning heap", 63, 100),
    )
    said = plain_text(server_lines(world_of(trio(), pg_progress=Known(work, "sql", NOW)), NOW))
    assert "vacuum full orders: rebuilding index  pid 7" in said
    assert "vacuum bills: scanning heap 63%" in said


def test_sessions_of_others_that_are_not_shown() -> None:
    """Without pg_monitor a list that looks whole is not: the grant is named."""
    missing = known(server(primary=True, listens="10.0.0.1:5432", missing=("pg_monitor: sessions of other users",)))
    assert activity.lacking(world_of(trio(p1=missing)), NOW) == "other users' sessions are not shown: GRANT pg_monitor"
    assert activity.lacking(world_of(trio()), NOW) == ""


def test_pods_that_are_not_reached_from_here() -> None:
    """All servers silent at their pods' addresses is a matter of where one stands; a refusal, or one that answers, is not."""
    silent = {n: Unknown("sql", f"postgres-{n} (10.42.1.7:5432) did not answer within 2 s", "timeout") for n in (1, 2, 3)}
    hint = "pods are not reached from here: set postgres.instances"
    told = {f"p{n}": r for n, r in silent.items()}
    assert activity.unreached(world_of(trio(**told))) == hint
    assert activity.unreached(world_of(trio(**(told | {"p2": REFUSED})))) == ""
    assert activity.unreached(world_of(trio(p1=silent[1]))) == ""
