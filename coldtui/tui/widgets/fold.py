"""Lines of cells broken at words instead of cut, for panes where a sentence must be read to its end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...present.lines import Line
from ...present.rows import Cell, Tone
from .draw import width_of, wrap

_PIECES = re.compile(r"\s+|\S+")


def fold(lines: Iterable[Line], width: int) -> tuple[Line, ...]:
    """Every line in at most `width` cells. What follows a label goes on below its value; a row of a small table is left to be cut."""
    out: list[Line] = []
    for line in lines:
        if width < 4 or sum(width_of(cell.text) for cell in line) <= width:
            out.append(line)
        elif _is_row(line):
            out.append((*line[:-1], replace(line[-1], text=line[-1].text.rstrip(), spans=())))  # blanks alone are nothing cut
        else:
            out += _folded(line, width)
    return tuple(out)


def _has_label(line: Sequence[Cell]) -> bool:
    return len(line) > 1 and line[0].tone in {Tone.MUTED, Tone.STRONG} and line[0].text.endswith(" ")


def _is_row(line: Sequence[Cell]) -> bool:
    """A row of `present.lines.table`, its head included."""
    padded = sum(cell.text.endswith("  ") for cell in line[:-1])
    return len(line) > 2 and padded == len(line) - 1


def _folded(line: Line, width: int) -> list[Line]:
    head = line[0] if _has_label(line) else None
    indent = width_of(head.text) if head is not None else 0
    if indent > width // 2:
        indent = 2
    rest = line[1:] if head is not None else line
    rows = flow(rest, width - indent)
    blank = (Cell(" " * indent),) if indent else ()
    if head is None:
        return rows
    if width_of(head.text) > indent:
        return [(head,), *((*blank, *row) for row in rows)]
    return [(head, *rows[0]), *((*blank, *row) for row in rows[1:])]


def flow(cells: Iterable[Cell], width: int) -> list[Line]:
    """Cells as running text of at most `width` a line; a word that is wider is broken where it must be."""
    rows: list[list[Cell]] = [[]]
    room = width
    for cell in cells:
        for text, tone in cell.spans or ((cell.text, cell.tone),):
            for piece in _PIECES.findall(text):
                size = width_of(piece)
                if piece.isspace():
                    if rows[-1] and size <= room:
                        rows[-1].append(Cell(piece, tone))
                        room -= size
                    elif rows[-1]:
                        rows.append([])
                        room = width
                    continue
                if size > room and rows[-1]:
                    rows.append([])
                    room = width
                for part in wrap(piece, width):
                    if width_of(part) > room:
                        rows.append([])
                        room = width
                    rows[-1].append(Cell(part, tone))
                    room -= width_of(part)
    return [tuple(row) for row in rows if row] or [()]
