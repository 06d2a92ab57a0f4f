"""A log: a bounded ring that follows, filters, wraps, and never delays a key."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip

from ...ports import LogLine
from ...present.rows import Tone
from ..guard import GuardedWidget
from ..theme import palette_of
from . import filters
from .draw import Span, Spans, ends, strip_of, wrap
from .textview import READING, TakeText

CAPACITY = 20_000
_CHUNK = 1_000
"""The ring is cut in steps of this many lines, so that cutting costs little."""
_FLUSH_S = 0.1
_SINCE = {"2": (60, "1 m"), "3": (300, "5 m"), "4": (900, "15 m"), "5": (1800, "30 m"), "6": (3600, "1 h")}


class LogView(GuardedWidget, can_focus=True):
    """`extend(lines)` at any rate; it is shown at most ten times a second."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "LogView { height: 1fr; width: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        *READING,
        Binding("s", "follow", "Follow", id="log.follow", tooltip="Follow the end, or stay here"),
        Binding("t", "stamps", "Times", id="log.times", tooltip="Show the time of each line"),
        Binding("m", "mark", "Mark", show=False, id="log.mark", tooltip="Put a mark after the newest line"),
        Binding("C", "wipe", "Clear", show=False, id="log.clear", tooltip="Clear what is shown"),
        Binding("0", "range('0')", "Tail", show=False, id="log.tail", tooltip="The last lines, and what follows"),
        Binding("1", "range('1')", "Head", show=False, id="log.head", tooltip="From the beginning"),
        *(
            Binding(key, f"range('{key}')", f"Since {words}", show=False, id=f"log.since-{words.replace(' ', '')}")
            for key, (_, words) in _SINCE.items()
        ),
    ]

    class RangeChosen(Message):
        """Another part of the log is wanted: `since_s` seconds back, the head, or else the tail. The view is cleared by then."""

        def __init__(self, view: LogView, *, since_s: int | None = None, head: bool = False) -> None:
            super().__init__()
            self.view, self.since_s, self.head = view, since_s, head

    def __init__(self, title: str = "", *, stem: str = "log", capacity: int = CAPACITY, id: str | None = None) -> None:
        super().__init__(id=id)
        self.title, self.stem, self.capacity = title, stem, capacity
        self.note = ""
        """How the stream stands, in a word or two: `previous`, `ended`, `reconnecting`."""
        self.part = "tail"
        self.wrap = self.stamps = False
        self.following = True
        self.dropped = 0
        """Lines that no longer fit, or that never did."""
        self.filter = filters.NO_FILTER
        self.match: int | None = None
        self._pan = 0
        self._lines: list[LogLine | str] = []
        """A str is a mark or a word of ours."""
        self._first = 0
        """Number of the first line in the ring; numbers rise for ever."""
        self._hits: list[int] | None = None
        """Numbers of the lines that pass the filter; None: all do."""
        self._top = (0, 0)
        """(number, row within the line) at the top while not following."""
        self._pending: list[LogLine | str] = []
        self._flushing = False
        self._screen_rows: list[tuple[int, int, str]] | None = None

    # ------------------------------------------------------------ content

    def extend(self, lines: Sequence[LogLine]) -> None:
        """New lines, oldest first."""
        self._add(lines)

    def say(self, text: str) -> None:
        """A word of ours between the lines, such as "the stream broke, going on from 14:02:11"."""
        self._add((f"── {text} ──",))

    def lose(self, count: int) -> None:
        """Lines were lost before they came here."""
        self.dropped += count
        self._wake()

    def clear(self) -> None:
        self._lines.clear()
        self._pending.clear()
        self._first, self._top, self.match, self.dropped = 0, (0, 0), None, 0
        self._hits = [] if self._hits is not None else None
        self._changed()

    def _add(self, lines: Sequence[LogLine | str]) -> None:
        self._pending.extend(lines)
        if len(self._pending) > self.capacity:
            gone = len(self._pending) - self.capacity
            self.dropped += gone
            del self._pending[:gone]
        self._wake()

    def _wake(self) -> None:
        if not self._flushing and self.is_mounted:
            self._flushing = True
            self.set_timer(_FLUSH_S, self._flush)

    def on_mount(self) -> None:
        if self._pending:
            self._flush()

    def _flush(self) -> None:
        self._flushing = False
        fresh, self._pending = self._pending, []
        start = self._first + len(self._lines)
        self._lines += fresh
        test = self.filter.text
        if self._hits is not None and test is not None:
            self._hits += [start + i for i, line in enumerate(fresh) if isinstance(line, str) or test(line.text)]
        if len(self._lines) > self.capacity + _CHUNK:
            self._cut(len(self._lines) - self.capacity)
        self._changed()

    def _cut(self, gone: int) -> None:
        """The oldest lines leave the ring."""
        del self._lines[:gone]
        self._first += gone
        self.dropped += gone
        if self._hits is not None:
            del self._hits[: bisect_left(self._hits, self._first)]
        if self._top[0] < self._first:
            self._top = (self._first, 0)

    def _changed(self) -> None:
        self._screen_rows = None
        self.refresh()

    @property
    def text(self) -> list[str]:
        """All lines that pass the filter, with times where the log has them."""
        return [self._text(number, stamps=True) for number in self._numbers()]

    def _numbers(self) -> Sequence[int]:
        return self._hits if self._hits is not None else range(self._first, self._first + len(self._lines))

    def _text(self, number: int, *, stamps: bool = False) -> str:
        line = self._lines[number - self._first]
        if isinstance(line, str):
            return line
        if (stamps or self.stamps) and line.at is not None:
            return f"{line.at:%Y-%m-%dT%H:%M:%S}.{line.at.microsecond // 1000:03}Z {line.text}"
        return line.text

    def set_filter(self, typed: str) -> str:
        """Only lines that match; returns what is wrong with what was typed."""
        self.filter = filters.parse(typed)
        self.match = None
        test = self.filter.text
        if test is None:
            self._hits = None
        else:
            lines = enumerate(self._lines, self._first)
            self._hits = [number for number, line in lines if isinstance(line, str) or test(line.text)]
        self._changed()
        return self.filter.note

    def clear_narrowing(self) -> bool:
        """What esc does before it goes back."""
        if not self.filter.typed:
            return False
        self.set_filter("")
        return True

    # ------------------------------------------------------------ what is on the screen

    @property
    def page(self) -> int:
        return max(1, self.size.height - 1)

    def _pieces(self, number: int) -> list[str]:
        return wrap(self._text(number), self.size.width) if self.wrap else [self._text(number)]

    def _visible(self) -> list[tuple[int, int, str]]:
        """(number, row within the line, text) of each row of the screen."""
        if self._screen_rows is None:
            self._screen_rows = self._from_end() if self.following else self._from_top()
        return self._screen_rows

    def _from_end(self) -> list[tuple[int, int, str]]:
        rows: list[tuple[int, int, str]] = []
        numbers = self._numbers()
        for at in range(len(numbers) - 1, -1, -1):
            pieces = self._pieces(numbers[at])
            rows = [(numbers[at], i, piece) for i, piece in enumerate(pieces)] + rows
            if len(rows) >= self.page:
                break
        return rows[-self.page :]

    def _from_top(self) -> list[tuple[int, int, str]]:
        rows: list[tuple[int, int, str]] = []
        numbers = self._numbers()
        at = bisect_left(numbers, self._top[0])
        skip = self._top[1] if at < len(numbers) and numbers[at] == self._top[0] else 0
        while at < len(numbers) and len(rows) < self.page + skip:
            rows += [(numbers[at], i, piece) for i, piece in enumerate(self._pieces(numbers[at]))]
            at += 1
        return rows[skip : skip + self.page]

    def _scroll(self, by: int) -> None:
        numbers = self._numbers()
        if not numbers:
            return
        shown = self._visible()
        number, piece = (shown[0][0], shown[0][1]) if shown else (numbers[0], 0)
        at = bisect_left(numbers, number)
        while by < 0 and (at > 0 or piece > 0):
            step = min(piece, -by)
            piece, by = piece - step, by + step
            if by < 0 and at > 0:
                at -= 1
                piece, by = len(self._pieces(numbers[at])) - 1, by + 1
        while by > 0 and at < len(numbers):
            left = len(self._pieces(numbers[at])) - 1 - piece
            step = min(left, by)
            piece, by = piece + step, by - step
            if by > 0:
                if at + 1 >= len(numbers):
                    break
                at, piece, by = at + 1, 0, by - 1
        self.following = False
        self._top = (numbers[at], piece)
        self._screen_rows = None
        if len(self._visible()) < self.page:  # at the end: show a full page, and follow again
            self.following = True
        self._changed()

    # ------------------------------------------------------------ keys

    def action_scroll_rows(self, by: int) -> None:
        self._scroll(by)

    def action_scroll_page(self, by: int) -> None:
        self._scroll(by * (self.page - 1))

    def action_edge(self, where: int) -> None:
        self.following = where > 0
        numbers = self._numbers()
        self._top = (numbers[0] if numbers else 0, 0)
        self._changed()

    def action_pan(self, by: int) -> None:
        if not self.wrap:
            self._pan = max(0, self._pan + by * max(1, self.size.width // 2))
            self._changed()

    def action_wrap(self) -> None:
        self.wrap, self._pan = not self.wrap, 0
        self._changed()

    def action_stamps(self) -> None:
        self.stamps = not self.stamps
        self._changed()

    def action_follow(self) -> None:
        if self.following:
            shown = self._visible()
            self._top = (shown[0][0], shown[0][1]) if shown else (self._first, 0)
        self.following = not self.following
        self._changed()

    def action_mark(self) -> None:
        self._add(("─" * 40,))

    def action_wipe(self) -> None:
        self.clear()

    def action_match(self, by: int) -> None:
        """Step through the lines that pass the filter."""
        if self._hits is None or not self._hits:
            return
        if self.match is None or self.match < self._first:
            shown = self._visible()
            at = bisect_left(self._hits, shown[0][0]) if shown and by > 0 else len(self._hits) - 1
        else:
            at = (bisect_left(self._hits, self.match) + by) % len(self._hits)
        self.match = self._hits[at]
        if not any(number == self.match for number, _, _ in self._visible()):
            self.following, self._top = False, (self._hits[max(0, at - self.page // 3)], 0)
        self._changed()

    def action_range(self, key: str) -> None:
        since, words = _SINCE.get(key, (None, ""))
        self.part = f"since {words}" if since else "head" if key == "1" else "tail"
        self.clear()
        self.following = key != "1"
        self.post_message(self.RangeChosen(self, since_s=since, head=key == "1"))

    def action_copy(self) -> None:
        self.post_message(TakeText(self.stem, self.text, to_file=False, ending="log"))

    def action_save(self) -> None:
        self.post_message(TakeText(self.stem, self.text, to_file=True, ending="log"))

    # ------------------------------------------------------------ drawing

    def _head(self) -> Spans:
        total = len(self._lines)
        left: list[Span] = [(f" {self.title}", "title")]
        if self.note:
            left.append((f"  {self.note}", Tone.WARN))
        if self.filter.typed:
            left += [(f"  /{self.filter.typed}", Tone.ACCENT), (f" {len(self._hits or ())} of {total}", Tone.MUTED)]
        return ends(left, self._standing(total), self.size.width)

    def _standing(self, total: int) -> list[Span]:
        """The right end of the first line: what is not here, how much is, and whether it follows."""
        right: list[Span] = []
        if self.dropped:
            right.append((f"{self.dropped} older dropped · ", Tone.WARN))
        right += [(f"{self.part} · {'wrap · ' if self.wrap else ''}{total} lines ", Tone.MUTED)]
        right.append(("● follow ", Tone.GOOD) if self.following else ("○ paused ", Tone.STALE))
        return right

    def draw_line(self, y: int) -> Strip:
        palette, width = palette_of(self), self.size.width
        if y == 0:
            return strip_of(self._head(), width, palette)
        rows = self._visible()
        if y - 1 >= len(rows):
            empty = y == 2 and not self._lines
            words = (
                "no line matches · esc shows all" if self._hits is not None and self._lines and y == 2 else "nothing yet" if empty else ""
            )
            return strip_of(((f"  {words}", Tone.MUTED),), width, palette)
        number, _, text = rows[y - 1]
        ours = isinstance(self._lines[number - self._first], str)
        ground = "match" if number == self.match else ""
        return strip_of(((text, Tone.ACCENT if ours else Tone.PLAIN),), width, palette, ground, left=self._pan)

    def on_resize(self) -> None:
        self._changed()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self._scroll(-3)
