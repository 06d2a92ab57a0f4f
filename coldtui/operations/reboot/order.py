"""The order itself: `systemctl reboot` over SSH. Done means that the host is in another boot, or has gone down at our word."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ...domain.errors import ColdError, StepFailed, Unreachable
from ...domain.plans import PlannedStep
from ...domain.runs import RunState
from ...domain.troubles import LineTrouble, trouble_of
from ...ports import Command
from ..engine import RunContext, Step
from ..host_steps import Pace, kept, on_host
from ..hosts import boot_id
from .health import health_of

ORDER_S = 30.0
"""For the order to be taken: systemd answers at once."""
UNSURE = frozenset({"lost", "timeout"})
"""Kinds of trouble after which the order may have been taken: a machine that goes down answers so."""


class OrderReboot(Step):
    """Arguments: `node`, `ip`. Memo: `boot` (before), `volumes` and `instances` that were well, `asked`."""

    name = "host.reboot"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        node = str(planned.args["node"])
        boot = await on_host(ctx, node, lambda: self._boot(planned, ctx), self.pace.answer_s)
        try:
            health = await health_of(ctx.means.kube, node)
        except ColdError as error:
            await ctx.say(f"what was well on {node} before is not known: {trouble_of(error).words}")
            return {"boot": boot, "volumes": [], "instances": {}}
        return {"boot": boot, "volumes": list(health.volumes), "instances": dict(health.instances)}

    async def _boot(self, planned: PlannedStep, ctx: RunContext) -> str:
        return await boot_id(ctx.means.shell, planned.args["node"], planned.args.get("ip", ""), connect_s=self.pace.connect_s)

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        memo = ctx.memo_of(planned)
        if not memo.get("asked"):
            return False
        try:
            return await self._boot(planned, ctx) != str(memo["boot"])
        except Unreachable:
            return True  # gone at our word; the next step waits for its return

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        node, memo = str(planned.args["node"]), ctx.memo_of(planned)
        if await on_host(ctx, node, lambda: self._boot(planned, ctx), self.pace.answer_s) != memo["boot"]:
            raise StepFailed(
                f"{node} is in another boot than when this run began", hint="somebody else rebooted it: look at it, then plan again"
            )
        await ctx.ready()
        here = bool(ctx.means.me.boot_id) and memo["boot"] == ctx.means.me.boot_id.lower()
        await self._mark(ctx, ctx.means.me.boot_id if here else "")
        await ctx.remember(asked=True)
        if here:
            await ctx.say(f"{node} is this machine: the run goes on after its boot")
        try:
            await self._order(planned, ctx)
        except ColdError:
            await self._mark(ctx, "")
            await ctx.remember(asked=False)
            raise
        await ctx.means.shell.hang_up(node)
        await self._until_gone(planned, ctx, memo["boot"])

    async def _mark(self, ctx: RunContext, boot: str) -> None:
        """Before the act, so that whoever finds the run after the boot knows that it goes on."""
        await asyncio.to_thread(lambda: ctx.journal.set_state(ctx.run, RunState.RUNNING, after_boot=boot))

    async def _order(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Raises when the order was surely not taken."""
        node, ip = planned.args["node"], planned.args.get("ip", "")
        order = Command(("systemctl", "reboot"), mutates=True, root=True)
        await ctx.write((f"{node}: systemctl reboot",), stream="say")
        try:
            done = await ctx.means.shell.run(node, order, ip=ip, deadline_s=ORDER_S, connect_s=self.pace.connect_s)
        except LineTrouble as error:
            if error.kind not in UNSURE:
                raise StepFailed(f"the order did not reach {node}", detail=error.title, hint=error.hint) from None
            await ctx.say(f"{node} ended the connection: {error.title}")
            return
        await ctx.write((*done.out, *done.err))
        if not done.ok:
            said = (done.err or done.out or (f"exit {done.exit}",))[-1]
            hint = f"a program may forbid it: systemd-inhibit --list on {node}"
            raise StepFailed(f"{node} refuses to reboot", detail=said, hint=hint)

    async def _until_gone(self, planned: PlannedStep, ctx: RunContext, before: str) -> None:
        node, begun = str(planned.args["node"]), ctx.now
        while True:
            try:
                boot = await self._boot(planned, ctx)
            except Unreachable:
                await ctx.waiting("")
                await ctx.say(f"{node} is down")
                return
            if boot != before:
                await ctx.waiting("")
                return
            if ctx.now - begun > timedelta(seconds=self.pace.going_s):
                await self._mark(ctx, "")
                raise StepFailed(
                    f"{node} is still up {int(self.pace.going_s)} s after the order to reboot", hint=f"see systemctl list-jobs on {node}"
                )
            await ctx.waiting(f"{node} to go down")
            await ctx.sleep(self.pace.look_s)

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        if not ctx.memo_of(planned).get("asked") or kept(ctx, "back"):
            return ""
        return f"{planned.args['node']} was told to reboot and was not seen back"
