"""The screen differ: what Textual wants to show, turned into the shortest text that makes the terminal show it.

Textual writes each dirty line from its start, every segment with all its colours. `DiffPainter` keeps what the terminal shows, writes the
cells that changed, and lets the terminal itself move rows that merely scrolled. It reads private shapes of Textual (`LayoutUpdate`,
`ChopsUpdate`); a test pins them, and `PaintedApp` falls back to Textual's own painting when they are unknown.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rich.cells import get_character_cell_size, split_graphemes
from rich.color import ColorSystem
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input

Cell = tuple[str, str]
"""(text, SGR parameters). A wide character is followed by `("", parameters)`."""
UNKNOWN: Cell = ("\0", "")

ASCII = str.maketrans(
    {
        **dict(zip("●◐▲○✓✗·→←↑↓▸▾▴▪…–—≥≤±×•╸━▌▐", "*o!-+x.><^v>v^#~--><~x*==||", strict=True)),
        **dict.fromkeys("─━═╌┄", "-"),
        **dict.fromkeys("│┃║▏▎▍▕", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛╔╗╚╝", "+"),
        **dict(zip("▁▂▃▄▅▆▇█░▒▓", "_.-~+=*#.:%", strict=True)),
    }
)
"""One plain letter for one glyph, for terminals that have no others (TERM=linux, or a locale that is not UTF-8)."""


@lru_cache(4096)
def turn(pen: str, codes: str) -> str:
    """The shortest change from one set of SGR parameters to another."""
    if not codes:
        return "\x1b[0m"
    whole = f"\x1b[0;{codes}m"
    old, new = _parts(pen), _parts(codes)
    if old is None or new is None or old[0] != new[0]:
        return whole
    changed = [part or none for part, before, none in zip(new[1:], old[1:], ("39", "49"), strict=True) if part != before]
    short = f"\x1b[{';'.join(changed)}m"
    return short if len(short) < len(whole) else whole


def _parts(codes: str) -> tuple[str, str, str] | None:
    """(attributes, foreground, background); None for what is not known here."""
    attributes, fore, back = [], "", ""
    numbers = codes.split(";") if codes else []
    at = 0
    while at < len(numbers):
        number = numbers[at]
        if number in {"38", "48"}:
            size = 5 if numbers[at + 1 : at + 2] == ["2"] else 3 if numbers[at + 1 : at + 2] == ["5"] else 0
            colour = ";".join(numbers[at : at + size])
            if not size or at + size > len(numbers):
                return None
            fore, back = (colour, back) if number == "38" else (fore, colour)
            at += size
            continue
        if not number.isdigit():
            return None
        value = int(number)
        if 30 <= value <= 39 or 90 <= value <= 97:
            fore = "" if value == 39 else number
        elif 40 <= value <= 49 or 100 <= value <= 107:
            back = "" if value == 49 else number
        else:
            attributes.append(number)
        at += 1
    return ";".join(attributes), fore, back


class UnknownShape(Exception):
    """This version of Textual hands over something the painter does not know."""


class DiffPainter:
    """Turns compositor updates into the shortest text that makes the terminal show them."""

    NEAR = 4
    """Unchanged cells between two changes that are cheaper to write again than to jump over."""

    def __init__(self, width: int, height: int, colors: ColorSystem | None, *, ascii_only: bool = False) -> None:
        """`colors` None: no colour ever leaves (NO_COLOR); bold, underline and reverse still do."""
        self.size = (width, height)
        self.colors = colors
        self.ascii_only = ascii_only
        self.shown: list[list[Cell]] = [[UNKNOWN] * width for _ in range(height)]
        self._sgr: dict[Style, str] = {}

    def paint(self, update: LayoutUpdate | ChopsUpdate) -> str:
        """Raises UnknownShape, before anything is taken for shown."""
        try:
            wanted = self._rows(update)
        except (AttributeError, TypeError, ValueError, IndexError) as error:
            raise UnknownShape(f"{type(update).__name__}: {error}") from error
        out = [self._scroll(wanted)]
        pen = ""  # colours are reset at the end of each frame, since others write to this terminal too
        for y, new in wanted.items():
            old = self.shown[y]
            if new == old:
                continue
            for first, last in self._runs(old, new):
                out.append(f"\x1b[{y + 1};{first + 1}H")
                for x in range(first, last):
                    text, codes = new[x]
                    if not text:
                        continue
                    if codes != pen:
                        out.append(turn(pen, codes))
                        pen = codes
                    out.append(text)
                    if not text.isascii() and (len(text) > 1 or (x + 1 < len(new) and not new[x + 1][0])):
                        # Terminals disagree on the width of what is wide or composed: say where the next cell is.
                        out.append(f"\x1b[{x + 1 + self._width_at(new, x)}G" if x + 1 < last else "")
            self.shown[y] = new
        if pen:
            out.append("\x1b[0m")
        return "".join(out)

    def frame(self, first: int = 0) -> str:
        """What the terminal shows, from line `first` on, as text that draws it on an empty screen; empty when it is not wholly known."""
        out: list[str] = []
        for y, line in enumerate(self.shown[first:], first):
            if UNKNOWN in line:
                return ""
            out.append(f"\x1b[{y + 1};1H")
            pen = "?"
            for text, codes in line:
                if codes != pen:
                    out.append(f"\x1b[0;{codes}m" if codes else "\x1b[0m")
                    pen = codes
                out.append(text)
        return "".join(out) + "\x1b[0m"

    @staticmethod
    def _width_at(line: list[Cell], x: int) -> int:
        return 2 if x + 1 < len(line) and not line[x + 1][0] else 1

    def _rows(self, update: LayoutUpdate | ChopsUpdate) -> dict[int, list[Cell]]:
        """The whole new content of each line that the update touches."""
        wanted: dict[int, list[Cell]] = {}
        height = self.size[1]
        if isinstance(update, LayoutUpdate):
            if update.region.x:
                raise UnknownShape("a layout that does not begin at the left edge")
            for y, strips in enumerate(update.strips, update.region.y):
                if y < height:
                    wanted[y] = self._fit([cell for strip in strips for cell in self._cells(strip)])
            return wanted
        for y, x1, x2 in update.spans:
            if y >= height:
                continue
            line = wanted.get(y)
            if line is None:
                line = wanted[y] = self.shown[y].copy()
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=True):
                if strip is not None and x < x2 and end > x1:
                    low, high = max(x, x1), min(end, x2)
                    piece = self._cells(strip)[low - x : high - x]
                    piece += [(" ", "")] * (high - low - len(piece))
                    line[low:high] = piece
            wanted[y] = self._fit(line)
        return wanted

    def _fit(self, line: list[Cell]) -> list[Cell]:
        """Exactly as wide as the screen, and no half of a wide character without the other."""
        width = self.size[0]
        if len(line) != width:
            line = line[:width] + [(" ", "")] * (width - len(line))
        if line and not line[0][0]:
            line[0] = (" ", line[0][1])
        last = line[-1][0] if line else ""
        if last and not last.isascii() and get_character_cell_size(last[0]) == 2:
            line[-1] = (" ", line[-1][1])
        return line

    def _scroll(self, wanted: dict[int, list[Cell]]) -> str:
        """If rows only moved up or down, let the terminal move them (DECSTBM, delete or insert line: VT102 and later)."""
        ys = sorted(wanted)
        if len(ys) < 8:
            return ""
        old = {y: hash(tuple(text for text, _ in self.shown[y])) for y in ys}
        new = {y: hash(tuple(text for text, _ in wanted[y])) for y in ys}
        stay = sum(old[y] == new[y] for y in ys)
        if stay == len(ys):
            return ""
        best = (0, 0, 0, 0)
        for by in (1, -1, 2, -2, 3, -3, len(ys) // 2, -(len(ys) // 2)):  # lines that j, k, the wheel and half a page move
            moved = [y for y in ys if old.get(y + by) == new[y]]
            if len(moved) - stay > max(4, best[0]):
                best = (len(moved) - stay, by, min(moved), max(moved))
        gain, by, first, last = best
        if not gain:
            return ""
        top, bottom = min(first, first + by), max(last, last + by)
        if any(y not in wanted for y in range(top, bottom + 1)):
            return ""  # a line between them that this update does not touch would move along
        part, blank = self.shown[top : bottom + 1], [[UNKNOWN] * self.size[0] for _ in range(abs(by))]
        self.shown[top : bottom + 1] = part[by:] + blank if by > 0 else blank + part[:by]
        return f"\x1b[{top + 1};{bottom + 1}r\x1b[{top + 1};1H\x1b[{abs(by)}{'M' if by > 0 else 'L'}\x1b[r"

    def _runs(self, old: list[Cell], new: list[Cell]) -> list[list[int]]:
        """[start, end) of the cells to write, near ones joined, never beginning inside a wide character."""
        out: list[list[int]] = []
        for x in range(len(new)):
            if new[x] != old[x]:
                start = x - 1 if x and not new[x][0] else x
                if out and start - out[-1][1] <= self.NEAR and UNKNOWN not in new[out[-1][1] : start]:
                    out[-1][1] = x + 1
                else:
                    out.append([start, x + 1])
        for run in out:  # the old wide character's other half is wiped by the terminal: write its cell again
            while run[1] < len(new) and not (new[run[1]][0] and old[run[1]][0]):
                run[1] += 1
        return out

    def _codes(self, style: Style | None) -> str:
        if style is None:
            return ""
        codes = self._sgr.get(style)
        if codes is None:
            shown = style.update_link(None) if style.link else style
            if self.colors is None:
                shown = shown.without_color
            codes = shown.render("\0", color_system=self.colors or ColorSystem.STANDARD).split("\0")[0][2:-1]
            self._sgr[style] = codes
        return codes

    def _cells(self, strip: Strip) -> list[Cell]:
        out: list[Cell] = []
        for text, style, control in strip:
            if control:
                continue
            codes = self._codes(style)
            if self.ascii_only and not text.isascii():
                text = self._plain_letters(text)
            if text.isascii():
                out += [(letter, codes) for letter in text]
            elif "\ufe0f" in text or "\u200d" in text:
                spans, _ = split_graphemes(text)
                for start, end, width in spans:
                    self._put(out, text[start:end], width, codes)
            else:
                for letter in text:
                    self._put(out, letter, get_character_cell_size(letter), codes)
        return out

    @staticmethod
    def _put(out: list[Cell], text: str, width: int, codes: str) -> None:
        if width:
            out.append((text, codes))
            if width > 1:
                out.append(("", codes))
        elif out:  # a combining mark belongs to the character before it
            at = -1 if out[-1][0] or len(out) == 1 else -2
            out[at] = (out[at][0] + text, out[at][1])

    @staticmethod
    def _plain_letters(text: str) -> str:
        """The same number of cells in ASCII; what has no likeness becomes `?`."""
        text = text.translate(ASCII)
        return text if text.isascii() else "".join(c if c.isascii() else "?" * get_character_cell_size(c) for c in text)


class PaintedApp(App[int]):
    """An app that paints through a `DiffPainter`."""

    painter: DiffPainter | None = None
    ascii_only = False
    written = 0
    """Characters written by the painter."""
    painter_failed = ""
    """Why Textual paints by itself; empty while the differ works."""

    def forget_screen(self) -> None:
        """The terminal may show anything now (resize, resume, another program wrote): the next frame is painted whole."""
        self.painter = None

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        ours = isinstance(renderable, (LayoutUpdate, ChopsUpdate))
        if not ours or self.painter_failed or self.is_headless or self._driver is None or self._driver.is_inline:
            if ours and self.painter_failed:
                self.painter = None
            super()._display(screen, renderable)
            return
        if self._batch_count or not self._running or self._closed:
            self.post_display_hook()
            return
        size = (screen.outer_size.width, screen.outer_size.height)
        if self.painter is None or self.painter.size != size:
            colors = None if self.no_color else self.console._color_system
            self.painter = DiffPainter(*size, colors, ascii_only=self.ascii_only)
            if not isinstance(renderable, LayoutUpdate):
                screen.refresh()  # all of it, next: a part alone says nothing of its surroundings
                self.post_display_hook()
                return
        try:
            text = self.painter.paint(renderable)
        except UnknownShape as error:
            self.painter_failed = str(error)
            self.log.error(f"screen differ: {error}")
            self.painter = None
            super()._display(screen, renderable)
            return
        if text:
            self._begin_update()
            self._driver.write(text + self._park())
            self._end_update()
            self._driver.flush()
            self.written += len(text)
        self.post_display_hook()

    def _park(self) -> str:
        """Where input methods open their window: at the cursor of the Input that has focus."""
        focused = self.focused
        if not isinstance(focused, Input):
            return ""
        x, y = self.cursor_position
        return f"\x1b[{y + 1};{x + 1}H"
