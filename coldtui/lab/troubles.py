"""Workloads that are hard to move, for trying a drain on: made in namespace production, close to one node, by ordinary API requests.

They stay when the trouble ends; what goes is the trouble.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from coldtui.domain.errors import ColdError
from coldtui.lab.client import BUDGETS, DEPLOYMENTS, PODS, ApiError, Json, Kind
from coldtui.lab.controllers.base import Lab, deleting, pod_ready
from coldtui.lab.controllers.kubelet import FAIL, STOP_SECONDS

NAMESPACE = "production"
BLOCKED_S = 120
"""How long `budget-blocks` holds unless told otherwise: long enough to see a drain wait."""
SLOW_S = 40
SETTLE_S = 12.0
"""For its pods to run. Below the deadline of the control socket."""
ABOUT: dict[str, str] = {
    "budget-blocks": f"a budget allows no disruption for {BLOCKED_S} s (seconds=N): another pod of the application is not ready",
    "budget-forever": "a budget wants as many pods as there are, so that it never allows a disruption",
    "two-budgets": "two budgets select the same pods: evictions are answered with 500",
    "slow-pod": f"a pod takes {SLOW_S} s (seconds=N) to stop",
}


@dataclass(frozen=True, slots=True)
class Workload:
    """An application of the troubles."""

    name: str
    replicas: int
    grace_s: int = 30


INTAKE, LEDGER = Workload("order-intake", 2), Workload("ledger-writer", 1)
FEED, REPORTS = Workload("price-feed", 2), Workload("report-builder", 1, grace_s=90)


def deployment(workload: Workload, node: str, annotations: Json | None = None) -> Json:
    """One pod on the node if there is room, the others elsewhere; after an eviction it starts wherever it may."""
    labels = {"app": workload.name}
    near = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    spec: Json = {
        "containers": [
            {"name": workload.name, "image": f"registry.cold.example/{workload.name}:v1.0.0", "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}}
        ],
        "terminationGracePeriodSeconds": workload.grace_s,
        "affinity": {
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": near}]},
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]},
        },
    }  # fmt: skip
    template = {"metadata": {"labels": labels, "annotations": annotations or {}}, "spec": spec}
    body = {"replicas": workload.replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": workload.name, "namespace": NAMESPACE, "labels": labels}, "spec": body}


def budget(name: str, app: str, **limit: int) -> Json:
    """``minAvailable=1`` or ``maxUnavailable=1`` over the pods of an application."""
    return {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"selector": {"matchLabels": {"app": app}}, **limit}}


@dataclass(slots=True)
class Troubles:
    """Makes and ends them on the API server of a lab, embedded or real."""

    lab: Lab
    _timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)
    _tasks: set[asyncio.Task[str]] = field(default_factory=set)

    async def switch(self, name: str, on: bool, node: str, seconds: float | None = None) -> str:
        """Returns in a sentence what is now. Raises ColdError when its pods do not come up, ApiError, Unreachable."""
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        work: dict[str, Callable[[bool, str, float | None], Awaitable[str]]] = {
            "budget-blocks": self._blocks, "budget-forever": self._forever, "two-budgets": self._two, "slow-pod": self._slow,
        }  # fmt: skip
        return await work[name](on, node, seconds)

    def close(self) -> None:
        """Forget what would end later."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    # --- one by one

    async def _blocks(self, on: bool, node: str, seconds: float | None) -> str:
        if not on:
            for pod in self._pods(INTAKE):
                if (pod["metadata"].get("annotations") or {}).get(FAIL):
                    await self._annotate(pod, FAIL, None)
            return f"budget {INTAKE.name} is about to allow a disruption again"
        where = await self._bring_up(INTAKE, node)
        await self._ensure(BUDGETS, budget(INTAKE.name, INTAKE.name, minAvailable=1))
        other = next(pod for pod in self._pods(INTAKE) if pod["spec"]["nodeName"] != where)
        await self._annotate(other, FAIL, "NotReady")
        await self._until(lambda: self._blocks_now(INTAKE), f"budget {INTAKE.name} still allows disruptions")
        after = BLOCKED_S if seconds is None else seconds
        self._timers["budget-blocks"] = asyncio.get_running_loop().call_later(after, self._end_later, "budget-blocks", node)
        return f"budget {INTAKE.name} allows 0 disruptions for {after:g} s; a pod of it is on {where}"

    async def _forever(self, on: bool, node: str, seconds: float | None) -> str:
        if not on:
            await self._remove(BUDGETS, LEDGER.name)
            return f"budget {LEDGER.name} is gone"
        where = await self._bring_up(LEDGER, node)
        await self._ensure(BUDGETS, budget(LEDGER.name, LEDGER.name, minAvailable=LEDGER.replicas))
        return f"budget {LEDGER.name} wants {LEDGER.replicas} of {LEDGER.replicas} pods; it is on {where}"

    async def _two(self, on: bool, node: str, seconds: float | None) -> str:
        if not on:
            await self._remove(BUDGETS, f"{FEED.name}-all")
            return f"only budget {FEED.name} is left"
        where = await self._bring_up(FEED, node)
        await self._ensure(BUDGETS, budget(FEED.name, FEED.name, minAvailable=1))
        await self._ensure(BUDGETS, budget(f"{FEED.name}-all", FEED.name, maxUnavailable=1))
        return f"budgets {FEED.name} and {FEED.name}-all select the same pods; one is on {where}"

    async def _slow(self, on: bool, node: str, seconds: float | None) -> str:
        if not on:
            for pod in self._pods(REPORTS):
                await self._annotate(pod, STOP_SECONDS, None)
            return f"{REPORTS.name} stops as quickly as others"
        after = SLOW_S if seconds is None else seconds
        where = await self._bring_up(REPORTS, node, {STOP_SECONDS: f"{after:g}"})
        for pod in self._pods(REPORTS):
            await self._annotate(pod, STOP_SECONDS, f"{after:g}")
        return f"{REPORTS.name} takes {after:g} s to stop; it is on {where}"

    # --- means

    async def _bring_up(self, workload: Workload, node: str, annotations: Json | None = None) -> str:
        """The workload with all its pods ready; returns the node of the one that is on ``node``, or of any if it found no room there."""
        await self._ensure(DEPLOYMENTS, deployment(workload, node, annotations))

        def runs() -> bool:
            return sum(map(pod_ready, self._pods(workload))) >= workload.replicas

        await self._until(runs, f"{workload.name} does not come up")
        places = sorted(str(pod["spec"]["nodeName"]) for pod in self._pods(workload))
        return node if node in places else places[0]

    def _pods(self, workload: Workload) -> list[Json]:
        found = self.lab.informers.of(PODS).values()
        return [
            p
            for p in found
            if (p["metadata"].get("labels") or {}).get("app") == workload.name and p["spec"].get("nodeName") and not deleting(p)
        ]

    def _blocks_now(self, workload: Workload) -> bool:
        """Whether the budget of a workload has been judged with one pod missing."""
        status = (self.lab.informers.of(BUDGETS).get(workload.name, NAMESPACE) or {}).get("status") or {}
        numbers = (status.get("disruptionsAllowed"), status.get("currentHealthy"), status.get("expectedPods"))
        return numbers == (0, workload.replicas - 1, workload.replicas)

    async def _annotate(self, pod: Json, key: str, value: str | None) -> None:
        meta = pod["metadata"]
        patch = {"metadata": {"uid": meta["uid"], "annotations": {key: value}}}
        try:
            await self.lab.client.patch(PODS, meta["name"], patch, meta["namespace"])
        except ApiError as error:
            if not (error.missing or error.conflict):
                raise

    async def _ensure(self, kind: Kind, obj: Json) -> None:
        try:
            await self.lab.client.create(kind, obj)
        except ApiError as error:
            if not error.conflict:
                raise
            await self.lab.client.patch(kind, obj["metadata"]["name"], {"spec": obj["spec"]}, NAMESPACE)

    async def _remove(self, kind: Kind, name: str) -> None:
        await self.lab.client.delete(kind, name, NAMESPACE)

    async def _until(self, holds: Callable[[], bool], otherwise: str) -> None:
        try:
            async with asyncio.timeout(SETTLE_S):
                while not holds():  # noqa: ASYNC110 (the caches are looked at)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ColdError(otherwise, detail=f"within {SETTLE_S:.0f} s", hint="is there room on two schedulable nodes?") from None

    def _end_later(self, name: str, node: str) -> None:
        task = asyncio.ensure_future(self.switch(name, False, node))
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
