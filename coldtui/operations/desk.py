"""The desk at which faces ask for acts: prepare a plan, confirm it, follow, cancel, resume. The only way from a face to a change.

prepare -> Prepared (shown) -> confirm -> a Run in the journal -> its runner. Rung 0 runs here, in the process that asked, by the same driver
and journal.
"""

from __future__ import annotations

import asyncio
import secrets as tokens
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ..domain.errors import ColdError, JournalTrouble, Refused, UsageError
from ..domain.plans import Outlook, Plan, Rung, plan_json
from ..domain.runs import AuditEntry, Run, RunSite, RunState, Who
from ..domain.secret import Secret
from ..domain.text import one_of, plain
from ..ports import Journal, Launcher, Means
from .engine import GATHER_S, Operation
from .params import make, plain_values

AnyOperation = Operation[Any, Any]


@dataclass(frozen=True)
class Prepared:
    """A plan that may be confirmed. It holds for what was read: confirming plans again in the runner."""

    operation: AnyOperation
    params: Any
    plan: Plan

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

    def find(self, name: str) -> AnyOperation:
        """By its name. Raises UsageError with the nearest."""
        found = self.operations.get(name)
        if found is None:
            near = one_of(tuple(self.operations), name)
            raise UsageError(f"unknown operation {plain(name)}", hint=f"did you mean {near}?" if near else "")
        return found

    async def prepare(self, name: str, values: Mapping[str, Any]) -> Prepared:
        """Read afresh and plan. Changes nothing. Raises UsageError, NotFound, Unreachable."""
        operation = self.find(name)
        params = make(operation.params, values)
        return await self.plan_again(operation, params)

    async def plan_again(self, operation: AnyOperation, params: Any) -> Prepared:
        means = await self.means()
        begun = means.clock.monotonic()
        facts = await operation.gather(params, means, GATHER_S)
        plan = operation.plan(facts, params, means.clock.now())
        plan = replace(plan, took_s=means.clock.monotonic() - begun, rung=raised(plan.rung, self.production))
        return Prepared(operation, params, replace(plan, needs_reason=plan.needs_reason or plan.rung is Rung.DESTRUCTIVE))

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
        journal = await asyncio.to_thread(self.journal)
        try:
            await asyncio.to_thread(journal.begin, run, entry)
        except JournalTrouble:
            raise
        except ColdError as error:
            await self.refuse(prepared, str(error), reason=reason)
            raise
        if plan.rung is Rung.SMALL or (plan.rung is Rung.VISIBLE and prepared.operation.rung is Rung.SMALL):
            return await self.run_here(run)
        await self._launch(journal, run, secrets or {})
        return await asyncio.to_thread(journal.run, run.id)

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
        means_now = await self._now()
        await asyncio.to_thread(
            journal.audit,
            AuditEntry(0, means_now, what, self.who, reason=plain(reason), outcome=outcome, site=self.site.name or self.site.server),
        )

    async def _now(self) -> Any:
        from datetime import UTC, datetime

        return datetime.now(UTC)

    async def cancel(self, id: str) -> Run:
        """Ask a run to stop before its next act. A run whose runner is lost is ended here: nobody else will. Raises NotFound, Refused."""
        raise NotImplementedError

    async def resume(self, id: str, *, secrets: Mapping[str, Secret] | None = None) -> Run:
        """Start a new runner for a run that was lost, or that waits for it after a boot. Raises NotFound, Refused."""
        raise NotImplementedError

    async def _launch(self, journal: Journal, run: Run, secrets: Mapping[str, Secret]) -> None:
        try:
            await asyncio.to_thread(self.launcher.launch, run, secrets=secrets)
        except ColdError as error:
            await asyncio.to_thread(journal.set_state, run.id, RunState.FAILED, outcome=f"its runner did not start: {error}")
            raise

    def _record_of(self, prepared: Prepared, reason: str) -> tuple[Run, AuditEntry]:
        from datetime import UTC, datetime

        now, plan = datetime.now(UTC), prepared.plan
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
            site=self.site,
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


def raised(rung: Rung, production: bool) -> Rung:
    """`production` raises the two lower rungs by one."""
    return Rung(rung + 1) if production and rung <= Rung.VISIBLE else rung


def _age(span: timedelta) -> str:
    return f"{max(0.0, span.total_seconds()):.1f} s"
