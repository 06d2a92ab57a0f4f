"""The screen differ shows what a full repaint would show, and knows the shapes it reads."""

from __future__ import annotations

import inspect
import random
from typing import Any

import pyte
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip

from coldtui.tui.paint import Cell, DiffPainter

WIDTH, HEIGHT = 60, 20
STYLES = [Style(color="#aabbcc"), Style(color="red", bgcolor="#102030"), Style(bold=True), Style(bgcolor="blue"), None]
LETTERS = "abc 012 ●▲é漢字한"


def _strip(rng: random.Random, wide: int) -> Strip:
    parts: list[Segment] = []
    while sum(part.cell_length for part in parts) < wide:
        parts.append(Segment("".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 12))), rng.choice(STYLES)))
    return Strip(parts).adjust_cell_length(wide, STYLES[0])


class Emulator:
    def __init__(self, text: str = "") -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.screen.reset_mode(pyte.modes.DECAWM)
        self.stream = pyte.Stream(self.screen)
        self.stream.feed(text)

    def seen(self) -> list[tuple[Any, ...]]:
        cells = (self.screen.buffer[y][x] for y in range(HEIGHT) for x in range(WIDTH))
        return [(c.data, c.bg, *((c.fg, c.bold) if c.data.strip() else ())) for c in cells]


def _agrees(painter: DiffPainter, shown: list[Cell], line: Strip, a: int, b: int) -> bool:
    """A cut through a wide character changes cells outside the span too; then the whole line is dirty."""
    new = painter._cells(line)
    return shown[:a] == new[:a] and shown[b:] == new[b:]


def test_random_frames_look_like_full_repaints_and_cost_less() -> None:
    """After each of 400 random updates (wide letters, scrolls, parts of lines) the emulator shows what a full repaint shows."""
    rng, console = random.Random(7), Console(force_terminal=True, color_system="truecolor", width=WIDTH)
    lines = [_strip(rng, WIDTH) for _ in range(HEIGHT)]
    whole_screen = Region(0, 0, WIDTH, HEIGHT)
    painter, terminal = DiffPainter(WIDTH, HEIGHT, ColorSystem.TRUECOLOR), Emulator()
    terminal.stream.feed(painter.paint(LayoutUpdate([[line] for line in lines], whole_screen)))
    written = full_size = 0
    for number in range(400):
        update: LayoutUpdate | ChopsUpdate
        if (kind := rng.random()) < 0.4:
            by, top = rng.choice([1, -1, 2, 3, -3, 10]), rng.choice([0, 1])
            if kind < 0.3:  # all but a title scroll
                new, part = [_strip(rng, WIDTH) for _ in range(abs(by))], lines[top:]
                lines[top:] = part[by:] + new if by > 0 else new + part[:by]
            else:
                lines = [_strip(rng, WIDTH) for _ in range(HEIGHT)]
            update = LayoutUpdate([[line] for line in lines], whole_screen)
        else:  # parts of some lines, each in three pieces as widgets side by side give, the dirty span inside one of them
            chops: list[dict[int, Strip | None]] = [{0: None} for _ in range(HEIGHT)]
            ends, spans = [[WIDTH] for _ in range(HEIGHT)], []
            for y in sorted(rng.sample(range(HEIGHT), rng.randint(1, 12))):
                a, b = sorted(rng.sample(range(2, WIDTH - 2), 2))
                sizes = (a, b - a, WIDTH - b)
                pieces = [p.adjust_cell_length(w) for p, w in zip(lines[y].divide([a, b, WIDTH]), sizes, strict=True)]
                pieces[1] = _strip(rng, b - a)
                lines[y] = Strip.join(pieces)
                chops[y], ends[y] = {0: pieces[0], a: pieces[1], b: pieces[2]}, [a, b, WIDTH]
                part_only = kind >= 0.7 and _agrees(painter, painter.shown[y], lines[y], a, b)
                spans.append((y, a, b) if part_only else (y, 0, WIDTH))
            update = ChopsUpdate(chops, spans, ends)
        text = painter.paint(update)
        terminal.stream.feed(text)
        full = "".join(f"\x1b[{y + 1};1H{line.render(console)}" for y, line in enumerate(lines))
        assert terminal.seen() == Emulator(full).seen(), f"frame {number}"
        written, full_size = written + len(text), full_size + len(full)
    assert written < full_size * 0.75
    assert Emulator(painter.frame()).seen() == terminal.seen()


def test_a_scrolled_screen_costs_a_line_not_a_screen() -> None:
    """When all rows move up by one, the terminal moves them and one line is written."""
    rows = [f"row {n:02}" + "x" * 40 for n in range(HEIGHT + 1)]
    painter = DiffPainter(WIDTH, HEIGHT, ColorSystem.TRUECOLOR)
    region = Region(0, 0, WIDTH, HEIGHT)
    painter.paint(LayoutUpdate([[Strip([Segment(row)])] for row in rows[:-1]], region))
    text = painter.paint(LayoutUpdate([[Strip([Segment(row)])] for row in rows[1:]], region))
    assert len(text) < 120
    assert "\x1b[1M" in text


def test_parts_of_an_unknown_screen_never_write_what_is_not_known() -> None:
    """A part painted before the whole (after a resize) writes its own cells only: no filler between two near parts, and nothing shifts."""
    painter, terminal = DiffPainter(WIDTH, HEIGHT, ColorSystem.TRUECOLOR), Emulator()
    chops: list[dict[int, Strip | None]] = [{0: Strip([Segment("left")]), 4: None, 7: Strip([Segment("right")])}]
    text = painter.paint(ChopsUpdate(chops, [(0, 0, 4), (0, 7, 12)], [[4, 7, 12]]))
    terminal.stream.feed(text)
    assert "\0" not in text
    assert terminal.screen.display[0].startswith("left   right")
    assert painter.frame() == ""
    painter.paint(LayoutUpdate([[Strip([Segment("left at right" + " " * (WIDTH - 13))])]], Region(0, 0, WIDTH, 1)))


def test_emoji_and_marks_do_not_shift_what_follows() -> None:
    """Combining marks, variation selectors and joined emoji take the cells that Rich measures, and the next cell is addressed."""
    painter, terminal = DiffPainter(WIDTH, HEIGHT, ColorSystem.TRUECOLOR), Emulator()
    for text in ("e\u0301\u0301x|", "❤\ufe0f|", "👩\u200d🚀 go|", "\u0301 begins|", "漢" * 31):
        strip = Strip([Segment(text)])
        line = strip.adjust_cell_length(WIDTH)
        out = painter.paint(LayoutUpdate([[line]], Region(0, 0, WIDTH, 1)))
        terminal.stream.feed(out)
        assert len(painter.shown[0]) == WIDTH
        if "|" in text:
            assert terminal.screen.buffer[0][strip.cell_length - 1].data == "|", text


def test_without_colour_no_colour_leaves() -> None:
    """With NO_COLOR the painter writes bold and reverse, and not one colour parameter."""
    painter = DiffPainter(WIDTH, HEIGHT, None)
    style = Style(color="#ff0000", bgcolor="blue", bold=True, reverse=True)
    text = painter.paint(LayoutUpdate([[Strip([Segment("alarm", style)])]], Region(0, 0, WIDTH, 1)))
    assert "\x1b[0;1;7m" in text
    assert not any(f";{code}" in text for code in (31, 34, 38, 41, 44, 48, 91))


def test_ascii_terminals_get_one_letter_for_each_cell() -> None:
    """For TERM=linux every glyph becomes one ASCII letter, so that columns stay where they are."""
    painter = DiffPainter(WIDTH, HEIGHT, ColorSystem.STANDARD, ascii_only=True)
    text = painter.paint(LayoutUpdate([[Strip([Segment("● ok ▁▂█ ╭─╮ 漢 é|")])]], Region(0, 0, WIDTH, 1)))
    assert text.isascii()
    assert "* ok _.# +-+ ?? ?|" in text


def test_textual_still_has_the_shapes_that_the_painter_reads() -> None:
    """A new Textual that renames these must fail here, not on an operator's screen."""
    assert list(inspect.signature(LayoutUpdate.__init__).parameters)[1:] == ["strips", "region"]
    assert list(inspect.signature(ChopsUpdate.__init__).parameters)[1:] == ["chops", "spans", "chop_ends"]
    assert list(inspect.signature(App._display).parameters) == ["self", "screen", "renderable"]
    assert "LayoutUpdate(render_strips, screen_region)" in inspect.getsource(Compositor.render_full_update)
    assert "ChopsUpdate(chops, spans, chop_ends)" in inspect.getsource(Compositor.render_partial_update)
    for name in ("_batch_count", "_driver", "_running", "_closed", "_begin_update", "_end_update"):
        assert name in inspect.getsource(App), name
