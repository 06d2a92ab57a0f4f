"""Bytes of a command's output into lines. No asyncssh here."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ...domain.errors import ColdError
from ...domain.text import counted, plain, without_ansi
from ...ports import Clock, Output

LONGEST = 4_096
KEPT = 2_000
TOLD_A_SECOND = 20_000
"""More lines than that are counted instead: nobody reads them, and the reader has keys to answer."""
_RAW = LONGEST * 4
_BREAK = re.compile(rb"\r\n|\n|\r")

Told = Callable[[Output], None]


class NotSent(Exception):
    """The connection turned out dead before the command was on its way."""

    def __init__(self, trouble: ColdError) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


def clean(raw: bytes) -> str:
    """One line as text that is safe to draw."""
    text = plain(without_ansi(raw.decode("utf-8", "replace")).replace("\t", "    "))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


@dataclass
class Lines:
    """Bytes of one stream into lines. Memory is bounded whatever comes."""

    stream: str
    clock: Clock
    told: Told | None = None
    kept: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT))
    _tail: bytes = b""
    _after_cr: bool = False
    _second: float = 0.0
    _told: int = 0
    _dropped: int = 0

    def feed(self, data: bytes) -> None:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        *whole, self._tail = _BREAK.split(self._tail + data)
        self._tail = self._tail[:_RAW]
        for line in whole:
            self._line(line)

    def _line(self, raw: bytes) -> None:
        raw = raw[:_RAW]
        self.kept.append(raw)
        if self.told is None:
            return
        if self._told >= TOLD_A_SECOND or not self._told:
            now = self.clock.monotonic()
            if now - self._second >= 1.0:
                self._count()
                self._second, self._told = now, 0
            if self._told >= TOLD_A_SECOND:
                self._dropped += 1
                return
        self._told += 1
        self.told(Output(self.stream, clean(raw)))

    def _count(self) -> None:
        if self._dropped and self.told is not None:
            self.told(Output(self.stream, f"[{counted(self._dropped, 'line')} left out: too many at once]"))
        self._dropped = 0

    def end(self) -> tuple[str, ...]:
        """The last lines, once nothing comes any more."""
        if self._tail:
            self._line(self._tail)
            self._tail = b""
        self._count()
        return tuple(clean(raw) for raw in self.kept)
