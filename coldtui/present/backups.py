"""Backups of all kinds by time, their schedules, what can be recovered, and the site document's part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from coldtui.domain.values import dataclass

from ..domain import backups as domain
from ..domain import k3s as domain_k3s
from ..domain.backups import LhBackup, LhRecurringJob, PgBackup, PgSchedule
from ..domain.k3s import EtcdSnapshot
from ..domain.postgres import PgCluster, site_cluster
from ..domain.readings import Known
from ..domain.verdicts import Grade, Verdict, unsure
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, cut_line, label, old, pair
from .rows import Cell, Column, Listing, Row, Tone
from .schedules import in_words, next_runs
from .verdicts import aside, nothing, troubled, verdict_cell

SOURCES = ("pg_backups", "lh_backups", "etcd_snapshots")
METHODS = {"barmanObjectStore": "base", "plugin": "base", "volumeSnapshot": "snapshot"}
"""A base backup is a full copy, never called incremental."""


@dataclass(frozen=True, slots=True)
class AnyBackup:
    """One backup of whatever kind, with what a row shows."""

    kind: str
    """Name of its Kind."""
    object: PgBackup | LhBackup | EtcdSnapshot
    at: datetime | None
    subject: str
    method: str
    grade: Grade
    state: str
    note: str
    """Error, or why it waits, or its description."""
    took: timedelta | None
    size_b: int | None

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.object.key}"


def _of_pg(b: PgBackup) -> AnyBackup:
    grade = Grade.GOOD if b.done else Grade.BAD if b.failed else Grade.PART
    took = b.stopped - b.started if b.stopped and b.started else None
    note = b.error or b.command_error or b.description
    return AnyBackup("pg_backups", b, b.at, b.cluster, METHODS.get(b.method, b.method), grade, b.phase or "waiting", note, took, None)


def _of_lh(world: World, b: LhBackup) -> AnyBackup:
    grade = Grade.GOOD if b.done else Grade.BAD if b.failed else Grade.PART
    state = f"{b.progress} %" if b.running else "failed" if b.failed else b.state.lower() or "new"  # the words of PostgreSQL's backups
    volume = next((v for v in (world.lh_volumes.items.get(f"{b.namespace}/{b.volume}"),) if v is not None), None)
    subject = (volume.claim_key if volume else "") or b.volume
    took = b.backup_created - b.snapshot_created if b.done and b.backup_created and b.snapshot_created else None
    return AnyBackup("lh_backups", b, b.at, subject, f"volume {b.mode}", grade, state, b.error or b.message, took, b.size_b)


def _of_etcd(s: EtcdSnapshot) -> AnyBackup:
    grade = Grade.BAD if s.error else Grade.GOOD if s.ready else Grade.PART
    return AnyBackup(
        "etcd_snapshots",
        s,
        s.created,
        "K3s datastore",
        "etcd",
        grade,
        "failed" if s.error else "ready" if s.ready else "not ready",
        s.error,
        None,
        s.size_b,
    )


_kept: tuple[tuple[object, ...], dict[str, AnyBackup]] = ((), {})


def everything(world: World) -> Mapping[str, AnyBackup]:
    """All backups of all kinds. Made anew only when one of the shelves changed: there may be thousands."""
    global _kept
    parts = (world.pg_backups.items, world.lh_backups.items, world.etcd_snapshots.items, world.lh_volumes.items)
    if len(_kept[0]) != len(parts) or any(a is not b for a, b in zip(_kept[0], parts, strict=True)):
        found = [_of_pg(b) for b in world.pg_backups.items.values()]
        found += [_of_lh(world, b) for b in world.lh_backups.items.values()]
        found += [_of_etcd(s) for s in world.etcd_snapshots.items.values()]
        _kept = (parts, {x.key: x for x in found})
    return _kept[1]


def _sized(item: AnyBackup) -> str:
    """Its size; a PostgreSQL backup's stands in the bucket only."""
    return words.size(item.size_b) if item.size_b is not None else UNKNOWN


def state_cell(world: World, item: AnyBackup) -> Cell:
    if unsure(world, item.kind):
        return verdict_cell(Verdict(Grade.UNKNOWN, item.state))
    return verdict_cell(Verdict(item.grade, item.state))


_COLUMNS: tuple[Column, ...] = (
    Column("age", "AGE", 5, right=True, sort_key="T"),
    Column("state", "STATE", 13, sort_key="S"),
    Column("subject", "OF", 18, grow=2, sort_key="U"),
    Column("method", "METHOD", 18, sort_key="M"),
    Column("took", "TOOK", 6, right=True),
    Column("size", "SIZE", 8, right=True, sort_key="Z"),
    Column("at", "AT", 17, priority=1),
    Column("name", "NAME", 30, grow=2, priority=2, sort_key="E"),
    Column("note", "NOTE", 20, grow=3, priority=3),
)


def _row(world: World, x: AnyBackup, now: datetime) -> Row:
    cells = (
        Cell(words.age(now - x.at) if x.at else UNKNOWN),
        state_cell(world, x),
        Cell(x.subject, Tone.STRONG),
        Cell(x.method),
        Cell(words.duration(x.took) if x.took is not None else UNKNOWN),
        Cell(_sized(x)),
        Cell(words.stamp(x.at) if x.at else UNKNOWN),
        Cell(x.object.name, Tone.MUTED),
        Cell(x.note, Tone.WARN if x.grade is Grade.BAD and not unsure(world, x.kind) else Tone.MUTED),
    )
    return Row(x.key, cells, dim=old(world, x.kind))


def _json(world: World, x: AnyBackup, now: datetime) -> dict[str, Any]:
    reasons = {}
    if x.size_b is None:
        reasons["size_b"] = "stands in the bucket only: not read by this version" if x.kind == "pg_backups" else "not told yet"
    found: dict[str, Any] = {
        "id": x.object.backup_id if isinstance(x.object, PgBackup) and x.object.backup_id else x.object.name,
        "name": x.object.name,
        "kind": x.kind,
        "of": x.subject,
        "method": x.method,
        "status": x.state,
        "grade": x.grade.value,
        "at": words.iso(x.at) if x.at else None,
        "took_s": int(x.took.total_seconds()) if x.took is not None else None,
        "size_b": x.size_b,
        "note": x.note or None,
    }
    if isinstance(x.object, PgBackup):
        b = x.object
        found |= {
            "namespace": b.namespace,
            "schedule": b.schedule or None,
            "begin_wal": b.begin_wal or None,
            "end_wal": b.end_wal or None,
            "instance": b.instance or None,
        }
    return {**found, **aside(world, now, (x.kind,), reasons)}


def _trouble(world: World, x: AnyBackup, now: datetime) -> bool:
    """A backup that a problem names: an old failure with a good one after it is none."""
    return x.object.ref in troubled(world, now, domain_k3s.problems if x.kind == "etcd_snapshots" else domain.problems)


BACKUPS: Listing[AnyBackup] = Listing(
    noun="backups",
    title="Backups",
    sources=SOURCES,
    columns=_COLUMNS,
    items=everything,
    row=_row,
    sorts={
        "age": lambda world, x: -(x.at.timestamp() if x.at else 0.0),
        "state": lambda world, x: ({Grade.BAD: 0, Grade.PART: 1}.get(x.grade, 2), -(x.at.timestamp() if x.at else 0.0)),
        "subject": lambda world, x: (x.subject, -(x.at.timestamp() if x.at else 0.0)),
        "method": lambda world, x: (x.method, -(x.at.timestamp() if x.at else 0.0)),
        "size": lambda world, x: -(x.size_b or 0),
        "name": lambda world, x: x.object.name,
    },
    default_sort="age",
    text=lambda x: f"{x.subject} {x.method} {x.state} {x.object.name} {x.note}",
    trouble=_trouble,
    json=_json,
)


# ---------------------------------------------------------------- schedules


@dataclass(frozen=True, slots=True)
class AnySchedule:
    """A ScheduledBackup or a RecurringJob."""

    kind: str
    object: PgSchedule | LhRecurringJob

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.object.key}"

    @property
    def expression(self) -> str:
        return self.object.schedule if isinstance(self.object, PgSchedule) else self.object.cron

    @property
    def said(self) -> str:
        """The schedule in words."""
        return in_words(self.expression, isinstance(self.object, PgSchedule))


def upcoming(item: AnySchedule, now: datetime, count: int = 3) -> tuple[tuple[datetime, ...], str]:
    """(the next runs, what is uncertain about them).

    The operator's time zone is not told. When the next run it wrote down agrees with the expression in UTC, the ones after it follow; else only
    that one is given. Longhorn's jobs run in the master's local time, which nothing that is read tells.
    """
    s = item.object
    if isinstance(s, LhRecurringJob):
        return (), "in the master's local time, which is not known here"
    if s.suspended:
        return (), "suspended"
    if s.next_run is None:
        found = (
            next_runs(s.schedule, True, s.last_run or now, count)
            if s.schedule.startswith("@every") and s.last_run
            else next_runs(s.schedule, True, now, count)
        )
        return found, "if the operator runs in UTC" if found else "the schedule cannot be read"
    if s.schedule.startswith("@every"):
        return (s.next_run, *next_runs(s.schedule, True, s.next_run, count - 1)), ""
    agrees = next_runs(s.schedule, True, s.next_run - timedelta(seconds=1), 1) == (s.next_run,)
    if not agrees:
        return (s.next_run,), "the operator does not run in UTC"
    return (s.next_run, *next_runs(s.schedule, True, s.next_run, count - 1)), ""


def schedule_verdict(world: World, item: AnySchedule, now: datetime) -> Verdict:
    if doubt := unsure(world, item.kind):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    s = item.object
    if isinstance(s, LhRecurringJob):
        return Verdict(Grade.UNKNOWN, "unreadable", s.cron) if s.period_s is None else Verdict(Grade.GOOD, "on")
    if s.five_fields:
        return Verdict(Grade.PART, "five fields", "the first of six fields is seconds")
    if s.error:
        return Verdict(Grade.BAD, "error", s.error)
    if s.suspended:
        return Verdict(Grade.OFF, "suspended")
    if s.next_run is not None and now - s.next_run > domain.OVERDUE:
        return Verdict(Grade.PART, "overdue")
    return Verdict(Grade.UNKNOWN, "unreadable", s.schedule) if s.period_s is None else Verdict(Grade.GOOD, "on")


_SCHEDULE_COLUMNS: tuple[Column, ...] = (
    Column("name", "SCHEDULE", 16, grow=2, sort_key="E"),
    Column("state", "STATE", 13, sort_key="S"),
    Column("task", "TASK", 15, grow=1, sort_key="U"),
    Column("when", "WHEN", 16, grow=2),
    Column("next", "NEXT", 6, right=True, sort_key="X"),
    Column("last", "LAST", 5, right=True, priority=1),
    Column("at", "AT", 18, priority=1),
    Column("keep", "KEEP", 4, right=True, priority=2),
    Column("cron", "CRON", 14, priority=3),
)


def _task(item: AnySchedule) -> str:
    s = item.object
    return f"{METHODS.get(s.method, s.method)} {s.cluster}" if isinstance(s, PgSchedule) else f"volume {s.task}"


def _schedule_row(world: World, x: AnySchedule, now: datetime) -> Row:
    s = x.object
    runs, doubt = upcoming(x, now, 1)
    mark = "~" if doubt else ""
    soon = UNKNOWN if not runs else f"{mark}{words.age(runs[0] - now)}" if runs[0] > now else "due"
    cells = (
        Cell(s.name, Tone.STRONG),
        verdict_cell(schedule_verdict(world, x, now)),
        Cell(_task(x)),
        Cell(x.said, Tone.WARN if isinstance(s, PgSchedule) and s.five_fields else Tone.PLAIN),
        Cell(soon, Tone.MUTED if doubt else Tone.PLAIN),
        Cell(words.age(now - s.last_run) if isinstance(s, PgSchedule) and s.last_run else UNKNOWN),
        Cell(f"{mark}{words.stamp(runs[0])}" if runs else UNKNOWN, Tone.MUTED if doubt else Tone.PLAIN),
        Cell(str(s.retain) if isinstance(s, LhRecurringJob) else UNKNOWN),
        Cell(x.expression, Tone.MUTED),
    )
    return Row(x.key, cells, dim=old(world, x.kind))


def _schedule_json(world: World, x: AnySchedule, now: datetime) -> dict[str, Any]:
    s = x.object
    runs, doubt = upcoming(x, now)
    judged = schedule_verdict(world, x, now)
    reasons = {"next_runs": doubt} if doubt else {}
    if judged.grade is Grade.UNKNOWN:
        reasons["status"] = judged.why
    return {
        "name": s.name,
        "namespace": s.namespace,
        "kind": x.kind,
        "of": s.cluster if isinstance(s, PgSchedule) else ", ".join(s.groups),
        "task": _task(x),
        "schedule": x.expression,
        "in_words": x.said,
        "status": None if judged.grade is Grade.UNKNOWN else judged.word,
        "suspended": s.suspended if isinstance(s, PgSchedule) else False,
        "last_run": words.iso(s.last_run) if isinstance(s, PgSchedule) and s.last_run else None,
        "next_runs": [words.iso(r) for r in runs],
        "keep": s.retain if isinstance(s, LhRecurringJob) else None,
        **aside(world, now, (x.kind,), reasons),
    }


def schedules(world: World) -> Mapping[str, AnySchedule]:
    found = [AnySchedule("pg_schedules", s) for s in world.pg_schedules.items.values()]
    found += [AnySchedule("lh_jobs", j) for j in world.lh_jobs.items.values()]
    return {x.key: x for x in found}


SCHEDULES: Listing[AnySchedule] = Listing(
    noun="schedules",
    title="Backup schedules",
    sources=("pg_schedules", "lh_jobs"),
    columns=_SCHEDULE_COLUMNS,
    items=schedules,
    row=_schedule_row,
    sorts={
        "name": lambda world, x: x.object.name,
        "state": lambda world, x: (
            not (isinstance(x.object, PgSchedule) and (x.object.five_fields or bool(x.object.error))),
            x.object.name,
        ),
        "task": lambda world, x: (_task(x), x.object.name),
        "next": lambda world, x: (
            x.object.next_run.timestamp() if isinstance(x.object, PgSchedule) and x.object.next_run else 9e12,
            x.object.name,
        ),
    },
    default_sort="name",
    text=lambda x: f"{x.object.name} {_task(x)} {x.expression} {x.said}",
    trouble=lambda world, x, now: x.object.ref in troubled(world, now, domain.problems),
    labels=lambda x: x.object.labels,
    json=_schedule_json,
)


# ---------------------------------------------------------------- the card and the site document


def _window_line(world: World, c: PgCluster) -> Line:
    read = domain.window(world, c)
    if not isinstance(read, Known):
        return (Cell("from ? to ?", Tone.STALE), Cell(f"  {read.reason}", Tone.MUTED))
    tone = Tone.STALE if old(world, "pg_clusters") else Tone.PLAIN
    until = read.value.until
    end = words.stamp(until.value) if isinstance(until, Known) else "?"
    why = "" if isinstance(until, Known) else f"  {until.reason}"
    return (Cell(f"from {words.stamp(read.value.first)} to {end}", tone), Cell(why, Tone.MUTED))


def _next_text(world: World, c: PgCluster, now: datetime) -> str:
    plans = [upcoming(AnySchedule("pg_schedules", s), now, 1) for s in domain.schedules_of(world, c)]
    runs = [(times[0], doubt) for times, doubt in plans if times]
    if not runs:
        return "none scheduled" if not unsure(world, "pg_schedules") else UNKNOWN
    first, doubt = min(runs)
    return f"{'~' if doubt else ''}{words.age(first - now)}" if first > now else "overdue"


def _good_line(world: World, c: PgCluster, now: datetime) -> Line:
    """`last good 02:00Z ✓ base, 5h ago · next 19h`."""
    judged, good = domain.backup_verdict(world, c, now), domain.last_good(world, c)
    if not isinstance(good, Known):
        return (label("Base", 9), verdict_cell(judged), Cell(f"  {judged.why}" if judged.why != judged.word else "", Tone.MUTED))
    span = f"  {words.age(now - good.value.at)} ago"
    why = f"  {judged.why}" if judged.grade not in (Grade.GOOD, Grade.PART) and judged.why else ""
    return (
        label("Base", 9),
        verdict_cell(judged),
        Cell(span),
        Cell(f"  next {_next_text(world, c, now)}", Tone.MUTED),
        Cell(f"  {words.stamp(good.value.at)}", Tone.MUTED),
        Cell(why, Tone.MUTED),
    )


def bucket_line(world: World) -> Line:
    """Whether the bucket answers, and who says so."""
    read = domain.r2_connection(world)
    if not isinstance(read, Known):
        return (label("Bucket", 9), Cell("? ", Tone.STALE), Cell(read.reason, Tone.MUTED))
    return (label("Bucket", 9), verdict_cell(read.value), Cell(f"  {read.value.why}", Tone.MUTED))


def recoverable_card(world: World, now: datetime, cells: int) -> tuple[Line, ...]:
    """What could be recovered now: the database's window, its newest good backup, volumes, the bucket."""
    lines: list[Line] = []
    c = site_cluster(world)
    if c is None:
        lines.append((nothing(world, "pg_clusters", "PostgreSQL clusters", now),))
    else:
        lines += [_window_line(world, c), _good_line(world, c, now)]
    volumes = domain.last_good_volume(world)
    if isinstance(volumes, Known):
        stale = unsure(world, "lh_backups")
        text = f"last backup {words.age(now - volumes.value.at)} ago"
        lines.append(
            (label("Volumes", 9), Cell(text, Tone.STALE if stale else Tone.PLAIN), Cell(f"  {stale}" if stale else "", Tone.STALE))
        )
    else:
        lines.append((label("Volumes", 9), Cell("? ", Tone.STALE), Cell(volumes.reason, Tone.MUTED)))
    lines.append(bucket_line(world))
    return tuple(cut_line(line, cells) for line in lines)


def describe(world: World, x: AnyBackup, now: datetime) -> tuple[Line, ...]:
    """The detail pane of one backup."""
    lines: list[Line] = [
        (label("State"), state_cell(world, x)),
        pair("Of", x.subject),
        pair("Method", x.method),
        pair("At", f"{words.stamp(x.at)}, {words.age(now - x.at)} ago" if x.at else UNKNOWN),
        pair("Took", words.duration(x.took) if x.took is not None else UNKNOWN),
        pair("Size", _sized(x) if x.size_b is not None else f"{UNKNOWN} stands in the bucket only" if x.kind == "pg_backups" else UNKNOWN),
    ]
    b = x.object
    more: tuple[tuple[str, str], ...]
    if isinstance(b, PgBackup):
        more = (
            ("ID", b.backup_id), ("Name", b.name), ("Description", b.description), ("Schedule", b.schedule or "by hand"), ("Instance", b.instance),
            ("WAL", f"{b.begin_wal} to {b.end_wal}" if b.begin_wal else ""), ("LSN", f"{b.begin_lsn} to {b.end_lsn}" if b.begin_lsn else ""),
            ("Destination", b.destination), ("Snapshots", ", ".join(b.snapshots)),
        )  # fmt: skip
    elif isinstance(b, LhBackup):
        sent = words.size(b.uploaded_b) if b.uploaded_b is not None else ""
        more = (
            ("Name", b.name),
            ("Volume", b.volume),
            ("Snapshot", b.snapshot),
            ("Target", b.target),
            ("Job", b.job or "by hand"),
            ("Uploaded", sent),
            ("URL", b.url),
        )
    else:
        more = (("Name", b.snapshot), ("Where", f"s3 {b.bucket}".strip() if b.remote else b.node), ("Location", b.location))
    lines += [pair(name, text) for name, text in more if text]
    if x.note:
        lines.append(pair("Says", x.note, Tone.WARN if x.grade is Grade.BAD else Tone.PLAIN))
    return tuple(lines)


def describe_schedule(world: World, x: AnySchedule, now: datetime) -> tuple[Line, ...]:
    """The detail pane of a schedule: in words, with its next three runs."""
    judged = schedule_verdict(world, x, now)
    runs, doubt = upcoming(x, now)
    lines: list[Line] = [
        (label("State"), verdict_cell(judged), Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED)),
        pair("Task", _task(x)),
        pair("Schedule", f"{x.said}  ({x.expression})"),
    ]
    lines += [pair("Next" if i == 0 else "", words.stamp(r)) for i, r in enumerate(runs)]
    if doubt:
        lines.append(pair("" if runs else "Next", doubt, Tone.MUTED))
    s = x.object
    if isinstance(s, PgSchedule):
        lines.append(pair("Last", f"{words.stamp(s.last_run)}, {words.age(now - s.last_run)} ago" if s.last_run else "never"))
    else:
        lines += [pair("Keeps", f"{s.retain} for each volume"), pair("Groups", ", ".join(s.groups) or "none")]
    return tuple(lines)


def status_json_backups(world: World, now: datetime) -> dict[str, Any]:
    """The site document's `backups`. null is unknown; `_reasons` says why."""
    c = site_cluster(world)
    good, bucket = domain.last_good(world, c), domain.r2_connection(world)
    judged = (
        domain.backup_verdict(world, c, now)
        if c is not None
        else Verdict(Grade.UNKNOWN, "unknown", unsure(world, "pg_clusters") or "there is no PostgreSQL cluster")
    )
    reasons = {}
    if not isinstance(good, Known):
        reasons["last_backup"] = good.reason
    if judged.grade is Grade.UNKNOWN:
        reasons["backup_status"] = judged.why
    if not isinstance(bucket, Known):
        reasons["r2_connection"] = bucket.reason
    volumes = domain.last_good_volume(world)
    return {
        "last_backup": words.iso(good.value.at) if isinstance(good, Known) else None,
        "backup_status": None if judged.grade is Grade.UNKNOWN else "success" if judged.grade is Grade.GOOD else judged.word,
        "r2_connection": ("healthy" if bucket.value.grade is Grade.GOOD else "unhealthy") if isinstance(bucket, Known) else None,
        **aside(world, now, ("pg_clusters", "pg_backups", "pg_schedules", "pg_stores", "lh_targets"), reasons),
        "_why": judged.why,
        "_r2_source": bucket.value.why if isinstance(bucket, Known) else None,
        "_last_volume_backup": words.iso(volumes.value.at) if isinstance(volumes, Known) else None,
    }
