"""The shapes that every face draws: cells, rows, columns, listings. Pure data, no widget and no terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

from coldtui.domain.values import dataclass

from ..domain.world import World

T = TypeVar("T")


class Tone(Enum):
    """What a colour means. The theme turns it into one; the text or glyph beside it says the same without colour."""

    PLAIN = "plain"
    STRONG = "strong"
    MUTED = "muted"
    GOOD = "healthy"
    WARN = "degraded"
    BAD = "critical"
    STALE = "stale"
    ACCENT = "accent"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: text that is already plain, and what it means."""

    text: str
    tone: Tone = Tone.PLAIN
    spans: tuple[tuple[str, Tone], ...] = ()
    """When given, the parts of `text` with their own tones; joined they equal `text`."""


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    cells: tuple[Cell, ...]
    """One a column, in the listing's order."""
    dim: bool = False
    """Shown muted as a whole (stale, finished)."""


@dataclass(frozen=True, slots=True)
class Column:
    id: str
    title: str
    width: int
    """Least width in cells, title included."""
    grow: int = 0
    """Share of the room that is left over; 0 keeps `width`. Identifiers grow and are never cut in the middle."""
    right: bool = False
    """Numbers are aligned right."""
    priority: int = 0
    """0 is always shown; higher numbers go first when the room is short."""
    sort_key: str = ""
    """The shift-letter that sorts by this column (never A, I, D, O, N, G)."""


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A noun as a table: what the console's tables, the plain tables of the command line and `--json` have in common."""

    noun: str
    title: str
    sources: tuple[str, ...]
    """Kinds whose freshness decides whether rows and totals are whole; the first is the main one."""
    columns: tuple[Column, ...]
    items: Callable[[World], Mapping[str, T]]
    row: Callable[[World, T, datetime], Row]
    """Called for visible rows only."""
    sorts: Mapping[str, Callable[[World, T], Any]]
    """Column id -> sort key; cheap, called for every row."""
    default_sort: str
    text: Callable[[T], str]
    """What `/` filters on; cheap, called for every row."""
    trouble: Callable[[World, T, datetime], bool] = field(default=lambda world, item, now: False)
    """For the trouble-only filter; agrees with `domain/<noun>.problems`."""
    labels: Callable[[T], Mapping[str, str]] = field(default=lambda item: {})
    roster: Callable[[World], Any] = field(default=lambda world: world.revision)
    """Changes (by !=) when rows come or go or may be ordered differently; a table orders its rows anew only then."""
    json: Callable[[World, T, datetime], Mapping[str, Any]] | None = None
    namespaced: bool = False
