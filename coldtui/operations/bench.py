"""What a runner works with, the hand that others have on it, and how it takes a run up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import logs
from ..domain.errors import ColdError, Refused
from ..domain.logkeys import Key
from ..domain.runs import LOST_AFTER, Run, What
from ..ports import Clock, Journal, Means, Self
from .catalogue import CATALOGUE
from .engine import AnyOperation, RunContext
from .locks import TIMES, LeaseTimes

TAKE_UP_S = LOST_AFTER.total_seconds() + 2.0
"""So long the beat of a runner that is gone may look fresh."""
log = logs.get("coldtui.runner")


async def _close(means: Means) -> None:
    await means.shell.aclose()
    if means.database is not None:
        await means.database.aclose()
    await means.kube.aclose()


@dataclass(frozen=True)
class Bench:
    """What a runner works with. `means` opens adapters whose gates are open: it is called once the run is ours, and may raise Unreachable."""

    journal: Journal
    means: Callable[[], Awaitable[Means]]
    me: Self
    pid: int
    clock: Clock
    operations: Mapping[str, AnyOperation] = field(default_factory=lambda: CATALOGUE)
    leases: LeaseTimes = TIMES
    close: Callable[[Means], Awaitable[None]] = _close
    lives: Callable[[Run], bool | None] = lambda run: None
    """See `ports.Launcher.lives`."""


@dataclass
class Handle:
    """From outside into a run under way: `cancel` may be called from any thread and at any time."""

    loop: asyncio.AbstractEventLoop | None = None
    ctx: RunContext | None = None
    task: asyncio.Task[Any] | None = None
    asked: bool = False
    gone: bool = False

    def cancel(self, by: str = "") -> None:
        self.asked = True
        self._call(lambda: self.ctx.cancel() if self.ctx is not None else None)

    def let_go(self) -> None:
        """Stop at once and leave the run as it is: it is another's now, or goes on after a boot."""
        self.gone = True
        self._call(lambda: self.task.cancel() if self.task is not None else None)

    def _call(self, what: Callable[[], object]) -> None:
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(what)


def on_terminate(bench: Bench, run_id: str, handle: Handle) -> None:
    """SIGTERM: as if cancel was asked for. A run that goes on after a boot lets go: the signal is that of the shutdown which it ordered.

    Blocking for some ms.
    """
    try:
        if bench.journal.run(run_id).after_boot:
            bench.journal.record(run_id, What.RUNNER, text="let go: the machine goes down, and the run goes on after its boot")
            handle.let_go()
            return
        bench.journal.ask_cancel(run_id, "signal TERM")
    except ColdError as error:
        log.warning("signal TERM", {Key.RUN: run_id, Key.ERROR: error})
    handle.cancel("signal TERM")


async def take_up(bench: Bench, run_id: str) -> Run:
    """Raises Refused when it ended, or belongs to another runner that lives."""
    begun = bench.clock.monotonic()
    while True:
        try:
            return await asyncio.to_thread(_try_take_up, bench, run_id)
        except Refused:
            run = await asyncio.to_thread(bench.journal.run, run_id)
            if run.state.ended or bench.clock.monotonic() - begun > TAKE_UP_S:
                raise
        await asyncio.sleep(0.5)


def _try_take_up(bench: Bench, run_id: str) -> Run:
    """Blocking. The beat of a process that is gone from this machine is not waited for."""
    run = bench.journal.run(run_id)
    gone = run.runner_pid if run.runner_pid and bench.lives(run) is False else 0
    return bench.journal.take_up(run_id, pid=bench.pid, host=bench.me.hostname, gone=gone)
