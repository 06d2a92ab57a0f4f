"""What the primary does: sessions, who blocks whom, databases, and its slots and archiver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from coldtui.domain.values import dataclass

from ..domain.readings import Known, Reading
from ..domain.sessions import DatabaseFacts, Session, TableFacts
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, pair, two_columns
from .postgres_topology import of, trends
from .rows import Cell, Column, Listing, Row, Tone

LONG = timedelta(minutes=5)
"""A transaction that is older is flagged."""
IDLE_LONG = timedelta(minutes=1)
"""So is one that idles for longer."""
_RESTS = ("Client:", "Activity:")
"""Waits of a process that has nothing to do."""
XID_END = 2**31
XID_WARNING = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Blocked:
    """A session in the tree of who blocks whom."""

    session: Session
    depth: int
    order: int

    @property
    def key(self) -> str:
        return self.session.key


def sessions_of(world: World) -> Mapping[str, Session]:
    reading = world.pg_sessions
    return {s.key: s for s in reading.value} if isinstance(reading, Known) else {}


def transaction_age(s: Session, now: datetime) -> timedelta | None:
    return now - s.transaction_at if s.transaction_at is not None else None


def flagged(s: Session, now: datetime) -> str:
    """`idle in transaction 3m` or `transaction 12m`; empty: nothing to say against it."""
    age = transaction_age(s, now)
    if age is None or s.kind != "client backend":
        return ""
    if s.state.startswith("idle in transaction") and s.state_at is not None and now - s.state_at >= IDLE_LONG:
        return f"idle in transaction {words.age(now - s.state_at)}"
    return f"transaction {words.age(age)}" if age >= LONG else ""


def _state_cell(s: Session, now: datetime) -> Cell:
    if not s.state:
        return Cell("not shown", Tone.STALE)
    tone = Tone.BAD if s.blocked_by else Tone.WARN if flagged(s, now) else Tone.PLAIN if s.state == "active" else Tone.MUTED
    return Cell(s.state.replace("idle in transaction", "idle in tx"), tone)


def _cells(s: Session, now: datetime, lead: str = "") -> tuple[Cell, ...]:
    age = transaction_age(s, now)
    return (
        Cell(f"{lead}{s.pid}", Tone.STRONG),
        Cell(s.user or s.kind, Tone.PLAIN if s.user else Tone.MUTED),
        _state_cell(s, now),
        Cell(words.age(age) if age is not None else "", Tone.WARN if flagged(s, now) else Tone.PLAIN),
        Cell("" if s.wait.startswith(_RESTS) else s.wait, Tone.WARN if s.wait.startswith("Lock") else Tone.MUTED),
        Cell(" ".join(s.query.split()), Tone.PLAIN if s.state == "active" else Tone.MUTED),
        Cell(s.database or UNKNOWN, Tone.MUTED),
        Cell(s.address or "", Tone.MUTED),
    )


_COLUMNS: tuple[Column, ...] = (
    Column("pid", "PID", 10, sort_key="E"),
    Column("user", "USER", 10, grow=1, sort_key="U"),
    Column("state", "STATE", 11, sort_key="S"),
    Column("tx", "TX", 5, right=True, sort_key="T"),
    Column("wait", "WAIT", 14, grow=1),
    Column("query", "QUERY", 18, grow=5),
    Column("database", "DATABASE", 10, priority=1),
    Column("address", "CLIENT", 13, priority=2),
)


def _session_row(world: World, s: Session, now: datetime) -> Row:
    return Row(s.key, _cells(s, now))


def _start(s: Session) -> float:
    return s.transaction_at.timestamp() if s.transaction_at is not None else float("inf")


SESSIONS: Listing[Session] = Listing(
    noun="sessions",
    title="Sessions of the primary",
    sources=("pg_clusters",),
    columns=_COLUMNS,
    items=sessions_of,
    row=_session_row,
    sorts={
        "tx": lambda world, s: (s.kind != "client backend", not s.blocked_by, _start(s), s.pid),
        "pid": lambda world, s: s.pid,
        "user": lambda world, s: (s.user, s.pid),
        "state": lambda world, s: (s.state != "active", s.state, s.pid),
    },
    default_sort="tx",
    text=lambda s: f"{s.pid} {s.user} {s.database} {s.application} {s.state} {s.wait} {s.query}",
    trouble=lambda world, s, now: bool(s.blocked_by or flagged(s, now)),
)


def tree(sessions: Mapping[str, Session]) -> dict[str, Blocked]:
    """Those that block or are blocked: each root first, who waits for it below. A circle is walked once."""
    by_pid = {s.pid: s for s in sessions.values()}
    waiting: dict[int, list[Session]] = {}
    for s in sessions.values():
        for pid in s.blocked_by:
            waiting.setdefault(pid, []).append(s)
    roots = [by_pid[pid] for pid in waiting if pid in by_pid and not by_pid[pid].blocked_by]
    found: dict[str, Blocked] = {}

    def walk(s: Session, depth: int) -> Iterator[Blocked]:
        if s.key in found:
            return
        found[s.key] = Blocked(s, depth, len(found))
        for below in sorted(waiting.get(s.pid, ()), key=_start):
            list(walk(below, depth + 1))
        yield found[s.key]

    for root in sorted(roots, key=_start):
        list(walk(root, 0))
    for s in sessions.values():
        if s.blocked_by:
            list(walk(s, 0))  # of a circle, or whose blocker is not shown
    return found


def root_of(sessions: Mapping[str, Session], s: Session) -> Session:
    """Who blocks those that block it; itself where nobody does, or in a circle."""
    by_pid, met = {x.pid: x for x in sessions.values()}, {s.pid}
    while (up := next((by_pid[pid] for pid in s.blocked_by if pid in by_pid), None)) is not None and up.pid not in met:
        met.add(up.pid)
        s = up
    return s


def _lock_row(world: World, b: Blocked, now: datetime) -> Row:
    return Row(b.key, _cells(b.session, now, "  " * (b.depth - 1) + "└ " if b.depth else ""))


LOCKS: Listing[Blocked] = Listing(
    noun="locks",
    title="Who blocks whom",
    sources=("pg_clusters",),
    columns=tuple(Column(c.id, c.title, c.width, c.grow, c.right, c.priority) for c in _COLUMNS),
    items=lambda world: tree(sessions_of(world)),
    row=_lock_row,
    sorts={"pid": lambda world, b: b.order},
    default_sort="pid",
    text=lambda b: f"{b.session.pid} {b.session.user} {b.session.query}",
    trouble=lambda world, b, now: bool(b.session.blocked_by),
)


def session_low(world: World, s: Session, now: datetime, cells: int) -> tuple[Line, ...]:
    """The same for a box that is wide and low: what it does, then who it is."""
    *about, _, query = session_lines(world, s, now)
    return (query, *two_columns(about[::-1], cells))


def session_lines(world: World, s: Session, now: datetime) -> tuple[Line, ...]:
    """The pane of a session: its whole query, since when, and whom it waits for."""
    lines = [
        pair("Session", f"{s.pid} since {words.stamp(s.started)}", cells=12),
        pair("Who", f"{s.user or s.kind} {s.application} {s.address}".strip(), cells=12),
        pair("Database", s.database or UNKNOWN, cells=12),
        pair("State", s.state or "not shown: needs pg_monitor", cells=12),
    ]
    if said := flagged(s, now):
        lines.append(pair("Flag", said, Tone.WARN, cells=12))
    if s.wait:
        lines.append(pair("Waits for", s.wait, cells=12))
    if s.blocked_by:
        lines.append(pair("Blocked by", ", ".join(map(str, s.blocked_by)), Tone.BAD, cells=12))
    if s.query_at is not None:
        lines.append(pair("Query for", words.age(now - s.query_at), cells=12))
    return (*lines, (), (Cell(s.query),))


# ---------------------------------------------------------------- databases, slots, archiver


def _databases(world: World) -> Mapping[str, DatabaseFacts]:
    reading = world.pg_databases
    return {d.name: d for d in reading.value} if isinstance(reading, Known) else {}


def _database_row(world: World, d: DatabaseFacts, now: datetime) -> Row:
    cells = (
        Cell(d.name, Tone.STRONG),
        Cell(words.size(d.size_b) if d.size_b is not None else UNKNOWN),
        Cell(str(d.connections)),
        Cell(f"{d.xid_age:,}", Tone.WARN if d.xid_age >= XID_WARNING else Tone.PLAIN),
        Cell(words.percent(d.xid_age / XID_END), Tone.WARN if d.xid_age >= XID_WARNING else Tone.MUTED),
    )
    return Row(d.name, cells)


DATABASES: Listing[DatabaseFacts] = Listing(
    noun="databases",
    title="Databases of the primary",
    sources=("pg_clusters",),
    columns=(
        Column("name", "DATABASE", 16, grow=2, sort_key="E"),
        Column("size", "SIZE", 9, right=True, sort_key="S"),
        Column("connections", "CONN", 5, right=True),
        Column("xid", "XID AGE", 13, right=True, sort_key="X"),
        Column("wraparound", "TO WRAPAROUND", 13, right=True),
    ),
    items=_databases,
    row=_database_row,
    sorts={
        "name": lambda world, d: d.name,
        "size": lambda world, d: -(d.size_b or 0),
        "xid": lambda world, d: -d.xid_age,
    },
    default_sort="size",
    text=lambda d: d.name,
    trouble=lambda world, d, now: d.xid_age >= XID_WARNING,
)


DEAD_WARNING, DEAD_LEAST = 0.20, 10_000
"""Share of dead rows, and how many there are at least, from which a table is flagged."""


def database_lines(world: World, d: DatabaseFacts, now: datetime) -> tuple[Line, ...]:
    """The tables of a database with the most dead rows."""
    reading = world.pg_tables.get(d.name)
    if reading is None or not isinstance(reading, Known):
        why = reading.reason if reading is not None else "not read: only of the largest databases"
        return (pair("Dead rows", why, Tone.STALE, cells=12),)
    worst = [table for table in reading.value if table.dead][:4]
    if not worst:
        return (pair("Dead rows", f"none in {d.name}", cells=12),)
    return tuple(_table_line("Dead rows" if n == 0 else "", table, now) for n, table in enumerate(worst))


def _table_line(name: str, table: TableFacts, now: datetime) -> Line:
    """`public.orders 120,000 (24%), vacuumed 3h ago`."""
    share = table.dead / max(1, table.dead + table.live)
    vacuumed = f"vacuumed {words.age(now - table.vacuumed)} ago" if table.vacuumed is not None else "never vacuumed"
    tone = Tone.WARN if share >= DEAD_WARNING and table.dead >= DEAD_LEAST else Tone.PLAIN
    return (
        label(name, 12),
        Cell(f"{table.schema}.{table.name}", Tone.STRONG),
        Cell(f" {table.dead:,} ({words.percent(share)})", tone),
        Cell(f", {vacuumed}", Tone.MUTED),
    )


def database_pane(world: World, d: DatabaseFacts, now: datetime) -> tuple[Line, ...]:
    """The pane of a database: its wraparound and its tables."""
    left = XID_END - d.xid_age
    return (
        pair("Size", words.size(d.size_b) if d.size_b is not None else "not shown: needs CONNECT or pg_read_all_stats", cells=12),
        pair("Sessions", str(d.connections), cells=12),
        pair("Wraparound", f"in {left:,} transactions", Tone.WARN if d.xid_age >= XID_WARNING else Tone.PLAIN, cells=12),
        *((pair("Multixact", f"age {d.mxid_age:,}", cells=12),) if d.mxid_age else ()),
        *database_lines(world, d, now),
    )


def server_lines(world: World, now: datetime, columns: int = 24) -> tuple[Line, ...]:
    """The primary's archiver, slots, work in progress, cache and rates."""
    t = of(world, now)
    lead = next((m for m in t.members if m.name == t.primary), None)
    if lead is None or not isinstance(lead.sql, Known):
        reason = getattr(lead.sql, "reason", "") if lead is not None else "no primary is known"
        return (pair("SQL", reason, Tone.STALE, cells=12),)
    s = lead.sql.value
    lines: list[Line] = _progress_lines(world.pg_progress)
    if s.archiver is not None:
        a = s.archiver
        last = f"{a.last_wal} {words.age(now - a.last_at)} ago" if a.last_at is not None else "nothing yet"
        lines.append(pair("Archived", last, cells=12))
        if a.failing and a.failed_at is not None:
            lines.append(pair("Fails", f"{a.failed_wal} {words.age(now - a.failed_at)} ago, {a.failed:,} times", Tone.BAD, cells=12))
        lines.append(
            pair(
                "WAL waiting",
                f"{a.waiting}" if a.waiting is not None else "not shown: needs pg_monitor",
                Tone.WARN if a.waiting else Tone.PLAIN,
                cells=12,
            )
        )
    for slot in s.slots:
        kept = words.size(slot.retained_b) if slot.retained_b is not None else UNKNOWN
        word = f"{slot.name} {'active' if slot.active else 'inactive'}, keeps {kept}"
        lines.append(
            pair("Slot", word + (f", {slot.wal_status}" if slot.wal_status else ""), Tone.PLAIN if slot.active else Tone.WARN, cells=12)
        )
    asked = s.blocks_hit + s.blocks_read
    lines.append(pair("Cache hits", f"{s.blocks_hit / asked:.1%}" if asked else UNKNOWN, cells=12))
    if s.checkpoints is not None:
        lines.append(pair("Checkpoints", f"{s.checkpoints:,} since start", cells=12))
    return (*lines, *trends(world, lead.name, primary=True, columns=columns))


def _progress_lines(reading: Reading[Any]) -> list[Line]:
    if not isinstance(reading, Known):
        return []
    return [
        (label("Working", 12), Cell(f"{p.what} {p.table}: {p.phase} {words.percent(p.fraction)}"), Cell(f"  pid {p.pid}", Tone.MUTED))
        for p in reading.value
    ]


def absent(reading: Reading[Any], what: str) -> str:
    """In place of rows."""
    return f"no {what}" if isinstance(reading, Known) else f"{what}: {reading.reason}"
