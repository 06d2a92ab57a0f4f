"""Restart the primary in place, as `kubectl cnpg restart CLUSTER INSTANCE` does: its instance manager restarts the server by itself when the Cluster
says so, nobody else leads meanwhile, and how long writes stopped is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from ...domain.errors import ColdError, StepFailed
from ...domain.kinds import PG_CLUSTERS
from ...domain.plans import Finding, PlannedStep
from ...domain.postgres import HEALTHY, PgCluster, changing
from ...domain.readings import Unknown
from ...domain.text import counted
from ..engine import RunContext, Step
from .checks import LONG_TRANSACTION, READY_WAL, RUNNING_BACKUP, Judge, candidates, timeline_of
from .facts import INSTANCE_S, told_by
from .following import Pace
from .hibernation_steps import no_write, unseen_words
from .measuring import measuring
from .ordering import facts_of, order, waited
from .probe import WriteProbe
from .switchover import not_ready

NAME = "postgres.restart-primary"
PHASE = "Primary instance is being restarted in-place"
WAITING = "Waiting for the instances to become active"


# ------------------------------------------------------------ findings


def primary_findings(j: Judge) -> Iterator[Finding]:
    yield from against(j)
    yield from _of_outage(j)
    yield from _of_work(j)


def against(j: Judge) -> Iterator[Finding]:
    """What forbids it. The run asks the same again before it acts."""
    c, name = j.cluster, j.target
    if role := changing(c):
        yield j.stop(
            "restart.changing", f"a {role} of {c.name} to {c.target_primary} is under way: {name} would refuse", "wait for its end"
        )
    elif c.phase == PHASE:
        yield j.stop("restart.already", f"{name} is being restarted already", "wait for its end", name)
    elif c.phase not in (HEALTHY, WAITING):
        yield j.stop("restart.phase", f"{c.name} is busy: {c.phase or 'no phase'}; its phase would be written over", "wait for its end")
    if c.hibernated:
        yield j.stop("restart.hibernated", f"{c.name} is hibernated", f"coldtui postgres wake {c.name}")
    if c.fenced_unreadable or c.is_fenced(name):
        yield j.stop(
            "restart.fenced", f"{name} is fenced: its manager does not look at the phase", "lift the fence, which restarts it", name
        )
    if c.replica_cluster:
        yield j.stop(
            "restart.replica-cluster", f"{c.name} follows another cluster: no write can prove the end", "restart it by its operator"
        )
    yield from _of_manager(j)


def _of_manager(j: Judge) -> Iterator[Finding]:
    """It is the one that acts: where it does not hear of it, the phase would stand there and nothing fail over."""
    facts, name = j.facts, j.target
    pod, found = facts.pod(name), facts.managers.get(name)
    if isinstance(facts.pods, Unknown):
        yield j.blind("restart.pods-unread", f"the pod of {name}", facts.pods.reason, name)
    elif pod is None or pod.deleted is not None:
        yield j.stop("restart.no-pod", f"{name} has no pod that stays: nobody would restart its server", "see why", name)
        return
    node = None if isinstance(facts.nodes, Unknown) or pod is None else facts.nodes.value.get(pod.node)
    if node is not None and node.ready != "True":
        sentence = f"{node.name}, the node of {name}, is {node.status.partition(',')[0]}: its manager does not hear of it"
        yield j.stop("restart.node", sentence, "fail over instead", name)
    if found is None or isinstance(found, Unknown):
        reason = found.reason if isinstance(found, Unknown) else "not asked"
        yield j.blind("restart.manager-unread", f"whether the manager of {name} would act", f"/pg/status: {reason}", name)
    elif not found.value.is_primary:
        yield j.stop("restart.no-primary", f"{name} is named primary and says that it is none", "coldtui postgres status", name)
    if facts.status(name) is None:
        yield j.blind("restart.started-unread", f"when {name} was started, by which the end is proven", "SQL does not answer", name)


def _of_outage(j: Judge) -> Iterator[Finding]:
    facts, c, name = j.facts, j.cluster, j.target
    best = candidates(facts, j.now)
    gentler = f"switch over to {best[0]} first, then restart {name} as a standby" if best else ""
    yield j.warn("restart.primary", f"{name} is the PRIMARY: nobody takes writes until it is back", gentler, name)
    smart = c.smart_shutdown_s if c.smart_shutdown_s < c.stop_delay_s else 0
    status = facts.status(name)
    if status is None:
        yield j.note("restart.clients-unread", f"how many clients {name} has: not evaluated, SQL does not answer")
    elif status.connections:
        wait = f"; for up to {smart:,} s it lets them end and takes no new ones (spec.smartShutdownTimeout)" if smart else ""
        yield j.warn(
            "restart.clients", f"{counted(status.connections, 'connection')} to {name} will break{wait}", "close what can be closed", name
        )
    if isinstance(facts.sessions, Unknown):
        yield j.note("restart.sessions-unread", f"which transactions would be cut: not evaluated, {facts.sessions.reason}")
        return
    ages = [j.now - s.transaction_at for s in facts.sessions.value if s.transaction_at is not None]
    if long := [age for age in ages if age > LONG_TRANSACTION]:
        oldest = int(max(long).total_seconds())
        sentence = f"{counted(len(long), 'transaction')} open for longer than {LONG_TRANSACTION.seconds} s will be cut, the oldest after {oldest:,} s"
        yield j.warn("restart.transactions", sentence, "let them end first: coldtui postgres sessions")


def _of_work(j: Judge) -> Iterator[Finding]:
    facts, c, name = j.facts, j.cluster, j.target
    if isinstance(facts.backups, Unknown):
        yield j.blind("restart.backups-unread", "whether a backup runs", facts.backups.reason)
    else:
        for backup in (b for b in facts.backups.value if b.cluster == c.name and b.phase in RUNNING_BACKUP):
            yield j.warn("restart.backup", f"backup {backup.name} is {backup.phase or 'pending'} and breaks off", "wait for its end")
    head = facts.manager(name)
    if head is not None and (head.ready_wal or 0) > READY_WAL:
        sentence = (
            f"{head.ready_wal} WAL segments wait for the archive: the shutdown waits for them, up to {c.stop_delay_s:,} s (spec.stopDelay)"
        )
        yield j.warn("restart.archive", sentence, "mend the archive first", name)
    operator = facts.operator
    if c.reconciliation_disabled:
        yield j.warn(
            "restart.no-operator",
            f"the operator ignores {c.name}: if {name} does not come back, nothing fails over",
            "let it look again first",
        )
    elif isinstance(operator, Unknown) or operator.value is None or operator.value.available < 1:
        yield j.warn(
            "restart.no-operator", f"no operator is seen to run: if {name} does not come back, nothing fails over", "bring it back first"
        )
    if not isinstance(facts.pods, Unknown) and not [
        n for n, p in facts.pods.value.items() if p.is_ready and n != name and not c.is_fenced(n)
    ]:
        yield j.warn(
            "restart.last", f"no standby is ready: if {name} does not come back, nothing can take over", "mend the others first", name
        )


# ------------------------------------------------------------ step


class RestartPrimary(Step):
    """Arguments: `namespace`, `cluster`, `instance`, `followers` (standbys that streamed), `doubts`.

    Memo: `started` (pg_postmaster_start_time before; empty: not told), `timeline`; `asked`; `seen` (the phase was there); `proven`, `outcome`,
    `unseen` (why no write was seen), and `outage_ms`, `outage_total_ms`, `pauses` (null: not measured).
    """

    name = NAME

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        facts = await facts_of(planned, ctx)
        status = facts.status(str(planned.args["instance"]))
        return {"started": status.started.isoformat() if status is not None else "", "timeline": timeline_of(facts, facts.primary)}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Only a start that came after our own order counts."""
        memo = ctx.memo_of(planned)
        return bool(memo.get("proven")) or (
            bool(memo.get("asked")) and await self._began(planned, ctx) and not await self._lacking(planned, ctx)
        )

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        name = str(planned.args["instance"])
        facts = await ctx.patiently(lambda: facts_of(planned, ctx))  # tells where the servers are
        async with measuring(planned, ctx, facts) as outage:
            while not await ctx.patiently(lambda: self._began(planned, ctx)):
                await order(
                    planned,
                    ctx,
                    judge=lambda facts: against(Judge(facts, name, ctx.now)),
                    body=lambda raw: patch_of(raw, ctx.now),
                    subresource="status",
                )
            await waited(ctx, lambda: self._lacking(planned, ctx), look_s=self.pace.look_s, late=lambda left: self._late(name, left))
            await self._accepted(outage.probe, ctx)
            told, measured = outage.words(), outage.memo()
        outcome = "; ".join(part for part in (self._done_words(planned, ctx), told, unseen_words(ctx.memo_of(planned))) if part)
        await ctx.remember(proven=True, outcome=outcome, **measured)
        await ctx.say(outcome)

    def _done_words(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, name = ctx.memo_of(planned), planned.args["instance"]
        line = f"timeline {memo.get('timeline') or '?'}"
        if memo.get("started"):
            return f"{name} was restarted and leads as before, {line}"
        return f"{name} was told to restart and leads, {line}; that its server is a new one was not seen: SQL did not answer before"

    async def _accepted(self, probe: WriteProbe | None, ctx: RunContext) -> None:
        """The probe's own next write: it ends the outage that is measured."""
        moment = ctx.means.clock.monotonic()
        while probe is not None and not probe.barred and not probe.accepted_since(moment):
            await ctx.waiting(f"a write to be accepted through {probe.target}")
            await ctx.sleep(self.pace.look_s)
        await ctx.waiting("")

    def _late(self, name: str, left: str) -> StepFailed:
        hint = f"see the log of {name}; the operator elects nobody else as long as its manager answers (mightBeUnavailable)"
        return StepFailed(f"{name} was not back in time", detail=left, hint=hint)

    async def _read(self, planned: PlannedStep, ctx: RunContext) -> PgCluster:
        """Raises StepFailed where another instance leads meanwhile."""
        args = planned.args
        cluster: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, args["cluster"], args["namespace"])
        if {cluster.current_primary, cluster.target_primary} != {args["instance"]}:
            leads = cluster.target_primary or "nobody"
            raise StepFailed(f"{args['instance']} is not the primary any more: {leads} is to lead", hint="look at coldtui postgres status")
        return cluster

    async def _began(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Whether our order arrived: the phase is there, or the server is a new one. Raises StepFailed where that cannot be told."""
        memo = ctx.memo_of(planned)
        cluster = await self._read(planned, ctx)
        if not memo.get("asked"):
            return False
        if cluster.phase == PHASE:
            if not memo.get("seen"):
                await ctx.remember(seen=True)
            return True
        if memo.get("seen"):
            return True
        if not memo.get("started") and memo.get("sent"):
            return True  # it was there; that it is gone is all that can be seen
        if not memo.get("started"):
            raise StepFailed(
                "whether it was restarted cannot be told: the phase is gone", hint="see the log of the instance, then plan again"
            )
        started = await self._started(planned, ctx)
        return started is not None and started > datetime.fromisoformat(memo["started"])

    async def _started(self, planned: PlannedStep, ctx: RunContext) -> datetime | None:
        if ctx.means.database is None:
            return None
        try:
            status = await ctx.means.database.status(planned.args["instance"], deadline_s=INSTANCE_S)
        except ColdError:
            return None
        return status.started

    async def _lacking(self, planned: PlannedStep, ctx: RunContext) -> str:
        args, memo, name = planned.args, ctx.memo_of(planned), str(planned.args["instance"])
        cluster = await self._read(planned, ctx)
        if cluster.phase == PHASE:
            return f"{name} to be restarted"
        if memo.get("started"):
            started = await self._started(planned, ctx)
            if started is None:
                return f"{name} to answer over SQL"
            if started <= datetime.fromisoformat(memo["started"]):
                return f"{name} to be restarted: the phase is {cluster.phase!r}, and its server is the old one"
        head = await told_by(ctx.means.kube, args["namespace"], name)
        if isinstance(head, str):
            return head
        if not head.is_primary:
            return f"{name} says that it is no primary"
        if memo.get("timeline") and head.timeline and head.timeline != memo["timeline"]:
            raise StepFailed(
                f"{name} is on timeline {head.timeline}", detail=f"it was {memo['timeline']} before", hint="coldtui postgres status"
            )
        streams = {row.name for row in head.standbys if row.state == "streaming"}
        if absent := [n for n in args["followers"] if n not in streams]:
            return f"{', '.join(absent)} to stream from {name}"
        return await no_write(planned, ctx)

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo, name = ctx.memo_of(planned), planned.args["instance"]
        if memo.get("proven"):
            return str(memo.get("outcome", ""))
        return f"the restart of {name} was asked for, and may go on by itself" if memo.get("asked") else ""


def patch_of(raw: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The phase at which the instance manager of the primary restarts its server. A merge patch replaces lists: conditions go whole."""
    status: dict[str, Any] = {"phase": PHASE, "phaseReason": "Requested by the user"}
    conditions = (raw.get("status") or {}).get("conditions") or ()
    if conditions:
        status["conditions"] = [dict(c) if c.get("type") != "Ready" else not_ready(c, at) for c in conditions]
    return {"metadata": {"resourceVersion": raw["metadata"]["resourceVersion"]}, "status": status}
