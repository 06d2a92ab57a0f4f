"""Backups of CloudNativePG and of Longhorn, their schedules, and where Longhorn puts them."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from ...domain.backups import LhBackup, LhBackupTarget, LhRecurringJob, PgBackup, PgSchedule, PgStore, StoreWindow
from ...domain.text import plain
from .decoding import AnnotatedMeta, Decoder, Meta, Wire, word, words
from .postgres import moment
from .schedules import longest_pause_s
from .storage import LooseCondition, octets


class _Name(Wire):
    name: str = ""


class _PgSpec(Wire):
    cluster: _Name = msgspec.field(default_factory=_Name)
    method: str = "barmanObjectStore"
    target: str = ""
    plugin_configuration: _Name | None = None


class _Pod(Wire):
    pod_name: str = ""


class _SnapshotElement(Wire):
    name: str = ""


class _Snapshots(Wire):
    elements: list[_SnapshotElement] | None = None


class _PgStatus(Wire):
    phase: str = ""
    error: str = ""
    command_error: str = ""
    started_at: str = ""
    stopped_at: str = ""
    backup_id: str = ""
    backup_name: str = ""
    online: bool | None = None
    instance_id: _Pod | None = msgspec.field(name="instanceID", default=None)
    begin_wal: str = ""
    end_wal: str = ""
    begin_lsn: str = msgspec.field(name="beginLSN", default="")
    end_lsn: str = msgspec.field(name="endLSN", default="")
    destination_path: str = ""
    server_name: str = ""
    method: str = ""
    snapshot_backup_status: _Snapshots | None = None
    major_version: int | None = None


class _PgBackup(Wire):
    metadata: AnnotatedMeta
    spec: _PgSpec = msgspec.field(default_factory=_PgSpec)
    status: _PgStatus = msgspec.field(default_factory=_PgStatus)


def _pg_backup(item: _PgBackup, now: datetime) -> PgBackup:
    meta, spec, status = item.metadata, item.spec, item.status
    labels = words(meta.labels)
    pieces = status.snapshot_backup_status.elements if status.snapshot_backup_status else None
    return PgBackup(
        namespace=word(meta.namespace),
        name=plain(meta.name),
        created=meta.creation_timestamp,
        cluster=word(spec.cluster.name),
        method=word(status.method or spec.method),
        phase=word(status.phase),
        error=plain(status.error),
        command_error=plain(status.command_error),
        started=moment(status.started_at),
        stopped=moment(status.stopped_at),
        backup_id=plain(status.backup_id),
        backup_name=plain(status.backup_name),
        target=word(spec.target),
        online=status.online,
        instance=word(status.instance_id.pod_name) if status.instance_id else "",
        begin_wal=plain(status.begin_wal),
        end_wal=plain(status.end_wal),
        begin_lsn=plain(status.begin_lsn),
        end_lsn=plain(status.end_lsn),
        schedule=labels.get("cnpg.io/scheduled-backup", ""),
        immediate=labels.get("cnpg.io/immediateBackup") == "true",
        description=plain(meta.annotation.get("coldtui/description", "")),
        destination=word(status.destination_path),
        server_name=word(status.server_name),
        plugin=word(spec.plugin_configuration.name) if spec.plugin_configuration else "",
        snapshots=tuple(plain(p.name) for p in pieces or ()),
        major_version=status.major_version,
        labels=labels,
    )


class _ScheduleSpec(Wire):
    schedule: str = ""
    cluster: _Name = msgspec.field(default_factory=_Name)
    method: str = "barmanObjectStore"
    target: str = ""
    suspend: bool | None = None
    immediate: bool | None = None


class _ScheduleStatus(Wire):
    last_check_time: str = ""
    last_schedule_time: str = ""
    next_schedule_time: str = ""
    error: str = ""


class _Schedule(Wire):
    metadata: Meta
    spec: _ScheduleSpec = msgspec.field(default_factory=_ScheduleSpec)
    status: _ScheduleStatus = msgspec.field(default_factory=_ScheduleStatus)


def _pg_schedule(item: _Schedule, now: datetime) -> PgSchedule:
    meta, spec, status = item.metadata, item.spec, item.status
    return PgSchedule(
        namespace=word(meta.namespace),
        name=word(meta.name),
        created=meta.creation_timestamp,
        cluster=word(spec.cluster.name),
        schedule=plain(spec.schedule),
        method=word(spec.method),
        suspended=bool(spec.suspend),
        immediate=bool(spec.immediate),
        target=word(spec.target),
        last_check=moment(status.last_check_time),
        last_run=moment(status.last_schedule_time),
        next_run=moment(status.next_schedule_time),
        error=plain(status.error),
        period_s=longest_pause_s(spec.schedule, True),
        labels=words(meta.labels),
    )


class _LhBackupSpec(Wire):
    snapshot_name: str = ""
    backup_mode: str = ""
    labels: dict[str, str] | None = None


class _LhBackupStatus(Wire):
    state: str = ""
    progress: int = 0
    error: str = ""
    messages: dict[str, str] | None = None
    size: str = ""
    newly_upload_data_size: str = ""
    volume_name: str = ""
    volume_size: str = ""
    snapshot_name: str = ""
    snapshot_created_at: str = ""
    backup_created_at: str = ""
    backup_target_name: str = ""
    url: str = ""
    labels: dict[str, str] | None = None


class _LhBackup(Wire):
    metadata: Meta
    spec: _LhBackupSpec = msgspec.field(default_factory=_LhBackupSpec)
    status: _LhBackupStatus = msgspec.field(default_factory=_LhBackupStatus)


def _lh_backup(item: _LhBackup, now: datetime) -> LhBackup:
    meta, spec, status = item.metadata, item.spec, item.status
    labels, told = words(meta.labels), {**(spec.labels or {}), **(status.labels or {})}
    return LhBackup(
        namespace=word(meta.namespace),
        name=plain(meta.name),
        created=meta.creation_timestamp,
        volume=word(status.volume_name) or labels.get("backup-volume", ""),
        target=word(status.backup_target_name) or labels.get("backup-target", ""),
        state=word(status.state),
        progress=status.progress,
        error=plain(status.error),
        message=plain("; ".join((status.messages or {}).values())),
        size_b=octets(status.size),
        uploaded_b=octets(status.newly_upload_data_size),
        volume_size_b=octets(status.volume_size),
        snapshot=plain(spec.snapshot_name or status.snapshot_name),
        snapshot_created=moment(status.snapshot_created_at),
        backup_created=moment(status.backup_created_at),
        url=plain(status.url),
        mode=word(spec.backup_mode) or "incremental",
        job=word(told.get("RecurringJob", "")),
        labels=labels,
    )


_SPAN = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)", re.ASCII)


def span_s(text: str) -> float | None:
    """A Go duration (`5m0s`) or plain seconds (`300`); None when it is neither."""
    if text.isascii() and text.isdigit():
        return float(text[:12])
    parts = _SPAN.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text:
        return None
    return float(sum(float(n) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for n, unit in parts))


class _TargetSpec(Wire):
    backup_target_url: str = msgspec.field(name="backupTargetURL", default="")
    credential_secret: str = ""
    poll_interval: str = ""


class _TargetStatus(Wire):
    available: bool | None = None
    last_synced_at: str | None = ""
    conditions: list[LooseCondition] | None = None


class _Target(Wire):
    metadata: Meta
    spec: _TargetSpec = msgspec.field(default_factory=_TargetSpec)
    status: _TargetStatus = msgspec.field(default_factory=_TargetStatus)


def _lh_target(item: _Target, now: datetime) -> LhBackupTarget:
    meta, spec, status = item.metadata, item.spec, item.status
    bad = next((c for c in status.conditions or () if c.type == "Unavailable" and c.status == "True"), None)
    return LhBackupTarget(
        namespace=word(meta.namespace),
        name=word(meta.name),
        url=plain(spec.backup_target_url),
        secret=word(spec.credential_secret),
        poll_interval_s=span_s(spec.poll_interval),
        available=status.available,
        last_synced=moment(status.last_synced_at),
        reason=word(bad.reason) if bad else "",
        message=plain(bad.message) if bad else "",
        since=moment(bad.last_transition_time) if bad else None,
    )


class _JobSpec(Wire):
    task: str = ""
    cron: str = ""
    retain: int = 0
    concurrency: int = 1
    groups: list[str] | None = None


class _JobStatus(Wire):
    execution_count: int | None = None


class _Job(Wire):
    metadata: Meta
    spec: _JobSpec = msgspec.field(default_factory=_JobSpec)
    status: _JobStatus = msgspec.field(default_factory=_JobStatus)


def _lh_job(item: _Job, now: datetime) -> LhRecurringJob:
    meta, spec = item.metadata, item.spec
    return LhRecurringJob(
        word(meta.namespace),
        word(meta.name),
        word(spec.task),
        plain(spec.cron),
        spec.retain,
        spec.concurrency,
        tuple(word(g) for g in spec.groups or ()),
        item.status.execution_count,
        longest_pause_s(spec.cron, False),
        words(meta.labels),
    )


class _StoreWindow(Wire):
    first_recoverability_point: str = ""
    last_successful_backup_time: str = ""
    last_failed_backup_time: str = ""


class _StoreConfiguration(Wire):
    destination_path: str = ""
    endpoint_url: str = msgspec.field(name="endpointURL", default="")


class _StoreSpec(Wire):
    configuration: _StoreConfiguration = msgspec.field(default_factory=_StoreConfiguration)
    retention_policy: str = ""


class _StoreStatus(Wire):
    server_recovery_window: dict[str, _StoreWindow] | None = None


class _Store(Wire):
    metadata: Meta
    spec: _StoreSpec = msgspec.field(default_factory=_StoreSpec)
    status: _StoreStatus = msgspec.field(default_factory=_StoreStatus)


def _pg_store(item: _Store, now: datetime) -> PgStore:
    windows = (item.status.server_recovery_window or {}).items()
    return PgStore(
        namespace=word(item.metadata.namespace),
        name=plain(item.metadata.name),
        destination=plain(item.spec.configuration.destination_path),
        endpoint=plain(item.spec.configuration.endpoint_url),
        retention=plain(item.spec.retention_policy),
        windows={
            plain(name): StoreWindow(
                moment(w.first_recoverability_point), moment(w.last_successful_backup_time), moment(w.last_failed_backup_time)
            )
            for name, w in windows
        },
    )


PG_STORES = Decoder(_Store, _pg_store)
PG_BACKUPS = Decoder(_PgBackup, _pg_backup)
PG_SCHEDULES = Decoder(_Schedule, _pg_schedule)
LH_BACKUPS = Decoder(_LhBackup, _lh_backup)
LH_TARGETS = Decoder(_Target, _lh_target)
LH_JOBS = Decoder(_Job, _lh_job)
