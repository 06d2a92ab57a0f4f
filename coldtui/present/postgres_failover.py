"""What becomes of a primary that is lost, in words: electing, waiting, or why nobody takes over, each cause with its remedy."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..domain.failover import POD_S, Prospect, candidates
from ..domain.failover_signs import answers, lost_for, prospect_of, settling, signs_of
from ..domain.postgres import SWITCHING_OVER, PgCluster
from ..domain.readings import Known
from ..domain.text import counted
from ..domain.topology import Topology
from ..domain.world import World
from . import words
from .lines import Line, label
from .rows import Cell, Tone

HEAD = 10
"""Cells of the labels in the head of the screen."""
SLOW = timedelta(seconds=60)
"""A switchover that its operator has not begun by then is being ignored."""


def seconds(span: timedelta | None) -> str:
    """`12 s`, `4m20s`; `?` where nobody can tell."""
    if span is None:
        return "?"
    return f"{int(span.total_seconds())} s" if span < timedelta(seconds=120) else words.duration(span)


def failover_lines(world: World, t: Topology, now: datetime) -> tuple[Line, ...]:
    """For the head: one line while all is well or under way, two where there is something to do."""
    c = t.cluster
    if c is None:
        return ()
    if c.hibernated or c.replica_cluster:
        why = "none while it is hibernated" if c.hibernated else "none: it follows another cluster"
        return ((label("Failover", HEAD), Cell(why, Tone.MUTED)),)
    p = prospect_of(world, t, now)
    if p is None:
        return ((label("Failover", HEAD), Cell("not known: its Cluster was never read", Tone.STALE)),)
    if settling(c):
        return _switchover(c, p, now)
    return _lost(world, t, p, now) if p.lost else _well(world, c, p, now)


def _switchover(c: PgCluster, p: Prospect, now: datetime) -> tuple[Line, ...]:
    """The operator's phase tells whether it has begun."""
    asked = max(timedelta(0), now - c.target_primary_since) if c.target_primary_since is not None else None
    begun = c.phase == SWITCHING_OVER
    slow = not begun and asked is not None and asked >= SLOW
    said = f"to {c.target_primary}, asked {seconds(asked)} ago" + ("" if begun else ": the operator has not begun")
    first = (label("Switching", HEAD), Cell(f"▲ {said}" if slow else said, Tone.BAD if slow else Tone.WARN))
    why = next((cause for cause in p.causes if cause.code in ("operator", "disabled", "phase")), None)
    return (first, (label("", HEAD), Cell(why.sentence, Tone.BAD if slow else Tone.WARN))) if why is not None else (first,)


def _lost(world: World, t: Topology, p: Prospect, now: datetime) -> tuple[Line, ...]:
    gone, lead = lost_for(world, t, p, now), label("Failover", HEAD)
    final = [cause for cause in p.causes if cause.until is None]
    if final:
        more = f"  (1 of {len(p.causes)} causes, others below)" if len(p.causes) > 1 else ""
        return (
            (lead, Cell(f"▲ will not fail over: {final[0].sentence}", Tone.BAD)),
            (label("", HEAD), Cell(f"→ {final[0].remedy}{more}", Tone.WARN)),
        )
    span = f"{p.expected_s[0]} to {p.expected_s[1]} s" if p.expected_s is not None else "?"
    whom = "electing" if p.under_way == "electing" else f"{p.under_way} is to lead" if p.under_way else "to come by itself"
    late = p.expected_s is not None and gone is not None and gone > timedelta(seconds=p.expected_s[1])
    first = (lead, Cell(f"{'▲ overdue: ' if late else ''}{whom}, {seconds(gone)} of {span}", Tone.BAD if late else Tone.WARN))
    if p.causes:
        return (first, (label("", HEAD), Cell(p.causes[0].sentence, Tone.WARN)))
    if p.blind:
        return (first, _blind(p))
    if late:
        return (first, (label("", HEAD), Cell("→ no cause is known: see the operator's log, or promote by hand", Tone.WARN)))
    return (first,)


def _well(world: World, c: PgCluster, p: Prospect, now: datetime) -> tuple[Line, ...]:
    lead = label("Failover", HEAD)
    if p.causes:
        cause = p.causes[0]
        more = f"  (1 of {len(p.causes)} causes, others below)" if len(p.causes) > 1 else ""
        return (
            (lead, Cell(f"▲ would not fail over now: {cause.sentence}", Tone.WARN)),
            (label("", HEAD), Cell(f"→ {cause.remedy}{more}", Tone.MUTED)),
        )
    if p.blind:
        return ((lead, Cell(f"automatic, if the operator can; not read: {_unread(p)}", Tone.STALE)),)
    delay = c.failover_delay_s
    if not any(isinstance(r, Known) for r in world.pg_managers.values()):
        return ((lead, Cell("automatic, if the operator can; not read: /pg/status of the candidates", Tone.STALE)),)
    standing = candidates(signs_of(world, c, now))
    took = f"a dead primary is replaced in {POD_S[0] + delay} to {POD_S[1] + delay} s"
    return (
        (
            lead,
            Cell(f"automatic, {counted(len(standing), 'candidate')}; {took}"),
        ),
    )


def _blind(p: Prospect) -> Line:
    return (label("", HEAD), Cell(f"not read: {_unread(p)}", Tone.STALE))


def _unread(p: Prospect) -> str:
    """The first, without the long of why, which the verdict has."""
    what, colon, _ = p.blind[0].partition(": ")
    more = f" and {len(p.blind) - 1} more" if len(p.blind) > 1 else ""
    return f"{what}{')' if colon and '(' in what else ''}{more}"


def cause_lines(world: World, t: Topology, now: datetime) -> tuple[Line, ...]:
    """For the pane: the causes that the head has no room for, each with its remedy, and what was not read."""
    p = prospect_of(world, t, now)
    if p is None or (t.cluster is not None and settling(t.cluster)) or not (p.causes or (p.lost and p.blind)):
        return ()
    lines: list[Line] = []
    for cause in p.causes[1:]:
        lines.append((Cell("▲ ", Tone.BAD if p.lost else Tone.WARN), Cell(cause.sentence, Tone.BAD if p.lost else Tone.WARN)))
        lines.append((Cell("→ ", Tone.MUTED), Cell(cause.remedy)))
    lines += [(Cell("? ", Tone.STALE), Cell(f"not read: {what}", Tone.STALE)) for what in p.blind]
    return tuple(lines)


def gone_cell(world: World, t: Topology, now: datetime) -> Cell | None:
    """`gone for 42 s: is not ready: CrashLoopBackOff`; None: it is not."""
    p = prospect_of(world, t, now)
    if p is None or not p.lost or (t.cluster is not None and settling(t.cluster)):
        return None
    gone = lost_for(world, t, p, now)
    _, _, what = p.lost.partition(t.cluster.current_primary if t.cluster is not None else "")
    says = t.cluster is not None and answers(world, t.cluster.current_primary, now)
    since = "answers, but its pod is not well" if says else f"gone for {seconds(gone)}" if gone is not None else "gone"
    first = (what or p.lost).lstrip(" :").removeprefix("is ").partition(";")[0].removeprefix("does not answer: ")
    if t.cluster is not None and first.startswith(t.cluster.current_primary):
        first = first.removeprefix(t.cluster.current_primary).lstrip(" :") or first
    return Cell(f"  {since}: {first}", Tone.WARN if says else Tone.BAD)
