"""Failover by hand: the emergency in which a primary is lost. What the operator would do by itself comes first; nobody is promoted before the old
primary is known to be stopped; what is lost is said in bytes, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...domain.errors import UsageError
from ...domain.plans import Outlook, Plan, PlannedStep, Rung, outlook_of
from ...domain.replication import lsn
from ...domain.text import plain
from ...domain.values import dataclass
from ...ports import Means
from ..engine import Operation, Step
from ..params import param
from .checks import address, confirm_word, timeline_of
from .failover_case import Case, items_of
from .failover_facts import FailoverFacts, gather_failover
from .failover_findings import failover_findings
from .failover_ways import AUTO, DELETE, PATCH, POWER, WAIT, WAYS, Asked
from .positions import end_of_primary
from .promoting import Promote
from .proving import ProveStopped
from .stopping import StopPrimary
from .switchover import no_instance
from .verifying import VerifyFailover

NAME = "postgres.failover"


@dataclass(frozen=True, slots=True)
class Failover:
    """Give a cluster whose primary is lost another one."""

    to: str = param("the instance that is to lead; the one that has received most if not given", "", named=True)
    emergency: bool = param("do not wait for the operator where another way is open", False)
    way: str = param("how; the gentlest that is open if not given", AUTO, choices=(AUTO, *WAYS))
    accept_worse_candidate: bool = param("accept one that has received less than another", False, grave=True)
    old_primary_is_off: bool = param("answer for it that the old primary is off, with the reason in the audit", False, grave=True)
    primary_lsn: str = param("last known WAL position of the old primary, such as 5/A0000060", "")
    cluster: str = param("namespace/name of the cluster, the site's if not given", "")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 600, unit="s", least=0)


async def gather(params: Failover, means: Means, deadline_s: float) -> FailoverFacts:
    """Raises UsageError for a position that is none, NotFound for a cluster or an instance that does not exist, Unreachable with the API down."""
    if params.primary_lsn and lsn(params.primary_lsn) is None:
        raise UsageError(f"primary_lsn is no WAL position: {plain(params.primary_lsn)!r}", hint="such as 5/A0000060")
    facts = await gather_failover(params.cluster, means, deadline_s)
    if params.to and params.to not in facts.cluster.instance_names:
        raise no_instance(params.to, facts.pg)
    return facts


def asked_of(params: Failover) -> Asked:
    return Asked(params.to, params.way, params.accept_worse_candidate, params.old_primary_is_off, params.primary_lsn, params.emergency)


def plan_failover(facts: FailoverFacts, params: Failover, now: datetime) -> Plan:
    case = Case(facts, asked_of(params), now)
    findings = failover_findings(case)
    stops = [f"{f.sentence}: {f.remedy}" if f.remedy else f.sentence for f in findings if f.outlook is Outlook.REFUSED]
    cluster = facts.cluster
    return Plan(
        operation=NAME,
        title=f"Fail {cluster.name} over{f' to {case.to}' if case.to and case.chosen.way != WAIT else ''}",
        object=address(cluster),
        findings=findings,
        steps=() if stops else steps_of(case),
        locks=("site",),
        rung=Rung.DESTRUCTIVE,
        verb="failover",
        confirm=confirm_word(facts.pg),
        items=items_of(case),
        gist=gist_of(case) if not stops else "",
        premises=facts.premises,
        outlook=outlook_of(findings),
        blocked="; ".join(stops),
        needs_reason=True,
    )


def gist_of(case: Case) -> str:
    """The way, what it does to whom, and who leads then."""
    way, old, to = case.chosen.way, case.primary, case.to
    pod = case.facts.pod
    next_ = f"{to} is named and leads" if case.chosen.by_hand else f"the operator elects, {to} likely"
    before = {
        WAIT: "nothing is written, ",
        POWER: f"declares {pod.node if pod is not None else 'its node'} out of service, then ",
        PATCH: f"once {old} is proven stopped, ",
        DELETE: f"kills {old}, then ",
    }
    return f"way {way}: {before[way]}{next_}"


def steps_of(case: Case) -> tuple[PlannedStep, ...]:
    """For each way: what stops the old primary, the proof of it, the promotion, and seeing that all is well after it."""
    args, way, name = arguments(case), case.chosen.way, case.primary
    pod = case.facts.pod
    node = pod.node if pod is not None else ""
    prove = PlannedStep("postgres.prove-stopped", f"Prove that {name} is stopped", args)
    delete = PlannedStep("postgres.stop-primary", f"Delete the pod of {name} without grace", args, "cannot be undone")
    taint = PlannedStep("postgres.stop-primary", f"Declare {node} out of service", args, "the taint stays until it is removed by hand")
    before = {WAIT: (), POWER: (prove, taint), PATCH: (prove,), DELETE: (delete, prove)}[way]
    title = f"Promote {case.to} in place of {name}" if case.chosen.by_hand else f"Wait until another instance is elected in place of {name}"
    note = "commits that it has not received are lost" if case.chosen.by_hand else ""
    return (
        *before,
        PlannedStep("postgres.promote", title, args, note),
        PlannedStep(
            "postgres.verify-failover", f"Wait until the new primary of {case.facts.cluster.name} leads and the others follow", args
        ),
    )


def arguments(case: Case) -> Mapping[str, Any]:
    """The same for all steps: what the plan rests on, as plain JSON values. What changes from second to second is read by the steps."""
    facts, cluster, pod = case.facts, case.facts.cluster, case.facts.pod
    end = end_of_primary(facts.pg, case.asked.primary_lsn)
    return {
        "namespace": cluster.namespace,
        "cluster": cluster.name,
        "from": case.primary,
        "to": case.to,
        "way": case.chosen.way,
        "by_hand": case.chosen.by_hand,
        "off": case.asked.off,
        "worse": case.asked.worse,
        "short": case.shortfall(case.to),
        "node": pod.node if pod is not None else "",
        "timeline": timeline_of(facts.pg, case.primary),
        "end": end.lsn if end is not None else None,
        "end_source": end.source if end is not None else "",
        "estimate": case.estimate,
    }


FAILOVER_STEPS: tuple[Step, ...] = (StopPrimary(), ProveStopped(), Promote(), VerifyFailover())
FAILOVER: Operation[Failover, FailoverFacts] = Operation(
    name=NAME,
    title="Fail over",
    about="emergency: give a cluster whose primary is lost another one, with proof that the old one is stopped",
    params=Failover,
    rung=Rung.DESTRUCTIVE,
    gather=gather,
    plan=plan_failover,
    steps=FAILOVER_STEPS,
    object=lambda params: f"clusters/{params.cluster}" if params.cluster else "clusters",
)
