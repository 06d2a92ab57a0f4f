"""A log that lies in a file: what no longer fits into the view is read again when somebody scrolls there.

The view is a window of whole lines between two byte offsets. Whoever owns it reads the file, and answers `Wanted`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from ...domain.text import counted
from ...ports import LogLine
from ...present import words
from ...present.rows import Tone
from .draw import Span
from .logview import LogView


class FileLog(LogView):
    """`feed` with what comes at the end of the file; `prepend`, `append` and `reset` with what `Wanted` asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [  # the same keys; the hints have room for what can be done to the run
        Binding("w", "wrap", "Wrap", show=False, id="text.wrap", tooltip="Wrap long lines, or cut them"),
        Binding("t", "stamps", "Times", show=False, id="log.times", tooltip="Show the time of each line"),
    ]

    class Wanted(Message):
        """Another part of the file: `before` or `after` an offset, its `head`, or its `tail`."""

        def __init__(self, view: FileLog, part: str, offset: int) -> None:
            super().__init__()
            self.view, self.part, self.offset = view, part, offset

    class SaveAll(Message):
        """The whole file shall be saved, not only the part that is in the view."""

        def __init__(self, view: FileLog) -> None:
            super().__init__()
            self.view = view

    def __init__(self, title: str = "", *, stem: str = "run", capacity: int = 20_000, id: str | None = None) -> None:
        super().__init__(title, stem=stem, capacity=capacity, id=id)
        self.start = self.end = 0
        """Byte offsets of the window."""
        self.fed = 0
        """Byte offset up to which the file was read by whoever follows it."""
        self.ended = False
        """Nothing comes any more."""
        self._pieces_from: deque[tuple[int, int]] = deque()
        """(number of its first line, byte offset) of each piece in the window."""
        self._asked: tuple[str, int] | None = None

    @property
    def attached(self) -> bool:
        """Whether the window reaches to the end of what was read."""
        return self.end == self.fed

    # ------------------------------------------------------------ content

    def feed(self, lines: Sequence[LogLine], start: int, end: int) -> None:
        """What came at the end of the file. It is only counted while the window is elsewhere, and while a full window is being read."""
        if lines and start == end:
            self._renew_last(lines[-1])
            return
        empty = not self._lines
        attached, self.fed = empty or self.end == start, end
        if attached and lines and (self.following or len(self._lines) < self.capacity):
            if empty:
                self.start, self._pieces_from = start, deque()
            self._add_piece(lines, start, end)
        self._wake()

    def _renew_last(self, line: LogLine) -> None:
        """The last line of the file was written over: it counts what no longer fits into it."""
        if self.attached and self._lines:
            self._lines[-1] = line
            self._wake()

    def reset(self, lines: Sequence[LogLine], start: int, end: int, *, follow: bool) -> None:
        """Another window: the head or the tail of the file."""
        self._asked = None
        self._drop_all()
        self.start, self.end = start, start
        self._add_piece(lines, start, end)
        self.following = follow and self.attached
        self._top = (self._first, 0)
        self._changed()

    def prepend(self, lines: Sequence[LogLine], start: int, end: int) -> None:
        """What lies before the window."""
        self._asked = None
        if end != self.start or not lines:
            return
        self._lines[:0] = lines
        self._first -= len(lines)
        self._pieces_from.appendleft((self._first, start))
        self.start = start
        test = self.filter.text
        if self._hits is not None and test is not None:
            self._hits[:0] = [self._first + i for i, line in enumerate(lines) if test(line.text)]
        self._leave_newest()
        self._changed()

    def append(self, lines: Sequence[LogLine], start: int, end: int) -> None:
        """What lies after the window."""
        self._asked = None
        if start == self.end and lines:
            self._add_piece(lines, start, end)
            self._changed()

    def clear(self) -> None:
        """Only what comes from now on; scrolling up brings the rest back."""
        super().clear()
        self._drop_all()
        self.start = self.end = self.fed
        self._changed()

    def _drop_all(self) -> None:
        self._lines.clear()
        self._pieces_from.clear()
        self._hits = [] if self._hits is not None else None
        self._first, self._top, self.match, self.dropped = 0, (0, 0), None, 0

    def _add_piece(self, lines: Sequence[LogLine], start: int, end: int) -> None:
        number = self._first + len(self._lines)
        self._pieces_from.append((number, start))
        self._lines += lines
        self.end = end
        test = self.filter.text
        if self._hits is not None and test is not None:
            self._hits += [number + i for i, line in enumerate(lines) if test(line.text)]
        if len(self._lines) > self.capacity + 1_000:
            self._cut(len(self._lines) - self.capacity)

    def _cut(self, gone: int) -> None:
        """Whole pieces leave at the top, so that it is known where the window begins."""
        limit, at = self._first + gone, None
        while len(self._pieces_from) > 1 and self._pieces_from[1][0] <= limit:
            self._pieces_from.popleft()
            at = self._pieces_from[0]
        if at is None:
            return
        was = self.dropped
        super()._cut(at[0] - self._first)
        self.dropped, self.start = was, at[1]

    def _leave_newest(self) -> None:
        """Somebody reads far above: the newest pieces leave, and are read again on the way back."""
        while len(self._lines) > self.capacity + 1_000 and len(self._pieces_from) > 1:
            number, offset = self._pieces_from.pop()
            del self._lines[number - self._first :]
            self.end = offset
            self.following = False
            if self._hits is not None:
                del self._hits[bisect_left(self._hits, number) :]

    # ------------------------------------------------------------ scrolling

    def _want(self, part: str, offset: int) -> None:
        if self._asked is None:
            self._asked = (part, offset)
            self.post_message(self.Wanted(self, part, offset))

    def missed(self) -> None:
        """What was wanted could not be read."""
        self._asked = None

    def _scroll(self, by: int) -> None:
        super()._scroll(by)
        if not self.attached:
            self.following = False
        shown, numbers = self._visible(), self._numbers()
        near = 2 * self.page
        if by < 0 and self.start > 0 and (not shown or not numbers or shown[0][0] - self._first < near or shown[0][0] == numbers[0]):
            self._want("before", self.start)
        elif by > 0 and not self.attached and (not shown or self._first + len(self._lines) - shown[-1][0] < near or len(shown) < self.page):
            self._want("after", self.end)

    def action_edge(self, where: int) -> None:
        if where < 0 and self.start > 0:
            self._want("head", 0)
        elif where > 0 and not self.attached:
            self._want("tail", self.fed)
        else:
            super().action_edge(where)

    def action_follow(self) -> None:
        if not self.following and not self.attached:
            self._want("tail", self.fed)
        else:
            super().action_follow()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The ranges of a pod's log are asked of its server; a file has its head (g) and its tail (G)."""
        return action != "range"

    def action_save(self) -> None:
        self.post_message(self.SaveAll(self))

    # ------------------------------------------------------------ drawing

    def _standing(self, total: int) -> list[Span]:
        right: list[Span] = []
        if self.start:
            right.append((f"{words.size(self.start)} above · ", Tone.MUTED))
        if not self.attached:
            right.append((f"{words.size(self.fed - self.end)} below · ", Tone.WARN))
        right.append((f"{'wrap · ' if self.wrap else ''}{counted(total, 'line')} ", Tone.MUTED))
        if self.ended:
            right.append(("✓ ended ", Tone.MUTED))
        else:
            right.append(("● follow ", Tone.GOOD) if self.following else ("○ paused ", Tone.STALE))
        return right

    def on_unmount(self) -> None:
        """A closed screen is a cycle until somebody collects it: its lines must not wait for that."""
        self._lines, self._pending = [], []
        self._pieces_from.clear()
