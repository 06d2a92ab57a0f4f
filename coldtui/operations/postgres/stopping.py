"""The old primary of a failover is stopped, and the proof of it: nobody is promoted on a guess that it is dead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, StepFailed, Unauthorized, Unreachable
from ...domain.kinds import NODES, PG_CLUSTERS, PODS
from ...domain.nodes import Node
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.troubles import trouble_of
from ...ports import PatchForm
from ..engine import GATHER_S, RunContext, Step
from .facts import INSTANCE_S
from .failover_facts import FailoverFacts, gather_failover
from .failover_ways import POWER
from .following import Pace, _or_none

TAINT = {"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}
MARK = f"{TAINT['key']}={TAINT['value']}:{TAINT['effect']}"
TRIES = 5
LEASE_S = 15
"""Of a Lease that does not say how long it holds (primaryLease.leaseDurationSeconds)."""


@dataclass(frozen=True)
class FailoverPace(Pace):
    """Seconds."""

    host_s: float = 10.0
    """Between two looks at a host over SSH."""
    alive_s: float = 60.0
    """A Lease that is still renewed after so long is held by a manager that lives."""
    rejoin_s: float = 120.0
    """An old primary that comes back rewinds and streams within 20 s or so; after this it is said that it did not."""
    archive_s: float = 60.0
    """The history file of a new timeline is archived at once where archiving works."""


async def facts_of(planned: PlannedStep, ctx: RunContext) -> FailoverFacts:
    """All of it afresh. Raises what keeps us from the Cluster object."""
    return await ctx.patiently(lambda: gather_failover(f"{planned.args['namespace']}/{planned.args['cluster']}", ctx.means, GATHER_S))


async def well_again(planned: PlannedStep, ctx: RunContext) -> bool:
    """Whether the old primary leads and answers after all. Raises Unreachable while the API is away: that tells nothing of it."""
    return await _is_well(planned, ctx, await _old_pod(planned, ctx))


async def _old_pod(planned: PlannedStep, ctx: RunContext) -> Pod | None:
    """None: it has none. Raises what keeps us from it."""
    try:
        found: Pod = await ctx.means.kube.read(PODS, planned.args["from"], planned.args["namespace"], deadline_s=5.0)
    except NotFound:
        return None
    return found


async def _is_well(planned: PlannedStep, ctx: RunContext, pod: Pod | None) -> bool:
    if pod is None or not pod.is_ready or pod.deleted is not None:
        return False
    args, kube = planned.args, ctx.means.kube
    manager = await _or_none(kube.pg_status(args["namespace"], args["from"], deadline_s=INSTANCE_S))
    if manager is None:
        await _old_pod(planned, ctx)  # the silence is its own only while the API answers: raises Unreachable
        return False
    return manager.is_primary and not manager.might_be_unavailable


# ------------------------------------------------------------ stopping it


class StopPrimary(Step):
    """Arguments: those of the failover; `way` says how. Memo: `uid` (of its pod before), `asked`, `stopped`; of a node: `tainted` (by this run)."""

    name = "postgres.stop-primary"

    def __init__(self, pace: FailoverPace | None = None) -> None:
        self.pace = pace or FailoverPace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        if planned.args["way"] == POWER:
            return {}
        try:
            pod: Pod = await ctx.means.kube.read(PODS, planned.args["from"], planned.args["namespace"])
        except NotFound:
            return {"uid": ""}
        return {"uid": pod.uid}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Only what this run has done counts."""
        return bool(ctx.memo_of(planned).get("stopped"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        await ctx.ready()
        if not ctx.memo_of(planned).get("asked") and await self._led_by_another(planned, ctx):
            return
        await (self._taint(planned, ctx) if planned.args["way"] == POWER else self._delete(planned, ctx))
        await ctx.remember(stopped=True)

    async def _led_by_another(self, planned: PlannedStep, ctx: RunContext) -> bool:
        args = planned.args
        cluster: PgCluster = await ctx.patiently(lambda: ctx.means.kube.read(PG_CLUSTERS, args["cluster"], args["namespace"]))
        if cluster.current_primary == args["from"]:
            return False
        await ctx.remember(stopped=True)
        await ctx.say(f"{cluster.current_primary} leads already: the operator was quicker, nothing was stopped")
        return True

    async def _delete(self, planned: PlannedStep, ctx: RunContext) -> None:
        """The pod that was there before and no other, however often it is asked for."""
        if uid := str(ctx.memo_of(planned).get("uid") or ""):
            await ctx.patiently(lambda: self._delete_once(planned, ctx, uid))
        if ctx.memo_of(planned).get("asked"):
            await ctx.say(f"the pod of {planned.args['from']} was deleted without grace: its kubelet ends the server now")
        else:
            await ctx.say(f"the pod of {planned.args['from']} that this run began with is gone: nothing was deleted")

    async def _delete_once(self, planned: PlannedStep, ctx: RunContext, uid: str) -> None:
        """One pass: what was seen before the API was away is looked at again. Raises Refused where the primary is back, or its pod would go on running."""
        args = planned.args
        await ctx.ready()  # may hold the run up for minutes: before it is judged
        pod = await _old_pod(planned, ctx)
        if pod is not None and pod.uid == uid and pod.deleted is None:
            await self._still_lost(planned, ctx, pod)
            asked = bool(ctx.memo_of(planned).get("asked"))
            await ctx.remember(asked=True)
            try:
                await ctx.means.kube.delete(PODS, args["from"], args["namespace"], uid=uid, grace_s=0)
            except (Conflict, NotFound):  # gone already, maybe by an earlier try of ours
                await ctx.remember(asked=asked)
            except (Unauthorized, Forbidden, Invalid, Refused):
                await ctx.remember(asked=False)
                raise

    async def _still_lost(self, planned: PlannedStep, ctx: RunContext, pod: Pod) -> None:
        name = str(planned.args["node"])
        node = await _node(ctx, name)
        state = node.status.partition(",")[0] if node is not None else "gone"
        against, hint = "", "plan again"
        if node is None or node.ready != "True":
            against = f"{name} is {state}: deleting a pod stops nothing there"
        elif await _is_well(planned, ctx, pod):
            against, hint = f"{planned.args['from']} is well again: its pod was not deleted", "switch over instead"
        if against:
            await ctx.remember(asked=False)  # the pod that was read was not deleted by an earlier try either
            raise Refused(against, hint=hint)

    async def _taint(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Raises Refused when the node lives: tainting it would corrupt data."""
        name, kube = str(planned.args["node"]), ctx.means.kube
        for _ in range(TRIES):
            raw = await ctx.patiently(lambda: kube.fetch(NODES, name))
            node: Node = await ctx.patiently(lambda: kube.read(NODES, name))
            if any(t.key == TAINT["key"] for t in node.taints):
                await ctx.say(f"{name} has the taint {TAINT['key']} already")
                return
            if node.ready == "True":
                raise Refused(f"{name} is Ready again: a living node is never declared out of service", hint="plan again")
            await ctx.ready()
            await ctx.remember(asked=True)
            if await self._tainted(ctx, name, raw):
                return
        raise StepFailed(f"{name} changed each time it was looked at", detail=f"{TRIES} times in a row", hint="plan again")

    async def _tainted(self, ctx: RunContext, name: str, raw: Mapping[str, Any]) -> bool:
        """A list is replaced whole by a merge patch, so it goes with the version that was read."""
        taints = [*((raw.get("spec") or {}).get("taints") or ()), TAINT]
        body = {"metadata": {"resourceVersion": raw["metadata"]["resourceVersion"]}, "spec": {"taints": taints}}
        try:
            await ctx.means.kube.patch(NODES, name, body, form=PatchForm.MERGE)
        except Conflict:
            return False
        except (Unauthorized, Forbidden, Invalid, NotFound, Refused):
            await ctx.remember(asked=False)
            raise
        except Unreachable as error:
            await ctx.say(f"whether {name} was tainted is not known: {trouble_of(error).words}")
            return False  # looked at again
        await ctx.remember(tainted=True)
        await ctx.say(f"{name} is declared out of service ({MARK}): Kubernetes removes its pods and detaches its volumes")
        return True

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, args = ctx.memo_of(planned), planned.args
        if not memo.get("asked"):
            return ""
        if args["way"] == POWER:
            return (
                f"{args['node']} has the taint {MARK}: kubectl taint node {args['node']} {MARK}- once the machine is back or was made anew"
            )
        return f"the pod of {args['from']} was deleted without grace"


async def _node(ctx: RunContext, name: str) -> Node | None:
    try:
        found: Node = await ctx.means.kube.read(NODES, name)
    except NotFound:
        return None
    return found
