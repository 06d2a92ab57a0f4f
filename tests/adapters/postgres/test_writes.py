"""The write that proves that commits end, against real servers, one of them with a standby that never comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from coldtui.adapters.postgres.writes import MOST
from coldtui.domain.errors import Refused, Unreachable

from .servers import Server, play


@pytest.fixture
def hanging(server: Server) -> Iterator[Server]:
    """Its commits wait for a standby that there is not."""
    server.super("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.super("SELECT pg_reload_conf()")
    until(lambda: server.super("SHOW synchronous_standby_names")[0][0] == "nobody")
    yield server
    server.super("ALTER SYSTEM RESET synchronous_standby_names")
    server.super("SELECT pg_reload_conf()")
    until(lambda: server.super("SHOW synchronous_standby_names")[0][0] == "")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def commits(server: Server) -> int:
    """Of ours that wait at the server."""
    found = server.super("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'coldtui' AND wait_event = 'SyncRep'")
    return int(found[0][0])


def test_a_write_is_proven(monitor: Server) -> None:
    """The probe says which server took the write; it is a record of the WAL, and pg_monitor alone is enough for it."""

    async def scene() -> None:
        before = monitor.super("SELECT pg_current_wal_insert_lsn()")[0][0]
        assert await monitor.adapter(writable=True).probe_write("p") == f"127.0.0.1:{monitor.port}"
        assert monitor.super(f"SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '{before}') > 0")[0][0]

    play(scene())


def test_a_commit_that_waits_for_a_standby_is_no_write(hanging: Server) -> None:
    """It is told at its deadline, and nothing of it stays at the server."""

    async def scene() -> None:
        adapter = hanging.adapter(writable=True)
        began = time.monotonic()
        with pytest.raises(Unreachable, match=r"does not end a commit \(127.0.0.1:\d+\) within 0.5 s") as error:
            await adapter.probe_write("p", deadline_s=0.5)
        assert time.monotonic() - began < 5
        assert getattr(error.value, "kind", "") == "server"
        await asyncio.to_thread(until, lambda: commits(hanging) == 0)
        await adapter.aclose()

    play(scene())


def test_a_caller_that_goes_takes_its_commit_along(hanging: Server) -> None:
    """Cancelled in the middle of the commit, the statement is cancelled on the server, also when the adapter is closed at once."""

    async def scene() -> None:
        adapter = hanging.adapter(writable=True)
        asked = asyncio.create_task(adapter.probe_write("p", deadline_s=30))
        await asyncio.to_thread(until, lambda: commits(hanging) == 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await adapter.aclose()
        await asyncio.to_thread(until, lambda: commits(hanging) == 0)

    play(scene())


def test_a_wait_that_somebody_cancels_is_no_write(hanging: Server) -> None:
    """The server calls it a success with a warning; it is Refused, with that warning."""

    async def scene() -> None:
        adapter = hanging.adapter(writable=True)
        asked = asyncio.create_task(adapter.probe_write("p", deadline_s=30))
        await asyncio.to_thread(until, lambda: commits(hanging) == 1)
        await asyncio.to_thread(hanging.super, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        with pytest.raises(Refused, match="did not wait for its standbys") as error:
            await asked
        assert "synchronous replication" in error.value.detail
        await adapter.aclose()

    play(scene())


def test_commits_do_not_pile_up(hanging: Server) -> None:
    """With that many of them at a server the next is refused before it writes, and the server is not asked for one more."""

    async def scene() -> None:
        adapter = hanging.adapter(writable=True)
        asked = [asyncio.create_task(adapter.probe_write("p", deadline_s=30)) for _ in range(MOST)]
        await asyncio.to_thread(until, lambda: commits(hanging) == MOST)
        with pytest.raises(Unreachable, match=f"{MOST} lie there"):
            await adapter.probe_write("p", deadline_s=5)
        assert await asyncio.to_thread(commits, hanging) == MOST
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.to_thread(until, lambda: commits(hanging) == 0)
        await adapter.aclose()

    play(scene())


def test_a_login_that_may_only_read(server: Server) -> None:
    """A server or a login that begins read-only transactions takes no writes."""

    async def scene() -> None:
        server.super("ALTER ROLE coldtui SET default_transaction_read_only = on")
        try:
            with pytest.raises(Refused, match="read-only"):
                await server.adapter(writable=True).probe_write("p")
        finally:
            server.super("ALTER ROLE coldtui RESET default_transaction_read_only")

    play(scene())
