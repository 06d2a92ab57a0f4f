"""Fence and unfence: an instance's server is stopped and kept stopped while its pod stays, or started again. By an annotation of the Cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, StepFailed, Unauthorized
from ...domain.kinds import PG_CLUSTERS, PODS
from ...domain.plans import Finding, Outlook, Plan, PlannedStep, Rung, Weight, outlook_of
from ...domain.pods import Pod
from ...domain.postgres import PgCluster, changing
from ...domain.readings import Unknown
from ...domain.values import dataclass
from ...ports import Means
from ..engine import Operation, RunContext, Step
from ..params import param
from .checks import address, confirm_word, standby_row
from .facts import PgFacts, gather_cluster, told_by
from .following import Pace
from .switchover import no_instance

ANNOTATION = "cnpg.io/fencedInstances"
FENCE, UNFENCE = "postgres.fence", "postgres.unfence"
TRIES = 5


@dataclass(frozen=True, slots=True)
class FenceInstance:
    """Stop the server of an instance and keep it stopped; its pod stays."""

    instance: str = param("the instance")
    cluster: str = param("namespace/name of the cluster, the site's if not given", "")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 300, unit="s", least=0)


@dataclass(frozen=True, slots=True)
class UnfenceInstance:
    """Let the server of a fenced instance start again."""

    instance: str = param("the instance")
    cluster: str = param("namespace/name of the cluster, the site's if not given", "")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 300, unit="s", least=0)


async def gather(params: FenceInstance | UnfenceInstance, means: Means, deadline_s: float) -> PgFacts:
    """Raises NotFound for a cluster or an instance that does not exist. The fence of an instance that is gone can be lifted all the same."""
    facts = await gather_cluster(params.cluster, means, deadline_s)
    lifted = facts.cluster.fenced if isinstance(params, UnfenceInstance) else ()
    if params.instance not in (*facts.cluster.instance_names, *lifted):
        raise no_instance(params.instance, facts)
    return facts


# ------------------------------------------------------------ plans


def plan_fence(facts: PgFacts, params: FenceInstance, now: datetime) -> Plan:
    name, c = params.instance, facts.cluster
    frozen = f"until it is unfenced the operator makes no missing pod of {c.name} again"
    findings = (*_common(facts, name), *_of_fence(facts, name), Finding("postgres.fence.frozen", Weight.NOTE, frozen, address(c, name)))
    done = f"{name} is fenced already" if c.is_fenced(name) else ""
    grave = name == facts.primary
    return _plan(FENCE, "Fence", facts, name, findings, done, Rung.DESTRUCTIVE if grave else Rung.DISRUPTIVE)


def plan_unfence(facts: PgFacts, params: UnfenceInstance, now: datetime) -> Plan:
    name, c = params.instance, facts.cluster
    found = list(_common(facts, name))
    if c.all_fenced:
        remedy = f"kubectl annotate cluster {c.name} -n {c.namespace} {ANNOTATION}- lifts all fences at once"
        found.append(_stop(facts, name, "fence.all", f"all instances of {c.name} are fenced by *: none can be let go alone", remedy))
    if name not in c.instance_names:
        words = f"{name} is no instance of {c.name} any more: its entry is taken off, and nothing starts"
        found.append(Finding("postgres.fence.gone", Weight.NOTE, words, address(c)))
    done = "" if c.is_fenced(name) or c.fenced_unreadable else f"{name} is not fenced"
    return _plan(UNFENCE, "Unfence", facts, name, tuple(found), done, Rung.DISRUPTIVE)


def _plan(operation: str, word: str, facts: PgFacts, name: str, findings: tuple[Finding, ...], done: str, rung: Rung) -> Plan:
    c = facts.cluster
    args = {"namespace": c.namespace, "cluster": c.name, "instance": name}
    stops = [f.sentence for f in findings if f.outlook is Outlook.REFUSED]
    return Plan(
        operation=operation,
        title=f"{word} {name}",
        object=address(c, name),
        findings=findings,
        steps=() if done else (PlannedStep(operation, f"{word} {name}", args),),
        locks=("site",),
        rung=rung,
        verb=word.lower(),
        confirm=confirm_word(facts, name),
        premises=facts.premises,
        outlook=outlook_of(findings),
        blocked="" if done else "; ".join(stops),
        needs_reason=True,
        done=done,
    )


def _stop(facts: PgFacts, name: str, code: str, sentence: str, remedy: str = "") -> Finding:
    return Finding(f"postgres.{code}", Weight.STOP, sentence, address(facts.cluster, name), remedy, Outlook.REFUSED)


def _common(facts: PgFacts, name: str) -> Iterator[Finding]:
    c = facts.cluster
    if c.fenced_unreadable:
        sentence = f"what is fenced in {c.name} cannot be told: the annotation is no list ({c.fenced_unreadable})"
        yield _stop(facts, name, "fence.unreadable", sentence, f"mend annotation {ANNOTATION} first")
    if role := changing(c):
        yield _stop(facts, name, "fence.changing", f"a {role} of {c.name} to {c.target_primary} is under way", "wait for its end")
    if c.hibernated:
        yield _stop(facts, name, "fence.hibernated", f"{c.name} is hibernated", "set annotation cnpg.io/hibernation to off first")


def _of_fence(facts: PgFacts, name: str) -> Iterator[Finding]:
    c, where = facts.cluster, address(facts.cluster, name)
    if name == facts.primary:
        sentence = f"{name} is the PRIMARY: writes stop until it is unfenced, and nothing fails over meanwhile"
        yield Finding("postgres.fence.primary", Weight.STOP, sentence, where, f"switch {c.name} over to another instance first")
        return
    row, unread = standby_row(facts, name)
    if unread:
        yield Finding("postgres.fence.unread", Weight.NOTE, f"what hangs on {name}: not evaluated, {unread}", where)
    if row is not None and row.sync_state in ("sync", "quorum"):
        sentence = f"{name} is a synchronous standby: commits may wait while it is stopped"
        yield Finding("postgres.fence.sync", Weight.WARNING, sentence, where, "see spec.postgresql.synchronous")
    if isinstance(facts.pods, Unknown):
        yield Finding(
            "postgres.fence.pods",
            Weight.WARNING,
            f"how many are left: not evaluated, {facts.pods.reason}",
            where,
            outlook=Outlook.NOT_EVALUATED,
        )
        return
    left = [n for n, pod in facts.pods.value.items() if pod.is_ready and n not in (name, facts.primary) and not c.is_fenced(n)]
    if not left:
        sentence = f"no other standby is ready: with {name} fenced nothing can take over from {facts.primary}"
        yield Finding("postgres.fence.last", Weight.WARNING, sentence, where, "mend the others first")
    else:
        yield Finding("postgres.fence.left", Weight.NOTE, f"{', '.join(sorted(left))} can take over from {facts.primary} meanwhile", where)


# ------------------------------------------------------------ steps


class Fencing(Step):
    """Arguments: `namespace`, `cluster`, `instance`. Memo: `asked`, `proven`."""

    def __init__(self, name: str, *, fence: bool, pace: Pace | None = None) -> None:
        self.name, self.fence, self.pace = name, fence, pace or Pace()

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return not await self._lacking(planned, ctx)

    async def _read(self, planned: PlannedStep, ctx: RunContext) -> PgCluster:
        found: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, planned.args["cluster"], planned.args["namespace"])
        return found

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        await ctx.ready()
        await ctx.remember(asked=True)
        try:
            await ctx.patiently(lambda: self._annotate(planned, ctx))
        except (Unauthorized, Forbidden, Invalid, NotFound, Refused):
            await ctx.remember(asked=False)
            raise
        await self._followed(planned, ctx)
        await ctx.waiting("")
        await ctx.remember(proven=True)
        await ctx.say(f"{planned.args['instance']} is {await self._state(planned, ctx)}")

    async def _followed(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Until the world shows it. Raises StepFailed for a fence when the pod stays away: while it is fenced the operator makes none."""
        name, lacking = str(planned.args["instance"]), ""
        podless: float | None = None
        try:
            while lacking := await ctx.patiently(lambda: self._lacking(planned, ctx)):
                now = ctx.means.clock.monotonic()
                podless = None if lacking != self._podless(name) else now if podless is None else podless
                if self.fence and podless is not None and now - podless >= self.pace.answer_s:
                    detail = "it is fenced by the annotation; until that is lifted the operator makes no missing pod again"
                    raise StepFailed(f"{name} has no pod", detail=detail, hint=f"coldtui postgres unfence {name}")
                await ctx.waiting(lacking)
                await ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if ctx.deadline is None or ctx.now < ctx.deadline:
                raise
            raise StepFailed(f"{name} did not follow its annotation in time", detail=lacking, hint=f"see the log of {name}") from error

    def _podless(self, name: str) -> str:
        return f"a pod of {name}, it has none" if self.fence else f"the operator to make {name} again"

    async def _state(self, planned: PlannedStep, ctx: RunContext) -> str:
        if self.fence:
            return "stopped and fenced"
        cluster = await ctx.patiently(lambda: self._read(planned, ctx))
        return "ready again" if planned.args["instance"] in cluster.instance_names else "not fenced any more"

    async def _annotate(self, planned: PlannedStep, ctx: RunContext) -> None:
        """Read, change, write back guarded by the version: another's change of the list is kept."""
        args, name = planned.args, str(planned.args["instance"])
        for _ in range(TRIES):
            raw = await ctx.means.kube.fetch(PG_CLUSTERS, args["cluster"], args["namespace"])
            names = fenced_names(raw)
            if (name in names or "*" in names) is self.fence:
                return
            if "*" in names:
                raise Refused(
                    "all instances are fenced by *: none can be let go alone", hint=f"lift all fences: remove annotation {ANNOTATION}"
                )
            body = annotation_of(raw, [*names, name] if self.fence else [n for n in names if n != name])
            try:
                await ctx.means.kube.patch(PG_CLUSTERS, args["cluster"], body, args["namespace"])
            except Conflict:
                continue
            return
        raise Refused(f"{args['cluster']} changed each time it was looked at", detail=f"{TRIES} times in a row", hint="try again")

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        """What the world does not show yet; empty: nothing."""
        args, kube, name = planned.args, ctx.means.kube, str(planned.args["instance"])
        cluster = await self._read(planned, ctx)
        if cluster.is_fenced(name) is not self.fence:
            return f"{name} is {'not ' if self.fence else ''}fenced by the Cluster's annotation"
        if not self.fence and name not in cluster.instance_names:
            return ""
        try:
            pod: Pod = await kube.read(PODS, name, args["namespace"])
        except NotFound:
            return self._podless(name)
        status = await told_by(kube, args["namespace"], name)
        if isinstance(status, str):
            return status
        if self.fence:
            return "" if status.might_be_unavailable and not pod.is_ready else f"{name} to stop its server"
        return "" if not status.might_be_unavailable and pod.is_ready else f"{name} to be ready"

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, name = ctx.memo_of(planned), planned.args["instance"]
        if not memo.get("asked") or memo.get("proven"):
            return ""
        return f"{name} may be fenced: coldtui postgres unfence {name}" if self.fence else f"the fence of {name} may be lifted"


def fenced_names(raw: Any) -> list[str]:
    """The annotation's list. Raises Refused where it is none: to write it anew would lift fences that nobody can read."""
    text = (raw["metadata"].get("annotations") or {}).get(ANNOTATION) or "[]"
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    found = [] if found is None else found  # null is an empty list to the operator
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise Refused("what is fenced cannot be told", detail=f"{ANNOTATION} is no list", hint="mend the annotation first")
    return found


def annotation_of(raw: Any, names: list[str]) -> dict[str, Any]:
    """A merge patch of exactly the version that was read; an empty list takes the annotation off."""
    value = json.dumps(sorted(dict.fromkeys(names))) if names else None
    return {"metadata": {"resourceVersion": raw["metadata"]["resourceVersion"], "annotations": {ANNOTATION: value}}}


FENCE_INSTANCE: Operation[FenceInstance, PgFacts] = Operation(
    name=FENCE,
    title="Fence instance",
    about="stop the server of a PostgreSQL instance and keep it stopped; its pod and its data stay",
    params=FenceInstance,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_fence,
    steps=(Fencing(FENCE, fence=True),),
    object=lambda params: f"instances/{params.instance}",
)
UNFENCE_INSTANCE: Operation[UnfenceInstance, PgFacts] = Operation(
    name=UNFENCE,
    title="Unfence instance",
    about="let the server of a fenced PostgreSQL instance start again",
    params=UnfenceInstance,
    rung=Rung.DISRUPTIVE,
    gather=gather,
    plan=plan_unfence,
    steps=(Fencing(UNFENCE, fence=False),),
    object=lambda params: f"instances/{params.instance}",
)
