"""The fake database does what its port says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coldtui.domain.errors import Refused, Unauthorized, Unreachable
from coldtui.domain.replication import SqlStatus
from coldtui.domain.sessions import Session
from coldtui.lab.fakes import FakeDatabase, FakeServer
from coldtui.ports import Chosen, Database, Told

AT = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
PRIMARY = SqlStatus(False, "1", 7, "18.6", AT)
SESSION = Session(41, AT, "app", "app", "web", "", "active")


def made() -> FakeDatabase:
    standby = FakeServer(replace(PRIMARY, in_recovery=True), address="127.0.0.1:2")
    return FakeDatabase({"postgres-1": FakeServer(PRIMARY, (SESSION,), address="127.0.0.1:1"), "postgres-2": standby})


def test_sessions_are_ended_by_pid_and_start() -> None:
    """A later session with the same pid is not hit; the one that is meant is gone after it was terminated."""
    database: Database = (fake := made())
    assert asyncio.run(database.terminate("postgres-1", Chosen(41, datetime(2026, 1, 1, tzinfo=UTC)))) is False
    assert asyncio.run(database.terminate("postgres-1", Chosen(41, AT))) is True
    assert asyncio.run(database.sessions("postgres-1")) == ()
    assert fake.ended == [("terminate", "postgres-1", Chosen(41, AT))]


def test_a_standby_takes_neither_writes_nor_maintenance() -> None:
    """Both are refused, and the primary answers with its address."""
    fake = made()
    lines: list[Told] = []
    fake.says = (Told("INFO", "vacuuming"),)
    assert asyncio.run(fake.probe_write("postgres-1")) == "127.0.0.1:1"
    asyncio.run(fake.maintain("postgres-1", "app", ("vacuum", "public.orders"), told=lines.append))
    assert (lines, fake.maintained) == ([Told("INFO", "vacuuming")], [("postgres-1", "app", ("vacuum", "public.orders"))])
    with pytest.raises(Refused):
        asyncio.run(fake.probe_write("postgres-2"))
    with pytest.raises(Refused):
        asyncio.run(fake.maintain("postgres-2", "app", ("vacuum",)))


def test_trouble_to_order() -> None:
    """A server that hangs, one that refuses the password, one that is not there, and a closed gate."""
    fake = made()
    fake.servers["postgres-1"].hangs = True
    fake.servers["postgres-2"].fails = lambda: Unauthorized("wrong password")
    fake.servers["postgres-3"] = FakeServer()
    with pytest.raises(Unreachable, match=r"0\.01 s"):
        asyncio.run(fake.status("postgres-1", deadline_s=0.01))
    with pytest.raises(Unauthorized):
        asyncio.run(fake.status("postgres-2"))
    with pytest.raises(Unreachable, match="refuses"):
        asyncio.run(fake.status("postgres-3"))
    with pytest.raises(Unreachable, match="no address"):
        asyncio.run(fake.status("vip"))
    fake.writable = False
    with pytest.raises(Refused, match="read-only"):
        asyncio.run(fake.cancel("postgres-2", Chosen(1, AT)))
