"""What looking costs the servers of the database: our connections to each, and the CPU of the backends that serve them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import yaml

from benchmarks.places import PYTHON, Site, home, lab
from benchmarks.table import Report
from benchmarks.terminal import Terminal

LIVE = r"\A.*● kube +● pg +● lh +● lb|\A.*● all live"
SHOWN = r"PostgreSQL instances"
OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'coldtui'"
LOOK_S, START_S = 0.25, 60.0
TICKS = os.sysconf("SC_CLK_TCK")


def servers(report: Report, root: Path, quick: bool) -> None:
    """Three real servers; the screen of the database shown, its sessions shown, and another screen."""
    report.part("three PostgreSQL servers")
    seconds = 20.0 if quick else 60.0
    with lab(root, "servers", "--still") as site, _console(site, home(root, "servers")) as terminal, _asking(site) as asked:
        terminal.until(LIVE, 30)
        for what, keys, shows in (
            ("instances shown", "3", SHOWN),
            ("sessions shown", "\t", r"\[sessions\]"),
            ("not shown", "1", r"Nodes +●"),
        ):
            terminal.press(keys, shows)
            terminal.settle(5)
            _cost(report, terminal, asked, what, seconds)


@contextmanager
def _console(site: Site, env: dict[str, str]) -> Iterator[Terminal]:
    with Terminal([PYTHON, "-m", "coldtui", "--config", str(site.folder / "config.yaml")], env=env) as made:
        yield made


Asked = dict[str, "psycopg.Connection[tuple[int]]"]


@contextmanager
def _asking(site: Site) -> Iterator[Asked]:
    """A connection of the superuser to each server, the primary first."""
    found = yaml.safe_load((site.folder / "config.yaml").read_text())["postgres"]["instances"]
    words = [line.split(":") for line in (site.folder / "postgres" / "pgpass").read_text().splitlines()]
    password = next(fields[4] for fields in words if fields[3] == "postgres")
    made: Asked = {}
    try:
        for name, address in found.items():
            host, port = address.split(":")
            made[name] = _connected(host, port, password)
        yield dict(sorted(made.items(), key=lambda item: _in_recovery(item[1])))
    finally:
        for each in made.values():
            each.close()


def _connected(host: str, port: str, password: str) -> psycopg.Connection[tuple[int]]:
    """Once it runs: the site is there before its servers are."""
    end = time.monotonic() + START_S
    while True:
        try:
            return psycopg.connect(host=host, port=port, user="postgres", dbname="postgres", password=password, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _in_recovery(connection: psycopg.Connection[tuple[int]]) -> bool:
    with closing(connection.cursor()) as cursor:
        row = cursor.execute("SELECT pg_is_in_recovery()").fetchone()
    return bool(row and row[0])


def _cost(report: Report, terminal: Terminal, asked: Asked, what: str, seconds: float) -> None:
    """For so long: the most connections at once, and what all backends that served us used. One that lives for a single question is not seen: it counts
    among the ended children of its server, whoever they served."""
    most: dict[str, int] = dict.fromkeys(asked, 0)
    first: dict[tuple[str, int], float] = {}
    last: dict[tuple[str, int], float] = {}
    parents = {name: _parent(connection) for name, connection in asked.items()}
    before = {name: ended_s(pid) for name, pid in parents.items()}
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        for name, connection in asked.items():
            pids = [int(row[0]) for row in connection.execute(OURS).fetchall()]
            most[name] = max(most[name], len(pids))
            for pid in pids:
                if (used := cpu_s(pid)) is not None:
                    first.setdefault((name, pid), used)
                    last[name, pid] = used
        terminal.settle(LOOK_S)
    spent = time.monotonic() - begun
    for index, name in enumerate(asked):
        role = "primary, and through the VIP" if index == 0 else f"standby {index}"
        used = sum(last[key] - first[key] for key in last if key[0] == name) + ended_s(parents[name]) - before[name]
        report.add(f"{what}, {role}: connections", most[name], "", 2 if index == 0 else 1)
        report.add(f"{what}, {role}: CPU of the server", 100 * used / spent, "% of a core", 1.0)


def cpu_s(pid: int) -> float | None:
    """What a process used so far; None: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def _parent(connection: psycopg.Connection[tuple[int]]) -> int:
    """The server that all backends are children of."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(Path(f"/proc/{row[0]}/stat").read_text().rpartition(")")[2].split()[1])


def ended_s(pid: int) -> float:
    """What the ended children of a process used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS
