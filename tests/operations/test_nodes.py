"""Cordon and uncordon: what is said before, what is sent, and what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coldtui.domain.errors import Forbidden, JournalTrouble, NotFound, Unreachable
from coldtui.domain.nodes import Node, Taint
from coldtui.domain.plans import Plan, PlannedStep, Rung, Weight
from coldtui.domain.runs import Run, RunState, What
from coldtui.lab.fakes import FakeKube
from coldtui.operations.catalogue import CATALOGUE
from coldtui.operations.engine import RunContext
from coldtui.operations.nodes import CORDON_STEP, UNCORDON_STEP, CordonNode, UncordonNode, cordoned_by, gather, plan_cordon, plan_uncordon
from coldtui.ports import HeldLease, PatchForm
from tests.cli.means import a_site
from tests.journals import a_run, an_entry
from tests.operations.means import Stage, soon

NAME = "k3s-worker-1"


def changed(kube: FakeKube, name: str, change: Callable[[Node], Node]) -> FakeKube:
    kube.put("nodes", change(kube.objects("nodes")[name]))
    return kube


def cordoned(node: Node) -> Node:
    return replace(node, unschedulable=True, taints=(Taint("node.kubernetes.io/unschedulable", "", "NoSchedule"),))


def silent(node: Node) -> Node:
    return replace(node, conditions=tuple(replace(c, status="Unknown") if c.type == "Ready" else c for c in node.conditions))


@pytest.fixture
def site(stage: Stage) -> Stage:
    """A stage with the healthy site of five nodes, and the real catalogue."""
    stage.kube = a_site()
    stage.operations = CATALOGUE
    return stage


def planned(site: Stage, name: str = "node.cordon", node: str = NAME) -> Plan:
    return asyncio.run(site.desk().prepare(name, {"node": node})).plan


def findings(plan: Plan) -> dict[str, tuple[Weight, str]]:
    return {f.code: (f.weight, f.sentence) for f in plan.findings}


# ------------------------------------------------------------ plans


def test_a_cordon_of_a_healthy_site(site: Stage) -> None:
    """Rung 0, one step, no lock, what was read with its age, and how many other nodes take pods."""
    plan = planned(site)
    assert findings(plan) == {"node.others": (Weight.GOOD, "4 other nodes take new pods")}
    assert (plan.title, plan.object, plan.verb, plan.confirm) == (f"Cordon {NAME}", f"nodes/{NAME}", "cordon", NAME)
    assert (plan.rung, plan.locks, plan.words) == (Rung.SMALL, (), "go")
    assert [(s.name, dict(s.args)) for s in plan.steps] == [("node.cordon", {"node": NAME})]
    assert [p.name for p in plan.premises] == [f"node {NAME}", "the other nodes", "who holds the site"]
    assert all(p.as_of is not None for p in plan.premises)
    assert site.kube.acts == []


@pytest.mark.parametrize(
    ("operation", "prepare", "code", "weight", "sentence"),
    [
        ("node.cordon", lambda k: changed(k, NAME, silent), "node.not-ready", Weight.NOTE, f"{NAME} is NotReady: what runs there is not moved by this"),
        (
            "node.cordon", lambda k: [changed(k, f"k3s-worker-{n}", cordoned) for n in (2, 3, 4)] and changed(k, "k3s-master", silent),
            "node.last-schedulable", Weight.WARNING, f"no other node takes new pods: {NAME} is the last",
        ),
        (
            "node.uncordon", lambda k: changed(k, NAME, lambda n: cordoned(silent(n))), "node.not-ready", Weight.NOTE,
            f"{NAME} is NotReady: no pod starts there until it is Ready",
        ),
        (
            "node.uncordon", lambda k: changed(k, NAME, lambda n: replace(n, unschedulable=True, taints=(Taint("disk", "bad", "NoExecute"),))),
            "node.tainted", Weight.NOTE, f"{NAME} keeps 1 taint: disk=bad:NoExecute",
        ),
        (
            "node.cordon", lambda k: k.leases.__setitem__("kube-system/coldtui-site", HeldLease("kube-system", "coldtui-site", "m2/ben/r9", "3", None, 30)),
            "node.site-held", Weight.NOTE, "the site is held by ben on m2 (run r9)",
        ),
    ],
)  # fmt: skip
def test_each_finding(site: Stage, operation: str, prepare: Callable[[FakeKube], Any], code: str, weight: Weight, sentence: str) -> None:
    """Each thing that is looked at says its sentence with its weight."""
    if operation == "node.uncordon":
        changed(site.kube, NAME, cordoned)
    prepare(site.kube)
    assert findings(planned(site, operation))[code] == (weight, sentence)


def under_way(site: Stage, node: str = NAME, **changes: Any) -> Run:
    """A drain in the journal."""
    run = a_run(object=f"nodes/{node}", created=site.clock.now(), title=f"Drain {node}", **changes)
    site.journal.begin(run, an_entry(run))
    return run


def test_uncordoning_under_a_drain_is_warned_of(site: Stage) -> None:
    """The drain of that very node counts on it: a warning with who, since when and how to stop it; for a cordon it is a note only."""
    changed(site.kube, NAME, cordoned)
    run = under_way(site)
    plan = planned(site, "node.uncordon")
    weight, sentence = findings(plan)["node.run-under-way"]
    assert weight is Weight.WARNING
    assert sentence.startswith(f"Drain {NAME} is under way: {run.id}, anna from 10.0.0.5, since ")
    assert sentence.endswith("; it may count on it being cordoned")
    assert next(f for f in plan.findings if f.code == "node.run-under-way").remedy == f"coldtui run cancel {run.id} stops it first"
    changed(site.kube, NAME, lambda n: replace(n, unschedulable=False))
    assert findings(planned(site))["node.run-under-way"][0] is Weight.NOTE


def test_a_run_on_another_node_is_a_note(site: Stage) -> None:
    """It holds the site, but not this node."""
    changed(site.kube, NAME, cordoned)
    under_way(site, "k3s-worker-2")
    assert findings(planned(site, "node.uncordon"))["node.run-under-way"][0] is Weight.NOTE


def test_our_own_lease_is_not_told_twice(site: Stage) -> None:
    """The lease of a run that this machine's journal knows is that run."""
    run = under_way(site)
    site.kube.leases["kube-system/coldtui-site"] = HeldLease("kube-system", "coldtui-site", f"k3s-master/anna/{run.id}", "3", None, 30)
    assert set(findings(planned(site))) == {"node.others", "node.run-under-way"}


@pytest.mark.parametrize(("operation", "prepare", "done"), [
    ("node.cordon", lambda k: changed(k, NAME, cordoned), f"{NAME} is cordoned already"),
    ("node.uncordon", lambda k: k, f"{NAME} is not cordoned"),
])  # fmt: skip
def test_nothing_to_do(site: Stage, operation: str, prepare: Callable[[FakeKube], Any], done: str) -> None:
    """The plan says why, and has no step."""
    prepare(site.kube)
    plan = planned(site, operation)
    assert (plan.done, plan.steps) == (done, ())


@pytest.mark.parametrize(("typed", "hint"), [
    ("k3s-worker1", "did you mean k3s-worker-1 or "), ("k3s-mastre", "did you mean k3s-master"), ("zzz", "there are: k3s-master, k3s-worker-1, "),
])  # fmt: skip
def test_an_unknown_node_offers_the_nearest(site: Stage, typed: str, hint: str) -> None:
    """By the names that the cluster has now."""
    with pytest.raises(NotFound, match=f"no node {typed}") as caught:
        planned(site, node=typed)
    assert caught.value.hint.startswith(hint)


def test_each_premise_unreadable(site: Stage) -> None:
    """Without the other nodes, the lease or the journal the plan says what it does not know; without the node there is no plan."""
    site.kube.fail("read_all", lambda: Forbidden("needs list on nodes", verb="list", resource="nodes"), times=None)
    site.kube.fail("lease", lambda: Forbidden("needs get on leases", verb="get", resource="leases"), times=None)
    plan = planned(site)
    assert findings(plan) == {"node.others-unknown": (Weight.NOTE, "other nodes: not evaluated, needs list on nodes")}
    assert [(p.as_of is None, p.reason) for p in plan.premises] == [
        (False, ""), (True, "needs list on nodes"), (True, "needs get on leases"),
    ]  # fmt: skip
    site.kube.heal()

    def broken() -> tuple[Run, ...]:
        raise JournalTrouble("the journal cannot be read")

    facts = asyncio.run(gather(CordonNode(NAME), replace(site.means(), under_way=broken), 10.0))
    assert set(findings(plan_cordon(facts, CordonNode(NAME), site.clock.now()))) == {"node.others"}
    site.kube.kill()
    with pytest.raises(Unreachable):
        planned(site)


def test_plans_are_pure(site: Stage) -> None:
    """The same facts give the same plan, and the same digest, whatever the time."""
    facts = asyncio.run(gather(UncordonNode(NAME), site.means(), 10.0))
    first = plan_uncordon(facts, UncordonNode(NAME), site.clock.now())
    assert first == plan_uncordon(facts, UncordonNode(NAME), site.clock.now().replace(year=2031))
    assert first.digest == replace(first, premises=(), took_s=9.0).digest


# ------------------------------------------------------------ runs


async def confirmed(site: Stage, name: str = "node.cordon", node: str = NAME) -> Run:
    desk = site.desk()
    return await desk.confirm(await desk.prepare(name, {"node": node}))


async def test_cordon_sends_what_kubectl_sends(site: Stage) -> None:
    """A strategic patch of spec.unschedulable: true; uncordon takes it away with null, as kubectl's two-way merge does."""
    sent: list[tuple[Any, PatchForm]] = []
    real = site.kube.patch

    async def patch(*args: Any, **kwargs: Any) -> Any:
        sent.append((args[2], kwargs["form"]))
        return await real(*args, **kwargs)

    site.kube.patch = patch  # type: ignore[method-assign]
    run = await confirmed(site)
    assert (run.state, run.attempts) == (RunState.DONE, 1)
    assert site.kube.objects("nodes")[NAME].unschedulable
    assert (await confirmed(site, "node.uncordon")).state is RunState.DONE
    assert not site.kube.objects("nodes")[NAME].unschedulable
    assert sent == [
        ({"spec": {"unschedulable": True}}, PatchForm.STRATEGIC), ({"spec": {"unschedulable": None}}, PatchForm.STRATEGIC),
    ]  # fmt: skip
    assert [e.what for e in site.journal.audit_entries()] == ["confirmed", "ended", "confirmed", "ended"]


async def test_what_was_before_is_on_disk_before_the_patch(site: Stage) -> None:
    """`was` and the intent are in the journal when the patch is sent: a resumed run knows whether the cordon is its own."""
    seen: list[dict[str, Any]] = []
    real = site.kube.patch

    async def patch(*args: Any, **kwargs: Any) -> Any:
        seen.append({k: v for e in site.journal.events(site.journal.runs()[0].id) for k, v in e.memo.items() if "/" in k})
        return await real(*args, **kwargs)

    site.kube.patch = patch  # type: ignore[method-assign]
    await confirmed(site)
    assert seen[0]["0/was"] is False
    assert seen[0]["0/cordoned"] == NAME


async def test_an_api_lost_in_the_act_is_waited_for(site: Stage) -> None:
    """The API goes away just before the patch: the run waits, says so, looks at the node again and then cordons it once."""
    site.kube.fail("patch", lambda: Unreachable("connection reset by peer"), times=2)
    run = await confirmed(site)
    assert run.state is RunState.DONE
    assert [e.text for e in site.events(run, What.WAITING)] == ["the Kubernetes API: connection reset by peer", ""]
    assert site.kube.did("patch") == [NAME]


async def test_a_patch_of_unknown_outcome_is_not_sent_twice(site: Stage) -> None:
    """The line broke after the server had taken it: the node is read back first."""
    real = site.kube.patch
    tries: list[int] = []

    async def patch(*args: Any, **kwargs: Any) -> Any:
        tries.append(1)
        await real(*args, **kwargs)
        raise Unreachable("connection reset by peer")

    site.kube.patch = patch  # type: ignore[method-assign]
    run = await confirmed(site)
    assert run.state is RunState.DONE
    assert len(tries) == 1


async def test_a_plain_no_leaves_nothing_behind(site: Stage) -> None:
    """403: failed, with what is missing; not `partial`, and nothing is said to be still cordoned."""
    site.kube.fail("patch", lambda: Forbidden("needs patch on nodes", verb="patch", resource="nodes"))
    run = await confirmed(site)
    assert (run.state, run.outcome) == (RunState.FAILED, "needs patch on nodes")


async def test_a_small_act_is_cancelled_with_what_stands(site: Stage) -> None:
    """The patch was taken, the API is gone before the node is read back, and the operator stops it: the node is still cordoned, and how to undo."""
    real = site.kube.patch

    async def patch(*args: Any, **kwargs: Any) -> Any:
        found = await real(*args, **kwargs)
        site.kube.kill()
        return found

    site.kube.patch = patch  # type: ignore[method-assign]
    task = asyncio.create_task(confirmed(site))
    await soon(lambda: any(r.state is RunState.WAITING for r in site.journal.runs()))
    site.journal.ask_cancel(site.journal.runs()[0].id, "anna")
    run = await task
    assert run.state is RunState.PARTIAL
    assert run.outcome == f"stopped before the next act, as asked; what stands: {NAME} is still cordoned: coldtui node uncordon {NAME}"


async def test_a_node_that_went_away_meanwhile_is_named(site: Stage) -> None:
    """Deleted between plan and act: refused or failed with its name, nothing sent."""
    desk = site.desk()
    prepared = await desk.prepare("node.cordon", {"node": NAME})
    site.kube.remove("nodes", NAME)
    run = await desk.confirm(prepared)
    assert run.state is RunState.FAILED
    assert run.outcome.startswith(f"no node {NAME}")
    assert not site.kube.did("patch")


# ------------------------------------------------------------ as steps of larger runs


def context(site: Stage, memo: dict[str, Any]) -> RunContext:
    return RunContext("r", None, site.means(), site.journal, memo=memo)


@pytest.mark.parametrize(("memo", "ours"), [
    ({}, False),
    ({"0/begun": True, "0/was": False, "0/cordoned": NAME}, True),
    ({"0/begun": True, "0/was": False, "0/cordoned": ""}, False),
    ({"0/begun": True, "0/was": False, "0/cordoned": "k3s-worker-2"}, False),
    ({"0/begun": True, "0/was": False}, False),
])  # fmt: skip
async def test_only_what_this_run_cordoned_is_uncordoned(site: Stage, memo: dict[str, Any], ours: bool) -> None:
    """`only_ours`: a node that somebody else had cordoned stays so."""
    changed(site.kube, NAME, cordoned)
    ctx = context(site, memo)
    ctx.step = 3
    assert cordoned_by(ctx, NAME) is ours
    planned = PlannedStep("node.uncordon", f"Uncordon {NAME}", {"node": NAME, "only_ours": True})
    assert await UNCORDON_STEP.done(planned, ctx) is not ours
    assert await UNCORDON_STEP.done(replace(planned, args={"node": NAME}), ctx) is False


def test_a_cordon_that_the_same_run_undid_is_not_left_behind(site: Stage) -> None:
    """Cordon, ..., uncordon: only while it stands it is said."""
    planned = PlannedStep("node.cordon", f"Cordon {NAME}", {"node": NAME})
    ctx = context(site, {"0/cordoned": NAME, "0/was": False})
    ctx.step = 0
    assert CORDON_STEP.left_behind(planned, ctx) == f"{NAME} is still cordoned: coldtui node uncordon {NAME}"
    ctx.memo["4/uncordoned"] = NAME
    assert CORDON_STEP.left_behind(planned, ctx) == ""
