"""What a runner does with a confirmed run: take it up, lock, plan again, walk the steps, and write down how it ended.

The same for a process of its own and, on rung 0, for the process that asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

from ..config import logs
from ..domain.errors import Cancelled, ColdError, Exit, JournalTrouble, NotFound, Refused, StepFailed, Unauthorized, Unreachable
from ..domain.logkeys import Key
from ..domain.plans import Plan, Rung, plan_json, worse
from ..domain.runs import Run, RunEvent, RunState, What
from ..ports import Means
from .bench import Bench, Handle, on_terminate, take_up
from .catalogue import find, steps_of
from .ends import End, all_events, began, end_of, had_effect, memo_in, result_in, walked_plan, write_end
from .engine import GATHER_S, RETRY_CAP_S, RETRY_FIRST_S, AnyOperation, RunContext, Superseded, left_behind, offline, perform, raised
from .locks import Leases, holder_name
from .params import make
from .pulse import Pulse, ours

SMALL_S = 30
"""Limit of a run of rung 0: somebody waits for it."""
log = logs.get("coldtui.runner")
__all__ = ["SMALL_S", "Bench", "Handle", "execute", "on_terminate"]


async def execute(bench: Bench, run_id: str, handle: Handle | None = None, *, here: bool = False) -> Exit:
    """Run it to its end, whatever that is, and return the exit code. Raises JournalTrouble: the run is then left as it is, for `resume`.

    `here`: on behalf of a person who waits (rung 0): with a limit of half a minute.
    """
    handle = handle if handle is not None else Handle()
    run = await take_up(bench, run_id)
    handle.loop, handle.task = asyncio.get_running_loop(), asyncio.current_task()
    attempt = _Attempt(bench, run, handle, here)
    handle.ctx = attempt.ctx
    if handle.asked:
        attempt.ctx.cancel()
    log.info("run taken up", {Key.RUN: run.id, Key.OPERATION: run.operation, Key.ATTEMPT: run.attempts})
    with Pulse(bench.journal, run, cancel=handle.cancel, superseded=handle.let_go):
        try:
            return await attempt.go()
        except Superseded:
            return _gone(run)
        except asyncio.CancelledError:
            if not handle.gone:
                raise
            return _gone(run)
        finally:
            handle.task = None


def _gone(run: Run) -> Exit:
    log.warning("run let go", {Key.RUN: run.id})
    return Exit.FAILED


class _Attempt:
    """One runner's work on a run."""

    def __init__(self, bench: Bench, run: Run, handle: Handle, here: bool) -> None:
        self.bench, self.journal, self.run, self.handle, self.here = bench, bench.journal, run, handle, here
        self.begun = bench.clock.monotonic()
        self.operation: AnyOperation | None = None
        self.plan: Plan | None = None
        self.events: tuple[RunEvent, ...] = ()
        self.leases: Leases | None = None
        self.keeper: asyncio.Task[None] | None = None
        self.opened = False
        self.ctx = RunContext(run.id, None, offline(bench.clock, bench.me), bench.journal, gate=self.gate)

    async def go(self) -> Exit:
        """Raises Superseded, JournalTrouble: the run is then left as it is."""
        try:
            try:
                error = await self._walk()
            except asyncio.CancelledError:
                if self.handle.gone or not self.here:
                    raise
                await self._finish(Cancelled("stopped: the process that performed it was closed"))
                raise
            return await self._finish(error)
        finally:
            await self._close()

    async def _walk(self) -> ColdError | None:
        """Returns what ended it before its end."""
        try:
            await self._prepare()
            if self.leases is not None:
                self.keeper = asyncio.create_task(self._keep(self.leases))
            if self.plan is not None and not self.plan.done:
                await perform(self.plan, self.ctx, steps_of(self._operation))
        except (JournalTrouble, Superseded):
            raise
        except ColdError as error:
            return error
        except Exception as error:
            log.exception("fault of this program", error, {Key.RUN: self.run.id, Key.OPERATION: self.run.operation})
            where = logs.path()
            return StepFailed(f"a fault of this program: {type(error).__name__}: {error}", hint=f"{where} has the details" if where else "")
        return None

    @property
    def _operation(self) -> AnyOperation:
        assert self.operation is not None
        return self.operation

    # --- before the first act

    async def _prepare(self) -> None:
        await self.ctx._record(What.RUNNER, text=f"attempt {self.run.attempts}: process {self.bench.pid} on {self.bench.me.hostname}")
        self.events = await asyncio.to_thread(all_events, self.journal, self.run.id)
        self.ctx.memo = dict(memo_in(self.events))
        self.ctx.acted = began(self.events)
        self.operation = find(self.run.operation, self.bench.operations)
        self.ctx.params = make(self.operation.params, self.run.params)
        self._limit()
        confirmed = walked_plan(self.run, self.events)
        if not self.ctx.acted and confirmed.digest != self.run.digest and not any(e.what is What.PLAN for e in self.events):
            raise Refused(
                "the plan in the journal is not the one that was confirmed", hint="ask for the operation again; coldtui audit verify"
            )
        self.ctx.means = await self._open()
        await self._same_site()
        await self._lock()
        if self.ctx.acted:
            self.plan = confirmed
            await self._plan_for_information()
        else:
            self.plan = await self._plan_again(confirmed)

    def _limit(self) -> None:
        """A run that is taken up again has its whole time once more."""
        small = self.here and self._operation.rung is Rung.SMALL
        seconds = int(getattr(self.ctx.params, "timeout", 0) or 0) or (SMALL_S if small else 0)
        if seconds:
            self.ctx.deadline = self.bench.clock.now() + timedelta(seconds=seconds)

    async def _open(self) -> Means:
        means = await self.ctx.patiently(self.bench.means, about="no client")
        self.opened = True
        return replace(means, me=replace(means.me, who=self.run.who))

    async def _same_site(self) -> None:
        """The configuration may have been changed between the confirmation and a resume. The cluster is known by its UID; while that cannot be
        asked, by its address."""
        site, kube = self.run.site, self.ctx.means.kube
        uid = ""
        with contextlib.suppress(ColdError):  # who cannot be asked now is met by every step
            uid = (await kube.facts()).cluster_uid if site.cluster_uid else ""
        if uid and uid != site.cluster_uid:
            raise Refused(f"{kube.server} is another cluster now", detail=f"its kube-system has UID {uid}, not {site.cluster_uid}")
        if not uid and site.server and kube.server != site.server:
            raise Refused(
                f"the configuration leads to {kube.server} now", detail=f"this run is for {site.server}", hint="mend the kubeconfig"
            )

    async def _lock(self) -> None:
        if not self.run.locks:
            return
        means = self.ctx.means
        holder = holder_name(self.bench.me.hostname, self.run.who.login or self.run.who.user, self.run.id)
        self.leases = Leases(
            means.kube, self.bench.clock, means.lease_namespace, holder, self.run.locks, self.ctx.say, self._is_over, self.bench.leases
        )

        async def wait(why: str, seconds: float) -> None:
            await self.ctx.waiting(why)
            await self.ctx.sleep(seconds)

        if self.ctx.acted:  # what was begun is not left half done: it waits at the gate for whoever took the lease meanwhile
            return
        await self.leases.acquire(wait)
        await self.ctx.waiting("")

    async def _is_over(self, run_id: str) -> bool:
        try:
            return (await asyncio.to_thread(self.journal.run, run_id)).state.ended
        except JournalTrouble:
            raise
        except ColdError:
            return False  # not of this journal

    async def _plan_again(self, confirmed: Plan) -> Plan:
        """The plan as it is now. Raises Refused when it got worse; what cannot be read for a lost API is waited for."""
        wait = RETRY_FIRST_S
        while True:
            plan = await self.ctx.patiently(self._planned)
            lost = _unread(plan) - _unread(confirmed)
            if not lost or not await self._api_away():
                break
            await self.ctx.waiting(f"the Kubernetes API: {', '.join(sorted(lost))} cannot be read")
            await self.ctx.sleep(wait)
            wait = min(RETRY_CAP_S, wait * 2)
        await self.ctx.waiting("")
        titles = tuple(step.title for step in plan.steps)
        await self.ctx._record(What.PLAN, text=plan.words, memo=plan_json(plan))
        differences = worse(confirmed, plan)
        if differences:
            await self.ctx.write(("the plan got worse since it was confirmed:", *differences), stream="say")
            raise Refused("the plan got worse", detail="; ".join(differences), hint="look at the plan again")
        await self.ctx._kept(lambda: self.journal.set_state(self.run.id, RunState.RUNNING, steps=titles))
        return plan

    async def _planned(self) -> Plan:
        facts = await self._operation.gather(self.ctx.params, self.ctx.means, GATHER_S)
        plan = self._operation.plan(facts, self.ctx.params, self.bench.clock.now())
        return replace(plan, rung=raised(plan.rung, self.ctx.means.production))

    async def _api_away(self) -> bool:
        try:
            await self.ctx.means.kube.alive()
        except Unauthorized:
            return False
        except Unreachable:
            return True
        return False

    async def _plan_for_information(self) -> None:
        """A resumed run goes on whatever the plan says now: what was begun must be brought to an end."""
        await self.ctx.say(f"taken up again, attempt {self.run.attempts}")
        try:
            plan = await self._planned()
        except ColdError as error:
            await self.ctx.say(f"the plan as it would be now cannot be made: {error.title}")
            return
        await self.ctx.say(f"the plan as it would be now: {plan.done or plan.words}")

    # --- during

    async def gate(self) -> str:
        """Before each act: whether the run is still ours, and its locks."""
        run = await self._still_ours()
        if run.cancel_by and not self.ctx.cancelled:
            self.ctx.cancel()
        return await self.leases.gate() if self.leases is not None else ""

    async def _still_ours(self) -> Run:
        run = await asyncio.to_thread(self.journal.run, self.run.id)
        if self.handle.gone or not ours(run, self.run.attempts):
            raise Superseded
        return run

    async def _keep(self, leases: Leases) -> None:
        try:
            await leases.keep()
        except JournalTrouble as error:  # the run itself meets it at its next event
            log.warning("leases", {Key.RUN: self.run.id, Key.ERROR: error})

    # --- after

    async def _finish(self, error: ColdError | None) -> Exit:
        try:
            await self._still_ours()
        except NotFound as gone:
            return await self._struck(gone, error)
        events = await asyncio.to_thread(all_events, self.journal, self.run.id)
        left: tuple[str, ...] = ()
        if error is not None and self.plan is not None and began(events):
            left = left_behind(self.plan, self.ctx, steps_of(self._operation))
        nothing = self.plan.done if self.plan is not None else ""
        end = end_of(
            error,
            took_s=self.bench.clock.monotonic() - self.begun,
            left=left,
            changed=had_effect(events),
            nothing=nothing,
            result=result_in(self.ctx.memo),
        )
        await self.ctx.write((end.words,), stream="say")
        await self._unlock()  # before the end is told: who waits for it may begin the next run
        await self.ctx._kept(lambda: self._write(end))
        log.info("run ended", {Key.RUN: self.run.id, Key.OPERATION: self.run.operation, Key.WORDS: end.words})
        return end.exit

    async def _struck(self, gone: NotFound, error: ColdError | None) -> Exit:
        """Somebody took the journal away. Its log is a file of its own and can still tell what stands; locks are given back."""
        left: tuple[str, ...] = ()
        if self.plan is not None and self.ctx.acted:
            left = left_behind(self.plan, self.ctx, steps_of(self._operation))
        cause = gone if error is None or isinstance(error, NotFound) else error
        end = end_of(StepFailed(cause.title), took_s=0.0, left=left, changed=self.ctx.acted)
        words = f"{end.words}; the journal has lost this run: it cannot be resumed"
        await self.ctx.write((words,), stream="say")
        log.warning("run not in the journal", {Key.RUN: self.run.id, Key.OPERATION: self.run.operation, Key.WORDS: words})
        with contextlib.suppress(ColdError):  # a lease says so in the journal where it is not given back; then it runs out by itself
            await self._unlock()
        return Exit.FAILED

    def _write(self, end: End) -> None:
        """Blocking."""
        if not ours(self.journal.run(self.run.id), self.run.attempts):
            raise Superseded
        write_end(self.journal, self.run, end, self.bench.clock.now())

    async def _unlock(self) -> None:
        await self._stop_keeper()
        if self.leases is not None:
            await self.leases.release()

    async def _stop_keeper(self) -> None:
        if self.keeper is not None:
            while not self.keeper.done():  # again, should a call in it lose the cancellation
                self.keeper.cancel()
                await asyncio.wait({self.keeper}, timeout=1.0)
            self.keeper = None

    async def _close(self) -> None:
        await self._stop_keeper()
        if self.opened:
            await self.bench.close(self.ctx.means)


def _unread(plan: Plan) -> frozenset[str]:
    return frozenset(p.name for p in plan.premises if p.as_of is None)
