"""One cluster whose primary is lost, and what is asked for: with what follows from both worked out once. Pure."""

from __future__ import annotations

from datetime import datetime

from ...domain.failover import Prospect, Signs, candidates, prospect
from ...domain.plans import Fate, PlanItem
from ...domain.readings import Known, Unknown
from ...domain.replication import lsn_text
from .checks import Judge, address, timeline_of, timeline_of_standby
from .failover_facts import FailoverFacts
from .failover_ways import DELETE, POWER, Asked, choose, proof_of
from .positions import end_of_primary, reached, received, replayed


class Case:
    """One cluster and what is asked for, with what follows from both worked out once."""

    def __init__(self, facts: FailoverFacts, asked: Asked, now: datetime) -> None:
        self.facts, self.asked, self.now = facts, asked, facts.there(now)
        self.judge = Judge(facts.pg, asked.to, now)
        self.signs: Signs = facts.signs(now)
        self.prospect: Prospect = prospect(self.signs)
        self.ranked = ranked(facts, self.signs)
        self.to = asked.to or (self.ranked[0] if self.ranked else "")
        self.proof = proof_of(facts, asked.off)
        self.chosen = choose(self)

    @property
    def primary(self) -> str:
        return self.facts.primary

    @property
    def codes(self) -> frozenset[str]:
        """Of the causes for which the operator does nothing and that do not end by themselves."""
        return frozenset(cause.code for cause in self.prospect.causes if cause.until is None)

    @property
    def operator_runs(self) -> bool:
        found = self.facts.pg.operator
        return isinstance(found, Known) and found.value is not None and found.value.available > 0

    @property
    def without_operator(self) -> str:
        """Why nobody moves the Service and elects; empty: the operator runs and looks after this cluster."""
        if "disabled" in self.codes:
            return "the operator ignores it"
        if self.operator_runs:
            return ""
        return "the operator is down" if isinstance(self.facts.pg.operator, Known) else "the operator is not known to run"

    @property
    def grave(self) -> bool:
        """There is something to fail over from."""
        return bool(self.prospect.lost or self.prospect.under_way) or self.unread

    @property
    def renews(self) -> str:
        """Why the old primary's manager is taken to keep the Lease: it was seen to, or it did so a moment ago and nothing proves its end. Empty: it does
        not, or that could not be read."""
        lease, seen = self.facts.lease, self.facts.renews
        if lease is None or lease.holder != self.primary or isinstance(seen, Unknown):
            return ""
        if seen.value:
            return f"the manager of {self.primary} renews the lease"
        age = (self.now - lease.renewed).total_seconds() if lease.renewed is not None else None
        if self.proof is not None or age is None or age >= lease.duration_s:
            return ""
        return f"the lease of {self.primary} was renewed {max(0, age):.0f} s ago and holds for {lease.duration_s}"

    @property
    def unread(self) -> bool:
        """Nothing tells how the primary is: neither its pod nor its manager nor SQL."""
        silent = self.facts.pg.manager(self.primary) is None and self.facts.pg.status(self.primary) is None
        return bool(self.primary) and silent and not self.facts.pods_read and not self.facts.node_trouble

    @property
    def estimate(self) -> int | None:
        """Bytes that would be lost; None: cannot be known."""
        end, own = end_of_primary(self.facts.pg, self.asked.primary_lsn), reached(self.facts.pg, self.to)
        return end.lsn - own if end is not None and own is not None and end.lsn >= own else None

    def shortfall(self, name: str) -> int:
        """Bytes that the best replica has received and this one has not."""
        best = max((reached(self.facts.pg, n) or 0 for n in self.ranked), default=0)
        return max(0, best - (reached(self.facts.pg, name) or 0))


# ------------------------------------------------------------ who


def ranked(facts: FailoverFacts, signs: Signs) -> tuple[str, ...]:
    """Replicas that may lead, in the operator's own order: most received, then most replayed, then by name."""
    fit = [name for name in candidates(signs) if not unfit(facts, signs, name)]
    return tuple(sorted(fit, key=lambda n: (-(reached(facts.pg, n) or 0), -(replayed(facts.pg, n) or 0), n)))


def unfit(facts: FailoverFacts, signs: Signs, name: str) -> str:
    """Why a replica may not lead; empty: nothing known against it."""
    pg, c = facts.pg, facts.cluster
    if name == pg.primary:
        return "is the old primary"
    if c.is_fenced(name):
        return "is fenced"
    pod = pg.pod(name)
    if facts.pods_read and pod is None:
        return "has no pod"
    if pod is not None and (pod.deleted is not None or not pod.is_ready):
        return "is being deleted" if pod.deleted is not None else f"is not ready: {pod.state}"
    manager = pg.manager(name)
    if manager is None:
        reading = pg.managers.get(name)
        return f"does not answer at /pg/status: {reading.reason if isinstance(reading, Unknown) else 'not asked'}"
    if manager.is_primary:
        return "says that it is primary"
    if manager.rewinding or manager.might_be_unavailable:
        return "is being rewound" if manager.rewinding else "comes out of a fence"
    if not facts.pods_read:
        return "its pod could not be read"
    return _of_another_history(facts, name)


def _of_another_history(facts: FailoverFacts, name: str) -> str:
    pg, manager, sql = facts.pg, facts.pg.manager(name), facts.pg.status(name)
    own = {s for s in (manager.system_id if manager is not None else "", sql.system_id if sql is not None else "") if s}
    if pg.cluster.system_id and own - {pg.cluster.system_id}:
        return f"is of another database: system ID {', '.join(sorted(own))}, the cluster's is {pg.cluster.system_id}"
    (line, sure), newest = timeline_of_standby(pg, name), newest_timeline(facts)
    if sure and line is not None and newest is not None and line < newest:
        return f"is on timeline {line}, the cluster on {newest}"
    return ""


def newest_timeline(facts: FailoverFacts) -> int | None:
    lines = [timeline_of(facts.pg, facts.primary), facts.cluster.timeline]
    found = [line for line in lines if line]
    return max(found) if found else None


def items_of(case: Case) -> tuple[PlanItem, ...]:
    """A row for each instance: who leads, who follows, who may not lead and why, and last the old primary."""
    names = [name for name in case.facts.cluster.instance_names if name != case.primary]
    names.sort(key=lambda name: name != case.to)
    old = (_old(case),) if case.primary else ()
    return (*(_item(case, name, unfit(case.facts, case.signs, name)) for name in names), *old)


def _item(case: Case, name: str, why: str) -> PlanItem:
    facts, object = case.facts, address(case.facts.cluster, name)
    if why:
        fate = Fate.NEVER if facts.pods_read else Fate.NOT_EVALUATED
        return PlanItem(object, fate, f"{name} {why}", facts=_told(case, name), word="unfit" if facts.pods_read else "not evaluated")
    leads = name == case.to and case.grave
    words = f"{name} is to lead" if leads else f"{name} could lead"
    return PlanItem(object, Fate.GOES if leads else Fate.STAYS, words, facts=_told(case, name), word="leads" if leads else "follows")


def _old(case: Case) -> PlanItem:
    """Nothing of it is kept: it may come back as a standby, by itself or cloned anew."""
    name, object = case.primary, address(case.facts.cluster, case.primary)
    if not case.grave:
        return PlanItem(object, Fate.STAYS, f"{name} is the primary", word="leads")
    goes = case.chosen.way in (DELETE, POWER)
    return PlanItem(object, Fate.GOES if goes else Fate.STAYS, f"{name} comes back as a standby, or is cloned anew", word="lost")


def _told(case: Case, name: str) -> tuple[tuple[str, str], ...]:
    facts, pg = case.facts, case.facts.pg
    manager, pod = pg.manager(name), pg.pod(name)
    active = manager.receiver_active if manager is not None else None
    line, _ = timeline_of_standby(pg, name)
    return (
        ("received", _position(received(pg, name))),
        ("replayed", _position(replayed(pg, name))),
        ("timeline", str(line) if line is not None else "not known"),
        ("WAL receiver", "not known" if active is None else "runs" if active else "stopped"),
        ("pod", pod.state if pod is not None else "not known" if not facts.pods_read else "none"),
        ("node", (pod.node if pod is not None else "") or "none"),
    )


def _position(value: int | None) -> str:
    return "not known" if value is None else lsn_text(value)
