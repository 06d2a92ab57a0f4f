"""A switchover that was asked for, followed: each stage said as it comes, the end proven from four sides, and what holds it named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ...domain.errors import ColdError, StepFailed, Unauthorized
from ...domain.kinds import PG_CLUSTERS, PODS
from ...domain.pods import Pod
from ...domain.postgres import NO_FAILOVER, PgCluster
from ...domain.readings import Unknown
from ...domain.replication import ManagerStatus
from ...domain.text import counted
from ...domain.troubles import trouble_of
from ...ports import HeldLease
from ..engine import RunContext
from .facts import INSTANCE_S, PgFacts, gather_cluster, writers
from .paths import no_write, with_ways
from .probe import WriteProbe

T = TypeVar("T")
GATHER_S = 6.0


@dataclass(frozen=True)
class Pace:
    """Seconds; in one place, so that tests run the same loop faster."""

    look_s: float = 0.3
    answer_s: float = 5.0
    warn_s: float = 60.0
    """A switchover takes 5 to 15 s: after this it is said that something holds it."""
    cause_s: float = 120.0
    """Then the causes are looked for, and again each time this has passed."""


@dataclass(frozen=True)
class Aim:
    """What was asked for, and how it stood before."""

    namespace: str
    name: str
    old: str
    to: str
    timeline: int | None
    leased: bool
    """There was a lease: its holder must change."""
    asked: datetime


@dataclass(frozen=True)
class Look:
    """One look at everything, None: not told."""

    cluster: PgCluster
    lease: HeldLease | None
    old_pod: Pod | None
    old: ManagerStatus | None
    new: ManagerStatus | None
    writers: tuple[str, ...] | None


@dataclass
class Following:
    ctx: RunContext
    aim: Aim
    pace: Pace
    probe: WriteProbe | None
    facts: PgFacts
    """From before: where writes are tried."""
    told: set[str] = field(default_factory=set)
    held: float | None = None
    """Since when (monotonic) all but the write was seen to hold."""

    async def run(self) -> int | None:
        """Until all of the proof holds. Returns the new timeline. Raises StepFailed when it was given up, or is out of time."""
        lacking, look = "", None
        warned, next_cause = False, self.pace.cause_s
        try:
            while True:
                seen = await self.ctx.patiently(self._look)
                if seen is not None:
                    look = seen
                    await self._tell(look)
                    self._abandoned(look)
                    lacking = await self._lacking(look)
                    if not lacking:
                        await self.ctx.waiting("")
                        return look.new.timeline if look.new is not None else None
                    await self.ctx.waiting(lacking)
                if not warned and self._elapsed() > self.pace.warn_s:
                    warned = True
                    await self.ctx.say(f"after {self._elapsed():.0f} s it is not done: {lacking}")
                if self._elapsed() > next_cause:
                    next_cause += self.pace.cause_s
                    await self.ctx.say(await self._verdict(look))
                await self.ctx.sleep(self.pace.look_s)
        except StepFailed as error:
            if self.ctx.deadline is None or self.ctx.now < self.ctx.deadline:
                raise
            raise StepFailed(
                f"the switchover to {self.aim.to} was not done in time",
                detail=f"{lacking}; {await self._verdict(look)}",
                hint="do not ask again while it is under way: look at coldtui postgres status",
            ) from error

    def _elapsed(self) -> float:
        return (self.ctx.now - self.aim.asked).total_seconds()

    async def _look(self) -> Look:
        kube, aim, s = self.ctx.means.kube, self.aim, self.pace.answer_s
        cluster: PgCluster = await kube.read(PG_CLUSTERS, aim.name, aim.namespace, deadline_s=s)
        lease, pod, old, new, found = await asyncio.gather(
            _or_none(kube.lease(aim.namespace, aim.name, deadline_s=s)),
            _or_none(kube.read(PODS, aim.old, aim.namespace, deadline_s=s)),
            _or_none(kube.pg_status(aim.namespace, aim.old, deadline_s=INSTANCE_S)),
            _or_none(kube.pg_status(aim.namespace, aim.to, deadline_s=INSTANCE_S)),
            _or_none(writers(kube, cluster, s)),
        )
        return Look(cluster, lease, pod, old, new, found)

    async def _stage(self, name: str, text: str) -> None:
        if name not in self.told:
            self.told.add(name)
            await self.ctx.say(f"{self._elapsed():.1f} s: {text}")

    async def _tell(self, look: Look) -> None:
        aim, c = self.aim, look.cluster
        if look.old_pod is not None and look.old_pod.labels.get("cnpg.io/instanceRole") == "unhealthy":
            await self._stage("out", f"{aim.old} is taken out of the -rw Service")
        if look.old is None:
            await self._stage("stopped", f"{aim.old} does not answer at /pg/status: its server stops")
        if look.lease is not None and not look.lease.holder:
            await self._stage("released", f"{aim.old} has released the lease")
        if look.lease is not None and look.lease.holder == aim.to:
            await self._stage("taken", f"{aim.to} holds the lease")
        if look.new is not None and look.new.is_primary:
            line = look.new.timeline  # the old one until the checkpoint after the promotion
            newer = line is not None and (aim.timeline is None or line > aim.timeline)
            await self._stage("promoted", f"{aim.to} says that it is the primary" + (f", on timeline {line}" if newer else ""))
        if c.current_primary == aim.to:
            await self._stage("current", f"currentPrimary is {aim.to}")
        if look.writers == (aim.to,):
            await self._stage("service", f"the -rw Service leads to {aim.to} alone")

    def _abandoned(self, look: Look) -> None:
        """Raises StepFailed when somebody put another target there."""
        c, aim = look.cluster, self.aim
        if c.target_primary == aim.to:
            return
        why = f"{c.phase}: {c.phase_reason}" if c.phase_reason else c.phase
        if c.target_primary == aim.old:
            title = f"the switchover was abandoned: targetPrimary was put back to {aim.old}"
        else:
            title = f"the switchover was overtaken: targetPrimary is now {c.target_primary or 'empty'}"
        detail = f"the operator says {why!r}; it takes a target back whose pod is not running, or while no instance is ready"
        raise StepFailed(title, detail=detail, hint=f"see why {aim.to} was not fit: its pod and its log")

    async def _lacking(self, look: Look) -> str:
        """What of the proof is not there yet; empty: nothing. Raises StepFailed for a timeline that cannot be of this switchover."""
        aim = self.aim
        if look.cluster.current_primary != aim.to:
            return f"currentPrimary is still {look.cluster.current_primary or 'nobody'}, {self._holds(look)}"
        if aim.leased and (look.lease is None or look.lease.holder != aim.to):
            return f"the lease is held by {look.lease.holder or 'nobody' if look.lease is not None else 'nobody that could be read'}"
        if look.new is None:
            return f"{aim.to} does not answer at /pg/status"
        if not look.new.is_primary:
            return f"{aim.to} says that it is no primary"
        if aim.timeline is not None and look.new.timeline is not None and look.new.timeline > aim.timeline + 1:
            detail = f"{aim.to} is on timeline {look.new.timeline}, and it was {aim.timeline} before"
            raise StepFailed("more than one promotion took place", detail=detail, hint="look at coldtui postgres status")
        if aim.timeline is not None and look.new.timeline != aim.timeline + 1:
            return f"{aim.to} is on timeline {look.new.timeline or '?'}, not {aim.timeline + 1}"
        if look.writers != (aim.to,):
            return f"the -rw Service leads to {'nobody' if not look.writers else ', '.join(look.writers)}"
        return await self._no_write()

    async def _no_write(self) -> str:
        """The last of the proof: a write begun after all else held is accepted, by the probe or on any path that can be seen from here."""
        now = self.ctx.means.clock.monotonic()
        self.held = now if self.held is None else self.held
        if self.probe is not None and not self.probe.barred:
            return "" if self.probe.accepted_since(self.held) else f"no write through {self.probe.target} was accepted yet"
        self.facts = await self.ctx.patiently(lambda: with_ways(self.ctx.means, self.facts, GATHER_S))
        return await no_write(self.ctx.means, self.facts, self.aim.to, self._unseen)

    async def _unseen(self, why: str) -> None:
        await self._stage("unwritten", f"that {self.aim.to} takes writes was not seen: {why}")

    def _holds(self, look: Look) -> str:
        """Who has not done their part."""
        aim = self.aim
        if look.old is not None and look.old.is_primary:
            return f"{aim.old} still runs as primary"
        if look.lease is not None and look.lease.holder == aim.old:
            return f"{aim.old} still holds the lease"
        if look.new is not None and look.new.receiver_active:
            return f"the WAL receiver of {aim.to} still runs"
        return f"{aim.to} is not primary yet"

    # --- what holds it

    async def _verdict(self, look: Look | None) -> str:
        """Ignored, or hanging; and the cause, as far as it can be told."""
        try:
            facts = await gather_cluster(f"{self.aim.namespace}/{self.aim.name}", self.ctx.means, GATHER_S)
        except ColdError as error:
            return f"what holds it is not known: {trouble_of(error).words}"
        causes = "; ".join(causes_of(facts, self.aim)) or "no cause is to be seen from here: look at the operator's log"
        untouched = look is not None and look.old_pod is not None and look.old_pod.labels.get("cnpg.io/instanceRole") != "unhealthy"
        untouched = untouched and self.aim.leased  # one older than the lease does not label
        runs = look is not None and look.old is not None and look.old.is_primary
        return f"the operator ignores it: {causes}" if untouched and runs else f"it hangs: {causes}"


async def _or_none(question: Awaitable[T]) -> T | None:
    try:
        return await question
    except Unauthorized:
        raise
    except ColdError:
        return None


def causes_of(facts: PgFacts, aim: Aim) -> list[str]:
    """Why a switchover does not go on, the plainest first."""
    c, found = facts.cluster, []
    operator = facts.operator
    if isinstance(operator, Unknown):
        found.append(f"whether the operator runs is not known ({operator.reason})")
    elif operator.value is None or operator.value.available < 1:
        found.append("the operator is down")
    if c.reconciliation_disabled:
        found.append("reconciliation is disabled by an annotation")
    if c.hibernated:
        found.append("the cluster is hibernated")
    found += [f"{name} is fenced" for name in (aim.old, aim.to) if c.is_fenced(name)]
    if c.phase in NO_FAILOVER:
        found.append(f"the phase is {c.phase!r}")
    return found + _by_instances(facts, aim)


def _by_instances(facts: PgFacts, aim: Aim) -> list[str]:
    found: list[str] = []
    old, new, pod = facts.manager(aim.old), facts.manager(aim.to), facts.pod(aim.to)
    primaries = [name for name in facts.managers if (m := facts.manager(name)) is not None and m.is_primary]
    if len(primaries) > 1:
        found.append(f"{' and '.join(primaries)} both say that they are primary")
    if old is not None and old.is_primary:
        waiting = f", {counted(old.ready_wal, 'WAL segment')} wait for the archive" if old.ready_wal else ""
        delay = facts.cluster.switchover_delay_s
        found.append(f"{aim.old} has not stopped{waiting}; it may take up to {delay:,} s (spec.switchoverDelay)")
    if isinstance(facts.lease, Unknown):
        found.append(f"who holds the lease is not known ({facts.lease.reason})")
    elif facts.lease.value is not None and facts.lease.value.holder == aim.old:
        found.append(f"{aim.old} holds the lease still")
    if not isinstance(facts.pods, Unknown) and (pod is None or not pod.is_ready):
        found.append(f"{aim.to} is {'not there' if pod is None else pod.state}")
    if new is not None and not new.is_primary and new.receiver_active:
        found.append(f"the WAL receiver of {aim.to} still runs: it is promoted only after its end")
    return found


def memo_of_aim(memo: dict[str, Any], namespace: str, name: str, to: str, asked: datetime) -> Aim:
    return Aim(namespace, name, str(memo["old"]), to, memo.get("timeline"), bool(memo.get("leased")), asked)
