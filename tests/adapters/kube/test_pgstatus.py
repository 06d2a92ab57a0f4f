"""The document of an instance manager as a value."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from coldtui.adapters.kube.pgstatus import manager_status
from coldtui.domain.replication import Slot, lsn
from coldtui.domain.troubles import LineTrouble

PRIMARY = {
    "systemID": "7421583964172849173", "isPrimary": True, "currentLsn": "16/B374D848", "currentWAL": "000000070000001600000000", "timeLineID": 7,
    "isArchivingWAL": True, "lastArchivedWAL": "0000000700000016000000B2", "lastArchivedWALTime": "2026-11-24T11:59:00.5Z", "lastFailedWALTime": "-infinity",
    "replicationInfo": [{
        "applicationName": "postgres-2", "state": "streaming", "receivedLsn": "16/B374D848", "writeLsn": "16/B374D848", "flushLsn": "16/B374D848",
        "replayLsn": "16/B374D000", "replayLag": "1 day 00:00:01.5", "syncState": "async", "syncPriority": "0",
    }],
    "replayPaused": False, "pendingRestart": True, "isWalReceiverActive": False, "isPgRewindRunning": False, "mightBeUnavailable": False,
    "pod": {"metadata": {"creationTimestamp": None}}, "instanceManagerVersion": "1.30.0", "sessionID": "x",
}  # fmt: skip
STANDBY = {"isPrimary": False, "receivedLsn": "16/B374D848", "replayLsn": "16/B0000000", "isWalReceiverActive": True, "replayPaused": True}


def test_a_primary() -> None:
    """Positions are numbers, `receivedLsn` of a standby's row is what was sent, keys that are left out are unknown or zero."""
    found = manager_status(json.dumps(PRIMARY).encode(), "postgres-1")
    assert (found.is_primary, found.timeline, found.current) == (True, 7, lsn("16/B374D848"))
    assert found.last_archived_at == datetime(2026, 11, 24, 11, 59, 0, 500_000, UTC)
    assert (found.last_failed_at, found.ready_wal, found.receiver_active, found.pending_restart) == (None, 0, None, True)
    row = found.standbys[0]
    assert (row.name, row.sent, row.replay, row.sync_state, row.replay_lag_s) == (
        "postgres-2",
        lsn("16/B374D848"),
        lsn("16/B374D000"),
        "async",
        86401.5,
    )


def test_slots_of_a_primary() -> None:
    """What a slot keeps is counted from where the primary is; keys that are left out are false or unknown."""
    slots = [
        {"slotName": "_cnpg_postgres_2", "slotType": "physical", "restartLsn": "16/B374D000", "walStatus": "reserved", "active": True},
        {"slotName": "cdc", "slotType": "logical", "safeWalSize": 4096},
    ]
    found = manager_status(json.dumps({**PRIMARY, "replicationSlotsInfo": slots}).encode(), "postgres-1")
    assert found.slots == (Slot("_cnpg_postgres_2", True, "physical", "reserved", 0x848), Slot("cdc", False, "logical", safe_b=4096))


def test_a_standby() -> None:
    """It tells what it has, whether it receives and whether its replay is paused; nothing that only a primary knows."""
    found = manager_status(json.dumps(STANDBY).encode(), "postgres-2")
    assert (found.received, found.replayed, found.receiver_active, found.replay_paused) == (
        lsn("16/B374D848"),
        lsn("16/B0000000"),
        True,
        True,
    )
    assert (found.timeline, found.current, found.archiving, found.ready_wal) == (None, None, None, None)


def test_a_primary_that_archives_nothing() -> None:
    """The instance manager leaves out what is false: a primary without the key archives nothing, which is not the same as unknown."""
    failing = {**PRIMARY, "lastFailedWAL": "0000000700000016000000B3", "lastFailedWALTime": "2026-11-24T12:00:00.123456789Z"}
    del failing["isArchivingWAL"]
    found = manager_status(json.dumps(failing).encode(), "postgres-1")
    assert (found.archiving, found.last_failed_wal) == (False, "0000000700000016000000B3")
    assert found.last_failed_at == datetime(2026, 11, 24, 12, 0, 0, 123_456, UTC)


def test_a_fenced_primary() -> None:
    """Its files are those of a primary, and no server tells of WAL, of the archive or of standbys (probes.go)."""
    fenced = {
        "systemID": "", "isPrimary": True, "mightBeUnavailable": True, "mightBeUnavailableMaskedError": "connect: no such file", "isWalReceiverActive": False,
        "replayPaused": False, "pendingRestart": False, "isPgRewindRunning": False, "instanceManagerVersion": "1.30.0",
    }  # fmt: skip
    found = manager_status(json.dumps(fenced).encode(), "postgres-1")
    assert (found.is_primary, found.might_be_unavailable, found.current, found.timeline) == (True, True, None, None)
    assert (found.archiving, found.ready_wal, found.standbys) == (None, None, ())


@pytest.mark.parametrize(
    "raw", [b"", b"no JSON", b"[]", b"{}", b'{"isPrimary": 1}', b'{"isPrimary": true, "lastArchivedWALTime": "yesterday"}']
)
def test_something_else(raw: bytes) -> None:
    """What is no such document is garbage, said in one sentence, and no primary."""
    with pytest.raises(LineTrouble) as error:
        manager_status(raw, "postgres-1")
    assert error.value.kind == "garbage"


def test_hostile_text_is_made_plain() -> None:
    """Control characters of a server's text do not come through."""
    found = manager_status(json.dumps({**PRIMARY, "lastArchivedWAL": "a\x1b[31mb"}).encode(), "postgres-1")
    assert "\x1b" not in found.last_archived_wal
