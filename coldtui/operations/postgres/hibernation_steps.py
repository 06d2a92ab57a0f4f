"""The steps of hibernating and waking: done when pods, volumes and servers show it, not when the annotation was taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...domain.errors import StepFailed
from ...domain.kinds import CLAIMS, PG_CLUSTERS, PODS
from ...domain.plans import PlannedStep
from ...domain.postgres import HEALTHY, PgCluster, changing
from ...domain.storage import Claim
from ...domain.text import counted
from ..engine import RunContext, Step
from . import paths
from .checks import Judge
from .facts import told_by, writers
from .following import Pace
from .hibernation_findings import against_sleep, against_waking
from .ordering import facts_of, guarded, order, waited

HIBERNATE, WAKE = "postgres.hibernate", "postgres.wake"
CONDITION = "cnpg.io/hibernation"
READ_S = 5.0


def asleep(cluster: PgCluster) -> bool:
    """By the Cluster's own word: asked for, and the operator says that it is so."""
    condition = cluster.condition(CONDITION)
    return cluster.hibernated and condition is not None and condition.status == "True"


async def _read(planned: PlannedStep, ctx: RunContext) -> PgCluster:
    found: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, planned.args["cluster"], planned.args["namespace"])
    return found


class Hibernating(Step):
    """Arguments: `namespace`, `cluster`, `doubts`. Memo: `claims` (name -> uid) and `was` (the annotation) before; `asked`, `sent`, `proven`."""

    name = HIBERNATE

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        cluster, claims = await _read(planned, ctx), await self._claims(planned, ctx)
        kept = {claim.name: claim.uid for claim in claims if claim.deleted is None}
        return {"claims": kept, "was": cluster.hibernation}

    async def _claims(self, planned: PlannedStep, ctx: RunContext) -> tuple[Claim, ...]:
        labels, namespace = f"cnpg.io/cluster={planned.args['cluster']}", planned.args["namespace"]
        found: tuple[Claim, ...] = await ctx.means.kube.read_all(CLAIMS, namespace=namespace, labels=labels)
        return found

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        cluster = await _read(planned, ctx)
        return cluster.hibernated and not await self._lacking(planned, ctx)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        name = planned.args["cluster"]
        while not (cluster := await ctx.patiently(lambda: _read(planned, ctx))).hibernated:
            self._taken_back(cluster, ctx.memo_of(planned))
            await order(
                planned, ctx, judge=lambda facts: against_sleep(Judge(facts, "", ctx.now)), body=lambda raw: guarded(raw, hibernation="on")
            )
        await waited(ctx, lambda: self._lacking(planned, ctx), look_s=self.pace.look_s, late=lambda left: self._late(name, left))
        await ctx.remember(proven=True)
        kept = ctx.memo_of(planned).get("claims") or {}
        await ctx.say(f"{name} is hibernated: no instance runs, {counted(len(kept), 'claim')} kept")

    def _late(self, name: str, left: str) -> StepFailed:
        return StepFailed(f"{name} was not hibernated in time", detail=left, hint=f"it goes on; coldtui postgres wake {name} takes it back")

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        """Raises StepFailed where it was taken back, or a volume is not the one it was."""
        args, kube = planned.args, ctx.means.kube
        cluster = await _read(planned, ctx)
        self._taken_back(cluster, ctx.memo_of(planned))
        await self._volumes(planned, ctx)
        labels = f"cnpg.io/cluster={args['cluster']},cnpg.io/podRole=instance"
        pods = await kube.read_all(PODS, namespace=args["namespace"], labels=labels)
        if pods:
            return f"{', '.join(sorted(pod.name for pod in pods))} to stop"
        condition = cluster.condition(CONDITION)
        if condition is None or condition.status != "True":
            return f"the operator to say that {cluster.name} is hibernated" + (f": {condition.message}" if condition is not None else "")
        return ""

    def _taken_back(self, cluster: PgCluster, memo: Mapping[str, Any]) -> None:
        """Raises StepFailed when our order was there and is not any more; one that never arrived may be sent again."""
        arrived = memo.get("sent") or cluster.hibernation != memo.get("was", "")
        if memo.get("asked") and arrived and not cluster.hibernated:
            raise StepFailed(f"the hibernation of {cluster.name} was taken back by somebody", hint="find out who, then plan again")

    async def _volumes(self, planned: PlannedStep, ctx: RunContext) -> None:
        kept: Mapping[str, str] = ctx.memo_of(planned).get("claims") or {}
        found = {claim.name: claim for claim in await self._claims(planned, ctx)}
        lost = [name for name, uid in kept.items() if name not in found or found[name].uid != uid or found[name].deleted is not None]
        if lost:
            title = f"{', '.join(lost)}: the volume claim was deleted by somebody"
            raise StepFailed(title, detail=f"{len(kept) - len(lost)} of {len(kept)} claims are there", hint="see who deletes claims")

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, name = ctx.memo_of(planned), planned.args["cluster"]
        if memo.get("proven") or not memo.get("asked"):
            return ""
        return f"{name} is asked to hibernate, and goes on to: coldtui postgres wake {name} takes it back"


class Waking(Step):
    """Arguments: `namespace`, `cluster`, `doubts`. Memo: `system`, `timeline` as they were; `asked`, `sent`, `proven`,
    `unseen` (why no write was seen)."""

    name = WAKE

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        cluster = await _read(planned, ctx)
        return {"system": cluster.system_id, "timeline": cluster.timeline}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """That it is awake counts only once this run has asked for it, and then all of the proof."""
        if not ctx.memo_of(planned).get("begun"):
            return False
        cluster = await _read(planned, ctx)
        return not cluster.hibernated and not await self._lacking(planned, ctx)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        name = planned.args["cluster"]
        while (await ctx.patiently(lambda: _read(planned, ctx))).hibernated:
            if ctx.memo_of(planned).get("sent"):
                raise self._again(name)
            await order(
                planned,
                ctx,
                judge=lambda facts: against_waking(Judge(facts, "", ctx.now)),
                body=lambda raw: guarded(raw, hibernation="off"),
            )
        await waited(ctx, lambda: self._lacking(planned, ctx), look_s=self.pace.look_s, late=lambda left: self._late(name, left))
        await ctx.remember(proven=True)
        cluster = await ctx.patiently(lambda: _read(planned, ctx))
        ready = f"{cluster.ready_instances} of {cluster.instances} instances are ready"
        words = f"{name} is awake: {cluster.current_primary} leads, {ready}"
        unseen = unseen_words(ctx.memo_of(planned))
        await ctx.say(f"{words}; {unseen}" if unseen else words)

    def _late(self, name: str, left: str) -> StepFailed:
        return StepFailed(f"{name} was not awake in time", detail=left, hint="it goes on to wake: look at coldtui postgres status")

    def _again(self, name: str) -> StepFailed:
        return StepFailed(f"{name} was hibernated again by somebody", hint="find out who, then plan again")

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        cluster = await _read(planned, ctx)
        if cluster.hibernated:
            raise self._again(cluster.name)
        if role := changing(cluster):
            return f"a {role} to {cluster.target_primary}"
        fenced = [name for name in cluster.instance_names if cluster.is_fenced(name)]
        wanted = cluster.instances - len(fenced)
        if cluster.ready_instances < wanted:
            return f"{cluster.ready_instances} of {wanted} instances are ready"
        if cluster.phase != HEALTHY:
            return f"the phase is {cluster.phase!r}"
        if cluster.current_primary in fenced:
            return ""  # as far as it can come
        return await _leads(cluster, ctx, ctx.memo_of(planned), wanted - 1) or await self._no_write(cluster, planned, ctx)

    async def _no_write(self, cluster: PgCluster, planned: PlannedStep, ctx: RunContext) -> str:
        if await writers(ctx.means.kube, cluster, READ_S) != (cluster.current_primary,):
            return f"the -rw Service does not lead to {cluster.current_primary} alone"
        if cluster.replica_cluster:
            return ""
        return await no_write(planned, ctx)

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, name = ctx.memo_of(planned), planned.args["cluster"]
        if memo.get("proven") or not memo.get("asked"):
            return ""
        return f"{name} was asked to wake, and was not seen to be whole"


async def _leads(cluster: PgCluster, ctx: RunContext, memo: Mapping[str, Any], standbys: int) -> str:
    """Whether the primary is the same database as before, and is followed. Raises StepFailed for another database, or an older timeline."""
    name = cluster.current_primary
    head = await told_by(ctx.means.kube, cluster.namespace, name)
    if isinstance(head, str):
        return head
    if not head.is_primary:
        return f"{name} says that it is no primary"
    if memo.get("system") and head.system_id and head.system_id != memo["system"]:
        raise StepFailed(
            f"{name} is another database", detail=f"system ID {head.system_id}, before {memo['system']}", hint="do not write to it"
        )
    if memo.get("timeline") and head.timeline and head.timeline < memo["timeline"]:
        raise StepFailed(f"{name} is on timeline {head.timeline}", detail=f"it was {memo['timeline']} before", hint="do not write to it")
    streams = [row.name for row in head.standbys if row.state == "streaming"]
    return "" if len(streams) >= standbys else f"{len(streams)} of {counted(standbys, 'standby', 'standbys')} stream from {name}"


async def no_write(planned: PlannedStep, ctx: RunContext) -> str:
    """What keeps a write on the path of the applications from being accepted; empty: nothing, or nothing that can be seen from here (memo `unseen`)."""

    async def unseen(why: str) -> None:
        if ctx.memo_of(planned).get("unseen") != why:
            await ctx.remember(unseen=why)

    facts = await facts_of(planned, ctx)  # tells where the servers are
    return await paths.no_write(ctx.means, facts, facts.primary, unseen)


def unseen_words(memo: Mapping[str, Any]) -> str:
    """Empty: a write was accepted."""
    return f"that it takes writes was not seen: {memo['unseen']}" if memo.get("unseen") else ""
