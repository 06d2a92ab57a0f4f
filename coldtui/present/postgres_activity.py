"""What the primary does: sessions, who blocks whom, databases, and its slots and archiver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from coldtui.domain.values import dataclass

from ..domain.memo import Last
from ..domain.pgserver import archiver_of, slots_of
from ..domain.pods import Pod
from ..domain.readings import Known, Reading, Unknown
from ..domain.replication import SEGMENT_B, Archiver, Slot, SqlStatus
from ..domain.sessions import DatabaseFacts, Progress, Session, TableFacts
from ..domain.text import counted
from ..domain.topology import VIP, Member, cluster_of
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, pair, two_columns
from .postgres_topology import of, tone_of, trends
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


def _by_key(reading: Reading[tuple[Session, ...]]) -> Mapping[str, Session]:
    return {s.key: s for s in reading.value} if isinstance(reading, Known) else {}


_sessions = Last(_by_key)


def sessions_of(world: World) -> Mapping[str, Session]:
    return _sessions(world.pg_sessions)


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


def _held_up(sessions: Mapping[str, Session]) -> Mapping[int, int]:
    """pid of each that others wait for -> how many do, through others too."""
    waiting: dict[int, set[int]] = {}
    for s in sessions.values():
        for pid in s.blocked_by:
            waiting.setdefault(pid, set()).add(s.pid)
    return {pid: len(_behind(waiting, pid)) for pid in waiting}


def _behind(waiting: Mapping[int, set[int]], pid: int) -> set[int]:
    """Who waits for it at last; in a circle it is not counted itself."""
    found: set[int] = set()
    left = [pid]
    while left:
        new = waiting.get(left.pop(), set()) - found - {pid}
        found |= new
        left.extend(new)
    return found


_holders = Last(_held_up)


def held_up(world: World) -> Mapping[int, int]:
    """pid of each session that others wait for -> how many do, through others too."""
    return _holders(sessions_of(world))


def is_root(s: Session, held: Mapping[int, int]) -> bool:
    """It waits for nobody, and others wait for it: ending it helps all."""
    return not s.blocked_by and s.pid in held


def waits_for(s: Session) -> str:
    """`21286`, `a prepared transaction`."""
    return ", ".join(str(pid) if pid else "a prepared transaction" for pid in s.blocked_by)


def waits(s: Session) -> str:
    """`Lock: transactionid`; empty: for nothing, or only for its client."""
    return "" if s.wait.startswith(_RESTS) else s.wait


def _wait_cell(s: Session, held: Mapping[int, int]) -> Cell:
    """Who is at the root of it, whom it waits for, else what for."""
    if is_root(s, held):
        return Cell(f"{words.GLYPHS['bad']} ROOT, holds up {held[s.pid]}", Tone.BAD)
    if s.blocked_by:
        return Cell(f"for {waits_for(s)}", Tone.WARN)
    return Cell(waits(s), Tone.WARN if s.wait.startswith("Lock") else Tone.MUTED)


def _cells(s: Session, held: Mapping[int, int], now: datetime, lead: str = "") -> tuple[Cell, ...]:
    age = transaction_age(s, now)
    return (
        Cell(f"{lead}{s.pid}", Tone.STRONG),
        Cell(s.user or s.kind, Tone.PLAIN if s.user else Tone.MUTED),
        _state_cell(s, now),
        Cell(words.age(age) if age is not None else "", Tone.WARN if flagged(s, now) else Tone.PLAIN),
        _wait_cell(s, held),
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
    return Row(s.key, _cells(s, held_up(world), now))


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
        "tx": lambda world, s: (not is_root(s, held_up(world)), not s.blocked_by, s.kind != "client backend", _start(s), s.pid),
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
    return Row(b.key, _cells(b.session, held_up(world), now, "  " * (b.depth - 1) + "└ " if b.depth else ""))


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
    if told := waits(s):
        lines.append(pair("Waits for", told, cells=12))
    if s.blocked_by:
        lines.append(pair("Blocked by", waits_for(s), Tone.BAD, cells=12))
    if count := held_up(world).get(s.pid):
        lines.append(pair("Holds up", f"{counted(count, 'session')}{', waits for nobody' if not s.blocked_by else ''}", Tone.BAD, cells=12))
    if s.state.startswith("idle") and s.state_at is not None:
        lines.append(pair("Last query", f"ended {words.age(now - s.state_at)} ago", cells=12))
    elif s.query_at is not None:
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
        Column("wraparound", "XID USED", 8, right=True),
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
    """The primary's archiver and slots by the nearest source that tells; by SQL alone work in progress, cache and rates."""
    t = of(world, now)
    lead = next((m for m in t.members if m.name == t.primary), None)
    if lead is None:
        return (pair("Server", "no primary is known", Tone.STALE, cells=12),)
    archiver, slots = archiver_of(lead), slots_of(lead)
    lines: list[Line] = list(_source_lines(lead, (archiver, slots), now))
    if isinstance(lead.sql, Known):
        lines += _progress_lines(world.pg_progress)
    if isinstance(archiver, Known):
        lines += _archiver_lines(archiver, now)
    if isinstance(slots, Known):
        lines += [_slot_line(slot) for slot in slots.value]
    if isinstance(lead.sql, Known):
        lines += _counter_lines(lead.sql.value)
    return (*lines, *trends(world, lead.name, primary=True, columns=columns))


def _source_lines(lead: Member, told: tuple[Reading[Any], ...], now: datetime) -> Iterator[Line]:
    """Who tells what follows, and how long ago; first why SQL does not."""
    if isinstance(lead.sql, Unknown):
        yield pair("SQL", lead.sql.reason, Tone.STALE, cells=12)
    known = next((r for r in (lead.sql, *told) if isinstance(r, Known)), None)
    if known is not None:
        name = {"sql": "SQL", "manager": "/pg/status"}.get(known.source, known.source)
        yield pair("Source", f"{lead.name} by {name}, {words.age(now - known.as_of)} ago", tone_of(known, now, Tone.MUTED), cells=12)


def _archiver_lines(reading: Known[Archiver], now: datetime) -> Iterator[Line]:
    a = reading.value
    last = f"{a.last_wal} {words.age(now - a.last_at)} ago" if a.last_at is not None else "nothing yet"
    yield pair("Archived", last, tone_of(reading, now), cells=12)
    if a.failing and a.failed_at is not None:
        times = f", {a.failed:,} times" if a.failed else ""
        yield pair("Fails", f"{a.failed_wal} {words.age(now - a.failed_at)} ago{times}", Tone.BAD, cells=12)
    yield pair("WAL waiting", waiting_words(reading), tone_of(reading, now, Tone.WARN if a.waiting else Tone.PLAIN), cells=12)


def waiting_words(reading: Known[Archiver]) -> str:
    """`190 segments (3 GiB)`; of segments of the default size."""
    a = reading.value
    if a.waiting is None:
        return "not shown: needs pg_monitor"
    much = f"{counted(a.waiting, 'segment')} ({words.size(a.waiting * SEGMENT_B)})" if a.waiting else "none"
    return much + (", by /pg/status" if reading.source == "sql, manager" else "")


def _slot_line(slot: Slot) -> Line:
    kept = words.size(slot.retained_b) if slot.retained_b is not None else UNKNOWN
    word = f"{slot.name} {'active' if slot.active else 'inactive'}, keeps {kept}"
    return pair("Slot", word + (f", {slot.wal_status}" if slot.wal_status else ""), Tone.PLAIN if slot.active else Tone.WARN, cells=12)


def _counter_lines(s: SqlStatus) -> Iterator[Line]:
    asked = s.blocks_hit + s.blocks_read
    yield pair("Cache hits", f"{s.blocks_hit / asked:.1%}" if asked else UNKNOWN, cells=12)
    if s.checkpoints is not None:
        yield pair("Checkpoints", f"{s.checkpoints:,} since the last reset of its statistics", cells=12)


def _progress_lines(reading: Reading[Any]) -> list[Line]:
    return [_progress_line(p) for p in reading.value] if isinstance(reading, Known) else []


def _progress_line(p: Progress) -> Line:
    """`vacuum public.orders: scanning heap 45%`; of a phase that counts nothing no percent."""
    share = f" {words.percent(p.fraction)}" if p.fraction is not None else ""
    return (label("Working", 12), Cell(f"{p.what} {p.table}: {p.phase}{share}"), Cell(f"  pid {p.pid}", Tone.MUTED))


# ---------------------------------------------------------------- why there is less than there is


def lacking(world: World, now: datetime) -> str:
    """What these lists leave out or why they are not told, with the remedy; empty: they are whole."""
    lead = next((m for m in of(world, now).members if m.name == of(world, now).primary), None)
    if lead is not None and isinstance(lead.sql, Known) and any(grant.startswith("pg_monitor") for grant in lead.sql.value.missing):
        return "other users' sessions are not shown: GRANT pg_monitor"
    return unreached(world)


def unreached(world: World) -> str:
    """That servers are tried at their pods' addresses and none is reached from here; empty: another trouble, or none."""
    c = cluster_of(world)
    told = {name: r for name, r in world.pg_sql.items() if name != VIP}
    if c is None or not told:
        return ""
    pods = {name: world.pods.items.get(f"{c.namespace}/{name}") for name in told}
    away = all(isinstance(r, Unknown) and r.kind in ("timeout", "lost") and _at(pods[name], r) for name, r in told.items())
    return "pods are not reached from here: set postgres.instances" if away else ""


def _at(pod: Pod | None, reading: Unknown) -> bool:
    """Whether it was tried at the pod's own address."""
    return pod is not None and bool(pod.ip) and f"({pod.ip}:" in reading.reason
