"""The site's database for scripts: the shape of the site document, and beside it what the screen shows, each value with its source and age."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from ..domain import pgverdicts
from ..domain.hosts import host_address
from ..domain.pgdisks import PgDisk, disks
from ..domain.pgserver import archiver_of, slots_of
from ..domain.postgres import PgCluster
from ..domain.problems import Problem
from ..domain.readings import Known, Reading, Unknown
from ..domain.replication import SEGMENT_B, Archiver, PrimaryLease, Slot, Standby, lsn_text
from ..domain.topology import Loss, Member, Topology, cluster_of, topology
from ..domain.verdicts import Grade, unsure
from ..domain.vips import Service, database_vips
from ..domain.world import World
from . import words
from .postgres import InstanceOf, instance_verdict, missing_cluster
from .postgres_head import service_targets
from .postgres_listings import problems_of

T = TypeVar("T")
NO_DATABASE = ("cluster_name", "status", "instances", "vip")
"""What the site document has of a database."""


CONTRADICTIONS = frozenset({"two-primaries", "systems", "timeline", "label", "named", "vip", "nobody"})
"""Problems that are one source against another."""


def told(reading: Reading[T], now: datetime, say: Callable[[T], Any] = lambda value: value) -> dict[str, Any]:
    """`{value, source, age_s}`; of what is not known `{value: null, why}`."""
    if not isinstance(reading, Known):
        return {"value": None, "why": reading.reason}
    return {"value": say(reading.value), "source": reading.source, "age_s": _seconds(now, reading.as_of)}


def _seconds(now: datetime, then: datetime) -> int:
    return max(0, int((now - then).total_seconds()))


def by_kind(world: World, kind: str, value: T | None, why: str = "") -> Reading[T]:
    """What objects of the API say; `why` there is no value where they were read."""
    as_of = world.sources[kind].as_of
    if as_of is None:
        return Unknown(kind, unsure(world, kind) or "not read")
    return Known(value, kind, as_of) if value is not None else Unknown(kind, why)


def site_json(world: World, now: datetime) -> dict[str, Any]:
    """The site document's shape of its database, beside the listing; null is unknown."""
    c = cluster_of(world)
    if c is None:
        why = missing_cluster(world) or unsure(world, "pg_clusters") or "there is no PostgreSQL cluster"
        return {**dict.fromkeys(NO_DATABASE), "_reasons": dict.fromkeys(NO_DATABASE, why)}
    t, judged = topology(world, c, now), pgverdicts.verdict(world, c, now)
    return {
        "cluster_name": c.name,
        "status": None if judged.grade is Grade.UNKNOWN else judged.word,
        "why": judged.why or None,
        "instances": [_instance(world, c, m, now) for m in t.members],
        "vip": _vip(world, c, t, now),
        **_operator(world, c, now),
        "services": told(_services(world, c), now),
        **_server(t, now),
        "loss_if_primary_died": _loss(t.loss, now),
        "contradictions": [_problem(p) for p in t.problems if p.kind in CONTRADICTIONS],
        "problems": [_problem(p) for p in problems_of(world, c, now)],
    }


def _problem(p: Problem) -> dict[str, Any]:
    since = words.iso(p.since) if p.since is not None else None
    return {
        "severity": p.severity.name.lower(),
        "code": p.code or None,
        "what": p.sentence,
        "since": since,
        "hits": p.hits,
        "cause": p.cause,
    }


# ---------------------------------------------------------------- what the operator says


def _operator(world: World, c: PgCluster, now: datetime) -> dict[str, Any]:
    def said(value: Any, why: str = "") -> dict[str, Any]:
        return told(by_kind(world, "pg_clusters", value, why), now)

    return {
        "phase": said(c.phase or None, "the operator wrote none"),
        "phase_reason": said(c.phase_reason or None, "the operator gives none"),
        "target_primary": said(c.target_primary or None, "the operator names none"),
        "reconciliation_disabled": said(c.reconciliation_disabled),
        "hibernated": said(c.hibernated),
        "fenced": said(list(c.fenced)),
        "certificates": said([{"secret": s, "expires": words.iso(at)} for s, at in sorted(c.certificates.items(), key=lambda x: x[1])]),
        "lease": told(_held(world.pg_lease), now, _lease),
    }


def _held(reading: Reading[PrimaryLease | None]) -> Reading[PrimaryLease]:
    if not isinstance(reading, Known):
        return reading
    if reading.value is None:
        return Unknown(reading.source, "there is no Lease of this name: the operator is older than 1.30")
    return Known(reading.value, reading.source, reading.as_of)


def _lease(lease: PrimaryLease) -> dict[str, Any]:
    return {"holder": lease.holder or None, "renewed": words.iso(lease.renewed) if lease.renewed else None, "lasts_s": lease.duration_s}


# ---------------------------------------------------------------- services and addresses


def _services(world: World, c: PgCluster) -> Reading[list[dict[str, Any]]]:
    if doubt := next(
        (d for kind in ("services", "endpointslices") if world.sources[kind].as_of is None and (d := unsure(world, kind))), ""
    ):
        return Unknown("endpointslices", doubt)
    return by_kind(world, "endpointslices", [_service(world, s) for s in _services_of(world, c)])


def _services_of(world: World, c: PgCluster) -> Iterator[Service]:
    """Those that the operator makes, and those of others that select its pods or lead through its poolers."""
    own = {c.writes_at, c.read_service or f"{c.name}-r", f"{c.name}-ro", f"{c.name}-r"}
    through = {v.service.key for v in database_vips(world, c) if v.service is not None}
    for s in sorted(world.services.items.values(), key=lambda s: s.key):
        mine = s.namespace == c.namespace and (s.name in own or s.selector.get("cnpg.io/cluster") == c.name)
        if mine or s.key in through:
            yield s


def _service(world: World, s: Service) -> dict[str, Any]:
    led = service_targets(world, s.namespace, s.name)
    return {"name": s.name, "type": s.type, "addresses": [*s.lb_ips] or [x for x in (s.cluster_ip,) if x], "endpoints": list(led or ())}


def _host(probe: str) -> str | None:
    """Of `host:port`; what is no address is shown as it is."""
    try:
        return host_address(probe).host if probe else None
    except ValueError:
        return probe


def _vip(world: World, c: PgCluster, t: Topology, now: datetime) -> dict[str, Any]:
    """`active`: a connection through it reaches a primary. null: not tried, or not known. `tried`: where, if the configuration says."""
    found = database_vips(world, c, writes=True)
    address = found[0].address if found and found[0].address else _host(world.site.vip_probe)
    beside = {
        "tried": world.site.vip_probe or address,
        "announced_by": list(found[0].announcers) if found else [],
        "service": found[0].service.key if found and found[0].service is not None else None,
    }
    known = {"address": address, "active": None, "current_primary": t.primary or None, "reaches": None, **beside}
    if t.vip is None:
        return {**known, "source": None, "age_s": None, "why": "not tried"}
    reading = t.vip.reading
    if not isinstance(reading, Known):
        tried = any(isinstance(m.sql, Known) for m in t.members)  # else it is we whom nobody lets in
        return {**known, "active": False if tried else None, "source": None, "age_s": None, "why": reading.reason}
    reached = {"active": not reading.value.in_recovery, "reaches": t.vip.server or None}
    return {**known, **reached, "source": reading.source, "age_s": _seconds(now, reading.as_of), "why": None}


# ---------------------------------------------------------------- instances and the primary's server


def _instance(world: World, c: PgCluster, m: Member, now: datetime) -> dict[str, Any]:
    state = instance_verdict(world, InstanceOf(c, m.instance), now)
    status = None if state.grade is Grade.UNKNOWN else state.word
    connections = m.connections.value[0] if isinstance(m.connections, Known) else None
    reasons = {} if m.role else {"role": "no source tells it"}
    if status is None:
        reasons["status"] = state.why
    for key, reading in (("connections", m.connections), ("replication_lag", m.behind)):
        if isinstance(reading, Unknown):
            reasons[key] = reading.reason
    lag = m.behind.value if isinstance(m.behind, Known) else None
    return {
        "name": m.name, "role": m.role or None, "status": status, "connections": connections, "replication_lag": lag,
        "replication_lag_s": m.behind_s, **_from("replication_lag", m.behind, now), **_from("connections", m.connections, now),
        **_standing(m, now), "disks": [_disk(d, now) for d in disks(world, c, m.instance)], "_reasons": reasons,
    }  # fmt: skip


def _from(key: str, reading: Reading[Any], now: datetime) -> dict[str, Any]:
    """Beside a plain number: who told it, and how long ago."""
    known = reading if isinstance(reading, Known) else None
    return {
        f"{key}_source": known.source if known is not None else None,
        f"{key}_age_s": _seconds(now, known.as_of) if known is not None else None,
    }


def _standing(m: Member, now: datetime) -> dict[str, Any]:
    return {
        "timeline": told(m.timeline, now),
        "current_lsn": told(m.position, now, lsn_text),
        "received_lsn": told(m.received, now, lsn_text),
        "replayed_lsn": told(m.replayed, now, lsn_text),
        "streaming": told(m.receiving, now),
        "replay_paused": told(m.paused, now),
        "sent_as": told(m.standby, now, _sent),
        "pending_restart": told(m.pending_restart, now),
    }


def _sent(row: Standby) -> dict[str, Any]:
    """As the primary sees it."""
    return {"state": row.state or None, "sync_state": row.sync_state or None}


def _disk(disk: PgDisk, now: datetime) -> dict[str, Any]:
    return {"what": disk.what, "claim": disk.claim, "capacity_b": disk.capacity_b, "used_b": told(disk.used, now)}


def _server(t: Topology, now: datetime) -> dict[str, Any]:
    lead = t.lead
    if lead is None:
        nobody = {"value": None, "why": "no primary is known"}
        return {"archiver": nobody, "slots": nobody}
    return {
        "archiver": told(archiver_of(lead), now, _archiver),
        "slots": told(slots_of(lead), now, lambda found: [_slot(s) for s in found]),
    }


def _archiver(a: Archiver) -> dict[str, Any]:
    return {
        "last_wal": a.last_wal or None, "last_at": words.iso(a.last_at) if a.last_at else None, "failing": a.failing,
        "failed_wal": a.failed_wal or None, "failed_at": words.iso(a.failed_at) if a.failed_at else None, "waiting": a.waiting,
        "waiting_b": a.waiting * SEGMENT_B if a.waiting is not None else None,
    }  # fmt: skip


def _slot(s: Slot) -> dict[str, Any]:
    return {
        "name": s.name, "active": s.active, "kind": s.kind or None, "wal_status": s.wal_status or None, "retained_b": s.retained_b, "safe_b": s.safe_b,
    }  # fmt: skip


def _loss(loss: Loss, now: datetime) -> dict[str, Any]:
    known = loss.octets if isinstance(loss.octets, Known) else None
    return {
        "bytes": known.value if known is not None else None, "primary": loss.primary or None, "best_replica": loss.best or None,
        "primary_gone": loss.gone, "source": known.source if known is not None else None,
        "age_s": _seconds(now, loss.as_of) if loss.as_of else None, "why": loss.octets.reason if isinstance(loss.octets, Unknown) else None,
    }  # fmt: skip
