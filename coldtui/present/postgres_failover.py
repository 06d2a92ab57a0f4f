"""What becomes of a primary that is lost, in words: electing, waiting, or why nobody takes over, each cause with its remedy."""

from __future__ import annotations

from datetime import datetime, timedelta

from coldtui.domain.values import dataclass

from ..domain.failover import POD_S, Act, Cause, Prospect, Signs, candidates
from ..domain.failover_signs import answers, lost_for, nothing, prospect_of, settling, signs_of
from ..domain.postgres import PgCluster, begun, overdue
from ..domain.readings import Known
from ..domain.text import counted
from ..domain.topology import Topology
from ..domain.world import World
from . import words
from .lines import Line, label
from .rows import Cell, Tone

HEAD = 10
"""Cells of the labels in the head of the screen."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What an operator presses here; the command line has none, and is told commands."""

    open: str
    act: str
    arm: str
    """Empty: it is armed."""


def seconds(span: timedelta | None) -> str:
    """`12 s`, `4m20s`; `?` where nobody can tell."""
    if span is None:
        return "?"
    return f"{int(span.total_seconds())} s" if span < timedelta(seconds=120) else words.duration(span)


def failover_lines(world: World, t: Topology, now: datetime, keys: Keys | None = None) -> tuple[Line, ...]:
    """For the head: one line while all is well or under way, two where there is something to do."""
    c = t.cluster
    if c is None:
        return ()
    p = prospect_of(world, t, now)
    if p is None:
        why = nothing(world, c)
        return ((label("Failover", HEAD), Cell(why, Tone.STALE if why.startswith("not known") else Tone.MUTED)),)
    if settling(c):
        return _switchover(world, c, p, now, keys)
    return _lost(world, t, p, now, keys) if p.lost else _well(world, c, p, now, keys)


def _switchover(world: World, c: PgCluster, p: Prospect, now: datetime, keys: Keys | None) -> tuple[Line, ...]:
    asked = max(timedelta(0), now - c.target_primary_since) if c.target_primary_since is not None else None
    slow = overdue(world, c, now) == "ignored"
    said = f"to {c.target_primary}, asked {seconds(asked)} ago" + ("" if begun(world, c) else ": the operator has not begun")
    first = (label("Switching", HEAD), Cell(f"▲ {said}" if slow else said, Tone.BAD if slow else Tone.WARN))
    why = next((cause for cause in p.causes if cause.code in ("operator", "disabled", "phase")), None)
    if why is None:
        return (first,)
    return (first, (label("", HEAD), Cell(why.sentence, Tone.BAD if slow else Tone.WARN)), _remedy(why, keys))


def _remedy(cause: Cause, keys: Keys | None, others: int = 0) -> Line:
    """What to do about it, as bright as the values: it is what is looked for."""
    arm = f"  ({keys.arm} arms)" if keys is not None and keys.arm and cause.acts else ""
    more = f"  (and {counted(others, 'more cause')}{f': {keys.open}' if keys is not None else ''})" if others else ""
    return (label("", HEAD), Cell(f"→ {advice(cause, keys)}", Tone.STRONG), Cell(f"{arm}{more}", Tone.MUTED))


def advice(cause: Cause, keys: Keys | None) -> str:
    """The remedy; our own acts in it by the key of the console, or by their command."""

    def say(act: Act) -> str:
        if keys is not None:
            return f"{act.words} ({keys.act})"
        return f"coldtui {act.name.replace('.', ' ')} {act.object}".rstrip()

    return cause.advice(say)


def _lost(world: World, t: Topology, p: Prospect, now: datetime, keys: Keys | None) -> tuple[Line, ...]:
    gone, lead = lost_for(world, t, p, now), label("Failover", HEAD)
    final = [cause for cause in p.causes if cause.until is None]
    if final:
        first = (lead, Cell(f"▲ will not fail over: {final[0].sentence}", Tone.BAD))
        return (first, _remedy(final[0], keys, len(p.causes) - 1))
    span = f"usually {p.expected_s[0]} to {p.expected_s[1]} s" if p.expected_s is not None else "how long it takes is not known"
    whom = "electing a new primary" if p.under_way == "electing" else f"{p.under_way} is to lead" if p.under_way else "to come by itself"
    late = p.expected_s is not None and gone is not None and gone > timedelta(seconds=p.expected_s[1])
    so_far = f"{seconds(gone)} so far, {span}" if gone is not None else span
    first = (lead, Cell(f"{'▲ overdue: ' if late else ''}{whom}: {so_far}", Tone.BAD if late else Tone.WARN))
    if p.causes:
        cause = p.causes[0]
        why = (first, (label("", HEAD), Cell(cause.sentence, Tone.WARN)))
        return why if cause.remedy == "wait" and len(p.causes) == 1 else (*why, _remedy(cause, keys, len(p.causes) - 1))
    if p.blind:
        return (first, _blind(p))
    if late:
        by_hand = f"fail over ({keys.act})" if keys is not None else "coldtui postgres failover"
        return (first, (label("", HEAD), Cell(f"→ no cause is known: see the operator's log, or {by_hand}", Tone.STRONG)))
    return (first,)


def _well(world: World, c: PgCluster, p: Prospect, now: datetime, keys: Keys | None) -> tuple[Line, ...]:
    lead = label("Failover", HEAD)
    if c.instances == 1 and [cause.code for cause in p.causes] == ["no-replica"]:
        return ((lead, Cell("none: it has a single instance", Tone.MUTED)),)
    if p.causes:
        first = (lead, Cell(f"▲ would not fail over now: {p.causes[0].sentence}", Tone.WARN))
        return (first, _remedy(p.causes[0], keys, len(p.causes) - 1))
    if p.blind:
        return ((lead, Cell(f"automatic, if the operator can; not read: {_unread(p)}", Tone.STALE)),)
    delay = c.failover_delay_s
    if not any(isinstance(r, Known) for r in world.pg_managers.values()):
        return ((lead, Cell("automatic, if the operator can; not read: /pg/status of the candidates", Tone.STALE)),)
    signs = signs_of(world, c, now)
    standing = counted(len(candidates(signs)), "candidate")
    quorum = "; quorum met" if quorum_words(signs) else ""
    return ((lead, Cell(f"automatic, {standing}; takes {POD_S[0] + delay} to {POD_S[1] + delay} s{quorum}")),)


def quorum_words(signs: Signs) -> str:
    """`met: 2 of 2 standbys can be elected, 1 confirms each commit`; empty: none is wanted, or it is not known. One that is not met is a cause."""
    wanted, found = signs.cluster.synchronous, signs.quorum
    if wanted is None or not wanted.quorum or not isinstance(found, Known) or found.value is None or not found.value.standby_names:
        return ""
    names, number = found.value.standby_names, found.value.standby_number
    fit = sum(name in names for name in candidates(signs))
    if fit + number <= len(names):
        return ""
    confirm = f"{number} confirms" if number == 1 else f"{number} confirm"
    return f"met: {fit} of {counted(len(names), 'standby', 'standbys')} can be elected, {confirm} each commit"


def _blind(p: Prospect) -> Line:
    return (label("", HEAD), Cell(f"not read: {_unread(p)}", Tone.STALE))


def _unread(p: Prospect) -> str:
    """The first, without the long of why, which the verdict has."""
    what, colon, _ = p.blind[0].partition(": ")
    more = f" and {len(p.blind) - 1} more" if len(p.blind) > 1 else ""
    return f"{what}{')' if colon and '(' in what else ''}{more}"


def cause_lines(world: World, t: Topology, now: datetime, keys: Keys | None = None, *, whole: bool = False) -> tuple[Line, ...]:
    """For the pane: the causes that the head has no room for, each with its remedy, and what was not read. `whole`: that of the head too."""
    p = prospect_of(world, t, now)
    if p is None or (t.cluster is not None and settling(t.cluster)) or not (p.causes or (p.lost and p.blind)):
        return ()
    lines: list[Line] = []
    for cause in p.causes if whole else p.causes[1:]:
        lines.append((Cell("▲ ", Tone.BAD if p.lost else Tone.WARN), Cell(cause.sentence, Tone.BAD if p.lost else Tone.WARN)))
        lines.append((Cell("→ ", Tone.MUTED), Cell(advice(cause, keys))))
    lines += [(Cell("? ", Tone.STALE), Cell(f"not read: {what}", Tone.STALE)) for what in p.blind]
    return tuple(lines)


def gone_cell(world: World, t: Topology, now: datetime) -> Cell | None:
    """`gone for 42 s: is not ready: CrashLoopBackOff`; None: it is not."""
    p, name = prospect_of(world, t, now), t.cluster.current_primary if t.cluster is not None else ""
    if p is None or not p.lost or t.cluster is None or settling(t.cluster):
        return None
    gone = lost_for(world, t, p, now)
    says = bool(name) and answers(world, name, now)
    since = "answers, but its pod is not well" if says else f"gone for {seconds(gone)}" if gone is not None else "gone"
    first = p.lost.removeprefix(name).lstrip(" :").removeprefix("is ").partition(";")[0].removeprefix("does not answer: ")
    if name and first.startswith(name):
        first = first.removeprefix(name).lstrip(" :") or first
    return Cell(f"  ▲ {since}: {first}", Tone.WARN if says else Tone.BAD)
