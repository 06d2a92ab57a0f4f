"""The steps of a drain after the cordon: evict the pods, and see that they are gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...domain.drains import DrainPod
from ...domain.errors import Forbidden, NotFound, StepFailed
from ...domain.kinds import DAEMONSETS, NODES
from ...domain.plans import PlannedStep
from ...domain.pods import FINISHED
from ...domain.readings import Known, Reading, Unknown
from ...domain.text import counted
from ..engine import RunContext, Step
from .draining import Draining, Pace
from .facts import pods_on
from .pods import Filtered, Permits, filtered, overdue
from .refill import named
from .targets import Target


class EvictPods(Step):
    """Evicts what kubectl's filters choose, all at once, and waits until each is gone.

    Arguments: `node` and the options of the drain; `never`: keys of pods that are asked for and not waited for.
    Memo: `pods` (key -> UID, as chosen when the step began), `others` (UIDs that stay), `asked` and `accepted` (UIDs).
    """

    name = "drain.evict"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        """Chooses the pods, once and for all: those that come later are no part of this drain. Raises StepFailed before anything is evicted."""
        chosen = await _filtered(planned, ctx)
        if lacking := [f for f in chosen if f.needs]:
            flags = " ".join(sorted({flag.value for f in lacking for flag in f.needs}))
            raise StepFailed(
                f"{counted(len(lacking), 'pod')} on {planned.args['node']} may not be deleted without {flags}",
                detail=named([f.key for f in lacking], 6), hint="nothing was evicted; plan the drain again",
            )  # fmt: skip
        return {"pods": {f.key: f.pod.pod.uid for f in chosen if f.delete}, "others": [f.pod.pod.uid for f in chosen if not f.delete]}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        memo = ctx.memo_of(planned)
        if "pods" not in memo:
            return not any(f.delete or f.needs for f in await _filtered(planned, ctx))
        return not _left(memo["pods"], await _pods(planned, ctx), planned, ctx)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        memo = ctx.memo_of(planned)
        never = set(planned.args.get("never") or ())
        targets = [Target(key, uid, key in never) for key, uid in sorted(memo["pods"].items())]
        await Draining(planned.args, ctx, targets, memo, self.pace).run()

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo = ctx.memo_of(planned)
        accepted, every = len(memo.get("accepted") or ()), len(memo.get("pods") or ())
        if not accepted:
            return ""
        verb = "deleted" if planned.args.get("disable_eviction") else "evicted"
        return f"{accepted} of {counted(every, 'pod')} of {planned.args['node']} {'was' if accepted == 1 else 'were'} {verb}"


class SeeGone(Step):
    """Looks once more, afresh: nothing that should have gone is there. Names what came meanwhile, and what took the places."""

    name = "drain.gone"

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return False  # it is the look itself

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        memo = ctx.memo_of(planned, ctx.step - 1)
        chosen: dict[str, str] = memo.get("pods") or {}
        node = str(planned.args["node"])
        pods = await ctx.patiently(lambda: _pods(planned, ctx))
        if left := _left(chosen, pods, planned, ctx):
            raise StepFailed(f"{counted(len(left), 'pod')} still on {node}", detail=named(sorted(left), 6), hint="drain again")
        known = {*chosen.values(), *(memo.get("others") or ())}
        came = [p.key for p in pods if p.pod.uid not in known and _ordinary(p)]
        if came:
            await ctx.say(f"{counted(len(came), 'pod')} came to {node} meanwhile and stay{'s' if len(came) == 1 else ''}: {named(came, 6)}")
        await self._node(node, ctx)
        await ctx.say(f"{counted(len(chosen), 'pod')} gone from {node}" if chosen else f"nothing had to leave {node}")

    async def _node(self, node: str, ctx: RunContext) -> None:
        try:
            found = await ctx.patiently(lambda: ctx.means.kube.read(NODES, node))
        except NotFound:
            await ctx.say(f"{node} is no longer in the cluster")
            return
        if not found.unschedulable:
            await ctx.say(f"{node} is not cordoned any more: somebody uncordoned it meanwhile")


async def _pods(planned: PlannedStep, ctx: RunContext) -> tuple[DrainPod, ...]:
    return await pods_on(ctx.means.kube, str(planned.args["node"]), str(planned.args.get("pod_selector") or ""))


async def _filtered(planned: PlannedStep, ctx: RunContext) -> tuple[Filtered, ...]:
    """As the plan chose, by what is there now."""
    args = planned.args
    permits = Permits(bool(args.get("delete_emptydir")), bool(args.get("force")), int(args.get("skip_wait_for_delete") or 0))
    pods = await _pods(planned, ctx)
    sets = await _daemon_sets(ctx) if any(p.of_daemon_set for p in pods) else Known(frozenset[str](), "daemonsets", ctx.now)
    return filtered(pods, permits, sets, ctx.now)


async def _daemon_sets(ctx: RunContext) -> Reading[frozenset[str]]:
    """Where they may not be read, their pods stay: the plan said so, and the operator went on."""
    try:
        return Known(frozenset(s.key for s in await ctx.means.kube.read_all(DAEMONSETS)), "daemonsets", ctx.now)
    except Forbidden as error:
        return Unknown("daemonsets", error.title)


def _left(chosen: Mapping[str, str], pods: Iterable[DrainPod], planned: PlannedStep, ctx: RunContext) -> list[str]:
    """Chosen pods that are still there, and are waited for."""
    skip = int(planned.args.get("skip_wait_for_delete") or 0)
    return [p.key for p in pods if chosen.get(p.key) == p.pod.uid and not overdue(p, skip, ctx.now)]


def _ordinary(pod: DrainPod) -> bool:
    return not pod.of_daemon_set and not pod.pod.mirror and pod.pod.phase not in FINISHED
