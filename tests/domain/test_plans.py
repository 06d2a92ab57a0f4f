"""What counts as worse between a confirmed plan and the same plan made again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coldtui.domain.plans import Fate, Finding, Outlook, Plan, PlanItem, Rung, Weight, plan_json, plan_of_json, worse

PLAN = Plan(
    "node.drain", "Drain w1", "nodes/w1", (), (), ("site",), Rung.DISRUPTIVE, "drain", "w1", items=(PlanItem("pods/a/b", Fate.GOES),)
)


@pytest.mark.parametrize(
    ("before", "after", "stops"),
    [
        (Outlook.GO, Outlook.GO, False),
        (Outlook.GO, Outlook.GO_AFTER, False),
        (Outlook.GO_AFTER, Outlook.GO, False),
        (Outlook.GO_AFTER, Outlook.WOULD_HANG, True),
        (Outlook.GO, Outlook.WOULD_HANG, True),
        (Outlook.WOULD_HANG, Outlook.WOULD_HANG, False),
        (Outlook.WOULD_HANG, Outlook.NOT_EVALUATED, True),
        (Outlook.GO, Outlook.REFUSED, True),
    ],
)
def test_a_wait_does_not_hold_the_start_but_anything_graver_does(before: Outlook, after: Outlook, stops: bool) -> None:
    """A budget that is at its limit for a moment must not refuse a drain that was confirmed a second before."""
    assert bool(worse(replace(PLAN, outlook=before), replace(PLAN, outlook=after))) is stops


def test_a_lag_that_grew_is_worse() -> None:
    """By more than a WAL segment: the same warning with a hundred times the bytes is not what was confirmed."""
    lag = Finding("postgres.lag", Weight.WARNING, "20 MB behind", "pods/a/b", amount=20_000_000)
    before, near, far = (replace(PLAN, findings=(replace(lag, amount=n),)) for n in (20_000_000, 30_000_000, 40_000_000))
    assert (worse(before, near), worse(before, far), worse(far, before)) == ((), ("20 MB behind",), ())
    assert plan_of_json(plan_json(far)).findings[0].amount == 40_000_000


def test_a_thing_that_waits_now_is_not_worse() -> None:
    """The same for a single thing: waits is not worse than goes, never is."""
    waits = replace(PLAN, outlook=Outlook.GO_AFTER, items=(PlanItem("pods/a/b", Fate.WAITS, "for a budget"),))
    never = replace(PLAN, outlook=Outlook.WOULD_HANG, items=(PlanItem("pods/a/b", Fate.NEVER, "budget for ever"),))
    assert worse(PLAN, waits) == ()
    assert len(worse(PLAN, never)) == 2


def test_what_blocks_is_said_once() -> None:
    """A plan that is refused now for a new finding names it one time, not as what blocks and as what got worse."""
    new = Finding("x.stop", Weight.STOP, "postgres-2 is not ready: CrashLoopBackOff", outlook=Outlook.REFUSED)
    after = replace(PLAN, outlook=Outlook.REFUSED, blocked=f"something else; {new.sentence}", findings=(*PLAN.findings, new))
    assert [text for text in worse(PLAN, after) if new.sentence in text] == [after.blocked]
