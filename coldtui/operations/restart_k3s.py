"""Restart K3s on a node: the right unit for its role, the journal followed live, and the proof by a new start and a renewed lease.

Containers go on running (KillMode=process). `systemctl restart` would wait without limit for an agent whose server is away, so it is told not
to wait, and the limit is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ..domain.errors import ColdError, Forbidden, NotFound, StepFailed, Unauthorized, Unreachable
from ..domain.kinds import NODES
from ..domain.nodes import Node
from ..domain.plans import Finding, Outlook, Plan, PlannedStep, Premise, Rung, Weight, outlook_of
from ..domain.readings import Reading, Unknown
from ..domain.text import counted
from ..domain.values import dataclass
from ..ports import Command, Means, Self
from .engine import Operation, RunContext, Step
from .host_steps import Pace, following, last_lines, on_host
from .hosts import AGENT, SERVER, HostFacts, Unit, blocked_by, findings_of, gather_host, is_here, read_units
from .leases import FORBIDDEN, renewed
from .node_facts import nodes_with
from .nodes import address
from .params import param

NAME = "node.restart-k3s"
ORDER_S = 30.0


@dataclass(frozen=True, slots=True)
class RestartK3s:
    """Restart the K3s service of a node. Its containers go on running."""

    node: str = param("the node")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 300, unit="s", least=0)


@dataclass(frozen=True, slots=True)
class RestartFacts:
    name: str
    at: datetime
    nodes: Reading[tuple[Node, ...]]
    """All of them, or the one alone where no list may be read."""
    host: HostFacts
    me: Self

    @property
    def node(self) -> Node | None:
        return None if isinstance(self.nodes, Unknown) else next((n for n in self.nodes.value if n.name == self.name), None)


async def gather(params: RestartK3s, means: Means, deadline_s: float) -> RestartFacts:
    """Works without an API. Raises NotFound for a node that does not exist."""
    nodes = await nodes_with(params.node, means, deadline_s / 2)
    node = None if isinstance(nodes, Unknown) else next(n for n in nodes.value if n.name == params.node)
    host = await gather_host(params.node, node.internal_ip if node is not None else "", means, deadline_s / 2)
    return RestartFacts(params.node, means.clock.now(), nodes, host, means.me)


# ------------------------------------------------------------ plan


def plan_restart(facts: RestartFacts, params: RestartK3s, now: datetime) -> Plan:
    unit, wrong = unit_of(facts)
    findings = tuple(_findings(facts, unit, wrong))
    there = {
        "node": facts.name,
        "ip": facts.node.internal_ip if facts.node is not None else "",
        "unit": unit.name if unit is not None else "",
    }
    premises = (_premise(facts.nodes, facts.at), facts.host.premise())
    return Plan(
        operation=NAME,
        title=f"Restart K3s on {facts.name}",
        object=address(facts.name),
        findings=findings,
        steps=(
            PlannedStep("k3s.restart", f"Restart K3s on {facts.name}", there, "cannot be recalled"),
            PlannedStep("k3s.ready", f"See that K3s on {facts.name} works", there),
        ),
        locks=("site",),
        rung=Rung.DISRUPTIVE,
        verb="restart",
        confirm=facts.name,
        premises=premises,
        outlook=outlook_of(findings),
        blocked=blocked_by(findings),
    )  # fmt: skip


def _premise(nodes: Reading[tuple[Node, ...]], at: datetime) -> Premise:
    return Premise("nodes", None, nodes.reason) if isinstance(nodes, Unknown) else Premise("nodes", at)


def unit_of(facts: RestartFacts) -> tuple[Unit | None, str]:
    """(the unit that is to be restarted, why there is none). What is on the host decides; it must agree with the node's role."""
    if not facts.host.reached:
        return None, ""
    there = [unit for unit in facts.host.units.values() if unit.loaded]
    if not facts.host.units:
        return None, f"the services of {facts.name} could not be read"
    if not there:
        return None, f"there is neither {SERVER}.service nor {AGENT}.service on {facts.name}"
    node = facts.node
    wanted = None if node is None else SERVER if node.control_plane else AGENT
    if len(there) == 1 and wanted in (None, there[0].name):
        return there[0], ""
    if len(there) == 1:
        role = "a control plane" if wanted == SERVER else "no control plane"
        return None, f"{facts.name} is {role} by its labels, but its host has {there[0].name}.service only"
    running = [unit for unit in there if unit.active != "inactive"]
    if len(running) == 1 and wanted in (None, running[0].name):
        return running[0], ""
    return None, f"{facts.name} has both {SERVER}.service and {AGENT}.service, and it is not clear which one is meant"


def _findings(facts: RestartFacts, unit: Unit | None, wrong: str) -> Iterator[Finding]:
    where, node = address(facts.name), facts.node
    yield from findings_of(facts.host, node, facts.me)
    if wrong:
        yield Finding("k3s.unit", Weight.STOP, wrong, where, "look at systemctl list-unit-files 'k3s*' there", Outlook.REFUSED)
    if unit is None:
        return
    state = f"{unit.name}.service of {facts.name} is {unit.words}" + (
        f", restarted {counted(unit.restarts, 'time')} by systemd" if unit.restarts else ""
    )
    yield Finding("k3s.state", Weight.GOOD if unit.active == "active" else Weight.WARNING, state, where)
    yield Finding(
        "k3s.containers", Weight.GOOD, f"containers on {facts.name} go on running; logs, exec and probes pause for some seconds", where
    )
    yield from _control_plane(facts, unit)
    if is_here(facts.host, node, facts.me) and unit.name == SERVER:
        yield Finding("k3s.console-here", Weight.NOTE, f"coldtui runs on {facts.name} too, and goes on", where)


def _control_plane(facts: RestartFacts, unit: Unit) -> Iterator[Finding]:
    where = address(facts.name)
    if isinstance(facts.nodes, Unknown):
        sentence = f"the Kubernetes API does not answer: {facts.nodes.reason}"
        if unit.name == SERVER:
            yield Finding("k3s.no-api", Weight.WARNING, f"{sentence}; this may bring it back", where, outlook=Outlook.NOT_EVALUATED)
        else:
            remedy = f"restart {SERVER} on the server first"
            yield Finding(
                "k3s.no-api", Weight.WARNING, f"{sentence}; an agent does not start before it does", where, remedy, Outlook.NOT_EVALUATED
            )
        return
    if unit.name != SERVER:
        return
    others = [n for n in facts.nodes.value if n.control_plane and n.name != facts.name]
    up = [n for n in others if n.ready == "True"]
    members = [n for n in (*others, facts.node) if n is not None and "etcd" in n.roles]
    left = sum(1 for n in members if n.name != facts.name and n.ready == "True")
    if not up:
        sentence = (
            f"the API is gone for some seconds: {facts.name} is {'the only control plane' if not others else 'the last one that is Ready'}"
        )
        yield Finding("k3s.api-gap", Weight.WARNING, sentence, where, "the run waits for it; what runs elsewhere goes on")
    elif members and left < len(members) // 2 + 1:
        sentence = f"etcd has no majority meanwhile: {left} of {len(members)} members are left, and the API is gone for some seconds"
        yield Finding("k3s.api-gap", Weight.WARNING, sentence, where, "bring the other members back first")
    else:
        yield Finding("k3s.api-stays", Weight.NOTE, f"{counted(len(up), 'other control plane')} answer for the API meanwhile", where)


# ------------------------------------------------------------ steps


class Restart(Step):
    """Arguments: `node`, `ip`, `unit`. Memo: `invocation` (before), `asked`."""

    name = "k3s.restart"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        unit = await self._unit(planned, ctx)
        return {"invocation": unit.invocation, "entered": unit.entered}

    async def _unit(self, planned: PlannedStep, ctx: RunContext) -> Unit:
        node = str(planned.args["node"])
        return await on_host(ctx, node, lambda: unit_now(planned, ctx), self.pace.answer_s)

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Only a start after our own order counts."""
        memo = ctx.memo_of(planned)
        return bool(memo.get("asked")) and _anew(await self._unit(planned, ctx), memo)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        node, name, memo = str(planned.args["node"]), str(planned.args["unit"]), ctx.memo_of(planned)
        async with following(ctx, node, planned.args.get("ip", ""), name):
            await ctx.ready()
            if not memo.get("asked"):  # systemd may have started it again by itself since
                memo["invocation"] = (await self._unit(planned, ctx)).invocation
            await ctx.remember(asked=True, invocation=memo["invocation"])
            try:
                await self._order(planned, ctx)
            except ColdError:
                await ctx.remember(asked=False)
                raise
            while not _anew(unit := await self._unit(planned, ctx), memo):
                await ctx.waiting(f"{name} on {node} to stop and start again, it is {unit.words}")
                await ctx.sleep(self.pace.look_s)
            await ctx.waiting("")

    async def _order(self, planned: PlannedStep, ctx: RunContext) -> None:
        node, name = str(planned.args["node"]), str(planned.args["unit"])
        order = Command(("systemctl", "restart", "--no-block", f"{name}.service"), mutates=True, root=True)
        await ctx.write((f"{node}: {' '.join(order.argv)}",), stream="say")
        try:
            done = await ctx.means.shell.run(node, order, ip=planned.args.get("ip", ""), deadline_s=ORDER_S)
        except Unauthorized:
            raise
        except Unreachable as error:
            await ctx.say(f"whether the order reached {node} is not known: {error.title}")
            return
        if not done.ok:
            said = (done.err or done.out or (f"exit {done.exit}",))[-1]
            raise StepFailed(f"systemd on {node} does not restart {name}", detail=said, hint=f"systemctl status {name} on {node}")

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        if not ctx.memo_of(planned).get("asked") or any(key.endswith("/proven") for key in ctx.memo):
            return ""
        return f"{planned.args['unit']} on {planned.args['node']} was told to restart and was not seen to work again"


class SeeReady(Step):
    """Arguments: `node`, `ip`, `unit`. Memo: `lease` (when the new process was first seen), `proven`."""

    name = "k3s.ready"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        # The process that renewed it before has ended: a later change is the new one's.
        return {"lease": await renewed(ctx, str(planned.args["node"]))}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return bool(ctx.memo_of(planned).get("proven"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        node, name = str(planned.args["node"]), str(planned.args["unit"])
        lacking = ""
        try:
            async with following(ctx, node, planned.args.get("ip", ""), name):
                while lacking := await self._lacking(planned, ctx):
                    await ctx.waiting(lacking)
                    await ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            await ctx.waiting("")
            last = await last_lines(ctx, node, planned.args.get("ip", ""), name)
            if not lacking or ctx.deadline is None or ctx.now < ctx.deadline:
                raise
            said = f"{lacking}; its last line: {last}" if last else lacking
            raise StepFailed(f"{name} on {node} does not work in time", detail=said, hint=f"journalctl -u {name} on {node}") from error
        await ctx.waiting("")
        await ctx.remember(proven=True)
        await ctx.say(f"{name} on {node} is active, and its kubelet has renewed its lease")

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        """What is not there yet; empty: nothing. Raises StepFailed for a unit that systemd gave up."""
        node, name = str(planned.args["node"]), str(planned.args["unit"])
        try:
            unit = await unit_now(planned, ctx)
        except Unauthorized:
            raise
        except Unreachable as error:
            return f"{node} does not answer over SSH: {error.title}"
        if unit.active == "failed":
            raise StepFailed(f"{name} on {node} failed", detail=unit.result, hint=f"journalctl -u {name} on {node}")
        if unit.active != "active":
            again = f", started {counted(unit.restarts, 'time')} again by systemd" if unit.restarts else ""
            return f"{name} on {node} is {unit.words}{again}"
        now, memo = await renewed(ctx, node), ctx.memo_of(planned)
        if not memo.get("lease") and now:
            await ctx.remember(lease=now)
            return f"the kubelet of {node} to renew its lease"
        if now == FORBIDDEN or (now and now != memo.get("lease")):
            return await self._not_ready(node, ctx)
        return f"the kubelet of {node} to renew its lease" if now else "the Kubernetes API, to see the lease"

    async def _not_ready(self, name: str, ctx: RunContext) -> str:
        try:
            node: Node = await ctx.means.kube.read(NODES, name, deadline_s=5.0)
        except (Forbidden, NotFound):
            return ""
        except Unreachable as error:
            return f"the Kubernetes API: {error.title}"
        return "" if node.ready == "True" else f"{name} is {node.status.partition(',')[0]}"


async def unit_now(planned: PlannedStep, ctx: RunContext) -> Unit:
    """Raises Unreachable, StepFailed."""
    node, name = str(planned.args["node"]), str(planned.args["unit"])
    unit = (await read_units(ctx.means.shell, node, planned.args.get("ip", ""))).get(name)
    if unit is None or not unit.loaded:
        raise StepFailed(f"there is no {name}.service on {node} any more", hint="it was removed meanwhile")
    return unit


def _anew(unit: Unit, before: Mapping[str, Any]) -> bool:
    """Whether it is another start than the one remembered."""
    return bool(unit.invocation) and unit.invocation != before.get("invocation")


RESTART: Operation[RestartK3s, RestartFacts] = Operation(
    name=NAME,
    title="Restart K3s",
    about="restart the K3s service of a node over SSH, and see that it works again",
    params=RestartK3s,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_restart,
    steps=(Restart(), SeeReady()),
    object=lambda params: address(params.node),
)
