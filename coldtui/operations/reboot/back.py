"""The proof that a node is back: another boot, SSH, its kubelet's word for that boot, Ready with a lease renewed in it, and what was well before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...domain.errors import ColdError, HostKeyChanged, HostKeyUnknown, NotFound, StepFailed, Unreachable
from ...domain.kinds import NODES
from ...domain.nodes import Node
from ...domain.plans import PlannedStep
from ...domain.troubles import trouble_of
from ...domain.values import dataclass
from ..engine import RunContext, Step
from ..host_steps import Pace, kept
from ..hosts import boot_id, read_units
from ..leases import FORBIDDEN, renewed


@dataclass(frozen=True, slots=True)
class Lacking:
    """What is not there yet."""

    what: str
    hint: str
    """Where to look if it does not come."""


async def until_there(ctx: RunContext, look: Callable[[], Awaitable[Lacking | None]], late: str, look_s: float) -> None:
    """Wait until nothing is lacking; out of time, say exactly what is."""
    lacking: Lacking | None = None
    try:
        while (lacking := await look()) is not None:
            await ctx.waiting(lacking.what)
            await ctx.sleep(look_s)
    except StepFailed as error:
        await ctx.waiting("")
        if lacking is None or ctx.deadline is None or ctx.now < ctx.deadline:
            raise
        raise StepFailed(late, detail=lacking.what, hint=lacking.hint) from error
    await ctx.waiting("")


class SeeBack(Step):
    """Arguments: `node`, `ip`. Memo: `back` (the new boot ID), `lease` (as it was when SSH came back), `proven`."""

    name = "host.back"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return bool(ctx.memo_of(planned).get("proven"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        await until_there(ctx, lambda: self._look(planned, ctx), f"{planned.args['node']} is not back in time", self.pace.look_s)
        await ctx.remember(proven=True)
        await ctx.say(f"{planned.args['node']} is back: Ready, and its lease renewed in the new boot")

    async def _look(self, planned: PlannedStep, ctx: RunContext) -> Lacking | None:
        """The first thing that is missing, in the order in which things come back. None: nothing."""
        return await self._host(planned, ctx) or await self._kubelet(planned, ctx)

    async def _host(self, planned: PlannedStep, ctx: RunContext) -> Lacking | None:
        if ctx.memo_of(planned).get("back"):
            return None
        node, ip, before = str(planned.args["node"]), planned.args.get("ip", ""), kept(ctx, "boot")
        try:
            boot = await boot_id(ctx.means.shell, node, ip, connect_s=self.pace.connect_s)
        except (HostKeyChanged, HostKeyUnknown):
            raise
        except ColdError as error:  # also a login that is refused: an early boot lets nobody in
            hint = f"look at the console of {node} (BMC, hypervisor): it may hang in its firmware or its boot"
            return Lacking(f"{node} does not answer over SSH: {trouble_of(error).words}", hint)
        if boot == before:
            return Lacking(f"{node} is still in its old boot", f"see systemctl list-jobs on {node}")
        await ctx.remember(back=boot, lease=await renewed(ctx, node))
        await ctx.say(f"{node} is back over SSH, boot {boot}")
        return None

    async def _kubelet(self, planned: PlannedStep, ctx: RunContext) -> Lacking | None:
        name, memo = str(planned.args["node"]), ctx.memo_of(planned)
        try:
            node: Node = await ctx.means.kube.read(NODES, name, deadline_s=5.0)
        except NotFound as error:
            raise StepFailed(f"{name} is no node any more", detail=error.title, hint="it was removed meanwhile") from None
        except Unreachable as error:
            return Lacking(
                f"the Kubernetes API does not answer: {trouble_of(error).words}", "look at k3s on the servers: journalctl -u k3s -b"
            )
        hint = f"SSH answers, no kubelet: journalctl -u k3s-agent -u k3s -b on {name}"
        if node.boot_id.lower() != memo["back"]:
            return Lacking(f"the kubelet of {name} has not reported its new boot yet{await self._service(planned, ctx)}", hint)
        now = await renewed(ctx, name)
        if not memo.get("lease"):
            await ctx.remember(lease=now)
        if now != FORBIDDEN and now in ("", ctx.memo_of(planned).get("lease")):
            return Lacking(f"the lease of {name} has not been renewed since its boot{await self._service(planned, ctx)}", hint)
        if node.ready != "True":
            ready = node.condition("Ready")
            why = " ".join(part for part in ((ready.reason, ready.message) if ready is not None else ()) if part)
            return Lacking(f"{name} is {node.status.partition(',')[0]}: {why}".removesuffix(": "), f"kubectl describe node {name}")
        return None

    async def _service(self, planned: PlannedStep, ctx: RunContext) -> str:
        """What systemd says of K3s there."""
        try:
            units = await read_units(ctx.means.shell, str(planned.args["node"]), planned.args.get("ip", ""))
        except ColdError:
            return ""
        there = [unit for unit in units.values() if unit.loaded]
        return f"; {', '.join(f'{unit.name} is {unit.words}' for unit in there)}" if there else ""
