"""What an instance manager answers at ``/pg/status`` (CloudNativePG, pkg/postgres/status.go): asked of its server in the moment."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import Json
from coldtui.lab.postgres.server import Server

DEADLINE_S = 2.0
VERSION = "1.30.0"
HASH = "a07583929a8af90c5ee446f3ef74a27483664183a35dde2192e39afe74f36ea9"
"""Of a program and of a configuration, which in the lab are the same everywhere."""
BOTH: LiteralString = """
SELECT pg_is_in_recovery() AS standby, (SELECT system_identifier::text FROM pg_control_system()) AS system,
  (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline, EXISTS (SELECT 1 FROM pg_settings WHERE pending_restart) AS restart, a.*,
  coalesce(a.last_archived_time, '-infinity') > coalesce(a.last_failed_time, '-infinity') AS archiving
FROM pg_stat_archiver a
"""
"""The timeline is that of the last checkpoint: a standby is late with it until its next restartpoint, a promoted one until its checkpoint."""
PRIMARY: LiteralString = """
SELECT pg_current_wal_lsn()::text AS lsn, pg_walfile_name(pg_current_wal_lsn()) AS wal,
  (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') AS ready
"""
STANDBY: LiteralString = """
SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text AS received, pg_last_wal_replay_lsn()::text AS replayed,
  pg_is_wal_replay_paused() AS paused, EXISTS (SELECT 1 FROM pg_stat_wal_receiver) AS receiving
"""
REPLICATION: LiteralString = """
SELECT application_name AS "applicationName", state, sent_lsn::text AS "receivedLsn", write_lsn::text AS "writeLsn", flush_lsn::text AS "flushLsn",
  replay_lsn::text AS "replayLsn", coalesce(write_lag, '0'::interval)::text AS "writeLag", coalesce(flush_lag, '0'::interval)::text AS "flushLag",
  coalesce(replay_lag, '0'::interval)::text AS "replayLag", sync_state AS "syncState", sync_priority::text AS "syncPriority"
FROM pg_stat_replication WHERE usename = 'streaming_replica' AND application_name ~ '-[0-9]+$' ORDER BY 1
"""
"""receivedLsn is the position sent: so it is called there."""
SLOTS: LiteralString = """
SELECT slot_name AS "slotName", plugin, slot_type AS "slotType", datoid::text AS datoid, database, active, xmin::text AS xmin,
  catalog_xmin::text AS "catalogXmin", restart_lsn::text AS "restartLsn", wal_status AS "walStatus", safe_wal_size AS "safeWalSize"
FROM pg_replication_slots WHERE NOT temporary ORDER BY 1
"""
BASEBACKUPS: LiteralString = """
SELECT r.usename, r.application_name, r.backend_start::text, p.phase, p.backup_total, p.backup_streamed,
  pg_size_pretty(p.backup_total) AS backup_total_pretty, pg_size_pretty(p.backup_streamed) AS backup_streamed_pretty, p.tablespaces_total, p.tablespaces_streamed
FROM pg_stat_progress_basebackup p JOIN pg_stat_replication r USING (pid)
"""


class Gauge:
    """One kept connection to a server, and the questions."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None
        self._lock = asyncio.Lock()
        self.frozen = False
        """The server is stopped in its tracks: nobody is to ask it, since a question to such a one cannot even be broken off."""

    async def rows(self, statement: LiteralString) -> list[Json]:
        """Of one query, within the deadline. Raises Unreachable."""
        async with self._lock:
            if self.frozen:
                raise Unreachable(f"{self._server.name} does not answer", detail=f"within {DEADLINE_S:.0f} s")
            try:
                async with asyncio.timeout(DEADLINE_S):
                    if self._connection is None or self._connection.closed:
                        self._connection = await psycopg.AsyncConnection.connect(self._server.dsn(), autocommit=True, row_factory=dict_row)
                    return await (await self._connection.execute(statement)).fetchall()
            except (psycopg.Error, TimeoutError, OSError) as error:
                await self._drop()
                raise Unreachable(f"{self._server.name} does not answer", detail=str(error).strip().partition("\n")[0]) from error

    async def close(self) -> None:
        """Once the question under way has its answer: closed under it, the library aborts the process."""
        async with self._lock:
            await self._drop()

    async def freeze(self) -> None:
        """From when this returns nothing is asked, until ``frozen`` is taken back."""
        async with self._lock:
            self.frozen = True
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()

    async def status(self) -> Json:
        """The facts of ``/pg/status`` that come from the server. Raises Unreachable."""
        both = (await self.rows(BOTH))[0]
        found = {
            "isPrimary": not both["standby"],
            "systemID": both["system"],
            "pendingRestart": both["restart"],
            "timeLineID": both["timeline"],
            "isArchivingWAL": both["archiving"] or None,  # false is left out
            "lastArchivedWAL": both["last_archived_wal"],
            "lastArchivedWALTime": _time(both["last_archived_time"]),
            "lastFailedWAL": both["last_failed_wal"],
            "lastFailedWALTime": _time(both["last_failed_time"]),
            **(await self._side(both["standby"])),
        }
        return {key: value for key, value in found.items() if value not in (None, "", [])}

    async def _side(self, standby: bool) -> Json:
        if standby:
            row = (await self.rows(STANDBY))[0]
            return {
                "receivedLsn": row["received"], "replayLsn": row["replayed"], "replayPaused": row["paused"], "isWalReceiverActive": row["receiving"],
            }  # fmt: skip
        row = (await self.rows(PRIMARY))[0]
        return {
            "currentLsn": row["lsn"], "currentWAL": row["wal"], "readyWalFiles": row["ready"] or None,
            "replicationInfo": [_some(r) for r in await self.rows(REPLICATION)], "replicationSlotsInfo": [_some(r) for r in await self.rows(SLOTS)],
            "pgStatBasebackupsInfo": [_some(r) for r in await self.rows(BASEBACKUPS)],
        }  # fmt: skip


def _some(row: Json) -> Json:
    return {key: value for key, value in row.items() if value not in (None, "", False)}


def _time(at: datetime | None) -> str:
    return "-infinity" if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def whole(facts: Json, *, name: str, session: str) -> Json:
    """The document of an instance that answers."""
    told = {"instanceArch": "amd64", "sessionID": session, "loadedConfigurationHash": HASH, "executableHash": HASH}
    return {**bare(name), **facts, **told}


def bare(name: str, *, rewinding: bool = False, masked: str = "", primary: bool = False) -> Json:
    """What an instance manager says by itself, without its server. ``masked``: why the server does not answer, where that is no error, since
    it is fenced or restarts by order; ``primary`` is then what its files say."""
    status: Json = {
        "systemID": "", "isPrimary": primary, "replayPaused": False, "pendingRestart": False, "pendingRestartForDecrease": False,
        "isWalReceiverActive": False, "isPgRewindRunning": rewinding, "mightBeUnavailable": bool(masked), "node": "",
        "pod": {"metadata": {"name": name}, "spec": {"containers": None}, "status": {}}, "executableHash": "", "instanceManagerVersion": VERSION,
        "instanceArch": "", "isInstanceManagerUpgrading": False, "sessionID": "", "isPodReady": False,
    }  # fmt: skip
    return status | ({"mightBeUnavailableMaskedError": masked} if masked else {})
