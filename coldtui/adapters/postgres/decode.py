"""Rows of the fixed statements as domain values; every text is made plain here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ...domain.replication import Archiver, Receiver, Slot, SqlStatus, Standby, lsn
from ...domain.sessions import DatabaseFacts, Progress, Session, TableFacts
from ...domain.text import plain

Row = Mapping[str, Any]


def _text(value: object) -> str:
    return plain(str(value)) if value is not None else ""


def _lsn(value: object) -> int | None:
    return lsn(str(value)) if value is not None else None


def _moment(value: object) -> datetime | None:
    """A timestamp of a row, or of JSON inside one."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def receives(row: Row) -> bool:
    """Whether a standby shows a WAL receiver."""
    return _receiver(row["receiver"]) is not None


def status(row: Row, waiting: int | None, newest: int | None = None) -> SqlStatus:
    """`waiting`: WAL files that wait to be archived; `newest`: the timeline of the newest WAL of a standby without a receiver. None: not known."""
    commits, rollbacks, hit, read = (int(n or 0) for n in row["counters"] or (0, 0, 0, 0))
    missing = () if row["monitor"] else ("pg_monitor: sessions of other users, lag of standbys, archive queue",)
    return SqlStatus(
        in_recovery=bool(row["in_recovery"]),
        system_id=_text(row["system_id"]),
        timeline=max(int(row["timeline"] or 0), newest or 0),
        version=_text(row["version"]).partition(" ")[0],
        started=_moment(row["started"]) or datetime.fromtimestamp(0, UTC),
        current=_lsn(row["current"]),
        received=_lsn(row["received"]),
        replayed=_lsn(row["replayed"]) if row["in_recovery"] else None,
        replay_paused=bool(row["replay_paused"]),
        last_replay_at=_moment(row["last_replay_at"]),
        receiver=_receiver(row["receiver"]),
        standbys=tuple(map(_standby, row["standbys"] or ())),
        archiver=_archiver(row["archiver"], waiting),
        slots=tuple(map(_slot, row["slots"] or ())),
        connections=int(row["connections"] or 0),
        max_connections=int(row["max_connections"] or 0),
        commits=commits,
        rollbacks=rollbacks,
        blocks_hit=hit,
        blocks_read=read,
        wal_b=_number(row["wal_b"]),
        checkpoints=_number(row["checkpoints"]),
        synchronous=_text(row["synchronous"]),
        pending_restart=bool(row["pending_restart"]),
        listens=_text(row["listens"]),
        missing=missing,
        xid_age=_number(row["xid_age"]),
        timeline_sure=not row["in_recovery"] or newest is not None or receives(row),
    )


def reached(row: Row) -> SqlStatus:
    """Who answered; nothing else was asked."""
    return SqlStatus(
        in_recovery=bool(row["in_recovery"]),
        system_id=_text(row["system_id"]),
        timeline=0,
        version=_text(row["version"]).partition(" ")[0],
        started=_moment(row["started"]) or datetime.fromtimestamp(0, UTC),
        listens=_text(row["listens"]),
    )


def _receiver(found: Row | None) -> Receiver | None:
    if not found or found.get("status") is None:
        return None  # without pg_monitor the row is there and empty
    sender = f"{_text(found['host'])}:{found['port']}" if found.get("host") else ""
    return Receiver(_text(found["status"]), sender, _lsn(found["flushed"]), _moment(found["latest"]))


def _standby(found: Row) -> Standby:
    lag = found["lag"]
    return Standby(
        _text(found["name"]), _text(found["state"]), _text(found["sync"]), _lsn(found["sent"]), _lsn(found["write"]), _lsn(found["flush"]),
        _lsn(found["replay"]), float(lag) if lag is not None else None, _text(found["address"]),
    )  # fmt: skip


def _archiver(found: Row | None, waiting: int | None) -> Archiver | None:
    if not found:
        return None
    return Archiver(
        int(found["archived"] or 0), _text(found["wal"]), _moment(found["at"]), int(found["failed"] or 0), _text(found["failed_wal"]),
        _moment(found["failed_at"]), waiting,
    )  # fmt: skip


def _slot(found: Row) -> Slot:
    return Slot(
        _text(found["name"]), bool(found["active"]), _text(found["kind"]), _text(found["status"]), _number(found["retained"]),
        _number(found["safe"]),
    )  # fmt: skip


def session(row: Row) -> Session:
    return Session(
        pid=row["pid"],
        started=_moment(row["backend_start"]) or datetime.fromtimestamp(0, UTC),
        database=_text(row["datname"]),
        user=_text(row["usename"]),
        application=_text(row["app"]),
        address=_text(row["address"]),
        state=_text(row["state"]),
        wait=_text(row["wait"]),
        transaction_at=_moment(row["xact_start"]),
        query_at=_moment(row["query_start"]),
        state_at=_moment(row["state_change"]),
        query=_text(row["query"]),
        blocked_by=tuple(row["blocked_by"] or ()),
        kind=_text(row["kind"]),
    )


def progress(row: Row) -> Progress:
    return Progress(
        row["pid"], row["what"], _text(row["datname"]), _text(row["relation"]), _text(row["phase"]), int(row["done"] or 0),
        int(row["total"] or 0),
    )  # fmt: skip


def database(row: Row) -> DatabaseFacts:
    return DatabaseFacts(_text(row["datname"]), _number(row["size"]), int(row["xid_age"]), int(row["mxid_age"]), int(row["connections"]))


def table(row: Row) -> TableFacts:
    return TableFacts(
        _text(row["database"]), _text(row["schemaname"]), _text(row["relname"]), int(row["n_live_tup"]), int(row["n_dead_tup"]),
        _number(row["size"]), _moment(row["vacuumed"]), _moment(row["analyzed"]), _text(row["owner"]),
        str(row["ident"]), tuple(map(_text, row["invalid"])),
    )  # fmt: skip
