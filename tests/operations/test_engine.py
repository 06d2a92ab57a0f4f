"""The driver by itself: what is written before what, waiting, and the journal's own trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from coldtui.domain.errors import Cancelled, ColdError, JournalTrouble, StepFailed, Throttled, Unauthorized, Unreachable, UsageError
from coldtui.domain.plans import Plan, PlannedStep, Rung
from coldtui.domain.runs import RunEvent, RunState, What
from coldtui.operations.engine import RunContext, Step, left_behind, perform
from coldtui.operations.params import make, param, params_of, plain_values
from tests.operations.means import Stage, soon
from tests.operations.toys import Paint, acts


class Recorded(Step):
    """Writes down what the driver asks of it, and what the journal held at that moment."""

    name = "t.recorded"

    def __init__(self, is_done: bool = False, error: ColdError | None = None) -> None:
        self.asked: list[str] = []
        self.is_done, self.error = is_done, error
        self.seen: tuple[RunEvent, ...] = ()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        self.asked.append("before")
        return {"boot": "b1"}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        self.asked.append("done")
        return self.is_done

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        self.asked.append("run")
        self.seen = ctx.journal.events(ctx.run)
        if self.error is not None:
            raise self.error

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        return f"{planned.title} stands: {ctx.memo_of(planned)['boot']}"


def a_plan(*titles: str) -> Plan:
    steps = tuple(PlannedStep("t.recorded", title) for title in titles)
    return Plan("t.op", "T", "t/x", (), steps, (), Rung.SMALL, "t", "x")


async def context(stage: Stage, **changes: Any) -> RunContext:
    run = await stage.begun()
    return RunContext(run.id, make(Paint, {"world": str(stage.world)}), stage.means(), stage.journal, **changes)


def events(ctx: RunContext) -> list[tuple[What, int, str]]:
    return [(e.what, e.step, e.text) for e in ctx.journal.events(ctx.run)]


async def test_the_beginning_is_on_disk_with_its_memo_before_the_act(stage: Stage) -> None:
    """What a second process would read at the moment of the act holds the step and what was remembered."""
    step, ctx = Recorded(), await context(stage)
    await perform(a_plan("A"), ctx, {"t.recorded": step})
    assert step.asked == ["done", "before", "run"]
    assert [(e.what, e.step, dict(e.memo)) for e in step.seen] == [(What.STARTED, 0, {"0/begun": True, "0/boot": "b1"})]
    assert events(ctx)[-1] == (What.FINISHED, 0, "A")


async def test_what_the_world_has_is_passed_over(stage: Stage) -> None:
    """`already`, without a memo and without an act."""
    step, ctx = Recorded(is_done=True), await context(stage)
    await perform(a_plan("A"), ctx, {"t.recorded": step})
    assert step.asked == ["done"]
    assert events(ctx) == [(What.ALREADY, 0, "A")]
    assert not ctx.acted


async def test_what_was_remembered_is_not_asked_again(stage: Stage) -> None:
    """After a crash the world has changed by our own act: the memo of the first attempt stands."""
    step, ctx = Recorded(), await context(stage, memo={"0/begun": True, "0/boot": "b0"})
    await perform(a_plan("A"), ctx, {"t.recorded": step})
    assert step.asked == ["done", "run"]
    assert ctx.memo["0/boot"] == "b0"


async def test_a_failure_is_told_and_ends_the_walk(stage: Stage) -> None:
    """The step's event says why; later steps are not begun; what was begun is left behind, no more."""
    step, ctx = Recorded(error=StepFailed("no", detail="because")), await context(stage)
    plan = a_plan("A", "B")
    with pytest.raises(StepFailed):
        await perform(plan, ctx, {"t.recorded": step})
    assert events(ctx)[-1] == (What.FAILED, 0, "A: no · because")
    assert left_behind(plan, ctx, {"t.recorded": step}) == ("A stands: b1",)


def asks(*answers: Any) -> Callable[[], Any]:
    """Each call gives the next answer; an exception is raised."""
    left = list(answers)

    async def ask() -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


async def test_patience_says_so_once_and_goes_on(stage: Stage) -> None:
    """Three refusals with one cause are one sentence, and its end is told; the run's state says it too, in between."""
    ctx = await context(stage)
    found = await ctx.patiently(asks(Throttled("slow down", retry_after_s=0.01), Throttled("slow down", retry_after_s=0.01), 7))
    assert found == 7
    assert events(ctx) == [(What.WAITING, -1, "the Kubernetes API: slow down"), (What.WAITING, -1, "")]
    assert stage.journal.run(ctx.run).state is RunState.RUNNING


async def test_patience_leaves_what_the_step_waits_for(stage: Stage) -> None:
    """A drain that waits for a budget and reads its pods meanwhile: no flicker of events."""
    ctx = await context(stage)
    await ctx.waiting("budget redis: 0 allowed")
    for _ in range(3):
        assert await ctx.patiently(asks(1)) == 1
        await ctx.ready()
        await ctx.waiting("budget redis: 0 allowed")
    assert events(ctx) == [(What.WAITING, -1, "budget redis: 0 allowed")]
    assert stage.journal.run(ctx.run).state is RunState.WAITING


@pytest.mark.parametrize("error", [Unauthorized("the credentials are refused"), StepFailed("no"), ColdError("no")])
async def test_patience_is_for_a_silent_line_only(stage: Stage, error: ColdError) -> None:
    """401 and every other answer are raised at once."""
    ctx = await context(stage)
    with pytest.raises(type(error)):
        await ctx.patiently(asks(error, 1))
    assert events(ctx) == []


async def test_patience_ends_by_cancel_by_its_limit_and_by_the_run_s(stage: Stage) -> None:
    """Each says what it was."""

    async def away() -> int:
        raise Unreachable("connection refused")

    ctx = await context(stage)
    task = asyncio.create_task(ctx.patiently(away))
    await soon(lambda: events(ctx))
    ctx.cancel()
    with pytest.raises(Cancelled):
        await task
    ctx = RunContext(ctx.run, ctx.params, stage.means(), stage.journal)
    with pytest.raises(Unreachable):
        await ctx.patiently(away, give_up_s=-1.0)
    ctx.deadline = stage.clock.now() + timedelta(seconds=0.05)
    with pytest.raises(StepFailed, match="out of time"):
        await ctx.patiently(away)


async def test_a_lock_that_is_not_ours_holds_the_act_not_the_run(stage: Stage) -> None:
    """`ready` waits and says for what; cancel ends it."""
    why = ["site was taken over by ben"]
    ctx = await context(stage, pause_for=lambda: why[0])
    task = asyncio.create_task(ctx.ready())
    await soon(lambda: stage.journal.run(ctx.run).state is RunState.WAITING)
    assert stage.journal.run(ctx.run).outcome == "site was taken over by ben"
    why[0] = ""
    await task
    why[0] = "again"
    task = asyncio.create_task(ctx.ready())
    await soon(lambda: events(ctx)[-1][2] == "again")
    ctx.cancel()
    with pytest.raises(Cancelled):
        await task


class Stubborn:
    """A journal that takes nothing for a number of tries."""

    def __init__(self, stage: Stage, times: int) -> None:
        self._real, self.times = stage.journal, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def record(self, *args: Any, **kwargs: Any) -> RunEvent:
        if self.times > 0:
            self.times -= 1
            raise JournalTrouble("the disk is full", hint="free space")
        return self._real.record(*args, **kwargs)


async def test_no_act_without_its_event_on_disk(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that takes nothing stops the run before the act, leaves its record alone, and the run can be resumed when there is room."""
    monkeypatch.setattr("coldtui.operations.engine.JOURNAL_TRIES", 2)
    run = await stage.begun(steps=1)
    with pytest.raises(JournalTrouble):
        await stage.execute(run, journal=Stubborn(stage, 99))
    assert not acts(stage.world)
    assert not stage.now(run).state.ended
    assert await stage.execute(run) == 0
    assert acts(stage.world) == ["0"]


async def test_a_moment_without_room_ends_no_run(stage: Stage) -> None:
    """The event is offered again; the act comes after it, once."""
    run = await stage.begun(steps=1)
    assert await stage.execute(run, journal=Stubborn(stage, 1)) == 0
    assert acts(stage.world) == ["0"]
    assert [e.what for e in stage.events(run)] == [What.RUNNER, What.PLAN, What.STARTED, What.MEMO, What.FINISHED, What.ENDED]


# ------------------------------------------------------------ parameters


def test_fields_become_parameters() -> None:
    """Order, kinds, defaults, units; what goes into the journal comes back as the same parameters."""
    found = params_of(Paint)
    assert [(p.name, p.kind, p.required) for p in found] == [
        ("world", str, True), ("steps", int, False), ("timeout", int, False), ("fail", int, False), ("busy", bool, False),
    ]  # fmt: skip
    assert (found[2].unit, found[2].flag, found[4].default) == ("s", "--timeout", False)
    made = make(Paint, {"world": "w", "steps": "5", "busy": True})
    assert made == Paint("w", 5, busy=True)
    assert make(Paint, plain_values(made)) == made


@dataclass(frozen=True)
class All:
    """One parameter of each kind."""

    object: str = param("the object")
    mode: str = param("how", "soft", choices=("soft", "hard"))
    grace: int = param("seconds", 30, least=-1, most=600)
    names: tuple[str, ...] = param("names", ())


def test_values_of_each_kind() -> None:
    """Choices, bounds and lists are checked where they are declared."""
    assert make(All, {"object": "x", "names": " a, b ,", "grace": -1}) == All("x", "soft", -1, ("a", "b"))
    assert make(All, {"object": "x", "names": ["a"]}).names == ("a",)
    for values, said in (
        ({"object": "x", "mode": "sft"}, "did you mean soft"), ({"object": "x", "grace": -2}, "at least -1"), ({"object": "x", "grace": 601}, "at most 600"),
        ({"object": ""}, "object is empty"), ({"object": "x", "grace": True}, "whole number"), ({"object": "x", "grace": "٣"}, "whole number"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=said):
            make(All, values)
