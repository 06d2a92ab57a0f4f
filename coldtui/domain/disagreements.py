"""Where the three sources contradict one another: red, and both sides are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from .failover_signs import STEADY, lost_for, prospect_of, settling
from .losses import FRESH, SETTLING, fresh
from .postgres import MAJOR_UPGRADE, PgCluster, changing, electing
from .problems import Problem, Severity
from .readings import Freshness, Known, Unknown
from .replication import Claim
from .text import size
from .verdicts import Grade, Verdict

if TYPE_CHECKING:
    from .elections import Cause
    from .topology import Member, Topology
    from .world import World

FAR_BEHIND_B = 64 << 20
"""Four WAL segments."""
Judge = Callable[["World", "Topology", PgCluster, datetime], Iterator[Problem]]
SOURCES = {"sql": "SQL", "manager": "/pg/status", "cluster": "the Cluster", "pods": "its label"}


def problems_of(world: World, t: Topology, now: datetime) -> tuple[Problem, ...]:
    from . import pgstrain  # it reads the members that topology makes

    c = t.cluster
    if c is None or c.hibernated:
        return ()
    judges: tuple[Judge, ...] = (
        _two_primaries,
        _systems,
        _timelines,
        _labels,
        _named,
        _vip,
        _nobody,
        _silent,
        _failover,
        _streams,
        *pgstrain.JUDGES,
        _grants,
    )
    if c.phase == MAJOR_UPGRADE:  # all instances are stopped by design, and nothing of theirs fits together before it ends
        judges = (_two_primaries, _grants)
    return tuple(problem for judge in judges for problem in judge(world, t, c, now))


def worsened(base: Verdict, t: Topology) -> Verdict:
    """The verdict of the Cluster object, made worse by what the servers say; never better."""
    worst = next((p for p in t.problems if p.severity is Severity.CRITICAL), None)
    if worst is not None and base.grade is not Grade.BAD and base.grade is not Grade.OFF:
        head, _, what = worst.sentence.partition(": ")
        return Verdict(Grade.BAD, WORDS.get(worst.kind, "contradiction"), what or head)
    warned = next((p for p in t.problems if p.severity is Severity.WARNING), None)
    if warned is not None and base.grade is Grade.GOOD:
        why = warned.sentence.partition(": ")[2] or warned.sentence
        return Verdict(Grade.PART, "degraded", WOULD_NOT if warned.kind == "would-not" else why)
    unheard = [m.name for m in t.members if not m.answers]
    if base.grade is Grade.GOOD and unheard and len(unheard) < len(t.members):
        return Verdict(Grade.UNKNOWN, "unknown", f"{unheard[0]} answers neither SQL nor /pg/status")
    return base


WORDS = {
    "two-primaries": "two primaries",
    "systems": "mixed systems",
    "timeline": "diverged",
    "vip": "VIP astray",
    "nobody": "no primary",
    "silent": "primary silent",
    "failover": "no failover",
    "commits-wait": "commits wait",
    "archiver": "not archiving",
    "connections": "connections full",
    "wraparound": "wraparound near",
}
"""What a critical problem of these kinds makes of the verdict; of any other the sources contradict one another."""


def problem_of(
    c: PgCluster,
    code: str,
    sentence: str,
    hits: str,
    cause: str = "",
    severity: Severity = Severity.CRITICAL,
    since: datetime | None = None,
) -> Problem:
    return Problem(c.ref, severity, f"{c.name}: {sentence}", since, hits, cause, code)


def writes(c: PgCluster) -> str:
    return f"writes through {c.writes_at}"


def _settled(c: PgCluster, now: datetime) -> bool:
    """No role change is under way, nor was one a moment ago."""
    last = max((at for at in (c.current_primary_since, c.target_primary_since) if at is not None), default=None)
    return not changing(c) and (last is None or now - last > SETTLING)


def _two_primaries(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Each was seen as primary after the other had begun to be: no matter of moments."""
    names = {m.name for m in t.members}
    claims = [x for x in world.pg_claims.values() if not x.ended and x.name in names and now - x.seen <= FRESH]
    for i, a in enumerate(claims):
        for b in claims[i + 1 :]:
            if a.name != b.name and a.seen >= b.since and b.seen >= a.since:
                first, second = sorted((a, b), key=lambda x: x.name)
                cause = f"{_said(first)}, {_said(second)}"
                yield problem_of(
                    c,
                    "two-primaries",
                    f"{first.name} and {second.name} are both primary",
                    "writes go to both: data splits; fence one",
                    cause,
                    since=max(a.since, b.since),
                )
                return


def _said(claim: Claim) -> str:
    return f"{claim.name} says so by {SOURCES[claim.source]}"


def _systems(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    told = {m.name: m.system_id.value for m in t.members if isinstance(m.system_id, Known) and fresh(m.system_id, now)}
    ids = {**told, **({"the Cluster": c.system_id} if c.system_id and told else {})}
    first = next(iter(ids.items()), ("", ""))
    for name, other in ids.items():
        if other != first[1]:
            yield problem_of(
                c,
                "systems",
                f"{first[0]} and {name} are of different systems",
                "one is no copy of the other",
                f"{first[0]} {first[1]}, {name} {other}",
            )
            return


def _timelines(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """A standby follows a new timeline within moments of a switchover; one that does not has diverged, or does not stream."""
    lead = t.lead
    if lead is None or not isinstance(lead.timeline, Known) or not fresh(lead.timeline, now):
        return
    for m in t.members:
        own = m.timeline
        if m is lead or not isinstance(own, Known) or own.source == "cluster" or not fresh(own, now) or own.value == lead.timeline.value:
            continue
        if own.value < lead.timeline.value and (not _settled(c, now) or not _sure(m, own)):
            continue
        if own.value > lead.timeline.value and changing(c) and m.name == c.target_primary:
            continue  # it has been promoted, and says so a moment before the Cluster does
        yield problem_of(
            c, f"timeline/{m.name}", f"{m.name} is on timeline {own.value}, primary {lead.name} on {lead.timeline.value}", f"{m.name} does not follow; it may have diverged",
            f"{SOURCES[own.source]} of both; re-clone it if it cannot rejoin",
        )  # fmt: skip


def _sure(m: Member, own: Known[int]) -> bool:
    """A control file of a standby, by which its manager tells, is on the old timeline until a restartpoint, while the standby streams on the new one."""
    return own.source == "sql" and isinstance(m.sql, Known) and m.sql.value.timeline_sure


def _labels(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Services lead where the label says, whatever the server is."""
    if not _settled(c, now) or world.sources["pods"].freshness is not Freshness.LIVE:
        return
    for m in t.members:
        label, role = m.label, _own_role(m, now)
        if c.replica_cluster and m.name == c.current_primary:
            continue  # the designated primary bears the label, and is a standby
        if isinstance(label, Known) and role is not None and label.value in ("primary", "replica") and label.value != role.value:
            hits = f"writes through {c.writes_at} " + ("fail there" if label.value == "primary" else "do not reach it")
            yield problem_of(
                c,
                f"label/{m.name}",
                f"{m.name} is labelled {label.value}, but is {role.value} by {SOURCES[role.source]}",
                hits,
                "the operator writes the label: does it run?",
            )


def _own_role(m: Member, now: datetime) -> Known[str] | None:
    return next((r for r in (m.by_sql, m.by_manager) if isinstance(r, Known) and fresh(r, now)), None)


def _named(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    if not _settled(c, now) or not c.current_primary or c.replica_cluster:
        return
    m = next((x for x in t.members if x.name == c.current_primary), None)
    role = _own_role(m, now) if m is not None else None
    if m is None or role is None or role.value != "replica":
        return
    other = f", {t.primary} is primary by its own word" if t.primary and t.primary != m.name else ""
    yield problem_of(
        c, "named", f"the Cluster names {m.name} primary, but it is a standby by {SOURCES[role.source]}{other}", writes(c),
        "the Cluster's word may be old: does the operator run?",
    )  # fmt: skip


def _vip(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    if t.vip is None or changing(c):
        return
    reading, server = t.vip.reading, t.vip.server
    lead = t.lead
    if not isinstance(reading, Known):
        if lead is not None and isinstance(lead.sql, Known) and fresh(lead.sql, now):
            what = f"the VIP cannot be used: {reading.reason}"
            yield problem_of(c, "vip-fails", what, "clients of the VIP", f"{t.primary} itself answers", Severity.WARNING)
        return
    if not fresh(reading, now) or t.vip.outrun:
        return
    if reading.value.in_recovery and not c.replica_cluster:
        primary = f", the primary is {t.primary}" if t.primary else ""
        yield problem_of(
            c,
            "vip",
            f"the VIP leads to standby {server or reading.value.listens}{primary}",
            "writes through the VIP fail",
            "label or endpoints are behind",
        )
    elif server and t.primary and server != t.primary:
        role, hits = ("designated primary", "clients of the VIP") if c.replica_cluster else ("primary", "writes go to the wrong server")
        yield problem_of(c, "vip", f"the VIP leads to {server}, the {role} is {t.primary}", hits, "label or endpoints are behind")


def _nobody(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Everyone answers, and nobody is primary."""
    if c.replica_cluster or changing(c) or not t.members:
        return
    roles = [_own_role(m, now) for m in t.members]
    if all(role is not None and role.value == "replica" for role in roles):
        yield problem_of(c, "nobody", "nobody is primary: all instances are standbys", writes(c), "asked of each")


def _silent(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """The primary answers nobody, while the others do: by the same way, so the way is not at fault."""
    m = next((x for x in t.members if x.name == t.primary), None)
    if m is None or changing(c) or electing(c, m.instance) or c.is_fenced(m.name) or c.replica_cluster:
        return
    others = [x for x in t.members if x is not m]
    by_sql = not isinstance(m.sql, Known) and any(fresh(x.sql, now) for x in others)
    by_manager = not isinstance(m.manager, Known) and any(fresh(x.manager, now) for x in others)
    if by_sql and not isinstance(m.manager, Known):
        reason = getattr(m.sql, "reason", "")
        yield problem_of(c, "silent", f"primary {m.name} does not answer, its standbys do", writes(c), reason)
    elif by_sql and isinstance(m.sql, Unknown) and m.sql.kind != "unauthorized":
        what = f"primary {m.name} does not answer SQL, its standbys do"
        yield problem_of(c, "silent-sql", what, "clients, if they fare alike", m.sql.reason, Severity.WARNING)
    elif by_manager and not isinstance(m.sql, Known):
        what = f"primary {m.name} does not answer /pg/status, its standbys do"
        yield problem_of(c, "silent", what, "writes, if it is down", getattr(m.manager, "reason", ""))


WOULD_NOT = "would not fail over now"
ALREADY_TOLD = frozenset({"operator", "fenced", "disabled", "phase", "two-primaries", "hibernated"})
"""Causes that are problems of their own."""


def _failover(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """Why nobody takes over from a primary that is lost, or nobody would from one that is well."""
    found = prospect_of(world, t, now)
    if found is None or settling(c):
        return
    hits = writes(c)
    causes = [x for x in found.causes if x.code not in ALREADY_TOLD and x.until is None]
    gone = lost_for(world, t, found, now)
    since = now - gone if gone is not None else None
    if not found.lost:
        for cause in causes:
            severity = Severity.NOTICE if c.instances == 1 else Severity.WARNING
            code = f"would-not/{cause.code}"
            yield problem_of(c, code, f"{WOULD_NOT}: {cause.sentence}", "if the primary is lost", cause.remedy, severity)
    elif gone is not None and gone < STEADY:
        return
    elif causes:
        others = "; ".join(x.sentence for x in found.causes if x is not causes[0])
        why = "; ".join(x for x in (causes[0].remedy, others) if x)
        yield problem_of(c, "failover", f"will not fail over: {_lasting(causes[0], c)}", hits, why, since=since)
    elif not found.causes and found.overdue(now) and found.expected_s is not None:
        least, most = found.expected_s
        what = f"no new primary yet, though a failover takes {least} to {most} s"
        yield problem_of(c, "failover", what, hits, f"not read: {', '.join(found.blind)}" if found.blind else found.lost, since=since)


def _lasting(cause: Cause, c: PgCluster) -> str:
    """A problem keeps its sentence as long as it lasts: it is known by that."""
    return f"the election goes back to {c.current_primary} again and again" if cause.code == "stalled" else cause.sentence


def _streams(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    """No contradiction, but what no object of the API tells: a standby that falls behind, or does not replay."""
    lead = t.lead
    if lead is None or not _settled(c, now) or not isinstance(lead.position, Known) or not fresh(lead.position, now):
        return
    for m in t.members:
        if m is lead or m.role != "replica" or not m.answers:
            continue
        octets = m.behind.value if isinstance(m.behind, Known) and fresh(m.behind, now) else 0
        also = f", {size(octets)} behind" if octets else ""
        if isinstance(m.receiving, Known) and fresh(m.receiving, now) and not m.receiving.value:
            what, hits = f"{m.name} receives no WAL{also}", "what is written now is lost with the primary"
            yield problem_of(c, f"no-stream/{m.name}", what, hits, "no WAL receiver streams", Severity.WARNING)
        elif isinstance(m.paused, Known) and m.paused.value:
            what, hits = f"{m.name} has its replay paused{also}", "reads there are old; a promotion has to replay first"
            yield problem_of(c, f"paused/{m.name}", what, hits, "", Severity.WARNING)
        elif octets >= FAR_BEHIND_B:
            what, hits = f"{m.name} replays {size(octets)} behind", "reads there are old; a promotion takes longer"
            yield problem_of(c, f"behind/{m.name}", what, hits, "", Severity.WARNING)


def _grants(world: World, t: Topology, c: PgCluster, now: datetime) -> Iterator[Problem]:
    refused = [m.sql for m in t.members if isinstance(m.sql, Unknown) and m.sql.kind == "unauthorized"]
    if refused and not any(isinstance(m.sql, Known) for m in t.members):
        yield problem_of(
            c, "sql-refused", "SQL lets coldtui in nowhere", "not shown: sessions, locks, databases", refused[0].reason, Severity.NOTICE
        )
    missing = sorted({grant for m in t.members if isinstance(m.sql, Known) for grant in m.sql.value.missing})
    for grant in missing:
        name, _, shows = grant.partition(": ")
        yield problem_of(
            c, f"grant/{name}", f"SQL lacks {name}", f"not shown: {shows}", f"GRANT {name} TO the user of postgres.user", Severity.NOTICE
        )
