"""Queries cancelled and sessions ended on a real server: the one that is meant, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from coldtui.domain.errors import Forbidden, NotFound, UsageError
from coldtui.domain.plans import Outlook, Rung, Weight
from coldtui.domain.runs import What
from coldtui.domain.sessions import Session
from coldtui.operations.postgres.session_findings import blocked_through, cancel_findings, roots_of, terminate_findings
from coldtui.operations.postgres.sessions import CANCEL_QUERY, TERMINATE_SESSION, moment
from tests.adapters.postgres.servers import Server
from tests.operations.postgres.single import finding, on, one_server

pytestmark = pytest.mark.timeout(120)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with one_server() as made:
        yield made


def test_a_query_is_cancelled_and_the_session_stays(server: Server, tmp_path: Path) -> None:
    """The plan shows who runs what; the run ends when the query has ended, and the session can be used on."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as line:
            pid = line.info.backend_pid
            query = asyncio.create_task(line.execute("SELECT pg_sleep(60)"))
            await at.until_active(pid, "pg_sleep")
            work = await at.work(CANCEL_QUERY, pid=pid)
            assert (work.plan.rung, work.plan.confirm, work.plan.locks) == (Rung.VISIBLE, str(pid), ())
            assert finding(work.plan, "session.who").sentence.startswith(f"{pid} is anna on postgres")
            assert finding(work.plan, "session.query").sentence == "query: SELECT pg_sleep(60)"
            await work.perform()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await query
            assert await (await line.execute("SELECT 1")).fetchone() == (1,)
            assert f"{pid} on p: the query has ended" in work.told(What.SAID)

    asyncio.run(scene())


def test_the_next_query_is_not_hit(server: Server, tmp_path: Path) -> None:
    """When the query that was meant has ended meanwhile, the same session's next one goes on."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as line:
            pid = line.info.backend_pid
            first = asyncio.create_task(line.execute("SELECT pg_sleep(60)"))
            await at.until_active(pid, "pg_sleep")
            work = await at.work(CANCEL_QUERY, pid=pid)
            await line.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await first
            second = asyncio.create_task(line.execute("SELECT pg_sleep(2), 'second'"))
            await at.until_active(pid, "second")
            await work.perform()
            assert [e.what for e in work.events][-1] is What.ALREADY
            await second

    asyncio.run(scene())


def test_a_session_is_ended_and_those_that_waited_go_on(server: Server, tmp_path: Path) -> None:
    """An idle transaction that holds a lock: the plan names whom it blocks and offers no cancel, the end frees them."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as holder, at.client() as waiter:
            await holder.execute("BEGIN")
            await holder.execute("UPDATE orders SET note = 'held' WHERE id = 1")
            pid = holder.info.backend_pid
            waiting = asyncio.create_task(waiter.execute("UPDATE orders SET note = 'after' WHERE id = 1"))
            await at.until(f"SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = {waiter.info.backend_pid} AND wait_event_type = 'Lock'")
            refused = await at.plan(CANCEL_QUERY, pid=pid)
            assert "runs no query" in refused.blocked
            assert f"terminate {pid}" in finding(refused, "session.idle").remedy
            work = await at.work(TERMINATE_SESSION, pid=pid)
            assert (work.plan.rung, work.plan.verb) == (Rung.DISRUPTIVE, "terminate")
            assert f"1 session waits for it: {waiter.info.backend_pid} (anna" in finding(work.plan, "session.blocks").sentence
            blocked = await at.plan(TERMINATE_SESSION, pid=waiter.info.backend_pid)
            assert f"waits itself for {pid} (anna, idle in transaction)" in finding(blocked, "session.waits").sentence
            await work.perform()
            await asyncio.wait_for(waiting, 10)
            assert f"{pid} on p: the session is gone" in work.told(What.SAID)
            again = await at.plan(TERMINATE_SESSION, pid=pid, started=work.plan.steps[0].args["started"])
            assert again.done == f"session {pid} has ended already"
            assert not again.steps

    asyncio.run(scene())


def test_a_pid_that_came_again_is_not_meant(server: Server, tmp_path: Path) -> None:
    """With another beginning given, a living session of that pid is left alone, by the plan and by the step."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as line:
            pid = line.info.backend_pid
            earlier = await at.plan(TERMINATE_SESSION, pid=pid, started="2026-01-17 02:00:00.123456+00")
            assert earlier.done
            plan = await at.plan(TERMINATE_SESSION, pid=pid)
            old = {**plan.steps[0].args, "started": "2026-01-17T02:00:00.123456+00:00"}
            work = at.confirmed(TERMINATE_SESSION, plan, {"pid": pid})
            assert await TERMINATE_SESSION.steps[0].done(type(plan.steps[0])(plan.steps[0].name, "", old), work.ctx)
            assert await (await line.execute("SELECT 1")).fetchone() == (1,)

    asyncio.run(scene())


def test_what_cannot_be_meant_is_refused(server: Server, tmp_path: Path) -> None:
    """An unknown pid names the longest transactions; an unknown instance the nearest; a time that is none is said; coldtui's own is refused."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as line, at.client(user="coldtui", application="coldtui") as own:
            await line.execute("BEGIN")
            with pytest.raises(NotFound, match=rf"no session 999999 on p · longest transactions: {line.info.backend_pid} \(anna, \d+s\)"):
                await at.plan(CANCEL_QUERY, pid=999999)
            with pytest.raises(NotFound, match="no instance q · there are: p"):
                await at.plan(CANCEL_QUERY, pid=1, instance="q")
            with pytest.raises(UsageError, match="started cannot be 'noon'"):
                await at.plan(CANCEL_QUERY, pid=1, started="noon")
            with pytest.raises(UsageError, match="pid"):
                await at.plan(CANCEL_QUERY, pid="x1")
            ours = await at.plan(TERMINATE_SESSION, pid=own.info.backend_pid)
            assert "is a session of coldtui" in ours.blocked

    asyncio.run(scene())


def test_a_missing_grant_is_named(server: Server, tmp_path: Path) -> None:
    """Without pg_signal_backend the run fails with exactly that name, and the session lives."""

    async def scene() -> None:
        async with on(server, tmp_path) as at, at.client() as line:
            work = await at.work(TERMINATE_SESSION, pid=line.info.backend_pid)
            await asyncio.to_thread(server.super, "REVOKE pg_signal_backend FROM coldtui")
            try:
                with pytest.raises(Forbidden) as caught:
                    await work.perform()
            finally:
                await asyncio.to_thread(server.super, "GRANT pg_signal_backend TO coldtui")
            assert "grant pg_signal_backend" in caught.value.hint
            assert await (await line.execute("SELECT 1")).fetchone() == (1,)

    asyncio.run(scene())


# ------------------------------------------------------------ who waits for whom, and what is said of the odd ones


def a_session(pid: int, *blocked_by: int, **changes: Any) -> Session:
    facts: dict[str, Any] = {"state": "active", "query": f"SELECT {pid}", "query_at": NOW, "transaction_at": NOW - timedelta(minutes=3)}
    return Session(pid, NOW - timedelta(hours=1), "app", "anna", "psql", "10.0.0.5", blocked_by=blocked_by, **{**facts, **changes})


def test_a_chain_is_walked_to_its_root() -> None:
    """Of three in a row the root blocks both, and the last waits for the root in the end; a circle ends."""
    root, middle, last = chain = (a_session(1, state="idle in transaction"), a_session(2, 1), a_session(3, 2))
    assert [s.pid for s in blocked_through(root, chain)] == [2, 3]
    assert roots_of(last, chain) == (root,)
    assert roots_of(root, chain) == ()
    circle = (a_session(1, 2), a_session(2, 1))
    assert [s.pid for s in blocked_through(circle[0], circle)] == [2]
    assert roots_of(circle[0], circle) == ()
    assert middle.blocked_by == (1,)


@pytest.mark.parametrize(
    ("changes", "of_cancel", "of_terminate"),
    [
        ({"kind": "walsender", "application": "postgres-2"}, ("session.walsender", Weight.STOP), ("session.walsender", Weight.WARNING)),
        ({"kind": "autovacuum worker", "query": "autovacuum: VACUUM public.x (to prevent wraparound)"}, ("session.wraparound", Weight.WARNING), ("session.wraparound", Weight.WARNING)),
        ({"kind": "autovacuum worker", "query": "autovacuum: VACUUM public.x"}, ("session.autovacuum", Weight.NOTE), ("session.autovacuum", Weight.NOTE)),
        ({"state": "", "query": "", "query_at": None}, ("session.unknown-query", Weight.STOP), ("session.unseen", Weight.WARNING)),
        ({"state": "idle", "transaction_at": None}, ("session.idle", Weight.STOP), ("session.blocks-none", Weight.GOOD)),
    ],
)  # fmt: skip
def test_odd_sessions_are_told_apart(changes: dict[str, Any], of_cancel: tuple[str, Weight], of_terminate: tuple[str, Weight]) -> None:
    """Senders of WAL, autovacuum, sessions that may not be seen, idle ones: each with its own finding and weight."""
    facts: dict[str, Any] = {"application": "psql", "state": "active", "query_at": NOW, "transaction_at": NOW, **changes}
    session = Session(7, NOW, "app", "anna", address="", **facts)
    for found, (code, weight) in ((cancel_findings(session, (session,), NOW), of_cancel), (terminate_findings(session, (session,), NOW), of_terminate)):  # fmt: skip
        (one,) = [f for f in found if f.code == code]
        assert one.weight is weight
        assert (one.outlook is Outlook.REFUSED) is (weight is Weight.STOP)
        assert [int(f.weight) for f in found] == sorted((int(f.weight) for f in found), reverse=True)


def test_a_beginning_is_read_as_it_is_written_anywhere() -> None:
    """As PostgreSQL prints it, as ISO 8601, as a session's key has it, and without a zone as UTC."""
    at = datetime(2026, 1, 17, 2, 0, 0, 123456, tzinfo=UTC)
    for text in (
        "2026-01-17 02:00:00.123456+00",
        "2026-01-17T02:00:00.123456Z",
        "20260117T020000.123456",
        "2026-01-17 03:00:00.123456+01:00",
    ):
        assert moment(text) == at, text
    assert moment(" ") is None
