"""A program in a real pseudo-terminal, seen through an emulator. Waits on conditions, never on time."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyte

_PRIVATE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1bP.*?\x1b\\|\x1b\[\?[0-9;]*\$p|\x1b\]52;[^\x07]*\x07")
"""What pyte does not know and would print."""


class Terminal:
    """One program and its screen."""

    def __init__(
        self, command: Sequence[str], *, cols: int = 80, rows: int = 24, environ: dict[str, str] | None = None, cwd: str | None = None
    ) -> None:
        self.screen = pyte.Screen(cols, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        """Everything the program wrote."""
        self.code: int | None = None
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SSH_", "TEXTUAL")) and k not in {"NO_COLOR", "COLORTERM"}}
        env |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": ""} | (environ or {})
        self.master, self._slave = pty.openpty()
        self.resize(cols, rows, tell=False)
        self.before = termios.tcgetattr(self._slave)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.master)
            os.setsid()
            fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(self._slave, fd)
            if cwd:
                os.chdir(cwd)
            os.execvpe(command[0], list(command), env)
        # The slave stays open here, so that its settings can be read after the program ended.

    # ------------------------------------------------------------ looking

    def pump(self, wait_s: float = 0.02) -> bool:
        """Take what the program wrote; True when there was anything."""
        if self.master < 0 or not select.select([self.master], [], [], wait_s)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.raw += data
        self.stream.feed(_PRIVATE.sub(b"", data))
        return bool(data)

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def settings(self) -> list[object]:
        """The terminal's settings now."""
        return termios.tcgetattr(self._slave)

    def until(self, condition: Callable[[], bool] | str, limit_s: float = 10.0) -> None:
        """Look until the condition holds, or the text is on the screen. Raises AssertionError with the screen when it never does."""
        end = time.monotonic() + limit_s
        while not (condition in self.text if isinstance(condition, str) else condition()):
            if time.monotonic() > end:
                raise AssertionError(f"never: {condition}; the screen is\n{self.text}\nafter {self.raw[-300:]!r}")
            self.pump()

    def quiet(self, for_s: float = 0.25) -> None:
        """Until the program wrote nothing for a while."""
        while self.pump(for_s):
            pass

    # ------------------------------------------------------------ doing

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, cols: int, rows: int, *, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        if tell:
            self.screen.resize(rows, cols)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Close the terminal under the program."""
        os.close(self.master)
        os.close(self._slave)
        self.master = self._slave = -1

    def wait(self, limit_s: float = 20.0) -> int:
        """Until the program ended; its exit code, negative for a signal."""
        end = time.monotonic() + limit_s
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                break
            if time.monotonic() > end:
                raise AssertionError(f"it does not end; the screen is\n{self.text}")
            if not self.pump() and self.master < 0:
                select.select([], [], [], 0.02)
        while self.pump(0):
            pass
        return self.code

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGCONT)
            os.waitpid(self.pid, 0)
            self.code = -signal.SIGKILL
        if self.master >= 0:
            os.close(self.master)
            os.close(self._slave)


@contextmanager
def terminal(
    *arguments: str, cols: int = 80, rows: int = 24, environ: dict[str, str] | None = None, module: str = "tests.tui.toy"
) -> Iterator[Terminal]:
    """A module run in a terminal, by default the toy console."""
    made = Terminal([sys.executable, "-m", module, *arguments], cols=cols, rows=rows, environ=environ)
    try:
        yield made
    finally:
        made.close()
