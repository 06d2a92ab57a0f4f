"""The program's reading of a real database, without a face: what it fills in, how soon roles change, and a server that is silent beside others."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from coldtui.config.load import load
from coldtui.domain import topology
from coldtui.domain.readings import Known, Unknown
from coldtui.domain.world import World
from coldtui.live.core import Live
from coldtui.wiring import open_site
from tests.whole.acting import Seat
from tests.whole.ground import environment
from tests.whole.servers import Servers, other

Record = Callable[[str, object], None]
ALL = {"postgres-1", "postgres-2", "postgres-3"}
PERIOD_S = 2.0
"""Between two questions to a server that is shown."""
SOON_S = 10.0
"""2 s are promised and recorded; the command that is waited for looks every 2 s itself."""
WHILE_S = 8.0

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def watching(config: Path, folder: Path) -> AsyncIterator[Live]:
    """What the console shows its screens from, with somebody who looks at the database."""
    environ = environment(folder / "home", COLDTUI_STATE=str(folder / "state"))
    site = open_site(load({}, environ, config_flag=str(config)), environ)
    await site.live.start()
    end = site.live.attend("database")
    try:
        yield site.live
    finally:
        end()
        await site.live.close()


def leader(world: World) -> str:
    """Who is primary by SQL, as the World has it."""
    return " ".join(sorted(n for n, r in world.pg_sql.items() if n in ALL and isinstance(r, Known) and not r.value.in_recovery))


def filled(world: World, primary: str) -> bool:
    """All three sources have told, of all, and there is a first sample of each trend that is no rate."""
    named = all(isinstance(world.pg_sql.get(name), Known) for name in ALL | {"vip"})
    managed = all(isinstance(world.pg_managers.get(f"database/{name}"), Known) for name in ALL)
    trends = {"pg_connections"} | {f"pg_lag/{name}" for name in ALL - {primary}}
    return named and managed and isinstance(world.pg_lease, Known) and trends <= {*world.trends}


def test_the_world_is_filled_and_roles_change_in_it(servers: Servers, seat: Seat, tmp_path: Path, record_property: Record) -> None:
    """SQL, managers, Lease and trends are there; after a switchover from the command line the World has the new primary within 2 s of the servers."""

    async def scene() -> None:
        async with watching(servers.config, tmp_path) as live:
            primary, target = servers.primary, other(servers)
            began = time.monotonic()
            world = await live.until(lambda w: filled(w, primary), 40)
            record_property("filled_after_s", round(time.monotonic() - began, 1))
            assert leader(world) == primary
            assert isinstance(world.pg_lease, Known)
            assert world.pg_lease.value is not None
            assert world.pg_lease.value.holder == primary
            truth = asyncio.create_task(asyncio.to_thread(promoted, servers, target))
            shown = asyncio.create_task(live.until(lambda w: leader(w) == target, 60))
            seen = asyncio.create_task(_when(shown))
            switched = asyncio.create_task(
                asyncio.to_thread(
                    seat.run,
                    "--config",
                    str(servers.config),
                    "postgres",
                    "switchover",
                    "--to",
                    target,
                    "--reason",
                    "a test",
                    "--yes",
                    target,
                )
            )
            late = await seen - await truth
            record_property("role_known_after_s", round(late, 2))
            done = await switched
            assert done.code == 0, done.err
            assert late < SOON_S
            world = await live.until(lambda w: topology.topology(w, topology.cluster_of(w), _now()).primary == target, 10)
            for name in sorted(ALL - {target}):
                found = world.pg_sql[name]
                assert isinstance(found, Known)
                assert found.value.in_recovery

    asyncio.run(scene())


def _now() -> datetime:
    return datetime.now().astimezone()


async def _when(work: asyncio.Task[Any]) -> float:
    await work
    return time.monotonic()


def promoted(servers: Servers, name: str) -> float:
    """When a server itself says that it is the primary."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(psycopg.Error), psycopg.connect(servers.dsn(name), autocommit=True, connect_timeout=2) as connection:
            while time.monotonic() < end:
                if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                    return time.monotonic()
                time.sleep(0.02)
    raise AssertionError(f"{name} never became primary")


# ---------------------------------------------------------------- a server that accepts and never answers


class Stalling:
    """Stands before a server; while it stalls, it accepts and reads, and nothing comes back."""

    def __init__(self, host: str, port: int) -> None:
        self.to = (host, port)
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.accepted = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._listening.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server: asyncio.StreamWriter | None = None
        try:
            back, server = await asyncio.open_connection(*self.to)
            await asyncio.gather(self._pump(reader, server), self._pump(back, writer))
        finally:
            for each in (writer, server):
                if each is not None:
                    each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
        writer.close()


async def distances(live: Live, names: set[str], seconds: float) -> dict[str, list[float]]:
    """Seconds between two answers of each server, for so long."""
    told: dict[str, list[datetime]] = {name: [] for name in names}

    def look(world: World) -> None:
        for name in names:
            found = world.pg_sql.get(name)
            if isinstance(found, Known) and (not told[name] or told[name][-1] != found.as_of):
                told[name].append(found.as_of)

    end = live.subscribe(look)
    await asyncio.sleep(seconds)  # a rate is measured over a time
    end()
    return {name: [round((b - a).total_seconds(), 2) for a, b in itertools.pairwise(at)] for name, at in told.items()}


def steady(found: dict[str, list[float]], seconds: float) -> bool:
    """Each was asked at its pace: nobody waited for the deadline of another, which would be 2 s more."""
    return all(len(d) >= seconds / PERIOD_S / 2 and statistics.median(d) < PERIOD_S + 1.5 for d in found.values())


def test_a_silent_server_delays_nobody(servers: Servers, seat: Seat, tmp_path: Path, record_property: Record) -> None:
    """One accepts and never answers, at its connection and then under a kept one: it is named after 2 s, and the others are asked at their pace all the while."""
    name = next(n for n in sorted(ALL) if n != servers.primary)
    host, port = servers.addresses[name].split(":")

    async def scene() -> None:
        silent = Stalling(host, int(port))
        silent.flowing.clear()
        settings = {**servers.settings, "postgres": {**servers.settings["postgres"]}}
        settings["postgres"]["instances"] = {**servers.addresses, name: f"127.0.0.1:{await silent.start()}"}
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        others = (ALL | {"vip"}) - {name}
        try:
            async with watching(config, tmp_path) as live:
                began = time.monotonic()
                world = await live.until(
                    lambda w: isinstance(w.pg_sql.get(name), Unknown) and all(isinstance(w.pg_sql.get(n), Known) for n in others), 15
                )
                record_property("silence_named_after_s", round(time.monotonic() - began, 1))
                assert "did not answer within 2 s" in _words(world, name)
                found = await distances(live, others, WHILE_S)
                record_property("distances_beside_one_that_never_answered", found)
                assert steady(found, WHILE_S), found
                silent.flowing.set()
                await live.until(lambda w: isinstance(w.pg_sql.get(name), Known), 30)
                silent.flowing.clear()
                world = await live.until(lambda w: isinstance(w.pg_sql.get(name), Unknown), 10)
                assert "did not answer within 2 s" in _words(world, name)
                found = await distances(live, others, WHILE_S)
                record_property("distances_beside_one_that_stopped", found)
                assert steady(found, WHILE_S), found
                record_property("connections_to_the_silent_one", silent.accepted)
        finally:
            await silent.close()

    asyncio.run(scene())


def _words(world: World, name: str) -> str:
    found = world.pg_sql[name]
    assert isinstance(found, Unknown)
    return found.reason
