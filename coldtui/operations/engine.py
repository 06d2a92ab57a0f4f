"""Operation, Step, RunContext, and `perform`, the only driver: it walks the planned steps and writes each event before the act that it announces.

A step is done when the world says so, not when a request was accepted. What a run must remember of the world before it acted (`memo`) is
in the journal before the act, so that a resumed run knows what is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast

from ..domain.errors import Cancelled, ColdError, JournalTrouble, StepFailed, Throttled, Unauthorized, Unreachable
from ..domain.plans import Plan, PlannedStep, Rung
from ..domain.runs import RunEvent, RunLine, RunState, What
from ..domain.text import plain
from ..ports import Clock, Journal, Kube, Means, Self, Shell

P = TypeVar("P")
F = TypeVar("F")
T = TypeVar("T")

GATHER_S = 10.0
"""All premises of a plan are read within this, each on its own: a slow one becomes Unknown and does not hold the others."""
RETRY_FIRST_S, RETRY_CAP_S = 0.5, 10.0
JOURNAL_TRIES = 20
"""An event that the journal does not take is offered so often, a second apart: a disk that is full for a moment ends no run."""


class Superseded(Exception):
    """This run is another process's now, or was ended elsewhere: touch nothing any more, least of all its record."""


async def _open() -> str:
    return ""


@dataclass(frozen=True)
class Operation(Generic[P, F]):
    """Declared once; console, command line, API and runner call the same."""

    name: str
    """`node.drain`: the command `coldtui node drain`."""
    title: str
    """`Drain node`."""
    about: str
    """One line for help and forms."""
    params: type[P]
    """A frozen dataclass; its fields give the form, the arguments and the schema (`operations.forms`)."""
    rung: Rung
    """The least; a plan may raise it."""
    gather: Callable[[P, Means, float], Awaitable[F]]
    """Fresh reads within a deadline (seconds), in parallel, each Known or Unknown(reason): never raises for a source that does not answer. Raises
    NotFound for an object that is not there (with the nearest names), UsageError for parameters that cannot be, HostKeyUnknown for a host whose
    key the operator must see first (the console shows it, and plans again once it is accepted)."""
    plan: Callable[[F, P, datetime], Plan]
    """Pure."""
    steps: tuple[Step, ...]
    """Every step that its plans may name."""
    object: Callable[[P], str]
    """Address of what it acts on: `nodes/k3s-worker-1`."""
    undo: str = ""
    """Name of the operation that undoes it with the same object; empty: none (rung 0 has one)."""


AnyOperation = Operation[Any, Any]


def raised(rung: Rung, production: bool) -> Rung:
    """`production` raises the two lower rungs by one."""
    return Rung(rung + 1) if production and rung <= Rung.VISIBLE else rung


def offline(clock: Clock, me: Self) -> Means:
    """Means without a world: for what is before or beside it. Whoever asks through them has a fault."""
    return Means(cast(Kube, None), cast(Shell, None), clock, me)


class Step:
    """One kind of step. Subclasses are stateless; all state is in the memo and in the world."""

    name: str = ""
    """Registered name, such as `node.cordon`."""

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        """What must be remembered of the world as it is before the act. Reads only. Not asked again when the memo of this step is there already."""
        return {}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Whether the world says that there is nothing (more) to do. `ctx.memo_of(planned)` is empty when this run never began the step."""
        raise NotImplementedError

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Act, and return once the world shows the effect. Must be safe to begin again after a crash at any point."""
        raise NotImplementedError

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        """What stands in the world if the run ends after this step began (`k3s-worker-1 is still cordoned: coldtui node uncordon ...`); empty: nothing."""
        return ""


@dataclass
class RunContext:
    """What a step works with."""

    run: str
    """Id of the run."""
    params: Any
    means: Means
    journal: Journal
    deadline: datetime | None = None
    """For the whole run; None: no limit."""
    memo: dict[str, Any] = field(default_factory=dict)
    """`index/key` -> value: what this run remembers, over all its attempts."""
    step: int = -1
    acted: bool = False
    """Whether anything may have been changed by this run (also by an earlier attempt)."""
    pause_for: Callable[[], str] = lambda: ""
    """Why no act may begin now although nobody cancelled (a lock was lost); empty: go on."""
    gate: Callable[[], Awaitable[str]] = _open
    """The same, where an answer must be asked for. Raises Superseded."""
    _cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: str = ""
    _items: dict[str, str] = field(default_factory=dict)

    # --- memo

    def memo_of(self, planned: PlannedStep, index: int | None = None) -> dict[str, Any]:
        """What was remembered for a step of this run."""
        prefix = f"{self.step if index is None else index}/"
        return {key.removeprefix(prefix): value for key, value in self.memo.items() if key.startswith(prefix)}

    async def remember(self, **facts: Any) -> None:
        """On disk when this returns, so that the act may begin. Plain JSON values."""
        kept = {f"{self.step}/{key}": value for key, value in facts.items()}
        self.memo.update(kept)
        await self._record(What.MEMO, memo=kept)

    # --- telling

    async def _record(self, what: What, **rest: Any) -> RunEvent:
        return await self._kept(lambda: self.journal.record(self.run, what, step=self.step, **rest))

    async def _kept(self, write: Callable[[], T]) -> T:
        """A write to the journal, offered again for a while when it is not taken. Raises JournalTrouble: without it no act may begin."""
        for left in range(JOURNAL_TRIES - 1, -1, -1):
            try:
                return await asyncio.to_thread(write)
            except JournalTrouble:
                if not left or self.cancelled:
                    raise
                await asyncio.sleep(1.0)
        raise AssertionError("unreachable")

    async def say(self, text: str) -> None:
        """A sentence into the log and among the events."""
        text = plain(text)
        await self.write((text,), stream="say")
        await self._record(What.SAID, text=text)

    async def write(self, lines: tuple[str, ...], *, stream: str = "out") -> None:
        """Output into the log only."""
        at = self.means.clock.now()
        made = tuple(RunLine(at, self.step, stream, plain(line)) for line in lines)
        await asyncio.to_thread(self.journal.write_log, self.run, made)

    async def item(self, object: str, text: str) -> None:
        """How one thing stands (a pod): told when it changed, into events and log."""
        if self._items.get(object) != text:
            self._items[object] = text
            await self.write((f"{object}: {text}",), stream="say")
            await self._record(What.ITEM, object=object, text=plain(text))

    async def waiting(self, text: str) -> None:
        """What the run waits for; empty: for nothing any more. The face shows it, with its age."""
        if text != self._waiting:
            self._waiting = text
            if text:
                await self.write((f"waiting: {text}",), stream="say")
            await self._record(What.WAITING, text=plain(text))
            if not self.cancelled:
                state = RunState.WAITING if text else RunState.RUNNING
                await self._kept(lambda: self.journal.set_state(self.run, state, outcome=plain(text)))

    # --- ends

    @property
    def now(self) -> datetime:
        return self.means.clock.now()

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Before each act. Raises Cancelled, or StepFailed past the deadline."""
        if self.cancelled:
            raise Cancelled("stopped before the next act, as asked")
        if self.deadline is not None and self.now >= self.deadline:
            longer = " with a longer --timeout" if getattr(self.params, "timeout", 0) else ""
            waited = f"; it was waiting: {self._waiting}" if self._waiting else ""
            raise StepFailed("out of time", detail=f"the limit was {self.deadline:%H:%M:%S}Z{waited}", hint=f"begin again{longer}")

    async def ready(self) -> None:
        """Before each act: `check`, and wait while a lock is not ours."""
        self.check()
        told = False
        while why := self.pause_for() or await self.gate():
            told = True
            await self.waiting(why)
            await self.sleep(1.0)
        if told:  # what the step itself waits for is left standing
            await self.waiting("")
        self.check()

    async def sleep(self, seconds: float) -> None:
        """Up to `seconds`; returns early when cancelled or at the deadline, and raises as `check` then."""
        if self.deadline is not None:
            seconds = min(seconds, max(0.0, (self.deadline - self.now).total_seconds()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for would lose a cancellation that comes together with the event
                await self._cancelled.wait()
        self.check()

    async def patiently(self, ask: Callable[[], Awaitable[T]], *, about: str = "the Kubernetes API", give_up_s: float | None = None) -> T:
        """A read (or an act that is safe to repeat), repeated while the other side cannot be reached or asks to slow down: says so, backs off
        with jitter (0.5 s doubling to 10 s), goes on when it is back. Ends by cancel, by the run's deadline or after `give_up_s`.

        401 and every other answer are raised at once.
        """
        wait, since, told = RETRY_FIRST_S, self.now, False
        while True:
            try:
                found = await ask()
            except Unauthorized:
                raise
            except Unreachable as error:
                if give_up_s is not None and self.now - since > timedelta(seconds=give_up_s):
                    raise
                told = True
                await self.waiting(f"{about}: {error.title}")
                pause = error.retry_after_s if isinstance(error, Throttled) and error.retry_after_s is not None else wait
                await self.sleep(pause * random.uniform(0.7, 1.3))
                wait = min(RETRY_CAP_S, wait * 2)
            else:
                if told:
                    await self.waiting("")
                return found


async def perform(plan: Plan, ctx: RunContext, steps: Mapping[str, Step]) -> None:
    """Walk the planned steps. Returns when all are done; raises what ended it (Cancelled, StepFailed, any ColdError), already in the journal
    unless it is the journal's own trouble.

    On resume the memo of the earlier attempt is in `ctx.memo`: steps whose effect stands are passed over.
    """
    for index, planned in enumerate(plan.steps):
        ctx.step = index
        step = steps[planned.name]
        try:
            await ctx.ready()
            if await ctx.patiently(lambda: step.done(planned, ctx)):  # noqa: B023 - awaited at once
                await ctx._record(What.ALREADY, text=planned.title)
                continue
            if not ctx.memo.get(f"{index}/begun"):
                kept = await ctx.patiently(lambda: step.before(planned, ctx))  # noqa: B023
                memo = {f"{index}/begun": True, **{f"{index}/{key}": value for key, value in kept.items()}}
                ctx.memo.update(memo)
            else:
                memo = {}
            await ctx._record(What.STARTED, text=planned.title, memo=memo)
            ctx.acted = True
            await step.run(planned, ctx)
            await ctx._record(What.FINISHED, text=planned.title)
        except JournalTrouble:
            raise
        except ColdError as error:
            await ctx.waiting("")
            await ctx._record(What.FAILED, text=f"{planned.title}: {error}")
            raise
    ctx.step = len(plan.steps)


def left_behind(plan: Plan, ctx: RunContext, steps: Mapping[str, Step]) -> tuple[str, ...]:
    """What stands in the world after a run that did not reach its end."""
    found = []
    for index, planned in enumerate(plan.steps):
        if ctx.memo.get(f"{index}/begun"):
            ctx.step = index
            found.append(steps[planned.name].left_behind(planned, ctx))
    return tuple(text for text in found if text)
