"""What runs put out: one file a run, `time step stream text` a line, read and followed by byte offset."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from ...domain.errors import JournalTrouble, NotFound
from ...domain.runs import RunLine
from ...domain.text import counted, plain
from ...ports import LogPart
from .troubles import said
from .values import stamp

LINE_AT_MOST = 16_384
"""Characters of one line; what is longer is cut."""
READ_ON_B = 1 << 20
"""How far a line is followed past the part that was asked for."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MARK = re.compile(rb"(?:\A|\n)(\S+ -1 say (\d{9}) lines dropped: [^\n]*\n)\Z")
_MARK_B = 200
"""A mark is shorter than this."""


class Output:
    """The folder `runs` beside the journal. The caller lets one thread in at a time."""

    def __init__(self, folder: str, cap_b: int) -> None:
        self._folder = folder
        self._cap = cap_b
        self._lost: dict[str, int] = {}
        """Lines that the disk did not take, by run; told in the log once it does."""

    def path(self, run: str) -> str:
        """Raises NotFound for what is no id of a run, such as `../x`."""
        if not _NAME.fullmatch(run):
            raise NotFound(f"{plain(run)!r} is no run", hint="all: coldtui run list")
        return os.path.join(self._folder, f"{run}.log")

    def size(self, run: str) -> int:
        try:
            return os.stat(self.path(run), follow_symlinks=False).st_size
        except OSError:
            return 0

    # --- writing

    def write(self, run: str, lines: Sequence[RunLine], mode: int, now: datetime) -> None:
        """Append. Never raises for a disk that does not take it: the lines are counted."""
        path, lost = self.path(run), self._lost.pop(run, 0)
        left = lost + len(lines)
        try:
            handle = self._opened(path, mode)
            try:
                left = self._append(handle, path, lines, lost, now)
            finally:
                os.close(handle)
        except OSError:
            pass  # counted below, and told by the first line that gets through
        if left:
            self._lost[run] = left

    def _opened(self, path: str, mode: int) -> int:
        with suppress(FileExistsError):
            os.mkdir(self._folder, 0o750)
            if mode & 0o020:
                os.chmod(self._folder, 0o2770)  # the umask must not take the group's share away
        try:
            return os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            os.fchmod(handle, mode)
            return handle

    def _append(self, handle: int, path: str, lines: Sequence[RunLine], lost: int, now: datetime) -> int:
        """How many of `lost` and `lines` are neither in the log nor counted in it."""
        size = os.fstat(handle).st_size
        tail = os.pread(handle, _MARK_B, max(0, size - _MARK_B))
        if mark := _MARK.search(tail):
            _rewrite(path, size - len(mark[1]), _mark(now, int(mark[2]) + lost + len(lines), self._cap))
            return 0
        begin = b"\n" if tail and not tail.endswith(b"\n") else b""  # a writer was ended in mid-line
        note = [encoded(RunLine(now, -1, "say", f"{counted(lost, 'line')} lost: the disk did not take them"))] if lost else []
        texts = note + [encoded(line) for line in lines]
        fits = _fitting(texts, self._cap - size - len(begin))
        whole = begin + b"".join(texts[:fits])
        if fits < len(texts):
            whole += _mark(now, len(texts) - fits + (lost - 1 if lost and not fits else 0), self._cap)
        kept = _written(handle, size, whole)
        if kept == len(whole):
            return 0
        through = max(0, whole[:kept].count(b"\n") - len(begin))
        return (lost if not through else 0) + len(lines) - max(0, through - len(note))

    # --- reading

    def read(self, run: str, offset: int, limit_b: int) -> LogPart:
        """Raises JournalTrouble when it is there and cannot be read."""
        path = self.path(run)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return LogPart((), 0, 0)
        except OSError as error:
            raise JournalTrouble(
                "the output of a run cannot be read", detail=f"{plain(path)}: {said(error)}", hint="mend its permissions"
            ) from None
        try:
            return _part(handle, offset, max(1, limit_b))
        finally:
            os.close(handle)


def _part(handle: int, offset: int, limit_b: int) -> LogPart:
    size = os.fstat(handle).st_size
    start = _line_start(handle, size + offset if offset < 0 else offset, size)
    data = os.pread(handle, limit_b, start)
    end = data.rfind(b"\n") + 1
    while not end and len(data) < limit_b + READ_ON_B:  # one line is longer than the part
        more = os.pread(handle, 1 << 16, start + len(data))
        if not more:
            return LogPart((), start, size)  # still being written
        data += more
        end = data.find(b"\n") + 1
    if not end:  # none of ours is so long: its beginning is shown, the next part goes on after it
        return LogPart((decoded(data),), start + len(data), size)
    return LogPart(tuple(decoded(line) for line in data[: end - 1].split(b"\n")), start + end, size)


def _line_start(handle: int, offset: int, size: int) -> int:
    """The first byte of a line at or after `offset`; the end when there is none."""
    offset = max(0, min(offset, size))
    while offset and offset < size and os.pread(handle, 1, offset - 1) != b"\n":
        data = os.pread(handle, 1 << 16, offset)
        at = data.find(b"\n")
        offset += at + 1 if at >= 0 else len(data)
    return offset


def encoded(line: RunLine) -> bytes:
    at = stamp(line.at).replace("+00:00", "Z") if line.at is not None else "-"
    stream = plain(line.stream).replace(" ", "_") or "out"
    return f"{at} {line.step} {stream} {plain(line.text[:LINE_AT_MOST])}\n".encode()


def decoded(line: bytes) -> RunLine:
    """A line that is not of our form is shown as it is."""
    text = plain(line.decode("utf-8", "replace"))
    parts = text.split(" ", 3)
    try:
        at = None if parts[0] == "-" else datetime.fromisoformat(parts[0]).astimezone(UTC)
        return RunLine(at, int(parts[1]), parts[2], parts[3])
    except (ValueError, IndexError):
        return RunLine(None, -1, "out", text)


def _fitting(texts: Sequence[bytes], room: int) -> int:
    """How many of the first lines go into `room` bytes."""
    fits = 0
    for text in texts:
        room -= len(text)
        if room < 0:
            break
        fits += 1
    return fits


def _written(handle: int, size: int, data: bytes) -> int:
    """How many bytes stay: whole lines. One write, so that nobody else's line comes in between."""
    n = os.write(handle, data)
    if n == len(data):
        return n
    kept = data[:n].rfind(b"\n") + 1
    os.ftruncate(handle, size + kept)
    return kept


def _mark(now: datetime, dropped: int, cap_b: int) -> bytes:
    """The last line of a full log. Always of the same length, since its number is written over."""
    return encoded(RunLine(now, -1, "say", f"{min(dropped, 999_999_999):09d} lines dropped: the log is full at {cap_b:,} bytes"))


def _rewrite(path: str, at: int, mark: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # O_APPEND would write at the end
    try:
        os.pwrite(handle, mark, at)
    finally:
        os.close(handle)
