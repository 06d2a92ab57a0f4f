"""The step of re-cloning: pod and volumes go, each only the very one that was there before, and a new instance is seen to stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...domain.errors import ColdError, Conflict, Forbidden, NotFound, StepFailed
from ...domain.kinds import CLAIMS, JOBS, PG_CLUSTERS, PODS
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.postgres import PgCluster, changing
from ...domain.sessions import Progress
from ...domain.storage import Claim
from ...present.words import size
from ..engine import RunContext, Step
from .checks import Judge
from .facts import INSTANCE_S, told_by
from .following import Pace
from .ordering import facts_of, refuse, waited
from .recloning_findings import against

NAME = "postgres.reclone-instance"
MADE_BY = ("join", "snapshot-recovery")
"""Endings of the names of jobs that fill the volume of a standby (CloudNativePG, pkg/specs/jobs.go)."""


class Recloning(Step):
    """Arguments: `namespace`, `cluster`, `instance`, `doubts`.

    Memo: `claims` (name -> uid) and `uid` (of the pod) as they were, `others` (the other instances); `asked`, `proven`, `outcome`.
    """

    name = NAME

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        args, cluster = planned.args, await self._read(planned, ctx)
        pod: Pod = await ctx.means.kube.read(PODS, args["instance"], args["namespace"])
        claims = {claim.name: claim.uid for claim in await self._claims(planned, ctx, str(args["instance"]))}
        return {"claims": claims, "uid": pod.uid, "others": [n for n in cluster.instance_names if n != args["instance"]]}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Only what came after our own order counts."""
        memo = ctx.memo_of(planned)
        return bool(memo.get("proven")) or (bool(memo.get("asked")) and not await self._lacking(planned, ctx, Copying()))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        args, name = planned.args, str(planned.args["instance"])
        if not ctx.memo_of(planned).get("asked"):
            facts = await ctx.patiently(lambda: facts_of(planned, ctx))
            refuse(against(Judge(facts, name, ctx.now)), planned)
            await ctx.ready()
            await ctx.remember(asked=True)
        copying = Copying()

        async def lacking() -> str:
            await self._remove(planned, ctx)
            return await self._lacking(planned, ctx, copying)

        await waited(ctx, lacking, look_s=self.pace.look_s, late=lambda left: self._late(name, left))
        cluster = await ctx.patiently(lambda: self._read(planned, ctx))
        fresh = _fresh(cluster, ctx.memo_of(planned), name)
        outcome = f"{name} was thrown away; {fresh} is a new copy and streams from {cluster.current_primary}{copying.words}"
        await ctx.remember(proven=True, outcome=outcome)
        await ctx.say(f"{outcome}; {cluster.ready_instances} of {cluster.instances} instances of {args['cluster']} are ready")

    def _late(self, name: str, left: str) -> StepFailed:
        return StepFailed(
            f"the copy of {name} was not there in time", detail=left, hint="the operator goes on: see its log and the pods named -join"
        )

    # --- reads

    async def _read(self, planned: PlannedStep, ctx: RunContext) -> PgCluster:
        found: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, planned.args["cluster"], planned.args["namespace"])
        return found

    async def _claims(self, planned: PlannedStep, ctx: RunContext, instance: str) -> tuple[Claim, ...]:
        labels = f"cnpg.io/instanceName={instance},cnpg.io/cluster={planned.args['cluster']}"
        found: tuple[Claim, ...] = await ctx.means.kube.read_all(CLAIMS, namespace=planned.args["namespace"], labels=labels)
        return found

    @staticmethod
    def _kept(claims: tuple[Claim, ...], memo: Mapping[str, Any]) -> list[Claim]:
        """Those that were there before."""
        uids = set((memo.get("claims") or {}).values())
        return [claim for claim in claims if claim.uid in uids]

    async def _pod(self, name: str, planned: PlannedStep, ctx: RunContext) -> Pod | None:
        try:
            found: Pod = await ctx.means.kube.read(PODS, name, planned.args["namespace"])
        except NotFound:
            return None
        return found

    # --- acts

    async def _remove(self, planned: PlannedStep, ctx: RunContext) -> None:
        """As long as an old volume is there: the pod that uses it, then the volume. Who leads is asked before either.

        A pod that the operator made again in between is left without a volume: it goes too, or nobody would make the volume.
        """
        args, kube = planned.args, ctx.means.kube
        pod = await self._pod(str(args["instance"]), planned, ctx)  # before the volumes: a new one is made before its pod
        claims = await self._claims(planned, ctx, str(args["instance"]))
        old = self._kept(claims, ctx.memo_of(planned))
        going = pod is None or pod.deleted is not None
        if not old and (claims or going):
            return  # gone, or somebody's new ones
        if going and all(claim.deleted is not None for claim in old):
            return
        await self._guard(planned, ctx)
        if pod is not None and not going:
            await ctx.ready()
            await _gone(kube.delete(PODS, pod.name, args["namespace"], uid=pod.uid))
            await ctx.say(f"pod {pod.name} is told to end{'' if old else ': its volume is gone'}")
            await self._guard(planned, ctx)
        await self._remove_jobs(planned, ctx)
        for claim in old:
            if claim.deleted is None:
                await ctx.ready()
                await _gone(kube.delete(CLAIMS, claim.name, args["namespace"], uid=claim.uid))
                await ctx.say(f"volume claim {claim.name} is deleted, it goes when its pod has ended")

    async def _remove_jobs(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Those that filled the old volume and are there still: the operator would take one that is complete for its own, and start the new instance
        on an empty volume (cluster_create.go, joinReplicaInstance). They are cleaned up only where all instances have become ready."""
        args, kube = planned.args, ctx.means.kube
        for name in (f"{args['instance']}-{ending}" for ending in MADE_BY):
            try:
                raw = await kube.fetch(JOBS, name, args["namespace"])
                await _gone(kube.delete(JOBS, name, args["namespace"], uid=str(raw["metadata"]["uid"])))
            except NotFound:
                continue
            except Forbidden as error:
                await ctx.say(f"whether job {name} is left is not known: {error.title}; with it the copy would not come")
                return
            await ctx.say(f"job {name} is deleted, it was left of the old copy")

    async def _guard(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Raises StepFailed where it leads now, or may be chosen to."""
        cluster, name = await self._read(planned, ctx), planned.args["instance"]
        if name in (cluster.current_primary, cluster.target_primary):
            raise StepFailed(f"{name} leads now, or is about to: its data stays", hint="plan again once that is over")
        if role := changing(cluster):
            raise StepFailed(f"a {role} has begun: the data of {name} stays", hint="plan again once that is over")

    # --- proof

    async def _lacking(self, planned: PlannedStep, ctx: RunContext, copying: Copying) -> str:
        args, memo, name = planned.args, ctx.memo_of(planned), str(planned.args["instance"])
        if old := self._kept(await self._claims(planned, ctx, name), memo):
            return f"volume claim {', '.join(claim.name for claim in old)} to go"
        cluster = await self._read(planned, ctx)
        fresh = _fresh(cluster, memo, name)
        if not fresh or len(cluster.instance_names) < cluster.instances:
            return f"the operator to make an instance in place of {name}"
        if not await self._claims(planned, ctx, fresh):
            return f"a new volume for {fresh}"
        pod = await self._pod(fresh, planned, ctx)
        told = await copying.look(cluster.current_primary, ctx)
        if pod is None or pod.uid == memo.get("uid"):
            return f"the pod of {fresh}{told}"
        head = await told_by(ctx.means.kube, args["namespace"], cluster.current_primary)
        if isinstance(head, str):
            return head
        if not any(row.name == fresh and row.state == "streaming" for row in head.standbys):
            return f"{fresh} to stream from {cluster.current_primary}{told}"
        return "" if pod.is_ready else f"{fresh} to be ready, it is {pod.state}"

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, name = ctx.memo_of(planned), planned.args["instance"]
        if memo.get("proven"):
            return str(memo.get("outcome", ""))
        return f"the data of {name} may be gone; the operator makes a copy by itself" if memo.get("asked") else ""


def _fresh(cluster: PgCluster, memo: Mapping[str, Any], name: str) -> str:
    """The instance in its place. The operator takes the lowest free number: mostly the same name, not always."""
    fresh = [n for n in cluster.instance_names if n not in (memo.get("others") or ())]
    return name if name in fresh else next(iter(sorted(fresh)), "")


async def _gone(act: Any) -> None:
    """Gone already, or a namesake there: nothing to do."""
    try:
        await act
    except (Conflict, NotFound):
        return


class Copying:
    """How far the copy is, by the primary's word, and how fast it was seen to go."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last: tuple[float, int] | None = None

    async def look(self, primary: str, ctx: RunContext) -> str:
        """`: 1.2 of 4.0 GiB copied, 80 MiB/s, 36 s left`; empty: nothing is to be seen of it."""
        if ctx.means.database is None:
            return ""
        try:
            found: tuple[Progress, ...] = await ctx.means.database.progress(primary, deadline_s=INSTANCE_S)
        except ColdError:
            return ""  # the operator's own end is waited for all the same
        copy = next((p for p in found if p.what == "basebackup"), None)
        if copy is None:
            return ""
        self._last = (ctx.means.clock.monotonic(), copy.done)
        self._first = self._first or self._last
        of = f" of {size(copy.total)}" if copy.total else ""
        rate = self.rate_b
        left = f", {size(rate)}/s" + (f", {(copy.total - copy.done) / rate:.0f} s left" if copy.total > copy.done else "") if rate else ""
        return f": {copy.phase}, {size(copy.done)}{of} copied{left}"

    @property
    def rate_b(self) -> float:
        """Bytes a second between the first look and the last; 0: not measured."""
        if self._first is None or self._last is None or self._last[0] <= self._first[0]:
            return 0.0
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])

    @property
    def words(self) -> str:
        return f" (copied at {size(self.rate_b)}/s)" if self.rate_b > 0 else ""
