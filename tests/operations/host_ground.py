"""Acts on hosts for real: the lab's site on the embedded server, its SSH hosts, the real adapters, a real journal and the real runner."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coldtui.adapters.journal import SqliteJournal
from coldtui.adapters.kube.adapter import KubeAdapter, connect
from coldtui.adapters.ssh import SshShell
from coldtui.adapters.ssh import connect as open_shell
from coldtui.config.settings import Config, NodeSection, SshSection
from coldtui.domain.nodes import Node
from coldtui.domain.plans import Finding, Plan
from coldtui.domain.runs import Run, RunSite, What
from coldtui.domain.secret import Secret
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import NODES, Json, KubeClient
from coldtui.lab.control import ApiPower
from coldtui.lab.controllers.base import Lab, is_true
from coldtui.lab.controllers.base import Pace as LabPace
from coldtui.lab.hosts.fleet import Fleet
from coldtui.lab.supervisor import ALL
from coldtui.live.pace import SystemClock
from coldtui.operations.clean_disk import CLEAN
from coldtui.operations.desk import Desk, Prepared
from coldtui.operations.engine import AnyOperation
from coldtui.operations.host_steps import Pace
from coldtui.operations.nodes import CORDON_STEP, UNCORDON_STEP
from coldtui.operations.reboot import REBOOT
from coldtui.operations.reboot.back import SeeBack
from coldtui.operations.reboot.health import SeeWell
from coldtui.operations.reboot.order import OrderReboot
from coldtui.operations.restart_k3s import RESTART, Restart, SeeReady
from coldtui.operations.runner import Bench, Handle, execute
from coldtui.ports import Means, Self
from tests.lab.conftest import FAST, until
from tests.operations.drain.ground import journal_in, load_site, working
from tests.operations.dying import killed
from tests.operations.means import ME, WHO

QUICK = Pace(look_s=0.1, connect_s=2.0, answer_s=4.0, going_s=6.0)
PACE = dataclasses.replace(FAST, reboot=0.8, restart=0.6)
WORKER, OTHER, MASTER = "k3s-worker-3", "k3s-worker-1", "k3s-master"
OPERATIONS: Mapping[str, AnyOperation] = {
    "node.reboot": replace(REBOOT, steps=(CORDON_STEP, OrderReboot(QUICK), SeeBack(QUICK), UNCORDON_STEP, SeeWell(QUICK))),
    "node.restart-k3s": replace(RESTART, steps=(Restart(QUICK), SeeReady(QUICK))),
    "node.clean-disk": CLEAN,
}


@dataclass
class HostGround:
    """A living site with hosts, and a desk for it."""

    lab: Lab
    fleet: Fleet
    kube: KubeAdapter
    journal: SqliteJournal
    server: ApiServerProcess
    me: Self = ME
    secrets: dict[str, Secret] = field(default_factory=dict)
    shells: list[SshShell] = field(default_factory=list)
    config_changes: dict[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> KubeClient:
        return self.lab.client

    # --- means

    def shell(self, *, writable: bool, secrets: Mapping[str, Secret] | None = None) -> SshShell:
        given = self.fleet.settings()
        ssh = {
            **given["ssh"],
            "keys": tuple(given["ssh"]["keys"]),
            "known_hosts": tuple(given["ssh"]["known_hosts"]),
            **self.config_changes,
        }
        config = Config(ssh=SshSection(**ssh), nodes={name: NodeSection(**section) for name, section in given["nodes"].items()})
        made = open_shell(config, writable=writable, secrets=secrets or {}, clock=SystemClock(), environ={})
        self.shells.append(made)
        return made

    def means(self, *, writable: bool) -> Means:
        secrets = self.secrets if writable else {}
        return Means(
            self.kube, self.shell(writable=writable, secrets=secrets), SystemClock(), self.me, secrets=secrets,
            under_way=lambda: self.journal.runs(active=True),
        )  # fmt: skip

    def bench(self, journal: Any = None) -> Bench:
        async def opened() -> Means:
            return self.means(writable=True)

        async def close(means: Means) -> None:
            await means.shell.aclose()

        return Bench(journal or self.journal, opened, self.me, 4242, SystemClock(), OPERATIONS, close=close, lives=lambda run: False)

    # --- asking

    async def prepared(self, operation: str, node: str = WORKER, **values: Any) -> Prepared:
        means = self.means(writable=False)

        async def opened() -> Means:
            return means

        try:
            return await self._desk(opened).prepare(operation, {"node": node, **values})
        finally:
            await means.shell.aclose()

    def _desk(self, means: Callable[[], Awaitable[Means]]) -> Desk:
        async def here(run: Run) -> Run:
            raise AssertionError("not small")

        return Desk(
            operations=OPERATIONS, means=means, journal=lambda: self.journal, launcher=None, run_here=here, who=WHO,  # type: ignore[arg-type]
            site=RunSite(server=self.kube.server), clock=SystemClock(),
        )  # fmt: skip

    async def plan(self, operation: str, node: str = WORKER, **values: Any) -> Plan:
        return (await self.prepared(operation, node, **values)).plan

    async def begun(self, operation: str, node: str = WORKER, **values: Any) -> Run:
        """Confirmed and in the journal; no runner yet."""
        prepared = await self.prepared(operation, node, **values)
        assert not prepared.plan.blocked, prepared.plan.blocked
        run, entry = self._desk(None)._record_of(prepared, "why not")  # type: ignore[arg-type]
        self.journal.begin(run, entry)
        return run

    async def perform(self, run: Run, handle: Handle | None = None) -> Run:
        await asyncio.wait_for(execute(self.bench(), run.id, handle), 60)
        return self.journal.run(run.id)

    async def done(self, operation: str, node: str = WORKER, **values: Any) -> Run:
        return await self.perform(await self.begun(operation, node, **values))

    async def killed(self, run: Run, at: int) -> bool:
        """Its runner dies after its nth event. False: it ended before that."""
        left = itertools.count(at - 1, -1)
        await killed(self.journal, lambda event: next(left) == 0, lambda journal: execute(self.bench(journal), run.id))
        return not self.journal.run(run.id).state.ended

    # --- what was told

    def said(self, run: Run) -> list[str]:
        events = self.journal.events(run.id)
        return [e.text for e in events if e.what in (What.SAID, What.WAITING, What.FAILED) and e.text]

    def log(self, run: Run) -> list[str]:
        return [line.text for line in self.journal.read_log(run.id, limit_b=1 << 24).lines]

    def steps(self, run: Run) -> list[tuple[int, str]]:
        """(step, what) of the events that mark steps."""
        marks = (What.STARTED, What.ALREADY, What.FINISHED, What.FAILED)
        return [(e.step, e.what.value) for e in self.journal.events(run.id) if e.what in marks]

    # --- the world

    def boots(self, node: str = WORKER) -> int:
        return len(self.fleet.machines[node].journal.boots())

    async def node(self, name: str = WORKER) -> Json:
        return await self.client.get(NODES, name)

    async def cordoned(self, name: str = WORKER) -> bool:
        return bool((await self.node(name))["spec"].get("unschedulable"))

    async def ready(self, name: str = WORKER) -> bool:
        return is_true(await self.node(name), "Ready")

    async def settle(self, condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
        await until(condition, seconds)


@asynccontextmanager
async def host_ground(server: ApiServerProcess, folder: Path, pace: LabPace = PACE) -> AsyncIterator[HostGround]:
    async with working(server.kubeconfig, ALL, pace, load_site) as lab:
        fleet = Fleet(lab, folder / "ssh", ApiPower(server).host)
        kube = connect(kubeconfig=server.kubeconfig, writable=True)
        with journal_in(folder) as journal:
            made = HostGround(lab, fleet, kube, journal, server)
            try:
                await fleet.start()
                yield made
            finally:
                for shell in made.shells:
                    await shell.aclose()
                await kube.aclose()
                await fleet.aclose()


def by_code(plan: Plan) -> dict[str, Finding]:
    """The findings, of several with a code the last."""
    return {finding.code: finding for finding in plan.findings}


def boot_of(node: Node | Json) -> str:
    return node.boot_id if isinstance(node, Node) else str(node["status"]["nodeInfo"]["bootID"])
