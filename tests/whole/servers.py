"""The lab with its three real PostgreSQL servers, asked by plain clients none of whose code is the program's, and hands that switch over there."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from coldtui.lab.postgres.load import Load, in_background
from tests.whole.acting import Lab, Place, Players, Seat, answer, arm, type_word
from tests.whole.ground import Console, Json, until

CLUSTER = "/apis/postgresql.cnpg.io/v1/namespaces/database/clusters/cold-postgres"
HEALTHY = "Cluster in healthy state"
STOPPED = re.compile(r"timeline (\d+) -> (\d+); writes through vip stopped for ([\d,]+) ms")
CARD = re.compile(r"╭─ (postgres-\d+) ─")
ROW = re.compile(r"^ (postgres-\d+) ")
WHOLE_S = 60.0


class Servers(Lab):
    """The lab as `coldtui demo --headless` runs it, with a dead primary's Lease free after four seconds."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.players = Players(folder / "log", "servers", str(folder / "lab"))
        told = self.players.ready
        self.control = Path(told["control"])
        self.kubeconfig, self.viewer, self.config = Path(told["kubeconfig"]), Path(told["view_kubeconfig"]), Path(told["config"])
        self.settings: Json = yaml.safe_load(self.config.read_text())
        self.addresses: dict[str, str] = self.settings["postgres"]["instances"]
        lines = (line.split(":") for line in Path(told["postgres_passfile"]).read_text().splitlines())
        self._passwords = {fields[3]: fields[4] for fields in lines}
        self._vip = str(told["postgres_dsn"])

    # --- asking

    @property
    def status(self) -> Json:
        found: Json = self.get(CLUSTER)["status"]
        return found

    @property
    def primary(self) -> str:
        return str(self.status["currentPrimary"])

    def dsn(self, name: str, database: str = "app", user: str = "postgres") -> str:
        """Of one server, with the password."""
        host, port = self.addresses[name].split(":")
        return f"host={host} port={port} dbname={database} user={user} password={self._passwords[user]} application_name=whole"

    def sql(self, name: str, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn(name, "postgres"), autocommit=True, connect_timeout=2) as connection:
            return connection.execute(statement.encode()).fetchall()

    def streaming(self, primary: str) -> set[str]:
        """Standbys that stream from it."""
        return {row[0] for row in self.sql(primary, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")}

    def timeline(self, name: str) -> int:
        return int(self.sql(name, "SELECT timeline_id FROM pg_control_checkpoint()")[0][0])

    def lsn(self, name: str) -> int:
        """Where a primary writes."""
        return int(self.sql(name, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

    def branched_at(self, name: str) -> int:
        """Where the newest timeline of a primary begins: what the old one wrote after that is lost."""
        history = self.sql(
            name, "SELECT pg_read_file('pg_wal/' || (SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)) || '.history')"
        )
        high, low = str(history[0][0]).strip().splitlines()[-1].split("\t")[1].split("/")
        return (int(high, 16) << 32) | int(low, 16)

    def whole(self) -> bool:
        """Healthy as the servers have it too."""
        found = self.status
        if found["phase"] != HEALTHY or found["readyInstances"] != 3 or found["currentPrimary"] != found["targetPrimary"]:
            return False
        try:
            return self.streaming(found["currentPrimary"]) == set(self.addresses) - {found["currentPrimary"]}
        except psycopg.Error:
            return False

    def calm(self) -> None:
        """What a test that failed left switched on is switched off."""
        for fault in ("pg-primary-killed", "pg-cut-off", "operator-down", "pg-load"):
            self.fault(fault, False)

        def led() -> bool:
            try:
                return bool(self.streaming(self.primary))
            except psycopg.Error:
                return False

        until(led, WHOLE_S, "a standby streams")
        self.fault("archiver-failing", False)

    def until_whole(self, *consoles: Console) -> str:
        """Returns the primary."""
        until(self.whole, WHOLE_S, "the database is whole", *consoles)
        return self.primary

    # --- doing

    @contextmanager
    def faulty(self, name: str, **options: Any) -> Iterator[None]:
        """One of the lab's faults while the context lasts."""
        self.fault(name, **options)
        try:
            yield
        finally:
            self.fault(name, False)

    @contextmanager
    def written(self, per_s: float = 50.0) -> Iterator[Load]:
        """Under a client that writes through the VIP; at the end every row that it was told of is on every server that runs."""
        dsn = self._vip.replace("user=coldtui", "user=app")
        with in_background(dsn, self._passwords["app"], per_s) as load:
            until(lambda: len(load.acknowledged) > 20, 20, "rows are acknowledged")
            yield load

    def missing(self, load: Load, name: str) -> list[int]:
        """Acknowledged rows that a server does not have."""
        return asyncio.run(load.missing(self.dsn(name)))


class Stand(Place):
    """A place without a yard."""

    def __init__(self, servers: Servers) -> None:
        self.ground = self.servers = servers


@contextlib.contextmanager
def at_desk(servers: Servers, folder: Path) -> Iterator[Seat]:
    """A person with a home of their own; the database is whole before."""
    if not servers.whole():
        servers.calm()
    servers.until_whole()
    place = Stand(servers)
    seat = Seat(folder, place)
    try:
        yield seat
    finally:
        seat.close()
        place.free()


# ---------------------------------------------------------------- switching over


@dataclass(frozen=True, slots=True)
class Switched:
    """What one switchover reported."""

    target: str
    before: int
    after: int
    """Timelines."""
    outage_ms: int


def other(servers: Servers) -> str:
    """Who leads next: each in turn."""
    names = sorted(servers.addresses)
    return names[(names.index(servers.primary) + 1) % len(names)]


def reported(target: str, text: str) -> Switched:
    found = STOPPED.search(" ".join(text.split()))
    assert found is not None, text
    return Switched(target, int(found[1]), int(found[2]), int(found[3].replace(",", "")))


def by_command(seat: Seat, servers: Servers, target: str) -> Switched:
    """`coldtui postgres switchover`, confirmed in advance."""
    done = seat.run(
        "--config",
        str(servers.config),
        "postgres",
        "switchover",
        "--to",
        target,
        "--reason",
        "maintenance of the old node",
        "--yes",
        target,
    )
    assert done.code == 0, done.out + done.err
    return reported(target, done.out)


def by_console(console: Console, target: str) -> Switched:
    """Screen 3, the cursor on the instance, the menu, the plan, its verb and a reason by hand; what is told at the end."""
    console.open("3", "PostgreSQL instances")
    put_cursor(console, target)
    console.send("x")
    console.until(f"What can be done to {target}")
    answer(console, "s", lambda: "What can be done" not in console.text)
    console.until("Type the verb", 15)
    type_word(console, "switchover")
    console.send("\t")
    type_word(console, "upkeep")
    console.until("✓ enter")
    answer(console, "\r", lambda: "Type the verb" not in console.text)
    console.until(lambda: "✓ done" in console.text and f"{target} leads cold-postgres, timeline" in card_text(console), 60)
    return reported(target, card_text(console))


def card_text(console: Console) -> str:
    """What the card at the left says, as running text."""
    inner = (line[1:].partition("│")[0] for line in console.text.split("\n") if line.startswith("│"))
    return " ".join(" ".join(inner).split())


def put_cursor(console: Console, name: str) -> None:
    """On the row of an instance, by the keys of the table; the card tells where it is."""
    console.until(lambda: bool(rows(console)) and CARD.search(console.text) is not None)
    names, at = rows(console), CARD.search(console.text)
    assert at is not None
    steps = names.index(name) - names.index(at[1])
    console.send(("j" if steps > 0 else "k") * abs(steps))
    console.until(f"╭─ {name} ─")


def rows(console: Console) -> list[str]:
    """Instances as the table has them, from the top."""
    return [found[1] for line in console.text.split("\n") if (found := ROW.match(line)) is not None]


def console_row(console: Console, name: str) -> str | None:
    """The row of an instance in the table."""
    return next((line for line in console.text.split("\n") if line.startswith(f" {name} ")), None)


def armed(seat: Seat, servers: Servers, cols: int = 120, rows: int = 40) -> Console:
    console = seat.console("--config", str(servers.config), cols=cols, rows=rows)
    console.until("5/5 nodes", 20)
    arm(console)
    return console


# ---------------------------------------------------------------- watching


class Watcher:
    """Takes in what a console paints, and remembers when each line of interest was first there."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.shown: list[tuple[float, str]] = []
        """(monotonic seconds, whole screen) of each change."""

    def look(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.take()

    def take(self) -> None:
        self.console.pump(0.01)
        text = self.console.text
        if not self.shown or self.shown[-1][1] != text:
            self.shown.append((time.monotonic(), text))

    def during(self, work: Callable[[], object]) -> float:
        """Look on while something is done in a thread; returns when that began."""
        began, failed = time.monotonic(), list[BaseException]()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 (raised again below)
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive():
            self.take()
        thread.join()
        if failed:
            raise failed[0]
        return began

    def first(self, words: str, since: float) -> tuple[float, str]:
        """Seconds from `since` until a line with these words (a pattern) was on the screen, and what it says from there on."""
        for at, text in self.shown:
            if at >= since and (found := re.search(words, text)) is not None:
                return round(at - since, 2), text[found.start() :].split("\n")[0].strip()
        raise AssertionError(f"{words!r} was never shown; the screen is\n{self.console.text}")

    def now(self, words: str) -> str:
        """What a line with these words says from there on."""
        found = re.search(words, self.console.text)
        assert found is not None, f"{words!r} is not shown:\n{self.console.text}"
        return self.console.text[found.start() :].split("\n")[0].strip()

    def until(self, words: str, limit_s: float) -> None:
        """Until a line with these words is on the screen."""
        end = time.monotonic() + limit_s
        while re.search(words, self.console.text) is None:
            assert time.monotonic() < end, f"{words!r} is not shown within {limit_s} s:\n{self.console.text}"
            self.take()


def size_of(words: str) -> float:
    """Bytes: `416 B`, `1.2 KiB`, `16 MiB`."""
    found = re.search(r"([\d.,]+) (B|KiB|MiB|GiB)\b", words)
    assert found is not None, words
    return float(found[1].replace(",", "")) * {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[found[2]]


class Sampler:
    """Where a primary writes, read twenty times a second until it is gone."""

    def __init__(self, servers: Servers, name: str) -> None:
        self.lsn = servers.lsn(name)
        self._servers, self._name, self._end = servers, name, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self._servers.dsn(self._name), autocommit=True) as connection:
            while not self._end.wait(0.05):
                row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
                assert row is not None
                self.lsn = int(row[0])

    def last(self) -> int:
        """The newest; it may lag what was written by some hundredths of a second."""
        self._end.set()
        self._thread.join(5)
        return self.lsn
