"""PostgreSQL clusters and their instances as rows, as a card, as JSON and as the lines of a detail pane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from coldtui.domain.values import dataclass

from ..domain import pgverdicts
from ..domain import postgres as domain
from ..domain import vips as domain_vips
from ..domain.backups import last_good, store_of
from ..domain.losses import fresh
from ..domain.memo import Last
from ..domain.pgserver import archiver_of
from ..domain.pgstrain import late, waits
from ..domain.postgres import Instance, PgCluster
from ..domain.readings import Known, Reading
from ..domain.replication import Archiver, lsn_text, segment
from ..domain.text import counted
from ..domain.topology import Member, Topology, asked, cluster_of, topology
from ..domain.verdicts import Grade, Verdict, unsure
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, cut_line, label, old, pad, pair, width
from .rows import Cell, Column, Listing, Row, Tone
from .verdicts import aside, badge, nothing, verdict_cell
from .vips import announcer_cells, vip_cells

SOURCES = ("pg_clusters", "pods", "nodes", "services")
NOT_THE_SITES = "not the site's database: its servers are not asked by SQL and /pg/status · set postgres.cluster to see it"
"""Of another cluster than the one that is asked."""


@dataclass(frozen=True, slots=True)
class InstanceOf:
    """An instance with the cluster it belongs to."""

    cluster: PgCluster
    instance: Instance

    @property
    def key(self) -> str:
        return f"{self.cluster.namespace}/{self.instance.name}"


def instance_verdict(world: World, item: InstanceOf, now: datetime) -> Verdict:
    """One instance in a word: `ready` only when its pod is, on a node that answers, and the sources are live."""
    i = item.instance
    if doubt := unsure(world, "pg_clusters", "pods"):
        return Verdict(Grade.UNKNOWN, i.state if i.pod is not None else "unknown", doubt)
    if i.fenced:
        return Verdict(Grade.BAD if i.is_current else Grade.PART, "fenced", "annotation cnpg.io/fencedInstances")
    if item.cluster.hibernated and i.pod is None:
        return Verdict(Grade.OFF, "hibernated")
    if i.pod is None:
        return Verdict(Grade.BAD, "no pod")
    if not i.ready:
        word = "not ready" if i.state == "Running" else i.state
        return Verdict(Grade.BAD if i.is_current or i.state in domain.CRASHING else Grade.PART, word, i.pod.message)
    if silent := domain.silent_node(world, i, now):
        return Verdict(Grade.UNKNOWN, "node silent", silent)
    if i.role == "unhealthy":
        return Verdict(Grade.PART, "unhealthy", "an old primary during a role change")
    return Verdict(Grade.GOOD, "ready")


def lag_text(instance: Instance) -> str:
    """`0 B behind`; `–` where it is not known."""
    lag = instance.lag_bytes
    return words.size(lag.value) if isinstance(lag, Known) else UNKNOWN


def role_cell(instance: Instance) -> Cell:
    return Cell(instance.role or "?", Tone.ACCENT if instance.role == "primary" else Tone.MUTED if not instance.role else Tone.PLAIN)


def seen_instances(world: World, c: PgCluster) -> tuple[Instance, ...]:
    """As the operator knows them; role, timeline and lag by the servers themselves where those are asked."""
    if not (world.pg_sql or world.pg_managers):
        return domain.instances(world, c)
    found = topology(world, c, world.at)
    if not found.asked:
        return domain.instances(world, c)
    return tuple(
        replace(
            m.instance,
            role=m.role,
            timeline=m.timeline.value if isinstance(m.timeline, Known) else m.instance.timeline,
            lag_bytes=m.behind,
        )
        for m in found.members
    )


def missing_cluster(world: World) -> str:
    """That the configured cluster does not exist, and which do; empty: it does, or it is not known."""
    return "; ".join(domain.absent(world) or ())


def _instances(world: World) -> Mapping[str, InstanceOf]:
    clusters = list(world.pg_clusters.items.values())
    if not clusters and (named := cluster_of(world)) is not None:
        clusters = [named]
    found = (InstanceOf(c, i) for c in clusters for i in seen_instances(world, c))
    return {item.key: item for item in found}


_INSTANCE_COLUMNS: tuple[Column, ...] = (
    Column("name", "INSTANCE", 16, grow=3, sort_key="E"),
    Column("role", "ROLE", 9, sort_key="R"),
    Column("state", "STATE", 13, grow=1, sort_key="S"),
    Column("node", "NODE", 14, grow=2, sort_key="L"),
    Column("timeline", "TL", 3, right=True),
    Column("lag", "BEHIND", 6, right=True),
    Column("restarts", "RESTARTS", 8, right=True, priority=1, sort_key="X"),
    Column("age", "AGE", 5, right=True, priority=1, sort_key="T"),
    Column("sync", "SYNC", 6, priority=1),
    Column("connections", "CONN", 4, right=True, priority=1),
    Column("received", "RECEIVED", 11, right=True, priority=3),
    Column("replayed", "REPLAYED", 11, right=True, priority=3),
    Column("ip", "IP", 15, priority=3),
    Column("cluster", "CLUSTER", 14, grow=1, priority=2, sort_key="C"),
)


def sync_of(world: World, c: PgCluster, i: Instance) -> str:
    """`async`, `sync`, `quorum` or `potential` as the primary sees it by SQL; empty: not told."""
    told = (s for r in world.pg_sql.values() if isinstance(r, Known) for s in r.value.standbys)
    return next((s.sync_state for s in told if s.name == i.name and s.state), "") if asked(world, c) else ""


def connections_of(world: World, c: PgCluster, i: Instance) -> str:
    reading = world.pg_sql.get(i.name) if asked(world, c) else None
    return str(reading.value.connections) if isinstance(reading, Known) else UNKNOWN


def state_of(judged: Verdict, m: Member, now: datetime, *, others: bool, follows: str) -> Cell:
    """The pod's verdict with what the server adds: an old answer says how old, none is none where `others` answer, and of a standby that is ready
    whether it follows (`follows`: the word for that it does)."""
    if m.told is not None and not m.answers and judged.grade is not Grade.BAD:
        return badge(Grade.UNKNOWN, f"told {words.age(now - m.told)}")
    if m.answers and judged.grade is Grade.UNKNOWN:
        return badge(Grade.PART, "answers SQL" if isinstance(m.sql, Known) else "answers")
    if judged.grade is Grade.GOOD and not m.answers and others:
        return badge(Grade.BAD if m.instance.is_current else Grade.UNKNOWN, "no answer")
    if judged.grade is not Grade.GOOD or m.role == "primary" or not m.answers:
        return verdict_cell(judged)
    if isinstance(m.paused, Known) and m.paused.value:
        return badge(Grade.PART, "paused")
    if isinstance(m.receiving, Known):
        return badge(Grade.GOOD, follows) if m.receiving.value else badge(Grade.PART, "no stream")
    return verdict_cell(judged)


def _state_cell(world: World, item: InstanceOf, now: datetime) -> Cell:
    judged, told = instance_verdict(world, item, now), members_of(world, item.cluster, now)
    m = told.get(item.instance.name)
    if m is None:
        return verdict_cell(judged)
    return state_of(judged, m, now, others=any(x.answers for x in told.values()), follows="ready")


_kept: tuple[World, datetime, Mapping[str, Member]] | None = None


def members_of(world: World, c: PgCluster, now: datetime) -> Mapping[str, Member]:
    """What the sources say of each instance; empty: it is not this cluster that is asked. Kept for the last World and moment, since every row asks."""
    global _kept
    if not (asked(world, c) and (world.pg_sql or world.pg_managers)):
        return {}
    if _kept is None or _kept[0] is not world or _kept[1] != now:
        _kept = (world, now, {m.name: m for m in topology(world, c, now).members})
    return _kept[2]


def _position_cell(reading: Reading[int] | None) -> Cell:
    return Cell(lsn_text(reading.value)) if isinstance(reading, Known) else Cell(UNKNOWN, Tone.MUTED)


def _instance_row(world: World, item: InstanceOf, now: datetime) -> Row:
    c, i = item.cluster, item.instance
    m = members_of(world, c, now).get(i.name)
    leads = i.role == "primary"
    cells = (
        Cell(i.name, Tone.STRONG),
        role_cell(i),
        _state_cell(world, item, now),
        Cell(i.node or UNKNOWN),
        Cell(
            str(i.timeline) if i.timeline else UNKNOWN, Tone.WARN if i.timeline and c.timeline and i.timeline != c.timeline else Tone.PLAIN
        ),
        Cell(lag_text(i) if not i.is_current else "", Tone.MUTED),
        Cell(str(i.restarts) if i.pod else UNKNOWN, Tone.PLAIN if i.restarts else Tone.MUTED),
        Cell(words.age(now - i.pod.created) if i.pod else UNKNOWN),
        Cell(sync_of(world, c, i) or ("" if leads else UNKNOWN), Tone.MUTED),
        Cell(connections_of(world, c, i)),
        _position_cell(m.received if m is not None and not leads else m.position if m is not None else None),
        _position_cell(m.replayed if m is not None else None) if not leads else Cell(""),
        Cell(i.pod.ip if i.pod and i.pod.ip else UNKNOWN),
        Cell(c.name, Tone.MUTED),
    )
    return Row(item.key, cells, dim=old(world, "pg_clusters"))


def _server_json(world: World, c: PgCluster, i: Instance, now: datetime, reasons: dict[str, str]) -> dict[str, Any]:
    """What the server says of itself by SQL; null, with the reason added to `reasons`, where it does not."""
    reading = world.pg_sql.get(i.name)
    if reading is None or not asked(world, c):
        reasons["sql"] = "no server was asked" if asked(world, c) else NOT_THE_SITES
        return {"connections": None, "sql": None, "sql_age_s": None}
    if not isinstance(reading, Known):
        reasons["sql"] = reading.reason
        return {"connections": None, "sql": None, "sql_age_s": None}
    s = reading.value
    return {
        "connections": s.connections,
        "sql": {
            "role": "replica" if s.in_recovery else "primary", "timeline": s.timeline or None, "system_id": s.system_id, "version": s.version,
            "started": words.iso(s.started), "current_lsn": _lsn_json(s.current), "received_lsn": _lsn_json(s.received),
            "replayed_lsn": _lsn_json(s.replayed), "replay_paused": s.replay_paused, "max_connections": s.max_connections,
            "pending_restart": s.pending_restart, "streaming": s.receiver is not None and s.receiver.status == "streaming" if s.in_recovery else None,
            "sync_state": sync_of(world, c, i) or None, "missing": list(s.missing),
        },
        "sql_age_s": int((now - reading.as_of).total_seconds()),
    }  # fmt: skip


def _lsn_json(position: int | None) -> str | None:
    return lsn_text(position) if position is not None else None


def _instance_json(world: World, item: InstanceOf, now: datetime) -> dict[str, Any]:
    c, i = item.cluster, item.instance
    judged = instance_verdict(world, item, now)
    lag = i.lag_bytes
    reasons = {} if isinstance(lag, Known) else {"lag_bytes": lag.reason}
    return {
        "cluster": c.key,
        "name": i.name,
        "role": i.role or None,
        "status": judged.word,
        "grade": judged.grade.value,
        "why": judged.why,
        "node": i.node or None,
        "pod_state": i.pod.state if i.pod else None,
        "ready": i.ready if i.pod is not None or i.pods_known else None,
        "restarts": i.pod.restarts if i.pod else None,
        "timeline": i.timeline,
        "fenced": i.fenced,
        "lag_bytes": lag.value if isinstance(lag, Known) else None,
        **_server_json(world, c, i, now, reasons),
        **aside(world, now, ("pg_clusters", "pods"), reasons),
    }


INSTANCES: Listing[InstanceOf] = Listing(
    noun="postgres",
    title="PostgreSQL instances",
    sources=("pg_clusters", "pods", "nodes", "leases"),
    columns=_INSTANCE_COLUMNS,
    items=_instances,
    row=_instance_row,
    sorts={
        "name": lambda world, x: (x.cluster.key, not x.instance.is_current, x.instance.name),
        "role": lambda world, x: (x.instance.role != "primary", x.instance.role, x.instance.name),
        "state": lambda world, x: (x.instance.ready, x.instance.name),
        "node": lambda world, x: (x.instance.node, x.instance.name),
        "restarts": lambda world, x: -x.instance.restarts,
        "age": lambda world, x: -(x.instance.pod.created.timestamp() if x.instance.pod else 0.0),
        "cluster": lambda world, x: (x.cluster.key, x.instance.name),
    },
    default_sort="name",
    text=lambda x: f"{x.instance.name} {x.instance.role} {x.instance.state} {x.instance.node} {x.cluster.name}",
    trouble=lambda world, x, now: instance_verdict(world, x, now).grade in (Grade.BAD, Grade.PART),
    labels=lambda x: x.instance.pod.labels if x.instance.pod else {},
    json=_instance_json,
    namespaced=True,
)


def archiver_now(t: Topology, now: datetime) -> Archiver | None:
    """What the primary itself, or its manager, says of archiving now; an old answer is none, nor is one that tells of no segment."""
    lead = t.lead
    told = archiver_of(lead) if lead is not None else None
    return told.value if isinstance(told, Known) and fresh(told, now) and (told.value.last_wal or told.value.failed_wal) else None


def _archiver_fails(world: World) -> Verdict | None:
    """By the primary, where that is worse than what its condition says: `0000…61 failed, 9 segments (144 MiB) wait`."""
    t = topology(world, cluster_of(world), world.at)
    told = archiver_now(t, world.at)
    if told is None or not told.failing:
        return None
    why = f"{segment(told.failed_wal)} failed" + (f", {waits(told)}" if told.waiting else "")
    return Verdict(Grade.BAD if late(world, t.primary, told, world.at) else Grade.PART, "failing", why)


_failing = Last(_archiver_fails)


def archiving(cluster: PgCluster, world: World) -> Verdict:
    """WAL archiving in a word; its own light, since a cluster may be healthy while every upload fails."""
    if doubt := unsure(world, "pg_clusters"):
        return Verdict(Grade.UNKNOWN, "unknown", doubt)
    found = cluster.condition("ContinuousArchiving")
    if cluster.skip_wal_archiving:
        return Verdict(Grade.BAD, "off", "annotation cnpg.io/skipWalArchiving")
    if not cluster.archives:
        return Verdict(Grade.OFF, "none", "no WAL archive is configured")
    if found is None:
        return Verdict(Grade.UNKNOWN, "unknown", "no condition ContinuousArchiving yet")
    if found.status == "True":
        failed = _failing(world) if asked(world, cluster) else None
        return failed or Verdict(Grade.GOOD, "ok")
    if found.status == "False":
        return Verdict(Grade.BAD if domain.archive_late(cluster, world.at) else Grade.PART, "failing", found.message or found.reason)
    return Verdict(Grade.UNKNOWN, "unknown", found.message)


_CLUSTER_COLUMNS: tuple[Column, ...] = (
    Column("name", "CLUSTER", 16, grow=3, sort_key="E"),
    Column("state", "STATE", 16, grow=1, sort_key="S"),
    Column("ready", "READY", 5, right=True, sort_key="R"),
    Column("primary", "PRIMARY", 16, grow=2),
    Column("timeline", "TL", 3, right=True),
    Column("version", "VERSION", 7),
    Column("wal", "WAL", 9, priority=1),
    Column("backup", "BACKUP", 6, right=True, priority=1),
    Column("age", "AGE", 5, right=True, priority=2, sort_key="T"),
    Column("namespace", "NAMESPACE", 10, grow=1, priority=2, sort_key="U"),
)


def backup_age(world: World, cluster: PgCluster, now: datetime) -> str:
    good = last_good(world, cluster)
    return words.age(now - good.value.at) if isinstance(good, Known) else UNKNOWN


def _cluster_row(world: World, c: PgCluster, now: datetime) -> Row:
    cells = (
        Cell(c.name, Tone.STRONG),
        verdict_cell(pgverdicts.verdict(world, c, now)),
        Cell(
            f"{c.ready_instances}/{c.instances}",
            Tone.STALE if old(world, "pg_clusters") else Tone.WARN if c.ready_instances < c.instances else Tone.PLAIN,
        ),
        Cell(c.current_primary or UNKNOWN),
        Cell(str(c.timeline) if c.timeline else UNKNOWN),
        Cell(c.version or UNKNOWN),
        verdict_cell(archiving(c, world)),
        Cell(backup_age(world, c, now), Tone.STALE if old(world, "pg_backups") else Tone.PLAIN),
        Cell(words.age(now - c.created)),
        Cell(c.namespace, Tone.MUTED),
    )
    return Row(c.key, cells, dim=old(world, "pg_clusters"))


def cluster_json(world: World, c: PgCluster, now: datetime) -> dict[str, Any]:
    """A cluster for scripts, its instances within."""
    judged, wal, good = pgverdicts.verdict(world, c, now), archiving(c, world), last_good(world, c)
    return {
        "namespace": c.namespace,
        "name": c.name,
        "status": judged.word,
        "grade": judged.grade.value,
        "why": judged.why,
        "phase": c.phase or None,
        "phase_reason": c.phase_reason or None,
        "primary": c.current_primary or None,
        "target_primary": c.target_primary or None,
        "instances": c.instances,
        "ready_instances": c.ready_instances,
        "timeline": c.timeline,
        "version": c.version or None,
        "image": c.image or None,
        "wal_archiving": wal.word,
        "last_backup": words.iso(good.value.at) if isinstance(good, Known) else None,
        "fenced": list(c.fenced),
        "members": [_instance_json(world, InstanceOf(c, i), now) for i in domain.instances(world, c)],
        "vips": [
            {"address": v.address, "service": v.service.key if v.service else None, "status": v.verdict.word}
            for v in domain_vips.database_vips(world, c)
        ],
        **aside(world, now, SOURCES, {} if isinstance(good, Known) else {"last_backup": good.reason}),
    }


def _clusters(world: World) -> Mapping[str, PgCluster]:
    return world.pg_clusters.items


CLUSTERS: Listing[PgCluster] = Listing(
    noun="postgres-clusters",
    title="PostgreSQL clusters",
    sources=("pg_clusters", "pods", "nodes", "leases", "pg_backups"),
    columns=_CLUSTER_COLUMNS,
    items=_clusters,
    row=_cluster_row,
    sorts={
        "name": lambda world, c: c.name,
        "state": lambda world, c: (c.ready_instances >= c.instances and c.phase == domain.HEALTHY, c.name),
        "ready": lambda world, c: (c.ready_instances - c.instances, c.name),
        "age": lambda world, c: -c.created.timestamp(),
        "namespace": lambda world, c: (c.namespace, c.name),
    },
    default_sort="name",
    text=lambda c: f"{c.namespace} {c.name} {c.phase} {c.current_primary} {c.version}",
    trouble=lambda world, c, now: bool(pgverdicts.troubles(world, c, now)),
    labels=lambda c: c.labels,
    json=cluster_json,
    namespaced=True,
)


def head_line(world: World, c: PgCluster, now: datetime) -> Line:
    """`● healthy   timeline 7   18.6   VIP 192.168.15.200 ● k3s-worker-3`."""
    judged = pgverdicts.verdict(world, c, now)
    cells = [verdict_cell(judged)]
    if c.timeline:
        cells += [Cell("  timeline ", Tone.MUTED), Cell(str(c.timeline))]
    if c.version:
        cells.append(Cell(f"  {c.version}", Tone.MUTED))
    for v in domain_vips.database_vips(world, c, writes=True)[:1]:
        address = v.address or "?"
        cells += [Cell(f"  VIP {address} ", spans=(("  VIP ", Tone.MUTED), (f"{address} ", Tone.PLAIN))), *announcer_cells(v)]
    return tuple(cells)


def instance_line(world: World, c: PgCluster, i: Instance, now: datetime, wide: int) -> Line:
    """`postgres-2  replica  ● ready  k3s-worker-2   0 B behind`: what matters most comes first, as the end is left out when the room is short."""
    judged = instance_verdict(world, InstanceOf(c, i), now)
    name = Cell(pad(i.name, wide) + "  ", Tone.STRONG)
    role = role_cell(i)
    role = Cell(pad(role.text, 9) + " ", role.tone)
    state = verdict_cell(judged) if judged.grade is not Grade.GOOD else badge(Grade.GOOD, "ready")
    node = Cell(f"  {pad(i.node or UNKNOWN, 14)}")
    if judged.grade is not Grade.GOOD or i.is_current:
        return (name, role, state, node)
    behind = f"{lag_text(i)} behind" if isinstance(i.lag_bytes, Known) else "lag not read"
    return (name, role, state, node, Cell(f"  {behind}", Tone.MUTED))


def postgres_card(world: World, now: datetime, cells: int) -> tuple[Line, ...]:
    """The site's database on the home screen: verdict, why, instances, what is not known."""
    c = domain.site_cluster(world)
    if c is None:
        if missing := missing_cluster(world):
            return (cut_line((badge(Grade.BAD, "missing"), Cell(f"  {missing}")), cells),)
        return (cut_line((nothing(world, "pg_clusters", "PostgreSQL clusters", now),), cells),)
    judged = pgverdicts.verdict(world, c, now)
    lines: list[Line] = [head_line(world, c, now)]
    if judged.why and judged.grade is not Grade.GOOD:
        lines.append((Cell(judged.why, Tone.STALE if judged.grade is Grade.UNKNOWN else Tone.WARN),))
    found = seen_instances(world, c)
    wide = max((width(i.name) for i in found), default=0)
    lines += [instance_line(world, c, i, now, wide) for i in found]
    wal = archiving(c, world)
    lines.append((label("WAL archive", 13), verdict_cell(wal), Cell(f"  {wal.why}" if wal.why else "", Tone.MUTED)))
    others = len(world.pg_clusters) - 1
    if others > 0:
        lines.append((Cell(f"and {others} more cluster{'s' if others > 1 else ''}", Tone.MUTED),))
    return tuple(cut_line(line, cells) for line in lines)


def _plugin_words(c: PgCluster) -> str:
    return ", ".join(f"{p.name} {p.loaded_version or 'not loaded'}" for p in c.plugins if p.enabled)


def _archive_words(c: PgCluster) -> str:
    if c.archiver is not None:
        store = c.archiver.parameters.get("barmanObjectName", "")
        return f"plugin {c.archiver.name}" + (f", store {store}" if store else "")
    return f"in-tree {c.archive_path} (goes away in operator 1.31)" if c.in_tree_archive else "none"


def describe(world: World, c: PgCluster, now: datetime) -> tuple[Line, ...]:
    """The detail pane of a cluster. Of the one that is asked the head of the screen says how it is: here only what the head does not say."""
    own = asked(world, c)
    lines = [*(() if own else _standing_lines(world, c, now)), *_made_lines(world, c, now)]
    if not own:
        found = seen_instances(world, c)
        wide = max((width(i.name) for i in found), default=0)
        lines += [(), *(instance_line(world, c, i, now, wide) for i in found)]
        lines += [(label("VIP"), *vip_cells(v)) for v in domain_vips.database_vips(world, c)]
    for p in pgverdicts.troubles(world, c, now):
        lines.append((label("Problem"), Cell(p.sentence, Tone.WARN), Cell(f"  {p.cause}" if p.cause else "", Tone.MUTED)))
    return tuple(lines)


def _standing_lines(world: World, c: PgCluster, now: datetime) -> Iterator[Line]:
    """How another cluster is by its objects, and why not more is known."""
    judged = pgverdicts.verdict(world, c, now)
    since = f" for {words.age(now - c.current_primary_since)}" if c.current_primary_since else ""
    yield (label("State"), verdict_cell(judged), Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED))
    yield pair("Phase", c.phase or UNKNOWN)
    yield pair("Primary", f"{c.current_primary or UNKNOWN}{since}")
    if c.phase_reason:
        yield pair("Reason", c.phase_reason, Tone.WARN)
    if change := domain.changing(c):
        elapsed = f", {words.age(now - c.target_primary_since)} ago" if c.target_primary_since else ""
        yield pair("Under way", f"{change} to {c.target_primary}{elapsed}", Tone.WARN)
    yield pair("Not asked", NOT_THE_SITES, Tone.STALE)


def _made_lines(world: World, c: PgCluster, now: datetime) -> Iterator[Line]:
    """What it is made of, and how it is configured."""
    nodes = counted(c.nodes_used, "node") if c.nodes_used is not None else "? nodes"
    yield pair("Instances", f"{c.ready_instances} of {c.instances} ready on {nodes}")
    yield pair("Version", f"{c.version or UNKNOWN}  {c.image}")
    yield pair("Timeline", f"{c.timeline or UNKNOWN}  system {c.system_id or UNKNOWN}")
    yield pair("Synchronous", _sync_words(c))
    yield pair("Services", f"{c.write_service or UNKNOWN}, {c.read_service or UNKNOWN}")
    yield pair("Storage", " ".join(x for x in (c.storage_size, c.storage_class, f"WAL {c.wal_size}" if c.wal_size else "") if x) or UNKNOWN)
    yield pair("WAL archive", _archive_words(c))
    yield (label("Archiving"), verdict_cell(archiving(c, world)), Cell(f"  {archiving(c, world).why or 'says the operator'}", Tone.MUTED))
    yield pair("Retention", c.retention or _store_retention(world, c))
    if plugins := _plugin_words(c):
        yield pair("Plugins", plugins)
    for secret, expires in sorted(c.certificates.items(), key=lambda x: x[1]):
        near = expires - now < domain.CERTIFICATE_WARNING
        yield pair("Certificate", f"{secret} until {words.stamp(expires)}", Tone.WARN if near else Tone.PLAIN)


def _store_retention(world: World, c: PgCluster) -> str:
    store = store_of(world, c)
    return f"{store.retention or UNKNOWN} in ObjectStore {store.name}" if store is not None else UNKNOWN


def _sync_words(c: PgCluster) -> str:
    if c.synchronous is not None:
        return f"{c.synchronous.method} {c.synchronous.number}, durability {c.synchronous.durability}"
    return f"{c.min_sync} to {c.max_sync} replicas" if c.max_sync else "no: the last writes may be lost with the primary"


_VIP_STATUS = {Grade.GOOD: "active", Grade.PART: "degraded", Grade.BAD: "inactive", Grade.OFF: "inactive"}
"""The site document's words."""


def status_json_database(world: World, now: datetime) -> dict[str, Any]:
    """The site document's `database`. null is unknown; `_reasons` says why. `replicas` are names."""
    c = domain.site_cluster(world)
    kinds = ("pg_clusters", "pods", "services")
    if c is None:
        why = missing_cluster(world) or unsure(world, "pg_clusters") or "there is no PostgreSQL cluster"
        keys = ("status", "primary", "replicas", "replication_lag", "vip_status")
        return {**dict.fromkeys(keys), **aside(world, now, kinds, dict.fromkeys(keys, why))}
    judged = pgverdicts.verdict(world, c, now)
    found = domain.instances(world, c)
    unknown = judged.grade is Grade.UNKNOWN
    replicas = [i for i in found if not i.is_current]
    lags = {i.name: i.lag_bytes for i in seen_instances(world, c) if i.name != (c.current_primary or "")}
    known = {name: lag.value for name, lag in lags.items() if isinstance(lag, Known)}
    worst = max(known.values()) if known and len(known) == len(lags) else None
    reasons = (
        {}
        if worst is not None
        else {"replication_lag": next((x.reason for x in lags.values() if not isinstance(x, Known)), domain.LAG_UNKNOWN.reason)}
    )
    if unknown:
        reasons["status"] = judged.why
    if not c.current_primary:
        reasons["primary"] = "the operator names none"
    told = [lag for lag in lags.values() if isinstance(lag, Known)] if worst is not None else []
    vips = domain_vips.database_vips(world, c, writes=True)
    vip = vips[0].verdict if vips else None
    if vip is None:
        reasons["vip_status"] = unsure(world, "services") or "no LoadBalancer service leads to it"
    elif vip.grade is Grade.UNKNOWN:
        reasons["vip_status"] = vip.why
    return {
        "status": None if unknown else judged.word,
        "primary": c.current_primary or None,
        "replicas": [i.name for i in replicas],
        "replication_lag": worst,
        "vip_status": None if vip is None or vip.grade is Grade.UNKNOWN else _VIP_STATUS[vip.grade],
        **aside(world, now, kinds, reasons),
        "_cluster": c.key,
        "_why": judged.why,
        "_replication_lag_source": ", ".join(dict.fromkeys(lag.source for lag in told)) or None,
        "_replication_lag_age_s": max((max(0, int((now - lag.as_of).total_seconds())) for lag in told), default=None),
        "_vip": vips[0].address if vips else None,
        "_vip_why": vip.word if vip is not None else None,
        "_ready_replicas": sum(i.ready for i in replicas) if not unsure(world, "pods") else None,
        "_instances": c.instances,
        "_ready_instances": c.ready_instances,
        "_timeline": c.timeline,
        "_wal_archiving": archiving(c, world).word,
    }
