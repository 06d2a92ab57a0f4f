"""Restart an instance. A standby: its pod is deleted, the operator makes it again on the same data, and it is seen to stream. The primary: in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, StepFailed, Unauthorized
from ...domain.kinds import PG_CLUSTERS, PODS
from ...domain.plans import Finding, Outlook, Plan, PlannedStep, Rung, outlook_of
from ...domain.pods import Pod
from ...domain.postgres import PgCluster, changing
from ...domain.readings import Unknown
from ...domain.text import counted
from ...domain.values import dataclass
from ...ports import Means
from ..engine import Operation, RunContext, Step
from ..params import param
from .checks import RUNNING_BACKUP, Judge, address, confirm_word, of_remaking, standby_row
from .facts import PgFacts, gather_cluster, told_by
from .following import Pace
from .ordering import doubts_of
from .restarting_primary import RestartPrimary, primary_findings
from .switchover import no_instance

NAME = "postgres.restart-instance"


@dataclass(frozen=True, slots=True)
class RestartInstance:
    """Restart an instance, on its data."""

    instance: str = param("the instance")
    cluster: str = param("namespace/name of the cluster, the site's if not given", "")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 600, unit="s", least=0)


async def gather(params: RestartInstance, means: Means, deadline_s: float) -> PgFacts:
    """Raises NotFound for a cluster or an instance that does not exist."""
    facts = await gather_cluster(params.cluster, means, deadline_s)
    if params.instance not in facts.cluster.instance_names:
        raise no_instance(params.instance, facts)
    return facts


def plan_restart(facts: PgFacts, params: RestartInstance, now: datetime) -> Plan:
    name, c = params.instance, facts.cluster
    judge = Judge(facts, name, now)
    if name == facts.primary:
        findings: tuple[Finding, ...] = tuple(primary_findings(judge))
        step = _step_of_primary(facts, findings)
    else:
        findings = (*_of_cluster(judge), *of_remaking(judge, "restart"), *_of_pod(judge), *_of_use(judge))
        args = {"namespace": c.namespace, "cluster": c.name, "instance": name, "primary": facts.primary}
        step = PlannedStep(NAME, f"Restart {name}", args, "cannot be recalled")
    stops = [f.sentence for f in findings if f.outlook is Outlook.REFUSED]
    return Plan(
        operation=NAME,
        title=f"Restart {name}",
        object=address(c, name),
        findings=findings,
        steps=(step,),
        locks=("site",),
        rung=Rung.DISRUPTIVE,
        verb="restart",
        confirm=confirm_word(facts, name),
        premises=facts.premises,
        outlook=outlook_of(findings),
        blocked="; ".join(stops),
        needs_reason=True,
    )


def _step_of_primary(facts: PgFacts, findings: tuple[Finding, ...]) -> PlannedStep:
    c, head = facts.cluster, facts.manager(facts.primary)
    rows = head.standbys if head is not None else ()
    followers = sorted(row.name for row in rows if row.state == "streaming" and row.name in c.instance_names)
    args = {"namespace": c.namespace, "cluster": c.name, "instance": facts.primary, "followers": followers, "doubts": doubts_of(findings)}
    return PlannedStep(RestartPrimary.name, f"Restart {facts.primary} in place", args, "cannot be recalled; writes stop meanwhile")


def _of_cluster(j: Judge) -> Iterator[Finding]:
    c, facts = j.cluster, j.facts
    if role := changing(c):
        yield j.stop("restart.changing", f"a {role} of {c.name} to {c.target_primary} is under way", "wait for its end")
    if c.reconciliation_disabled or c.hibernated:
        why = "is hibernated" if c.hibernated else "is ignored by the operator"
        yield j.stop("restart.unmade", f"{c.name} {why}: nobody would make the pod again", "lift that first")
    if c.is_fenced(j.target):
        yield j.stop("restart.fenced", f"{j.target} is fenced: it would not start", "lift the fence, which restarts it", j.target)
    operator = facts.operator
    if isinstance(operator, Unknown):
        yield j.blind("restart.operator-unread", "whether the operator makes the pod again", operator.reason)
    elif operator.value is None or operator.value.available < 1:
        yield j.stop("restart.operator", "the operator is down: nobody would make the pod again", "bring it back first")


def _of_pod(j: Judge) -> Iterator[Finding]:
    facts, name = j.facts, j.target
    if isinstance(facts.pods, Unknown):
        yield j.blind("restart.pods-unread", f"the pod of {name}", facts.pods.reason, name)
        return
    pod = facts.pods.value.get(name)
    if pod is None:
        yield j.stop("restart.no-pod", f"{name} has no pod", "see why the operator does not make it", name)
        return
    yield j.note("restart.grace", f"{name} has up to {pod.grace_s:,} s to stop")
    node = None if isinstance(facts.nodes, Unknown) else facts.nodes.value.get(pod.node)
    if node is not None and (node.unschedulable or node.ready != "True"):
        state = node.status.partition(",")[0] if node.ready != "True" else "cordoned"
        yield j.warn("restart.node", f"{pod.node} is {state}: the new pod must find another node", "uncordon it first", name)
    left = [n for n, p in facts.pods.value.items() if p.is_ready and n not in (name, facts.primary) and not j.cluster.is_fenced(n)]
    if not left:
        sentence = f"no other standby is ready: meanwhile nothing can take over from {facts.primary}"
        yield j.warn("restart.last", sentence, "mend the others first", name)


def _of_use(j: Judge) -> Iterator[Finding]:
    facts, name = j.facts, j.target
    row, _ = standby_row(facts, name)
    if row is not None and row.sync_state in ("sync", "quorum"):
        yield j.warn(
            "restart.sync", f"{name} is a synchronous standby: commits may wait while it is away", "see spec.postgresql.synchronous", name
        )
    status = facts.status(name)
    if status is None:
        yield j.note("restart.clients-unread", f"how many clients {name} has: not evaluated, SQL does not answer")
    elif status.connections:
        yield j.note("restart.clients", f"{counted(status.connections, 'connection')} to {name} will break")
    backups = () if isinstance(facts.backups, Unknown) else facts.backups.value
    for backup in backups:
        if backup.cluster == j.cluster.name and backup.instance == name and backup.phase in RUNNING_BACKUP:
            yield j.warn("restart.backup", f"backup {backup.name} runs on {name} and breaks off", "wait for its end", name)
    if isinstance(facts.backups, Unknown):
        yield j.blind("restart.backups-unread", f"whether a backup runs on {name}", facts.backups.reason, name)


class Restart(Step):
    """Arguments: `namespace`, `cluster`, `instance`, `primary`. Memo: `uid` (of the pod before), `asked`, `proven`."""

    name = NAME

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        pod: Pod = await ctx.means.kube.read(PODS, planned.args["instance"], planned.args["namespace"])
        return {"uid": pod.uid}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Only a pod that came after our own order counts."""
        memo = ctx.memo_of(planned)
        return bool(memo.get("asked")) and not await self._lacking(planned, ctx)

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        name, lacking = str(planned.args["instance"]), ""
        await ctx.patiently(lambda: self._delete(planned, ctx))
        try:
            while lacking := await ctx.patiently(lambda: self._lacking(planned, ctx)):
                await ctx.waiting(lacking)
                await ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if ctx.deadline is None or ctx.now < ctx.deadline:
                raise
            raise StepFailed(f"{name} did not come back in time", detail=lacking, hint=f"see the pod and the log of {name}") from error
        await ctx.waiting("")
        await ctx.remember(proven=True)
        await ctx.say(f"{name} was made again and streams")

    async def _delete(self, planned: PlannedStep, ctx: RunContext) -> None:
        """One pass, of the pod that was there before and no other: while the runner or the API was away it may have been elected, and is looked at again.
        Raises StepFailed where it is to stay."""
        args, memo = planned.args, ctx.memo_of(planned)
        try:
            pod: Pod = await ctx.means.kube.read(PODS, args["instance"], args["namespace"])
        except NotFound:
            return
        if pod.uid != memo["uid"] or pod.deleted is not None:
            return
        await ctx.ready()
        try:
            await self._still_standby(planned, ctx)
        except (StepFailed, NotFound):
            await ctx.remember(asked=False)  # the pod that was read was not deleted by an earlier try either
            raise
        await ctx.remember(asked=True)
        try:
            await ctx.means.kube.delete(PODS, args["instance"], args["namespace"], uid=pod.uid)
        except (Conflict, NotFound):  # gone already, maybe by an earlier try of ours
            await ctx.remember(asked=bool(memo.get("asked")))
        except (Unauthorized, Forbidden, Invalid, Refused):
            await ctx.remember(asked=False)
            raise

    async def _still_standby(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Raises StepFailed where the Cluster needs every standby it has, or this one leads: an election may be about to choose it."""
        args = planned.args
        cluster: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, args["cluster"], args["namespace"])
        if role := changing(cluster):
            raise StepFailed(
                f"a {role} of {cluster.name} to {cluster.target_primary} is under way", hint="wait for its end, then plan again"
            )
        if args["instance"] in (cluster.current_primary, cluster.target_primary):
            raise StepFailed(f"{args['instance']} leads now, or is about to", hint="plan again")

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        args, kube, name = planned.args, ctx.means.kube, str(planned.args["instance"])
        try:
            pod: Pod = await kube.read(PODS, name, args["namespace"])
        except NotFound:
            return f"the operator to make {name} again"
        if pod.uid == ctx.memo_of(planned).get("uid"):
            return f"{name} to stop"
        if not pod.is_ready:
            return f"{name} to be ready, it is {pod.state}"
        cluster: PgCluster = await kube.read(PG_CLUSTERS, args["cluster"], args["namespace"])
        if cluster.current_primary == name:
            return ""
        head = await told_by(kube, args["namespace"], cluster.current_primary)
        if isinstance(head, str):
            return head
        streams = any(row.name == name and row.state == "streaming" for row in head.standbys)
        return "" if streams else f"{name} to stream from {cluster.current_primary}"

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo = ctx.memo_of(planned)
        if not memo.get("asked") or memo.get("proven"):
            return ""
        return f"the pod of {planned.args['instance']} was deleted, and it was not seen to stream again"


RESTART_INSTANCE: Operation[RestartInstance, PgFacts] = Operation(
    name=NAME,
    title="Restart instance",
    about="restart a PostgreSQL instance on its data; the primary in place, with writes stopped meanwhile",
    params=RestartInstance,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_restart,
    steps=(Restart(), RestartPrimary()),
    object=lambda params: f"instances/{params.instance}",
)
