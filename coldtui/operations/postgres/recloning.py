"""Re-clone a standby: its pod and its volumes are deleted, and the operator makes it anew as a copy of the primary; as `kubectl cnpg destroy` does.

The other way would be the mark alpha.cnpg.io/unrecoverable on the pod, at which the operator deletes both itself. It is not taken: it is an alpha
feature, it asks for patch on pods (with which any image can be run in any pod) where this asks for delete on two kinds, and this way was seen to work
on a running cluster. What the mark has before it, that the operator looks once more at who leads, is done here between the pod and its volumes: an
instance whose pod is ending is elected no more, and until then nothing but a restart has happened.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from ...domain.kinds import CLAIMS
from ...domain.plans import Plan, PlannedStep, Premise, Rung, outlook_of
from ...domain.readings import Known, Reading, Unknown
from ...domain.values import dataclass
from ...ports import Means
from ..engine import Operation
from ..params import param
from .checks import Judge, address, confirm_word
from .facts import PgFacts, _ask, gather_cluster
from .ordering import doubts_of
from .recloning_findings import RecloneFacts, findings_of
from .recloning_steps import NAME, Recloning
from .rights import DELETE_CLAIM, DELETE_POD, blocked_by, missing, of_rights
from .switchover import no_instance


@dataclass(frozen=True, slots=True)
class RecloneInstance:
    """Throw the data of a standby away and copy it anew from the primary."""

    instance: str = param("the instance")
    cluster: str = param("namespace/name of the cluster, the site's if not given", "")
    timeout: int = param("seconds after which it gives up waiting, 0 never does", 7200, unit="s", least=0)


async def gather(params: RecloneInstance, means: Means, deadline_s: float) -> RecloneFacts:
    """Raises NotFound for a cluster or an instance that does not exist."""
    pg = await gather_cluster(params.cluster, means, deadline_s * 2 / 3)
    if params.instance not in pg.cluster.instance_names:
        raise no_instance(params.instance, pg)
    where, part = pg.cluster.namespace, deadline_s / 3
    labels = f"cnpg.io/instanceName={params.instance},cnpg.io/cluster={pg.cluster.name}"
    claims, size_b, lacking = await asyncio.gather(
        _ask("claims", means.kube.read_all(CLAIMS, namespace=where, labels=labels, deadline_s=part), part, pg.at),
        _size(pg, means, part),
        missing(means.kube, (DELETE_POD, DELETE_CLAIM), where, part),
    )
    return RecloneFacts(pg, claims, size_b, lacking)


async def _size(pg: PgFacts, means: Means, deadline_s: float) -> Reading[int]:
    """Of the primary's data: its volume by the kubelet, else its databases by SQL."""
    name, pod, at = pg.primary, pg.pod(pg.primary), pg.at
    node = pg.nodes.value.get(pod.node) if pod is not None and not isinstance(pg.nodes, Unknown) else None
    if node is not None:
        stats = await _ask("kubelet", means.kube.node_stats(node.name, node.internal_ip, deadline_s=deadline_s), deadline_s, at)
        if isinstance(stats, Known):
            used = [fill.used_b for fill in stats.value.volumes if fill.namespace == pg.cluster.namespace and fill.claim == name]
            if used:
                return Known(used[0], f"its volume by the kubelet of {node.name}", at)
    if means.database is None:
        return Unknown("size", "neither the kubelet nor SQL tells")
    found = await _ask("databases", means.database.databases(name, deadline_s=deadline_s), deadline_s, at)
    if isinstance(found, Unknown):
        return found
    sizes = [database.size_b for database in found.value]
    return (
        Unknown("size", "SQL may not see all databases") if None in sizes else Known(sum(filter(None, sizes)), "its databases by SQL", at)
    )


def plan_reclone(facts: RecloneFacts, params: RecloneInstance, now: datetime) -> Plan:
    name, c = params.instance, facts.pg.cluster
    judge = Judge(facts.pg, name, now)
    findings = (*of_rights(judge, "reclone", facts.lacking), *findings_of(judge, facts))
    args = {"namespace": c.namespace, "cluster": c.name, "instance": name, "doubts": doubts_of(findings)}
    every: dict[str, Reading[Any]] = {f"claims of {name}": facts.claims, "size": facts.size_b}
    read = (Premise(n, None, r.reason) if isinstance(r, Unknown) else Premise(n, r.as_of) for n, r in every.items())
    return Plan(
        operation=NAME,
        title=f"Re-clone {name}",
        object=address(c, name),
        findings=findings,
        steps=(PlannedStep(NAME, f"Delete {name} with its data, and see its copy stream", args, "cannot be undone"),),
        locks=("site",),
        rung=Rung.DESTRUCTIVE,
        verb="reclone",
        confirm=confirm_word(facts.pg, name),
        premises=(*facts.pg.premises, *read),
        outlook=outlook_of(findings),
        blocked=blocked_by(findings),
        needs_reason=True,
    )


RECLONE_INSTANCE: Operation[RecloneInstance, RecloneFacts] = Operation(
    name=NAME,
    title="Re-clone instance",
    about="throw the data of a PostgreSQL standby away and copy it anew from the primary; the cure of a diverged one",
    params=RecloneInstance,
    rung=Rung.DESTRUCTIVE,
    gather=gather,
    plan=plan_reclone,
    steps=(Recloning(),),
    object=lambda params: f"instances/{params.instance}",
)
