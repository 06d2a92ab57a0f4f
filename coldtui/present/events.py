"""Events as kubectl lists them, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..domain.events import Event
from ..domain.world import World
from . import words
from .lines import Ago, Line, old, pad
from .rows import Cell, Column, Listing, Row, Tone


def about(event: Event) -> str:
    """`pod/cold-backend-7d9f`."""
    return f"{event.object_kind.lower()}/{event.object_name}"


def last_seen(event: Event, now: datetime, ago: Ago = words.age) -> str:
    """The LAST SEEN column of kubectl: `5s` or `5s (x3 over 2m)`."""
    if event.count > 1:
        return f"{ago(now - event.last)} (x{event.count} over {ago(now - event.first)})"
    return ago(now - event.last)


_COLUMNS: tuple[Column, ...] = (
    Column("last", "LAST SEEN", 16, sort_key="T"),
    Column("type", "TYPE", 9, priority=1, sort_key="Y"),
    Column("reason", "REASON", 16, grow=1, sort_key="R"),
    Column("object", "OBJECT", 24, grow=3, sort_key="E"),
    Column("message", "MESSAGE", 20, grow=6),
    Column("namespace", "NAMESPACE", 12, priority=2, sort_key="U"),
    Column("source", "SOURCE", 16, priority=3),
)


def _cell(world: World, event: Event, now: datetime, column: str, ago: Ago) -> Cell:
    loud = event.type != "Normal"
    tone = Tone.STALE if loud and old(world, "events") else Tone.WARN if loud else Tone.PLAIN
    match column:
        case "last":
            return Cell(last_seen(event, now, ago), Tone.MUTED)
        case "type":
            return Cell(event.type, tone)
        case "reason":
            return Cell(event.reason, tone)
        case "object":
            return Cell(about(event))
        case "message":
            return Cell(event.message)
        case "namespace":
            return Cell(event.namespace, Tone.MUTED)
        case "source":
            return Cell(event.source, Tone.MUTED)
    raise AssertionError(column)


def _row(world: World, event: Event, now: datetime) -> Row:
    return Row(event.key, tuple(_cell(world, event, now, c.id, words.age) for c in _COLUMNS), dim=old(world, "events"))


def json_of(world: World, event: Event, now: datetime) -> dict[str, Any]:
    return {
        "namespace": event.namespace,
        "name": event.name,
        "type": event.type,
        "reason": event.reason,
        "object": {"kind": event.object_kind, "namespace": event.object_namespace, "name": event.object_name},
        "message": event.message,
        "count": event.count,
        "first": words.iso(event.first),
        "last": words.iso(event.last),
        "source": event.source,
    }


def _items(world: World) -> Mapping[str, Event]:
    return world.events.items


EVENTS: Listing[Event] = Listing(
    noun="events",
    title="Events",
    sources=("events",),
    columns=_COLUMNS,
    items=_items,
    row=_row,
    sorts={
        "last": lambda world, e: -e.last.timestamp(),
        "type": lambda world, e: (e.type == "Normal", -e.last.timestamp()),
        "reason": lambda world, e: (e.reason, -e.last.timestamp()),
        "object": lambda world, e: (e.object_kind, e.object_name, -e.last.timestamp()),
        "namespace": lambda world, e: (e.namespace, -e.last.timestamp()),
    },
    default_sort="last",
    text=lambda e: f"{e.namespace} {e.type} {e.reason} {about(e)} {e.message}",
    trouble=lambda world, e, now: e.type != "Normal",
    json=json_of,
    namespaced=True,
)

_BY_ID = {c.id: c for c in _COLUMNS}
_PLAIN = tuple(
    replace(_BY_ID[i], priority=1 if i == "source" else 0) for i in ("namespace", "last", "type", "reason", "object", "message", "source")
)


def _plain_row(world: World, event: Event, now: datetime) -> Row:
    return Row(event.key, tuple(_cell(world, event, now, c.id, words.duration) for c in _PLAIN), dim=old(world, "events"))


EVENTS_PLAIN: Listing[Event] = replace(EVENTS, columns=_PLAIN, row=_plain_row)
"""For the command line: exact ages, kubectl's order of columns."""


def newest(world: World, n: int, *, loud_first: bool = False) -> tuple[Event, ...]:
    """The last `n` events; with `loud_first` warnings before the rest."""
    import heapq

    key = (lambda e: (e.type != "Normal", e.last)) if loud_first else (lambda e: (False, e.last))
    return tuple(heapq.nlargest(n, world.events.items.values(), key=key))


def line(world: World, event: Event, now: datetime, *, narrow: bool = False) -> Line:
    """One event in a card: `13:58Z ▲ BackOff pod/x message`; `narrow`: with its age and without the kind, `4m ▲ BackOff x`."""
    loud, stale = event.type != "Normal", old(world, "events")
    tone = Tone.STALE if stale else Tone.WARN if loud else Tone.PLAIN
    when = pad(words.age(now - event.last), 4) if narrow else pad(words.clock(event.last), 7)
    return (
        Cell(when, Tone.MUTED),
        Cell(f"{words.GLYPHS['bad']} " if loud else "  ", tone),
        Cell(f"{event.reason} ", tone),
        Cell(f"{event.object_name if narrow else about(event)} ", Tone.STALE if stale else Tone.PLAIN),
        Cell(event.message, Tone.MUTED),
    )


def of_object(events: tuple[Event, ...], now: datetime) -> tuple[Line, ...]:
    """The events about one object as lines, newest first."""
    lines: list[Line] = []
    for event in sorted(events, key=lambda e: e.last, reverse=True):
        tone = Tone.WARN if event.type != "Normal" else Tone.PLAIN
        lines.append((Cell(pad(last_seen(event, now), 18), Tone.MUTED), Cell(f"{event.reason}  ", tone), Cell(event.message)))
    return tuple(lines) or ((Cell("no events (they are kept for an hour)", Tone.MUTED),),)
