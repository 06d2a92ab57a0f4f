"""Another instance takes the place of a lost primary: named by hand, or elected by the operator and only followed. An election that goes elsewhere is
followed and said, never fought."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...domain.errors import Conflict, Forbidden, Invalid, NotFound, Refused, Unauthorized, Unreachable
from ...domain.failover import PENDING
from ...domain.kinds import PG_CLUSTERS
from ...domain.plans import GROWTH_B, PlannedStep
from ...domain.postgres import PgCluster
from ...domain.replication import lsn_text
from ...domain.troubles import trouble_of
from ...ports import PatchForm
from ..engine import GATHER_S, RunContext, Step
from ..host_steps import kept
from .electing import Electing, Promoted
from .facts import gather_cluster, target_stamp
from .failover_case import Case, unfit
from .failover_ways import PATCH, Asked
from .paths import write_paths
from .positions import amount, reached
from .probe import WriteProbe
from .stopping import FailoverPace, facts_of, well_again
from .switchover import patch_of

TRIES = 3
JUDGED_S = 5.0
"""So long after it was judged may the patch be offered; then it is judged anew."""
UNSEEN_S = 5.0
"""So long may nobody have tried a write between two steps that measure one outage."""
Cast = tuple[object, ...]


class Promote(Step):
    """Arguments: those of the failover. `by_hand`: the target is written by us; else it is the operator's election that is followed.

    Memo: `received` (what each replica had before), `path` (on which writes are tried), `version` (of the Cluster), `begins` (writes are tried); `asked` (when the patch was about to be sent; empty: it was refused) with
    `before` (targetPrimaryTimestamp until then); `leads`, `line`, `switch`, `switch_source`, `since` (when it was asked for), `returned`, `outcome`, `proven`, and what `measured` keeps.
    """

    name = "postgres.promote"

    def __init__(self, pace: FailoverPace | None = None) -> None:
        self.pace = pace or FailoverPace()

    async def before(self, planned: PlannedStep, ctx: RunContext) -> Mapping[str, Any]:
        """Recorded before anything is promoted: the only account of what each had."""
        facts = await gather_cluster(f"{planned.args['namespace']}/{planned.args['cluster']}", ctx.means, GATHER_S)
        has = {name: got for name in facts.cluster.instance_names if (got := reached(facts, name)) is not None}
        raw = await ctx.means.kube.fetch(PG_CLUSTERS, planned.args["cluster"], planned.args["namespace"])
        path = next(iter(write_paths(facts, ctx.means.database)), "")
        return {"received": has, "path": path, "version": str(raw["metadata"]["resourceVersion"]), "target": facts.cluster.target_primary}

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return bool(ctx.memo_of(planned).get("proven"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        async with contextlib.AsyncExitStack() as stack:
            probe = await probing(planned, ctx, stack, ctx.now)
            if planned.args["by_hand"]:
                await self._by_hand(planned, ctx)
            memo = ctx.memo_of(planned)
            began = datetime.fromisoformat(memo["asked"]) if memo.get("asked") else ctx.now
            electing = Electing(planned, ctx, self.pace, began, received=dict(memo.get("received") or {}))
            found = await electing.run()
            await self._conclude(planned, ctx, found, electing)
            if probe is not None:
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
        if memo.get("asked") and target_stamp(cluster) != memo.get("before"):
            return True  # what became of it is told by those who follow
        elsewhere = cluster.target_primary not in ("", PENDING, args["from"])
        if elsewhere:
            await ctx.say(f"the operator chose {cluster.target_primary} meanwhile: nothing was written")
        return elsewhere

    async def _order(self, planned: PlannedStep, ctx: RunContext) -> None:
        """One patch, sent only if the Cluster is still what was judged: its version changes each second while an election goes back and forth. Of an
        unknown outcome the caller looks whether it arrived."""
        for _ in range(TRIES):
            judged = await self._still_right(planned, ctx)
            if await self._sent(planned, ctx, judged):
                return
            if await ctx.patiently(lambda: self._under_way(planned, ctx)):
                return
            await ctx.say("the Cluster changed while it was looked at, or that took too long: nothing was sent, it is judged anew")
        detail = f"{TRIES} times in a row it changed while it was looked at, or that took longer than {JUDGED_S:.0f} s"
        raise Refused(f"no judgement of {planned.args['cluster']} held until the order could be sent", detail=detail, hint="plan again")

    async def _sent(self, planned: PlannedStep, ctx: RunContext, judged: Cast) -> bool:
        """Offered again while only what nobody judged changes (its phase, its conditions). False: something else did, or a judgement has aged."""
        args, kube = planned.args, ctx.means.kube
        end = ctx.means.clock.monotonic() + JUDGED_S
        while ctx.means.clock.monotonic() < end:
            raw = await ctx.patiently(lambda: kube.fetch(PG_CLUSTERS, args["cluster"], args["namespace"]))
            now: PgCluster = await ctx.patiently(lambda: kube.read(PG_CLUSTERS, args["cluster"], args["namespace"]))
            if cast_of(now) != judged:
                return False
            await ctx.ready()
            if ctx.means.clock.monotonic() >= end:  # the API or the gate held it up
                return False
            at = ctx.now
            await ctx.remember(asked=at.isoformat(), before=target_stamp(now))
            if ctx.means.clock.monotonic() >= end:  # or a full journal did
                await ctx.remember(asked="")
                return False
            body = patch_of(raw, args["to"], at)
            try:
                await kube.patch(PG_CLUSTERS, args["cluster"], body, args["namespace"], form=PatchForm.MERGE, subresource="status")
            except Conflict:
                await ctx.remember(asked="")
                continue
            except (Unauthorized, Forbidden, Invalid, NotFound, Refused):
                await ctx.remember(asked="")
                raise
            except Unreachable as error:
                await ctx.say(f"whether {args['to']} was named is not known: {trouble_of(error).words}")
                await ctx.sleep(1.0)
                return True
            await ctx.say(f"asked for: targetPrimary of {args['cluster']} is {args['to']}")
            return True
        return False

    async def _still_right(self, planned: PlannedStep, ctx: RunContext) -> Cast:
        """What was judged of the Cluster. Raises Refused with what speaks against it now and did not when it was planned."""
        args = planned.args
        well = await ctx.patiently(lambda: well_again(planned, ctx))  # may wait for the API: what is judged is read after it
        facts = await facts_of(planned, ctx)
        case = Case(facts, Asked(args["to"], PATCH, args["worse"], args["off"]), ctx.now)
        against = []
        if facts.primary == args["from"] and well:
            against.append(f"{args['from']} is well again")
        if why := unfit(facts, case.signs, args["to"]):
            against.append(f"{args['to']} {why}")
        elif (short := case.shortfall(args["to"])) > accepted_shortfall(args):
            against.append(f"{args['to']} has received {amount(short)} less than {case.ranked[0]}")
        if case.renews:
            against.append(case.renews)
        if facts.cluster.is_fenced(args["from"]):
            against.append(f"{args['from']} is fenced")
        if against:
            raise Refused(f"{args['to']} cannot take the place of {args['from']} any more", detail="; ".join(against), hint="plan again")
        return cast_of(facts.cluster)

    # --- what came of it

    async def _conclude(self, planned: PlannedStep, ctx: RunContext, found: Promoted, electing: Electing) -> None:
        args, memo = planned.args, ctx.memo_of(planned)
        switch = None if found.returned else electing.received.get(found.name)
        line = args.get("timeline")
        if found.returned:
            words = f"{found.name} came back by itself and leads on timeline {found.timeline or '?'}: nobody was promoted, nothing is lost"
        else:
            words = f"{found.name} leads {args['cluster']}, timeline {line or '?'} -> {found.timeline or '?'}"
            words += f" from {lsn_text(switch)} (the last position that it had received)" if switch is not None else ""
        said = "" if found.returned else loss_words(args, found, switch)
        await ctx.remember(
            leads=found.name, line=found.timeline, switch=switch, since=electing.began.isoformat(), returned=found.returned,
            outcome=f"{words}; {lost_in_short(args, switch)}" if said else words, loss=said, stood=memo.get("received"), proven=True,
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


def accepted_shortfall(args: Mapping[str, Any]) -> int:
    """Bytes that the target may have received less than the best: those of the plan where they were accepted, with what a plan may grow by."""
    return int(args.get("short") or 0) + GROWTH_B if args["worse"] else 0


def cast_of(c: PgCluster) -> Cast:
    """What a judgement of a Cluster rests on. A target that is `pending`, or the old primary again, is the same to it: nobody is to lead yet."""
    target = c.target_primary if c.target_primary not in ("", PENDING, c.current_primary) else ""
    marks = (c.fenced, c.fenced_unreadable, c.hibernation, c.reconciliation_disabled)
    return (c.uid, c.current_primary, target, *marks, c.replica_cluster, c.instance_names, c.timeline, c.system_id)


async def probing(
    planned: PlannedStep, ctx: RunContext, stack: contextlib.AsyncExitStack, since: datetime, *, out: bool = False
) -> WriteProbe | None:
    """Writes are tried on the path of the applications until `stack` ends. `since`: from then on the outage counts; `out`: none was accepted since.
    None: what there is to know was said before; or it is not measured, which is said (memo `barred`): there is no path, this is no first start (memo
    `begins`), or too long after the last try."""
    database, path = ctx.means.database, str(kept(ctx, "path") or "")
    if kept(ctx, "barred") or kept(ctx, "outage_ms") is not None:
        return None
    if database is None or not path:
        why = "neither the VIP nor the -rw Service is known to be this cluster's"
        await _barred(ctx, "no connection to the database servers" if database is None else why)
        return None
    tried = kept(ctx, "tried") if out else ctx.now.isoformat()
    unseen_s = (ctx.now - datetime.fromisoformat(tried)).total_seconds() if tried else math.inf
    if ctx.memo_of(planned).get("begins") or unseen_s > UNSEEN_S or path not in database.targets:
        await _barred(ctx, "the run was interrupted, and nobody tried writes meanwhile")
        return None
    await ctx.remember(begins=True)
    first = ctx.means.clock.monotonic() - (ctx.now - since).total_seconds()
    return await stack.enter_async_context(WriteProbe(database, path, ctx.means.clock, first=first, out=out))


async def measured(ctx: RunContext, probe: WriteProbe, pace: FailoverPace) -> None:
    """A moment for the next write to be accepted, which ends the outage; where it takes longer, the next step measures on. Memo: `outage_ms` and its
    parts; `tried`, until when it was looked for in vain; `barred`, why it cannot be measured."""
    since = ctx.means.clock.monotonic()
    while not probe.barred and not probe.accepted_since(since) and ctx.means.clock.monotonic() - since < pace.answer_s:
        await ctx.sleep(pace.look_s)
    if probe.barred:
        await _barred(ctx, probe.barred)
    elif probe.accepted_since(since):
        memo, words = probe.memo(), probe.words()  # it goes on meanwhile
        await ctx.remember(**memo)
        await ctx.say(f"{words} since this run turned to the promotion")
    else:
        await ctx.remember(tried=ctx.now.isoformat())


async def _barred(ctx: RunContext, why: str) -> None:
    await ctx.remember(barred=why)
    await ctx.say(f"the outage was not measured: {why}")


def lost_in_short(args: Mapping[str, Any], switch: int | None) -> str:
    """`at least 16 MiB (16,777,216 bytes) of WAL lost`: the old primary may have written more after it was last seen."""
    end = args.get("end")
    if end is None or switch is None or switch > end:
        return "what was lost is not known"
    return f"at least {amount(end - switch)} of WAL lost" if end > switch else "no WAL is known to be lost"


def loss_words(args: Mapping[str, Any], found: Promoted, switch: int | None) -> str:
    """What was lost as far as it is known, beside what had been estimated."""
    estimate, end, old = args.get("estimate"), args.get("end"), args["from"]
    said = "could not be estimated" if estimate is None else f"was estimated at {amount(estimate)}"
    if end is None:
        why = f"the last position of {old} is not known"
    elif switch is None:
        why = f"what {found.name} had received is not known"
    elif switch > end:
        why = f"{found.name} had received more than what was last seen of {old}"
    else:
        why = f"{old} had written up to {lsn_text(end)} ({args['end_source']}), {found.name} had received up to {lsn_text(switch)}"
    return f"{lost_in_short(args, switch)}: {why}; it {said}"


def outcome_of(ctx: RunContext) -> dict[str, Any]:
    """What the promotion of this run remembered, for the steps after it."""
    return {key: kept(ctx, key) for key in ("leads", "line", "since", "returned", "switch")}
