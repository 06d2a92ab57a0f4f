"""Scenes of drains on five bare nodes, each in a namespace of its own. They hold on the embedded server and on a real control plane alike."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from coldtui.domain.errors import Cancelled, StepFailed, Unreachable
from coldtui.domain.plans import Fate
from coldtui.domain.runs import RunState, What
from coldtui.lab.client import BUDGETS, NODES, PODS, Json
from coldtui.lab.controllers.base import pod_ready
from tests.operations.drain.ground import QUICK, SECOND, THIRD, WORKER, Ground
from tests.operations.drain.scene import item


@dataclass(frozen=True)
class Scene:
    name: str
    play: Callable[[Ground], Awaitable[None]]
    stop_s: float
    lasting_node: bool
    embedded_only: bool


SCENES: list[Scene] = []


def scene(
    stop_s: float = 0.1, *, lasting_node: bool = False, embedded_only: bool = False
) -> Callable[[Callable[[Ground], Awaitable[None]]], Callable[[Ground], Awaitable[None]]]:
    """`stop_s`: how long containers take to end."""

    def made(play: Callable[[Ground], Awaitable[None]]) -> Callable[[Ground], Awaitable[None]]:
        SCENES.append(Scene(play.__name__, play, stop_s, lasting_node, embedded_only))
        return play

    return made


# ------------------------------------------------------------ to the end


@scene()
async def a_budget_that_refills(on: Ground) -> None:
    """Three of four pods here, one may be away: they go one after another, each when the one before is Ready elsewhere; never fewer than
    three are up."""
    await on.place("web", {WORKER: 3, SECOND: 1})
    await on.budget("web", "web", most=1)
    lowest = 4

    def watch(_: Json | None, after: Json | None) -> None:
        nonlocal lowest
        web = [p for p in on.lab.informers.of(PODS).values() if p["metadata"].get("labels", {}).get("app") == "web"]
        lowest = min(lowest, sum(pod_ready(p) for p in web))

    on.lab.informers.of(PODS).listen(watch)
    drain = await on.drain(timeout=60)
    assert [i.fate for i in drain.plan.items] == [Fate.GOES, Fate.WAITS, Fate.WAITS]
    await drain.perform()
    assert lowest >= 3
    assert not await on.pods_on()
    # "budget web refuses", or in the server's words while the budget was not looked at yet: "refused: ...".
    held = [i.object.rpartition("/")[2] for i in drain.plan.items if any("refuse" in t for t in drain.told(i.object.rpartition("/")[2]))]
    # A real server keeps one that meets a conflict for half a second, and by then the budget may have filled again.
    assert len(held) in (1, 2), [drain.told(i.object.rpartition("/")[2]) for i in drain.plan.items]


@scene()
async def a_stateful_set_pod_comes_back_under_its_name(on: Ground) -> None:
    """The new pod is another one: the old is gone, the new is not evicted, and it is told where it came back."""
    await on.stateful("queue", WORKER)
    before = (await on.pods_on())["queue-0"]["metadata"]["uid"]
    drain = await on.drain(timeout=60)
    await drain.perform()

    async def back() -> bool:
        pod = await on.client.find(PODS, "queue-0", on.namespace)
        return pod is not None and pod["metadata"]["uid"] != before and pod_ready(pod)

    await on.settle(back)
    assert await on.evicted() == []
    assert drain.told("queue-0")[0] == "evicting"
    assert any("gone after" in text for text in drain.told("queue-0"))


@scene(3.0)
async def a_slow_pod_is_told_with_its_time(on: Ground) -> None:
    """While it stops: how long, and of how long; no more often than agreed."""
    await on.place("slow", {WORKER: 1}, terminationGracePeriodSeconds=40)
    drain = await on.drain(timeout=60)
    await drain.perform()
    words = drain.told("slow")
    assert words[0] == "evicting"
    times = [int(found[1]) for w in words if (found := re.match(r"terminating (\d+) of 40 s", w))]
    assert times == sorted(times)
    assert max(times) >= 1  # a slow look may miss any one of the seconds, not all of them
    assert len(words) <= 8
    assert any(w.startswith("gone after ") for w in words)


@scene(30.0)
async def a_grace_period_of_ones_own(on: Ground) -> None:
    """--grace goes into the eviction: the pod is killed after it, not after its own."""
    await on.place("slow", {WORKER: 1}, terminationGracePeriodSeconds=40)
    drain = await on.drain(timeout=20, grace=1)
    await drain.perform()
    assert any(text.startswith("terminating 0 of 1 s") for text in drain.told("slow"))


@scene()
async def finished_and_bare_pods(on: Ground) -> None:
    """Finished pods are removed, bare ones only under --force, and nothing makes them again."""
    await on.bare("done", WORKER, "Succeeded")
    assert (await on.plan()).blocked == ""
    await on.bare("lonely", WORKER)
    assert "--force" in (await on.plan()).blocked
    drain = await on.drain(force=True, timeout=20)
    await drain.perform()
    assert not await on.pods_on()
    assert await on.client.find(PODS, "lonely", on.namespace) is None


@scene()
async def an_empty_node_is_only_cordoned(on: Ground) -> None:
    """The steps after the cordon find nothing to do, and say so."""
    drain = await on.drain()
    await drain.perform()
    ends = [(e.what, e.step) for e in drain.events if e.what in (What.ALREADY, What.FINISHED)]
    assert ends == [(What.FINISHED, 0), (What.ALREADY, 1), (What.FINISHED, 2)]
    assert drain.said == ["nothing had to leave k3s-worker-1"]
    assert (await on.plan()).done == "k3s-worker-1 is cordoned and has nothing to evict"


@scene()
async def deleting_instead_of_evicting(on: Ground) -> None:
    """No budget is asked: the one that could never spare a pod stops nothing."""
    await on.place("web", {WORKER: 1})
    await on.budget("web", "web", least=1)
    drain = await on.drain(disable_eviction=True, timeout=20)
    await drain.perform()
    assert not await on.pods_on()
    assert drain.left.endswith("1 of 1 pod of k3s-worker-1 was deleted")


# ------------------------------------------------------------ what does not go


@scene()
async def a_budget_for_ever(on: Ground) -> None:
    """The plan cannot be confirmed, where kubectl would evict the innocent and then hang. With --anyway the others go, the one is asked for
    again and again, and the run ends long before its time with its name and what holds it."""
    await on.place("web", {WORKER: 1})
    await on.budget("web", "web", least=1)
    await on.place("innocent", {WORKER: 1, SECOND: 1})
    plan = await on.plan()
    assert item(plan, "web").fate is Fate.NEVER
    assert "--anyway" in plan.blocked
    assert set(await on.pods_on()) == {i.object.rpartition("/")[2] for i in plan.items}
    drain = await on.drain(anyway=True, timeout=60)
    with pytest.raises(StepFailed, match="1 of 2 pods not evicted from k3s-worker-1") as caught:
        await drain.perform()
    assert "budget web refuses (1 healthy, 1 needed)" in caught.value.detail
    assert [n.partition("-")[0] for n in await on.pods_on()] == ["web"]
    assert "1 of 2 pods of k3s-worker-1 was evicted" in drain.left
    assert "k3s-worker-1 is still cordoned: coldtui node uncordon k3s-worker-1" in drain.left


@scene()
async def two_budgets_fail_one_pod_and_no_other(on: Ground) -> None:
    """The server's 500 is final for that pod; the others are evicted, and the error is told at the end."""
    await on.place("two", {WORKER: 1, SECOND: 1, THIRD: 1})
    for name in ("first", "second"):
        await on.budget(name, "two", most=1)
    await on.place("innocent", {WORKER: 1, SECOND: 1})
    drain = await on.drain(anyway=True, timeout=60)
    assert item(drain.plan, "two").why.startswith("budgets first and second select it")
    with pytest.raises(StepFailed, match="1 of 2 pods not evicted") as caught:
        await drain.perform()
    assert "more than one disruption budget selects pod" in caught.value.detail
    assert any(text.startswith("failed: more than one disruption budget") for text in drain.told("two"))
    assert [n.partition("-")[0] for n in await on.pods_on()] == ["two"]


@scene(5.0)
async def a_budget_that_is_loosened_meanwhile(on: Ground) -> None:
    """A pod that could never go is asked for all the same: when somebody changes its budget, it goes."""
    await on.place("web", {WORKER: 1})
    await on.budget("web", "web", least=1)
    await on.place("slow", {WORKER: 1})
    drain = await on.drain(anyway=True, timeout=60)
    task = asyncio.create_task(drain.perform())
    await drain.until_told("web", "refuses")
    await on.client.patch(BUDGETS, "web", {"spec": {"minAvailable": 0}}, on.namespace)
    await task
    assert not await on.pods_on()


@scene(30.0)
async def out_of_time(on: Ground) -> None:
    """At the deadline it says which pods are left and what each of them waits for."""
    await on.place("slow", {WORKER: 1})
    drain = await on.drain(timeout=8)
    with pytest.raises(StepFailed, match="out of time with 1 pod still on k3s-worker-1") as caught:
        await drain.perform()
    assert "terminating" in caught.value.detail
    assert "--timeout" in caught.value.hint
    assert "1 of 1 pod of k3s-worker-1 was evicted" in drain.left


@scene()
async def a_pod_that_needs_a_flag_came_after_the_plan(on: Ground) -> None:
    """Between plan and step a pod with emptyDir data was scheduled here: nothing at all is evicted."""
    await on.place("web", {WORKER: 1, SECOND: 1})
    drain = await on.drain(timeout=20)
    await on.place("late", {WORKER: 1}, volumes=[{"name": "cache", "emptyDir": {}}])
    with pytest.raises(StepFailed, match="1 pod on k3s-worker-1 may not be deleted without --delete-emptydir"):
        await drain.perform()
    assert len(await on.pods_on()) == 2
    assert await on.evicted() == []


# ------------------------------------------------------------ cancel


@scene(20.0)
async def cancel_says_what_cannot_be_recalled(on: Ground) -> None:
    """One is terminating, one is held by its budget: the first cannot be recalled, the second is spared; both are told."""
    await on.place("web", {WORKER: 2, SECOND: 1})
    await on.budget("web", "web", most=1)
    await on.only(WORKER)  # nothing can start elsewhere, so that the budget stays used up
    drain = await on.drain(timeout=60, anyway=True)
    names = [i.object.rpartition("/")[2] for i in drain.plan.items]
    assert [i.fate for i in drain.plan.items] == [Fate.GOES, Fate.NEVER]
    task = asyncio.create_task(drain.perform())
    await drain.until_told("web", "refuses")
    await drain.until_told("web", "terminating")
    drain.ctx.cancel()
    with pytest.raises(Cancelled):
        await task
    (held,) = [n for n in names if any("refuses" in t for t in drain.told(n))]
    (ending,) = [n for n in names if n != held]
    assert drain.told(held)[-1] == "not evicted: stopped"
    assert drain.told(ending)[-1] == "terminating: its eviction was accepted and cannot be recalled"
    summary = next(t for t in drain.said if t.startswith("stopped; "))
    space = on.namespace
    assert summary == f"stopped; 0 of 2 pods gone; terminating and not to be recalled: {space}/{ending}; not evicted: {space}/{held}"
    assert "deletionTimestamp" not in (await on.client.get(PODS, held, space))["metadata"]


# ------------------------------------------------------------ the line, the node


@scene(3.0)
async def the_api_is_away_in_the_middle(on: Ground) -> None:
    """It answers nothing: the run waits, says so, and goes on when the API is back."""
    await on.place("web", {WORKER: 2, SECOND: 1})
    await on.budget("web", "web", most=1)
    drain = await on.drain(timeout=90)
    task = asyncio.create_task(drain.perform())
    await drain.until_told("web", "terminating")
    await on.line.pause()
    try:
        await drain.until_said("the Kubernetes API: ")
        assert not task.done()
    finally:
        await on.line.resume()
    await task
    assert not await on.pods_on()
    assert on.journal.run(drain.id).state is not RunState.WAITING


@scene(3.0)
async def the_api_is_killed_and_comes_back(on: Ground) -> None:
    """Connections are refused for a while: the same."""
    await on.place("web", {WORKER: 1, SECOND: 1})
    drain = await on.drain(timeout=90)
    task = asyncio.create_task(drain.perform())
    await drain.until_told("web", "terminating")
    await on.line.down()
    try:
        await drain.until_said("the Kubernetes API: ")
    finally:
        await on.line.up()
    await task
    assert not await on.pods_on()


@scene(5.0, lasting_node=True)
async def the_node_is_removed_in_the_middle(on: Ground) -> None:
    """Its pods end with it; the run says so and reaches its end."""
    await on.place("slow", {WORKER: 1})
    drain = await on.drain(timeout=90)
    task = asyncio.create_task(drain.perform())
    await drain.until_told("slow", "terminating")
    await on.client.delete(NODES, WORKER)
    await task
    assert "k3s-worker-1 was removed from the cluster: its pods end with it" in drain.said
    assert "k3s-worker-1 is no longer in the cluster" in drain.said


@scene(5.0)
async def somebody_uncordons_in_the_middle(on: Ground) -> None:
    """It is said at once, and again at the end with what came meanwhile; those pods are not evicted."""
    await on.place("slow", {WORKER: 1})
    drain = await on.drain(timeout=60)
    task = asyncio.create_task(drain.perform())
    await drain.until_told("slow", "terminating")
    await on.client.patch(NODES, WORKER, {"spec": {"unschedulable": None}})
    await on.bare("late", WORKER)
    await task
    assert "k3s-worker-1 was uncordoned by somebody: new pods may come" in drain.said
    assert f"1 pod came to k3s-worker-1 meanwhile and stays: {on.namespace}/late" in drain.said
    assert "k3s-worker-1 is not cordoned any more: somebody uncordoned it meanwhile" in drain.said
    assert await on.evicted() == []


@scene()
async def a_dead_node_is_not_waited_for_with_skip(on: Ground) -> None:
    """No kubelet confirms the end: with --skip-wait-for-delete the pod is left terminating, and the run ends."""
    await on.place("web", {WORKER: 1, SECOND: 1}, terminationGracePeriodSeconds=1)
    on.lab.machines.power_off(WORKER)
    drain = await on.drain(timeout=30, skip_wait_for_delete=1)
    await drain.perform()
    assert drain.told("web")[-1] == "being deleted for long: not waited for"
    assert "deletionTimestamp" in next(iter((await on.pods_on()).values()))["metadata"]


# ------------------------------------------------------------ killed and taken up again


class Killed(BaseException):
    """Stands for kill -9: no handler of ours sees it."""


class Adapter:
    """The adapter, counting evictions. `at`: the runner is killed at so many, `before` it is sent or `after` the server had it. `mute`: the
    answers to evictions are lost."""

    def __init__(self, kube: Any, at: int = 0, when: str = "", *, mute: bool = False) -> None:
        self._kube, self._at, self._when, self._mute, self._count, self._dead = kube, at, when, mute, 0, False
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def evict(self, namespace: str, pod: str, **options: Any) -> None:
        self._count += 1
        self._dead = self._dead or (self._count == self._at and self._when == "before")
        if self._dead:  # tasks that wait for their turn die with their process
            raise Killed
        self.asked.append(pod)
        await self._kube.evict(namespace, pod, **options)
        if self._count == self._at and self._when == "after":
            self._dead = True
            raise Killed
        if self._mute:
            raise Unreachable("connection lost")


async def a_killed_runner(on: Ground, at: int, when: str) -> None:
    """Killed before or after an eviction and taken up with nothing but the journal: the rest is evicted, nobody twice, and the pod of the
    StatefulSet that came back under its name is left alone."""
    await on.stateful("queue", WORKER)
    await on.place("web", {WORKER: 1, SECOND: 1})
    await on.place("api", {WORKER: 1, SECOND: 1})
    drain = await on.drain(timeout=60, pace=dataclasses.replace(QUICK, at_once=1))
    deadly, counting = Adapter(on.kube, at, when), Adapter(on.kube)
    drain.ctx.means = dataclasses.replace(on.means, kube=deadly)
    with pytest.raises(Killed):
        await drain.perform()
    again = drain.again(means=dataclasses.replace(on.means, kube=counting))
    await again.perform()
    asked = [*deadly.asked, *counting.asked]
    assert sorted(n.partition("-")[0] for n in asked) == ["api", "queue", "web"], asked
    assert not await on.pods_on()
    assert [(e.what, e.step) for e in again.events][-1] == (What.FINISHED, 2)


for _at, _when in ((1, "before"), (2, "after"), (3, "before")):

    async def _killed(on: Ground, at: int = _at, when: str = _when) -> None:
        await a_killed_runner(on, at, when)

    SCENES.append(Scene(f"a_runner_killed_{_when}_eviction_{_at}", _killed, 0.1, lasting_node=False, embedded_only=_at == 1))


@scene(3.0)
async def killed_while_pods_are_ending(on: Ground) -> None:
    """All were accepted: the new runner only waits."""
    await on.place("slow", {WORKER: 1})
    drain = await on.drain(timeout=60)
    await drain.killed_when_told("slow", "terminating")
    counting = Adapter(on.kube)
    await drain.again(means=dataclasses.replace(on.means, kube=counting)).perform()
    assert counting.asked == []
    assert not await on.pods_on()


@scene(1.2)
async def an_answer_that_is_lost_is_read_back(on: Ground) -> None:
    """The eviction was accepted, and nobody heard it: the pod's deletionTimestamp tells, and it is not asked for again."""
    await on.place("web", {WORKER: 1, SECOND: 1})
    drain = await on.drain(timeout=60)
    mute = Adapter(on.kube, mute=True)
    drain.ctx.means = dataclasses.replace(on.means, kube=mute)
    await drain.perform()
    assert len(mute.asked) == 1
    assert any("asked for, no answer: connection lost" in text for text in drain.told("web"))
    assert drain.ctx.memo["1/accepted"] == drain.ctx.memo["1/asked"]
