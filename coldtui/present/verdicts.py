"""Verdicts and readings as cells, and what is missing in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from ..domain.objects import Ref
from ..domain.problems import Problem
from ..domain.readings import Freshness
from ..domain.verdicts import Grade, Verdict
from ..domain.world import World
from . import words
from .rows import Cell, Tone

GRADES: dict[Grade, tuple[str, Tone]] = {
    Grade.GOOD: (words.GLYPHS["good"], Tone.GOOD),
    Grade.PART: (words.GLYPHS["part"], Tone.WARN),
    Grade.BAD: (words.GLYPHS["bad"], Tone.BAD),
    Grade.OFF: (words.GLYPHS["off"], Tone.MUTED),
    Grade.UNKNOWN: ("?", Tone.STALE),
}


def badge(grade: Grade, word: str) -> Cell:
    """Glyph and word: `● healthy`, `? unknown`."""
    glyph, tone = GRADES[grade]
    return Cell(f"{glyph} {word}", tone)


def verdict_cell(verdict: Verdict) -> Cell:
    return badge(verdict.grade, verdict.word)


def nothing(world: World, kind: str, what: str, now: datetime) -> Cell:
    """In place of rows that are not there: `no volumes`, or how the source stands (loading, not installed, not permitted, failed)."""
    state = world.sources[kind]
    if state.whole:
        return Cell(f"no {what}", Tone.MUTED)
    return Cell(f"{what}: {words.freshness(state, now)}", Tone.STALE)


def staleness(world: World, now: datetime, *kinds: str) -> Cell | None:
    """A word for the first of these kinds that is not certain now (`stale 42s`, `loading, partial`), or None."""
    for kind in kinds:
        state = world.sources[kind]
        if not state.whole:
            return Cell(f"  {words.freshness(state, now)}", Tone.STALE)
    return None


Judge = Callable[[World, datetime], tuple[Problem, ...]]
_troubled: dict[Judge, tuple[World, datetime, frozenset[Ref]]] = {}


def troubled(world: World, now: datetime, judge: Judge) -> frozenset[Ref]:
    """The objects that a noun's problems name. Kept for the last World and moment, since every row of a table asks."""
    kept = _troubled.get(judge)
    if kept is None or kept[0] is not world or kept[1] != now:
        kept = _troubled[judge] = (world, now, frozenset(p.object for p in judge(world, now)))
    return kept[2]


def aside(world: World, now: datetime, kinds: Iterable[str], reasons: Mapping[str, str]) -> dict[str, Any]:
    """What stands beside every JSON part: why a value is null, how old the oldest source is, and how each source stands."""
    states = [world.sources[kind] for kind in kinds]
    ages = [(now - s.as_of).total_seconds() for s in states if s.as_of is not None]
    return {
        "_reasons": dict(reasons),
        "_age_s": max(0, int(max(ages))) if ages else None,
        "_sources": {s.name: words.freshness(s, now) if s.freshness is not Freshness.LIVE or s.partial else "live" for s in states},
    }
