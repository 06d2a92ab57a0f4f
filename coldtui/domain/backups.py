"""Backups: of PostgreSQL, of Longhorn, and the schedules that make them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Ref
from .problems import Problem, Severity
from .readings import Known, Reading, Unknown
from .values import dataclass
from .verdicts import Grade, Verdict, seen, unsure

if TYPE_CHECKING:
    from .postgres import PgCluster, PluginUse
    from .world import World


@dataclass(frozen=True, slots=True)
class PgBackup:
    """A CloudNativePG Backup object. Its size is not in the object: it stands in the bucket."""

    namespace: str
    name: str
    created: datetime | None = None
    cluster: str = ""
    method: str = "barmanObjectStore"
    """barmanObjectStore, plugin or volumeSnapshot."""
    phase: str = ""
    """Empty or `pending` (waits), started, running, finalizing, completed, failed, walArchivingFailing, `invalid backup definition`."""
    error: str = ""
    command_error: str = ""
    started: datetime | None = None
    stopped: datetime | None = None
    backup_id: str = ""
    """Barman's ID, the folder in the bucket: YYYYMMDDTHHMMSS."""
    backup_name: str = ""
    target: str = ""
    online: bool | None = None
    instance: str = ""
    """Pod that took it: its sidecar's log explains a failure."""
    begin_wal: str = ""
    end_wal: str = ""
    begin_lsn: str = ""
    end_lsn: str = ""
    schedule: str = ""
    """Label cnpg.io/scheduled-backup."""
    immediate: bool = False
    description: str = ""
    """Annotation coldtui/description."""
    destination: str = ""
    server_name: str = ""
    plugin: str = ""
    snapshots: tuple[str, ...] = ()
    major_version: int | None = None
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pg_backups", self.name, self.namespace)

    @property
    def cluster_key(self) -> str:
        return f"{self.namespace}/{self.cluster}"

    @property
    def done(self) -> bool:
        return self.phase == "completed"

    @property
    def failed(self) -> bool:
        return self.phase in FAILED_PHASES

    @property
    def waiting(self) -> bool:
        return self.phase in ("", "pending")

    @property
    def running(self) -> bool:
        return not (self.done or self.failed or self.waiting)

    @property
    def at(self) -> datetime | None:
        """When it ended, else started, else was asked for: the moment it is sorted by."""
        return self.stopped or self.started or self.created


FAILED_PHASES = frozenset({"failed", "walArchivingFailing", "invalid backup definition"})


@dataclass(frozen=True, slots=True)
class PgSchedule:
    """A CloudNativePG ScheduledBackup."""

    namespace: str
    name: str
    created: datetime | None = None
    cluster: str = ""
    schedule: str = ""
    """Six fields, seconds first, in the operator's time zone (normally UTC); or @daily, @every 6h."""
    method: str = "barmanObjectStore"
    suspended: bool = False
    immediate: bool = False
    target: str = ""
    last_check: datetime | None = None
    last_run: datetime | None = None
    """lastScheduleTime."""
    next_run: datetime | None = None
    """nextScheduleTime as the operator wrote it."""
    error: str = ""
    period_s: int | None = None
    """The longest pause between two runs that the expression allows; None when it cannot be read."""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pg_schedules", self.name, self.namespace)

    @property
    def five_fields(self) -> bool:
        """The trap: five fields are accepted, and the first one means seconds."""
        return len(self.schedule.split()) == 5 and not self.schedule.startswith("@")


@dataclass(frozen=True, slots=True)
class LhBackup:
    """A backup of one Longhorn volume on a target. Sizes in bytes, None = not told yet."""

    namespace: str
    name: str
    created: datetime | None = None
    volume: str = ""
    target: str = ""
    state: str = ""
    """Empty (new), Pending, InProgress, Completed, Error, Unknown, Deleting."""
    progress: int = 0
    error: str = ""
    message: str = ""
    """Why it waits."""
    size_b: int | None = None
    uploaded_b: int | None = None
    volume_size_b: int | None = None
    snapshot: str = ""
    snapshot_created: datetime | None = None
    """The data's point in time: a backup's age counts from here."""
    backup_created: datetime | None = None
    """When the upload ended."""
    url: str = ""
    mode: str = "incremental"
    job: str = ""
    """RecurringJob that asked for it."""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_backups", self.name, self.namespace)

    @property
    def done(self) -> bool:
        return self.state == "Completed"

    @property
    def failed(self) -> bool:
        return self.state in ("Error", "Unknown")

    @property
    def waiting(self) -> bool:
        return self.state in ("", "Pending")

    @property
    def running(self) -> bool:
        return self.state == "InProgress"

    @property
    def at(self) -> datetime | None:
        return self.backup_created or self.snapshot_created or self.created


@dataclass(frozen=True, slots=True)
class LhBackupTarget:
    namespace: str
    name: str
    url: str = ""
    """Empty: no target is configured."""
    secret: str = ""
    poll_interval_s: float | None = None
    available: bool | None = None
    """None: Longhorn has not said yet."""
    last_synced: datetime | None = None
    reason: str = ""
    message: str = ""
    """Why it is not available, in Longhorn's words."""
    since: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_targets", self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class LhRecurringJob:
    namespace: str
    name: str
    task: str = ""
    """snapshot, backup, snapshot-cleanup, filesystem-trim, system-backup and their `-force-create` forms."""
    cron: str = ""
    """Five fields, in the local time of the master host."""
    retain: int = 0
    concurrency: int = 1
    groups: tuple[str, ...] = ()
    executions: int | None = None
    period_s: int | None = None
    """The longest pause between two runs; None when the expression cannot be read."""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("lh_jobs", self.name, self.namespace)

    @property
    def makes_backups(self) -> bool:
        return self.task.startswith("backup")


LONG_RUN = timedelta(hours=6)
LONG_WAIT = timedelta(hours=1)
TARGET_CRITICAL = timedelta(hours=1)
OVERDUE = timedelta(minutes=10)
NO_SCHEDULE = timedelta(hours=26)
"""How old the newest good backup may be when nothing says how often they are made: a day and two hours."""


@dataclass(frozen=True, slots=True)
class Good:
    """A backup that ended well."""

    at: datetime
    ref: Ref
    """The Backup object, or the cluster when only its status remembers it."""
    subject: str
    """What was backed up: the cluster or the volume."""
    method: str


@dataclass(frozen=True, slots=True)
class Window:
    """What can be recovered: any moment from `first`, until the last WAL that reached the archive."""

    first: datetime
    until: Reading[datetime]


@dataclass(frozen=True, slots=True)
class StoreWindow:
    """What an ObjectStore says of one server in its bucket (status.serverRecoveryWindow)."""

    first: datetime | None = None
    last_good: datetime | None = None
    last_failed: datetime | None = None


@dataclass(frozen=True, slots=True)
class PgStore:
    """An ObjectStore of the Barman Cloud plugin: where backups and WAL go, and from when each server can be recovered."""

    namespace: str
    name: str
    destination: str = ""
    endpoint: str = ""
    retention: str = ""
    windows: dict[str, StoreWindow] = field(default_factory=dict)
    """By server name: the cluster's own name unless the plugin's parameter `serverName` says another."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pg_stores", self.name, self.namespace)


UNTIL_UNKNOWN = Unknown("bucket", "the last archived WAL is not read by this version")


def allowed_age(period_s: int | None) -> timedelta:
    """How old the newest good backup may be: two periods of a short schedule; a period and a twelfth (a day: 26 h) of a long one."""
    if period_s is None:
        return NO_SCHEDULE
    period = timedelta(seconds=period_s)
    return 2 * period if period <= timedelta(hours=13) else period + max(timedelta(hours=2), period / 12)


_newest_pg: tuple[object, dict[str, list[PgBackup]]] = (None, {})
_newest_lh: tuple[object, dict[str, LhBackup]] = (None, {})


def of_cluster(world: World, cluster: PgCluster) -> tuple[PgBackup, ...]:
    """All Backup objects of a cluster, newest first. Kept for the last World: there may be thousands."""
    global _newest_pg
    kept, index = _newest_pg
    if kept is not world.pg_backups.items:
        index = {}
        for backup in world.pg_backups.items.values():
            index.setdefault(backup.cluster_key, []).append(backup)
        for found in index.values():
            found.sort(key=lambda b: (b.at or datetime.min.replace(tzinfo=UTC), b.name), reverse=True)
        _newest_pg = (world.pg_backups.items, index)
    return tuple(index.get(cluster.key, ()))


def last_of_volume(world: World) -> dict[str, LhBackup]:
    """Volume name -> its newest backup, by the data's point in time, whatever became of it."""
    global _newest_lh
    kept, index = _newest_lh
    if kept is not world.lh_backups.items:
        index = {}
        for backup in world.lh_backups.items.values():
            held = index.get(backup.volume)
            if backup.at is not None and (held is None or held.at is None or backup.at > held.at):
                index[backup.volume] = backup
        _newest_lh = (world.lh_backups.items, index)
    return index


def last_good(world: World, cluster: PgCluster | None = None) -> Reading[Good]:
    """The newest good backup of a PostgreSQL cluster (the site's, unless one is given). Its age is judged by `backup_verdict`."""
    if cluster is None:
        from .postgres import site_cluster  # postgres does not need this module

        cluster = site_cluster(world)
    source = world.sources["pg_backups"]
    if cluster is None:
        return Unknown("pg_clusters", unsure(world, "pg_clusters") or "there is no PostgreSQL cluster")
    found = next((b for b in of_cluster(world, cluster) if b.done and b.at is not None), None)
    told = cluster.last_good_backup
    if found is not None and found.at is not None and source.as_of is not None and (told is None or found.at >= told):
        return Known(Good(found.at, found.ref, cluster.name, found.method), "pg_backups", source.as_of)
    status = world.sources["pg_clusters"].as_of
    if told is not None and status is not None:
        return Known(Good(told, cluster.ref, cluster.name, "barmanObjectStore"), "pg_clusters", status)
    return Unknown("pg_backups", unsure(world, "pg_backups") or "no completed backup")


def _when(backup: LhBackup) -> datetime:
    return backup.at or datetime.min.replace(tzinfo=UTC)


def last_good_volume(world: World) -> Reading[Good]:
    """The newest good Longhorn backup of any volume."""
    source = world.sources["lh_backups"]
    newest = max(
        (b for b in world.lh_backups.items.values() if b.done and b.at is not None), key=lambda b: (_when(b), b.name), default=None
    )
    if newest is None or newest.at is None or source.as_of is None:
        return Unknown("lh_backups", unsure(world, "lh_backups") or "no completed backup")
    return Known(Good(newest.at, newest.ref, newest.volume, "longhorn"), "lh_backups", source.as_of)


def window(world: World, cluster: PgCluster) -> Reading[Window]:
    """From when a cluster can be recovered to any moment. With the plugin its ObjectStore says so, otherwise the Cluster."""
    as_of = world.sources["pg_clusters"].as_of
    if cluster.archiver is not None:
        return _store_window(world, cluster, cluster.archiver)
    if cluster.first_recoverability is not None and as_of is not None:
        return Known(Window(cluster.first_recoverability, UNTIL_UNKNOWN), "pg_clusters", as_of)
    if not cluster.archives and not cluster.snapshot_class:
        return Unknown("pg_clusters", "no WAL archive is configured")
    return Unknown("pg_clusters", unsure(world, "pg_clusters") or "no backup has ended well yet")


def store_of(world: World, cluster: PgCluster) -> PgStore | None:
    """The ObjectStore that the cluster archives to through the plugin."""
    name = cluster.archiver.parameters.get("barmanObjectName", "") if cluster.archiver is not None else ""
    return world.pg_stores.items.get(f"{cluster.namespace}/{name}") if name else None


def _store_window(world: World, cluster: PgCluster, archiver: PluginUse) -> Reading[Window]:
    store, state = store_of(world, cluster), world.sources["pg_stores"]
    if store is None or state.as_of is None:
        missing = f"ObjectStore {archiver.parameters.get('barmanObjectName') or '?'} of {archiver.name} does not exist"
        return Unknown("pg_stores", unsure(world, "pg_stores") or missing)
    found = store.windows.get(archiver.parameters.get("serverName", "") or cluster.name)
    if found is None or found.first is None:
        return Unknown("pg_stores", f"ObjectStore {store.name} knows no recovery window of this cluster")
    return Known(Window(found.first, UNTIL_UNKNOWN), "pg_stores", state.as_of)


def schedules_of(world: World, cluster: PgCluster) -> tuple[PgSchedule, ...]:
    return tuple(
        sorted(
            (s for s in world.pg_schedules.items.values() if s.namespace == cluster.namespace and s.cluster == cluster.name),
            key=lambda s: s.name,
        )
    )


def due(world: World, cluster: PgCluster) -> timedelta:
    """How old the newest good backup of a cluster may be, by the shortest of its running schedules."""
    periods = [s.period_s for s in schedules_of(world, cluster) if not s.suspended and s.period_s is not None and not s.five_fields]
    return allowed_age(min(periods, default=None))


def backup_verdict(world: World, cluster: PgCluster, now: datetime) -> Verdict:
    """Whether the cluster's backups are as they should be. Good needs live sources, a good one that is young enough, and no newer failure."""
    if doubt := unsure(world, "pg_clusters", "pg_backups", "pg_schedules"):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    good = last_good(world, cluster)
    newest = next((b for b in of_cluster(world, cluster) if b.done or b.failed), None)
    if isinstance(good, Unknown):
        return Verdict(Grade.BAD, "failed", newest.error or newest.phase) if newest is not None else Verdict(Grade.BAD, "none", good.reason)
    if newest is not None and newest.failed and newest.at is not None and newest.at > good.value.at:
        return Verdict(Grade.BAD, "failed", newest.error or newest.phase)
    age = now - good.value.at
    if age > due(world, cluster):
        return Verdict(Grade.PART, "overdue", f"{_hours(age)} old")
    return Verdict(Grade.GOOD, "ok", f"{_hours(age)} old")


def _hours(span: timedelta) -> str:
    hours = int(span.total_seconds() // 3600)
    return f"{hours} h" if hours < 72 else f"{hours // 24} d"


def r2_connection(world: World) -> Reading[Verdict]:
    """Whether the bucket answers, as Longhorn's backup target tells; its source is named, since the database may use another bucket."""
    state = world.sources["lh_targets"]
    targets = [t for t in world.lh_targets.items.values() if t.url.startswith("s3://")]
    if not targets or state.as_of is None:
        return Unknown("probe", "no probe of the bucket yet")
    target = min(targets, key=lambda t: (t.name != "default", t.name))
    if target.available is None:
        return Unknown("lh_targets", f"Longhorn has not tried backup target {target.name} yet")
    doubt = unsure(world, "lh_targets")
    if doubt:
        return Unknown("lh_targets", f"{doubt}; last seen {'available' if target.available else 'unavailable'}")
    judged = (
        Verdict(Grade.GOOD, "connected", f"Longhorn backup target {target.name}")
        if target.available
        else Verdict(Grade.BAD, "unavailable", target.message or target.reason)
    )
    return Known(judged, "lh_targets", target.last_synced or state.as_of)


def _finished_troubles(world: World, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Needs all Backup objects: while they are still arriving, the good one may be yet to come."""
    found = of_cluster(world, c)
    newest = next((b for b in found if b.done or b.failed), None)
    good = last_good(world, c)
    if newest is not None and newest.failed and (isinstance(good, Unknown) or (newest.at is not None and newest.at > good.value.at)):
        cause = newest.error or newest.command_error or newest.phase
        hits = "no good backup at all" if isinstance(good, Unknown) else f"last good one is {_hours(now - good.value.at)} old"
        yield Problem(newest.ref, Severity.WARNING, f"last backup of {c.name} failed", newest.at, hits, cause)
    limit = due(world, c)
    if isinstance(good, Known):
        age = now - good.value.at
        if age > limit:
            severity = Severity.CRITICAL if age > 3 * limit else Severity.WARNING
            yield Problem(
                c.ref,
                severity,
                f"{c.name}: no good backup for {_hours(age)}",
                good.value.at,
                "recovery takes longer or loses more",
                f"expected every {_hours(limit)} at most",
            )
    elif now - c.created > limit and not c.replica_cluster:
        schedules = schedules_of(world, c)
        cause = "no schedule makes any" if not schedules else f"schedule {schedules[0].name} made none"
        yield Problem(
            c.ref,
            Severity.CRITICAL if schedules else Severity.WARNING,
            f"{c.name} has no good backup",
            c.created,
            "nothing to recover from",
            cause,
        )


def _open_troubles(world: World, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Backups that do not end: each blocks every later one, emergency backups too."""
    for b in of_cluster(world, c):
        begun = b.started or b.created
        if b.done or b.failed or begun is None:
            continue
        if b.running and now - begun > LONG_RUN:
            yield Problem(
                b.ref,
                Severity.WARNING,
                f"backup {b.name} runs for more than {LONG_RUN.seconds // 3600} h",
                begun,
                f"every later backup of {c.name} waits",
                f"phase {b.phase} on {b.instance}" if b.instance else f"phase {b.phase}",
            )
        elif b.waiting and now - begun > LONG_WAIT:
            yield Problem(
                b.ref,
                Severity.WARNING,
                f"backup {b.name} has waited for more than 1 h",
                begun,
                c.name,
                b.error or "another backup runs, or no pod is suitable",
            )


def _schedule_troubles(s: PgSchedule, now: datetime) -> Iterator[Problem]:
    if s.five_fields:
        yield Problem(
            s.ref,
            Severity.WARNING,
            f"schedule {s.name} has five fields: {s.schedule}",
            s.created,
            f"backups of {s.cluster} come far too often",
            "the first of six fields is seconds, so all others slip by one",
        )
    if s.error:
        yield Problem(s.ref, Severity.WARNING, f"schedule {s.name} does not work", s.last_check, f"backups of {s.cluster}", s.error)
    elif s.suspended:
        yield Problem(s.ref, Severity.NOTICE, f"schedule {s.name} is suspended", s.last_run, f"no new backups of {s.cluster}", "")
    elif s.next_run is not None and now - s.next_run > OVERDUE:
        yield Problem(
            s.ref,
            Severity.WARNING,
            f"schedule {s.name} did not run when it was due",
            s.next_run,
            f"backups of {s.cluster}",
            "an earlier backup still runs, or the operator is down",
        )


def _target_troubles(t: LhBackupTarget, now: datetime) -> Iterator[Problem]:
    if not t.url:
        return
    if t.available is False:
        long = t.since is not None and now - t.since > TARGET_CRITICAL
        yield Problem(
            t.ref,
            Severity.CRITICAL if long else Severity.WARNING,
            f"backup target {t.name} is not available",
            t.since,
            "no volume can be backed up or restored",
            t.message or t.reason,
        )
    elif t.last_synced is not None and t.poll_interval_s and now - t.last_synced > timedelta(seconds=3 * t.poll_interval_s):
        yield Problem(
            t.ref,
            Severity.WARNING,
            f"backup target {t.name} was not read for three intervals",
            t.last_synced,
            "new backups in the bucket are not seen",
            "",
        )


def _claim(world: World, backup: LhBackup) -> str:
    """The claim a backup's volume serves, as operators know it; else the volume."""
    volume = world.lh_volumes.items.get(f"{backup.namespace}/{backup.volume}")
    return (volume.claim_key if volume is not None else "") or backup.volume


def _longhorn_troubles(world: World, now: datetime) -> Iterator[Problem]:
    for b in last_of_volume(world).values():
        if b.failed:
            yield Problem(b.ref, Severity.WARNING, f"last backup of volume {_claim(world, b)} failed", b.at, "", b.error or b.message)
    for b in world.lh_backups.items.values():
        if b.running and b.created is not None and now - b.created > LONG_RUN:
            yield Problem(
                b.ref,
                Severity.WARNING,
                f"backup {b.name} runs for more than {LONG_RUN.seconds // 3600} h ({b.progress} %)",
                b.created,
                f"volume {_claim(world, b)}",
                b.message,
            )
    jobs = [j for j in world.lh_jobs.items.values() if j.makes_backups]
    if not jobs or not seen(world, "lh_backups", "lh_volumes"):
        return
    job = min(jobs, key=lambda j: (j.period_s or 10**9, j.key))
    limit = allowed_age(job.period_s)
    late = [
        v.claim_key or v.name
        for v in world.lh_volumes.items.values()
        if v.state == "attached"
        and (v.last_backup_at is None or now - v.last_backup_at > limit)
        and (v.created is None or now - v.created > limit)
    ]
    if late:
        some = ", ".join(sorted(late)[:3]) + (", …" if len(late) > 3 else "")
        yield Problem(
            job.ref,
            Severity.NOTICE,
            f"attached volumes without a backup of the last {_hours(limit)}: {len(late)}",
            None,
            some,
            "not in the job's groups, nothing new to back up, or it failed",
        )


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    found: list[Problem] = []
    for c in world.pg_clusters.items.values():
        if seen(world, "pg_backups") and not c.hibernated:
            found.extend(_finished_troubles(world, c, now))
        found.extend(_open_troubles(world, c, now))
    for s in world.pg_schedules.items.values():
        found.extend(_schedule_troubles(s, now))
    for t in world.lh_targets.items.values():
        found.extend(_target_troubles(t, now))
    found.extend(_longhorn_troubles(world, now))
    return tuple(found)
