"""Ends the lab's programs when their parent is gone, even if it was killed outright; ``finally`` does not run after SIGKILL.

Run as a program: reads lines ``+PID``, ``-PID`` and ``rm DIR`` from stdin; at its end it kills those that were not taken back and removes the
folders. A PID in the list cannot have been given to another process before that: its parent, who would have to reap it, says ``-PID`` when it does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading


class Keeper:
    """The watching side: tell it what was started and what was reaped."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", __file__]
        self._lock = threading.Lock()
        # Not our stdout: whoever reads that waits for its end. Its own session: Ctrl-C in the terminal must not reach it before us.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, text=True
        )

    def add(self, pid: int) -> None:
        """``pid`` was started by this process."""
        self._say(f"+{pid}")

    def drop(self, pid: int) -> None:
        """``pid`` has ended and was reaped."""
        self._say(f"-{pid}")

    def remove(self, folder: str) -> None:
        """``folder`` is ours alone and shall be gone at the end."""
        self._say(f"rm {folder}")

    def close(self) -> None:
        """Let it do what is left, and wait for it."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):  # it was killed from outside: nothing more to tell it
                self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def main() -> None:
    """Listen until the other end is closed, then end and remove what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pids: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        word = line.rstrip("\n")
        if word.startswith("+"):
            pids.add(int(word[1:]))
        elif word.startswith("-"):
            pids.discard(int(word[1:]))
        elif word.startswith("rm "):
            folders.append(word[3:])
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
