"""Switchover: another instance is made primary as `kubectl cnpg promote` does it, with checks before, the outage measured, and proof after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, StepFailed, Unauthorized, Unreachable
from ...domain.kinds import PG_CLUSTERS
from ...domain.plans import Finding, Outlook, Plan, PlannedStep, Rung, Weight, outlook_of
from ...domain.postgres import HEALTHY, SWITCHING_OVER, PgCluster
from ...domain.readings import Unknown
from ...domain.replication import ManagerStatus
from ...domain.text import plain
from ...domain.troubles import trouble_of
from ...domain.values import dataclass
from ...ports import Means, PatchForm
from ..engine import Operation, RunContext, Step
from ..params import param
from .checks import address, behind, candidates, confirm_word, switchover_findings, timeline_of
from .facts import PgFacts, gather_cluster, target_stamp, told_by
from .following import Following, Pace, memo_of_aim
from .measuring import measuring
from .ordering import facts_of

NAME = "postgres.switchover"
TRIES = 3
"""A Cluster that changes while we look is looked at anew so often."""


@dataclass(frozen=True, slots=True)
class Switchover:
    """Make another instance primary, in good order."""

    to: str = param("the instance that is to lead", named=True)
    cluster: str = param("namespace/name of the cluster, the site's if not given", "")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 300, unit="s", least=0)


async def gather(params: Switchover, means: Means, deadline_s: float) -> PgFacts:
    """Raises NotFound for a cluster or an instance that does not exist, with the nearest names and the best candidates."""
    facts = await gather_cluster(params.cluster, means, deadline_s)
    if params.to not in facts.cluster.instance_names:
        raise no_instance(params.to, facts)
    return facts


def no_instance(name: str, facts: PgFacts) -> NotFound:
    near = get_close_matches(name, facts.cluster.instance_names, n=2, cutoff=0.4)
    best = candidates(facts, facts.at)
    hints = [f"did you mean {' or '.join(near)}?"] if near else []
    hints.append(f"fit to lead: {', '.join(best)}" if best else "no instance is fit to lead now")
    return NotFound(f"no instance {plain(name)} in {facts.cluster.key}", hint="; ".join(hints))


# ------------------------------------------------------------ plan


def plan_switchover(facts: PgFacts, params: Switchover, now: datetime) -> Plan:
    cluster, to = facts.cluster, params.to
    findings = (*switchover_findings(facts, to, now), _others(facts, to, now))
    leads = to == cluster.current_primary == cluster.target_primary
    stops = [f.sentence for f in findings if f.outlook is Outlook.REFUSED]
    return Plan(
        operation=NAME,
        title=f"Switch {cluster.name} over to {to}",
        object=address(cluster),
        findings=findings,
        steps=() if leads else steps_for(facts, to, now),
        locks=("site",),
        rung=Rung.DISRUPTIVE,
        verb="switchover",
        confirm=confirm_word(facts, to),
        premises=facts.premises,
        outlook=outlook_of(findings),
        blocked="; ".join(stops),
        needs_reason=True,
    )


def steps_for(facts: PgFacts, to: str, now: datetime) -> tuple[PlannedStep, ...]:
    """The switchover, and seeing that the others follow. Also the first steps of larger plans."""
    cluster, pods = facts.cluster, {} if isinstance(facts.pods, Unknown) else facts.pods.value
    doubts = sorted({f.code for f in switchover_findings(facts, to, now) if f.outlook is Outlook.NOT_EVALUATED})
    followers = sorted(n for n in cluster.instance_names if n != to and n in pods and pods[n].is_ready)
    args = {"namespace": cluster.namespace, "cluster": cluster.name, "from": cluster.current_primary, "to": to}
    return (
        PlannedStep(
            NAME, f"Switch {cluster.name} over to {to}", {**args, "doubts": doubts}, "cannot be recalled; writes stop for about 10 s"
        ),
        PlannedStep("postgres.settle", f"See that all instances follow {to}", {**args, "followers": followers}),
    )


def _others(facts: PgFacts, to: str, now: datetime) -> Finding:
    """The best candidates."""
    best = candidates(facts, now)
    told = []
    for name in best:
        left = behind(facts, name)
        told.append(f"{name} on {facts.node_of(name) or 'no node'}" + ("" if left is None else f", {left:,} bytes behind"))
    words = f"fit to lead: {'; '.join(told)}" if told else "no instance is fit to lead now"
    return Finding("postgres.candidates", Weight.NOTE, words, address(facts.cluster))


# ------------------------------------------------------------ steps


class SwitchOver(Step):
    """Arguments: `namespace`, `cluster`, `from`, `to`, `doubts` (codes of what the plan could not evaluate).

    Memo: `old`, `timeline`, `system`, `leased` (before); `asked` (when the patch was about to be sent; empty: it was refused) with `before`
    (targetPrimaryTimestamp until then); `proven`, `outcome`, and `outage_ms`, `outage_total_ms`, `pauses` (null: not measured).
    """

    name = NAME

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        facts = await facts_of(planned, ctx)
        return {
            "old": facts.primary,
            "timeline": timeline_of(facts, facts.primary),
            "system": facts.cluster.system_id,
            "leased": leased(facts),
        }

    async def _read(self, planned: PlannedStep, ctx: RunContext) -> PgCluster:
        found: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, planned.args["cluster"], planned.args["namespace"])
        return found

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Before this run began it, the Cluster's word will do; after that only the proof."""
        memo = ctx.memo_of(planned)
        if memo.get("begun"):
            return bool(memo.get("proven"))
        cluster = await self._read(planned, ctx)
        to = str(planned.args["to"])
        return to == cluster.current_primary == cluster.target_primary

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        to = str(planned.args["to"])
        facts = await ctx.patiently(lambda: facts_of(planned, ctx))  # tells where the servers are
        async with measuring(planned, ctx, facts) as outage:
            while not await ctx.patiently(lambda: self._under_way(planned, ctx)):
                await self._order(planned, ctx)
            memo = ctx.memo_of(planned)
            asked = datetime.fromisoformat(memo["asked"]) if memo.get("asked") else ctx.now
            aim = memo_of_aim(memo, planned.args["namespace"], planned.args["cluster"], to, asked)
            timeline = await Following(ctx, aim, self.pace, outage.probe, facts).run()
            told, measured = outage.words(), outage.memo()
        words = f"{to} leads {planned.args['cluster']}, timeline {memo.get('timeline') or '?'} -> {timeline or '?'}; {told}"
        await ctx.remember(proven=True, outcome=words, **measured)
        await ctx.say(words)

    async def _under_way(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Whether the Cluster has the target already. Raises StepFailed when it had, and was put back."""
        memo, args = ctx.memo_of(planned), planned.args
        cluster = await self._read(planned, ctx)
        if args["to"] in (cluster.target_primary, cluster.current_primary):
            if not memo.get("asked"):
                await ctx.say(f"{args['to']} was made the target by somebody else meanwhile")
            return True
        if memo.get("asked") and target_stamp(cluster) != memo.get("before"):
            raise StepFailed(
                f"the switchover was abandoned: targetPrimary was put back to {cluster.target_primary or 'nobody'}",
                detail=f"the operator says {cluster.phase!r}",
                hint=f"see why {args['to']} was not fit: its pod and its log",
            )
        return False

    async def _order(self, planned: PlannedStep, ctx: RunContext) -> None:
        """One patch, sent only if the Cluster is still the one that was judged. Of an unknown outcome the caller looks whether it arrived."""
        args, kube = planned.args, ctx.means.kube
        for _ in range(TRIES):
            raw = await ctx.patiently(lambda: kube.fetch(PG_CLUSTERS, args["cluster"], args["namespace"]))
            facts = await ctx.patiently(lambda: facts_of(planned, ctx))
            _refuse(facts, planned, ctx.now)
            await ctx.ready()
            at = ctx.now
            await ctx.remember(asked=at.isoformat(), before=target_stamp(facts.cluster))
            try:
                await kube.patch(
                    PG_CLUSTERS,
                    args["cluster"],
                    patch_of(raw, args["to"], at),
                    args["namespace"],
                    form=PatchForm.MERGE,
                    subresource="status",
                )
            except Conflict:
                if await ctx.patiently(lambda: self._arrived(planned, ctx, at)):  # noqa: B023 - awaited at once
                    return
                await ctx.remember(asked="")
                await ctx.say("the Cluster changed while it was looked at: nothing was sent, it is judged anew")
                if await ctx.patiently(lambda: self._under_way(planned, ctx)):
                    return
                continue
            except Unauthorized:
                await ctx.remember(asked="")
                raise
            except Unreachable as error:
                await ctx.say(f"whether the switchover was asked for is not known: {trouble_of(error).words}")
                await ctx.sleep(1.0)
                return
            except (Forbidden, Invalid, NotFound, Refused):
                await ctx.remember(asked="")
                raise
            await ctx.say(f"asked for: targetPrimary of {args['cluster']} is {args['to']}")
            return
        raise Refused(f"{args['cluster']} changed each time it was looked at", detail=f"{TRIES} times in a row", hint="plan again")

    async def _arrived(self, planned: PlannedStep, ctx: RunContext, at: datetime) -> bool:
        """Whether the order of that time stands there: the conflict was then with itself, sent twice over a line that broke in between."""
        cluster = await self._read(planned, ctx)
        return cluster.target_primary == planned.args["to"] and target_stamp(cluster) == at.isoformat()

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo = ctx.memo_of(planned)
        if memo.get("proven"):
            return str(memo.get("outcome", ""))
        if not memo.get("asked"):
            return ""
        return f"the switchover of {planned.args['cluster']} to {planned.args['to']} was asked for, and may go on by itself"


def leased(facts: PgFacts) -> bool:
    """Whether instance managers agree by the lease: the operator makes it (since 1.30), and managers that are older leave it alone."""
    return not isinstance(facts.lease, Unknown) and facts.lease.value is not None and bool(facts.lease.value.holder)


def _refuse(facts: PgFacts, planned: PlannedStep, now: datetime) -> None:
    """Raises Refused with what speaks against it now and did not when it was planned."""
    args, doubts = planned.args, set(planned.args.get("doubts") or ())
    if facts.primary != args["from"]:
        raise Refused(f"{facts.primary or 'nobody'} leads now, not {args['from']}", hint="plan again")
    against = [
        f.sentence
        for f in switchover_findings(facts, args["to"], now)
        if f.outlook is Outlook.REFUSED or (f.outlook is Outlook.NOT_EVALUATED and f.code not in doubts)
    ]
    if against:
        raise Refused(f"{args['to']} is not fit to lead any more", detail="; ".join(against), hint="plan again")


def patch_of(raw: Mapping[str, Any], to: str, at: datetime) -> dict[str, Any]:
    """What makes `to` the target of exactly this version of the Cluster. A merge patch replaces lists, so conditions go whole or not at all."""
    stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    status: dict[str, Any] = {
        "targetPrimary": to,
        "targetPrimaryTimestamp": stamp,
        "phase": SWITCHING_OVER,
        "phaseReason": f"Switching over to {to}",
    }
    conditions: Sequence[Mapping[str, Any]] = (raw.get("status") or {}).get("conditions") or ()
    if conditions:
        status["conditions"] = [dict(c) if c.get("type") != "Ready" else not_ready(c, at) for c in conditions]
    return {"metadata": {"resourceVersion": raw["metadata"]["resourceVersion"]}, "status": status}


def not_ready(condition: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    changed = {} if condition.get("status") == "False" else {"lastTransitionTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {**condition, "status": "False", "reason": "ClusterIsNotReady", "message": "Cluster Is Not Ready", **changed}


class Settle(Step):
    """Arguments: `namespace`, `cluster`, `to`, `followers` (instances that were ready before)."""

    name = "postgres.settle"

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return not await self._lacking(planned, ctx)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        began, lacking, warned = ctx.now, "", False
        try:
            while lacking := await ctx.patiently(lambda: self._lacking(planned, ctx)):
                await ctx.waiting(lacking)
                if not warned and (ctx.now - began).total_seconds() > self.pace.warn_s:
                    warned = True
                    await ctx.say(f"after {(ctx.now - began).total_seconds():.0f} s not all follow: {lacking}")
                await ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if ctx.deadline is None or ctx.now < ctx.deadline:
                raise
            hint = "see the log of the instance that does not follow; a diverged one must be re-cloned"
            raise StepFailed(f"not all instances follow {planned.args['to']} in time", detail=lacking, hint=hint) from error
        await ctx.waiting("")
        await ctx.say(await ctx.patiently(lambda: self._outcome(planned, ctx)))

    async def _outcome(self, planned: PlannedStep, ctx: RunContext) -> str:
        args = planned.args
        cluster: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, args["cluster"], args["namespace"])
        phase = "the phase is healthy"
        if cluster.phase != HEALTHY:
            phase = f"the phase stays {cluster.phase!r} while {cluster.ready_instances} of {cluster.instances} instances are ready"
        return f"{', '.join(args['followers']) or 'nobody'} {'stream' if len(args['followers']) > 1 else 'streams'} from {args['to']}, and {phase}"

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        args, kube = planned.args, ctx.means.kube
        cluster: PgCluster = await kube.read(PG_CLUSTERS, args["cluster"], args["namespace"])
        if args["to"] not in (cluster.current_primary, cluster.target_primary):
            raise StepFailed(f"{cluster.current_primary or 'nobody'} leads now, not {args['to']}", hint="coldtui postgres status")
        head = await told_by(kube, args["namespace"], args["to"])
        if isinstance(head, str):
            return head
        return unsettled(cluster, head, args["to"], args["followers"])


def unsettled(cluster: PgCluster, head: ManagerStatus, to: str, followers: Sequence[str]) -> str:
    """What is not as it was before; empty: nothing. The phase counts only where all instances are ready: one that was not ready before keeps the
    operator from its last step, which writes it (cluster_controller.go, reconcilePods)."""
    streams = {s.name for s in head.standbys if s.state == "streaming"}
    missing = [name for name in followers if name not in streams]
    if missing:
        return f"{', '.join(missing)} to stream from {to}"
    if cluster.ready_instances < min(cluster.instances, len(followers) + 1):
        return f"{cluster.ready_instances} of {cluster.instances} instances are ready"
    return f"the phase is {cluster.phase!r}" if cluster.phase != HEALTHY and cluster.ready_instances >= cluster.instances else ""


SWITCHOVER_STEPS: tuple[Step, ...] = (SwitchOver(), Settle())
SWITCHOVER: Operation[Switchover, PgFacts] = Operation(
    name=NAME,
    title="Switch over",
    about="make another PostgreSQL instance the primary, and measure how long writes stop",
    params=Switchover,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_switchover,
    steps=SWITCHOVER_STEPS,
    object=lambda params: f"clusters/{params.cluster}" if params.cluster else f"instances/{params.to}",
)
