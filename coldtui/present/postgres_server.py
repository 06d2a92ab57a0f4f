"""Databases of the primary, and what its server tells: archiver, slots, work in progress, cache and rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..domain.pgserver import archiver_of, slots_of
from ..domain.pgstrain import XID_END, XID_WARNING, waiting
from ..domain.readings import Known, Reading, Unknown
from ..domain.replication import Archiver, Slot, SqlStatus, segment
from ..domain.sessions import DatabaseFacts, Progress, TableFacts
from ..domain.topology import Member
from ..domain.verdicts import seen
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, pair
from .postgres_topology import of, tone_of, trends
from .rows import Cell, Column, Listing, Row, Tone


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
    lead = t.lead
    if lead is None:
        return (pair("Server", "no primary is known", Tone.STALE, cells=12),)
    archiver, slots = archiver_of(lead), slots_of(lead)
    lines: list[Line] = list(_source_lines(lead, (archiver, slots), now))
    if isinstance(lead.sql, Known):
        lines += _progress_lines(world.pg_progress)
    if t.cluster is not None and seen(world, "pg_clusters") and not t.cluster.archives:
        lines.append(pair("Archive", "none configured: what it counts as archived is thrown away", Tone.MUTED, cells=12))
    elif isinstance(archiver, Known):
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
    last = f"{segment(a.last_wal)} {words.age(now - a.last_at)} ago" if a.last_at is not None else "nothing yet"
    yield pair("Archived", last, tone_of(reading, now), cells=12)
    if a.failing and a.failed_at is not None:
        times = f", {a.failed:,} times" if a.failed else ""
        yield pair("Fails", f"{segment(a.failed_wal)} {words.age(now - a.failed_at)} ago{times}", Tone.BAD, cells=12)
    yield pair("WAL waiting", waiting_words(reading), tone_of(reading, now, Tone.WARN if a.waiting else Tone.PLAIN), cells=12)


def waiting_words(reading: Known[Archiver]) -> str:
    """`190 segments (3 GiB)`; of segments of the default size."""
    a = reading.value
    if a.waiting is None:
        return "not shown: needs pg_monitor"
    much = waiting(a) if a.waiting else "none"
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
