"""What the command line needs of the lab: run one here, start one beside a console, switch its faults.

This module imports nothing heavy, so that ``coldtui --help`` and a missing package stay quick and clear.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import IO, Any, Self

from coldtui.domain.errors import ColdError, Exit, Misconfigured, NotFound, Unreachable
from coldtui.lab.running import Running, labs

READY_S = 60.0
"""For a start; a small site needs two seconds, a big one on a busy machine much longer."""
STOP_S = 10.0
REMEDY = "pip install 'coldtui[demo]'"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """As the command line gives them."""

    dir: Path | None = None
    """None: a temporary folder."""
    scale: str = ""
    """``NODESxPODS``."""
    churn: float = 0.0
    """Pod changes a second."""
    still: bool = False
    scenario: str = ""
    version: str = ""
    """What K3s version the site has; empty: the default."""
    reboot_s: float = 0.0
    """How long a machine is away when it reboots; 0: the default."""
    postgres: bool = False
    """Real PostgreSQL servers."""

    def arguments(self) -> list[str]:
        """Flags of ``python -m coldtui.lab``."""
        flags = [
            ("--dir", self.dir),
            ("--scale", self.scale),
            ("--churn", self.churn),
            ("--scenario", self.scenario),
            ("--version", self.version),
            ("--reboot", self.reboot_s),
        ]
        return [word for flag, value in flags if value for word in (flag, str(value))] + [
            flag for flag, given in (("--still", self.still), ("--postgres", self.postgres)) if given
        ]


def check() -> None:
    """Raise Misconfigured when the packages of the lab are not installed."""
    try:
        import aiohttp  # noqa: F401 (to see whether it is there)
    except ImportError as error:
        raise Misconfigured(f"the demo needs the package {error.name}", hint=REMEDY) from error


def headless(options: DemoOptions, *, tether: bool = False) -> int:
    """Run a lab in this process until SIGTERM or SIGINT; prints one JSON line when all is ready. Returns the exit code."""
    try:
        check()
        import asyncio
        import dataclasses

        from coldtui.lab import site, supervisor
        from coldtui.lab.controllers.base import Pace

        wanted = supervisor.Options(
            options.dir, supervisor.Scale.parse(options.scale) if options.scale else None, options.churn, options.still, options.scenario,
            options.version or site.VERSION, tether, dataclasses.replace(Pace(), reboot=options.reboot_s) if options.reboot_s else Pace(),
            options.postgres,
        )  # fmt: skip

        def ready(found: supervisor.Ready) -> None:
            sys.stdout.write(json.dumps(supervisor.as_json(found)) + "\n")
            sys.stdout.flush()

        async def run() -> None:
            await supervisor.Supervisor(wanted).run(ready)

        asyncio.run(run())
    except ColdError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit)
    return int(Exit.DONE)


class DemoLab:
    """A lab that runs beside us and goes when we do: it reads a pipe whose other end only this process holds.

    Use as a context manager, or call `stop`.
    """

    def __init__(self, process: subprocess.Popen[bytes], ready: Mapping[str, Any], log: deque[str]) -> None:
        self._process, self.ready, self.log = process, ready, log
        self.config = Path(ready["config"])
        """The configuration file for the console."""
        self.kubeconfig = Path(ready["kubeconfig"])
        self.dir = Path(ready["dir"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def fault(self, name: str, on: bool, **options: Any) -> str:
        """Switch a fault of this lab; returns what is now. Raises ColdError."""
        return _switch(Path(self.ready["control"]), name, on, options)

    def stop(self) -> None:
        """End it and wait; again is no error."""
        _end(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def start(options: DemoOptions, deadline_s: float = READY_S) -> DemoLab:
    """A lab in a process of its own, ready. Raises ColdError with the last words of its stderr when it does not come up."""
    check()
    command = [sys.executable, "-m", "coldtui.lab", "--tether", *options.arguments()]
    # Its own session: Ctrl-C and a closed terminal reach the console first, which then ends it in order.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    log: deque[str] = deque(maxlen=200)
    assert process.stderr is not None
    Thread(target=_drain, args=(process.stderr, log), name="lab-log", daemon=True).start()
    try:
        return DemoLab(process, _first_line(process, deadline_s, log), log)
    except BaseException:
        _end(process)
        raise


def _drain(pipe: IO[bytes], log: deque[str]) -> None:
    """Read what the lab says, so that its pipe never fills."""
    with pipe:
        for line in pipe:
            log.append(line.decode(errors="replace").rstrip())


def _first_line(process: subprocess.Popen[bytes], deadline_s: float, log: deque[str]) -> dict[str, Any]:
    pipe = process.stdout
    assert pipe is not None
    with selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        answered = waiting.select(deadline_s)
    line = pipe.readline() if answered else b""
    if line:
        found: dict[str, Any] = json.loads(line)
        return found
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)  # it has closed its stdout, so it is ending; its last words are on the way
    time.sleep(0.05)
    said = " | ".join(list(log)[-3:])
    code = process.returncode
    if code is None:
        raise Unreachable(f"the lab was not ready within {deadline_s:.0f} s", detail=said)
    error = ColdError("the lab did not start", detail=said or f"exit code {code}")
    if code in Exit._value2member_map_:
        error.exit = Exit(code)
    raise error


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its keeper ends what it had started
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def fault(name: str, on: bool, dir: Path | None = None, **options: Any) -> str:
    """Switch a fault of a running lab; returns what is now. Without ``dir`` the newest lab of this user. Raises ColdError."""
    return _switch(Path(find(dir).control), name, on, options)


def _switch(control: Path, name: str, on: bool, options: Mapping[str, Any]) -> str:
    from coldtui.lab.control import send

    return str(send(control, {"fault": name, "on": on, **options})["said"])


def find(dir: Path | None = None) -> Running:
    """A running lab: the one in ``dir``, else the newest. Raises NotFound."""
    found = labs()
    if dir is not None:
        wanted = dir.absolute()
        found = [lab for lab in found if Path(lab.dir) == wanted]
    if not found:
        raise NotFound(f"no lab runs in {dir}" if dir is not None else "no lab is running", hint="start one with: coldtui demo")
    return found[-1]


def faults() -> dict[str, str]:
    """Every fault by name, and what it does."""
    check()
    from coldtui.lab.control import CATALOGUE

    return dict(CATALOGUE)


def on_a_node() -> frozenset[str]:
    """Names of the faults that take node=NAME."""
    from coldtui.lab.control import ON_A_NODE

    return ON_A_NODE


__all__ = ["DemoLab", "DemoOptions", "check", "fault", "faults", "find", "headless", "labs", "on_a_node", "start"]
