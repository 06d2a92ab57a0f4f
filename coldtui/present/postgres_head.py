"""The head of the Postgres screen: verdict, phase, primary, what becomes of its loss, the VIP, the services. Each line says one thing."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..domain import postgres as domain
from ..domain.failover import PENDING
from ..domain.postgres import PgCluster
from ..domain.readings import Known
from ..domain.replication import lsn_text
from ..domain.topology import FRESH, Loss, Topology
from ..domain.verdicts import Grade, unsure
from ..domain.vips import database_vips
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, old, width, wrap_line
from .postgres_failover import HEAD, failover_lines, gone_cell
from .postgres_topology import of, tone_of
from .rows import Cell, Tone
from .verdicts import verdict_cell

MOST = 2
"""Lines that one of the head may become; why nobody takes over may be one longer."""


def head(world: World, now: datetime, cells: int = 78, *, brief: bool = False) -> tuple[Line, ...]:
    """Verdict and phase; who is to be primary, and who holds the Lease; what becomes of a loss, and what it would cost; the VIP and services.

    `brief`: the verdict, the primary, and what becomes of it where that is not as it should be.
    """
    t = of(world, now)
    c = t.cluster
    if c is None:
        return ()
    judged = domain.verdict(world, c, now)
    why = Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED if judged.grade is Grade.GOOD else Tone.WARN)
    told = failover_lines(world, t, now)
    lines: tuple[Line, ...] = (
        (Cell(f"{c.name}  ", Tone.STRONG), verdict_cell(judged), why, *_flags(t, c, f"{judged.word} {judged.why}", now)),
        _phase_line(world, c, now),
        _primary_line(world, t, c, now),
        *told,
        (label("Loss now", HEAD), loss_cell(t.loss, now)),
        _vip_line(world, t, c, now, cells),
        _services_line(world, c),
    )
    if brief:
        lines = (lines[0], lines[2], *(told if len(told) > 1 or gone_cell(world, t, now) is not None else ()))
    return tuple(part for line in lines for part in wrap_line(line, cells, MOST + (line in told)))


def _flags(t: Topology, c: PgCluster, told: str, now: datetime) -> tuple[Cell, ...]:
    """What makes an operator do something else than usual, where the verdict does not say it already."""
    found = []
    if c.fenced and "fenced" not in told:
        found.append(f"fenced: {'all' if c.all_fenced else ', '.join(c.fenced)}")
    if c.reconciliation_disabled and "ignore" not in told:
        found.append("the operator ignores it")
    if c.maintenance:
        found.append("node maintenance window")
    waiting = [m.name for m in t.members if isinstance(m.pending_restart, Known) and m.pending_restart.value]
    if waiting:
        found.append(f"restart pending: {', '.join(waiting)}")
    near = min(c.certificates.items(), key=lambda x: x[1], default=None)
    if near is not None and near[1] - now < domain.CERTIFICATE_WARNING:
        left = near[1] - now
        found.append(f"certificate {near[0]} " + ("has expired" if left <= timedelta(0) else f"ends in {words.duration(left)}"))
    return tuple(Cell(f"  ▲ {text}", Tone.WARN) for text in found)


def _phase_line(world: World, c: PgCluster, now: datetime) -> Line:
    """The operator's own word. It writes no time of its change: the time is that of the change that was seen here, else a least one."""
    return (
        label("Phase", HEAD),
        Cell(c.phase or UNKNOWN, Tone.STALE if old(world, "pg_clusters") else Tone.PLAIN),
        Cell(phase_time(world, c, now), Tone.MUTED),
        Cell(_told_at(world, now), Tone.STALE),
        Cell(f"  {c.phase_reason}" if c.phase_reason else "", Tone.WARN),
    )


def _told_at(world: World, now: datetime) -> str:
    """How old the operator's word is, where it is."""
    state = world.sources["pg_clusters"]
    return f"  as of {words.age(now - state.as_of)} ago" if old(world, "pg_clusters") and state.as_of is not None else ""


def phase_time(world: World, c: PgCluster, now: datetime) -> str:
    """`  for 3m`, `  for at least 3m`; empty where nothing is known yet."""
    seen = world.pg_watched
    exact = seen.phase == c.phase and seen.phase_seen
    if not exact and domain.changing(c) and c.phase in (domain.SWITCHING_OVER, domain.FAILING_OVER) and c.target_primary_since is not None:
        return f"  for {words.age(max(timedelta(0), now - c.target_primary_since))}"  # both are written at once
    if seen.phase != c.phase or seen.phase_since is None:
        return ""
    lasts = max(timedelta(0), now - seen.phase_since)
    if seen.phase_seen:
        return f"  for {words.age(lasts)}"
    return f"  for at least {words.age(lasts)}" if lasts >= timedelta(seconds=10) else ""


def _vip_line(world: World, t: Topology, c: PgCluster, now: datetime, cells: int) -> Line:
    """Where it leads, which node answers for it as MetalLB tells, and the address where there is room."""
    line = [label("VIP", HEAD), vip_cell(t, now)]
    for v in database_vips(world, c)[:1]:
        sound = v.verdict.grade is Grade.GOOD and v.announcers
        judged = verdict_cell(v.verdict)
        unknown = v.verdict.grade is Grade.UNKNOWN
        by = f"  by {v.announcers[0] if sound else '?'}"
        line.append(Cell(by, Tone.STALE if unknown else Tone.MUTED) if sound or unknown else Cell(f"  {judged.text}", judged.tone))
        if sum(width(cell.text) for cell in line) + len(v.address) + 2 <= cells:
            line.append(Cell(f"  {v.address or 'no address'}", Tone.MUTED))
    return tuple(line)


def _services_line(world: World, c: PgCluster) -> Line:
    """Whom the operator's services lead to, by their endpoints."""
    if doubt := unsure(world, "endpointslices"):
        return (label("Services", HEAD), Cell(f"not known: {doubt.partition(':')[0]}", Tone.STALE))
    cells = [label("Services", HEAD)]
    for name in dict.fromkeys(x for x in (c.write_service or f"{c.name}-rw", f"{c.name}-ro") if x):
        led = service_targets(world, c.namespace, name)
        blank = "  " if len(cells) > 1 else ""
        write = name == (c.write_service or f"{c.name}-rw")
        wrong = write and not c.hibernated and not domain.changing(c) and led is not None and led != (c.current_primary,)
        to = "?" if led is None else ", ".join(led) or "nobody"
        cells += [Cell(f"{blank}{'-' + name.rpartition('-')[2]} to", Tone.MUTED), Cell(f" {to}", Tone.BAD if wrong else Tone.PLAIN)]
    return tuple(cells)


def service_targets(world: World, namespace: str, service: str) -> tuple[str, ...] | None:
    """Pods behind a service that are ready; None: there is no such service."""
    if f"{namespace}/{service}" not in world.services.items and not any(
        x.service == service and x.namespace == namespace for x in world.endpointslices.items.values()
    ):
        return None
    slices = (x for x in world.endpointslices.items.values() if x.service == service and x.namespace == namespace)
    return tuple(sorted({e.pod.rpartition("/")[2] or ", ".join(e.addresses) for x in slices for e in x.endpoints if e.ready}))


def _lease_cells(world: World, t: Topology, now: datetime) -> list[Cell]:
    """`  lease postgres-1, renewed 3s ago`: whose it is by its own clock."""
    found = world.pg_lease.value if isinstance(world.pg_lease, Known) else None
    if found is None or not isinstance(world.pg_lease, Known):
        return []
    if not found.holder:
        return [Cell("  lease free", Tone.WARN)]
    over = found.renewed is not None and now - found.renewed > timedelta(seconds=found.duration_s or 15)
    age = f" renewed {words.duration(max(timedelta(0), now - found.renewed))} ago" if found.renewed is not None and over else ""
    tone = Tone.WARN if found.holder != t.primary or over else Tone.MUTED
    return [Cell(f"  lease {found.holder}{age}", tone_of(world.pg_lease, now, tone))]


def _primary_line(world: World, t: Topology, c: PgCluster, now: datetime) -> Line:
    line = [label("Primary", HEAD), Cell(t.primary or "nobody", Tone.STRONG if t.primary else Tone.BAD)]
    gone = gone_cell(world, t, now)
    if gone is not None and t.primary in ("", c.current_primary):
        line = [line[0], Cell(c.current_primary or "nobody", Tone.BAD), gone]
    if c.current_primary and c.current_primary != t.primary:
        line.append(Cell(f"  Cluster names {c.current_primary}", Tone.BAD))
    if c.target_primary and c.target_primary not in (c.current_primary, PENDING):
        line.append(Cell(f"  to be {c.target_primary}", Tone.WARN))
    line += _lease_cells(world, t, now)
    lead = next((m for m in t.members if m.name == t.primary), None)
    if lead is not None and isinstance(lead.position, Known) and gone is None:
        line.append(Cell(f"  at {lsn_text(lead.position.value)}", Tone.MUTED))
    return tuple(line)


def loss_cell(loss: Loss, now: datetime) -> Cell:
    """`0 B if postgres-1 died now (postgres-2 has all)`; of a primary that is gone its last known position, with its age."""
    if not isinstance(loss.octets, Known):
        return Cell(f"not known: {loss.octets.reason}", Tone.STALE)
    size = words.size(loss.octets.value)
    if loss.gone:
        last = words.duration(now - loss.octets.as_of)
        return Cell(f"{size} or more: {loss.primary} last seen {last} ago, {loss.best} has most", Tone.BAD)
    best = f"{loss.best} has all it wrote" if loss.octets.value == 0 else f"{loss.best} has most"
    aged = loss.as_of is not None and now - loss.as_of > FRESH
    since = f", {words.duration(now - loss.as_of)} ago" if loss.as_of is not None else ""
    return Cell(f"{size} if {loss.primary} died ({best}{since})", Tone.STALE if aged else Tone.PLAIN)


def vip_cell(t: Topology, now: datetime) -> Cell:
    """Where a connection through the VIP ends. One that fails where no server lets us in says nothing of the VIP."""
    vip, primary = t.vip, t.primary
    if vip is None:
        return Cell("no address is tried", Tone.MUTED)
    if not isinstance(vip.reading, Known):
        if not any(isinstance(m.sql, Known) for m in t.members):
            return Cell(f"not known: {vip.reading.reason}", Tone.STALE)
        return Cell(f"▲ not reached: {vip.reading.reason}", Tone.BAD)
    status = vip.reading.value
    role, name = ("standby" if status.in_recovery else "primary"), vip.server or status.listens
    wrong = status.in_recovery or (vip.server and primary and vip.server != primary)
    age = words.age(now - vip.reading.as_of)
    return Cell(f"{'▲' if wrong else '●'} leads to {role} {name}, {age} ago", tone_of(vip.reading, now, Tone.BAD if wrong else Tone.GOOD))
