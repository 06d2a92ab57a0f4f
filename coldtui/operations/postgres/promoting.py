"""Another instance takes the place of a lost primary: named by hand, or elected by the operator and only followed. An election that goes elsewhere is
followed and said, never fought."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ...domain.errors import ColdError, Conflict, Forbidden, Invalid, NotFound, Refused, StepFailed, Unauthorized, Unreachable
from ...domain.failover import PENDING, prospect
from ...domain.kinds import PG_CLUSTERS, PODS
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.replication import ManagerStatus, lsn_text
from ...domain.text import counted
from ...domain.troubles import trouble_of
from ...ports import HeldLease, PatchForm
from ..engine import RunContext, Step
from ..host_steps import kept
from .facts import INSTANCE_S, VIP, WRITES, gather_cluster
from .failover_facts import gather_failover, received
from .failover_findings import PATCH, Asked, Case, unfit
from .following import _or_none
from .probe import WriteProbe
from .stopping import GATHER_S, FailoverPace, facts_of, well_again
from .switchover import patch_of

TRIES = 3


@dataclass(frozen=True)
class Promoted:
    """Who leads, and how it came."""

    name: str
    timeline: int | None
    began: int | None
    """Where its WAL was when it was first seen as primary: not before the new timeline begins."""
    returned: bool
    """The old primary came back by itself: nobody was promoted."""


@dataclass(frozen=True)
class Look:
    """One look at everything, None: not told."""

    cluster: PgCluster
    lease: HeldLease | None
    lease_read: bool
    old_pod: Pod | None
    managers: Mapping[str, ManagerStatus | None]


@dataclass
class Electing:
    """Until one instance leads by its own word, the Cluster's and the Lease's."""

    planned: PlannedStep
    ctx: RunContext
    pace: FailoverPace
    began: datetime
    told: set[str] = field(default_factory=set)
    received: dict[str, int] = field(default_factory=dict)
    """What each had received when it was last seen as a standby."""

    @property
    def old(self) -> str:
        return str(self.planned.args["from"])

    async def run(self) -> Promoted:
        """Raises StepFailed when it was given up, or is out of time."""
        lacking, warned, next_cause = "", False, self.pace.cause_s
        try:
            while True:
                look = await self.ctx.patiently(self._look)
                await self._tell(look)
                self._put_back(look)
                found, lacking = self._found(look)
                if found is not None:
                    await self.ctx.waiting("")
                    return found
                await self.ctx.waiting(lacking)
                if not warned and self._elapsed() > self.pace.warn_s:
                    warned = True
                    await self.ctx.say(f"after {self._elapsed():.0f} s nobody leads: {lacking}; {await self._causes()}")
                if self._elapsed() > next_cause:
                    next_cause += self.pace.cause_s
                    await self.ctx.say(f"it hangs: {await self._causes()}")
                await self.ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if self.ctx.deadline is None or self.ctx.now < self.ctx.deadline:
                raise
            title = f"nobody took the place of {self.old} in time"
            hint = "plan the failover again: it shows which way is open now"
            raise StepFailed(title, detail=f"{lacking}; {await self._causes()}", hint=hint) from error

    def _elapsed(self) -> float:
        return (self.ctx.now - self.began).total_seconds()

    async def _look(self) -> Look:
        kube, args, s = self.ctx.means.kube, self.planned.args, self.pace.answer_s
        space, name = args["namespace"], args["cluster"]
        cluster: PgCluster = await kube.read(PG_CLUSTERS, name, space, deadline_s=s)
        names = cluster.instance_names
        (lease, told), pod, *managers = await asyncio.gather(
            self._lease(space, name, s),
            _or_none(kube.read(PODS, self.old, space, deadline_s=s)),
            *(_or_none(kube.pg_status(space, one, deadline_s=INSTANCE_S)) for one in names),
        )
        return Look(cluster, lease, told, pod, dict(zip(names, managers, strict=True)))

    async def _lease(self, namespace: str, name: str, deadline_s: float) -> tuple[HeldLease | None, bool]:
        try:
            return await self.ctx.means.kube.lease(namespace, name, deadline_s=deadline_s), True
        except Unauthorized:
            raise
        except ColdError:
            return None, False

    # --- telling

    async def _stage(self, name: str, text: str) -> None:
        if name not in self.told:
            self.told.add(name)
            await self.ctx.say(f"{self._elapsed():.1f} s: {text}")

    async def _tell(self, look: Look) -> None:
        c, to = look.cluster, self.planned.args["to"]
        if c.target_primary == PENDING:
            await self._stage("pending", "the operator has begun a failover: targetPrimary is pending")
        elif c.target_primary not in ("", self.old):
            by = "" if c.target_primary == to else f", not {to}: the operator chose it, and it is followed"
            await self._stage(f"target {c.target_primary}", f"{c.target_primary} is to lead{by}")
        if look.lease is not None and not look.lease.holder:
            await self._stage("released", "the lease is free")
        if look.lease is not None and look.lease.holder not in ("", self.old):
            await self._stage(f"taken {look.lease.holder}", f"{look.lease.holder} holds the lease")
        for name, manager in look.managers.items():
            if manager is None:
                continue
            if manager.is_primary and name != self.old:
                await self._stage(f"promoted {name}", f"{name} says that it is the primary, on timeline {manager.timeline or '?'}")
            elif not manager.is_primary and manager.received is not None:
                self.received[name] = manager.received
        if c.current_primary != self.old:
            await self._stage(f"current {c.current_primary}", f"currentPrimary is {c.current_primary}")

    # --- the end

    def _put_back(self, look: Look) -> None:
        """Raises StepFailed when what this run wrote was taken back."""
        c, args = look.cluster, self.planned.args
        memo = self.ctx.memo_of(self.planned)
        if not memo.get("asked") or c.target_primary != self.old or c.current_primary != self.old:
            return
        why = f"{c.phase}: {c.phase_reason}" if c.phase_reason else c.phase
        raise StepFailed(
            f"the failover was abandoned: targetPrimary was put back to {self.old}",
            detail=f"the operator says {why!r}",
            hint=f"see why {args['to']} was not fit: its pod and its log",
        )

    def _found(self, look: Look) -> tuple[Promoted | None, str]:
        """(who leads, what is lacking)."""
        c, args = look.cluster, self.planned.args
        if c.current_primary == self.old:
            return self._still_old(look)
        name, line = c.current_primary, args.get("timeline")
        if c.target_primary != name:
            return None, f"{c.target_primary or 'nobody'} to lead, {name} does"
        if look.lease is not None and look.lease.holder != name:
            return None, f"{name} to take the lease, it is held by {look.lease.holder or 'nobody'}"
        manager = look.managers.get(name)
        if manager is None:
            return None, f"{name} to answer at /pg/status"
        if not manager.is_primary:
            return None, f"{name} to say that it is the primary"
        if line is not None and manager.timeline is not None and manager.timeline > line + 1:
            detail = f"{name} is on timeline {manager.timeline}, and {self.old} was on {line}"
            raise StepFailed("more than one promotion took place", detail=detail, hint="look at coldtui postgres status")
        if line is not None and manager.timeline != line + 1:
            return None, f"{name} to be on timeline {line + 1}, it is on {manager.timeline or '?'}"
        return Promoted(name, manager.timeline, manager.current, returned=False), ""

    def _still_old(self, look: Look) -> tuple[Promoted | None, str]:
        c, own = look.cluster, look.managers.get(self.old)
        asked = self.ctx.memo_of(self.planned).get("asked")
        up = look.old_pod is not None and look.old_pod.is_ready and look.old_pod.deleted is None
        if not asked and c.target_primary == self.old and up and own is not None and own.is_primary and not own.might_be_unavailable:
            return Promoted(self.old, own.timeline, own.current, returned=True), ""
        return None, self._holds(look)

    def _holds(self, look: Look) -> str:
        """Who has not done their part."""
        target = look.cluster.target_primary
        if target in ("", self.old):
            return f"the operator to begin a failover from {self.old}"
        active = [name for name, m in look.managers.items() if m is not None and not m.is_primary and m.receiver_active]
        if target == PENDING:
            return f"the operator to elect one{f': the WAL receiver of {active[0]} still runs' if active else ''}"
        if look.lease is not None and look.lease.holder == self.old:
            return f"the lease of {self.old} to run out"
        if target in active:
            return f"the WAL receiver of {target} to stop"
        return f"{target} to become the primary"

    async def _causes(self) -> str:
        """The causes of the operator's silence, as they are now."""
        try:
            facts = await gather_failover(f"{self.planned.args['namespace']}/{self.planned.args['cluster']}", self.ctx.means, 6.0)
        except ColdError as error:
            return f"what holds it is not known: {trouble_of(error).words}"
        found = prospect(facts.signs(self.ctx.now)).causes
        return "; ".join(cause.sentence for cause in found) or "no cause is to be seen from here: look at the operator's log"


class Promote(Step):
    """Arguments: those of the failover. `by_hand`: the target is written by us; else it is the operator's election that is followed.

    Memo: `received` (what each replica had before), `version` (of the Cluster); `asked` (when the patch was about to be sent; empty: it was refused) with
    `before` (targetPrimaryTimestamp until then); `leads`, `line`, `switch`, `switch_source`, `since` (when it was asked for), `returned`, `outage_ms`, `outcome`, `proven`.
    """

    name = "postgres.promote"

    def __init__(self, pace: FailoverPace | None = None) -> None:
        self.pace = pace or FailoverPace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        """Recorded before anything is promoted: the only account of what each had."""
        facts = await gather_cluster(f"{planned.args['namespace']}/{planned.args['cluster']}", ctx.means, GATHER_S)
        has = {name: got for name in facts.cluster.instance_names if (got := received(facts, name)) is not None}
        raw = await ctx.means.kube.fetch(PG_CLUSTERS, planned.args["cluster"], planned.args["namespace"])
        return {"received": has, "version": str(raw["metadata"]["resourceVersion"]), "target": facts.cluster.target_primary}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return bool(ctx.memo_of(planned).get("proven"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        again = bool(ctx.memo_of(planned).get("asked"))
        async with contextlib.AsyncExitStack() as stack:
            probe = await probing(ctx, stack, ctx.means.clock.monotonic())
            if planned.args["by_hand"]:
                await self._by_hand(planned, ctx)
            memo = ctx.memo_of(planned)
            began = datetime.fromisoformat(memo["asked"]) if memo.get("asked") else ctx.now
            electing = Electing(planned, ctx, self.pace, began, received=dict(memo.get("received") or {}))
            found = await electing.run()
            await self._conclude(planned, ctx, found, electing)
            if probe is not None and not again:
                await measured(ctx, probe, self.pace)

    # --- by hand

    async def _by_hand(self, planned: PlannedStep, ctx: RunContext) -> None:
        while not await ctx.patiently(lambda: self._under_way(planned, ctx)):
            await self._order(planned, ctx)

    async def _under_way(self, planned: PlannedStep, ctx: RunContext) -> bool:
        """Whether somebody else than the old primary is to lead already, or does."""
        args, memo = planned.args, ctx.memo_of(planned)
        cluster: PgCluster = await ctx.means.kube.read(PG_CLUSTERS, args["cluster"], args["namespace"])
        if cluster.current_primary != args["from"]:
            if not memo.get("asked"):
                await ctx.say(f"{cluster.current_primary} leads already: nothing was written")
            return True
        if cluster.target_primary == args["to"]:
            return True
        if memo.get("asked") and _stamp(cluster) != memo.get("before"):
            return True  # what became of it is told by those who follow
        elsewhere = cluster.target_primary not in ("", PENDING, args["from"])
        if elsewhere:
            await ctx.say(f"the operator chose {cluster.target_primary} meanwhile: nothing was written")
        return elsewhere

    async def _order(self, planned: PlannedStep, ctx: RunContext) -> None:
        """One patch, sent only if the Cluster is still the one that was judged. Of an unknown outcome the caller looks whether it arrived."""
        args, kube = planned.args, ctx.means.kube
        for _ in range(TRIES):
            raw = await ctx.patiently(lambda: kube.fetch(PG_CLUSTERS, args["cluster"], args["namespace"]))
            before = await self._still_right(planned, ctx)
            await ctx.ready()
            at = ctx.now
            await ctx.remember(asked=at.isoformat(), before=before)
            body = patch_of(raw, args["to"], at)
            try:
                await kube.patch(PG_CLUSTERS, args["cluster"], body, args["namespace"], form=PatchForm.MERGE, subresource="status")
            except Conflict:
                await ctx.remember(asked="")
                await ctx.say("the Cluster changed while it was looked at: nothing was sent, it is judged anew")
                if await ctx.patiently(lambda: self._under_way(planned, ctx)):
                    return
                continue
            except (Unauthorized, Forbidden, Invalid, NotFound, Refused):
                await ctx.remember(asked="")
                raise
            except Unreachable as error:
                await ctx.say(f"whether {args['to']} was named is not known: {trouble_of(error).words}")
                await ctx.sleep(1.0)
                return
            await ctx.say(f"asked for: targetPrimary of {args['cluster']} is {args['to']}")
            return
        raise Refused(f"{args['cluster']} changed each time it was looked at", detail=f"{TRIES} times in a row", hint="plan again")

    async def _still_right(self, planned: PlannedStep, ctx: RunContext) -> str:
        """The stamp of the Cluster that was judged. Raises Refused with what speaks against it now and did not when it was planned."""
        args = planned.args
        facts = await facts_of(planned, ctx)
        case = Case(facts, Asked(args["to"], PATCH, args["worse"], args["off"]), ctx.now)
        against = []
        if facts.primary == args["from"] and await well_again(planned, ctx):
            against.append(f"{args['from']} is well again")
        if why := unfit(facts, case.signs, args["to"]):
            against.append(f"{args['to']} {why}")
        elif (short := case.shortfall(args["to"])) and not args["worse"]:
            against.append(f"{args['to']} has received {short:,} bytes less than {case.ranked[0]}")
        if case.renews:
            against.append(f"the manager of {args['from']} renews the lease")
        if facts.cluster.is_fenced(args["from"]):
            against.append(f"{args['from']} is fenced")
        if against:
            raise Refused(f"{args['to']} cannot take the place of {args['from']} any more", detail="; ".join(against), hint="plan again")
        return _stamp(facts.cluster)

    # --- what came of it

    async def _conclude(self, planned: PlannedStep, ctx: RunContext, found: Promoted, electing: Electing) -> None:
        args, memo = planned.args, ctx.memo_of(planned)
        switch = None if found.returned else electing.received.get(found.name)
        line = args.get("timeline")
        if found.returned:
            words = f"{found.name} came back by itself and leads on timeline {found.timeline or '?'}: nobody was promoted, nothing is lost"
        else:
            words = f"{found.name} leads {args['cluster']}, timeline {line or '?'} -> {found.timeline or '?'}"
            words += f", which begins at {lsn_text(switch)} (the last position that it had received)" if switch is not None else ""
        said = "" if found.returned else loss_words(args, found, switch)
        await ctx.remember(
            leads=found.name, line=found.timeline, switch=switch, since=electing.began.isoformat(), returned=found.returned,
            outcome=words, loss=said, stood=memo.get("received"), proven=True,
        )  # fmt: skip
        await ctx.say(words)
        if said:
            await ctx.say(said)

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        memo = ctx.memo_of(planned)
        if memo.get("proven"):
            return str(memo.get("outcome", ""))
        if not memo.get("asked"):
            return ""
        return f"targetPrimary of {planned.args['cluster']} was set to {planned.args['to']}, which may go on to lead by itself"


def _stamp(cluster: PgCluster) -> str:
    return cluster.target_primary_since.isoformat() if cluster.target_primary_since is not None else ""


async def probing(ctx: RunContext, stack: contextlib.AsyncExitStack, first: float) -> WriteProbe | None:
    """Writes are tried on the path that the applications take, until `stack` ends. `first`: since when there were none (monotonic). None: no path."""
    database = ctx.means.database
    targets = database.targets if database is not None else ()
    path = next((t for t in (VIP, WRITES) if t in targets), "")
    return await stack.enter_async_context(WriteProbe(database, path, ctx.means.clock, first=first)) if path else None


async def measured(ctx: RunContext, probe: WriteProbe, pace: FailoverPace, began: float | None = None) -> None:
    """A moment for the next write to be accepted, which ends the outage; where it takes longer, the next step measures on. `began`: since then (monotonic)
    there were none for certain."""
    since = ctx.means.clock.monotonic()
    while not probe.accepted_since(since) and ctx.means.clock.monotonic() - since < pace.answer_s:
        await ctx.sleep(pace.look_s)
    if not probe.accepted_since(since):
        return
    outage, words = probe.outage_ms, probe.words()
    if began is not None and probe.first_accepted is not None:
        outage = round((probe.first_accepted - began) * 1000)
        words = f"writes through {probe.target} stopped for {outage:,} ms"
    await ctx.remember(outage_ms=outage)
    await ctx.say(f"{words} since this run turned to the promotion")


def loss_words(args: Mapping[str, Any], found: Promoted, switch: int | None) -> str:
    """What was lost as far as it is known, beside what had been estimated."""
    estimate, end = args.get("estimate"), args.get("end")
    said = "could not be estimated" if estimate is None else f"was estimated at {counted(estimate, 'byte')}"
    if end is None or switch is None:
        why = f"the last position of {args['from']} is not known" if end is None else f"what {found.name} had received is not known"
        return f"what was lost is not known: {why}; it {said}"
    lost = max(0, end - switch)
    where = f"{args['from']} had written up to {lsn_text(end)} ({args['end_source']}), the new timeline begins at {lsn_text(switch)}"
    return f"{counted(lost, 'byte')} of WAL lost: {where}; it {said}"


def outcome_of(ctx: RunContext) -> dict[str, Any]:
    """What the promotion of this run remembered, for the steps after it."""
    return {key: kept(ctx, key) for key in ("leads", "line", "since", "returned", "switch")}
