"""A drain on a real API: the lab's controllers, the real adapter, a real journal; steps run in this process by the engine's driver.

The same ground on the embedded server and on a real control plane, whose own scheduler and controllers do the rest there.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal, open_journal
from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.domain.plans import Plan
from coldtui.domain.runs import RunEvent, What
from coldtui.lab import site
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import BUDGETS, DEPLOYMENTS, NAMESPACES, NODES, PODS, STATEFUL_SETS, ApiError, Informers, Json, KubeClient
from coldtui.lab.controllers.base import Controller, Crew, Lab, Pace, pod_ready
from coldtui.lab.play import PLAYERS
from coldtui.lab.seeds.parts import Seed
from coldtui.lab.supervisor import ALL
from coldtui.live.pace import SystemClock
from coldtui.operations.drain import DRAIN
from coldtui.operations.drain.draining import Pace as DrainPace
from coldtui.operations.drain.evict import EvictPods
from coldtui.operations.drain.params import DrainNode
from coldtui.operations.engine import RunContext, Step, left_behind, offline, perform
from coldtui.ports import Means
from tests.controlplane.plane import ControlPlane
from tests.journals import a_run, an_entry
from tests.lab.conftest import FAST, until
from tests.operations.dying import killed
from tests.operations.means import ME

QUICK = DrainPace(look_s=0.1, retry_s=0.4, tell_s=0.5, node_s=0.3, answer_s=1.0)
"""What takes seconds takes tenths."""
REAL = dataclasses.replace(Pace(), pod_start=0.3, pod_stop=0.3, promotion=0.3, rejoin=0.3, unready=1.0, rebuild=2.0, boot=0.5)
"""Heartbeats as they are, since the real controllers judge them."""
WORKER, SECOND, THIRD = "k3s-worker-1", "k3s-worker-2", "k3s-worker-3"


class Drain:
    """One run of a drain, with all it left in the journal."""

    def __init__(self, ground: Ground, plan: Plan, run: str, ctx: RunContext, steps: dict[str, Step]) -> None:
        self.ground, self.plan, self.id, self.ctx, self.steps = ground, plan, run, ctx, steps

    async def perform(self) -> None:
        await perform(self.plan, self.ctx, self.steps)

    @property
    def events(self) -> tuple[RunEvent, ...]:
        return self.ground.journal.events(self.id)

    def told(self, pod: str) -> list[str]:
        """What was said about the pods whose name begins so, in order."""
        return [e.text for e in self.events if e.what is What.ITEM and e.object.rpartition("/")[2].startswith(pod)]

    @property
    def said(self) -> list[str]:
        return [e.text for e in self.events if e.what in (What.SAID, What.WAITING, What.FAILED) and e.text]

    @property
    def left(self) -> str:
        return "; ".join(left_behind(self.plan, self.ctx, self.steps))

    async def until_told(self, pod: str, word: str) -> None:
        """Wait until a pod is told to stand so."""

        async def said() -> bool:
            return any(word in text for text in self.told(pod))

        await self._until(said, 15.0)

    async def killed_when_told(self, pod: str, word: str) -> None:
        """Perform until it is on disk that the pod stands so; nothing is written after that."""

        def told(event: RunEvent) -> bool:
            return event.what is What.ITEM and event.object.rpartition("/")[2].startswith(pod) and word in event.text

        await killed(self.ground.journal, told, lambda journal: perform(self.plan, replace(self.ctx, journal=journal), self.steps))

    async def _until(self, condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
        try:
            await until(condition, seconds)
        except AssertionError:
            told = "\n".join(f"{e.what.value} {e.object} {e.text}" for e in self.events)
            raise AssertionError(f"not within {seconds:.0f} s; this is what the run told:\n{told}") from None

    async def until_said(self, word: str, seconds: float = 20.0) -> None:
        async def said() -> bool:
            return any(word in text for text in self.said)

        await self._until(said, seconds)

    def again(self, **changes: Any) -> Drain:
        """The same run taken up by another runner: only what the journal holds is known."""
        memo: dict[str, Any] = {}
        for event in self.events:
            if event.what in (What.STARTED, What.MEMO):
                memo.update(event.memo)
        ctx = replace(self.ctx, memo=memo, step=-1, _cancelled=asyncio.Event(), _waiting="", _items={}, **changes)
        return Drain(self.ground, self.plan, self.id, ctx, self.steps)


class Line:
    """What can be done to the API server under a drain."""

    def __init__(self, server: ApiServerProcess | ControlPlane) -> None:
        self._server = server

    async def pause(self) -> None:
        """Nothing is answered, nothing closes."""
        await self._do("pause", "pause_api")

    async def resume(self) -> None:
        await self._do("resume", "resume_api")

    async def down(self) -> None:
        """Connections are refused; what it holds stays."""
        if isinstance(self._server, ControlPlane):
            await asyncio.to_thread(self._server.kill_api)
        else:
            await asyncio.to_thread(self._server.control, "down")

    async def up(self) -> None:
        if isinstance(self._server, ControlPlane):
            await asyncio.to_thread(self._server.start_api)
        else:
            await asyncio.to_thread(self._server.control, "down", False)

    async def _do(self, embedded: str, real: str) -> None:
        await asyncio.to_thread(getattr(self._server, real if isinstance(self._server, ControlPlane) else embedded))


class Ground:
    """A live site and the means to drain it. `namespace` is a scene's own."""

    def __init__(self, client: KubeClient, lab: Lab, kube: KubeAdapter, journal: SqliteJournal, line: Line, namespace: str = "") -> None:
        self.client, self.lab, self.kube, self.journal, self.line, self.namespace = client, lab, kube, journal, line, namespace
        clock = SystemClock()
        self.means = Means(kube, offline(clock, ME).shell, clock, ME)
        self._runs = 0

    # --- draining

    async def plan(self, node: str = WORKER, **params: Any) -> Plan:
        given = DrainNode(node=node, **params)
        return DRAIN.plan(await DRAIN.gather(given, self.means, 10.0), given, self.means.clock.now())

    async def drain(self, node: str = WORKER, *, pace: DrainPace = QUICK, **params: Any) -> Drain:
        """Planned and confirmed, not begun."""
        plan = await self.plan(node, **params)
        self._runs += 1
        run = replace(
            a_run(f"20261124-140210-{self._runs:04x}"), created=datetime.now(UTC), steps=tuple(s.title for s in plan.steps), locks=()
        )
        self.journal.begin(run, an_entry(run))
        timeout = int(params.get("timeout", 600))
        deadline = self.means.clock.now() + timedelta(seconds=timeout) if timeout else None
        ctx = RunContext(run.id, DrainNode(node=node, **params), self.means, self.journal, deadline=deadline)
        steps: dict[str, Step] = {step.name: step for step in (*DRAIN.steps, EvictPods(pace))}
        return Drain(self, plan, run.id, ctx, steps)

    async def settle(self, condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
        await until(condition, seconds)

    # --- the cluster

    async def pods_on(self, node: str = WORKER) -> dict[str, Json]:
        return {p["metadata"]["name"]: p for p in (await self.client.list(PODS, fields=f"spec.nodeName={node}"))[0]}

    async def evicted(self) -> list[str]:
        """Names of pods that are there and bear the mark of an eviction."""
        pods = (await self.client.list(PODS))[0]
        return [p["metadata"]["name"] for p in pods if any(c["type"] == "DisruptionTarget" for c in p["status"].get("conditions") or ())]

    async def place(self, name: str, on: Mapping[str, int], *, app: str = "", **pod: Any) -> None:
        """Deployments (`name-0`, `name-1`, ...), one for each node, whose pods run there now and may go anywhere."""
        for index, (node, count) in enumerate(on.items()):
            await self.only(node)
            made = _workload("Deployment", f"{name}-{index}", app or name, count, pod)
            await self.client.create(DEPLOYMENTS, made, self.namespace)
            await self._running(f"{name}-{index}-", count, node)
        await self.only("")

    async def stateful(self, name: str, node: str) -> None:
        """A StatefulSet with one pod on a node."""
        await self.only(node)
        made = _workload("StatefulSet", name, name, 1, {})
        made["spec"]["serviceName"] = name
        await self.client.create(STATEFUL_SETS, made, self.namespace)
        await self._running(f"{name}-", 1, node)
        await self.only("")

    async def bare(self, name: str, node: str, phase: str = "", **spec: Any) -> None:
        """A pod that nobody owns; with a phase, one that has ended."""
        body = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "r/c:1"}], **spec}}
        await self.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", **body}, self.namespace)
        await self._running(name, 1, node)
        if phase:
            await self.client.patch_status(PODS, name, {"phase": phase}, self.namespace)

    async def budget(self, name: str, app: str, *, least: int | None = None, most: int | None = None) -> None:
        """And wait until it is counted."""
        rule = {"minAvailable": least} if least is not None else {"maxUnavailable": most}
        body = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": app}}, **rule}}
        await self.client.create(BUDGETS, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **body}, self.namespace)

        async def counted() -> bool:
            status = (await self.client.get(BUDGETS, name, self.namespace)).get("status") or {}
            return bool(status.get("observedGeneration") and status.get("expectedPods") and status.get("currentHealthy"))

        await self.settle(counted)

    async def only(self, node: str) -> None:
        """Cordon all nodes but one; none with an empty name."""
        for obj in (await self.client.list(NODES))[0]:
            name, wanted = obj["metadata"]["name"], bool(node) and obj["metadata"]["name"] != node
            if bool(obj["spec"].get("unschedulable")) != wanted:
                await self.client.patch(NODES, name, {"spec": {"unschedulable": wanted or None}})
        await self.settle(self._untainted(node))

    def _untainted(self, node: str) -> Callable[[], Awaitable[bool]]:
        async def free() -> bool:
            nodes = (await self.client.list(NODES))[0]
            return all(not n["spec"].get("taints") for n in nodes if n["metadata"]["name"] == node or not node)

        return free

    async def _running(self, prefix: str, count: int, node: str) -> None:
        """Wait for the pods on their node; one that a scheduler put elsewhere, before it knew of the cordon, is sent away."""

        async def ready() -> bool:
            pods = [p for p in (await self.client.list(PODS, self.namespace))[0] if p["metadata"]["name"].startswith(prefix)]
            stray = [p for p in pods if p["spec"].get("nodeName", node) != node]
            for pod in stray:
                await self._gone(lambda pod=pod: self.client.delete(PODS, pod["metadata"]["name"], self.namespace, grace_s=0))  # type: ignore[misc]
            return not stray and len(pods) >= count and all(pod_ready(p) for p in pods)

        await self.settle(ready, 40)

    async def tidy(self) -> None:
        """As if the scene had never been."""
        for name in tuple(self.lab.machines.down):
            self.lab.machines.power_on(name)
        await self._gone(lambda: self.client.delete(NAMESPACES, self.namespace))

        async def empty() -> bool:
            """In a namespace that ends nothing is made any more."""
            pods = (await self.client.list(PODS, self.namespace))[0]
            for pod in pods:
                await self._gone(lambda pod=pod: self.client.delete(PODS, pod["metadata"]["name"], self.namespace, grace_s=0))  # type: ignore[misc]
            return not pods

        await self.settle(empty, 60)
        await site.seed_api(self.client, nodesonly())
        await self.only("")

    async def _gone(self, delete: Callable[[], Awaitable[None]]) -> None:
        try:
            await delete()
        except ApiError as error:
            if not error.missing:
                raise


def _workload(kind: str, name: str, app: str, replicas: int, pod: Mapping[str, Any]) -> Json:
    template = {"metadata": {"labels": {"app": app, "own": name}}, "spec": {"containers": [{"name": "c", "image": "r/c:1"}], **pod}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": app, "own": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def nodesonly() -> Seed:
    """The machines of the site, and nothing on them."""
    whole = site.build(datetime.now(UTC))
    made = Seed(whole.now, whole.hosts, whole.dice)
    made.objects = [o for o in whole.objects if (o["apiVersion"], o["kind"]) in (("v1", "Node"), ("coordination.k8s.io/v1", "Lease"))]
    made.objects = [o for o in made.objects if o["metadata"].get("namespace", "kube-node-lease") == "kube-node-lease"]
    return made


@contextmanager
def journal_in(folder: Path) -> Iterator[SqliteJournal]:
    made = open_journal(str(folder / "journal.db"), clock=SystemClock(), reserve_b=0)
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def working(
    kubeconfig: Path, crew: tuple[type[Controller], ...], pace: Pace, seed: Callable[[KubeClient], Awaitable[Any]]
) -> AsyncIterator[Lab]:
    """Controllers at work on what `seed` made."""
    async with KubeClient.from_kubeconfig(kubeconfig) as client:
        await seed(client)
        lab = Lab(client, Informers(client), pace, still=True)
        started = await Crew.start(lab, crew)
        try:
            yield lab
        finally:
            await started.stop()


async def load_site(client: KubeClient) -> None:
    """The whole site, into the embedded server."""
    seed = site.build(datetime.now(UTC))
    await site.load(client, [*seed.objects, *seed.derived])


@asynccontextmanager
async def ground(
    server: ApiServerProcess, folder: Path, *, crew: tuple[type[Controller], ...] = ALL, pace: Pace = FAST
) -> AsyncIterator[Ground]:
    """The whole site on the embedded server, every controller at work."""
    async with working(server.kubeconfig, crew, pace, load_site) as lab, _ground(lab, server.kubeconfig, folder, Line(server)) as made:
        yield made


@asynccontextmanager
async def real_ground(plane: ControlPlane, folder: Path, *, pace: Pace = REAL) -> AsyncIterator[Ground]:
    """The whole site on a real control plane (with the lab's CRDs), made by ordinary requests; all its pods are Ready."""
    kubeconfig = plane.kubeconfigs["admin"]

    async def seed(client: KubeClient) -> None:
        await site.seed_api(client, site.build())

    async with working(kubeconfig, PLAYERS, pace, seed) as lab, _ground(lab, kubeconfig, folder, Line(plane)) as made:

        async def running() -> bool:
            pods = (await lab.client.list(PODS))[0]
            return len(pods) >= 60 and all(pod_ready(p) for p in pods)

        await until(running, 120)
        yield made


@asynccontextmanager
async def empty_ground(
    server: ApiServerProcess | ControlPlane, folder: Path, name: str, *, stop_s: float, lasting_node: bool = False
) -> AsyncIterator[Ground]:
    """Five nodes without anything on them, for one scene in a namespace of its own; tidied afterwards.

    `stop_s`: how long containers take to end. `lasting_node`: nobody collects the pods of a node that is removed for a while.
    """
    real = isinstance(server, ControlPlane)
    kubeconfig = server.kubeconfigs["admin"] if isinstance(server, ControlPlane) else server.kubeconfig
    crew = PLAYERS if real else tuple(c for c in ALL if not (lasting_node and c.__name__ == "NodeLifecycle"))
    pace = dataclasses.replace(REAL if real else FAST, pod_stop=stop_s)

    async def seed(client: KubeClient) -> None:
        await site.seed_api(client, nodesonly())

    async with working(kubeconfig, crew, pace, seed) as lab, _ground(lab, kubeconfig, folder, Line(server), name) as made:
        await lab.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            yield made
        finally:
            await made.tidy()


@asynccontextmanager
async def _ground(lab: Lab, kubeconfig: Path, folder: Path, line: Line, namespace: str = "") -> AsyncIterator[Ground]:
    kube = connect(kubeconfig=kubeconfig, writable=True)
    try:
        with journal_in(folder) as journal:
            yield Ground(lab.client, lab, kube, journal, line, namespace)
    finally:
        await kube.aclose()
