"""What a database that serves still is about to stumble over: commits that wait, WAL that piles up, slots, connections, transaction IDs.

Each limit is reached before the harm is done, and has its reason beside it. A value that is old, or not told, proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .disagreements import problem_of, writes
from .losses import fresh
from .pgserver import archiver_of, slots_of
from .postgres import ARCHIVE_LATE, PgCluster, changing
from .problems import Problem, Severity
from .readings import Known
from .replication import SEGMENT_B, Archiver, Slot, Standby
from .text import counted, size

if TYPE_CHECKING:
    from .topology import Topology
    from .world import World

CONNECTING = timedelta(seconds=10)
"""After a role change, or a restart of the primary, standbys need so long to stream from it; commits wait meanwhile, and that ends by itself."""
WAITING = 64
"""Segments of WAL, 1 GiB: max_wal_size by default. More than PostgreSQL keeps between two checkpoints: from here on the volume fills."""
RETAINED_B = WAITING * SEGMENT_B
"""The same for a slot: by its reader alone WAL is kept that would be removed else."""
CONNECTIONS_WARNING = 0.9
"""One connection in ten is left: a pool that starts anew, or one more replica of an application, does not get in."""
XID_END = 2**31
XID_WARNING = 1_000_000_000
"""Half way to wraparound, and five times what autovacuum lets it come to (autovacuum_freeze_max_age, 200 million): it does not get through."""
XID_CRITICAL = 1_600_000_000
"""vacuum_failsafe_age: PostgreSQL itself drops everything else from here on. At 2.1 thousand million it takes no more writes."""

_NEEDED = re.compile(r"\s*(?:(any|first)\s+)?(\d+)\s*\(", re.IGNORECASE)


def needed(setting: str) -> int:
    """How many standbys must confirm each commit by synchronous_standby_names: `ANY 1 (a, b)`, `FIRST 2 (a, b)`, `2 (a, b)`, `a, b`."""
    found = _NEEDED.match(setting)
    return int(found[2]) if found is not None else 1 if setting.strip() else 0


def _commits_wait(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """By the server's own setting, which the operator shrinks where durability is `preferred`; without SQL only where it is `required`."""
    m = t.lead
    started = m.sql.value.started if m is not None and isinstance(m.sql, Known) else None
    young = any(at is not None and abs(now - at) < CONNECTING for at in (c.current_primary_since, started))
    if m is None or changing(c) or young:
        return
    rows: tuple[Standby, ...]
    if isinstance(m.sql, Known) and fresh(m.sql, now) and not m.sql.value.missing:
        if m.sql.value.in_recovery:
            return
        wants, rows, by = needed(m.sql.value.synchronous), m.sql.value.standbys, f"synchronous_standby_names = {m.sql.value.synchronous}"
    elif isinstance(m.manager, Known) and fresh(m.manager, now) and c.synchronous is not None and c.synchronous.durability == "required":
        if not m.manager.value.is_primary or m.manager.value.might_be_unavailable:
            return
        wants, rows, by = c.synchronous.number, m.manager.value.standbys, "dataDurability is required"
    else:
        return
    there = sum(row.state == "streaming" and row.sync_state in ("sync", "quorum") for row in rows)
    if there < wants:
        what = f"commits wait: {counted(wants, 'synchronous standby', 'synchronous standbys')} needed, {there} stream"
        yield problem_of(c, "commits-wait", what, f"{writes(c)} hang until a standby is back", by)


def late(world: World, primary: str, told: Archiver, now: datetime) -> bool:
    """Whether a failure costs more than it may: by how much waits, or by how long it was seen to last. The last success tells nothing of that: an
    idle server has nothing to archive for hours, a new primary has archived nothing yet."""
    since = [x.unarchived for x in world.pg_claims.values() if x.name == primary and not x.ended and x.unarchived is not None]
    much = told.waiting is not None and told.waiting >= WAITING
    return told.failing and (much or any(now - at > ARCHIVE_LATE for at in since))


def _archiving(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Only a failure newer than the last success counts. Where the instance says it by a condition, that is said once, and how long it lasts, unless
    the servers have told of it for longer."""
    m = t.lead
    found = archiver_of(m) if m is not None else None
    if not isinstance(found, Known) or not fresh(found, now):
        return
    told, condition = found.value, c.condition("ContinuousArchiving")
    left = f", {waits(told)}" if told.waiting else ""
    long = late(world, t.primary, told, now)  # the condition may be younger than the trouble
    if told.failing and (long or condition is None or condition.status != "False"):
        severity = Severity.CRITICAL if long else Severity.WARNING
        yield problem_of(
            c, "archiver", f"WAL archiving fails{left}", "point-in-time recovery ends at the last archived WAL; WAL fills the disk",
            f"{told.failed_wal or 'a segment'} failed; see the log of {t.primary}", severity, told.last_at,
        )  # fmt: skip
    elif told.waiting is not None and told.waiting >= WAITING:
        last = f"archived last: {told.last_wal}" if told.last_wal else "nothing was archived yet"
        yield problem_of(
            c,
            "backlog",
            f"{waits(told)} to be archived",
            "a lost primary takes them along; WAL fills the disk",
            last,
            Severity.WARNING,
        )


def waiting(archiver: Archiver) -> str:
    """`190 segments (3 GiB)`; a segment may be of another size than usual, which nobody tells."""
    n = archiver.waiting or 0
    return f"{counted(n, 'segment')} ({size(n * SEGMENT_B)})"


def waits(archiver: Archiver) -> str:
    """`1 segment (16 MiB) waits`."""
    return f"{waiting(archiver)} {'waits' if archiver.waiting == 1 else 'wait'}"


def _slots(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    m = t.lead
    found = slots_of(m) if m is not None else None
    for slot in found.value if isinstance(found, Known) and fresh(found, now) else ():
        if slot.wal_status == "lost":
            yield problem_of(
                c,
                f"slot/{slot.name}",
                f"slot {slot.name} is lost",
                f"{_reader(slot)} has to be made anew",
                "its WAL was removed",
                Severity.WARNING,
            )
        elif (slot.retained_b or 0) >= RETAINED_B:
            what = f"slot {slot.name} keeps {size(slot.retained_b or 0)} of WAL"
            cause = f"{_reader(slot)} {'is behind' if slot.active else 'is not connected: drop the slot if it never comes back'}"
            yield problem_of(c, f"slot/{slot.name}", what, f"WAL fills the disk of {t.primary}", cause, Severity.WARNING)


def _reader(slot: Slot) -> str:
    return "its subscriber" if slot.kind == "logical" else "its standby"


def _connections(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Those reserved for superusers are not counted in."""
    for m in t.members:
        if not isinstance(m.connections, Known) or not fresh(m.connections, now):
            continue
        used, most = m.connections.value
        if most and used >= CONNECTIONS_WARNING * most:
            severity = Severity.CRITICAL if used >= most and m.name == t.primary else Severity.WARNING
            hits = "new sessions are refused" if used >= most else f"new sessions, from {most:,} on"
            yield problem_of(
                c, f"connections/{m.name}", f"{m.name} has {used:,} of {most:,} connections", hits, "see its sessions", severity
            )


def _wraparound(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Of the oldest database, which has a name only while somebody looks at the databases."""
    m = t.lead
    age = m.sql.value.xid_age if m is not None and isinstance(m.sql, Known) and fresh(m.sql, now) else None
    if age is None or age < XID_WARNING:
        return
    found = world.pg_databases
    known = found.value if isinstance(found, Known) and fresh(found, now) else ()
    oldest = max(known, key=lambda d: d.xid_age, default=None)
    whose = f"database {oldest.name}" if oldest is not None else "the oldest database"
    what = f"{whose} has used {age / XID_END:.0%} of its transaction IDs"
    cause = "vacuum it; an old transaction, slot or prepared transaction may hold it back"
    severity = Severity.CRITICAL if age >= XID_CRITICAL else Severity.WARNING
    yield problem_of(c, "wraparound", what, f"{writes(c)}: none are taken at the end", cause, severity)


JUDGES = (_commits_wait, _archiving, _slots, _connections, _wraparound)
