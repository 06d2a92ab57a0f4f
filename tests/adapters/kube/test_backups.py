"""Backups, schedules and targets as bytes in, values out."""

from __future__ import annotations

import pytest

from coldtui.adapters.kube.backups import span_s
from coldtui.adapters.kube.schedules import longest_pause_s
from tests.sample import GIB, HOSTILE, decode, healthy, lh_backup, lh_target, pg_backup, pg_schedule, pg_store


def test_a_postgres_backup() -> None:
    """Phase, times, Barman's ID, the schedule it belongs to and the description a person gave all arrive."""
    raw = pg_backup("b1")
    raw["metadata"]["annotations"] = {"coldtui/description": f"before {HOSTILE}"}
    b = decode("pg_backups", raw)
    assert (b.cluster_key, b.done, b.backup_id, b.schedule, b.instance) == (
        "cold/cold-postgres",
        True,
        "20261124T020000",
        "daily",
        "postgres-2",
    )
    assert b.started is not None
    assert b.stopped is not None
    assert (b.stopped - b.started).total_seconds() == 360
    assert "\x1b" not in b.description


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        ("", "waiting"), ("pending", "waiting"), ("started", "running"), ("finalizing", "running"), ("new words", "running"), ("completed", "done"),
        ("failed", "failed"), ("walArchivingFailing", "failed"), ("invalid backup definition", "failed"),
    ],
)  # fmt: skip
def test_each_phase_is_one_of_four_states(phase: str, state: str) -> None:
    """A phase counts as exactly one of waiting, running, done, failed; an unknown one counts as running, never as done."""
    b = decode("pg_backups", pg_backup("b", phase))
    assert [name for name in ("waiting", "running", "done", "failed") if getattr(b, name)] == [state]


def test_a_schedule_knows_its_period() -> None:
    """The period comes from the expression, and the five-field trap is seen."""
    good, trap = decode("pg_schedules", pg_schedule()), decode("pg_schedules", pg_schedule("0 2 * * *"))
    assert (good.period_s, good.five_fields) == (86400, False)
    assert (trap.period_s, trap.five_fields) == (3600, True)


@pytest.mark.parametrize(
    ("expression", "seconds_first", "period"),
    [
        ("0 0 */6 * * *", True, 21600), ("@every 1h30m", True, 5400), ("@daily", True, 86400), ("0 2 * * *", False, 86400),
        ("0 0 3 * * 1-5", True, 259200), ("nonsense", True, None), ("", True, None), ("0 0 0 31 2 *", True, None), ("@every x", True, None),
    ],
)  # fmt: skip
def test_the_longest_pause(expression: str, seconds_first: bool, period: int | None) -> None:
    """The longest pause between two runs is found in both dialects; what cannot be read or never comes has none."""
    assert longest_pause_s(expression, seconds_first) == period


def test_a_longhorn_backup() -> None:
    """Sizes that are text become bytes, an empty one stays unknown, and the job is named by the label Longhorn copies."""
    b = decode("lh_backups", lh_backup("b"))
    assert (b.size_b, b.uploaded_b, b.volume, b.job, b.done) == (2 * GIB, None, "pvc-7f31", "backup-daily", True)


def test_a_backup_target_that_fails_says_why() -> None:
    """The condition's message is the reason an operator sees."""
    bad = {
        "type": "Unavailable",
        "status": "True",
        "reason": "Unavailable",
        "message": "403 from R2",
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }
    t = decode("lh_targets", lh_target(available=False, conditions=[bad]))
    assert (t.available, t.message, t.poll_interval_s) == (False, "403 from R2", 300.0)
    assert t.since is not None


def test_spans() -> None:
    """Go durations and plain seconds are read; anything else is unknown."""
    assert [span_s(x) for x in ("5m0s", "300", "1h", "250ms", "", "soon")] == [300.0, 300.0, 3600.0, 0.25, None, None]


def test_a_recurring_job() -> None:
    """Task, retention and groups of a job arrive."""
    j = decode("lh_jobs", healthy()["lh_jobs"][0])
    assert (j.task, j.retain, j.groups, j.period_s, j.makes_backups) == ("backup", 30, ("default",), 86400, True)


def test_an_object_store() -> None:
    """Destination, retention and the window of each server arrive; a server without a window has none."""
    s = decode("pg_stores", pg_store())
    window = s.windows["cold-postgres"]
    assert (s.key, s.destination, s.retention, window.last_failed) == ("cold/r2", "s3://cold/", "30d", None)
    assert window.first is not None
    assert window.last_good is not None
    assert decode("pg_stores", {"metadata": {"name": "new", "namespace": "cold"}}).windows == {}
