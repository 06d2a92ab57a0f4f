"""Lines of cells for cards and detail panes, and totals that say how whole they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from ..domain.readings import Freshness
from ..domain.world import World
from . import words
from .rows import Cell, Tone

Line = tuple[Cell, ...]
"""Cells written one after the other; blanks between them are in the text."""
Ago = Callable[[timedelta], str]
"""How an age is written: `words.age` in steps for screens, `words.duration` exactly as kubectl for the command line."""

UNKNOWN = "–"


def width(text: str) -> int:
    """Cells that a text takes in a terminal (wide characters take two, combining marks none)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, cells: int) -> str:
    """The text in at most `cells` cells; what is left out at the end is marked."""
    if width(text) <= cells:
        return text
    if cells <= 0:
        return ""
    kept = ""
    for letter in text:
        if width(kept) + width(letter) > cells - 1:
            break
        kept += letter
    return kept + "…"


def pad(text: str, cells: int, *, right: bool = False) -> str:
    blanks = " " * max(0, cells - width(text))
    return blanks + text if right else text + blanks


SENTENCE = 12
"""The least room in which the beginning of a sentence still says something."""


def cut_line(line: Sequence[Cell], cells: int) -> Line:
    """The line in at most `cells` cells: what does not fit is left out whole, as half a name is worse than none; only a sentence is cut.

    The first thing after a label is always shown, cut if it must be.
    """
    shown: list[Cell] = []
    room = cells
    for cell in line:
        wide = width(cell.text)
        if wide <= room:
            shown.append(cell)
            room -= wide
            continue
        sentence = len(cell.text.split()) > 2
        if room > 0 and (len(shown) < 2 or (sentence and room >= SENTENCE)):
            shown.append(Cell(cut(cell.text, room), cell.tone))
        break
    while len(shown) > 1 and shown[-1].text.strip() in ("", "·"):  # nor a separator before nothing
        shown.pop()
    return tuple(shown)


def wrap_line(line: Line, cells: int, most: int = 0) -> tuple[Line, ...]:
    """The line in as many lines as it takes, broken at blanks; what follows is set in by what stands before the first value.

    `most` > 0: what does not fit in so many lines is left out, as `cut_line` does.
    """
    if sum(width(cell.text) for cell in line) <= cells or len(line) < 2:
        return (line,) if not most else (cut_line(line, cells),)
    indent = width(line[0].text) if width(line[0].text) <= cells // 2 else 0
    done: list[Line] = []
    now: list[Cell] = [line[0]]
    room = cells - width(line[0].text)
    rest = list(line[1:])
    while rest:
        cell = rest.pop(0)
        if width(cell.text) <= room:
            now.append(cell)
            room -= width(cell.text)
            continue
        if most and len(done) == most - 1:
            now += cut_line((Cell(""), Cell(""), cell, *rest) if done or len(now) > 1 else (Cell(""), cell, *rest), room)
            break
        together = len(cell.text.split()) <= 3 and room < cells - indent and width(cell.text.strip()) <= cells - indent
        head, tail = ("", cell.text) if together else _broken(cell.text, room)
        fresh = room == cells - indent
        if not head.strip() and fresh:
            head, tail = cut(cell.text, room), ""  # a word that is longer than a line
        if head.strip():
            now.append(Cell(head.rstrip(), cell.tone))
        if tail.strip():
            rest.insert(0, Cell(tail.lstrip(), cell.tone))
        done.append(tuple(now))
        now, room = [Cell(" " * indent, Tone.MUTED)], cells - indent
    return (*done, tuple(now)) if len(now) > 1 or not done else tuple(done)


def two_columns(lines: Iterable[Line], cells: int) -> tuple[Line, ...]:
    """For a box that is wide and low: lines that take half the room stand beside each other, in their order."""
    half, left, done = cells // 2, (), []  # type: int, Line, list[Line]
    for line in lines:
        taken = sum(width(cell.text) for cell in line)
        if left and taken <= cells - half:
            blank = Cell(" " * (half - sum(width(cell.text) for cell in left)))
            done.append((*left, blank, *line))
            left = ()
            continue
        if left:
            done.append(left)
        left = line if taken < half else ()
        if not left:
            done.append(line)
    return (*done, left) if left else tuple(done)


def _broken(text: str, cells: int) -> tuple[str, str]:
    """At the last blank that lets the beginning fit."""
    at = max((n for n, letter in enumerate(text) if letter == " " and n > 0 and width(text[:n]) <= cells), default=0)
    return text[:at], text[at:]


def label(text: str, cells: int = 16) -> Cell:
    """The muted name before a value."""
    return Cell(pad(text, cells), Tone.MUTED)


def pair(name: str, value: str, tone: Tone = Tone.PLAIN, cells: int = 16) -> Line:
    return (label(name, cells), Cell(value, tone))


def table(head: Sequence[str], body: Iterable[Sequence[Cell]], *, right: frozenset[int] = frozenset()) -> tuple[Line, ...]:
    """A small table as lines, columns as wide as their widest text; `right` are the columns of numbers."""
    rows = [list(row) for row in body]
    wide = [max([width(title), *(width(row[i].text) for row in rows)]) for i, title in enumerate(head)]

    def line(cells: Sequence[Cell]) -> Line:
        return tuple(
            Cell(pad(c.text, wide[i], right=i in right) + "  ", c.tone)
            if i < len(cells) - 1
            else Cell(pad(c.text, wide[i], right=True) if i in right else c.text, c.tone)
            for i, c in enumerate(cells)
        )

    return (line([Cell(title, Tone.MUTED) for title in head]), *(line(row) for row in rows))


def plain_text(lines: Iterable[Line]) -> str:
    """The lines without tones, for the command line."""
    return "\n".join("".join(cell.text for cell in line).rstrip() for line in lines)


def count(world: World, n: int, *kinds: str) -> Cell:
    """A total over these kinds: `12`, `≥ 12` while a part is still missing, `12 stale 42s` when old, `?` when never read."""
    states = [world.sources[kind] for kind in kinds]
    if all(state.whole for state in states):
        return Cell(str(n))
    if all(state.as_of is None and not state.partial for state in states) and n == 0:
        return Cell("?", Tone.MUTED)
    if any(state.freshness is Freshness.STALE for state in states):
        return Cell(f"{n} stale", Tone.STALE)
    return Cell(f"≥ {n}", Tone.STALE)


def why_missing(world: World, kind: str, now: datetime, otherwise: str) -> str:
    """Why a value of this kind is not there: the state of its source, or `otherwise` when the source itself is fine."""
    state = world.sources[kind]
    return otherwise if state.freshness is Freshness.LIVE else words.freshness(state, now)


def old(world: World, kind: str) -> bool:
    """Whether what is shown of this kind is not known to be true now."""
    return world.sources[kind].freshness is not Freshness.LIVE


def state_cell(glyph: str, text: str, tone: Tone, *, stale: bool = False) -> Cell:
    """Glyph and word; what is stale is never shown in the colour of health."""
    if stale:
        return Cell(f"{words.GLYPHS['off']} {text}", Tone.STALE)
    return Cell(f"{words.GLYPHS[glyph]} {text}", tone)
