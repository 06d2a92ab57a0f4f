"""Backups and schedules as rows, card and JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from coldtui.domain.readings import Freshness
from coldtui.present import backups
from coldtui.present.lines import plain_text
from coldtui.present.schedules import in_words, next_runs
from tests.sample import NOW, ago, broken, build, decode, healthy, lh_backup, lh_target, pg_backup, pg_schedule, state


def test_backups_of_all_kinds_come_by_time() -> None:
    """The newest first, whatever made it; a base backup is never called incremental."""
    world = build(healthy())
    items = sorted(backups.BACKUPS.items(world).values(), key=lambda x: backups.BACKUPS.sorts["age"](world, x))
    rows = [[c.text for c in backups.BACKUPS.row(world, x, NOW).cells][:6] for x in items]
    assert rows == [
        ["174m", "● completed", "cold/postgres-1", "volume incremental", "6m", "2 GiB"],
        ["5h", "● ready", "K3s datastore", "etcd", "–", "12 MiB"],
        ["9h", "● completed", "cold-postgres", "base", "6m", "–"],
    ]


def test_the_merged_list_follows_the_world() -> None:
    """The merged list is kept for one World only: another one shows its own backups."""
    first = build(healthy())
    site = broken()
    site["pg_backups"].append(pg_backup("second"))
    assert [len(backups.everything(w)) for w in (first, build(site), first)] == [3, 4, 3]


def test_failed_and_running_are_rows_too() -> None:
    """A failure shows its error, a running upload its progress."""
    site = broken()
    site["pg_backups"] = [pg_backup("bad", "failed", error="403 from R2")]
    site["lh_backups"] = [lh_backup("up", "InProgress", progress=40)]
    world = build(site)
    found = {x.object.name: [c.text for c in backups.BACKUPS.row(world, x, NOW).cells] for x in backups.BACKUPS.items(world).values()}
    assert (found["bad"][1], found["bad"][-1], found["up"][1]) == ("▲ failed", "403 from R2", "◐ 40 %")


@pytest.mark.parametrize(
    ("expression", "seconds_first", "said"),
    [
        ("0 0 2 * * *", True, "daily at 02:00"), ("0 0 */6 * * *", True, "every 6 h"), ("0 0 1 * * 0", True, "Sundays at 01:00"),
        ("@daily", True, "daily at 00:00"), ("@every 6h", True, "every 6 h"), ("@every 90m", True, "every 90 min"), ("0 2 * * *", False, "daily at 02:00"),
        ("0 2 * * *", True, "at minute 2 of every hour"), ("nonsense", True, "cannot be read"), ("0 99 2 * * *", True, "cannot be read"),
        ("0 */6 * * *", False, "every 6 h"),
    ],
)  # fmt: skip
def test_schedules_in_words(expression: str, seconds_first: bool, said: str) -> None:
    """Common schedules read as a person says them; the five-field mistake reads as what it does."""
    assert in_words(expression, seconds_first) == said


def test_next_runs() -> None:
    """Three runs after a moment, exclusive; none for what never comes."""
    assert next_runs("0 0 2 * * *", True, NOW) == tuple(datetime(2026, 11, d, 2, tzinfo=UTC) for d in (25, 26, 27))
    assert next_runs("0 0 0 31 2 *", True, NOW) == ()


def test_upcoming_runs_trust_the_operator() -> None:
    """Runs follow from the operator's own next run when it fits UTC; when it does not, only that one is given and the reason."""
    good = decode("pg_schedules", pg_schedule())
    assert backups.upcoming(backups.AnySchedule("pg_schedules", good), NOW) == (
        tuple(datetime(2026, 11, d, 2, tzinfo=UTC) for d in (25, 26, 27)),
        "",
    )
    raw = pg_schedule()
    raw["status"]["nextScheduleTime"] = "2026-11-25T01:00:00Z"
    runs, doubt = backups.upcoming(backups.AnySchedule("pg_schedules", decode("pg_schedules", raw)), NOW)
    assert (runs, doubt) == ((datetime(2026, 11, 25, 1, tzinfo=UTC),), "the operator does not run in UTC")
    job = build(healthy()).lh_jobs.items["longhorn-system/backup-daily"]
    assert backups.upcoming(backups.AnySchedule("lh_jobs", job), NOW)[0] == ()


def test_schedule_rows() -> None:
    """In words, with the next run; Longhorn's next run is unknown since its time zone is."""
    world = build(healthy())
    rows = {x.object.name: [c.text for c in backups.SCHEDULES.row(world, x, NOW).cells] for x in backups.SCHEDULES.items(world).values()}
    assert rows["daily"][:7] == ["daily", "● on", "base cold-postgres", "daily at 02:00", "14h", "10h", "2026-11-25 02:00Z"]
    assert rows["backup-daily"][:5] == ["backup-daily", "● on", "volume backup", "daily at 02:00", "–"]


def test_the_card() -> None:
    """The window's reason, the newest base backup with the next run, volumes, and who says that the bucket answers."""
    text = plain_text(backups.recoverable_card(build(healthy()), NOW, 120)).splitlines()
    assert text[0] == "from 2026-10-25 12:00Z to ?  the last archived WAL is not read by this version"
    assert text[1].split() == ["Base", "●", "ok", "9h", "ago", "next", "14h", "2026-11-24", "02:06Z"]
    assert text[2].split() == ["Volumes", "last", "backup", "174m", "ago"]
    assert text[3].split() == ["Bucket", "●", "connected", "Longhorn", "backup", "target", "default"]


def test_the_site_document() -> None:
    """The three keys when all is well; when the bucket is refused, its word and cause."""
    found = backups.status_json_backups(build(healthy()), NOW)
    assert {k: v for k, v in found.items() if not k.startswith("_")} == {
        "last_backup": "2026-11-24T02:06:00Z",
        "backup_status": "success",
        "r2_connection": "healthy",
    }
    site = broken()
    site["lh_targets"] = [
        lh_target(
            available=False, conditions=[{"type": "Unavailable", "status": "True", "message": "403", "lastTransitionTime": ago(hours=1)}]
        )
    ]
    refused = backups.status_json_backups(build(site), NOW)
    assert (refused["r2_connection"], refused["_r2_source"]) == ("unhealthy", "403")


def test_the_site_document_of_nothing() -> None:
    """Nothing read: three nulls and three reasons."""
    found = backups.status_json_backups(
        build({}, sources={k: state(k, Freshness.LOADING) for k in ("pg_clusters", "pg_backups", "lh_targets")}), NOW
    )
    assert [found[k] for k in ("last_backup", "backup_status", "r2_connection")] == [None] * 3
    assert set(found["_reasons"]) == {"last_backup", "backup_status", "r2_connection"}
    json.dumps(found)


def test_detail_panes() -> None:
    """A backup names its ID and instance; a schedule its next three runs."""
    world = build(healthy())
    text = plain_text(backups.describe(world, backups.everything(world)["pg_backups/cold/daily-20261124020000"], NOW))
    assert "20261124T020000" in text
    assert "postgres-2" in text
    said = plain_text(backups.describe_schedule(world, backups.schedules(world)["pg_schedules/cold/daily"], NOW))
    assert "2026-11-27 02:00Z" in said
