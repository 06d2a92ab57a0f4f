"""What steps on hosts have in common: their pace, patience with SSH, a unit's journal in the run's log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..domain.errors import ColdError, StepFailed, Unauthorized, Unreachable
from ..domain.text import counted
from ..ports import Command, Output
from .engine import RunContext

T = TypeVar("T")
LAST_LINES = 20
"""Of a journal, when it went wrong."""
FOLLOWED = 5_000
"""Lines that wait for the disk; more are counted."""


@dataclass(frozen=True)
class Pace:
    """Seconds; in one place, so that tests run the same loops faster."""

    look_s: float = 2.0
    """Between two looks at the host or the cluster."""
    connect_s: float = 5.0
    answer_s: float = 60.0
    """For SSH before the order: the plan has just reached the host."""
    going_s: float = 240.0
    """From the order until the host is gone. Services get 90 s to stop, some more than once."""
    stale_s: float = 60.0
    """What a kubelet has not told anew so long after its return is as it was."""


async def on_host(ctx: RunContext, node: str, ask: Callable[[], Awaitable[T]], give_up_s: float) -> T:
    """An answer of the host, waited for; StepFailed when it does not come in time."""
    try:
        return await ctx.patiently(ask, about=f"SSH to {node}", give_up_s=give_up_s)
    except Unauthorized:
        raise
    except Unreachable as error:
        raise StepFailed(f"{node} is not reached over SSH", detail=error.title, hint=error.hint) from None


def kept(ctx: RunContext, name: str) -> Any:
    """What any step of this run remembered under a name; None: nothing."""
    return next((value for key, value in ctx.memo.items() if key.endswith(f"/{name}")), None)


# ------------------------------------------------------------ the journal


@contextlib.asynccontextmanager
async def following(ctx: RunContext, node: str, ip: str, unit: str) -> AsyncIterator[None]:
    """New lines of the unit's journal go into the run's log until the block ends. A journal that cannot be read is said, and ends nothing."""
    lines: asyncio.Queue[str] = asyncio.Queue(FOLLOWED)
    dropped = 0

    def take(line: Output) -> None:
        nonlocal dropped
        try:
            lines.put_nowait(line.text)
        except asyncio.QueueFull:
            dropped += 1

    follow = Command(("journalctl", "-f", "-n", "0", "-u", unit, "--no-pager", "-o", "short-iso"), mutates=False, root=True)

    async def read() -> None:
        try:
            await ctx.means.shell.run(node, follow, ip=ip, on_line=take, deadline_s=24 * 3600.0)
        except ColdError as error:
            await ctx.write((f"the journal of {unit} on {node} is not followed: {error.title}",), stream="say")

    async def write() -> None:
        while True:
            batch = [await lines.get()]
            while not lines.empty():
                batch.append(lines.get_nowait())
            await ctx.write(tuple(batch))

    tasks = [asyncio.create_task(read()), asyncio.create_task(write())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rest = [lines.get_nowait() for _ in range(lines.qsize())]
        if dropped:
            rest.append(f"[{counted(dropped, 'line')} of the journal left out: too many at once]")
        if rest:
            await ctx.write(tuple(rest))


async def last_lines(ctx: RunContext, node: str, ip: str, unit: str) -> str:
    """The end of the unit's journal into the log; its last line. Empty when it cannot be read."""
    look = Command(("journalctl", "-u", unit, "-n", str(LAST_LINES), "--no-pager", "-o", "cat"), mutates=False, root=True)
    try:
        done = await ctx.means.shell.run(node, look, ip=ip, deadline_s=10.0)
    except ColdError as error:
        await ctx.write((f"the journal of {unit} on {node} cannot be read: {error.title}",), stream="say")
        return ""
    await ctx.write((f"the last {len(done.out)} lines of {unit} on {node}:",), stream="say")
    await ctx.write(done.out)
    return done.out[-1] if done.out else ""
