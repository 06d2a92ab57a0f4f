"""Primaries on the node: what a switchover before the drain rests on, read afresh for each of their clusters."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from ...domain.errors import ColdError
from ...domain.readings import Known, Reading, Unknown
from ...domain.troubles import trouble_of
from ...ports import Means
from ..postgres.checks import candidates, switchover_findings
from ..postgres.facts import PgFacts, gather_cluster
from .facts import DrainFacts, gather
from .params import DrainNode
from .postgres import cluster_of, is_instance, is_primary


async def gather_all(params: DrainNode, means: Means, deadline_s: float) -> DrainFacts:
    """The facts of a drain, and those of a switchover for each cluster that is led from this node. Raises as `facts.gather`."""
    facts = await gather(params, means, deadline_s)
    pods = () if isinstance(facts.pods, Unknown) else facts.pods.value
    clusters = [cluster_of(facts.world, p.pod) for p in pods if is_instance(p.pod) and is_primary(cluster_of(facts.world, p.pod), p.pod)]
    keys = sorted({cluster.key for cluster in clusters if cluster is not None and cluster.instances > 1})
    found = await asyncio.gather(*(_one(key, means, deadline_s / 2, facts.at) for key in keys))
    return replace(facts, switchovers={key: judged(facts, reading) for key, reading in zip(keys, found, strict=True)})


async def _one(key: str, means: Means, deadline_s: float, at: datetime) -> Reading[PgFacts]:
    try:
        return Known(await gather_cluster(key, means, deadline_s), key, at)
    except ColdError as error:
        return Unknown(key, trouble_of(error).words)


def judged(facts: DrainFacts, reading: Reading[PgFacts]) -> Reading[tuple[PgFacts, str]]:
    """The facts and the instance that is to lead: the best of those on other nodes that take pods. Unknown: why there is none."""
    if isinstance(reading, Unknown):
        return reading
    found, now = reading.value, facts.at
    open_nodes = {n.name for n in facts.world.nodes.items.values() if n.ready == "True" and not n.unschedulable and n.name != facts.name}
    fit = [name for name in candidates(found, now) if found.node_of(name) in open_nodes]
    if fit:
        return Known((found, fit[0]), reading.source, reading.as_of)
    others = [n for n in found.cluster.instance_names if n != found.primary]
    away = [n for n in others if found.node_of(n) in open_nodes]
    if not away:
        return Unknown(reading.source, "no other instance is on another node that takes pods")
    worst = switchover_findings(found, away[0], now)[0]
    return Unknown(reading.source, worst.sentence)
