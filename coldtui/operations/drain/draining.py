"""The loop that empties a node: asks for all pods at once, as kubectl does, and looks at the node once a second until none of them is left.

The world is asked before every act: a pod that is being deleted is never asked for again, whoever deleted it, so that a run that was
killed at any point and taken up again evicts no pod twice. Requests name the UID, so that a namesake is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...domain.drains import DrainPod
from ...domain.errors import (
    BudgetRefused,
    Cancelled,
    ColdError,
    Conflict,
    NamespaceEnds,
    NotFound,
    StepFailed,
    Throttled,
    Unauthorized,
    Unreachable,
)
from ...domain.kinds import PODS
from ...domain.text import counted
from ..engine import RunContext
from .facts import pods_on
from .pods import overdue
from .refill import named
from .surroundings import Surroundings
from .targets import State, Target


@dataclass(frozen=True)
class Pace:
    """Seconds; in one place, so that tests run the same loop faster."""

    look_s: float = 1.0
    """Between two looks at the pods of the node, as kubectl."""
    retry_s: float = 5.0
    """Before a pod that was refused is asked for again, as kubectl."""
    tell_s: float = 5.0
    """Between two words about a pod whose state did not change."""
    node_s: float = 5.0
    """Between two looks at the node itself, the budgets and the new pods elsewhere."""
    answer_s: float = 5.0
    """For one look at the pods of the node; then it is said that the API does not answer."""
    at_once: int = 8
    """Requests under way at the same time: what the adapter has threads for."""


class Draining:
    """One attempt of one run."""

    def __init__(self, args: Mapping[str, Any], ctx: RunContext, targets: Iterable[Target], memo: Mapping[str, Any], pace: Pace) -> None:
        """`args`: of the planned step. `memo`: what the run remembered of this step, over all its attempts."""
        self.args, self.ctx, self.pace = args, ctx, pace
        self.node = str(args["node"])
        self.kube = ctx.means.kube
        self.targets = tuple(targets)
        self.asked = set(memo.get("asked") or ())
        self.accepted = set(memo.get("accepted") or ())
        self._kept: tuple[int, int] = (len(self.asked), len(self.accepted))
        self._stalled_since: datetime | None = None
        self._stopped = ""
        """Why no further pod is deleted (without evictions the first failure ends it, as with kubectl)."""
        self._room = asyncio.Semaphore(pace.at_once)
        self._asking: set[asyncio.Task[None]] = set()
        """Requests under way. Nobody waits for a slow one: the others are looked at meanwhile."""
        self._surroundings = Surroundings(ctx, self.node, frozenset(t.uid for t in self.targets), pace.node_s)

    @property
    def open(self) -> list[Target]:
        return [t for t in self.targets if not t.state.final]

    async def run(self) -> None:
        """Returns when every pod is gone. Raises StepFailed (some failed, or out of time), Cancelled, Unauthorized."""
        try:
            await self._until_empty()
        except Cancelled:
            await self._answered()
            await self._stop()
            raise
        except StepFailed as error:
            await self._answered()
            await self._tell()
            if self.ctx.deadline is not None and self.ctx.now >= self.ctx.deadline:
                raise self._out_of_time() from error
            raise
        except ColdError:
            await self._answered()
            raise
        finally:
            for task in self._asking:  # only where this task itself is cancelled: its process ends
                task.cancel()
        await self._surroundings.successors(self.targets)
        await self._tell()
        if failed := [t for t in self.targets if t.state is State.FAILED]:
            raise self._failed(failed)

    async def _answered(self) -> None:
        """Hear the requests that are under way to their end, so that what was accepted is known."""
        if self._asking:
            await asyncio.wait(self._asking)
            self._asking.clear()
        await self._remember()

    async def _until_empty(self) -> None:
        while True:
            await self._look()
            if not self.open or self._hopeless():
                await self._answered()
                await self.ctx.waiting("")
                return
            await self._ask_all()
            await self._surroundings.look(self.targets)
            await self._tell()
            await self.ctx.sleep(self.pace.look_s)

    # --- looking

    async def _pods(self) -> tuple[DrainPod, ...]:
        return await pods_on(self.kube, self.node, deadline_s=self.pace.answer_s)

    async def _look(self) -> None:
        """Where each pod is now. While the API is away, waits and says so."""
        found = {pod.key: pod for pod in await self.ctx.patiently(self._pods)}
        now = self.ctx.now
        for target in self.open:
            pod = found.get(target.key)
            if pod is None or pod.pod.uid != target.uid:
                target.become(State.GONE, now)
                continue
            target.pod = pod
            target.grace_s = self._grace_of(pod)
            if overdue(pod, int(self.args.get("skip_wait_for_delete") or 0), now):
                target.become(State.SKIPPED, now)
            elif pod.pod.deleted is not None:
                if target.uid in self.asked:
                    self.accepted.add(target.uid)
                target.begun = target.begun or now
                target.become(State.ENDING, now)
        await self._remember()

    def _grace_of(self, pod: DrainPod) -> int:
        """Seconds until it is killed: as its deletion says, else as was asked for, else its own."""
        if pod.pod.deleted is not None:
            return pod.pod.grace_s
        asked = int(self.args.get("grace", -1))
        return asked if asked >= 0 else pod.grace_s

    async def _remember(self) -> None:
        """Who was asked for and who was accepted, on disk; only when there is something new."""
        counts = (len(self.asked), len(self.accepted))
        if counts != self._kept:
            self._kept = counts
            await self.ctx.remember(asked=sorted(self.asked), accepted=sorted(self.accepted))

    def _hopeless(self) -> bool:
        """Only pods are left that the plan knew would never go, and they were asked for twice more since."""
        left = self.open
        if not all(t.never and t.state in (State.REFUSED, State.ENDING) for t in left) or any(self._within_grace(t) for t in left):
            self._stalled_since = None
            return False
        self._stalled_since = self._stalled_since or self.ctx.now
        if self.ctx.now - self._stalled_since < timedelta(seconds=2 * self.pace.retry_s):
            return False
        for target in left:
            target.become(State.FAILED, self.ctx.now, target.text(self.ctx.now))
        return True

    def _within_grace(self, target: Target) -> bool:
        if target.state is not State.ENDING or target.since is None:
            return False
        return self.ctx.now - target.since <= timedelta(seconds=target.grace_s + self.pace.look_s)

    # --- asking

    async def _ask_all(self) -> None:
        """Every pod whose turn it is, at once. Each was just seen, and is not being deleted."""
        now = self.ctx.now
        waiting = (State.QUEUED, State.REFUSED, State.UNSURE)
        due = [t for t in self.targets if t.state in waiting and not t.asking and (t.ask_at is None or t.ask_at <= now)]
        if due and not self._stopped:
            await self.ctx.ready()
            for target in due:
                target.begun, target.asking = target.begun or now, True
            self.asked |= {t.uid for t in due}
            await self._remember()
            for target in due:
                if target.state is State.QUEUED:
                    await self._say(target)
            turns = [due] if self.args.get("disable_eviction") else [[target] for target in due]
            self._asking |= {asyncio.create_task(self._ask_in_turn(turn)) for turn in turns}
        if self._asking:
            done, self._asking = await asyncio.wait(self._asking, timeout=self.pace.look_s)
            await self._remember()
            for task in done:
                task.result()

    async def _ask_in_turn(self, targets: Iterable[Target]) -> None:
        for target in targets:
            try:
                await self._ask(target)
            finally:
                target.asking = False

    async def _ask(self, target: Target) -> None:
        async with self._room:
            if self.ctx.cancelled or self._stopped or self.ctx.pause_for() or target.state.final:
                return
            target.ask_at = self.ctx.now + timedelta(seconds=self.pace.retry_s)
            try:
                await self._send(target)
            except NotFound:
                target.become(State.GONE, self.ctx.now)
            except Conflict as error:  # a namesake, or it changed in this moment: the next look says which
                target.become(State.UNSURE, self.ctx.now, error.title)
            except (BudgetRefused, NamespaceEnds, Throttled) as error:
                self._refused(target, error)
            except Unauthorized:
                raise
            except Unreachable as error:
                target.become(State.UNSURE, self.ctx.now, error.title)
            except ColdError as error:
                self._fail(target, error)
            else:
                self.accepted.add(target.uid)
                target.become(State.ENDING, self.ctx.now)

    async def _send(self, target: Target) -> None:
        grace = int(self.args.get("grace", -1))
        options: dict[str, Any] = {"uid": target.uid, "grace_s": grace if grace >= 0 else None}
        if self.args.get("disable_eviction"):
            await self.kube.delete(PODS, target.name, target.namespace, **options)
        else:
            await self.kube.evict(target.namespace, target.name, **options)

    def _refused(self, target: Target, error: BudgetRefused | NamespaceEnds | Throttled) -> None:
        now, wait = self.ctx.now, getattr(error, "retry_after_s", None)
        target.ask_at = now + timedelta(seconds=wait if wait is not None else self.pace.retry_s)
        if not isinstance(error, BudgetRefused):
            target.budgets = ()
        target.become(State.REFUSED, now, error.detail or error.title)

    def _fail(self, target: Target, error: ColdError) -> None:
        target.become(State.FAILED, self.ctx.now, str(error))
        if self.args.get("disable_eviction"):
            self._stopped = str(error)
            for other in self.targets:
                if other.state is State.QUEUED:
                    other.become(State.FAILED, self.ctx.now, f"not asked for: {target.key} failed")

    # --- telling

    async def _tell(self) -> None:
        for target in self.targets:
            if target.state is not State.QUEUED and target.worth_telling(self.ctx.now, self.pace.tell_s):
                await self._say(target)

    async def _say(self, target: Target) -> None:
        text = target.text(self.ctx.now)
        target.told_at, target.told_state = self.ctx.now, target.state
        if text != target.told:
            target.told = text
            await self.ctx.item(target.address, text)

    # --- ends

    async def _stop(self) -> None:
        """Cancelled: who cannot be recalled any more, and who was never asked for."""
        ending = [t for t in self.targets if t.state is State.ENDING]
        spared = [t for t in self.targets if t.state in (State.QUEUED, State.REFUSED)]
        unsure = [t for t in self.targets if t.state is State.UNSURE]
        for target in ending:
            await self.ctx.item(target.address, "terminating: its eviction was accepted and cannot be recalled")
        for target in spared:
            await self.ctx.item(target.address, "not evicted: stopped")
        for target in unsure:
            await self.ctx.item(target.address, "asked for, outcome not known: stopped")
        gone = sum(1 for t in self.targets if t.state is State.GONE)
        parts = [f"{gone} of {counted(len(self.targets), 'pod')} gone"]
        parts += [f"terminating and not to be recalled: {_names(ending)}"] if ending else []
        parts += [f"outcome not known: {_names(unsure)}"] if unsure else []
        parts += [f"not evicted: {_names(spared)}"] if spared else []
        await self.ctx.say("stopped; " + "; ".join(parts))

    def _out_of_time(self) -> StepFailed:
        now, left = self.ctx.now, self.open
        each = "; ".join(f"{t.key}: {t.text(now)}" for t in left[:6]) + (f"; and {len(left) - 6} more" if len(left) > 6 else "")
        return StepFailed(
            f"out of time with {counted(len(left), 'pod')} still on {self.node}", detail=each, hint="drain again with a longer --timeout"
        )

    def _failed(self, failed: list[Target]) -> StepFailed:
        """One reason for many is told once."""
        alike: dict[str, list[Target]] = {}
        for target in failed:
            alike.setdefault(target.reason.replace(f'"{target.name}"', '"it"'), []).append(target)
        told = [f"{_names(them)}: {them[0].reason if len(them) == 1 else why}" for why, them in list(alike.items())[:6]]
        more = len(failed) - sum(len(them) for them in list(alike.values())[:6])
        each = "; ".join([*told, *([f"and {more} more"] if more else [])])
        return StepFailed(f"{len(failed)} of {counted(len(self.targets), 'pod')} not evicted from {self.node}", detail=each)


def _names(targets: list[Target]) -> str:
    return named([t.key for t in targets], 6)
