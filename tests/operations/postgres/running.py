"""Any act on a live site: planned, confirmed, run in this process, killed where a test wants it, and taken up again by what the journal holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from coldtui.domain.plans import Plan
from coldtui.domain.runs import What
from coldtui.operations.engine import AnyOperation, RunContext, Step, perform
from coldtui.ports import Journal
from tests.journals import a_run, an_entry
from tests.operations.dying import killed
from tests.operations.postgres.ground import Ground


async def planned(at: Ground, operation: AnyOperation, params: Any) -> Plan:
    made: Plan = operation.plan(await operation.gather(params, at.means, 10.0), params, at.means.clock.now())
    return made


class Act:
    """One run of an operation."""

    def __init__(self, at: Ground, plan: Plan, params: Any, steps: Sequence[Step], number: int, timeout: int = 60) -> None:
        assert not plan.blocked, plan.blocked
        assert not plan.done, plan.done
        self.at, self.plan, self.params, self.steps, self.timeout = at, plan, params, {s.name: s for s in steps}, timeout
        run = replace(a_run(f"20261124-190210-{number:04x}"), created=datetime.now(UTC), steps=tuple(s.title for s in plan.steps), locks=())
        at.journal.begin(run, an_entry(run))
        self.id = run.id

    def context(self, journal: Journal | None = None) -> RunContext:
        """As a runner has it that knows only what the journal holds."""
        memo: dict[str, Any] = {}
        for event in self.at.journal.events(self.id):
            memo.update(event.memo)
        deadline = self.at.means.clock.now() + timedelta(seconds=self.timeout)
        return RunContext(self.id, self.params, self.at.means, journal or self.at.journal, deadline=deadline, memo=memo)

    async def perform(self) -> None:
        await perform(self.plan, self.context(), self.steps)

    async def killed_when(self, key: str) -> None:
        """Begin, and end as a killed process does once that stands in the memo of the first step."""
        await self.killed_once(lambda: bool(self.memo.get(key)))

    async def killed_once(self, moment: Callable[[], bool]) -> None:
        """Begin, and end as a killed process does once that holds."""
        await killed(self.at.journal, lambda event: moment(), lambda journal: perform(self.plan, self.context(journal), self.steps))

    @property
    def memo(self) -> dict[str, Any]:
        found = self.context().memo
        return {key.partition("/")[2]: value for key, value in found.items() if key.startswith("0/")}

    @property
    def said(self) -> list[str]:
        return [e.text for e in self.at.journal.events(self.id) if e.what in (What.SAID, What.WAITING, What.FAILED) and e.text]
