from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.adapters.kube.shapes import Json, decode, meta

CREATED = datetime(2026, 2, 28, 10, tzinfo=UTC)
FIRST, LAST = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 1, 9, tzinfo=UTC)
OLD: Json = {
    "count": 4,
    "firstTimestamp": "2026-03-01T08:00:00Z",
    "lastTimestamp": "2026-03-01T09:00:00Z",
    "source": {"component": "kubelet", "host": "n1"},
}
NEW: Json = {"eventTime": "2026-03-01T08:00:00.000000Z", "reportingComponent": "scheduler", "reportingInstance": "s-1", "firstTimestamp": None, "lastTimestamp": None}  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "count", "first", "last", "source"),
    [
        (OLD, 4, FIRST, LAST, "kubelet, n1"),
        (NEW, 1, FIRST, FIRST, "scheduler, s-1"),
        ({**NEW, "series": {"count": 9, "lastObservedTime": "2026-03-01T09:00:00.5Z"}}, 9, FIRST, LAST.replace(microsecond=500_000), "scheduler, s-1"),
        ({}, 1, CREATED, CREATED, ""),
    ],
    ids=["counters", "single", "series", "nothing"],
)  # fmt: skip
def test_both_spellings_of_an_event(fields: Json, count: int, first: datetime, last: datetime, source: str) -> None:
    """Count and times are those that kubectl shows, whichever API wrote the event."""
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    item = {
        "metadata": meta("p.17"),
        "involvedObject": about,
        "type": "Warning",
        "reason": "BackOff",
        "message": " failed\x1b[2J\n",
        **fields,
    }
    found = decode("events", item)
    assert (found.count, found.first, found.last, found.source) == (count, first, last, source)
    assert (found.object_kind, found.object_name, found.object_namespace, found.reason) == ("Pod", "p", "default", "BackOff")
    assert found.message == "failed\ufffd[2J"
