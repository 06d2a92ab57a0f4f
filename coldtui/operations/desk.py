"""The desk at which faces ask for acts: prepare a plan, confirm it, follow, cancel, resume. The only way from a face to a change.

prepare -> Prepared (shown) -> confirm -> a Run in the journal -> its runner. Rung 0 runs here, in the process that asked, by the same driver
and journal.
"""

from __future__ import annotations

import asyncio
import secrets as tokens
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from time import monotonic
from typing import Any

from ..domain.errors import ColdError, JournalTrouble, Locked, NotFound, Refused
from ..domain.plans import Outlook, Plan, Rung, plan_json
from ..domain.runs import LOST_AFTER, AuditEntry, Run, RunSite, RunState, Who, lost
from ..domain.secret import Secret
from ..domain.text import plain
from ..ports import Clock, Journal, Launcher, Means, Self
from .catalogue import find
from .ends import End, end_lost, write_end
from .engine import GATHER_S, AnyOperation, offline, raised
from .params import make, plain_values

UID_S = 3.0
RESUME_S = 15.0 + LOST_AFTER.total_seconds() + 3.0
"""A runner that takes over waits until the beat of the one before it is old."""


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


async def _nothing() -> None:
    return


@dataclass(frozen=True)
class Prepared:
    """A plan that may be confirmed. It holds for what was read: confirming plans again in the runner."""

    operation: AnyOperation
    params: Any
    plan: Plan
    cluster_uid: str = ""
    """Of the cluster that was planned for; empty: it was not told."""
    own_rung: Rung = Rung.DESTRUCTIVE
    """The plan's, before `production` raised it."""
    server: str = ""
    """URL of the API that was asked."""

    @property
    def rung(self) -> Rung:
        return self.plan.rung


@dataclass(frozen=True)
class Desk:
    """For one site. `means` has closed gates: planning changes nothing. `run_here` performs a run of rung 0 in this process."""

    operations: Mapping[str, AnyOperation]
    means: Callable[[], Awaitable[Means]]
    """Raises Unreachable when there is no client."""
    journal: Callable[[], Journal]
    """Opened at first use. Raises JournalTrouble."""
    launcher: Launcher
    run_here: Callable[[Run], Awaitable[Run]]
    who: Who
    site: RunSite
    forbidden: str = ""
    """Why nothing may be confirmed at all (`--read-only`); empty: it may."""
    production: bool = False
    boot_id: str = ""
    """Of this machine."""
    clock: Clock = field(default_factory=SystemClock)
    closing: Callable[[], Awaitable[None]] = _nothing
    run_unrecorded: Callable[[Run, AuditEntry, Mapping[str, Secret]], Awaitable[Run]] | None = None
    """Performs a run in this process without the journal."""
    unwritable: str = ""
    """Why nothing can be written in the state folder; empty: it can (but its disk may be full)."""

    def find(self, name: str) -> AnyOperation:
        """By its name. Raises UsageError with the nearest."""
        return find(name, self.operations)

    async def prepare(self, name: str, values: Mapping[str, Any]) -> Prepared:
        """Read afresh and plan. Changes nothing. Raises UsageError, NotFound, Unreachable."""
        operation = self.find(name)
        params = make(operation.params, values)
        return await self.plan_again(operation, params)

    async def plan_again(self, operation: AnyOperation, params: Any) -> Prepared:
        means = await self.means()
        begun = means.clock.monotonic()
        facts, uid = await asyncio.gather(operation.gather(params, means, GATHER_S), self._uid(means))
        plan = operation.plan(facts, params, means.clock.now())
        plan = replace(plan, took_s=means.clock.monotonic() - begun)
        asked = replace(plan, rung=raised(plan.rung, self.production))
        asked = replace(asked, needs_reason=asked.needs_reason or asked.rung is Rung.DESTRUCTIVE)
        return Prepared(operation, params, asked, uid, plan.rung, means.kube.server)

    async def _uid(self, means: Means) -> str:
        """So that its runner, and a resume days later, reach the same cluster. Not needed for planning: what cannot be read is left out."""
        if self.site.cluster_uid:
            return self.site.cluster_uid
        try:
            return (await means.kube.facts(deadline_s=UID_S)).cluster_uid
        except ColdError:
            return ""

    async def confirm(
        self, prepared: Prepared, *, reason: str = "", secrets: Mapping[str, Secret] | None = None, detach: bool = True
    ) -> Run:
        """Write the run, take its locks, start it. Returns the run as it then is (rung 0: ended).

        The face has made sure of the confirmation that the rung asks for. Raises Refused, Locked, JournalTrouble, StepFailed; a refusal is
        in the audit too.
        """
        plan = prepared.plan
        why = self._refusal(plan, reason)
        if why:
            await self.refuse(prepared, why, reason=reason)
            raise Refused(why, hint=self.forbidden and "start without --read-only")
        run, entry = self._record_of(prepared, reason)
        here, begun = acts_here(prepared.operation, plan.rung), Event()
        try:
            journal = await asyncio.to_thread(self.journal)

            def begin() -> None:
                journal.begin(run, entry)
                begun.set()

            await asyncio.to_thread(begin if here else lambda: self._launch(journal, run, secrets or {}, begin))
        except JournalTrouble as error:
            if begun.is_set():
                raise
            return await self._unrecorded(prepared, run, entry, secrets or {}, error)
        except ColdError as error:
            if begun.is_set():
                await asyncio.to_thread(self._not_started, journal, run, error)
            else:
                if isinstance(error, Locked):
                    await self._tell_of_lost(journal, error)
                await self.refuse(prepared, str(error), reason=reason)
            raise
        return await self.run_here(run) if here else await asyncio.to_thread(journal.run, run.id)

    async def _unrecorded(
        self, prepared: Prepared, run: Run, entry: AuditEntry, secrets: Mapping[str, Secret], error: JournalTrouble
    ) -> Run:
        """What changes little is done all the same, and says that nobody will find it in the journal. What disrupts is refused; so is
        everything but the smallest where this user may not write the journal, since somebody else may."""
        most = Rung.SMALL if self.unwritable else Rung.VISIBLE
        if self.run_unrecorded is None or prepared.own_rung > most:
            raise error
        done = await self.run_unrecorded(run, entry, secrets)
        return replace(done, outcome=f"{done.outcome}; not recorded: {error}")

    async def _tell_of_lost(self, journal: Journal, error: Locked) -> None:
        """Nobody is told to wait for a run whose process is gone; the journal knows only its last beat."""
        with suppress(NotFound, JournalTrouble):
            holder = await asyncio.to_thread(journal.run, error.holder)
            if await self._is_lost(holder):
                error.hint = f"its runner is lost: coldtui run resume {holder.id}, or coldtui run cancel {holder.id}"

    def _refusal(self, plan: Plan, reason: str) -> str:
        if self.forbidden:
            return self.forbidden
        if plan.blocked:
            return plan.blocked
        if plan.outlook is Outlook.REFUSED:
            stop = next((f for f in plan.findings if f.outlook is Outlook.REFUSED), None)
            return stop.sentence if stop is not None else "the plan refuses"
        if plan.needs_reason and not reason.strip():
            return "a reason is needed"
        return ""

    async def refuse(self, prepared: Prepared, why: str, *, reason: str = "") -> None:
        """Leave an entry in the audit that something was asked for and not done. A journal that cannot take it does not hide the refusal."""
        _, entry = self._record_of(prepared, reason)
        try:
            journal = await asyncio.to_thread(self.journal)
            await asyncio.to_thread(journal.audit, replace(entry, what="refused", run="", outcome=f"refused: {why}"))
        except JournalTrouble:
            return

    async def note(self, what: str, *, reason: str = "", outcome: str = "") -> None:
        """An audit entry of its own: `armed`, `disarmed`. Raises JournalTrouble."""
        journal = await asyncio.to_thread(self.journal)
        site = self.site.name or self.site.server
        entry = AuditEntry(0, self.clock.now(), what, self.who, reason=plain(reason), outcome=outcome, site=site)
        await asyncio.to_thread(journal.audit, entry)

    async def aclose(self) -> None:
        """Let go of what planning opened."""
        await self.closing()

    # --- runs that are there

    async def cancel(self, id: str) -> Run:
        """Ask a run to stop before its next act. A run whose runner is lost is ended here: nobody else will. Raises NotFound, Refused."""
        journal = await asyncio.to_thread(self.journal)
        run = await asyncio.to_thread(journal.run, id)
        await asyncio.to_thread(journal.ask_cancel, run.id, str(self.who))
        entry = self._entry_of(run, "cancel", "asked to stop before its next act")
        await asyncio.to_thread(journal.audit, entry)
        if await self._is_lost(run):
            await asyncio.to_thread(end_lost, journal, run, self.find(run.operation), offline(self.clock, Self(self.who, "", "")), self.who)
        return await asyncio.to_thread(journal.run, run.id)

    async def resume(self, id: str, *, secrets: Mapping[str, Secret] | None = None) -> Run:
        """Start a new runner for a run that was lost, or that waits for it after a boot. Raises NotFound, Refused."""
        journal = await asyncio.to_thread(self.journal)
        run = await asyncio.to_thread(journal.run, id)
        why = self.forbidden or await self._not_resumable(run)
        if why:
            await asyncio.to_thread(journal.audit, self._entry_of(run, "refused", f"refused: not resumed: {why}"))
            raise Refused(f"{run.title} is not resumed", detail=why, hint=f"coldtui run show {run.id}")
        await asyncio.to_thread(journal.audit, self._entry_of(run, "resumed", f"attempt {run.attempts + 1}"))
        if acts_here(self.find(run.operation), Rung(run.rung)):
            return await self.run_here(run)
        await asyncio.to_thread(self.launcher.launch, run, secrets=secrets or {}, deadline_s=RESUME_S)
        return await asyncio.to_thread(journal.run, run.id)

    async def resume_after_boot(self, *, secrets: Mapping[str, Secret] | None = None) -> tuple[Run, ...]:
        """Resume every run that waited for the boot of this machine."""
        journal = await asyncio.to_thread(self.journal)
        waiting = await asyncio.to_thread(pending_after_boot, journal, self.boot_id, self.who.host)
        return tuple([await self.resume(run.id, secrets=secrets) for run in waiting])

    async def _not_resumable(self, run: Run) -> str:
        if run.state.ended:
            return f"it has ended: {run.state.value}"
        if not await self._is_lost(run):
            if not run.runner_pid:
                return "its runner is only just being started"
            since = (self.clock.now() - run.beat).total_seconds() if run.beat is not None else 0.0
            return f"its runner lives: process {run.runner_pid} on {run.runner_host}, heard of {since:.0f} s ago"
        return ""

    async def _is_lost(self, run: Run) -> bool:
        """By its beat; or at once when its process is gone from this machine."""
        if run.state.ended:
            return False
        if lost(run, self.clock.now()):
            return True
        return bool(run.runner_pid) and await asyncio.to_thread(self.launcher.lives, run) is False

    def _entry_of(self, run: Run, what: str, outcome: str) -> AuditEntry:
        return AuditEntry(
            0, self.clock.now(), what, self.who, run.operation, run.object, run.params, run.digest, run.reason, outcome=outcome, run=run.id,
            site=self.site.name or self.site.server,
        )  # fmt: skip

    def _launch(self, journal: Journal, run: Run, secrets: Mapping[str, Secret], begin: Callable[[], None]) -> None:
        """Into the journal at the very moment at which a runner waits for it. Blocking."""
        if any(journal.holder(lock) is not None for lock in run.locks):  # no process for what is about to be refused
            begin()
            self.launcher.launch(run, secrets=secrets)
        else:
            self.launcher.launch(run, secrets=secrets, confirm=begin)

    def _not_started(self, journal: Journal, run: Run, error: ColdError) -> None:
        """Blocking. Its locks must not wait for a runner that does not come."""
        if not journal.run(run.id).state.ended:
            end = End(RunState.FAILED, f"its runner did not start: {error}; nothing was changed", error.exit)
            write_end(journal, run, end, self.clock.now())

    def _record_of(self, prepared: Prepared, reason: str) -> tuple[Run, AuditEntry]:
        now, plan = self.clock.now(), prepared.plan
        run = Run(
            id=f"{now:%Y%m%d-%H%M%S}-{tokens.token_hex(2)}",
            operation=plan.operation,
            title=plan.title,
            object=plan.object,
            params=plain_values(prepared.params),
            plan=plan_json(plan),
            digest=plan.digest,
            rung=int(plan.rung),
            reason=plain(reason),
            who=self.who,
            site=replace(self.site, cluster_uid=self.site.cluster_uid or prepared.cluster_uid, server=prepared.server or self.site.server),
            created=now,
            locks=plan.locks,
            steps=tuple(step.title for step in plan.steps),
        )
        premises = tuple((p.name, p.reason or _age(now - p.as_of) if p.as_of is not None else p.reason) for p in plan.premises)
        entry = AuditEntry(
            0, now, "confirmed", self.who, plan.operation, plan.object, run.params, plan.digest, run.reason, premises, "", run.id,
            self.site.name or self.site.server,
        )  # fmt: skip
        return run, entry


def acts_here(operation: AnyOperation, rung: Rung) -> bool:
    """Whether the process that asked performs it: small acts do not become a process of their own where `production` has raised them."""
    return rung is Rung.SMALL or (rung is Rung.VISIBLE and operation.rung is Rung.SMALL)


def pending_after_boot(journal: Journal, boot_id: str, host: str = "") -> tuple[Run, ...]:
    """Runs that waited for the boot of this machine and may be resumed: marked under another boot ID than the present one. Blocking.

    `host`: only those whose runner was on this machine (a state folder may be shared).
    """
    if not boot_id:  # a kernel that does not tell: nobody can know whether it was booted
        return ()
    return tuple(
        run for run in journal.runs(active=True) if run.after_boot and run.after_boot != boot_id and (not host or run.runner_host == host)
    )


def _age(span: timedelta) -> str:
    return f"{max(0.0, span.total_seconds()):.1f} s"
