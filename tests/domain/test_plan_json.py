"""Plans go into the journal and come out of it, and are compared with the same plan made again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from coldtui.domain.plans import (
    Fate,
    Finding,
    Outlook,
    Plan,
    PlanItem,
    PlannedStep,
    Premise,
    Rung,
    Weight,
    agreed,
    plan_json,
    plan_of_json,
    worse,
)

AT = datetime(2026, 11, 24, 14, 2, 10, 123456, tzinfo=UTC)
BUDGET = Finding(
    "drain.budget", Weight.WARNING, "budget redis allows 0 of 3", "budgets/production/redis", "scale it up", Outlook.WOULD_HANG
)
PLAN = Plan(
    operation="node.drain", title="Drain k3s-worker-1", object="nodes/k3s-worker-1",
    findings=(Finding("node.others", Weight.GOOD, "4 other nodes take new pods"), BUDGET),
    steps=(
        PlannedStep("node.cordon", "Cordon k3s-worker-1", {"node": "k3s-worker-1"}),
        PlannedStep("node.evict", "Evict 2 pods", {"pods": ["production/redis-0"], "grace": 30, "deep": {"a": [1, None, True]}}, "cannot be recalled"),
    ),
    locks=("site",), rung=Rung.DISRUPTIVE, verb="drain", confirm="k3s-worker-1",
    items=(
        PlanItem("pods/production/redis-0", Fate.GOES, facts=(("owner", "StatefulSet redis"), ("grace", "30 s"))),
        PlanItem("pods/production/redis-1", Fate.NEVER, "two budgets", "remove one", word="lost"),
    ),
    premises=(Premise("pods", AT), Premise("volumes", None, "not permitted")), outlook=Outlook.WOULD_HANG, blocked="", needs_reason=True,
    took_s=0.4, gist="by hand", done="",
)  # fmt: skip


def test_a_plan_comes_back_whole() -> None:
    """Through JSON text and back: equal, with the same digest; nothing that was said is lost."""
    back = plan_of_json(json.loads(json.dumps(plan_json(PLAN))))
    assert back == PLAN
    assert back.digest == PLAN.digest


@pytest.mark.parametrize("change", [
    {"object": "nodes/k3s-worker-2"}, {"locks": ()}, {"rung": Rung.DESTRUCTIVE}, {"outlook": Outlook.GO}, {"steps": PLAN.steps[:1]},
    {"findings": PLAN.findings[:1]}, {"items": PLAN.items[:1]},
])  # fmt: skip
def test_the_digest_is_of_what_was_agreed_to(change: dict[str, Any]) -> None:
    """Any of it changes the digest; when it was read does not."""
    assert replace(PLAN, **change).digest != PLAN.digest
    assert replace(PLAN, premises=(), took_s=9.9).digest == PLAN.digest


@pytest.mark.parametrize("broken", [
    {}, {"operation": "x"}, {**plan_json(PLAN), "rung": 9}, {**plan_json(PLAN), "notes": []}, {**plan_json(PLAN), "findings": [["a"]]},
    {**plan_json(PLAN), "items": None}, {**plan_json(PLAN), "premises": [{"name": "a", "as_of": "yesterday", "reason": ""}]},
    {**plan_json(PLAN), "outlook": "splendid"}, {**plan_json(PLAN), "steps": [1, 2]},
])  # fmt: skip
def test_what_is_no_plan_is_refused(broken: dict[str, Any]) -> None:
    """ValueError for whatever somebody wrote into the journal, never another exception."""
    with pytest.raises(ValueError):
        plan_of_json(broken)


def test_the_same_plan_is_not_worse() -> None:
    """Nor is one whose pods have moved on."""
    assert worse(PLAN, PLAN) == ()
    assert worse(PLAN, replace(PLAN, items=(), findings=(), steps=())) == ()
    more = replace(
        PLAN,
        items=(
            *PLAN.items,
            PlanItem("pods/x/new", Fate.GOES),
            PlanItem("pods/x/ds", Fate.STAYS),
            PlanItem("pods/x/w", Fate.WAITS, "for x"),
        ),
    )
    assert worse(PLAN, more) == ()


@pytest.mark.parametrize(("change", "said"), [
    ({"blocked": "the last node: add one"}, "the last node: add one"),
    ({"rung": Rung.DESTRUCTIVE}, "it now needs a confirmation of rung 3, not 2"),
    ({"outlook": Outlook.WOULD_LOSE}, "the outlook was 'would hang' and is 'would lose data'"),
    ({"outlook": Outlook.NOT_EVALUATED}, "the outlook was 'would hang' and is 'not evaluated'"),
    ({"findings": (*PLAN.findings, Finding("a", Weight.WARNING, "the last copy is here", "volumes/x"))}, "the last copy is here"),
    ({"findings": (replace(BUDGET, weight=Weight.STOP, sentence="budget redis can never allow"),)}, "budget redis can never allow"),
    ({"items": (PlanItem("pods/production/redis-0", Fate.NEVER, "budget"),)}, "pods/production/redis-0: never, budget"),
    ({"items": (PlanItem("pods/new", Fate.NOT_EVALUATED, "no budgets"),)}, "pods/new: not evaluated, no budgets"),
    ({"steps": (*PLAN.steps, PlannedStep("x", "Reboot k3s-worker-1"))}, "one more step: Reboot k3s-worker-1"),
])  # fmt: skip
def test_each_way_to_get_worse(change: dict[str, Any], said: str) -> None:
    """Says what, once."""
    assert worse(PLAN, replace(PLAN, **change)) == (said,)


def test_what_is_agreed_to_is_plain_json() -> None:
    """It goes into the audit."""
    assert json.loads(json.dumps(agreed(PLAN)))["locks"] == ["site"]
