"""The audit as rows and as whole entries: who did what to which object, from where, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from sys import intern
from typing import Any

from coldtui.domain.values import dataclass

from ..domain.runs import AuditEntry, RunState, Verified
from ..domain.text import counted
from . import words
from .lines import Line, pair
from .rows import Cell, Column, Listing, Row, Tone


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as it is listed. Small, and ready to be searched: a hundred thousand of them are held while the audit is open."""

    seq: int
    at: datetime
    who: str
    source: str
    what: str
    """What was done; of an end, how it ended."""
    operation: str
    object: str
    outcome: str
    reason: str
    run: str
    text: str
    """What `/` looks through, in lower case."""

    @property
    def key(self) -> str:
        return str(self.seq)


_ENDS = tuple(state.value for state in RunState if state.ended)


def row_of(entry: AuditEntry) -> AuditRow:
    """Words that repeat are kept once."""
    ended = next((state for state in _ENDS if entry.outcome.startswith(state)), "") if entry.what == "ended" else ""
    parts = (entry.what, str(entry.who), entry.operation, entry.object, entry.outcome, entry.reason, entry.run, entry.site)
    return AuditRow(
        entry.seq, entry.at, intern(entry.who.login), intern(entry.who.source), intern(ended or entry.what), intern(entry.operation),
        intern(entry.object), intern(entry.outcome), intern(entry.reason), entry.run, f"{words.iso(entry.at)} {' '.join(p for p in parts if p)}".lower(),
    )  # fmt: skip


_TONES = {
    "refused": Tone.WARN, "cancel": Tone.WARN, "armed": Tone.ACCENT, "disarmed": Tone.ACCENT, "done": Tone.GOOD, "failed": Tone.BAD, "partial": Tone.WARN,
}  # fmt: skip
_COLUMNS: tuple[Column, ...] = (
    Column("at", "TIME", 12, sort_key="T"),
    Column("who", "WHO", 8, grow=1, sort_key="U"),
    Column("source", "FROM", 12, priority=4),
    Column("what", "WHAT", 9, sort_key="W"),
    Column("operation", "OPERATION", 12, grow=1, sort_key="P"),
    Column("object", "OBJECT", 18, grow=5, sort_key="E"),
    Column("outcome", "OUTCOME", 20, grow=4, priority=1),
    Column("reason", "REASON", 12, grow=2, priority=2),
    Column("run", "RUN", 20, priority=5),
    Column("seq", "NO", 6, right=True, priority=3),
)


def _time(moment: datetime, now: datetime) -> str:
    """`11-24 14:02Z`; of another year with the year."""
    return f"{moment:%m-%d %H:%MZ}" if moment.year == now.year else f"{moment:%Y-%m-%d}"


def _cells(row: AuditRow, time: str) -> dict[str, Cell]:
    return {
        "at": Cell(time, Tone.MUTED),
        "who": Cell(row.who),
        "source": Cell(row.source, Tone.MUTED),
        "what": Cell(row.what, _TONES.get(row.what, Tone.PLAIN)),
        "operation": Cell(row.operation),
        "object": Cell(row.object, Tone.STRONG),
        "outcome": Cell(row.outcome),
        "reason": Cell(row.reason, Tone.MUTED),
        "run": Cell(row.run, Tone.MUTED),
        "seq": Cell(str(row.seq), Tone.MUTED),
    }


AUDIT: Listing[AuditRow] = Listing(
    noun="entries",
    title="Audit",
    sources=("journal",),
    columns=_COLUMNS,
    items=lambda world: {},
    row=lambda world, row, now: Row(row.key, tuple(_cells(row, _time(row.at, now)).values())),
    sorts={
        "at": lambda world, row: -row.seq,
        "who": lambda world, row: (row.who, -row.seq),
        "what": lambda world, row: (row.what, -row.seq),
        "operation": lambda world, row: (row.operation, -row.seq),
        "object": lambda world, row: (row.object, -row.seq),
    },
    default_sort="at",
    text=lambda row: row.text,
    trouble=lambda world, row, now: _TONES.get(row.what) in (Tone.BAD, Tone.WARN),
    roster=lambda world: 0,
)
"""Whoever shows it gives the rows: they are in no World."""

_BY_ID = {c.id: c for c in _COLUMNS}
_PLAIN = ("seq", "at", "who", "source", "what", "operation", "object", "run", "reason", "outcome")
"""What may be long comes last."""


def plain_cells(row: AuditRow) -> tuple[Cell, ...]:
    """For the command line: whole times."""
    cells = _cells(row, words.iso(row.at))
    return tuple(cells[id] for id in _PLAIN)


AUDIT_PLAIN: Listing[AuditRow] = replace(
    AUDIT, columns=tuple(replace(_BY_ID[i], priority=0) for i in _PLAIN), row=lambda world, row, now: Row(row.key, plain_cells(row))
)

# ------------------------------------------------------------ one entry


def entry_lines(entry: AuditEntry) -> tuple[Line, ...]:
    """An entry whole, with what it rested on and its hashes."""
    who = entry.who
    rows: list[tuple[str, str]] = [
        ("Entry", f"{entry.seq}"),
        ("Time", entry.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
        ("What", entry.what),
        ("Login", who.login),
        ("User", "the same" if who.user == who.login else who.user),
        ("From", who.source or "no SSH connection"),
        ("Machine", who.host),
        ("Face", who.face),
        ("Operation", entry.operation),
        ("Object", entry.object),
        ("Reason", entry.reason),
        ("Outcome", entry.outcome),
        ("Run", entry.run),
        ("Site", entry.site),
    ]
    lines: list[Line] = [pair(name, value) for name, value in rows if value]
    if entry.params:
        lines += [(), (Cell("Parameters", Tone.MUTED),), *(pair(name, _value(value)) for name, value in entry.params.items())]
    if entry.premises:
        lines += [(), (Cell("It rested on", Tone.MUTED),), *(pair(name, age, cells=40) for name, age in entry.premises)]
    lines += [(), (Cell("Hashes", Tone.MUTED),)]
    lines += [pair(name, value) for name, value in (("Plan", entry.digest), ("Before", entry.prev), ("This", entry.hash)) if value]
    return tuple(lines)


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def entry_json(entry: AuditEntry) -> dict[str, Any]:
    who = entry.who
    return {
        "seq": entry.seq,
        "at": entry.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "what": entry.what,
        "who": {"login": who.login, "user": who.user, "source": who.source or None, "host": who.host or None, "face": who.face or None},
        "operation": entry.operation or None,
        "object": entry.object or None,
        "params": dict(entry.params),
        "digest": entry.digest or None,
        "reason": entry.reason or None,
        "premises": [{"name": name, "age": age} for name, age in entry.premises],
        "outcome": entry.outcome or None,
        "run": entry.run or None,
        "site": entry.site or None,
        "prev": entry.prev,
        "hash": entry.hash,
    }


# ------------------------------------------------------------ the chain


def verified_lines(found: Verified) -> tuple[Line, ...]:
    """Whether the chain holds; each fault; then what this look cannot prove."""
    count = counted(found.entries, "entry", "entries")
    if found.whole:
        text = f"{words.GLYPHS['done']} the chain holds: {count}" + (f", head {found.head[:12]}" if found.head else "")
        lines: list[Line] = [(Cell(text, Tone.GOOD),)]
    else:
        lines = [(Cell(f"{words.GLYPHS['failed']} the chain is broken: {counted(len(found.faults), 'fault')} in {count}", Tone.BAD),)]
        lines += [(Cell("  "), Cell(fault, Tone.STRONG)) for fault in found.faults]
    lines += [(Cell(f"{words.GLYPHS['off']} not proven: ", Tone.STALE), Cell(text, Tone.PLAIN)) for text in found.unproven]
    return tuple(lines)


def verified_json(found: Verified) -> Mapping[str, Any]:
    return {
        "whole": found.whole,
        "entries": found.entries,
        "head": found.head or None,
        "faults": list(found.faults),
        "unproven": list(found.unproven),
    }
