"""The site around the node: its addresses, the other nodes, the node itself, workloads that stand still, pods that fit nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...domain.drains import DrainBudget, DrainPod
from ...domain.nodes import Node
from ...domain.plans import Fate, Finding, Outlook, Weight
from ...domain.readings import Freshness, Known, Reading, Unknown
from ...domain.storage import title
from ...domain.text import counted
from ...domain.verdicts import unsure
from ...domain.vips import Vip, vips
from .facts import DrainFacts
from .places import Place
from .postgres import is_instance
from .refill import Ruling, named
from .workloads import Workload, makes_anew, workload_of

CORE = {"kube-system/coredns": "names do not resolve", "kube-system/traefik": "nothing comes in through the ingress"}
"""Deployments of K3s that all others need."""


# ------------------------------------------------------------ nodes


def of_node(node: Node) -> Iterator[Finding]:
    where = str(node.ref)
    if node.ready != "True":
        sentence = f"{node.name} is {node.status.partition(',')[0]}: its kubelet cannot confirm that a pod has ended"
        remedy = (
            f"bring it back, or if the machine is off for certain: "
            f"kubectl taint node {node.name} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
        )
        yield Finding("drain.node-not-ready", Weight.WARNING, sentence, where, remedy)
    if node.unschedulable:
        yield Finding("drain.node-cordoned", Weight.NOTE, f"{node.name} is cordoned already, and stays so after this", where)


def of_nodes(facts: DrainFacts, node: Node) -> Iterator[Finding]:
    """Who else is away: with two nodes gone what is kept three times may lose its majority."""
    if doubt := unsure(facts.world, "nodes"):
        yield Finding(
            "drain.nodes-unknown", Weight.WARNING, f"other nodes: not evaluated, {doubt}", str(node.ref), outlook=Outlook.NOT_EVALUATED
        )
        return
    others = sorted((n for n in facts.world.nodes.items.values() if n.name != node.name), key=lambda n: n.name)
    down = [n for n in others if n.ready != "True"]
    cordoned = [n for n in others if n.ready == "True" and n.unschedulable]
    for other in down:
        sentence = f"{other.name} is {other.status.partition(',')[0]} already: with {node.name} out too, two nodes are missing"
        yield Finding("drain.second-node", Weight.WARNING, sentence, str(other.ref), f"bring {other.name} back first")
    for other in cordoned:
        sentence = f"{other.name} is cordoned already: nothing can go there"
        yield Finding(
            "drain.second-cordon", Weight.WARNING, sentence, str(other.ref), f"coldtui node uncordon {other.name}, if that is not meant"
        )
    if others and not down and not cordoned:
        yield Finding("drain.nodes", Weight.GOOD, f"the other {counted(len(others), 'node')} are Ready and take pods", str(node.ref))
    yield from _control_plane(node, others)


def _control_plane(node: Node, others: Sequence[Node]) -> Iterator[Finding]:
    if not node.control_plane:
        return
    left = sum(1 for n in others if n.control_plane and n.ready == "True")
    if left:
        sentence = f"{node.name} is a control plane, one of {left + 1}: API server and datastore stay on it, a drain does not move them"
    else:
        sentence = f"{node.name} is the only control plane: the API server stays on it, a drain does not move it"
    yield Finding("drain.control-plane", Weight.NOTE, sentence, str(node.ref))


# ------------------------------------------------------------ addresses


def of_vips(facts: DrainFacts, moving: Sequence[DrainPod]) -> Iterator[Finding]:
    """Who announces each address, and whether the drain changes that."""
    if doubt := unsure(facts.world, "services"):
        sentence = f"addresses of services: not evaluated, {doubt}"
        yield Finding("drain.vip-unknown", Weight.WARNING, sentence, f"nodes/{facts.name}", outlook=Outlook.NOT_EVALUATED)
        return
    leaving = {pod.key for pod in moving}
    for vip in vips(facts.world):
        if vip.address and vip.service is not None:
            yield from _of_vip(facts, vip, leaving)


def _of_vip(facts: DrainFacts, vip: Vip, leaving: set[str]) -> Iterator[Finding]:
    service = vip.service
    assert service is not None
    name, where = f"VIP {vip.address} ({service.name})", str(service.ref)
    if not vip.announcers:
        if facts.world.sources["l2_statuses"].freshness is not Freshness.NOT_INSTALLED:
            doubt = unsure(facts.world, "l2_statuses")
            outlook = Outlook.NOT_EVALUATED if doubt else Outlook.GO
            sentence = f"who announces {name} is not evaluated: {doubt}" if doubt else f"no node says that it announces {name}"
            yield Finding("drain.vip-unknown", Weight.WARNING if doubt else Weight.NOTE, sentence, where, outlook=outlook)
    elif facts.name not in vip.announcers:
        yield Finding("drain.vip", Weight.GOOD, f"{name} is announced by {' and '.join(vip.announcers)}, elsewhere", where)
    elif service.traffic_policy == "Local" and _loses_endpoints(facts, vip, leaving):
        sentence = f"{name} is announced here and moves when its pods leave (externalTrafficPolicy Local){_heir(vip, ' to ')}"
        yield Finding("drain.vip", Weight.WARNING, sentence, where)
    else:
        sentence = f"{name} is announced by {facts.name}; a drain does not move it (the speaker stays), a reboot does{_heir(vip, ': to ')}"
        yield Finding("drain.vip", Weight.NOTE, sentence, where)


def _heir(vip: Vip, before: str) -> str:
    return f"{before}{vip.following.value}" if isinstance(vip.following, Known) else f"; who takes over: {vip.following.reason}"


def _loses_endpoints(facts: DrainFacts, vip: Vip, leaving: set[str]) -> bool:
    """Whether every endpoint of the service on this node is a pod that leaves."""
    service = vip.service
    local = [
        e.pod
        for piece in facts.world.endpointslices.items.values()
        if service is not None and piece.namespace == service.namespace and piece.service == service.name
        for e in piece.endpoints
        if e.node == facts.name and e.serving
    ]
    return bool(local) and all(pod in leaving for pod in local)


# ------------------------------------------------------------ backups


def of_backups(facts: DrainFacts, leaving: Sequence[DrainPod]) -> Iterator[Finding]:
    """Backups that are being taken through a pod or a volume of the node: a drain does not wait for them, and they break off."""
    keys = {pod.key: pod for pod in leaving}
    for backup in sorted(facts.world.pg_backups.items.values(), key=lambda b: b.key):
        pod = keys.get(f"{backup.namespace}/{backup.instance}")
        if backup.running and pod is not None:
            sentence = f"backup {backup.name} of {backup.cluster} is being taken by {pod.pod.name}, and breaks off when it goes"
            yield Finding("drain.backup", Weight.WARNING, sentence, str(backup.ref), "wait until it is done, or take it again afterwards")
    volumes = {v.name: v for v in facts.world.lh_volumes.items.values() if v.node == facts.name}
    for running in sorted(facts.world.lh_backups.items.values(), key=lambda b: b.key):
        volume = volumes.get(running.volume)
        if running.running and volume is not None:
            sentence = (
                f"backup {running.name} of volume {title(volume)} is at {running.progress} %, and breaks off when the volume detaches"
            )
            yield Finding("drain.backup", Weight.WARNING, sentence, str(running.ref), "wait until it is done, or take it again afterwards")


# ------------------------------------------------------------ workloads


def of_workloads(facts: DrainFacts, moving: Sequence[DrainPod], rulings: Mapping[str, Ruling]) -> Iterator[Finding]:
    """Workloads all of whose ready pods are on the node and leave at once: they stand still until the new ones are ready."""
    if isinstance(facts.every, Unknown):
        yield Finding(
            "drain.single-unknown", Weight.WARNING, f"which workloads stand still meanwhile: not evaluated, {facts.every.reason}",
            f"nodes/{facts.name}", outlook=Outlook.NOT_EVALUATED,
        )  # fmt: skip
        return
    ready: dict[str, int] = {}
    for pod in facts.every.value:
        owner = workload_of(facts.world, pod.pod)
        if owner is not None and pod.pod.is_ready and pod.pod.deleted is None and pod.pod.node != facts.name:
            ready[owner.uid or owner.key] = ready.get(owner.uid or owner.key, 0) + 1
    seen: dict[str, tuple[Workload, list[DrainPod]]] = {}
    for pod in moving:
        owner = workload_of(facts.world, pod.pod)
        if owner is not None and pod.pod.is_ready and makes_anew(pod) and not is_instance(pod.pod) and owner.kind != "Job":
            seen.setdefault(owner.uid or owner.key, (owner, []))[1].append(pod)
    still = [(owner, pods) for uid, (owner, pods) in seen.items() if not ready.get(uid) and not _one_by_one(pods, rulings)]
    yield from (_still(owner, pods) for owner, pods in sorted(still, key=lambda item: item[0].key) if owner.key in CORE)
    yield from _many_still([item for item in still if item[0].key not in CORE], facts.name)


def _one_by_one(pods: Sequence[DrainPod], rulings: Mapping[str, Ruling]) -> bool:
    """Whether a budget keeps some of them up all the time."""
    budgets: list[DrainBudget] = [b for pod in pods for b in (rulings[pod.key].budgets if pod.key in rulings else ())]
    return any(b.desired > 0 for b in budgets) and all(rulings[p.key].fate is not Fate.NEVER for p in pods if p.key in rulings)


def _still(owner: Workload, pods: Sequence[DrainPod]) -> Finding:
    sentence = f"{owner} has its only ready pod here: {CORE[owner.key]} until the new one is ready"
    return Finding("drain.core", Weight.WARNING, sentence, pods[0].address)


def _many_still(still: Sequence[tuple[Workload, Sequence[DrainPod]]], node: str) -> Iterator[Finding]:
    if still:
        names = named(sorted(owner.key for owner, _ in still))
        verb = "has" if len(still) == 1 else "have"
        sentence = f"{counted(len(still), 'workload')} {verb} no ready pod elsewhere and stand{'s' if len(still) == 1 else ''} still while moving: {names}"
        yield Finding("drain.single", Weight.WARNING, sentence, f"nodes/{node}", "run a second replica on another node")


# ------------------------------------------------------------ places


def of_places(moving: Sequence[DrainPod], places: Reading[Mapping[str, Place]], node: str) -> Iterator[Finding]:
    """Pods whose replacement will stay Pending."""
    if isinstance(places, Unknown):
        sentence = f"where the pods can go: not evaluated, {places.reason}"
        yield Finding("drain.places-unknown", Weight.WARNING, sentence, f"nodes/{node}", outlook=Outlook.NOT_EVALUATED)
        return
    for pod in moving:
        place = places.value.get(pod.key)
        if place is None or place.chosen:
            continue
        if place.pinned:
            sentence = f"{pod.key} stays Pending until {node} is back: its volume {place.pinned} is on the disk of {node}"
            yield Finding("drain.local-volume", Weight.WARNING, sentence, pod.address)
        else:
            sentence = f"{pod.key} will be Pending: it fits on no other node ({place.why_not})"
            yield Finding("drain.no-room", Weight.WARNING, sentence, pod.address, "make room on another node first")
