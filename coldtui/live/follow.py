"""One run, followed: what its events and its log brought since the last look. Blocking; each face calls it in a thread of its own."""

from __future__ import annotations

import time

from coldtui.domain.values import dataclass

from ..domain.runs import Run, RunEvent, RunLine
from ..ports import Journal, LogPart

PART_B = 1 << 20
"""Bytes of log a look, at most: some ten thousand lines."""
COUNT_S = 1.0
_COUNTS = "lines dropped: the log is full"
CHUNK_B = 1 << 18
"""Bytes of log that are read at once when somebody scrolls."""


@dataclass(frozen=True, slots=True)
class News:
    """What one look brought."""

    run: Run
    """As it was before the rest was read: one that had ended by then has nothing more to say."""
    events: tuple[RunEvent, ...]
    part: LogPart
    start: int
    """Byte offset of the first line in `part`. Equal to `part.next` where there is a line all the same: the last line is another one now."""

    @property
    def over(self) -> bool:
        """The run has ended and everything of it was read."""
        return self.run.state.ended and self.part.next >= self.part.size and not self.events


class Following:
    """Call `look` again and again; one thread at a time."""

    def __init__(self, journal: Journal, run: str, *, offset: int = 0, after: int = 0) -> None:
        """From a byte offset of the log (a line's beginning) and behind an event."""
        self.journal, self.run = journal, run
        self.offset, self.seq = offset, after
        self._count = ""
        """The last line of a log that is full: it counts what was dropped, and is written over as that grows."""
        self._counted = 0.0

    def look(self) -> News:
        """Raises NotFound, JournalTrouble."""
        run = self.journal.run(self.run)
        events = self.journal.events(self.run, after=self.seq)
        start = self.offset
        part = self.journal.read_log(self.run, offset=start, limit_b=PART_B)
        if part.lines:
            self._count = part.lines[-1].text if _COUNTS in part.lines[-1].text else ""
        elif self._count and (run.state.ended or time.monotonic() - self._counted > COUNT_S):
            part = self._recounted(part)
        if events:
            self.seq = events[-1].seq
        self.offset = part.next
        return News(run, events, part, start)

    def _recounted(self, part: LogPart) -> LogPart:
        """The last line once more, when it counts more than before."""
        self._counted = time.monotonic()
        last = before(self.journal, self.run, self.offset, 1).lines[-1:]
        if not last or last[0].text == self._count:
            return part
        self._count = last[0].text
        return LogPart(last, part.next, part.size)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines between two byte offsets of a log."""

    lines: tuple[RunLine, ...]
    start: int
    end: int


def before(journal: Journal, run: str, offset: int, want_b: int = CHUNK_B) -> Chunk:
    """The lines that end where the one at `offset` begins: about so many bytes of them, fewer only at the beginning of the log."""
    begin = offset
    while begin >= offset > 0:  # once more, and further back, when one line fills it all
        begin = after_a_line(journal, run, offset - want_b) if want_b < offset else 0
        want_b *= 2
    return between(journal, run, begin, offset)


def between(journal: Journal, run: str, start: int, end: int) -> Chunk:
    """All lines from one line's beginning to another's."""
    lines: list[RunLine] = []
    at = start
    while at < end:
        part = journal.read_log(run, offset=at, limit_b=min(PART_B, end - at))
        if part.next <= at:
            break
        lines += part.lines
        at = part.next
    return Chunk(tuple(lines), start, at)


def after_a_line(journal: Journal, run: str, offset: int) -> int:
    """Where a line begins shortly after an offset. (Offsets that are counted from the end begin with a whole line.)"""
    size = journal.read_log(run, offset=0, limit_b=1).size
    return journal.read_log(run, offset=offset - size, limit_b=1).next


def tail(journal: Journal, run: str, lines: int) -> int:
    """Byte offset from which on the log has its last `lines` lines."""
    size = journal.read_log(run, offset=0, limit_b=1).size
    at, found = size, 0
    while at > 0 and found < lines:
        chunk = before(journal, run, at)
        if chunk.start >= at:
            break
        found += len(chunk.lines)
        if found > lines:
            return _skip(journal, run, chunk.start, found - lines)
        at = chunk.start
    return at


def _skip(journal: Journal, run: str, offset: int, lines: int) -> int:
    """Where the line begins that is so many lines further on."""
    while lines > 0:
        part = journal.read_log(run, offset=offset, limit_b=1)
        if part.next <= offset:
            break
        step = len(part.lines)
        offset, lines = part.next, lines - max(1, step)
    return offset
