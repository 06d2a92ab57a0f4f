"""Sessions, locks and databases of the primary, and the whole state of the database, as the command line prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain import pgverdicts
from ..domain import postgres as domain
from ..domain.pgdisks import CRITICAL, WARNING, disks
from ..domain.pgstrain import XID_END
from ..domain.postgres import PgCluster
from ..domain.problems import Problem
from ..domain.readings import Unknown
from ..domain.sessions import DatabaseFacts, Session
from ..domain.text import alike
from ..domain.topology import VIP, asked, cluster_of, topology
from ..domain.verdicts import Grade, unsure
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, cut, pair
from .postgres import NOT_THE_SITES, missing_cluster
from .postgres_activity import (
    LOCKS,
    SESSIONS,
    Blocked,
    flagged,
    held_up,
    is_root,
    lacking,
    transaction_age,
    unreached,
    waits,
    waits_for,
)
from .postgres_head import head
from .postgres_server import DATABASES, server_lines
from .problems import severity_cell
from .rows import Cell, Column, Listing, Row, Tone
from .verdicts import badge

QUERY_CELLS = 80
"""Of a query in a table; `--json` has all that the server told."""

# ---------------------------------------------------------------- sessions


def _start(s: Session) -> str:
    return f"{s.started:%Y-%m-%dT%H:%M:%S.%fZ}"


def _state(s: Session, now: datetime) -> Cell:
    if not s.state:
        return Cell("not shown" if s.kind == "client backend" else UNKNOWN, Tone.STALE)
    tone = Tone.BAD if s.blocked_by else Tone.WARN if flagged(s, now) else Tone.PLAIN if s.state == "active" else Tone.MUTED
    return Cell(s.state, tone)


def _cells(s: Session, now: datetime) -> tuple[Cell, ...]:
    age = transaction_age(s, now)
    return (
        Cell(_start(s), Tone.MUTED),
        Cell(s.user or s.kind, Tone.PLAIN if s.user else Tone.MUTED),
        Cell(s.database or UNKNOWN),
        Cell(s.application or UNKNOWN, Tone.MUTED),
        _state(s, now),
        Cell(waits(s) or UNKNOWN, Tone.WARN if s.wait.startswith("Lock") else Tone.MUTED),
        Cell(words.duration(age) if age is not None else UNKNOWN, Tone.WARN if flagged(s, now) else Tone.PLAIN),
    )


def _query(s: Session) -> Cell:
    return Cell(cut(" ".join(s.query.split()), QUERY_CELLS), Tone.PLAIN if s.state == "active" else Tone.MUTED)


_OF_A_SESSION: tuple[Column, ...] = (
    Column("started", "BACKEND START", 27),
    Column("user", "USER", 10),
    Column("database", "DATABASE", 10),
    Column("application", "APPLICATION", 11),
    Column("state", "STATE", 11),
    Column("wait", "WAIT", 14),
    Column("tx", "TX", 5, right=True),
)
_CLIENT = Column("address", "CLIENT", 13, priority=3)


def session_json(world: World, s: Session, now: datetime) -> dict[str, Any]:
    age = transaction_age(s, now)
    return {
        "pid": s.pid,
        "backend_start": _start(s),
        "user": s.user or None,
        "database": s.database or None,
        "application": s.application or None,
        "client": s.address or None,
        "kind": s.kind,
        "state": s.state or None,
        "wait": s.wait or None,
        "transaction_s": None if age is None else max(0, int(age.total_seconds())),
        "state_s": None if s.state_at is None else max(0, int((now - s.state_at).total_seconds())),
        "query_s": None if s.query_at is None else max(0, int((now - s.query_at).total_seconds())),
        "blocked_by": list(s.blocked_by),
        "root": is_root(s, held_up(world)),
        "holds_up": held_up(world).get(s.pid, 0),
        "flag": flagged(s, now).rpartition(" ")[0] or None,
        "query": s.query,
    }


SESSIONS_PLAIN: Listing[Session] = replace(
    SESSIONS,
    title="Sessions",
    columns=(Column("pid", "PID", 7), *_OF_A_SESSION, _CLIENT, Column("query", "QUERY", 20)),
    row=lambda world, s, now: Row(
        s.key, (Cell(str(s.pid), Tone.STRONG), *_cells(s, now), Cell(s.address or UNKNOWN, Tone.MUTED), _query(s))
    ),
    json=session_json,
)

# ---------------------------------------------------------------- who blocks whom


def _role(world: World, b: Blocked) -> Cell:
    if is_root(b.session, held_up(world)):
        return Cell(f"▲ ROOT, holds up {held_up(world)[b.session.pid]}", Tone.BAD)
    return Cell(f"waits for {waits_for(b.session)}", Tone.WARN)


def _lock_row(world: World, b: Blocked, now: datetime) -> Row:
    lead = "  " * (b.depth - 1) + "└ " if b.depth else ""
    pid = Cell(f"{lead}{b.session.pid}", Tone.STRONG)
    return Row(b.key, (pid, _role(world, b), *_cells(b.session, now), Cell(b.session.address or UNKNOWN, Tone.MUTED), _query(b.session)))


def _lock_json(world: World, b: Blocked, now: datetime) -> dict[str, Any]:
    return {**session_json(world, b.session, now), "depth": b.depth}


LOCKS_PLAIN: Listing[Blocked] = replace(
    LOCKS,
    title="Blocked sessions",
    columns=(Column("pid", "PID", 10), Column("role", "LOCK", 18), *_OF_A_SESSION, _CLIENT, Column("query", "QUERY", 20)),
    row=_lock_row,
    json=_lock_json,
)

# ---------------------------------------------------------------- databases


def _database_json(world: World, d: DatabaseFacts, now: datetime) -> dict[str, Any]:
    return {
        "name": d.name,
        "size_b": d.size_b,
        "connections": d.connections,
        "xid_age": d.xid_age,
        "mxid_age": d.mxid_age,
        "wraparound_percent": round(100 * d.xid_age / XID_END, 1),
    }


DATABASES_PLAIN: Listing[DatabaseFacts] = replace(DATABASES, title="Databases", json=_database_json)

# ---------------------------------------------------------------- the whole state


def problem_line(p: Problem) -> Line:
    """`▲ WARNING  postgres-3 replays 48 MiB behind · hits … · cause`."""
    beside = "".join(f" · {text}" for text in (f"hits {p.hits}" if p.hits else "", p.cause) if text)
    return (severity_cell(p.severity), Cell(f"  {p.sentence}"), Cell(beside, Tone.MUTED))


def problems_of(world: World, c: PgCluster, now: datetime) -> tuple[Problem, ...]:
    """Of the cluster, and where the sources contradict each other; each once, worst first. Of one that only SQL tells of, only the latter."""
    read = c.key in world.pg_clusters.items
    found = {p.key: p for p in (pgverdicts.troubles(world, c, now) if read else topology(world, c, now).problems)}
    return tuple(sorted(found.values(), key=lambda p: (-p.severity, p.sentence)))


def state_lines(world: World, now: datetime) -> tuple[tuple[Line, ...], ...]:
    """What stands above the instances: verdict, phase, primary, loss now, VIP. What stands below: archiver, slots and disks; what is wrong, and
    where the sources disagree."""
    c = cluster_of(world)
    if c is None:
        missing = missing_cluster(world)
        return (((badge(Grade.BAD, "missing"), Cell(f"  {missing}")),) if missing else ()), (), ()
    below = [problem_line(p) for p in problems_of(world, c, now)]
    if doubt := unsure(world, "pg_clusters", "pods", "nodes"):
        below.append((Cell("? not all is known", Tone.STALE), Cell(f"  {doubt}", Tone.MUTED)))
    server = (*server_lines(world, now), *_disk_lines(world, c))
    return head(world, now), server, tuple(below) or ((Cell("no problems known", Tone.MUTED),),)


def _disk_lines(world: World, c: PgCluster) -> Iterator[Line]:
    """`postgres-1 PGDATA 45% of 10 GiB`: a line for each disk; why it is not told, once for all that lack it for the same reason."""
    found = [(i.name, disk) for i in domain.instances(world, c) for disk in disks(world, c, i)]
    for name, disk in found:
        if disk.fraction is not None:
            tone = Tone.PLAIN if disk.fraction < WARNING else Tone.WARN if disk.fraction < CRITICAL else Tone.BAD
            yield pair("Disk", f"{name} {disk.what} {words.percent(disk.fraction)} of {words.size(disk.capacity_b or 0)}", tone, cells=12)
    silent: dict[str, list[str]] = {}
    for name, disk in found:
        if isinstance(disk.used, Unknown):
            silent.setdefault(disk.used.reason, []).append(f"{name} {disk.what}")
    for reason, names in silent.items():
        yield pair("Disk", f"{', '.join(names)}: not known, {reason}", Tone.STALE, cells=12)


def sql_notes(world: World, reading: str, now: datetime) -> Iterator[str]:
    """Why SQL does not tell, and which grant is missing: one line for all servers of the same trouble. Of what only the primary tells
    (`reading`) only what it lacks."""
    silent: dict[str, str] = {}
    lacking: dict[str, list[str]] = {}
    primary = primary_named(world, now)["_primary"] if reading else ""
    for name, found in sorted(world.pg_sql.items()):
        shown = "the VIP" if name == VIP else name
        if primary and name != primary:
            continue
        if isinstance(found, Unknown):
            silent[shown] = found.reason
        elif name != VIP:
            for grant in found.value.missing:
                lacking.setdefault(grant, []).append(shown)
    if missing := missing_cluster(world):
        yield f"{missing} · mend postgres.cluster"
    if not reading:
        yield from (f"{c.key}: {NOT_THE_SITES}" for c in world.pg_clusters.items.values() if world.pg_sql and not asked(world, c))
    for reason in alike(silent):
        yield f"SQL of {reason}"
    if hint := unreached(world):
        yield hint
    for grant, names in lacking.items():
        what, _, shows = grant.partition(": ")
        yield f"SQL of {', '.join(names)}: not shown without {what}: {shows} · GRANT {what} TO the user that postgres.user names"


def why_not(world: World, reading: str) -> str:
    """Why the primary does not tell of its sessions or databases (`reading`): first what makes it impossible, with the remedy."""
    if missing := missing_cluster(world):
        return f"{missing} · mend postgres.cluster"
    reason = str(getattr(getattr(world, reading), "reason", ""))
    return " · ".join(part for part in (reason, unreached(world)) if part)


def primary_named(world: World, now: datetime) -> Mapping[str, Any]:
    """Beside sessions, locks and databases: whose they are, and what is left out of them."""
    from .postgres_topology import of

    return {"_primary": of(world, now).primary or None, "_lacks": lacking(world, now) or None}
