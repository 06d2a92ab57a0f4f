"""A terminal program in a pseudo-terminal behind an emulator, driven and timed as a person would feel it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil
import pyte

_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1bP.*?\x1b\\")


@dataclass(frozen=True, slots=True)
class Presses:
    """Times in ms from the press to the changed screen, and bytes to the terminal."""

    median_ms: float
    p95_ms: float
    median_bytes: int


@dataclass(frozen=True, slots=True)
class Idle:
    cpu_percent: float
    """Of one core, the whole process tree."""
    bytes_a_minute: float
    memory_mb: float
    """PSS."""


class Ended(Exception):
    """The program ended while something was waited for; the text is its last screen."""


class Terminal:
    """One run of `command` at a size. Use as a context manager: the program is ended by its pid on leaving."""

    def __init__(self, command: Sequence[str], *, cols: int = 120, rows: int = 40, env: Mapping[str, str] | None = None) -> None:
        self.cols, self.rows = cols, rows
        self.screen = pyte.Screen(cols, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.received = 0
        self.first: float | None = None
        self.over = False
        self.raw = bytearray()
        self.keep_raw = False
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        full = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=full,
            start_new_session=True,
            close_fds=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.fd = master

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            deadline = time.perf_counter() + 5
            while self.process.poll() is None and time.perf_counter() < deadline:
                self.pump(0.02)
            if self.process.poll() is None:
                self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.fd)

    def pump(self, wait_s: float) -> bool:
        """Take in what the program wrote; True when something came."""
        if self.over:
            time.sleep(wait_s)
            return False
        if not select.select([self.fd], [], [], wait_s)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        if not data:
            self.over = True
            return False
        if self.first is None:
            self.first = time.perf_counter()
        self.received += len(data)
        if self.keep_raw:
            self.raw += data
        if b"\x1b[6n" in data:
            os.write(self.fd, b"\x1b[1;1R")
        if b"\x1b[c" in data or b"\x1b[0c" in data:
            os.write(self.fd, b"\x1b[?62;22c")
        self.stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))
        return True

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def look(self) -> str:
        """Text and the colours of each line's start: a cursor line moves even when no text does."""
        buffer = self.screen.buffer
        return self.text() + "".join(f"{buffer[y][3].bg}{buffer[y][3].reverse}{buffer[y][3].bold}" for y in range(self.rows))

    def until(self, pattern: str, limit_s: float = 60.0, *, gone: bool = False) -> float:
        """Seconds from now until `pattern` is on the screen (or no longer)."""
        begin, rx = time.perf_counter(), re.compile(pattern, re.M)
        while bool(rx.search(self.text())) == gone:
            if self.over:
                raise Ended(self.text())
            if time.perf_counter() - begin > limit_s:
                raise TimeoutError(f"/{pattern}/ {'still' if gone else 'not'} on screen after {limit_s:g} s:\n{self.text()}")
            self.pump(0.004)
        return time.perf_counter() - begin

    def since_start(self) -> float:
        return time.perf_counter() - self.started

    def send(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def press(self, keys: str, pattern: str, limit_s: float = 60.0, *, gone: bool = False) -> float:
        self.settle(0.5)
        self.send(keys)
        return self.until(pattern, limit_s, gone=gone)

    def settle(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.pump(min(0.05, left))

    def repeat(self, keys: Sequence[str], times: int, *, pause_s: float = 0.15) -> Presses:
        """Press the keys in turn; each until the screen looks different."""
        spent, sizes = [], []
        for i in range(times):
            self.settle(pause_s)
            before, bytes_before, begin = self.look(), self.received, time.perf_counter()
            self.send(keys[i % len(keys)])
            while self.look() == before and time.perf_counter() - begin < 3 and not self.over:
                self.pump(0.002)
            spent.append((time.perf_counter() - begin) * 1000)
            self.settle(0.02)
            sizes.append(self.received - bytes_before)
        spent.sort()
        sizes.sort()
        return Presses(spent[len(spent) // 2], spent[int(len(spent) * 0.95)], sizes[len(sizes) // 2])

    def tree(self) -> list[psutil.Process]:
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu(self) -> float:
        """CPU seconds of the process tree, children that have ended included."""
        return self._sum(lambda p: float(sum(p.cpu_times()[:4])))

    def memory(self) -> float:
        """PSS of the tree in MB."""
        return self._sum(lambda p: float(p.memory_full_info().pss)) / 2**20

    def _sum(self, of: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += of(process)
        return total

    def idle(self, seconds: float) -> Idle:
        bytes_before, cpu_before, begin = self.received, self.cpu(), time.perf_counter()
        self.settle(seconds)
        spent = time.perf_counter() - begin
        return Idle(100 * (self.cpu() - cpu_before) / spent, 60 * (self.received - bytes_before) / spent, self.memory())
