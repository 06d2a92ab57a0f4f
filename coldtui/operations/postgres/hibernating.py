"""Hibernate and wake a whole cluster: all servers stop, every volume stays; by an annotation of the Cluster, as `kubectl cnpg hibernate` does."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from ...domain.kinds import CLAIMS, PG_SCHEDULES
from ...domain.plans import Finding, Plan, PlannedStep, Premise, Rung, outlook_of
from ...domain.readings import Reading, Unknown
from ...domain.values import dataclass
from ...ports import Means
from ..engine import Operation
from ..params import param
from .checks import Judge, address, confirm_word
from .facts import _ask, gather_cluster
from .hibernation_findings import SleepFacts, against_sleep, against_waking, of_claims, of_copies, of_nodes, of_use
from .hibernation_steps import HIBERNATE, WAKE, Hibernating, Waking, asleep
from .ordering import doubts_of
from .rights import CHANGE_CLUSTER, blocked_by, missing, of_rights

SHOWN = 4


@dataclass(frozen=True, slots=True)
class HibernateCluster:
    """Stop every server of a cluster and keep its volumes."""

    cluster: str = param("the cluster, or namespace/name")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 900, unit="s", least=0)


@dataclass(frozen=True, slots=True)
class WakeCluster:
    """Start a hibernated cluster again."""

    cluster: str = param("the cluster, or namespace/name")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 900, unit="s", least=0)


async def gather(params: HibernateCluster | WakeCluster, means: Means, deadline_s: float) -> SleepFacts:
    """Raises NotFound for a cluster that does not exist."""
    pg = await gather_cluster(params.cluster, means, deadline_s)
    c, kube, part = pg.cluster, means.kube, deadline_s / 3
    labels = f"cnpg.io/cluster={c.name}"
    claims, schedules, lacking = await asyncio.gather(
        _ask("claims", kube.read_all(CLAIMS, namespace=c.namespace, labels=labels, deadline_s=part), part, pg.at),
        _ask("schedules", kube.read_all(PG_SCHEDULES, namespace=c.namespace, deadline_s=part), part, pg.at),
        missing(kube, (CHANGE_CLUSTER,), c.namespace, part),
    )
    return SleepFacts(pg, claims, schedules, lacking)


# ------------------------------------------------------------ plans


def plan_hibernate(facts: SleepFacts, params: HibernateCluster, now: datetime) -> Plan:
    c = facts.pg.cluster
    judge = Judge(facts.pg, "", now)
    stops = () if c.hibernated else tuple(against_sleep(judge))
    findings = (
        *of_rights(judge, "hibernate", facts.lacking),
        *stops,
        *of_claims(judge, facts, "hibernate"),
        *of_use(judge),
        *of_copies(judge, facts),
    )
    done = f"{c.name} is hibernated already" if asleep(c) and not isinstance(facts.pg.pods, Unknown) and not facts.pg.pods.value else ""
    return _plan(HIBERNATE, "Hibernate", facts, findings, done, Rung.DESTRUCTIVE, "waking starts it again: coldtui postgres wake")


def plan_wake(facts: SleepFacts, params: WakeCluster, now: datetime) -> Plan:
    c = facts.pg.cluster
    judge = Judge(facts.pg, "", now)
    findings = (*of_rights(judge, "wake", facts.lacking), *against_waking(judge), *of_claims(judge, facts, "wake"), *of_nodes(judge))
    done = "" if c.hibernated else f"{c.name} is not hibernated"
    return _plan(WAKE, "Wake", facts, findings, done, Rung.VISIBLE, "")


def _plan(name: str, word: str, facts: SleepFacts, findings: tuple[Finding, ...], done: str, rung: Rung, note: str) -> Plan:
    c = facts.pg.cluster
    args = {"namespace": c.namespace, "cluster": c.name, "doubts": doubts_of(findings)}
    every: dict[str, Reading[Any]] = {"claims": facts.claims, "schedules": facts.schedules}
    read = (Premise(n, None, r.reason) if isinstance(r, Unknown) else Premise(n, r.as_of) for n, r in every.items())
    return Plan(
        operation=name,
        title=f"{word} {c.name}",
        object=address(c),
        findings=findings,
        steps=() if done else (PlannedStep(name, f"{word} {c.name}", args, note),),
        locks=("site",),
        rung=rung,
        verb=word.lower(),
        confirm=confirm_word(facts.pg),
        premises=(*facts.pg.premises, *read),
        outlook=outlook_of(findings),
        blocked="" if done else blocked_by(findings),
        needs_reason=rung is Rung.DESTRUCTIVE,
        done=done,
    )


HIBERNATE_CLUSTER: Operation[HibernateCluster, SleepFacts] = Operation(
    name=HIBERNATE,
    title="Hibernate cluster",
    about="stop every server of a PostgreSQL cluster; its volumes stay, and nobody can connect until it wakes",
    params=HibernateCluster,
    rung=Rung.DESTRUCTIVE,
    gather=gather,
    plan=plan_hibernate,
    steps=(Hibernating(),),
    object=lambda params: f"clusters/{params.cluster}",
)
WAKE_CLUSTER: Operation[WakeCluster, SleepFacts] = Operation(
    name=WAKE,
    title="Wake cluster",
    about="start a hibernated PostgreSQL cluster again, and see that it is the same database and takes writes",
    params=WakeCluster,
    rung=Rung.VISIBLE,
    gather=gather,
    plan=plan_wake,
    steps=(Waking(),),
    object=lambda params: f"clusters/{params.cluster}",
)
