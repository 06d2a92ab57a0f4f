"""How a run ends: its state, one sentence, its entry in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ..domain.errors import Cancelled, ColdError, Exit, Refused
from ..domain.plans import Plan, plan_of_json
from ..domain.runs import AuditEntry, Run, RunEvent, RunState, What, Who
from ..domain.values import dataclass
from ..ports import Journal, Means
from .catalogue import steps_of
from .engine import AnyOperation, RunContext, left_behind

PAGE = 5_000


@dataclass(frozen=True, slots=True)
class End:
    state: RunState
    outcome: str
    exit: Exit

    @property
    def words(self) -> str:
        """`done in 3.1 s`, `partial: out of time; ...`."""
        return self.outcome if self.outcome.startswith(self.state.value) else f"{self.state.value}: {self.outcome}"


def end_of(error: ColdError | None, *, took_s: float, left: tuple[str, ...], changed: bool, nothing: str = "", result: str = "") -> End:
    """`error` None: it reached its end. `left`: what stands; `changed`: a step of it had its effect. `nothing`: why there was nothing to do.
    `result`: what its steps have to tell of the end they reached."""
    if error is None:
        came = f": {result}" if result else ""
        return End(RunState.DONE, f"done: {nothing}" if nothing else f"done in {_span(took_s)}{came}", Exit.DONE)
    words = error.title + (f": {error.detail}" if error.detail else "")
    remedy = f" · {error.hint}" if error.hint else ""
    if left or changed:
        stands = f"; what stands: {'; '.join(left)}" if left else ""
        return End(RunState.PARTIAL, f"{words}{stands}{remedy}", error.exit)
    if isinstance(error, Cancelled):
        return End(RunState.CANCELLED, f"{words}; nothing was changed", error.exit)
    if isinstance(error, Refused):
        return End(RunState.REFUSED, f"{words}; nothing was changed{remedy}", error.exit)
    return End(RunState.FAILED, f"{words}{remedy}", error.exit)


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def ended_entry(run: Run, end: End, at: datetime, who: Who | None = None) -> AuditEntry:
    """`who`: whoever ended it, where that is not who confirmed it."""
    return AuditEntry(
        0, at, "ended", who or run.who, run.operation, run.object, run.params, run.digest, run.reason,
        outcome=end.words, run=run.id, site=run.site.name or run.site.server,
    )  # fmt: skip


def write_end(journal: Journal, run: Run, end: End, at: datetime, who: Who | None = None) -> None:
    """Audit, event, state, in this order: killed in between, the run is not ended yet and its resume writes the end again. Blocking."""
    journal.audit(ended_entry(run, end, at, who))
    journal.record(run.id, What.ENDED, text=end.outcome, memo={"exit": int(end.exit)})
    journal.set_state(run.id, end.state, outcome=end.outcome)


# ------------------------------------------------------------ what a run left in the journal


def all_events(journal: Journal, run: str) -> tuple[RunEvent, ...]:
    """Every event of a run, oldest first. Blocking."""
    found: list[RunEvent] = []
    while page := journal.events(run, after=found[-1].seq if found else 0, limit=PAGE):
        found += page
        if len(page) < PAGE:
            break
    return tuple(found)


def memo_in(events: tuple[RunEvent, ...]) -> dict[str, object]:
    """What the run remembered, over all its attempts."""
    memo: dict[str, object] = {}
    for event in events:
        if event.what in (What.STARTED, What.MEMO):
            memo.update(event.memo)
    return memo


def began(events: tuple[RunEvent, ...]) -> bool:
    """Whether a step was begun: something may have been changed."""
    return any(event.what is What.STARTED for event in events)


def had_effect(events: tuple[RunEvent, ...]) -> bool:
    """Whether a step that was begun reached its effect."""
    begun = {event.step for event in events if event.what is What.STARTED}
    return any(event.step in begun for event in events if event.what in (What.FINISHED, What.ALREADY))


def result_in(memo: Mapping[str, object]) -> str:
    """What steps remembered as `outcome`: a sentence each, in the order of the steps."""
    found = {key.partition("/")[0]: value for key, value in memo.items() if key.endswith("/outcome") and value}
    return "; ".join(str(found[step]) for step in sorted(found, key=int))


def walked_plan(run: Run, events: tuple[RunEvent, ...]) -> Plan:
    """The plan whose steps the run walks: the one that its first runner made before the first act, else the confirmed one.

    Raises Refused when the journal holds no readable plan.
    """
    made: Mapping[str, object] = run.plan
    for event in events:
        if event.what is What.STARTED:
            break
        if event.what is What.PLAN:
            made = event.memo
    try:
        return plan_of_json(made)
    except ValueError as error:
        raise Refused("the plan in the journal cannot be read", detail=str(error), hint="ask for the operation again") from None


def end_lost(journal: Journal, run: Run, operation: AnyOperation, means: Means, who: Who) -> End:
    """End a run whose runner is gone, as cancelled by `who`. Blocking."""
    events = all_events(journal, run.id)
    ctx = RunContext(run.id, None, means, journal, memo=memo_in(events))
    left = left_behind(walked_plan(run, events), ctx, steps_of(operation)) if began(events) else ()
    error = Cancelled(f"its runner was lost and {who.login} ended it")
    end = end_of(error, took_s=0.0, left=left, changed=had_effect(events))
    unsure = began(events) and not left and end.state is RunState.CANCELLED
    if unsure:  # the step that was under way may have had its effect
        end = replace(end, state=RunState.PARTIAL, outcome=f"{error}; the step that was under way may have been done: look at {run.object}")
    write_end(journal, run, end, means.clock.now(), who)
    return end
