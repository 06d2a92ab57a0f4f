"""Ends the programs of a control plane when the process that started them is gone, even if that was killed outright.

`atexit` does not run after SIGKILL or `os._exit` (which pytest-timeout may use), and an API server left behind keeps 300 MB.
Run as a program: reads lines "+PID" and "-PID" from stdin; at the end of stdin it kills those that were not taken back.
A PID in the list cannot have been given to another process before that: its parent, who would have to reap it, says "-PID" when it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


class Keeper:
    """The watching side: tell it what was started and what was reaped."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, text=True
        )  # not our stdout: whoever reads that waits for its end

    def add(self, pid: int) -> None:
        """`pid` was started by this process."""
        self._say(f"+{pid}")

    def drop(self, pid: int) -> None:
        """`pid` has ended and was reaped."""
        self._say(f"-{pid}")

    def close(self) -> None:
        """Nothing is left to keep."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it was killed from outside: nothing more to tell it
                self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def main() -> None:
    """Listen until the other end is closed, then kill what is left."""
    kept: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (kept.add if line[0] == "+" else kept.discard)(pid)
    for pid in kept:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
