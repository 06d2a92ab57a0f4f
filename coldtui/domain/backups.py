"""Backups: of PostgreSQL, of Longhorn, and the schedules that make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from .objects import Ref
from .problems import Problem

if TYPE_CHECKING:
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


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    return ()
