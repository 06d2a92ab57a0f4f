"""What an instance manager of CloudNativePG answers at `/pg/status` (pkg/postgres/status.go), as a value."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from ...domain.replication import ManagerStatus, Slot, Standby, lsn
from ...domain.text import plain
from ...domain.troubles import LineTrouble
from .decoding import UNDECODABLE, Wire

_CLOCK = re.compile(r"(-)?(?:(\d+) days? )?(\d+):(\d+):(\d+(?:\.\d+)?)$")


class _Replication(Wire):
    """A row of pg_stat_replication. `receivedLsn` is the position that was sent: it is called so there."""

    application_name: str = ""
    state: str = ""
    received_lsn: str = ""
    write_lsn: str = ""
    flush_lsn: str = ""
    replay_lsn: str = ""
    replay_lag: str = ""
    sync_state: str = ""


class _Slot(Wire):
    """A row of pg_replication_slots."""

    slot_name: str = ""
    slot_type: str = ""
    restart_lsn: str = ""
    wal_status: str = ""
    safe_wal_size: int | None = None
    active: bool = False


class _Status(msgspec.Struct, gc=False):
    """The fields that are used; keys are left out where they are empty, zero or false. Several end in capitals that no rule makes."""

    is_primary: bool = msgspec.field(name="isPrimary")
    system_id: str = msgspec.field(name="systemID", default="")
    timeline: int = msgspec.field(name="timeLineID", default=0)
    current: str = msgspec.field(name="currentLsn", default="")
    received: str = msgspec.field(name="receivedLsn", default="")
    replayed: str = msgspec.field(name="replayLsn", default="")
    receiving: bool = msgspec.field(name="isWalReceiverActive", default=False)
    paused: bool = msgspec.field(name="replayPaused", default=False)
    pending_restart: bool = msgspec.field(name="pendingRestart", default=False)
    rewinding: bool = msgspec.field(name="isPgRewindRunning", default=False)
    unavailable: bool = msgspec.field(name="mightBeUnavailable", default=False)
    replication: list[_Replication] | None = msgspec.field(name="replicationInfo", default=None)
    slots: list[_Slot] | None = msgspec.field(name="replicationSlotsInfo", default=None)
    archiving: bool = msgspec.field(name="isArchivingWAL", default=False)
    archived: str = msgspec.field(name="lastArchivedWAL", default="")
    archived_at: str = msgspec.field(name="lastArchivedWALTime", default="")
    failed: str = msgspec.field(name="lastFailedWAL", default="")
    failed_at: str = msgspec.field(name="lastFailedWALTime", default="")
    ready: int = msgspec.field(name="readyWalFiles", default=0)
    version: str = msgspec.field(name="instanceManagerVersion", default="")


def manager_status(raw: bytes, name: str) -> ManagerStatus:
    """The document of instance `name`. Raises Unreachable (kind garbage) where it is none."""
    try:
        found = msgspec.json.decode(raw, type=_Status)
        return _value(found, name)
    except UNDECODABLE as error:
        raise LineTrouble(
            f"{plain(name)} answers with something else than /pg/status", kind="garbage", detail=plain(str(error))[:200]
        ) from None


def _value(found: _Status, name: str) -> ManagerStatus:
    primary = found.is_primary
    asked = bool(found.current)  # a primary that is fenced says what its files are, and nothing of a server
    return ManagerStatus(
        name=name,
        is_primary=primary,
        system_id=plain(found.system_id),
        timeline=found.timeline or None,
        current=_position(found.current),
        received=_position(found.received),
        replayed=_position(found.replayed),
        receiver_active=None if primary else found.receiving,
        replay_paused=found.paused,
        pending_restart=found.pending_restart,
        rewinding=found.rewinding,
        might_be_unavailable=found.unavailable,
        standbys=tuple(map(_standby, found.replication or ())),
        archiving=found.archiving if asked else None,
        last_archived_wal=plain(found.archived),
        last_failed_wal=plain(found.failed),
        last_archived_at=_moment(found.archived_at),
        last_failed_at=_moment(found.failed_at),
        ready_wal=found.ready if asked else None,
        slots=tuple(_slot(row, _position(found.current)) for row in found.slots or ()) if asked else (),
        manager_version=plain(found.version),
    )


def _standby(row: _Replication) -> Standby:
    return Standby(
        plain(row.application_name), plain(row.state), plain(row.sync_state), _position(row.received_lsn), _position(row.write_lsn),
        _position(row.flush_lsn), _position(row.replay_lsn), _seconds(row.replay_lag),
    )  # fmt: skip


def _slot(row: _Slot, current: int | None) -> Slot:
    """What it keeps is counted from where the primary is, as SQL does."""
    oldest = _position(row.restart_lsn)
    kept = max(0, current - oldest) if current is not None and oldest is not None else None
    return Slot(plain(row.slot_name), row.active, plain(row.slot_type), plain(row.wal_status), kept, row.safe_wal_size)


def _position(text: str) -> int | None:
    """None: not told, or the invalid position 0/0."""
    return lsn(text) or None if text else None


def _moment(text: str) -> datetime | None:
    """`-infinity` stands for never."""
    if not text or "infinity" in text:
        return None
    made = datetime.fromisoformat(text.replace(" ", "T", 1))
    return made.astimezone(UTC) if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _seconds(interval: str) -> float | None:
    """`00:00:01.234`, with days before it."""
    found = _CLOCK.match(interval.strip())
    if found is None:
        return None
    sign, days, hours, minutes, seconds = found.groups()
    total = int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return -total if sign else total
