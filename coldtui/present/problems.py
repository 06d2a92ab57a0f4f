"""Problems as rows: what is wrong, since when, what it hits and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain.problems import Problem, Severity, problems
from ..domain.world import World
from . import words
from .lines import UNKNOWN, Ago, Line
from .rows import Cell, Column, Listing, Row, Tone

_GLYPH = {Severity.CRITICAL: "▲", Severity.WARNING: "▲", Severity.NOTICE: "·"}
_TONE = {Severity.CRITICAL: Tone.BAD, Severity.WARNING: Tone.WARN, Severity.NOTICE: Tone.PLAIN}


def severity_cell(severity: Severity) -> Cell:
    """`▲ CRITICAL`, `▲ WARNING`, `· NOTICE`."""
    return Cell(f"{_GLYPH[severity]} {severity.name}", _TONE[severity])


def _since(problem: Problem, now: datetime, ago: Ago) -> str:
    return UNKNOWN if problem.since is None else ago(now - problem.since)


_COLUMNS: tuple[Column, ...] = (
    Column("severity", "SEVERITY", 10, sort_key="S"),
    Column("since", "SINCE", 6, right=True, sort_key="T"),
    Column("sentence", "WHAT", 34, grow=4, sort_key="E"),
    Column("hits", "HITS", 16, grow=2, priority=1),
    Column("cause", "CAUSE", 20, grow=3, priority=2),
    Column("object", "OBJECT", 24, grow=1, priority=3, sort_key="L"),
)


def _cells(problem: Problem, now: datetime, ago: Ago) -> tuple[Cell, ...]:
    return (
        severity_cell(problem.severity),
        Cell(_since(problem, now, ago), Tone.MUTED),
        Cell(problem.sentence, Tone.STRONG),
        Cell(problem.hits),
        Cell(problem.cause, Tone.MUTED),
        Cell(str(problem.object), Tone.MUTED),
    )


def json_of(world: World, problem: Problem, now: datetime) -> dict[str, Any]:
    return {
        "severity": problem.severity.name.lower(),
        "sentence": problem.sentence,
        "since": words.iso(problem.since) if problem.since else None,
        "for_s": None if problem.since is None else max(0, int((now - problem.since).total_seconds())),
        "hits": problem.hits,
        "cause": problem.cause,
        "object": {"kind": problem.object.kind, "namespace": problem.object.namespace or None, "name": problem.object.name},
    }


def _items(world: World) -> Mapping[str, Problem]:
    return {p.key: p for p in problems(world, world.at)}


def _oldest(problem: Problem) -> float:
    return problem.since.timestamp() if problem.since else float("inf")


PROBLEMS: Listing[Problem] = Listing(
    noun="problems",
    title="Problems",
    sources=("nodes", "pods", "deployments"),
    columns=_COLUMNS,
    items=_items,
    row=lambda world, problem, now: Row(problem.key, _cells(problem, now, words.age)),
    sorts={
        "severity": lambda world, p: (-p.severity, _oldest(p), p.sentence),
        "since": lambda world, p: (_oldest(p), p.sentence),
        "sentence": lambda world, p: p.sentence,
        "object": lambda world, p: str(p.object),
    },
    default_sort="severity",
    text=lambda p: f"{p.severity.name} {p.sentence} {p.hits} {p.cause} {p.object}",
    trouble=lambda world, p, now: p.severity > Severity.NOTICE,
    json=json_of,
)

PROBLEMS_PLAIN: Listing[Problem] = replace(
    PROBLEMS,
    columns=tuple(replace(c, priority=1 if c.id == "object" else 0) for c in _COLUMNS),
    row=lambda world, problem, now: Row(problem.key, _cells(problem, now, words.duration)),
)


def worst_line(found: tuple[Problem, ...], now: datetime) -> Line:
    """The line under the title: the worst problem in one sentence, or that none is known. `found` is sorted, worst first."""
    if not found:
        return (Cell("no problems known", Tone.MUTED),)
    first = found[0]
    parts = [severity_cell(first.severity), Cell(f"  {first.sentence}", Tone.STRONG)]
    if first.since is not None:
        parts.append(Cell(f" for {words.age(now - first.since)}"))
    if first.hits:
        parts.append(Cell(f" · hits {first.hits}", Tone.MUTED))
    return tuple(parts)


def tally(found: tuple[Problem, ...]) -> str:
    """`1 critical, 2 warnings`; empty when there is nothing above a notice."""
    critical = sum(1 for p in found if p.severity is Severity.CRITICAL)
    warning = sum(1 for p in found if p.severity is Severity.WARNING)
    parts = [f"{critical} critical"] if critical else []
    if warning:
        parts.append(f"{warning} warning{'s' if warning > 1 else ''}")
    return ", ".join(parts)
