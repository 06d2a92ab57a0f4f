"""`coldtui postgres …` over three real servers: state, sessions, locks, databases; with the API away, SQL refused, a server that is mute."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from coldtui.lab.postgres.faults import PgFaults
from tests.cli.means import Cli
from tests.cli.pgsite import Json, PgCli, mute, one_line, pg_cli
from tests.lab.postgres.conftest import Place, Site, real

__all__ = ["real"]

SITE: Json = {
    "type": "object",
    "required": ["cluster_name", "status", "instances", "vip"],
    "properties": {
        "cluster_name": {"type": ["string", "null"]},
        "status": {"type": ["string", "null"]},
        "instances": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "role", "status", "connections", "replication_lag"],
                "properties": {
                    "name": {"type": "string"},
                    "role": {"enum": ["primary", "replica", None]},
                    "status": {"type": ["string", "null"]},
                    "connections": {"type": ["integer", "null"]},
                    "replication_lag": {"type": ["integer", "null"]},
                    "_reasons": {"type": "object"},
                },
            },
        },
        "vip": {
            "type": "object",
            "required": ["address", "active", "current_primary"],
            "properties": {
                "address": {"type": ["string", "null"]},
                "active": {"type": ["boolean", "null"]},
                "current_primary": {"type": ["string", "null"]},
            },
        },
    },
}
"""The site document's shape of the database, as JSON Schema; more keys may stand beside."""
_TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}


def faults_of(value: Any, schema: Json, where: str = "$") -> Iterator[str]:
    """Where a value is not what the schema says: the words of JSON Schema that are used here."""
    kinds = schema.get("type", list(_TYPES))
    allowed = tuple(_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        yield f"{where}: {value!r} is no {kinds}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        yield from (f"{where}: {key} is missing" for key in schema.get("required", ()) if key not in value)
        for key, of in schema.get("properties", {}).items():
            if key in value:
                yield from faults_of(value[key], of, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for n, item in enumerate(value):
            yield from faults_of(item, schema["items"], f"{where}[{n}]")


@pytest.fixture
def pg(real: Site, cli: Cli) -> PgCli:
    made = pg_cli(real, cli)
    made.play(_nothing)
    return made


async def _nothing(place: Place) -> None:
    """The site is whole when this is called."""


@contextmanager
def blocked(pg: PgCli) -> Iterator[None]:
    """Three sessions, each waits for the one before."""
    made: list[PgFaults] = []

    async def on(place: Place) -> None:
        made.append(PgFaults(place.lab, place.database))
        await made[0].switch("pg-blocking", True, {})

    async def off(place: Place) -> None:
        await made[0].switch("pg-blocking", False, {})

    pg.play(on)
    try:
        yield
    finally:
        pg.play(off)


def primary_of(pg: PgCli) -> str:
    async def ask(place: Place) -> str:
        return str((await place.status())["currentPrimary"])

    return str(pg.play(ask))


# ------------------------------------------------------------ the state


def test_the_state_is_said_whole(pg: PgCli) -> None:
    """`postgres status` says verdict, phase, primary, what would be lost now, where the VIP leads, and each instance."""
    primary = primary_of(pg)
    found = pg("postgres", "status")
    assert (found.code, found.err) == (0, "")
    for words in ("● healthy", "Cluster in healthy state", f"Primary   {primary}", f"if {primary} died", "● leads to primary"):
        assert words in found.out
    assert [line.split()[1] for line in found.out.splitlines() if line.startswith("postgres-")] == ["primary", "replica", "replica"]
    assert "being read" not in found.out


def test_rows_alone_are_what_they_were(pg: PgCli) -> None:
    """`postgres`, and `postgres status` with -o name or without headings, print rows only, for awk."""
    assert pg("postgres").out.startswith("INSTANCE")
    assert sorted(pg("postgres", "status", "-o", "name").out.splitlines()) == [f"database/postgres-{n}" for n in (1, 2, 3)]
    assert pg("postgres", "status", "--no-headers").out.startswith("postgres-")


def test_the_document_of_the_site_has_its_shape(pg: PgCli) -> None:
    """`postgres --json` holds the site document's database: bytes of lag, connections, a VIP that a connection went through."""
    found = pg("postgres", "--json").json
    assert list(faults_of(found, SITE)) == []
    primary = primary_of(pg)
    assert (found["cluster_name"], found["status"]) == ("cold-postgres", "healthy")
    assert (found["vip"]["active"], found["vip"]["current_primary"]) == (True, primary)
    by_name = {i["name"]: i for i in found["instances"]}
    assert by_name[primary]["replication_lag"] is None
    assert by_name[primary]["_reasons"]["replication_lag"] == "it is the primary"
    assert all(i["replication_lag"] == 0 and i["connections"] >= 1 for n, i in by_name.items() if n != primary)
    assert pg("postgres", "status", "--json").json.keys() == found.keys()


@pytest.mark.parametrize("away", ["sql", "api", "both"])
def test_the_document_keeps_its_shape_when_something_is_away(pg: PgCli, away: str) -> None:
    """What cannot be read is null with a reason, never a guess; the shape stays."""
    config = pg.changed(password_file=_wrong(pg)) if away in ("sql", "both") else pg.config
    found = pg("postgres", "--json", config=pg.without_api(config) if away in ("api", "both") else config)
    assert found.code == (0 if away == "sql" else 4)
    assert list(faults_of(found.json, SITE)) == []
    for i in found.json["instances"]:
        assert all(i[key] is not None or i["_reasons"][key] for key in ("status", "connections", "replication_lag"))
    if away != "api":
        assert found.json["vip"]["active"] is None
        assert "password authentication failed" in found.json["vip"]["why"]


def _wrong(pg: PgCli) -> str:
    path = pg.cli.folder / "wrong.password"
    path.write_text("wrong\n")
    path.chmod(0o600)
    return str(path)


def test_without_the_api_the_servers_tell(pg: PgCli) -> None:
    """Roles, timeline, lag, loss and VIP come by SQL while the API is away; the exit code says that the API was not read."""
    primary = primary_of(pg)
    config = pg.without_api()
    found = pg("postgres", "status", config=config)
    assert found.code == 4
    assert "connection refused" in found.err
    assert "◐ answers SQL" in found.out
    assert f"if {primary} died" in found.out
    assert "● leads to primary" in found.out
    assert "? not all is known" in found.out
    assert "no WAL archive" not in found.out, "what was not read is no finding"
    for what in ("sessions", "locks", "databases"):
        assert pg("postgres", what, config=config).code == 0


def test_refused_sql_leaves_the_rest(pg: PgCli) -> None:
    """With a wrong password the state is what Cluster and managers say, and one line names what to mend; what needs SQL ends with 5."""
    config = pg.changed(password_file=_wrong(pg))
    found = pg("postgres", "status", config=config)
    assert found.code == 0
    assert found.err.count("\n") == 1
    assert "password authentication failed" in found.err
    assert "postgres.password_file" in found.err
    assert "● healthy" in found.out
    one_line(pg("postgres", "sessions", config=config), 5, "sessions: ", "password authentication failed", "postgres.password_file")
    listed = pg("postgres", "locks", "--json", config=config)
    assert (listed.code, listed.json["locks"], listed.json["_whole"]) == (5, None, False)
    assert "password authentication failed" in listed.json["_sources"]["sql"]["trouble"]


def test_a_missing_grant_is_named(pg: PgCli) -> None:
    """Without pg_monitor only own sessions are listed, and a line says which grant is missing and to whom."""
    primary = primary_of(pg)
    pg.place.sql(primary, "REVOKE pg_monitor FROM coldtui")
    try:
        found = pg("postgres", "sessions")
    finally:
        pg.place.sql(primary, "GRANT pg_monitor TO coldtui")
    assert found.code == 0
    assert "GRANT pg_monitor TO" in found.err
    assert "streaming_replica" not in found.out


def test_a_mute_server_delays_nobody(pg: PgCli) -> None:
    """A server that accepts and never answers costs its own deadline; the others are told, and of it is said that it did not answer."""
    primary = primary_of(pg)
    standby = next(f"postgres-{n}" for n in (1, 2, 3) if f"postgres-{n}" != primary)
    with mute() as address:
        began = time.monotonic()
        found = pg("postgres", "status", config=pg.at(standby, address))
        assert time.monotonic() - began < 6
        assert found.code == 0
        assert f"{standby} ({address}): did not answer within 2 s" in found.err
        assert "● leads to primary" in found.out
        assert pg("postgres", "sessions", config=pg.at(standby, address)).code == 0
        one_line(pg("postgres", "sessions", config=pg.at(primary, address)), 4, primary, "did not answer within 2 s", "as standby")


def test_sql_from_a_site_without_a_database(pg: PgCli) -> None:
    """Where neither the API nor the configuration tells of servers that is said."""
    config = pg.without_api(pg.changed(instances={}))
    one_line(pg("postgres", "sessions", config=config), 4, "no server is known", "postgres.instances names none")


# ------------------------------------------------------------ sessions, locks, databases


def test_who_blocks_is_a_tree(pg: PgCli) -> None:
    """`postgres locks` puts the root first and flags it, who waits below; `--json` has depth, root and the whole query."""
    with blocked(pg):
        found = pg("postgres", "locks")
        assert found.code == 0
        root, first, second = found.out.splitlines()[1:]
        assert "▲ ROOT, holds up 2" in root
        assert "idle in transaction" in root
        assert first.startswith("└ ")
        assert second.startswith("  └ ")
        assert f"waits for {root.split()[0]}" in first
        rows = pg("postgres", "locks", "--json").json["locks"]
        assert [(r["depth"], r["root"], r["holds_up"]) for r in rows] == [(0, True, 2), (1, False, 1), (2, False, 0)]
        assert rows[1]["blocked_by"] == [rows[0]["pid"]]
        flagged = pg("postgres", "sessions", "--trouble", "-o", "name").out.splitlines()
        assert {key.partition("@")[0] for key in flagged} == {str(r["pid"]) for r in rows}
    assert pg("postgres", "locks").err == "coldtui: no blocked sessions\n"


def test_a_session_is_named_by_what_ends_it(pg: PgCli) -> None:
    """pid and backend start of a row are what `cancel` and `terminate` take, exact to the microsecond; a query is cut in the table only."""
    query = f"SELECT 1 /* {'long ' * 30}*/"
    with pg.place.database.servers[primary_of(pg)].connect() as session:
        session.execute(query.encode())
        rows = pg("postgres", "sessions", "--json").json["sessions"]
        table = pg("postgres", "sessions").out
    assert query in [r["query"] for r in rows]
    assert query not in table
    assert next(line for line in table.splitlines() if "SELECT 1 /*" in line).endswith("…")
    assert {"PID", "BACKEND", "START", "USER", "DATABASE", "APPLICATION", "STATE", "WAIT", "TX", "QUERY"} <= set(
        table.splitlines()[0].split()
    )
    other = next(r for r in rows if r["user"] == "streaming_replica")
    plan = pg("postgres", "terminate", str(other["pid"]), "--started", other["backend_start"], "--plan")
    assert "has ended" not in plan.out
    assert f"End session {other['pid']}" in plan.out


def test_databases_have_sizes_and_ages(pg: PgCli) -> None:
    """Sizes in bytes, connections, transactions to wraparound."""
    rows = {d["name"]: d for d in pg("postgres", "databases", "--json").json["databases"]}
    assert rows["app"]["size_b"] > 1_000_000
    assert 0 <= rows["app"]["wraparound_percent"] < 100
    assert rows["app"]["connections"] >= 1


def watching(pg: PgCli, what: str) -> subprocess.Popen[bytes]:
    path = pg.cli.folder / "watch.yaml"
    path.write_text(yaml.safe_dump(pg.config))
    command = [sys.executable, "-m", "coldtui", "--config", str(path), "postgres", what, "--watch", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**pg.cli.environ, "PATH": os.environ["PATH"]})


def test_watching_databases_reads_them(pg: PgCli) -> None:
    """`--watch` is somebody who looks at the databases: a line comes."""
    process = watching(pg, "databases")
    assert process.stdout is not None
    with process.stdout:
        assert "app" in [d["name"] for d in json.loads(process.stdout.readline())["databases"]]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.wait(10) == 0


def test_watching_prints_what_changed(pg: PgCli) -> None:
    """`--watch --json` prints a line, and again when the sessions change."""
    process = watching(pg, "locks")
    assert process.stdout is not None
    with process.stdout:
        assert json.loads(process.stdout.readline())["locks"] == []
        with blocked(pg):
            assert len(json.loads(process.stdout.readline())["locks"]) >= 2
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.wait(10) == 0


def test_servers_that_are_named_do_not_wait_for_the_api(pg: PgCli) -> None:
    """An API that accepts and never answers takes its own deadline; sessions were read long before."""
    with mute() as address:
        config = pg.without_api()
        path = pg.cli.folder / "no-api.kubeconfig"
        text = path.read_text()
        server = yaml.safe_load(text)["clusters"][0]["cluster"]["server"]
        path.write_text(text.replace(server, f"https://{address}"))
        began = time.monotonic()
        found = pg("postgres", "sessions", config=config)
        assert time.monotonic() - began < 7
    assert found.code == 0
    assert "streaming_replica" in found.out
