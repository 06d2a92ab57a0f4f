"""After a failover: one primary and no second, the Service and a write that reach it, standbys that follow, the archive on the new timeline, and what became
of the old primary."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ...domain.deployments import Deployment
from ...domain.errors import NotFound, StepFailed
from ...domain.kinds import PG_CLUSTERS, PODS
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.readings import Known, Reading
from ...domain.replication import ManagerStatus
from ...ports import HeldLease
from ..engine import GATHER_S, RunContext, Step
from ..host_steps import kept
from .facts import INSTANCE_S, PgFacts, _ask, _operator, gather_cluster, writers
from .following import _or_none
from .paths import no_write, with_ways
from .promoting import measured, outcome_of, probing
from .stopping import FailoverPace


@dataclass(frozen=True)
class Look:
    """One look at everything, None: not told."""

    cluster: PgCluster
    lease: HeldLease | None
    managers: Mapping[str, ManagerStatus | None]
    writers: tuple[str, ...] | None
    pods: Mapping[str, Pod] | None
    operator: Reading[Deployment | None]

    def head(self, name: str) -> ManagerStatus | None:
        return self.managers.get(name)

    @property
    def primaries(self) -> tuple[str, ...]:
        return tuple(name for name, m in self.managers.items() if m is not None and m.is_primary)

    @property
    def systems(self) -> dict[str, str]:
        return {name: m.system_id for name, m in self.managers.items() if m is not None and m.system_id}


@dataclass
class Verifying:
    planned: PlannedStep
    ctx: RunContext
    pace: FailoverPace
    leads: str
    line: int | None
    old: str
    facts: PgFacts
    told: set[str] = field(default_factory=set)

    async def leading(self) -> None:
        """Until one leads, the Service and a write reach it. Raises StepFailed for two histories, and out of time."""
        await self._until(self._not_leading, f"{self.leads} was promoted, and not all of it is proven in time")
        writes = "" if "unseen" in self.told else ", and it takes writes"
        await self.ctx.say(f"{self.leads} leads alone, the -rw Service leads to it{writes}")

    async def following(self, members: tuple[str, ...]) -> None:
        """Until every other instance but the old primary streams."""
        if members:
            await self._until(lambda look: self._not_streaming(look, members), f"not all instances follow {self.leads} in time")
            await self.ctx.say(f"{', '.join(members)} stream{'s' if len(members) == 1 else ''} from {self.leads}")

    async def archived(self, since: datetime, wanted: bool) -> str:
        """What of the archive was seen since the promotion. `wanted`: whether the cluster has one; without, the server archives into nothing, and says it worked."""
        if not wanted:
            return "nothing is archived: the cluster has no archive"
        end = self.ctx.means.clock.monotonic() + self.pace.archive_s
        while True:
            head = await self._head()
            if head is not None and self._new(head, since):
                return f"its archive works: {head.last_archived_wal or 'WAL'} was archived since"
            if self.ctx.means.clock.monotonic() > end:
                told = head.last_failed_wal if head is not None else ""
                return f"nothing was archived since{f', {told} failed' if told else ''}: see the archive of {self.leads}"
            await self.ctx.waiting(f"{self.leads} to archive WAL of timeline {self.line or '?'}")
            await self.ctx.sleep(self.pace.look_s)

    def _new(self, head: ManagerStatus, since: datetime) -> bool:
        """Only a primary archives: what it archived since, or of its own timeline, it archived as one."""
        own = self.line is not None and head.last_archived_wal.startswith(f"{self.line:08X}")
        return own or (head.last_archived_at is not None and head.last_archived_at >= since)

    async def rejoined(self) -> str:
        """What became of the old primary."""
        end = self.ctx.means.clock.monotonic() + self.pace.rejoin_s
        while True:
            state = await self.ctx.patiently(self._old_state)
            if not state or self.ctx.means.clock.monotonic() > end:
                break
            await self.ctx.waiting(f"{self.old} to stream from {self.leads}: {state}")
            await self.ctx.sleep(self.pace.look_s)
        if not state:
            return f"{self.old} is back and streams"
        cure = f"if its log says that it has diverged: coldtui postgres reclone {self.old}"
        return f"{self.old} has not come back as a standby after {self.pace.rejoin_s:.0f} s ({state}); {cure}"

    # --- one look

    async def _until(self, lacking_of: Callable[[Look], Awaitable[str]], late: str) -> None:
        lacking = ""
        try:
            while lacking := await lacking_of(await self.ctx.patiently(self._look)):
                await self.ctx.waiting(lacking)
                await self.ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if self.ctx.deadline is None or self.ctx.now < self.ctx.deadline:
                raise
            raise StepFailed(late, detail=lacking, hint="look at coldtui postgres status") from error
        await self.ctx.waiting("")

    async def _look(self) -> Look:
        kube, args, s = self.ctx.means.kube, self.planned.args, self.pace.answer_s
        space = args["namespace"]
        cluster: PgCluster = await kube.read(PG_CLUSTERS, args["cluster"], space, deadline_s=s)
        names = cluster.instance_names
        labels = f"cnpg.io/cluster={cluster.name},cnpg.io/podRole=instance"
        lease, found, pods, operator, *managers = await asyncio.gather(
            _or_none(kube.lease(space, args["cluster"], deadline_s=s)),
            _or_none(writers(kube, cluster, s)),
            _or_none(kube.read_all(PODS, namespace=space, labels=labels, deadline_s=s)),
            _ask("operator", _operator(kube, s), s, self.ctx.now),
            *(_or_none(kube.pg_status(space, name, deadline_s=INSTANCE_S)) for name in names),
        )
        by_name = None if pods is None else {pod.name: pod for pod in pods}
        return Look(cluster, lease, dict(zip(names, managers, strict=True)), found, by_name, operator)

    async def _head(self) -> ManagerStatus | None:
        return await _or_none(self.ctx.means.kube.pg_status(self.planned.args["namespace"], self.leads, deadline_s=INSTANCE_S))

    async def _not_leading(self, look: Look) -> str:
        c = look.cluster
        if c.current_primary != self.leads:
            raise StepFailed(f"{c.current_primary or 'nobody'} leads now, not {self.leads}", hint="coldtui postgres status")
        if c.target_primary != self.leads:
            return f"targetPrimary to be {self.leads}, it is {c.target_primary or 'empty'}"
        if look.lease is not None and look.lease.holder != self.leads:
            return f"{self.leads} to hold the lease, {look.lease.holder or 'nobody'} does"
        head = look.head(self.leads)
        if head is None or not head.is_primary:
            return f"{self.leads} to {'answer at /pg/status' if head is None else 'say that it is the primary'}"
        if self.planned.args.get("timeline") is not None and head.timeline != self.line:
            raise StepFailed(f"{self.leads} is on timeline {head.timeline or '?'}, not {self.line}", hint="coldtui postgres status")
        if len(look.primaries) > 1:
            wrong = next(name for name in (*look.primaries, self.old) if name != self.leads)
            first = f"cancel this run first (coldtui run cancel {self.ctx.run})"
            cure = f"then fence {wrong}, delete its pod, and unfence it: coldtui postgres fence {wrong}"
            return f"one primary: {' and '.join(look.primaries)} both say that they are; {first}, {cure}"
        if len(set(look.systems.values())) > 1:
            told = ", ".join(f"{name} {system}" for name, system in look.systems.items())
            raise StepFailed("instances are not of one database", detail=f"system ID of {told}", hint="re-clone the one that is wrong")
        if look.writers != (self.leads,):
            where = "nobody" if not look.writers else ", ".join(look.writers)
            return f"the -rw Service to lead to {self.leads} alone, it leads to {where}{self._mover(look)}"
        self.facts = await self.ctx.patiently(lambda: with_ways(self.ctx.means, self.facts, GATHER_S))
        return await no_write(self.ctx.means, self.facts, self.leads, self._unseen)

    def _mover(self, look: Look) -> str:
        """Who should move the Service and cannot."""
        found = look.operator
        if isinstance(found, Known) and (found.value is None or found.value.available < 1):
            name = found.value.key if found.value is not None else "cnpg-controller-manager"
            return f"; the operator is down: bring deployment {name} back"
        return "; reconciliation is disabled: remove annotation cnpg.io/reconciliationLoop" if look.cluster.reconciliation_disabled else ""

    async def _unseen(self, why: str) -> None:
        if "unseen" not in self.told:
            self.told.add("unseen")
            await self.ctx.say(f"that {self.leads} takes writes was not seen: {why}")

    async def _not_streaming(self, look: Look, members: tuple[str, ...]) -> str:
        head = look.head(self.leads)
        if head is None:
            return f"{self.leads} to answer at /pg/status"
        streams = {row.name for row in head.standbys if row.state == "streaming"}
        missing = [name for name in members if name not in streams]
        return f"{', '.join(missing)} to stream from {self.leads}" if missing else ""

    async def _old_state(self) -> str:
        """Why the old primary is no standby yet; empty: it streams."""
        head = await self._head()
        if head is not None and any(row.name == self.old and row.state == "streaming" for row in head.standbys):
            return ""
        try:
            pod: Pod = await self.ctx.means.kube.read(PODS, self.old, self.planned.args["namespace"], deadline_s=self.pace.answer_s)
        except NotFound:
            return "it has no pod"
        return "it does not stream" if pod.is_ready else pod.state


class VerifyFailover(Step):
    """Arguments: those of the failover. Reads what the promotion remembered (`leads`, `line`, `since`). Memo: `proven`, `outcome`, and
    what `probing` and `measured` keep."""

    name = "postgres.verify-failover"

    def __init__(self, pace: FailoverPace | None = None) -> None:
        self.pace = pace or FailoverPace()

    async def done(self, planned: PlannedStep, ctx: RunContext) -> bool:
        return bool(ctx.memo_of(planned).get("proven"))

    async def run(self, planned: PlannedStep, ctx: RunContext) -> None:
        won, old = outcome_of(ctx), str(planned.args["from"])
        since = datetime.fromisoformat(str(won["since"]))
        async with contextlib.AsyncExitStack() as stack:
            probe = await probing(planned, ctx, stack, since, out=True)  # at once: what is read first may take minutes
            facts = await ctx.patiently(
                lambda: gather_cluster(f"{planned.args['namespace']}/{planned.args['cluster']}", ctx.means, GATHER_S)
            )
            ahead = ahead_of(kept(ctx, "stood") or {}, won["switch"], (str(won["leads"]), old))
            members = tuple(name for name in _members(facts, str(won["leads"]), old) if name not in ahead)
            seen = Verifying(planned, ctx, self.pace, str(won["leads"]), won["line"], old, facts)
            await seen.leading()
            if probe is not None:
                await measured(ctx, probe, self.pace)
        await seen.following(members)
        for name, more in ahead.items():
            await ctx.say(f"{name} had received {more:,} bytes more than {won['leads']}: it has diverged, coldtui postgres reclone {name}")
        said = [] if won["returned"] else [await seen.archived(since, facts.cluster.archives), await seen.rejoined()]
        await ctx.waiting("")
        words = "; ".join(said) or f"{won['leads']} leads on timeline {won['line'] or '?'}"
        await ctx.remember(proven=True, outcome=words)
        await ctx.say(words)
        await ctx.say("take a full backup now: a recovery across the new timeline is safest from a fresh one")

    def left_behind(self, planned: PlannedStep, ctx: RunContext) -> str:
        return str(ctx.memo_of(planned).get("outcome", ""))


def ahead_of(stood: Mapping[str, int], switch: int | None, but: tuple[str, ...]) -> dict[str, int]:
    """Replicas that had received more than what the new timeline begins with, and how many bytes: they do not follow it."""
    return {} if switch is None else {name: has - switch for name, has in stood.items() if name not in but and has > switch}


def _members(facts: PgFacts, leads: str, old: str) -> tuple[str, ...]:
    """Those whose following is part of the proof: they have a pod that is ready."""
    names = [name for name in facts.cluster.instance_names if name not in (leads, old) and not facts.cluster.is_fenced(name)]
    return tuple(sorted(name for name in names if (pod := facts.pod(name)) is not None and pod.is_ready))
