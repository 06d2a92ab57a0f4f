"""Cells and lines as strips of the terminal: measured, padded, cut at the end, never parsed as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, get_character_cell_size
from rich.segment import Segment
from textual.strip import Strip

from ...present.rows import Cell, Tone
from ..theme import Ink, Palette

Span = tuple[str, Ink]
Spans = tuple[Span, ...]

_SELECTORS = {0x200D: None, 0xFE0E: None, 0xFE0F: None}
"""Joiners and variation selectors change the width of their neighbours, and terminals disagree by how much: they are left out."""


def width_of(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text.translate(_SELECTORS))


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells: padded, or cut at the end with `…`."""
    if text.isascii():
        size = len(text)
        if size <= width:
            return text.rjust(width) if right else text.ljust(width)
        return text[: width - 1] + "…" if width > 0 else ""
    text = text.translate(_SELECTORS)
    size = cell_len(text)
    if size <= width:
        return " " * (width - size) + text if right else text + " " * (width - size)
    if width <= 0:
        return ""
    room, kept = width - 1, []
    for letter in text:
        room -= get_character_cell_size(letter)
        if room < 0:
            room += get_character_cell_size(letter)
            break
        kept.append(letter)
    return "".join(kept) + "…" + " " * room


def spans_of(cells: Iterable[Cell]) -> Spans:
    """The cells of a line, with the tones of their parts."""
    out: list[Span] = []
    for cell in cells:
        out += cell.spans or ((cell.text, cell.tone),)
    return tuple(out)


def strip_of(spans: Sequence[Span], width: int, palette: Palette, ground: str = "", *, left: int = 0) -> Strip:
    """Spans as one line of exactly `width` cells, cut at the end with `…`, shifted left by `left` cells."""
    if left:
        spans = _shift(spans, left)
    segments: list[Segment] = []
    room = width
    for number, (text, ink) in enumerate(spans):
        if not text:
            continue
        size = width_of(text)
        rest = any(later for later, _ in spans[number + 1 :])
        if size > room or (size == room and rest and room > 0):
            segments.append(Segment(fit(text + "…", room), palette.style(ink, ground)))
            room = 0
            break
        segments.append(Segment(text if text.isascii() else text.translate(_SELECTORS), palette.style(ink, ground)))
        room -= size
    if room:
        segments.append(Segment(" " * room, palette.style(Tone.PLAIN, ground)))
    return Strip(segments, width)


def _shift(spans: Sequence[Span], by: int) -> Spans:
    out: list[Span] = []
    for text, ink in spans:
        size = width_of(text)
        if by >= size:
            by -= size
            continue
        if by:
            skipped = 0
            for at, letter in enumerate(text):  # noqa: B007 - the index is used after the loop
                if skipped >= by:
                    break
                skipped += get_character_cell_size(letter)
            text, by = " " * (skipped - by) + text[at:], 0
        out.append((text, ink))
    return tuple(out)


def ends(left: Sequence[Span], right: Sequence[Span], width: int) -> Spans:
    """Left part and right part of one line; the right part is dropped when there is no room for both."""
    used, other = sum(width_of(text) for text, _ in left), sum(width_of(text) for text, _ in right)
    if used + other + 1 > width:
        return tuple(left)
    return (*left, (" " * (width - used - other), Tone.PLAIN), *right)


def wrap(text: str, width: int) -> list[str]:
    """A line in pieces of at most `width` cells, cut anywhere: what is copied from a log keeps its letters."""
    if width < 1 or width_of(text) <= width:
        return [text]
    if text.isascii():
        return [text[at : at + width] for at in range(0, len(text), width)]
    pieces, piece, room = [], "", width
    for letter in text:
        size = get_character_cell_size(letter)
        if size > room:
            pieces.append(piece)
            piece, room = "", width
        piece, room = piece + letter, room - size
    return [*pieces, piece]


def words(text: str, width: int) -> list[str]:
    """A sentence in lines of at most `width` cells, broken at spaces where there are any."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and width_of(line) + 1 + width_of(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
        while width_of(line) > width > 0:
            head, *_ = wrap(line, width)
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line] if line or not lines else lines
