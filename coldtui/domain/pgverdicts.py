"""The database in a word, and what is wrong with it, by what the API tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Ref
from .postgres import (
    CERTIFICATE_WARNING,
    FAILING_OVER,
    HEALTHY,
    MAJOR_UPGRADE,
    NO_FAILOVER,
    PHASES,
    SETTING_UP,
    SETUP_GRACE,
    SWITCHING_OVER,
    USER_ACTION,
    Instance,
    PgCluster,
    absent,
    archive_late,
    changing,
    electing,
    instances,
    operator,
    overdue,
    silent_node,
    two_primaries,
)
from .problems import Problem, Severity
from .verdicts import Grade, Verdict, seen, unsure

if TYPE_CHECKING:
    from .world import World


def _ready(c: PgCluster, found: tuple[Instance, ...]) -> int:
    """By the pods, where all are known: the operator's own number is old while it is down."""
    return min(c.ready_instances, sum(i.ready for i in found)) if all(i.pods_known for i in found) else c.ready_instances


def verdict(world: World, cluster: PgCluster, now: datetime) -> Verdict:
    """The cluster in a word. `healthy` needs the phase, all instances, a known and ready primary, no fence, and live sources."""
    judged = _verdict(world, cluster, now)
    doubt = unsure(world, "pg_clusters", "pods")
    if doubt:
        last = "" if not seen(world, "pg_clusters", "pods") else f"; last seen {judged.word}"
        judged = Verdict(Grade.UNKNOWN, "unknown", f"{doubt}{last}")
    if world.pg_sql or world.pg_managers:
        from .disagreements import worsened  # they read this module's clusters
        from .topology import topology

        return worsened(judged, topology(world, cluster, now))
    return judged


def _verdict(world: World, c: PgCluster, now: datetime) -> Verdict:
    found = instances(world, c)
    primary = next((i for i in found if i.is_current), None)
    grade, word = PHASES.get(c.phase, (Grade.PART, c.phase or "unknown"))
    counted = f"{_ready(c, found)} of {c.instances} ready"
    if c.hibernated:
        return Verdict(Grade.OFF, "hibernated", "annotation cnpg.io/hibernation is on")
    if doubles := two_primaries(c, found):
        return Verdict(Grade.BAD, "two primaries", " and ".join(doubles))
    system = c.condition("ConsistentSystemID")
    if system is not None and system.status == "False" and system.reason == "Mismatch":
        return Verdict(Grade.BAD, "mixed systems", system.message)
    if c.all_fenced or (c.current_primary and c.is_fenced(c.current_primary)):
        return Verdict(Grade.BAD, "fenced", "all instances" if c.all_fenced else f"primary {c.current_primary}")
    if grade is Grade.BAD and c.phase != FAILING_OVER:
        return Verdict(Grade.BAD, word, c.phase_reason or c.phase)
    if electing(c, primary):
        return Verdict(Grade.BAD, "failing over", f"{c.current_primary} → nobody yet")
    if change := changing(c):
        what = f"{c.current_primary} → {'nobody yet' if c.target_primary == 'pending' else c.target_primary}"
        if held := overdue(world, c, now):  # one that is ignored leaves the old primary at work; one that has begun has stopped it
            return Verdict(Grade.PART if held == "ignored" else Grade.BAD, f"switchover {held}", what)
        return Verdict(Grade.BAD, "failing over", what) if change == "failover" else Verdict(Grade.PART, "switching over", what)
    if not c.phase:
        return Verdict(Grade.UNKNOWN, "unknown", "the operator has not said anything yet")
    if not c.current_primary:
        return Verdict(Grade.PART, word, counted) if c.phase != HEALTHY else Verdict(Grade.UNKNOWN, "unknown", "no primary is named")
    if c.phase == MAJOR_UPGRADE:
        return Verdict(Grade.PART, word, c.phase_reason or "no writes until it ends")
    if primary is None or not primary.ready:
        return Verdict(Grade.BAD, "primary down", f"{c.current_primary} {_down(primary) if primary else 'has no pod'}")
    if silent := silent_node(world, primary, now):
        return Verdict(Grade.UNKNOWN, "unknown", f"{primary.name}: {silent}")
    if c.phase in (FAILING_OVER, SWITCHING_OVER):  # done, and written until all instances are ready
        return Verdict(Grade.PART, "degraded" if c.ready_instances < c.instances else word, f"{c.current_primary} leads, {counted}")
    if grade is not Grade.GOOD:
        return Verdict(grade, word, c.phase_reason or counted)
    if not c.instances:
        return Verdict(Grade.UNKNOWN, "unknown", "how many instances are wanted is not known")
    for bad in (i for i in found if i.fenced):
        return Verdict(Grade.PART, "degraded", f"{bad.name} is fenced, {counted}")
    if c.fenced_unreadable:
        return Verdict(Grade.UNKNOWN, "unknown", "what is fenced cannot be read")
    for bad in (i for i in found if not i.ready):
        return Verdict(Grade.PART, "degraded", f"{bad.name} {_down(bad)}, {counted}")
    if c.ready_instances != c.instances or len(found) != c.instances:
        return Verdict(Grade.PART, "degraded", counted)
    for bad in found:
        if silent := silent_node(world, bad, now):
            return Verdict(Grade.UNKNOWN, "unknown", f"{bad.name}: {silent}")
    archiving = c.condition("ContinuousArchiving")
    if c.skip_wal_archiving or (archiving is not None and archiving.status == "False"):
        why = "skipWalArchiving is set" if c.skip_wal_archiving else archiving.message if archiving else ""
        return Verdict(Grade.BAD if c.skip_wal_archiving or archive_late(c, now) else Grade.PART, "not archiving", why)
    ready = c.condition("Ready")
    if ready is not None and ready.status != "True":
        return Verdict(Grade.PART, "not ready", ready.message or ready.reason)
    if c.reconciliation_disabled:
        return Verdict(Grade.PART, "unmanaged", "the operator was told to ignore it")
    manager = operator(world)
    if manager is not None and manager.available == 0 and manager.desired >= 0 and seen(world, "deployments"):
        return Verdict(Grade.PART, "unmanaged", "the operator is down: nobody would replace a dead primary")
    return Verdict(Grade.GOOD, "healthy", counted)


def _vip_hits(world: World, cluster: PgCluster) -> str:
    from .vips import database_vips  # vips reads this module's clusters

    addresses = [v.address for v in database_vips(world, cluster, writes=True) if v.address]
    return f", VIP {addresses[0]}" if addresses else ""


def _write_hits(world: World, c: PgCluster) -> str:
    return f"writes through {c.writes_at}{_vip_hits(world, c)}"


def _down(instance: Instance) -> str:
    """`has no pod`, `is not ready`, `is CrashLoopBackOff`."""
    if instance.pod is None:
        return "has no pod"
    return "is not ready" if instance.state == "Running" else f"is {instance.state}"


def _role_troubles(world: World, c: PgCluster, found: tuple[Instance, ...], now: datetime) -> Iterator[Problem]:
    primary = next((i for i in found if i.is_current), None)
    if doubles := two_primaries(c, found):
        yield Problem(
            c.ref, Severity.CRITICAL, f"{c.name}: {' and '.join(doubles)} both say that they are primary", c.current_primary_since,
            f"data may split; {_write_hits(world, c)}", "roles from pod labels and from what the instances report", "claims",
        )  # fmt: skip
    if change := "failover" if electing(c, primary) else changing(c):
        since = c.primary_failing_since or c.target_primary_since
        target = "nobody yet" if c.target_primary in ("pending", c.current_primary) else c.target_primary
        held = overdue(world, c, now)
        severity = Severity.CRITICAL if change == "failover" or held == "hangs" else Severity.WARNING
        what = f"{c.name}: {change} from {c.current_primary} to {target}" + (f" {'is ' if held == 'ignored' else ''}{held}" if held else "")
        hits, cause = _write_hits(world, c), c.phase if electing(c, primary) else c.phase_reason or c.phase
        if held == "ignored":
            hits, cause = f"{c.current_primary} leads as before", "the operator has not begun: does it run?"
        yield Problem(c.ref, severity, what, since, hits, cause, "role-change")
    elif c.phase == MAJOR_UPGRADE:
        what, since = f"{c.name}: major upgrade, no writes until it ends", world.pg_watched.phase_since
        yield Problem(c.ref, Severity.WARNING, what, since, _write_hits(world, c), c.phase_reason or "all instances are stopped for it")
    elif not c.current_primary and c.phase == HEALTHY:
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name} has no primary", None, _write_hits(world, c), c.phase_reason)
    elif primary is not None and seen(world, "pods") and not primary.ready:
        cause = primary.pod.message if primary.pod else f"pod {primary.name} does not exist"
        since = c.primary_failing_since or (primary.pod.ready_since if primary.pod else None)
        yield Problem(
            c.ref, Severity.CRITICAL, f"{c.name}: primary {primary.name} {_down(primary)}", since,
            _write_hits(world, c), cause or silent_node(world, primary, now), "primary-down",
        )  # fmt: skip
    elif primary is not None and (silent := silent_node(world, primary, now)):
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name}: primary {primary.name} may be gone", None, _write_hits(world, c), silent)
    system = c.condition("ConsistentSystemID")
    if system is not None and system.status == "False" and system.reason == "Mismatch":
        yield Problem(
            c.ref,
            Severity.CRITICAL,
            f"{c.name}: instances are of different systems",
            system.since,
            "replicas are not copies",
            system.message,
        )


def _fence_troubles(world: World, c: PgCluster) -> Iterator[Problem]:
    if c.all_fenced or c.is_fenced(c.current_primary):
        what = "all instances" if c.all_fenced else f"primary {c.current_primary}"
        yield Problem(
            c.ref,
            Severity.CRITICAL,
            f"{c.name}: {what} fenced",
            None,
            _write_hits(world, c),
            "annotation cnpg.io/fencedInstances; no failover happens",
        )
    elif c.fenced:
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name}: {', '.join(c.fenced)} fenced", None, "one copy less", "annotation cnpg.io/fencedInstances"
        )
    if c.fenced_unreadable:
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name}: what is fenced cannot be read", None, "", f"annotation says {c.fenced_unreadable}"
        )


def _spare(world: World, c: PgCluster, found: tuple[Instance, ...]) -> int:
    """Ready instances beside the primary, which may be among those that are not."""
    return sum(i.ready and not i.is_current for i in found) if seen(world, "pods") else max(0, c.ready_instances - 1)


def _copy_troubles(world: World, c: PgCluster, found: tuple[Instance, ...], now: datetime) -> Iterator[Problem]:
    if c.ready_instances < c.instances and c.phase and c.phase != MAJOR_UPGRADE:
        down = [i for i in found if not i.ready and not i.is_current and not i.fenced] if seen(world, "pods") else []
        names = ", ".join(f"{i.name} {i.state}" for i in down)
        cause = next((i.pod.message for i in down if i.pod is not None and i.pod.message), "")
        severity = Severity.CRITICAL if c.ready_instances == 0 else Severity.WARNING
        hits = _write_hits(world, c) if c.ready_instances == 0 else f"{_spare(world, c, found)} left to fail over to"
        if c.phase in SETTING_UP and not c.current_primary:  # a restore takes hours, and writes were never taken
            severity, hits = Severity.WARNING, "not in use before it is set up"
        if c.phase in SETTING_UP and now - c.created < SETUP_GRACE:
            severity = Severity.NOTICE
        since = next((i.pod.ready_since for i in down if i.pod is not None), None)
        yield Problem(
            c.ref,
            severity,
            f"{c.name}: {c.ready_instances} of {c.instances} instances ready",
            since,
            hits,
            "; ".join(x for x in (names, cause) if x),
            "copies",
        )
    timelines = {i.timeline for i in found if i.timeline}
    if len(timelines) > 1 and not changing(c) and c.phase == HEALTHY:
        behind = ", ".join(f"{i.name} on {i.timeline}" for i in found if i.timeline and i.timeline != c.timeline)
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name}: instances are on {len(timelines)} timelines", None, "a replica may have diverged", behind,
            "timelines",
        )  # fmt: skip
    nodes: dict[str, list[str]] = {}
    for i in found:
        if i.node and i.ready:
            nodes.setdefault(i.node, []).append(i.name)
    for node, names_ in nodes.items():
        if len(names_) > 1:
            alone = len(nodes) == 1
            yield Problem(
                c.ref, Severity.WARNING if alone else Severity.NOTICE, f"{c.name}: {' and '.join(names_)} share {node}", None,
                f"losing {node} takes {'all' if alone else len(names_)} of {c.instances}", "",
            )  # fmt: skip


def _archive_troubles(c: PgCluster, now: datetime) -> Iterator[Problem]:
    hits = "point-in-time recovery ends at the last archived WAL; WAL fills the disk"
    archiving = c.condition("ContinuousArchiving")
    if c.skip_wal_archiving:
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name} archives no WAL", None, hits, "annotation cnpg.io/skipWalArchiving is set")
    elif archiving is not None and archiving.status == "False":
        severity = Severity.CRITICAL if archive_late(c, now) else Severity.WARNING
        yield Problem(c.ref, severity, f"{c.name}: WAL archiving fails", archiving.since, hits, archiving.message or archiving.reason)
    elif not c.archives and not c.replica_cluster:
        yield Problem(c.ref, Severity.NOTICE, f"{c.name} has no WAL archive configured", None, "point-in-time recovery: none", "")
    if c.skip_empty_archive_check:
        yield Problem(
            c.ref,
            Severity.NOTICE,
            f"{c.name} may overwrite another archive",
            None,
            "",
            "annotation cnpg.io/skipEmptyWalArchiveCheck is set",
        )
    for plugin in c.plugins:
        if plugin.enabled and not plugin.loaded_version and c.phase:
            yield Problem(
                c.ref,
                Severity.WARNING,
                f"{c.name}: plugin {plugin.name} is not loaded",
                None,
                "WAL archiving, backups, failover",
                "not in status.pluginStatus",
            )
    for secret, expires in c.certificates.items():
        left = expires - now
        if left < CERTIFICATE_WARNING:
            severity = Severity.CRITICAL if left <= timedelta(0) else Severity.WARNING
            when = (
                "has expired"
                if left <= timedelta(0)
                else f"expires in {left.days} d"
                if left.days
                else f"expires in {int(left.total_seconds() // 3600)} h"
            )
            yield Problem(
                c.ref,
                severity,
                f"{c.name}: certificate {secret} {when}",
                None,
                "clients and replicas that verify it",
                "",
                f"certificate/{secret}",
            )


def _troubles(world: World, c: PgCluster, now: datetime) -> Iterator[Problem]:
    found = instances(world, c)
    if c.hibernated:
        yield Problem(
            c.ref, Severity.NOTICE, f"{c.name} is hibernated", None, _write_hits(world, c), "annotation cnpg.io/hibernation is on"
        )
        return
    grade, _ = PHASES.get(c.phase, (Grade.PART, ""))
    if grade is Grade.BAD and c.phase != FAILING_OVER:
        hits = "failover: none while it lasts" if c.phase in NO_FAILOVER else _write_hits(world, c)
        yield Problem(c.ref, Severity.CRITICAL, f"{c.name}: {c.phase}", None, hits, c.phase_reason)
    elif c.phase == USER_ACTION:
        yield Problem(
            c.ref, Severity.WARNING, f"{c.name} waits for a manual switchover", None, "its upgrade goes no further", c.phase_reason
        )
    yield from _role_troubles(world, c, found, now)
    yield from _fence_troubles(world, c)
    yield from _copy_troubles(world, c, found, now)
    yield from _archive_troubles(c, now)
    if c.reconciliation_disabled:
        yield Problem(
            c.ref,
            Severity.WARNING,
            f"{c.name} is ignored by its operator",
            None,
            "failover and repair: none",
            "annotation cnpg.io/reconciliationLoop is disabled",
        )
    if c.unusable_claims:
        yield Problem(
            c.ref,
            Severity.WARNING,
            f"{c.name}: {len(c.unusable_claims)} unusable claims",
            None,
            ", ".join(c.unusable_claims),
            "",
            "claims-unusable",
        )


def _operator_troubles(world: World) -> Iterator[Problem]:
    """An operator that is down fails nothing over and leaves every phase as it was."""
    manager = operator(world)
    if manager is None or not seen(world, "deployments") or manager.available > 0:
        return
    since = next((x.since for x in manager.conditions if x.type == "Available" and x.status != "True"), None)
    names = ", ".join(sorted(c.name for c in world.pg_clusters.items.values()))
    what = f"CloudNativePG operator is down (0 of {manager.desired})"
    hits = f"failover of {names}: none; phases are frozen"
    yield Problem(manager.ref, Severity.CRITICAL, what, since, hits, f"deployment {manager.key}", "operator-down")


def _missing(world: World) -> Iterator[Problem]:
    """The configuration names a cluster that is not there: nothing else would say why every screen of the database is empty."""
    found = absent(world)
    if found is None:
        return
    namespace, _, name = world.site.pg_cluster.rpartition("/")
    what, there = found
    cause, hits = f"{there}; mend postgres.cluster", "everything of the site's database: not shown"
    yield Problem(Ref("pg_clusters", name, namespace), Severity.CRITICAL, what, None, hits, cause, "missing")


def troubles(world: World, cluster: PgCluster, now: datetime) -> tuple[Problem, ...]:
    """Everything that is wrong with one cluster, by its objects and by its servers."""
    found = tuple(_troubles(world, cluster, now))
    if world.pg_sql or world.pg_managers:
        from .topology import topology

        return (*topology(world, cluster, now).problems, *found)
    return found


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    if not world.pg_clusters.items:
        return tuple(_missing(world))
    found = [p for c in world.pg_clusters.items.values() for p in troubles(world, c, now)]
    for pooler in world.pg_poolers.items.values():
        if not pooler.paused and pooler.instances and pooler.ready < pooler.instances:
            severity = Severity.CRITICAL if pooler.ready == 0 else Severity.WARNING
            found.append(
                Problem(
                    pooler.ref,
                    severity,
                    f"pooler {pooler.name}: {pooler.ready} of {pooler.instances} ready",
                    None,
                    f"connections to {pooler.cluster}",
                    "",
                    "ready",
                )
            )
    return (*_operator_troubles(world), *_missing(world), *found)
