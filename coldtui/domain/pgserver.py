"""The archiver and the slots of a primary by the nearest source that tells: SQL, else its instance manager, and both where each knows a part."""

from __future__ import annotations

from dataclasses import replace

from .readings import Known, Reading, Unknown
from .replication import Archiver, ManagerStatus, Slot
from .topology import Member


def archiver_of(m: Member) -> Reading[Archiver]:
    """By SQL; how much waits by the manager where SQL lacks the grant; all of it by the manager where SQL does not tell."""
    told = _running(m)
    if isinstance(m.sql, Known) and m.sql.value.archiver is not None:
        found = m.sql.value.archiver
        if found.waiting is not None or told is None or told.value.ready_wal is None:
            return Known(found, "sql", m.sql.as_of)
        return Known(replace(found, waiting=told.value.ready_wal), "sql, manager", min(m.sql.as_of, told.as_of))
    if told is None:
        return _neither(m)
    t = told.value
    made = Archiver(
        last_wal=t.last_archived_wal,
        last_at=t.last_archived_at,
        failed_wal=t.last_failed_wal,
        failed_at=t.last_failed_at,
        waiting=t.ready_wal,
    )
    return Known(made, "manager", told.as_of)


def slots_of(m: Member) -> Reading[tuple[Slot, ...]]:
    """An empty tuple: there are none."""
    if isinstance(m.sql, Known):
        return Known(m.sql.value.slots, "sql", m.sql.as_of)
    told = _running(m)
    return Known(told.value.slots, "manager", told.as_of) if told is not None else _neither(m)


def _running(m: Member) -> Known[ManagerStatus] | None:
    """A manager whose server does not run tells nothing of it."""
    return m.manager if isinstance(m.manager, Known) and m.manager.value.archiving is not None else None


def _neither(m: Member) -> Unknown:
    reasons = (f"{name}: {r.reason}" for name, r in (("SQL", m.sql), ("/pg/status", m.manager)) if isinstance(r, Unknown))
    return Unknown("sql", "; ".join(reasons) or "it is not asked of a standby")
