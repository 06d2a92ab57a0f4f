"""PostgreSQL under CloudNativePG on the node: whether the operator will hand the primary over by itself, and what stands still meanwhile.

The operator's own conditions (internal/controller/replicas.go, setPrimaryOnSchedulableNode): it acts once the primary's node is
unschedulable, when all instances are ready and every replica is on another node, or when some instance has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from ...domain.drains import DrainBudget, DrainPod
from ...domain.nodes import Node
from ...domain.plans import Fate, Finding, Outlook, PlannedStep, Weight
from ...domain.pods import Pod
from ...domain.postgres import PgCluster, changing, operator
from ...domain.readings import Freshness, Known, Reading, Unknown
from ...domain.values import dataclass
from ...domain.verdicts import unsure
from ...domain.world import World
from ..postgres.switchover import steps_for
from .facts import DrainFacts
from .places import Place
from .refill import Ruling, named
from .workloads import not_coming

CLUSTER, ROLE, POD_ROLE = "cnpg.io/cluster", "cnpg.io/instanceRole", "cnpg.io/podRole"
WRITES_STOP = "writes stop for about 10 s"
"""Measured: 7 to 13 s from the last write to the next, by drain or switchover."""


def primary_first(facts: DrainFacts) -> tuple[PlannedStep, ...]:
    """Steps that move primaries off the node before it is cordoned, where a switchover has nothing against it."""
    ready = [found.value for found in facts.switchovers.values() if isinstance(found, Known)]
    return tuple(step for found, to in ready for step in steps_for(found, to, facts.at))


def successor(facts: DrainFacts, cluster: PgCluster) -> str:
    """Who leads a cluster after the first steps; empty: no step of ours hands it over."""
    found = facts.switchovers.get(cluster.key)
    return found.value[1] if isinstance(found, Known) else ""


@dataclass(frozen=True, slots=True)
class Handover:
    """Whether the operator will move a primary off its node once that is cordoned."""

    fate: Fate
    """WAITS: it will; NEVER: it will not, and `why` says what holds it."""
    why: str
    remedy: str = ""


def is_instance(pod: Pod) -> bool:
    return CLUSTER in pod.labels and pod.labels.get(POD_ROLE, "instance") == "instance"


def cluster_of(world: World, pod: Pod) -> PgCluster | None:
    return world.pg_clusters.items.get(f"{pod.namespace}/{pod.labels.get(CLUSTER, '')}")


def is_primary(cluster: PgCluster | None, pod: Pod) -> bool:
    """By the cluster's word; by the pod's label where the cluster could not be read."""
    if cluster is not None:
        return cluster.current_primary == pod.name
    return (pod.labels.get(ROLE) or pod.labels.get("role")) == "primary"


def special(facts: DrainFacts, places: Reading[Mapping[str, Place]], now: datetime) -> Callable[[DrainPod, DrainBudget], Ruling | None]:
    """Rules primaries: their budget never spares one until the operator has handed over."""

    def rule(pod: DrainPod, budget: DrainBudget) -> Ruling | None:
        if not is_instance(pod.pod):
            return None
        cluster = cluster_of(facts.world, pod.pod)
        if not is_primary(cluster, pod.pod) or budget.allowed > 0:
            return None
        if cluster is None:
            doubt = unsure(facts.world, "pg_clusters")
            if not doubt:
                return None
            return Ruling(Fate.NOT_EVALUATED, f"a PostgreSQL primary, and {doubt}", budgets=(budget,))
        found = handover(facts, cluster, places, now)
        code = "" if found.fate is Fate.WAITS else "drain.pg-primary"
        return Ruling(found.fate, f"{_held(pod.pod, cluster, budget)} {found.why}", found.remedy, code, (budget,))

    return rule


def _held(pod: Pod, cluster: PgCluster, budget: DrainBudget) -> str:
    return f"PRIMARY of {cluster.name}; budget {budget.name} holds it until another instance leads:"


def handover(facts: DrainFacts, cluster: PgCluster, places: Reading[Mapping[str, Place]], now: datetime) -> Handover:
    """What the operator will do with the primary of a cluster once the node is cordoned."""
    if (role := changing(cluster)) != "":
        return Handover(Fate.WAITS, f"a {role} to {cluster.target_primary} is under way")
    if to := successor(facts, cluster):
        return Handover(Fate.WAITS, f"this run first switches over to {to}; {WRITES_STOP}")
    for judge in (_by_settings, _by_operator, _by_instances):
        if (found := judge(facts, cluster, places, now)) is not None:
            return found
    return Handover(Fate.WAITS, f"once {facts.name} is cordoned the operator hands over to a ready replica; {WRITES_STOP}")


Places = Reading[Mapping[str, Place]]


def _promote(cluster: PgCluster, instance: str) -> str:
    return f"kubectl cnpg promote {cluster.name} {instance} -n {cluster.namespace}"


def _unfence(instance: str) -> str:
    return f"coldtui postgres unfence {instance}"


def _by_settings(facts: DrainFacts, cluster: PgCluster, places: Places, now: datetime) -> Handover | None:
    if cluster.instances < 2:
        remedy = f"scale {cluster.name} to 2 instances first, or set spec.nodeMaintenanceWindow.inProgress for the time of the drain"
        return Handover(Fate.NEVER, "it is the only instance, so nothing can take over", remedy)
    if cluster.reconciliation_disabled:
        return Handover(
            Fate.NEVER, "the operator ignores this cluster", "remove annotation cnpg.io/reconciliationLoop from the cluster first"
        )
    if cluster.is_fenced(cluster.current_primary):
        return Handover(
            Fate.NEVER,
            "it is fenced, and the operator hands nothing over then",
            f"lift the fence first: {_unfence(cluster.current_primary)}",
        )
    return None


def _by_operator(facts: DrainFacts, cluster: PgCluster, places: Places, now: datetime) -> Handover | None:
    """Whether the operator runs."""
    if doubt := unsure(facts.world, "deployments"):
        return Handover(Fate.NOT_EVALUATED, f"whether the operator runs is not known: {doubt}")
    found = operator(facts.world)
    if found is None or found.ready == 0:
        return Handover(Fate.NEVER, "the CloudNativePG operator does not run", "bring it back first (deployment cnpg-controller-manager)")
    return None


def _minor(version: str) -> tuple[int, int] | None:
    parts = version.removeprefix("v").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else None


def _instances(facts: DrainFacts, cluster: PgCluster) -> dict[str, DrainPod]:
    if isinstance(facts.every, Unknown):
        return {}
    return {
        p.pod.name: p
        for p in facts.every.value
        if p.pod.namespace == cluster.namespace and p.pod.labels.get(CLUSTER) == cluster.name and is_instance(p.pod)
    }


def _serials(facts: DrainFacts, cluster: PgCluster) -> dict[str, int]:
    return {name: pod.serial for name, pod in _instances(facts, cluster).items() if pod.serial is not None}


def _by_instances(facts: DrainFacts, cluster: PgCluster, places: Places, now: datetime) -> Handover | None:
    if isinstance(facts.every, Unknown):
        return Handover(Fate.NOT_EVALUATED, f"whether a replica can take over is not known: {facts.every.reason}")
    if doubt := unsure(facts.world, "nodes"):
        return Handover(Fate.NOT_EVALUATED, f"whether a replica can take over is not known: {doubt}")
    pods, nodes = _instances(facts, cluster), facts.world.nodes.items
    failed = cluster.instances_status.get("failed", ())
    if cluster.ready_instances < cluster.instances and not failed:
        return _until_ready(cluster, pods, nodes, now)
    replicas = {name: p.pod for name, p in pods.items() if name != cluster.current_primary}
    able = [name for name, pod in replicas.items() if pod.is_ready and pod.deleted is None and _open(nodes.get(pod.node), facts.name)]
    if not able:
        return Handover(Fate.NEVER, "no ready replica is on another node that takes pods", "uncordon or mend the node of a replica first")
    beside = [name for name, pod in replicas.items() if pod.node == facts.name]
    if beside and not failed:
        return _beside(cluster, pods, beside, able, places)
    return None


def _until_ready(cluster: PgCluster, pods: Mapping[str, DrainPod], nodes: Mapping[str, Node], now: datetime) -> Handover:
    """Not all instances are ready: the operator waits for them, and so may we for ever."""
    said = f"{cluster.ready_instances} of {cluster.instances} instances are ready, and the operator waits for all"
    for name in cluster.instance_names:
        if cluster.is_fenced(name):  # it counts as not ready, however long one waits
            return Handover(Fate.NEVER, f"{said}; {name} is fenced", f"lift the fence first: {_unfence(name)}")
        pod = pods.get(name)
        if pod is None or pod.pod.is_ready:
            continue
        if why := not_coming(pod.pod, nodes, now):
            return Handover(Fate.NEVER, f"{said}; {name} {why}", f"mend {name} first")
    return Handover(Fate.WAITS, f"{said}; then it hands over, and {WRITES_STOP}")


def _open(node: Node | None, drained: str) -> bool:
    return node is not None and node.name != drained and node.ready == "True" and not node.unschedulable


def _beside(cluster: PgCluster, pods: Mapping[str, DrainPod], beside: list[str], able: list[str], places: Places) -> Handover:
    """Replicas on the same node must have moved before the operator acts."""
    if isinstance(places, Unknown):
        return Handover(Fate.NOT_EVALUATED, f"whether {named(beside)} can move first is not known: {places.reason}")
    for name in beside:
        place = places.value.get(pods[name].key)
        if place is None or not place.chosen:
            why = f"replica {name} is on this node too and fits nowhere else, and the operator waits for it"
            return Handover(Fate.NEVER, why, f"switch over first: {_promote(cluster, able[0])}")
    return Handover(Fate.WAITS, f"after replica {named(beside)} has moved the operator hands over; {WRITES_STOP}")


# ------------------------------------------------------------ findings


def findings(facts: DrainFacts, moving: tuple[DrainPod, ...], rulings: Mapping[str, Ruling]) -> list[Finding]:
    """What the drain means for each cluster with an instance on the node."""
    found: list[Finding] = []
    for pod in moving:
        if not is_instance(pod.pod):
            continue
        cluster = cluster_of(facts.world, pod.pod)
        if cluster is not None:
            found += _beside_fenced(pod, cluster)
        if cluster is None:
            if facts.world.sources["pg_clusters"].freshness is not Freshness.NOT_INSTALLED:
                found.append(_unknown(facts, pod))
        elif is_primary(cluster, pod.pod):
            found.append(_switched(pod, cluster, to) if (to := successor(facts, cluster)) else _primary(pod, cluster, rulings.get(pod.key)))
            if isinstance(why := facts.switchovers.get(cluster.key), Unknown):
                sentence = f"no switchover of {cluster.name} comes first: {why.reason}"
                found.append(Finding("drain.pg-no-switchover", Weight.NOTE, sentence, pod.address))
            found += _reported(facts, pod, cluster, rulings.get(pod.key))
        else:
            found.append(_replica(pod, cluster))
    return found


def _beside_fenced(pod: DrainPod, cluster: PgCluster) -> Iterator[Finding]:
    """Whether the operator makes the pod again: it waits until all instances that report are ready, and a fenced one never is (cluster_create.go,
    ensureInstancesAreCreated)."""
    fenced = [name for name in cluster.instance_names if name != pod.pod.name and cluster.is_fenced(name)]
    if fenced and not cluster.maintenance:
        sentence = f"{named(fenced)} fenced: the operator makes no pod again until that is lifted, and {pod.pod.name} stays away"
        yield Finding("drain.pg-fenced", Weight.WARNING, sentence, pod.address, _unfence(fenced[0]))


def _reported(facts: DrainFacts, pod: DrainPod, cluster: PgCluster, ruling: Ruling | None) -> Iterator[Finding]:
    """What is reported of one version and not to be seen in its source: said beside the ruling, which it does not change."""
    found, serials = operator(facts.world), _serials(facts, cluster)
    first = min(serials, key=lambda name: serials[name], default="")
    counted_on = ruling is not None and ruling.fate is Fate.WAITS and not successor(facts, cluster) and not changing(cluster)
    if found is not None and counted_on and _minor(found.version) == (1, 30) and first and first != cluster.current_primary:
        sentence = (
            f"operator {found.version} is reported not to hand over a primary that is not the lowest instance (CloudNativePG issue 11202)"
        )
        yield Finding(
            "drain.pg-reported", Weight.NOTE, sentence, pod.address, f"if {pod.pod.name} leads after 60 s still: {_promote(cluster, first)}"
        )


def _unknown(facts: DrainFacts, pod: DrainPod) -> Finding:
    doubt = unsure(facts.world, "pg_clusters") or "its cluster is not there"
    sentence = f"{pod.pod.name} is a PostgreSQL instance: not evaluated, {doubt}"
    return Finding("drain.pg-unknown", Weight.WARNING, sentence, pod.address, outlook=Outlook.NOT_EVALUATED)


def _switched(pod: DrainPod, cluster: PgCluster, to: str) -> Finding:
    sentence = f"{pod.pod.name} is the PRIMARY of {cluster.key}: this run first switches over to {to}, and {WRITES_STOP}"
    return Finding("drain.pg-primary", Weight.NOTE, sentence, pod.address)


def _primary(pod: DrainPod, cluster: PgCluster, ruling: Ruling | None) -> Finding:
    says = f"{pod.pod.name} is the PRIMARY of {cluster.key}"
    if ruling is not None and ruling.fate is Fate.NEVER and ruling.code == "drain.pg-primary":
        why = ruling.why.partition(": ")[2]
        return Finding(
            "drain.pg-primary", Weight.STOP, f"{says} and will not be handed over: {why}", pod.address, ruling.remedy, Outlook.WOULD_HANG
        )
    if ruling is not None and ruling.fate is Fate.GOES:
        sentence = f"{says}, and no budget holds it: it is stopped, then a replica takes over; writes stop for up to 30 s"
        return Finding("drain.pg-unguarded", Weight.WARNING, sentence, pod.address, "switch over to a replica first")
    remedy = (
        "drain nothing else until all its instances are ready: meanwhile its replicas' budget does not hold (CloudNativePG issue 10103)"
    )
    return Finding("drain.pg-primary", Weight.WARNING, f"{says}: it is handed over to a replica, and {WRITES_STOP}", pod.address, remedy)


def _replica(pod: DrainPod, cluster: PgCluster) -> Finding:
    left = max(0, cluster.ready_instances - pod.pod.is_ready)
    sentence = (
        f"{pod.pod.name} is a replica of {cluster.key}: {cluster.ready_instances} of {cluster.instances} are ready, {left} while it moves"
    )
    if cluster.ready_instances < cluster.instances or left < 2:
        remedy = "wait until all instances are ready" if cluster.ready_instances < cluster.instances else ""
        return Finding("drain.pg-replica", Weight.WARNING, sentence, pod.address, remedy)
    return Finding("drain.pg-replica", Weight.NOTE, sentence, pod.address)
