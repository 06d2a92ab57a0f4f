"""Textual's driver for Linux, with the terminal's care that a console over SSH needs."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from typing import Any

from textual import events
from textual.drivers.linux_driver import LinuxDriver

HUNG_UP = 128 + signal.SIGHUP
"""Exit code of a console whose terminal went away."""
ENTER_ALTERNATE = "\x1b[?1049h"


class QuietDriver(LinuxDriver):
    """May find the alternate screen already up and painted (`picture`): entering it again would clear the picture."""

    picture_drawn = False
    """Set by `run_console` when the saved picture is on the screen; true for the first entering only."""

    def write(self, data: str) -> None:
        if data == ENTER_ALTERNATE and QuietDriver.picture_drawn:
            QuietDriver.picture_drawn = False
            return
        super().write(data)

    def _get_terminal_size(self) -> tuple[int, int]:
        """What the terminal itself says: COLUMNS and LINES, which Textual asks first, do not follow a resize."""
        for fd in (2, 1, 0):
            try:
                cols, rows = os.get_terminal_size(fd)
            except OSError:
                continue
            if cols and rows:
                return cols, rows
        return super()._get_terminal_size()

    def _run_input_thread(self) -> None:
        """A terminal that is gone ends the console; Textual would print a traceback into it."""
        try:
            self.run_input_thread()
        except OSError as error:
            if error.errno not in {errno.EIO, errno.EBADF}:
                raise
            self._app.call_later(self._gone)

    def _gone(self) -> None:
        self._app.exit(return_code=HUNG_UP)

    def terminal_lives(self) -> bool:
        """False once the other side hung up."""
        try:
            os.tcgetpgrp(self.fileno)
        except OSError:
            return False
        return True

    def send_size(self) -> None:
        """Tell the app the terminal's size now (after a suspend it may have changed without a signal)."""
        from textual.geometry import Size

        size = Size(*self._get_terminal_size())
        event: Any = events.Resize(size, size)
        asyncio.run_coroutine_threadsafe(self._app._post_message(event), loop=asyncio.get_running_loop())
