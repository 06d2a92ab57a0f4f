"""What is said of backups, schedules and the bucket."""

from __future__ import annotations

from datetime import timedelta

import pytest

from coldtui.domain import backups
from coldtui.domain.problems import Severity
from coldtui.domain.readings import Freshness, Known, Unknown
from coldtui.domain.verdicts import Grade
from coldtui.domain.world import World
from tests.sample import NOW, Site, ago, broken, build, healthy, lh_backup, lh_target, pg_backup, pg_schedule, state


def sentences(site: Site) -> list[str]:
    return [p.sentence for p in backups.problems(build(site), NOW)]


def verdict(world: World) -> tuple[Grade, str]:
    found = backups.backup_verdict(world, world.pg_clusters.items["cold/cold-postgres"], NOW)
    return found.grade, found.word


def test_a_good_backup_is_found_with_its_source() -> None:
    """The newest completed one counts, by the time it ended."""
    site = broken()
    site["pg_backups"].append(pg_backup("older", startedAt=ago(days=3), stoppedAt=ago(days=3)))
    world = build(site)
    found = backups.last_good(world)
    assert isinstance(found, Known)
    assert (found.value.ref.name, found.source) == ("daily-20261124020000", "pg_backups")
    assert verdict(world) == (Grade.GOOD, "ok")


def test_a_failure_after_the_good_one_is_a_problem() -> None:
    """The last one failed: the verdict and the problem say so with the cause and the age of the good one."""
    site = broken()
    site["pg_backups"].append(pg_backup("bad", "failed", error="403 from R2", startedAt=ago(hours=1), stoppedAt=ago(hours=1)))
    (found,) = backups.problems(build(site), NOW)
    assert (found.sentence, found.cause, found.hits) == ("last backup of cold-postgres failed", "403 from R2", "last good one is 9 h old")
    assert verdict(build(site)) == (Grade.BAD, "failed")


@pytest.mark.parametrize(
    ("hours", "severity"), [(25, None), (27, Severity.WARNING), (100, Severity.CRITICAL)]
)  # daily: 26 h allowed, three times that is critical
def test_an_old_backup_is_a_problem(hours: int, severity: Severity | None) -> None:
    """A daily backup may be 26 hours old; beyond it is a warning, beyond three times that critical."""
    site = broken()
    site["pg_backups"] = [pg_backup("b", startedAt=ago(hours=hours), stoppedAt=ago(hours=hours))]
    assert [p.severity for p in backups.problems(build(site), NOW)] == ([] if severity is None else [severity])


@pytest.mark.parametrize(("period", "hours"), [(None, 26), (6 * 3600, 12), (86400, 26), (7 * 86400, 182)])
def test_the_allowed_age(period: int | None, hours: int) -> None:
    """Two periods of a short schedule, a period and a twelfth of a long one, 26 h when nothing is scheduled."""
    assert backups.allowed_age(period) == timedelta(hours=hours)


def test_no_backup_at_all() -> None:
    """A cluster older than its schedule's period without any good backup has nothing to recover from."""
    site = broken()
    site["pg_backups"] = []
    (found,) = backups.problems(build(site), NOW)
    assert (found.severity, found.sentence) == (Severity.CRITICAL, "cold-postgres has no good backup")
    assert verdict(build(site)) == (Grade.BAD, "none")


def test_backups_not_read_are_not_missing() -> None:
    """While the list is arriving or was never read, nobody is told that there is no backup."""
    for sources in (
        {"pg_backups": state("pg_backups", Freshness.LOADING)},
        {"pg_backups": state("pg_backups", Freshness.LIVE, partial=True)},
    ):
        site = broken()
        site["pg_backups"] = []
        world = build(site, sources=sources)
        assert backups.problems(world, NOW) == ()
        assert isinstance(backups.last_good(world), Unknown)


@pytest.mark.parametrize("kind", ["pg_clusters", "pg_backups", "pg_schedules"])
@pytest.mark.parametrize("fresh", [f for f in Freshness if f is not Freshness.LIVE])
def test_unknown_is_never_green(kind: str, fresh: Freshness) -> None:
    """Backups are called ok only while all that they rest on is live."""
    assert verdict(build(healthy(), sources={kind: state(kind, fresh)}))[0] is Grade.UNKNOWN


def test_the_five_field_trap() -> None:
    """`0 2 * * *` runs each hour; the problem says why."""
    site = broken()
    site["pg_schedules"] = [pg_schedule("0 2 * * *")]
    assert "schedule daily has five fields: 0 2 * * *" in sentences(site)


def test_schedules_that_do_not_run() -> None:
    """Suspended is a notice, an error and a missed run are warnings."""
    site = broken()
    site["pg_schedules"] = [pg_schedule(suspend=True)]
    assert [(p.severity, p.sentence) for p in backups.problems(build(site), NOW)] == [(Severity.NOTICE, "schedule daily is suspended")]
    late = pg_schedule()
    late["status"]["nextScheduleTime"] = ago(minutes=30)
    site["pg_schedules"] = [late]
    assert sentences(site) == ["schedule daily did not run when it was due"]
    late["status"]["error"] = "no such cluster"
    assert sentences(site) == ["schedule daily does not work"]


def test_backups_that_do_not_end_block_the_others() -> None:
    """A backup running for hours and one waiting for long are told apart."""
    site = broken()
    site["pg_backups"] += [pg_backup("slow", "started", startedAt=ago(hours=7)), pg_backup("queued", "pending", startedAt=ago(hours=2))]
    assert sentences(site) == ["backup queued has waited for more than 1 h", "backup slow runs for more than 6 h"]


def test_the_backup_target() -> None:
    """An unreachable target is a warning, after an hour critical, and one that is not polled is seen."""
    for since, severity in ((ago(minutes=5), Severity.WARNING), (ago(hours=2), Severity.CRITICAL)):
        site = broken()
        bad = {"type": "Unavailable", "status": "True", "message": "no such bucket", "lastTransitionTime": since}
        site["lh_targets"] = [lh_target(available=False, conditions=[bad])]
        (found,) = backups.problems(build(site), NOW)
        assert (found.severity, found.cause) == (severity, "no such bucket")
    site["lh_targets"] = [lh_target(lastSyncedAt=ago(hours=1))]
    assert sentences(site) == ["backup target default was not read for three intervals"]


def test_the_bucket_answers_only_as_far_as_longhorn_says() -> None:
    """Connected needs a live, available S3 target; without one nobody has probed the bucket."""
    found = backups.r2_connection(build(healthy()))
    assert isinstance(found, Known)
    assert (found.value.word, found.value.why) == ("connected", "Longhorn backup target default")
    site = broken()
    site["lh_targets"] = []
    assert backups.r2_connection(build(site)) == Unknown("probe", "no probe of the bucket yet")
    for fresh in Freshness:
        if fresh is not Freshness.LIVE:
            assert isinstance(backups.r2_connection(build(healthy(), sources={"lh_targets": state("lh_targets", fresh)})), Unknown)


def test_longhorn_backups_that_fail_or_are_missing() -> None:
    """The newest backup of a volume failed; a volume with none is counted, but only as a notice, since an idle one is skipped."""
    site = broken()
    site["lh_backups"].append(lh_backup("b2", "Error", error="timeout", snapshotCreatedAt=ago(hours=1), backupCreatedAt=""))
    assert sentences(site) == ["last backup of volume cold/postgres-1 failed"]
    site = broken()
    site["lh_volumes"][0]["status"]["lastBackupAt"] = ""
    (found,) = backups.problems(build(site), NOW)
    assert (found.severity, found.sentence) == (Severity.NOTICE, "attached volumes without a backup of the last 26 h: 1")


def test_the_window_comes_from_where_the_archive_is_kept() -> None:
    """The plugin's window stands in its ObjectStore, the in-tree one in the Cluster; both have an open end. A missing store is said."""
    world = build(healthy())
    stored = backups.window(world, world.pg_clusters.items["cold/cold-postgres"])
    assert isinstance(stored, Known)
    assert (stored.value.first, stored.source) == (NOW - timedelta(days=30), "pg_stores")
    world = build(broken() | {"pg_stores": []})
    found = backups.window(world, world.pg_clusters.items["cold/cold-postgres"])
    assert isinstance(found, Unknown)
    assert found.reason == "ObjectStore r2 of barman-cloud.cloudnative-pg.io does not exist"
    world = build(healthy(), sources={"pg_stores": state("pg_stores", Freshness.FORBIDDEN)})
    found = backups.window(world, world.pg_clusters.items["cold/cold-postgres"])
    assert isinstance(found, Known), "the last word is still shown; its age stands beside it"
    site = broken()
    site["pg_clusters"][0]["spec"] |= {"plugins": [], "backup": {"barmanObjectStore": {"destinationPath": "s3://cold/"}}}
    site["pg_clusters"][0]["status"]["firstRecoverabilityPoint"] = ago(days=30)
    world = build(site)
    told = backups.window(world, world.pg_clusters.items["cold/cold-postgres"])
    assert isinstance(told, Known)
    assert told.value.first == NOW - timedelta(days=30)
    assert isinstance(told.value.until, Unknown)
