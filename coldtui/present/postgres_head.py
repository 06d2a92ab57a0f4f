"""The head of the Postgres screen: verdict, phase, primary, what becomes of its loss, the VIP, the services. Each line says one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from coldtui.domain.values import dataclass

from ..domain import pgverdicts
from ..domain import postgres as domain
from ..domain.failover import PENDING
from ..domain.pgstrain import WAITING, late, waits
from ..domain.postgres import PgCluster
from ..domain.readings import Freshness, Known
from ..domain.replication import lsn_text, segment
from ..domain.topology import FRESH, NOT_ASKED, Loss, Member, Topology
from ..domain.verdicts import Grade, Verdict, unsure
from ..domain.vips import database_vips
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Line, label, old, width, wrap_line
from .postgres import archiver_now, archiving, missing_cluster
from .postgres_activity import flagged, sessions_of, transaction_age
from .postgres_failover import HEAD, Keys, failover_lines, gone_cell
from .postgres_topology import of, tone_of
from .rows import Cell, Tone
from .verdicts import verdict_cell

MOST = 2
"""Lines that one of the head may become; why nobody takes over may be one longer."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A line of the head, before it is broken."""

    id: str
    line: Line
    most: int = MOST
    sound: bool = False
    """All is as it should be, or nothing is known: it may go first where room is short."""


_SHORTENED = ("verdict", "primary", "told")
"""They never go; where room is short they are cut."""


def head(
    world: World, now: datetime, cells: int = 78, *, brief: bool = False, rows: int = 0, calm: int = 0, keys: Keys | None = None
) -> tuple[Line, ...]:
    """Verdict and phase; who is to be primary, and who holds the Lease; what becomes of a loss, and what it would cost; the VIP and services.

    `brief`: the verdict, the primary, and what becomes of it where that is not as it should be. `rows` > 0: in so many lines, as far as what
    an incident asks first allows; `calm` > 0: services that are as they should be go already beyond so many. `keys`: those of a console.
    """
    t = of(world, now)
    c = t.cluster
    if c is None:
        missing = missing_cluster(world)
        return wrap_line((Cell("▲ ", Tone.BAD), Cell(missing, Tone.BAD)), cells) if missing else ()
    judged = pgverdicts.verdict(world, c, now)
    why = Cell(f"  {judged.why}" if judged.why else "", Tone.MUTED if judged.grade is Grade.GOOD else Tone.WARN)
    told = failover_lines(world, t, now, keys)
    first = (Cell(f"{c.name}  ", Tone.STRONG), verdict_cell(judged), why, *_flags(t, c, f"{judged.word} {judged.why}", now))
    gone = gone_cell(world, t, now)
    parts = [_Part("verdict", first), _Part("primary", _primary_line(world, t, c, now))]
    if brief:
        parts += [_Part("told", line, MOST + 1) for line in told] if len(told) > 1 or gone is not None else []
    else:
        parts.insert(1, _Part("phase", _phase_line(world, c, judged, now)))
        parts += [_Part("told", line, MOST + 1) for line in told]
        loss = loss_cell(t.loss, now) if t.primary or c.current_primary else Cell("nothing: it has no primary", Tone.MUTED)
        parts.append(_Part("loss", (label("Loss now", HEAD), loss)))
        parts += [_vip_part(world, t, c, now, cells), _services_part(world, c), *_archive_part(world, t, c, now)]
    return _fitted(parts, cells, rows, calm or rows)


def _fitted(parts: list[_Part], cells: int, rows: int, calm: int) -> tuple[Line, ...]:
    """What is well goes first, then what is said elsewhere too, then what is least of use."""

    def broken() -> tuple[Line, ...]:
        return tuple(piece for part in parts for piece in wrap_line(part.line, cells, part.most))

    made = broken()
    for id, most in (("services", calm), ("archive", rows), ("vip", rows)):
        if most and len(made) > most:
            parts = [part for part in parts if part.id != id or not part.sound]
            made = broken()
    for id in ("services", "verdict", "phase", "primary", "archive", "vip", "told"):
        if not rows or len(made) <= rows:
            break
        if id in _SHORTENED:
            parts = [replace(part, most=max(1, part.most - 1)) if part.id == id else part for part in parts]
        else:
            parts = [part for part in parts if part.id != id]
        made = broken()
    return made


def _flags(t: Topology, c: PgCluster, told: str, now: datetime) -> tuple[Cell, ...]:
    """What makes an operator do something else than usual, where the verdict does not say it already."""
    found = []
    if c.fenced and "fenced" not in told:
        found.append(f"fenced: {'all' if c.all_fenced else ', '.join(c.fenced)}")
    if c.reconciliation_disabled and "ignore" not in told:
        found.append("the operator ignores it")
    if c.maintenance:
        found.append("node maintenance window")
    unheard = [m.sql for m in t.members if not isinstance(m.sql, Known) and m.sql.reason != NOT_ASKED]
    if unheard and len(unheard) == len(t.members) and any(isinstance(m.manager, Known) for m in t.members):
        refused = any(getattr(reading, "kind", "") == "unauthorized" for reading in unheard)
        found.append("SQL does not let coldtui in" if refused else "no server answers SQL")
    waiting = [m.name for m in t.members if isinstance(m.pending_restart, Known) and m.pending_restart.value]
    if waiting:
        found.append(f"restart pending: {', '.join(waiting)}")
    near = min(c.certificates.items(), key=lambda x: x[1], default=None)
    if near is not None and near[1] - now < domain.CERTIFICATE_WARNING:
        left = near[1] - now
        found.append(f"certificate {near[0]} " + ("has expired" if left <= timedelta(0) else f"ends in {words.duration(left)}"))
    return tuple(Cell(f"  ▲ {text}", Tone.WARN) for text in found)


def _phase_line(world: World, c: PgCluster, judged: Verdict, now: datetime) -> Line:
    """The operator's own word. It writes no time of its change: the time is that of the change that was seen here, else a least one.

    A word that contradicts the verdict is not shown as if it were true.
    """
    belied = c.phase == domain.HEALTHY and judged.grade in (Grade.BAD, Grade.PART)
    tone = Tone.STALE if old(world, "pg_clusters") else Tone.MUTED if belied else Tone.PLAIN
    return (
        label("Phase", HEAD),
        Cell(c.phase or UNKNOWN, tone),
        Cell(phase_time(world, c, now), Tone.MUTED),
        Cell(_told_at(world, now) or _frozen(world), Tone.STALE),
        Cell(f"  {c.phase_reason}" if c.phase_reason else "", Tone.WARN),
    )


def _frozen(world: World) -> str:
    """Nobody writes a phase while the operator is down."""
    manager = domain.operator(world)
    down = world.sources["deployments"].freshness is Freshness.LIVE and manager is not None and manager.available < 1
    return "  frozen: the operator is down" if down else ""


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


def _vip_part(world: World, t: Topology, c: PgCluster, now: datetime, cells: int) -> _Part:
    """Where it leads, which node answers for it as MetalLB tells, and the address where there is room."""
    reach = vip_cell(t, now)
    line = [label("VIP", HEAD), reach]
    for v in database_vips(world, c, writes=True)[:1]:
        sound = v.verdict.grade is Grade.GOOD and v.announcers
        judged = verdict_cell(v.verdict)
        unknown = v.verdict.grade is Grade.UNKNOWN
        by = f"  by {v.announcers[0]}" if sound else "  its node is not known"
        line.append(Cell(by, Tone.STALE if unknown else Tone.MUTED) if sound or unknown else Cell(f"  {judged.text}", judged.tone))
        if sum(width(cell.text) for cell in line) + len(v.address) + 2 <= cells:
            line.append(Cell(f"  {v.address or 'no address'}", Tone.MUTED))
    return _Part("vip", tuple(line), sound=reach.tone in (Tone.GOOD, Tone.MUTED))


def _services_part(world: World, c: PgCluster) -> _Part:
    """Whom the operator's services lead to, by their endpoints."""
    if doubt := unsure(world, "endpointslices"):
        return _Part("services", (label("Services", HEAD), Cell(f"not known: {doubt.partition(':')[0]}", Tone.STALE)), sound=True)
    cells, sound = [label("Services", HEAD)], True
    for name in dict.fromkeys(x for x in (c.writes_at, f"{c.name}-ro") if x):
        led = service_targets(world, c.namespace, name)
        blank = "  " if len(cells) > 1 else ""
        write = name == c.writes_at
        wrong = (
            write and c.current_primary and not c.hibernated and not domain.changing(c) and led is not None and led != (c.current_primary,)
        )
        to = "?" if led is None else ", ".join(led) or "nobody"
        mark = "▲ " if wrong else ""
        cells += [Cell(f"{blank}{'-' + name.rpartition('-')[2]} to", Tone.MUTED), Cell(f" {mark}{to}", Tone.BAD if wrong else Tone.PLAIN)]
        sound = not wrong and sound
    return _Part("services", tuple(cells), sound=sound)


def _archive_part(world: World, t: Topology, c: PgCluster, now: datetime) -> tuple[_Part, ...]:
    """The newest segment that is safe, what is wrong, and how much waits: by the primary itself, else by its Cluster."""
    judged, a = archiving(c, world), archiver_now(t, now)
    lead = label("Archive", HEAD)
    if c.hibernated or (a is None and (unsure(world, "pg_clusters") or not c.current_primary)):
        return ()
    if judged.grade is Grade.OFF:  # what such a server counts as archived is thrown away
        return (_Part("archive", (lead, Cell("none configured", Tone.MUTED)), sound=True),)
    if a is None:
        why = f"  {judged.why}" if judged.why and judged.grade is not Grade.GOOD else ""
        return (_Part("archive", (lead, verdict_cell(judged), Cell(why, Tone.WARN)), sound=judged.grade is Grade.GOOD),)
    last = f"{words.age(now - a.last_at)} ago" if a.last_at is not None else "never"
    left = f", {waits(a)}" if a.waiting else ""
    if a.failing:
        tone = Tone.BAD if late(world, t.primary, a, now) or domain.archive_late(c, now) else Tone.WARN
        said = (Cell(f"▲ fails on {segment(a.failed_wal)}", tone), Cell(f", last archived {last}{left}", Tone.WARN))
        return (_Part("archive", (lead, *said)),)
    full = a.waiting is not None and a.waiting >= WAITING
    glyph = Cell("▲ " if full else "● ", Tone.WARN if full else Tone.GOOD)
    newest = f"{segment(a.last_wal)}  {last}" if a.last_at is not None else "nothing yet"
    return (_Part("archive", (lead, glyph, Cell(newest), Cell(left, Tone.WARN if full else Tone.MUTED)), sound=not full),)


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
    if len(both := leaders(t, now)) > 1:
        return _two_lines(world, t, c, both)
    if not t.primary and not c.current_primary:
        coming = Cell(f"  to be {c.target_primary}" if c.target_primary not in ("", PENDING) else "", Tone.WARN)
        return (label("Primary", HEAD), Cell("none yet", Tone.MUTED), coming)
    line = [label("Primary", HEAD), Cell(t.primary or "▲ nobody", Tone.STRONG if t.primary else Tone.BAD)]
    if c.replica_cluster:
        line.append(Cell("  designated: it follows another cluster", Tone.MUTED))
    gone = gone_cell(world, t, now)
    if gone is not None and t.primary in ("", c.current_primary):
        line = [line[0], Cell(c.current_primary or "▲ nobody", Tone.BAD), gone]
    if c.current_primary and c.current_primary != t.primary:
        line.append(Cell(f"  ▲ Cluster names {c.current_primary}", Tone.BAD))
    if c.target_primary and c.target_primary not in (c.current_primary, PENDING):
        line.append(Cell(f"  to be {c.target_primary}", Tone.WARN))
    at, lease = _position(world, t, c, now, lost=gone is not None), _lease_cells(world, t, now)
    return (*line, *at, *lease) if gone is not None else (*line, *lease, *at)


def _position(world: World, t: Topology, c: PgCluster, now: datetime, *, lost: bool) -> Line:
    """`at 0/6400000`; of one that is gone its last word, which a failover by hand is given."""
    lead = t.lead
    if lead is not None and isinstance(lead.position, Known) and not (lost and now - lead.position.as_of > FRESH):
        old_ = now - lead.position.as_of > FRESH
        ago = f", {words.duration(now - lead.position.as_of)} ago" if old_ else ""
        return (Cell(f"  {'last ' if old_ else ''}at {lsn_text(lead.position.value)}{ago}", Tone.STALE if old_ else Tone.MUTED),)
    said = [x for x in world.pg_claims.values() if x.name == c.current_primary and x.lsn is not None]
    last = max(said, key=lambda x: x.seen, default=None)
    if not lost or last is None:
        return ()
    return (Cell(f"  last at {lsn_text(last.lsn or 0)}, {words.duration(now - last.seen)} ago", Tone.STALE),)


def leaders(t: Topology, now: datetime) -> tuple[Member, ...]:
    """Those that say now, by SQL or by their manager, that they are primary."""
    return tuple(
        m
        for m in t.members
        if any(isinstance(r, Known) and r.value == "primary" and now - r.as_of <= FRESH for r in (m.by_sql, m.by_manager))
        and not (isinstance(m.by_sql, Known) and m.by_sql.value == "replica" and now - m.by_sql.as_of <= FRESH)
    )


def _two_lines(world: World, t: Topology, c: PgCluster, both: tuple[Member, ...]) -> Line:
    """`▲ postgres-1 (Cluster, lease, VIP, -rw) and postgres-2 (newest, timeline 8)`: by what each is taken for the primary."""
    led = service_targets(world, c.namespace, c.writes_at) or ()
    holder = world.pg_lease.value.holder if isinstance(world.pg_lease, Known) and world.pg_lease.value is not None else ""
    lines = {m.timeline.value for m in both if isinstance(m.timeline, Known)}
    cells = [label("Primary", HEAD)]
    for m in sorted(both, key=lambda m: m.name != c.current_primary):
        by = [
            word
            for word, holds in (
                ("Cluster", m.name == c.current_primary),
                ("lease", m.name == holder),
                ("VIP", t.vip is not None and m.name == t.vip.server),
                ("-rw", m.name in led),
                ("newest", m.name == t.primary != c.current_primary),
            )
            if holds
        ]
        if len(lines) > 1 and isinstance(m.timeline, Known):
            by.append(f"timeline {m.timeline.value}")
        cells.append(Cell(f"{'▲ ' if len(cells) == 1 else ' and '}{m.name}", Tone.BAD))
        cells.append(Cell(f" ({', '.join(by)})" if by else "", Tone.WARN))
    return tuple(cells)


def marks(world: World, now: datetime) -> Mapping[str, str]:
    """What is to be looked at in a part that is not shown: `locks` -> `▲ 2 blocked`, `sessions` -> `▲ tx 6m40s`."""
    found = sessions_of(world).values()
    blocked = sum(bool(s.blocked_by) for s in found)
    ages = [age for s in found if flagged(s, now) and (age := transaction_age(s, now)) is not None]
    made = {"locks": f"▲ {blocked:,} blocked"} if blocked else {}
    return {**made, **({"sessions": f"▲ tx {words.age(max(ages))}"} if ages else {})}


def loss_cell(loss: Loss, now: datetime) -> Cell:
    """`0 B if postgres-1 died now (postgres-2 has all)`; of a primary that is gone its last known position, with its age."""
    if loss.alone:
        return Cell("all: there is no replica")
    if not isinstance(loss.octets, Known):
        return Cell(f"not known: {loss.octets.reason}", Tone.STALE)
    size = words.size(loss.octets.value)
    if loss.gone:
        last = words.duration(now - loss.octets.as_of)
        return Cell(f"{size} or more: {loss.primary} last seen {last} ago, {loss.best} has most", Tone.BAD)
    best = f"{loss.best} has all" if loss.octets.value == 0 else f"{loss.best} has most"
    aged = loss.as_of is not None and now - loss.as_of > FRESH
    since = f", {words.duration(now - loss.as_of)} ago" if loss.as_of is not None else ""
    return Cell(f"{size} if {loss.primary} died ({best}{since})", Tone.STALE if aged else Tone.PLAIN)


def vip_cell(t: Topology, now: datetime) -> Cell:
    """Where a connection through the VIP ends. One that fails where no server lets us in says nothing of the VIP."""
    vip, primary = t.vip, t.primary
    if vip is None:
        off = t.cluster is not None and t.cluster.hibernated
        return Cell("not tried: it is hibernated" if off else "not tried", Tone.MUTED)
    if not isinstance(vip.reading, Known):
        if not any(isinstance(m.sql, Known) for m in t.members):
            return Cell(f"not known: {vip.reading.reason.partition(' · ')[0]}", Tone.STALE)
        return Cell(f"▲ not reached: {vip.reading.reason}", Tone.BAD)
    status = vip.reading.value
    role, name = ("standby" if status.in_recovery else "primary"), vip.server or status.listens
    age = words.age(now - vip.reading.as_of)
    if not status.in_recovery and len(both := leaders(t, now)) > 1:
        return Cell(f"▲ leads to {name}, one of {len(both)} primaries, {age} ago", tone_of(vip.reading, now, Tone.WARN))
    follows = t.cluster is not None and t.cluster.replica_cluster  # all its servers are standbys of another cluster's
    if vip.outrun and (vip.server != primary or status.in_recovery):
        return Cell(f"led to {name}, {age} ago, before {primary} led", Tone.STALE)
    wrong = (status.in_recovery and not follows) or (vip.server and primary and vip.server != primary)
    return Cell(f"{'▲' if wrong else '●'} leads to {role} {name}, {age} ago", tone_of(vip.reading, now, Tone.BAD if wrong else Tone.GOOD))
