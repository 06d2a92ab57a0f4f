"""What goes out: plain tables and JSON on stdout, talk on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ..domain.text import plain

if TYPE_CHECKING:
    from ..present.lines import Line
    from ..present.rows import Cell

GAP = 3
"""Blanks between columns, as kubectl."""


def say(text: str) -> None:
    """One line of talk on stderr."""
    print(f"coldtui: {text}", file=sys.stderr, flush=True)


def data(text: str) -> None:
    """Text on stdout, in what its encoding can show."""
    sys.stdout.write(fitting(text, sys.stdout) + "\n")
    sys.stdout.flush()


def fitting(text: str, stream: IO[str]) -> str:
    """Glyphs in ASCII, and the rest replaced, where the stream cannot take them."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        from ..present.words import ASCII_GLYPHS, GLYPHS

        for name, glyph in GLYPHS.items():
            text = text.replace(glyph, ASCII_GLYPHS[name])
        text = text.replace("–", "-").replace("≥", ">=").replace("·", "-").replace("…", "~")
        text = text.encode(encoding, "replace").decode(encoding)
    return text


def dump(document: Any, *, compact: bool = False) -> None:
    """One JSON document; compact is one line."""
    import json  # help must not pay for it

    if compact:
        data(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
    else:
        data(json.dumps(document, ensure_ascii=False, indent=2))


def coloured(stream: IO[str], environ: Mapping[str, str] = os.environ) -> bool:
    """Colour only on a terminal that takes it, and never with NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def paint(cell: Cell, text: str, colours: bool) -> str:
    if not colours or not text.strip():
        return text
    # Only what needs an eye: trouble and age. Meaning stays in the word beside it.
    code = {"degraded": "33", "critical": "31", "stale": "35", "muted": "2"}.get(cell.tone.value)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def table(titles: Sequence[str], rows: Iterable[Sequence[Cell]], *, headers: bool = True) -> str:
    """Columns as wide as their widest text, left-aligned, three blanks between, as kubectl prints them."""
    from ..present.lines import pad, width

    shown = [list(row) for row in rows]
    wide = [max([width(title) if headers else 0, *(width(row[i].text) for row in shown)]) for i, title in enumerate(titles)]
    colours = coloured(sys.stdout)
    last = len(titles) - 1
    lines = []
    if headers:
        lines.append("".join(title if i == last else pad(title, wide[i] + GAP) for i, title in enumerate(titles)).rstrip())
    for row in shown:
        parts = []
        for i, cell in enumerate(row):
            text = cell.text if cell.text else ""
            parts.append(paint(cell, text, colours) + ("" if i == last else " " * (wide[i] + GAP - width(text))))
        lines.append("".join(parts).rstrip())
    return "\n".join(lines)


def columns() -> int:
    """Width to break sentences at: the terminal's, within reason."""
    import shutil

    return max(60, min(120, shutil.get_terminal_size((100, 24)).columns))


def lines(parts: Iterable[Line], stream: IO[str] | None = None) -> str:
    colours = coloured(stream or sys.stdout)
    return "\n".join("".join(paint(cell, cell.text, colours) for cell in line).rstrip() for line in parts)


def clean(text: str) -> str:
    """Words from outside, made harmless for stderr."""
    return plain(text)
