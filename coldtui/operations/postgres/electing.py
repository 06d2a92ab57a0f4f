"""An election after a primary was lost, followed until one instance leads: by its own word, by the Cluster and by the Lease."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ...domain.errors import ColdError, StepFailed, Unauthorized
from ...domain.failover import PENDING, prospect
from ...domain.kinds import PG_CLUSTERS, PODS
from ...domain.plans import PlannedStep
from ...domain.pods import Pod
from ...domain.postgres import PgCluster
from ...domain.replication import ManagerStatus
from ...domain.troubles import trouble_of
from ...ports import HeldLease
from ..engine import RunContext
from .facts import INSTANCE_S
from .failover_facts import gather_failover
from .failover_ways import WAIT
from .following import _or_none
from .stopping import FailoverPace


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


LASTING = frozenset({"operator", "disabled", "hibernated", "fenced", "quorum", "no-replica", "wedged", "stalled", "two-primaries"})
"""Causes for which waiting on is in vain: somebody must do something."""


@dataclass
class Electing:
    """Until one instance leads by its own word, the Cluster's and the Lease's."""

    planned: PlannedStep
    ctx: RunContext
    pace: FailoverPace
    began: datetime
    told: set[str] = field(default_factory=set)
    received: dict[str, int] = field(default_factory=dict)
    """How far the data of each went when it was last seen as a standby."""

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
                    await self.ctx.say(f"after {self._elapsed():.0f} s nobody leads: {lacking}; {await self._causes(idle=True)}")
                if self._elapsed() > next_cause:
                    next_cause += self.pace.cause_s
                    await self.ctx.say(f"it hangs: {await self._causes(idle=True)}")
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
            elif not manager.is_primary and (has := max(manager.received or 0, manager.replayed or 0)):
                self.received[name] = has
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

    async def _causes(self, *, idle: bool = False) -> str:
        """The causes of the operator's silence, as they are now. `idle`: where we only wait for it, raises StepFailed for one that will not end."""
        try:
            facts = await gather_failover(f"{self.planned.args['namespace']}/{self.planned.args['cluster']}", self.ctx.means, 6.0)
        except ColdError as error:
            return f"what holds it is not known: {trouble_of(error).words}"
        found = prospect(facts.signs(self.ctx.now)).causes
        waits = self.planned.args["way"] == WAIT and not self.ctx.memo_of(self.planned).get("asked")
        if idle and waits and (lasting := [cause.sentence for cause in found if cause.code in LASTING]):
            hint = "plan the failover again: it shows which way is open now"
            raise StepFailed(f"the operator does not replace {self.old}", detail="; ".join(lasting), hint=hint)
        return "; ".join(cause.sentence for cause in found) or "no cause is to be seen from here: look at the operator's log"
