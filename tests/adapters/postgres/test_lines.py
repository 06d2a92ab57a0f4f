"""Connections: who holds one keeps it, whatever the server has as its own defaults it is read, and a name has several addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from coldtui.adapters.postgres import connect, lines
from coldtui.adapters.postgres.failures import translate
from coldtui.adapters.postgres.lines import Connection, all_of
from coldtui.config.settings import Config
from coldtui.domain.errors import Misconfigured, NotFound, Unauthorized, Unreachable

from .servers import PASSWORD, Server, play


async def sleeping(connection: Connection) -> Any:
    return await all_of(connection, "SELECT pg_sleep(1)::text || 'slept' AS word")


@pytest.mark.parametrize("cancelled", [False, True])
def test_who_waits_for_a_connection_leaves_it_to_who_holds_it(server: Server, cancelled: bool) -> None:
    """A question that runs out of time, or is cancelled, before its turn ends without the connection of the other, which is answered."""

    async def scene() -> None:
        adapter = server.adapter()
        long = asyncio.create_task(adapter._lines.ask("p", sleeping, 10.0))
        while adapter._lines.place("p").kept is None:
            assert not long.done()
            await asyncio.sleep(0.01)
        waiting = asyncio.create_task(adapter.status("p", deadline_s=10.0 if cancelled else 0.2))
        if cancelled:
            await asyncio.sleep(0)
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError if cancelled else Unreachable):
            await waiting
        assert (await long)[0]["word"] == "slept"
        assert (await adapter.status("p")).timeline == 1
        await adapter.aclose()

    play(scene())


def test_sizes_wait_for_nobody(server: Server) -> None:
    """Databases are read while the kept connection is in use; each question has its own time at the server."""

    async def scene() -> None:
        adapter = server.adapter()
        await adapter.status("p", deadline_s=2.0)
        long = asyncio.create_task(adapter._lines.ask("p", sleeping, 10.0))
        await asyncio.sleep(0)
        assert [d.name for d in await adapter.databases("p")]
        assert not long.done()
        assert (await long)[0]["word"] == "slept"
        limit = await adapter._lines.ask("p", lambda c: all_of(c, "SHOW statement_timeout"), 7.0)
        assert limit[0]["statement_timeout"] == "7s"
        await adapter.aclose()

    play(scene())


@pytest.fixture
def strange(monitor: Server) -> Iterator[Server]:
    """The login has dates, zone and encoding of its own."""
    own = {"datestyle": "'SQL, DMY'", "timezone": "'Asia/Tokyo'", "client_encoding": "'LATIN1'"}
    for name, value in own.items():
        monitor.super(f"ALTER ROLE coldtui SET {name} = {value}")
    yield monitor
    for name in own:
        monitor.super(f"ALTER ROLE coldtui RESET {name}")


def test_the_defaults_of_a_login_change_nothing(strange: Server) -> None:
    """Moments are read as they are, whatever date style, zone and encoding the login begins with."""

    async def scene() -> None:
        adapter = strange.adapter()
        found = await adapter.status("p")
        assert abs(found.started - datetime.now(UTC)) < timedelta(minutes=30)
        shown = await adapter._lines.ask("p", lambda c: all_of(c, "SHOW client_encoding"), 2.0)
        assert shown[0]["client_encoding"] == "UTF8"
        await adapter.aclose()

    play(scene())


def test_text_of_any_encoding_is_shown(monitor: Server) -> None:
    """A query that is not UTF-8 hides no other session, and a database without an encoding tells its texts."""
    monitor.super("CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        with psycopg.connect(
            f"host=127.0.0.1 port={monitor.port} user=postgres password={PASSWORD} dbname=bytes client_encoding=SQL_ASCII", autocommit=True
        ) as line:
            line.execute(b"SELECT 'caf\xe9' AS word")

            async def scene() -> None:
                for database in ("postgres", "bytes"):
                    adapter = monitor.adapter(database=database)
                    queries = [s.query for s in await adapter.sessions("p")]
                    assert "SELECT 'caf\ufffd' AS word" in queries
                    assert {d.name for d in await adapter.databases("p")} >= {"bytes", "postgres"}
                    assert (await adapter.status("p")).timeline == 1
                    await adapter.aclose()

            play(scene())
    finally:
        monitor.super("DROP DATABASE bytes WITH (FORCE)")


def test_a_dead_address_leaves_time_to_the_next(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name with two addresses the second one answers although the first is silent; the next connection begins with it."""

    async def scene() -> None:
        async def both(host: str, port: int) -> list[str]:
            return ["127.0.0.2", "127.0.0.1"]

        monkeypatch.setattr(lines, "_addresses", both)
        with socket.create_server(("127.0.0.2", server.port)):
            adapter = server.adapter()
            assert (await adapter.status("p")).listens == f"127.0.0.1:{server.port}"
            assert adapter._lines.place("p").reached == "127.0.0.1"
            await adapter.aclose()

    play(scene())


def test_the_environment_leads_nowhere_else(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and kinds of servers that libpq takes from the environment are not ours."""
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.9")
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")

    async def scene() -> None:
        adapter = server.adapter()
        assert (await adapter.status("p", deadline_s=1.0)).timeline == 1
        adapter.at("name", "localhost", server.port)
        assert (await adapter.status("name", deadline_s=1.0)).timeline == 1
        adapter.at("nobody", "nobody.invalid", server.port)
        with pytest.raises(Unreachable) as error:
            await adapter.status("nobody")
        assert getattr(error.value, "kind", "") in ("dns", "timeout")
        await adapter.aclose()

    play(scene())


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("SSL connection has been closed unexpectedly", "lost"),
        ("SSL SYSCALL error: EOF detected", "lost"),
        ("server closed the connection unexpectedly\n\tThis probably means the server terminated abnormally", "lost"),
        ("SSL error: certificate verify failed", "tls"),
        ("server does not support SSL, but SSL was required", "tls"),
        ('connection to server at "10.0.0.1", port 5432 failed: FATAL:  sorry, too many clients already', "server"),
    ],
)
def test_the_remedy_fits_the_trouble(said: str, kind: str) -> None:
    """A backend that was killed is no matter of TLS; what is one still is."""
    found = translate(psycopg.OperationalError(said), "p", "10.0.0.1:5432", "coldtui")
    assert getattr(found, "kind", "") == kind
    assert ("sslmode" in found.hint or "sslrootcert" in found.hint) is (kind == "tls")


def test_a_database_and_a_role_that_do_not_exist_differ() -> None:
    """The one is a name to check, the other a login."""
    begin = 'connection failed: connection to server at "10.0.0.1", port 5432 failed: FATAL:  '
    found = translate(psycopg.OperationalError(begin + 'database "ap" does not exist'), "p", "10.0.0.1:5432", "coldtui")
    assert type(found) is NotFound
    assert type(translate(psycopg.OperationalError(begin + 'role "x" does not exist'), "p", "h", "x")) is Unauthorized


def test_an_unreadable_form_is_told() -> None:
    """What the driver cannot read is no fault of this program."""
    for error in (NotImplementedError("DateStyle"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid")):
        assert "cannot be read" in str(translate(error, "p", "h", "x"))


@pytest.mark.parametrize(
    ("named", "where"),
    [("fd00::10", "fd00::10:5432"), ("[fd00::10]:6432", "fd00::10:6432"), ("db.site:6432", "db.site:6432"), ("10.0.0.5", "10.0.0.5:5432")],
)
def test_an_address_of_the_site_is_taken(named: str, where: str) -> None:
    """POSTGRES_PRIMARY_HOST as sites write it, an IPv6 address without brackets too."""
    assert connect(Config(site_variables={"POSTGRES_PRIMARY_HOST": named}), writable=False)._lines.place("vip").where == where


@pytest.mark.parametrize("named", ["10.0.0.5, 10.0.0.6", "postgres://db/app", "10.0.0.5/24", "db:99999"])
def test_an_address_that_is_none_is_told_by_its_variable(named: str, tmp_path: Path) -> None:
    """Misconfigured for the VIP alone, and named; no pod's address replaces it silently."""

    async def scene() -> None:
        adapter = connect(Config(site_variables={"POSTGRES_PRIMARY_HOST": named}), writable=False)
        adapter.at("vip", "127.0.0.1", 1)
        adapter.at("postgres-1", "127.0.0.1", 1)
        assert adapter.targets == ("postgres-1", "vip")
        with pytest.raises(Misconfigured, match="POSTGRES_PRIMARY_HOST cannot be"):
            await adapter.status("vip")
        with pytest.raises(Unreachable):
            await adapter.status("postgres-1")

    play(scene())
