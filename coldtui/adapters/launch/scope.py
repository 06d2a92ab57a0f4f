"""A systemd scope around a runner, where that makes it live longer.

A new session survives a closed terminal. What may still end it is logind with `KillUserProcesses=yes`, which ends a login's whole scope, and
the end of a service that started it: a scope of its own is outside both. Root gets one of the system. Anybody else gets one of the user's
manager only where that manager lingers: without it the manager ends with the last login, and its scopes with it, which is worse than none.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from shutil import which

PROBE_S = 5.0
_LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


class Scope:
    """`prefix(run)`: what stands before the runner's command; empty: nothing is to be had."""

    def __init__(
        self, *, booted: Path = Path("/run/systemd/system"), linger: Path = Path("/var/lib/systemd/linger"), program: str = ""
    ) -> None:
        """`booted` exists where systemd is the first process; `linger` holds a file for each user whose manager stays."""
        self._booted, self._linger, self._program = booted, linger, program
        self._works: dict[tuple[str, ...], bool] = {}

    def prefix(self, run_id: str) -> tuple[str, ...]:
        program = self._program or which("systemd-run")
        if not program or not self._booted.is_dir():
            return ()
        level = "--system" if os.geteuid() == 0 else "--user"
        if level == "--user" and not (self._linger / _name()).exists():
            return ()
        start = (program, level, "--scope", "--quiet", "--collect")
        if start not in self._works:
            self._works[start] = _does(start)
        return (*start, f"--unit=coldtui-run-{run_id}", "--") if self._works[start] else ()

    def ends_at_logout(self, busctl: str = "") -> bool:
        """Whether a run of this user ends when they log out: logind kills what they leave, and no scope of its own is to be had."""
        program = busctl or which("busctl")
        if os.geteuid() == 0 or not program or not self._booted.is_dir() or (self._linger / _name()).exists():
            return False
        try:
            done = subprocess.run(
                [program, "get-property", *_LOGIND, "KillUserProcesses"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.stdout.strip() == b"b true"


def _name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _does(start: tuple[str, ...]) -> bool:
    """Whether a scope can be had: containers have the program and no manager that answers."""
    try:
        done = subprocess.run([*start, "--", "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
