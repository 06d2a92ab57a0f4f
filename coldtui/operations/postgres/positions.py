"""Positions in the WAL that are known of a cluster whose primary is lost: what each replica has, and where the primary was last."""

from __future__ import annotations

from ...domain.replication import lsn
from ...domain.text import counted, size
from ...domain.values import dataclass
from .checks import timeline_of
from .facts import PgFacts


@dataclass(frozen=True, slots=True)
class Position:
    """Where the WAL of the primary ended, as far as anybody knows."""

    lsn: int
    source: str
    """`SQL of postgres-1`."""


def received(pg: PgFacts, name: str) -> int | None:
    manager, sql = pg.manager(name), pg.status(name)
    found = [v for v in (manager.received if manager is not None else None, sql.received if sql is not None else None) if v is not None]
    return max(found) if found else None


def replayed(pg: PgFacts, name: str) -> int | None:
    manager, sql = pg.manager(name), pg.status(name)
    found = [v for v in (manager.replayed if manager is not None else None, sql.replayed if sql is not None else None) if v is not None]
    return max(found) if found else None


def reached(pg: PgFacts, name: str) -> int | None:
    """How far its data goes: what it has replayed from the archive was never received."""
    found = [value for value in (received(pg, name), replayed(pg, name)) if value is not None]
    return max(found, default=None)


def end_of_primary(pg: PgFacts, given: str) -> Position | None:
    """The last known WAL position of the primary; None: nobody knows any. `given`: what whoever asks has seen before."""
    name = pg.primary
    sql, manager = pg.status(name), pg.manager(name)
    if sql is not None and sql.current is not None:
        return Position(sql.current, f"SQL of {name}")
    if manager is not None and manager.current is not None:
        return Position(manager.current, f"/pg/status of {name}")
    seen = lsn(given) if given else None
    return Position(seen, "as it was last seen") if seen is not None else None


def floor_of(pg: PgFacts) -> tuple[int, str] | None:
    """(position that the primary had reached for certain, who proves it): what any replica has received, or the archive has of its timeline."""
    found = [(position, f"{name} has it") for name in pg.cluster.instance_names if (position := reached(pg, name)) is not None]
    found += [(end, f"segment {wal} is archived") for wal, end in _archived(pg)]
    return max(found, default=None)


def _archived(pg: PgFacts) -> list[tuple[str, int]]:
    """A server that led on another timeline goes on telling the last segment that it archived then: it says nothing of this one."""
    found, line = [], timeline_of(pg, pg.primary)
    for name in pg.cluster.instance_names:
        manager = pg.manager(name)
        wal = manager.last_archived_wal if manager is not None else ""
        if len(wal) == 24 and wal[:8] == f"{line or 0:08X}" and (end := end_of_segment(wal)) is not None:
            found.append((wal, end))
    return found


def end_of_segment(wal: str) -> int | None:
    """The position that is reached for certain at the end of a segment (`000000070000000500000001`), which has 16 MiB or more. None: no such name."""
    try:
        high, low = int(wal[8:16], 16), int(wal[16:24], 16)
    except ValueError:
        return None
    if low > 0xFF:  # smaller segments: there are 256 of 16 MiB in 4 GiB
        return None
    return (high << 32) + ((low + 1) << 24)


def amount(octets: int) -> str:
    """`16 MiB (16,777,216 bytes)`; of few the bytes alone."""
    exact = counted(octets, "byte")
    return f"{size(octets)} ({exact})" if octets >= 1024 else exact
