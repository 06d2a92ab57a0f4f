"""`ports.Database` held to real servers: PostgreSQL 18 of the wheel and, where it is installed, Debian's 15."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from coldtui.domain.errors import ColdError, Forbidden, Misconfigured, NotFound, Refused, Unauthorized, Unreachable, UsageError
from coldtui.ports import Chosen, Told

from .servers import Server, client, free_port, play


def test_a_primary_tells_of_itself(monitor: Server) -> None:
    """Role, system, timeline, position, counters and limits come in one answer, and nothing is missing."""

    async def scene() -> None:
        adapter = monitor.adapter()
        found = await adapter.status("p")
        assert (found.in_recovery, found.timeline, found.missing) == (False, 1, ())
        assert found.system_id == monitor.super("SELECT system_identifier::text FROM pg_control_system()")[0][0]
        assert found.current is not None
        assert found.listens == f"127.0.0.1:{monitor.port}"
        assert found.version.split(".")[0] == str(int(monitor.super("SHOW server_version_num")[0][0]) // 10000)
        assert 0 < found.connections < found.max_connections
        await adapter.aclose()

    play(scene())


def test_a_missing_grant_is_named(server: Server) -> None:
    """Without pg_monitor there is less, and it is said which grant would show it."""

    async def scene() -> None:
        adapter = server.adapter()
        found = await adapter.status("p")
        assert len(found.missing) == 1
        assert found.missing[0].startswith("pg_monitor: ")
        assert found.archiver is None or found.archiver.waiting is None
        await adapter.aclose()

    play(scene())


def test_a_login_that_is_refused(server: Server) -> None:
    """A wrong password and an unknown user are Unauthorized, name target and user, and never show the password."""

    async def scene() -> None:
        for adapter, user in ((server.adapter(password="wrong-one"), "coldtui"), (server.adapter(user="nobody_here"), "nobody_here")):
            with pytest.raises(Unauthorized) as error:
                await adapter.status("p")
            assert user in str(error.value)
            assert "wrong-one" not in f"{error.value} {error.value.detail} {error.value.hint}"

    play(scene())


def test_connections_are_those_of_clients(server: Server) -> None:
    """What takes none of `max_connections` (a walsender, autovacuum, parallel workers) is not counted among them."""

    async def scene() -> None:
        adapter, one = server.adapter(), await client(server)
        try:
            found = await adapter.status("p")
            clients = server.super(
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            assert [(found.connections,)] == clients
            assert [(found.connections,)] != server.super("SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        finally:
            await one.close()
            await adapter.aclose()

    play(scene())


def test_a_database_that_is_not_there(server: Server) -> None:
    """The name of the database is in the words, and the setting that names it."""

    async def scene() -> None:
        with pytest.raises(Misconfigured, match="nowhere") as error:
            await server.adapter(database="nowhere").status("p")
        assert error.value.hint == "mend postgres.database"

    play(scene())


def test_tls_that_the_server_does_not_speak(server: Server) -> None:
    """A demand for TLS is not given up silently."""

    async def scene() -> None:
        with pytest.raises(Unreachable) as error:
            await server.adapter(sslmode="require").status("p")
        assert getattr(error.value, "kind", "") == "tls"

    play(scene())


def test_nobody_listens(server: Server) -> None:
    """A refused port says so with its address; a target without an address is NotFound with the setting that gives it one."""

    async def scene() -> None:
        adapter, port = server.adapter(), free_port()
        adapter.at("gone", "127.0.0.1", port)
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}") as error:
            await adapter.status("gone")
        assert getattr(error.value, "kind", "") == "refused"
        with pytest.raises(NotFound) as missing:
            await adapter.status("postgres-9")
        assert "postgres.instances.postgres-9" in missing.value.hint

    play(scene())


def test_a_server_that_never_answers_delays_nobody(server: Server) -> None:
    """One that accepts and stays silent is given up at its deadline, while the other has answered long before."""

    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            adapter = server.adapter()
            adapter.at("deaf", "127.0.0.1", deaf.getsockname()[1])
            silent = asyncio.create_task(adapter.status("deaf", deadline_s=1.0))
            await asyncio.sleep(0)
            assert (await adapter.status("p")).timeline == 1
            assert not silent.done()
            with pytest.raises(Unreachable) as error:
                await silent
            assert getattr(error.value, "kind", "") == "timeout"
            await adapter.aclose()

    play(scene())


def test_one_connection_a_target(monitor: Server) -> None:
    """Twenty questions, several at once, leave one connection; after closing there is none."""

    def ours() -> int:
        return int(monitor.super("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'coldtui'")[0][0])

    async def scene() -> None:
        adapter = monitor.adapter()
        for _ in range(4):
            await asyncio.gather(*(adapter.status("p") for _ in range(3)), adapter.sessions("p"), adapter.progress("p"))
        assert await asyncio.to_thread(ours) == 1
        await adapter.aclose()
        end = time.monotonic() + 5
        while await asyncio.to_thread(ours):
            assert time.monotonic() < end, "a connection is left"

    play(scene())


def test_a_connection_that_was_cut_is_replaced(monitor: Server) -> None:
    """The server ends our session in the middle: the next question is answered on a new one."""

    async def scene() -> None:
        adapter = monitor.adapter()
        await adapter.status("p")
        await asyncio.to_thread(monitor.super, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'coldtui'")
        assert (await adapter.status("p")).timeline == 1
        await adapter.aclose()

    play(scene())


def test_the_closed_gate(server: Server) -> None:
    """Every act is Refused before anything is sent, and the kept connection cannot write."""

    async def scene() -> None:
        adapter = server.adapter()
        session = Chosen(1, (await adapter.status("p")).started)
        for act in (
            adapter.cancel("p", session),
            adapter.terminate("p", session),
            adapter.maintain("p", "postgres", ("vacuum",)),
            adapter.probe_write("p"),
        ):
            with pytest.raises(Refused):
                await act
        said = await asyncio.to_thread(server.super, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'coldtui'")
        assert said[0][0] == 1
        place = adapter._lines.place("p")
        assert place.kept is not None
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await place.kept.execute("CREATE TABLE never (i int)")
        await adapter.aclose()

    play(scene())


def test_cancel_and_terminate_mean_one_session(monitor: Server) -> None:
    """pid alone is not enough: another backend start is nobody. The right one is cancelled, then terminated, then gone."""

    async def scene() -> None:
        adapter, line = monitor.adapter(writable=True), await client(monitor, "victim")
        sleeping = asyncio.create_task(line.execute("SELECT pg_sleep(60)"))
        victim = None
        end = time.monotonic() + 10
        while victim is None:
            assert time.monotonic() < end
            victim = next((s for s in await adapter.sessions("p") if s.application == "victim" and s.state == "active"), None)
        right = Chosen(victim.pid, victim.started)
        other = replace(right, started=right.started - timedelta(seconds=1))
        assert await adapter.cancel("p", other) is False
        assert await adapter.terminate("p", other) is False
        assert not sleeping.done()
        assert await adapter.cancel("p", right) is True
        with pytest.raises(psycopg.errors.QueryCanceled):
            await sleeping
        assert await adapter.terminate("p", right) is True
        with pytest.raises(psycopg.OperationalError):
            await line.execute("SELECT 1")
        assert await adapter.terminate("p", right) is False
        await adapter.aclose()

    play(scene())


def test_who_blocks_whom(monitor: Server) -> None:
    """The one that waits names the pid that holds the lock, and its wait event."""

    async def scene() -> None:
        monitor.super("CREATE TABLE rows (i int); GRANT ALL ON rows TO coldtui; INSERT INTO rows VALUES (1)")
        holder, waiter = await client(monitor, "holder"), await client(monitor, "waiter")
        await holder.execute("BEGIN")
        await holder.execute("UPDATE rows SET i = 2")
        waiting = asyncio.create_task(waiter.execute("UPDATE rows SET i = 3"))
        adapter, end = monitor.adapter(), time.monotonic() + 10
        while True:
            assert time.monotonic() < end
            found = {s.application: s for s in await adapter.sessions("p")}
            if found.get("waiter") and found["waiter"].blocked_by:
                break
        assert found["waiter"].blocked_by == (found["holder"].pid,)
        assert found["waiter"].wait.startswith("Lock")
        assert found["holder"].state == "idle in transaction"
        await holder.execute("COMMIT")
        await waiting
        await adapter.aclose()
        await holder.close()
        await waiter.close()
        monitor.super("DROP TABLE rows")

    play(scene())


def test_a_vacuum_that_is_left_out_is_told(server: Server) -> None:
    """The server only warns about a table of somebody else; here it is Forbidden. Of a table of our own it runs and tells."""

    async def scene() -> None:
        server.super("CREATE TABLE theirs (i int); CREATE TABLE ours (i int); ALTER TABLE ours OWNER TO coldtui")
        adapter, told = server.adapter(writable=True), list[Told]()
        with pytest.raises(Forbidden, match="theirs"):
            await adapter.maintain("p", "postgres", ("vacuum", "public.theirs"))
        await adapter.maintain("p", "postgres", ("vacuum", "public.ours"), told=told.append)
        assert any("ours" in line.text for line in told)
        with pytest.raises(UsageError):
            await adapter.maintain("p", "postgres", ("truncate", "public.ours"))
        server.super("DROP TABLE theirs, ours")

    play(scene())


def test_an_address_is_asked_as_by_a_new_client(monitor: Server) -> None:
    """`anew` goes where the address leads now: a server that takes nobody in any more is refused, though one that was let in before goes on."""

    async def scene() -> None:
        adapter = monitor.adapter()
        kept, fresh = await adapter.status("p"), await adapter.status("p", anew=True)
        assert (fresh.listens, fresh.system_id) == (kept.listens, kept.system_id)
        monitor.super("ALTER ROLE coldtui CONNECTION LIMIT 0")
        try:
            assert (await adapter.status("p")).listens == kept.listens
            with pytest.raises(ColdError):
                await adapter.status("p", anew=True)
        finally:
            monitor.super("ALTER ROLE coldtui CONNECTION LIMIT -1")
        await adapter.aclose()

    play(scene())


def test_the_age_of_transaction_ids_comes_with_the_status(monitor: Server) -> None:
    """Of the oldest database, without a look at each."""

    async def scene() -> None:
        adapter = monitor.adapter()
        found = (await adapter.status("p")).xid_age
        assert found is not None
        assert abs(found - monitor.super("SELECT max(age(datfrozenxid)) FROM pg_database")[0][0]) < 100
        await adapter.aclose()

    play(scene())
