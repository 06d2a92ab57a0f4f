"""Drains on the embedded server with the lab's controllers: budgets that refill, that never do, slow pods, a lost API, a lost node, kill -9."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coldtui.domain.errors import Cancelled, StepFailed, Unreachable
from coldtui.domain.plans import Fate
from coldtui.domain.runs import RunState, What
from coldtui.lab import site
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import BUDGETS, NODES, PODS, Json
from coldtui.lab.controllers.base import Controller, Pace, pod_ready
from coldtui.lab.controllers.nodes import NodeLifecycle
from coldtui.lab.seeds.parts import Seed, budget, container, deployment, stateful_set
from coldtui.lab.supervisor import ALL
from coldtui.operations.drain.draining import Pace as DrainPace
from tests.lab.conftest import FAST
from tests.operations.drain.ground import QUICK, WORKER, Drain, Ground, ground
from tests.operations.drain.scene import item

SHOP = "production"
SLOW = dataclasses.replace(FAST, pod_stop=1.2)
"""Pods take a while to stop: a slow end, scaled down."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("api")) as running:
        yield running


class Shop:
    """A small site: the nodes, and what a test puts on them."""

    def __init__(self) -> None:
        whole = site.build(datetime.now(UTC))
        self.seed = Seed(whole.now, whole.hosts, whole.dice)
        kinds = ("Namespace", "Node", "Lease", "StorageClass", "PriorityClass", "ServiceAccount")
        self.base = [o for o in [*whole.objects, *whole.derived] if o["kind"] in kinds and o["apiVersion"] != "longhorn.io/v1beta2"]

    def deployment(self, name: str, on: list[str], **spec: Any) -> None:
        deployment(self.seed, SHOP, name, {"containers": [container(name, f"r/{name}:1")], **spec}, on, days=3)

    def stateful_set(self, name: str, on: list[str], **spec: Any) -> None:
        """Without its claims: nobody here makes volumes."""
        made = stateful_set(
            self.seed, SHOP, name, {"containers": [container(name, f"r/{name}:1")], **spec}, on, claim="d", mount="/d", size="1Gi", days=3
        )
        for obj in [made, *self.seed.objects, *self.seed.derived]:
            if obj["metadata"]["name"].startswith(name) and obj["kind"] in ("Pod", "StatefulSet"):
                template = obj["spec"] if obj["kind"] == "Pod" else obj["spec"]["template"]["spec"]
                template["volumes"] = []
                template["containers"][0]["volumeMounts"] = []
                obj["spec"].pop("volumeClaimTemplates", None)

    def budget(self, name: str, app: str, *, least: int | None = None, most: int | None = None, pods: int) -> None:
        budget(self.seed, SHOP, name, {"app": app}, least=least, most=most, pods=pods, days=3)

    def bare(self, name: str, on: str, **spec: Any) -> None:
        self.deployment(name, [on], **spec)
        made = [o for o in [*self.seed.objects, *self.seed.derived] if o["metadata"].get("namespace") == SHOP]
        pod = next(o for o in made if o["kind"] == "Pod" and o["metadata"]["name"].startswith(name))
        for pool in (self.seed.objects, self.seed.derived):
            pool[:] = [o for o in pool if not o["metadata"]["name"].startswith(name)]
        pod["metadata"] |= {"name": name, "ownerReferences": []}
        self.seed.objects.append(pod)

    @property
    def objects(self) -> list[Json]:
        return copy.deepcopy([*self.base, *self.seed.objects, *self.seed.derived])


@asynccontextmanager
async def on(
    server: ApiServerProcess, folder: Path, shop: Shop | None = None, *, pace: Pace = FAST, crew: tuple[type[Controller], ...] = ALL
) -> AsyncIterator[Ground]:
    async with ground(server.kubeconfig, folder, objects=None if shop is None else shop.objects, pace=pace, crew=crew) as made:
        yield made


def play(scene: Callable[[], Any]) -> None:
    asyncio.run(scene())


async def pods_on(found: Ground, node: str = WORKER) -> dict[str, Json]:
    return {p["metadata"]["name"]: p for p in (await found.client.list(PODS, fields=f"spec.nodeName={node}"))[0]}


async def told(drain: Drain, pod: str, word: str) -> None:
    """Wait until a pod is told to stand so."""

    async def said() -> bool:
        return any(word in text for text in drain.told(pod))

    await drain.ground.settle(said)


# ------------------------------------------------------------ to the end


async def test_the_whole_site_is_moved(server: ApiServerProcess, tmp_path: Path) -> None:
    """Primary, Longhorn, three replicas under a budget: every pod that the plan says goes or waits is gone, DaemonSet pods stay, each was
    told, and what took its place is named."""
    async with on(server, tmp_path) as found:
        drain = await found.drain(delete_emptydir=True, timeout=60)
        await drain.perform()
        left = await pods_on(found)
        staying = {i.object.rpartition("/")[2] for i in drain.plan.items if i.fate is Fate.STAYS}
        assert set(left) == staying
        assert (await found.client.get(NODES, WORKER))["spec"]["unschedulable"] is True
        for each in drain.plan.items:
            if each.fate is not Fate.STAYS:
                name = each.object.rpartition("/")[2]
                assert any(text.startswith("gone after") for text in drain.told(name)), (name, drain.told(name))
        assert any(text.endswith("back on k3s-worker-4") or "back on" in text for text in drain.told("postgres-1"))
        assert any("replaced by cold-backend-" in text for text in drain.told("cold-backend"))
        assert any(
            text.startswith("budget instance-manager") and "refuses (1 healthy, 1 needed)" in text
            for text in drain.told("instance-manager")
        )
        assert drain.said[-1] == "10 pods gone from k3s-worker-1"
        evicted = {p["metadata"]["name"] for p in await conditions(found)}
        assert not evicted & set(left)


async def conditions(found: Ground) -> list[Json]:
    """Pods that bear the mark of an eviction."""
    return [
        p for p in (await found.client.list(PODS))[0] if any(c["type"] == "DisruptionTarget" for c in p["status"].get("conditions") or ())
    ]


async def test_a_budget_that_refills(server: ApiServerProcess, tmp_path: Path) -> None:
    """Three of four replicas here, one may be away: they go one after another, each when the one before is Ready elsewhere; never fewer
    than three are up."""
    shop = Shop()
    shop.deployment("web", [WORKER, WORKER, WORKER, "k3s-worker-2"])
    shop.budget("web", "web", most=1, pods=4)
    async with on(server, tmp_path, shop) as found:
        lowest = 4

        def watch(_: Json | None, after: Json | None) -> None:
            nonlocal lowest
            web = [p for p in found.lab.informers.of(PODS).values() if p["metadata"].get("labels", {}).get("app") == "web"]
            lowest = min(lowest, sum(pod_ready(p) for p in web))

        found.lab.informers.of(PODS).listen(watch)
        drain = await found.drain(timeout=60)
        assert [i.fate for i in drain.plan.items] == [Fate.GOES, Fate.WAITS, Fate.WAITS]
        await drain.perform()
        assert lowest >= 3
        assert not await pods_on(found)
        names = [i.object.rpartition("/")[2] for i in drain.plan.items]
        assert sum(any("budget web refuses" in text for text in drain.told(name)) for name in names) == 2


async def test_a_stateful_set_pod_comes_back_under_its_name(server: ApiServerProcess, tmp_path: Path) -> None:
    """The new pod is another one: the old is gone, the new is not evicted, and it is told where it came back."""
    shop = Shop()
    shop.stateful_set("queue", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop) as found:
        before = (await pods_on(found))["queue-0"]["metadata"]["uid"]
        drain = await found.drain(timeout=60)
        await drain.perform()

        async def back() -> bool:
            pod = await found.client.find(PODS, "queue-0", SHOP)
            return pod is not None and pod["metadata"]["uid"] != before and pod_ready(pod)

        await found.settle(back)
        assert not any(c["type"] == "DisruptionTarget" for c in (await found.client.get(PODS, "queue-0", SHOP))["status"]["conditions"])
        assert drain.told("queue-0")[0] == "evicting"
        assert any("gone after" in text for text in drain.told("queue-0"))


async def test_a_slow_pod_is_told_with_its_time(server: ApiServerProcess, tmp_path: Path) -> None:
    """While it stops, how long and of how long; and no more often than agreed."""
    shop = Shop()
    shop.deployment("slow", [WORKER], terminationGracePeriodSeconds=40)
    async with on(server, tmp_path, shop, pace=SLOW) as found:
        drain = await found.drain(timeout=60)
        await drain.perform()
        words = drain.told("slow")
        assert words[0] == "evicting"
        assert words[1].startswith("terminating 0 of 40 s")
        assert "terminating 1 of 40 s" in words
        assert len(words) <= 8
        assert words[-1].startswith("gone after ")


async def test_a_grace_period_of_ones_own(server: ApiServerProcess, tmp_path: Path) -> None:
    """--grace goes into the eviction: the pod is killed after it, not after its own."""
    shop = Shop()
    shop.deployment("slow", [WORKER], terminationGracePeriodSeconds=40)
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=30.0)) as found:
        drain = await found.drain(timeout=20, grace=1)
        await drain.perform()
        assert any(text.startswith("terminating 0 of 1 s") for text in drain.told("slow"))


async def test_finished_and_bare_pods(server: ApiServerProcess, tmp_path: Path) -> None:
    """Finished pods are removed, bare ones only under --force, and nothing makes them again."""
    shop = Shop()
    shop.bare("lonely", WORKER)
    async with on(server, tmp_path, shop) as found:
        assert (await found.plan()).blocked
        drain = await found.drain(force=True, timeout=20)
        await drain.perform()
        assert not await pods_on(found)
        assert await found.client.find(PODS, "lonely", SHOP) is None


async def test_an_empty_node_is_only_cordoned(server: ApiServerProcess, tmp_path: Path) -> None:
    """The steps after the cordon find nothing to do, and say so."""
    async with on(server, tmp_path, Shop()) as found:
        drain = await found.drain()
        await drain.perform()
        assert [(e.what, e.step) for e in drain.events if e.what in (What.ALREADY, What.FINISHED)] == [
            (What.FINISHED, 0),
            (What.ALREADY, 1),
            (What.FINISHED, 2),
        ]
        assert drain.said == ["nothing had to leave k3s-worker-1"]
        assert (await found.plan()).done == "k3s-worker-1 is cordoned and has nothing to evict"


async def test_deleting_instead_of_evicting(server: ApiServerProcess, tmp_path: Path) -> None:
    """No budget is asked: the one that could never spare a pod stops nothing."""
    shop = Shop()
    shop.deployment("web", [WORKER])
    shop.budget("web", "web", least=1, pods=1)
    async with on(server, tmp_path, shop) as found:
        drain = await found.drain(disable_eviction=True, timeout=20)
        await drain.perform()
        assert not await pods_on(found)
        assert not await conditions(found)


# ------------------------------------------------------------ what does not go


async def test_a_budget_for_ever_is_refused_before_anything_happens(server: ApiServerProcess, tmp_path: Path) -> None:
    """The plan cannot be confirmed, while kubectl would evict the innocent and then hang."""
    shop = Shop()
    shop.deployment("web", [WORKER])
    shop.budget("web", "web", least=1, pods=1)
    shop.deployment("innocent", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop) as found:
        plan = await found.plan()
        assert item(plan, "web").fate is Fate.NEVER
        assert plan.blocked
        assert set(await pods_on(found)) == {i.object.rpartition("/")[2] for i in plan.items}


async def test_a_budget_for_ever_and_anyway(server: ApiServerProcess, tmp_path: Path) -> None:
    """The others go, the one is asked for again and again, and the run ends long before its time with its name and what holds it."""
    shop = Shop()
    shop.deployment("web", [WORKER])
    shop.budget("web", "web", least=1, pods=1)
    shop.deployment("innocent", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop) as found:
        drain = await found.drain(anyway=True, timeout=60)
        with pytest.raises(StepFailed, match="1 of 2 pods not evicted from k3s-worker-1") as caught:
            await drain.perform()
        assert "budget web refuses (1 healthy, 1 needed)" in caught.value.detail
        assert [n.partition("-")[0] for n in await pods_on(found)] == ["web"]
        assert "1 of 2 pods of k3s-worker-1 was evicted" in drain.left
        assert "k3s-worker-1 is still cordoned: coldtui node uncordon k3s-worker-1" in drain.left


async def test_two_budgets_fail_one_pod_and_no_other(server: ApiServerProcess, tmp_path: Path) -> None:
    """The server's 500 is final for that pod; the others are evicted, and the error is told at the end."""
    shop = Shop()
    shop.deployment("two", [WORKER, "k3s-worker-2", "k3s-worker-3"])
    for name in ("first", "second"):
        shop.budget(name, "two", most=1, pods=3)
    shop.deployment("innocent", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop) as found:
        drain = await found.drain(anyway=True, timeout=60)
        assert item(drain.plan, "two").why.startswith("budgets first and second select it")
        with pytest.raises(StepFailed, match="1 of 2 pods not evicted") as caught:
            await drain.perform()
        assert "more than one disruption budget selects pod" in caught.value.detail
        assert any(text.startswith("failed: more than one disruption budget") for text in drain.told("two"))
        assert [n.partition("-")[0] for n in await pods_on(found)] == ["two"]


async def test_a_budget_that_is_loosened_meanwhile(server: ApiServerProcess, tmp_path: Path) -> None:
    """A pod that could never go is asked for all the same: when somebody changes its budget, it goes."""
    shop = Shop()
    shop.deployment("web", [WORKER])
    shop.budget("web", "web", least=1, pods=1)
    shop.deployment("slow", [WORKER])
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=1.5)) as found:
        drain = await found.drain(anyway=True, timeout=60)
        task = asyncio.create_task(drain.perform())
        await told(drain, "web", "refuses")
        await found.client.patch(BUDGETS, "web", {"spec": {"minAvailable": 0}}, SHOP)
        await task
        assert not await pods_on(found)


async def test_out_of_time(server: ApiServerProcess, tmp_path: Path) -> None:
    """At the deadline it says which pods are left and what each of them waits for."""
    shop = Shop()
    shop.deployment("slow", [WORKER])
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=30.0)) as found:
        drain = await found.drain(timeout=2)
        with pytest.raises(StepFailed, match="out of time with 1 pod still on k3s-worker-1") as caught:
            await drain.perform()
        assert "terminating" in caught.value.detail
        assert "--timeout" in caught.value.hint
        assert "1 of 1 pod of k3s-worker-1 was evicted" in drain.left


async def test_a_pod_that_needs_a_flag_came_after_the_plan(server: ApiServerProcess, tmp_path: Path) -> None:
    """Between plan and step a pod with emptyDir data was scheduled here: nothing at all is evicted."""
    shop = Shop()
    shop.deployment("web", [WORKER, "k3s-worker-2"])
    late = Shop()
    late.deployment("late", [WORKER], volumes=[{"name": "cache", "emptyDir": {}}])
    async with on(server, tmp_path, shop) as found:
        drain = await found.drain(timeout=20)
        await site.load(found.client, late.objects)
        with pytest.raises(StepFailed, match="1 pod on k3s-worker-1 may not be deleted without --delete-emptydir"):
            await drain.perform()
        assert len(await pods_on(found)) == 2
        assert not await conditions(found)


# ------------------------------------------------------------ cancel


async def test_cancel_stops_new_evictions_and_says_what_cannot_be_recalled(server: ApiServerProcess, tmp_path: Path) -> None:
    """One is terminating, one is held by its budget: the first cannot be recalled, the second is spared; both are told."""
    shop = Shop()
    shop.deployment("web", [WORKER, WORKER, "k3s-worker-2"])
    shop.budget("web", "web", most=1, pods=3)
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=20.0)) as found:
        drain = await found.drain(timeout=60)
        first, second = (i.object.rpartition("/")[2] for i in drain.plan.items)
        task = asyncio.create_task(drain.perform())
        names = [first, second]
        for _ in range(200):
            held = [n for n in names if any("refuses" in t for t in drain.told(n))]
            gone = [n for n in names if any("terminating" in t for t in drain.told(n))]
            if held and gone:
                break
            await asyncio.sleep(0.05)
        drain.ctx.cancel()
        with pytest.raises(Cancelled):
            await task
        (held_one,), (gone_one,) = held, gone
        assert drain.told(held_one)[-1] == "not evicted: stopped"
        assert drain.told(gone_one)[-1] == "terminating: its eviction was accepted and cannot be recalled"
        summary = next(t for t in drain.said if t.startswith("stopped; "))
        assert (
            summary == f"stopped; 0 of 2 pods gone; terminating and not to be recalled: {SHOP}/{gone_one}; not evicted: {SHOP}/{held_one}"
        )
        assert "deletionTimestamp" not in (await found.client.get(PODS, held_one, SHOP))["metadata"]


# ------------------------------------------------------------ the line, the node


async def test_the_api_is_away_in_the_middle(server: ApiServerProcess, tmp_path: Path) -> None:
    """It waits, says so, and goes on when the API is back; no pod is evicted twice."""
    shop = Shop()
    shop.deployment("web", [WORKER, WORKER, "k3s-worker-2"])
    shop.budget("web", "web", most=1, pods=3)
    async with on(server, tmp_path, shop) as found:
        drain = await found.drain(timeout=60)
        task = asyncio.create_task(drain.perform())
        await told(drain, "web", "terminating")
        server.pause()

        async def waits() -> bool:
            return any(t.startswith("the Kubernetes API: ") for t in drain.said)

        await found.settle(waits, 20)
        assert not task.done()
        server.resume()
        await task
        assert not await pods_on(found)
        states = [s.state for s in [found.journal.run(drain.id)]]
        assert RunState.WAITING not in states


async def test_the_api_is_killed_and_comes_back(server: ApiServerProcess, tmp_path: Path) -> None:
    """Connections are refused for a while: the same."""
    shop = Shop()
    shop.deployment("web", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=1.0)) as found:
        drain = await found.drain(timeout=60)
        task = asyncio.create_task(drain.perform())
        await told(drain, "web", "terminating")
        server.control("down")

        async def waits() -> bool:
            return any(t.startswith("the Kubernetes API: ") for t in drain.said)

        await found.settle(waits, 20)
        server.control("down", False)
        await task
        assert not await pods_on(found)


async def test_the_node_is_removed_in_the_middle(server: ApiServerProcess, tmp_path: Path) -> None:
    """Its pods end with it; the run says so and reaches its end."""
    shop = Shop()
    shop.deployment("slow", [WORKER])
    crew = tuple(c for c in ALL if c is not NodeLifecycle)  # which would end the pods at once; a real one takes its time
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=1.0), crew=crew) as found:
        drain = await found.drain(timeout=60)
        task = asyncio.create_task(drain.perform())
        await told(drain, "slow", "terminating")
        await found.client.delete(NODES, WORKER)
        await task
        assert "k3s-worker-1 was removed from the cluster: its pods end with it" in drain.said
        assert "k3s-worker-1 is no longer in the cluster" in drain.said


async def test_somebody_uncordons_in_the_middle(server: ApiServerProcess, tmp_path: Path) -> None:
    """It is said at once, and again at the end with what came meanwhile; those pods are not evicted."""
    shop = Shop()
    shop.deployment("slow", [WORKER])
    late = Shop()
    late.deployment("late", [WORKER])
    async with on(server, tmp_path, shop, pace=dataclasses.replace(FAST, pod_stop=1.0)) as found:
        drain = await found.drain(timeout=60)
        task = asyncio.create_task(drain.perform())
        await told(drain, "slow", "terminating")
        await found.client.patch(NODES, WORKER, {"spec": {"unschedulable": None}})
        await site.load(found.client, [o for o in late.objects if o["metadata"].get("namespace") == SHOP])
        await task
        assert "k3s-worker-1 was uncordoned by somebody: new pods may come" in drain.said
        assert any(t.startswith("1 pod came to k3s-worker-1 meanwhile and stays: production/late-") for t in drain.said)
        assert "k3s-worker-1 is not cordoned any more: somebody uncordoned it meanwhile" in drain.said


async def test_a_dead_node_is_not_waited_for_with_skip(server: ApiServerProcess, tmp_path: Path) -> None:
    """No kubelet confirms the end: with --skip-wait-for-delete the pod is left terminating, and the run ends."""
    shop = Shop()
    shop.deployment("web", [WORKER, "k3s-worker-2"], terminationGracePeriodSeconds=1)
    async with on(server, tmp_path, shop) as found:
        found.lab.machines.power_off(WORKER)
        drain = await found.drain(timeout=30, skip_wait_for_delete=1)
        await drain.perform()
        assert drain.told("web")[-1] == "being deleted for long: not waited for"
        assert "deletionTimestamp" in next(iter((await pods_on(found)).values()))["metadata"]


# ------------------------------------------------------------ killed and taken up again


class Killed(BaseException):
    """Stands for kill -9: no handler of ours sees it."""


class Deadly:
    """The adapter, until the runner is killed at the n-th act: before it is sent, or after the server had it and before we know."""

    def __init__(self, kube: Any, at: int, when: str) -> None:
        self._kube, self._at, self._when, self._count = kube, at, when, 0
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def evict(self, namespace: str, pod: str, **options: Any) -> None:
        self._count += 1
        if self._count == self._at and self._when == "before":
            raise Killed
        self.asked.append(pod)
        await self._kube.evict(namespace, pod, **options)
        if self._count == self._at and self._when == "after":
            raise Killed


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_killed_runner_evicts_no_pod_twice(server: ApiServerProcess, tmp_path: Path, at: int, when: str) -> None:
    """Killed before or after each eviction and taken up with nothing but the journal: the rest is evicted, nobody twice, and the pod of the
    StatefulSet that came back under its name is left alone."""
    shop = Shop()
    shop.stateful_set("queue", [WORKER, "k3s-worker-2"])
    shop.deployment("web", [WORKER, "k3s-worker-2"])
    shop.deployment("api", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop) as found:
        drain = await found.drain(timeout=60, pace=dataclasses.replace(QUICK, at_once=1))
        deadly = Deadly(found.kube, at, when)
        drain.ctx.means = dataclasses.replace(found.means, kube=deadly)
        with pytest.raises(Killed):
            await drain.perform()
        counting = Deadly(found.kube, 0, "never")
        again = drain.again(means=dataclasses.replace(found.means, kube=counting))
        await again.perform()
        asked = [*deadly.asked, *counting.asked]
        assert sorted(n.partition("-")[0] for n in asked) == ["api", "queue", "web"], asked
        assert not await pods_on(found)
        what = [(e.what, e.step) for e in again.events if e.what in (What.STARTED, What.ALREADY, What.FINISHED)]
        assert what[-3:] in (
            [(What.STARTED, 1), (What.FINISHED, 1), (What.STARTED, 2), (What.FINISHED, 2)][-3:],
            [(What.ALREADY, 1), (What.STARTED, 2), (What.FINISHED, 2)],
        )


async def test_killed_while_pods_are_ending(server: ApiServerProcess, tmp_path: Path) -> None:
    """All were accepted: the new runner only waits, and the times go on."""
    shop = Shop()
    shop.deployment("slow", [WORKER])
    async with on(server, tmp_path, shop, pace=SLOW) as found:
        drain = await found.drain(timeout=60)
        task = asyncio.create_task(drain.perform())
        await told(drain, "slow", "terminating")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        counting = Deadly(found.kube, 0, "never")
        again = drain.again(means=dataclasses.replace(found.means, kube=counting))
        await again.perform()
        assert counting.asked == []
        assert not await pods_on(found)


class Mute:
    """The adapter whose evictions reach the server and whose answers are lost."""

    def __init__(self, kube: Any) -> None:
        self._kube = kube
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def evict(self, namespace: str, pod: str, **options: Any) -> None:
        self.asked.append(pod)
        await self._kube.evict(namespace, pod, **options)
        raise Unreachable("connection lost")


async def test_an_answer_that_is_lost_is_read_back(server: ApiServerProcess, tmp_path: Path) -> None:
    """The eviction was accepted, and nobody heard it: the pod's deletionTimestamp tells, and it is not asked for again."""
    shop = Shop()
    shop.deployment("web", [WORKER, "k3s-worker-2"])
    async with on(server, tmp_path, shop, pace=SLOW) as found:
        drain = await found.drain(timeout=60, pace=DrainPace(look_s=0.1, retry_s=0.3, tell_s=0.5, node_s=0.3))
        mute = Mute(found.kube)
        drain.ctx.means = dataclasses.replace(found.means, kube=mute)
        await drain.perform()
        assert len(mute.asked) == 1
        assert any("asked for, no answer: connection lost" in text for text in drain.told("web"))
        assert drain.ctx.memo["1/accepted"] == drain.ctx.memo["1/asked"]
