"""What a reboot means for the site, worst first where it matters: databases, volumes, the control plane, addresses, pods, the console itself."""

from __future__ import annotations

from collections.abc import Iterator

from ...domain.drains import DrainPod
from ...domain.nodes import Node
from ...domain.plans import Finding, Outlook, Weight
from ...domain.readings import Freshness, Known, Unknown
from ...domain.storage import title
from ...domain.text import counted
from ...domain.verdicts import unsure
from ...domain.vips import vips
from ..drain.longhorn import Copies, copies_on, installed
from ..drain.postgres import cluster_of, is_instance, is_primary
from ..drain.refill import named
from ..drain.workloads import workload_of
from ..hosts import findings_of, is_here, people_of
from .facts import RebootFacts

AWAY = "until the node is back"


def all_of(facts: RebootFacts) -> tuple[Finding, ...]:
    node = facts.node
    found = [*findings_of(facts.host, node, facts.me), *_console(facts), *_inhibitors(facts), *people_of(facts.host)]
    if node is None:
        return (*found, _no_api(facts))
    found += [*_state(node), *_nodes(facts, node), *_postgres(facts), *_volumes(facts), *_addresses(facts), *_pods(facts)]
    return (*found, *_unread(facts, found))


def _where(facts: RebootFacts) -> str:
    return f"nodes/{facts.cluster.name}"


# ------------------------------------------------------------ the host


def _console(facts: RebootFacts) -> Iterator[Finding]:
    if is_here(facts.host, facts.node, facts.me):
        name = facts.cluster.name
        sentence = f"coldtui itself runs on {name}: the console ends with the reboot, and the run goes on after the boot"
        yield Finding(
            "reboot.console-here", Weight.WARNING, sentence, _where(facts), "start coldtui again after the boot: it takes the run up"
        )


def _inhibitors(facts: RebootFacts) -> Iterator[Finding]:
    for line in facts.host.inhibitors[:3]:
        remedy = f"end it first, or see: systemd-inhibit --list on {facts.cluster.name}"
        yield Finding("reboot.inhibitor", Weight.WARNING, f"a program there forbids a shutdown: {line}", _where(facts), remedy)


def _no_api(facts: RebootFacts) -> Finding:
    reason = facts.cluster.node.reason if isinstance(facts.cluster.node, Unknown) else ""
    sentence = f"what the reboot means for the cluster is not evaluated: {reason}"
    return Finding(
        "reboot.no-api", Weight.WARNING, sentence, _where(facts), "the host can be rebooted without the API", Outlook.NOT_EVALUATED
    )


# ------------------------------------------------------------ nodes


def _state(node: Node) -> Iterator[Finding]:
    if node.ready != "True":
        yield Finding("reboot.node-not-ready", Weight.NOTE, f"{node.name} is {node.status.partition(',')[0]} now", str(node.ref))
    if node.unschedulable:
        yield Finding(
            "reboot.node-cordoned",
            Weight.NOTE,
            f"{node.name} is cordoned already, and stays so after this: Longhorn rebuilds no copy there until it is uncordoned",
            str(node.ref),
        )


def _nodes(facts: RebootFacts, node: Node) -> Iterator[Finding]:
    if doubt := unsure(facts.cluster.world, "nodes"):
        sentence = f"other nodes: not evaluated, {doubt}"
        yield Finding("reboot.nodes-unknown", Weight.WARNING, sentence, str(node.ref), outlook=Outlook.NOT_EVALUATED)
        return
    others = sorted((n for n in facts.cluster.world.nodes.items.values() if n.name != node.name), key=lambda n: n.name)
    down = [n for n in others if n.ready != "True"]
    for other in down:
        sentence = f"{other.name} is {other.status.partition(',')[0]} already: with {node.name} out too, two nodes are missing"
        yield Finding("reboot.second-node", Weight.WARNING, sentence, str(other.ref), f"bring {other.name} back first")
    if others and not down:
        yield Finding("reboot.nodes", Weight.GOOD, f"the other {counted(len(others), 'node')} are Ready", str(node.ref))
    if node.control_plane:
        yield _control_plane(node, [n for n in others if n.control_plane])


def _control_plane(node: Node, others: list[Node]) -> Finding:
    """Who answers for the API meanwhile; with embedded etcd a majority must stay."""
    where, up = str(node.ref), [n for n in others if n.ready == "True"]
    if not up:
        word = "the only control plane" if not others else "the last control plane that is Ready"
        sentence = f"{node.name} is {word}: the API is gone {AWAY}; pods elsewhere run on, nothing is rescheduled"
        return Finding("reboot.api-gone", Weight.WARNING, sentence, where, "the run waits for it, and says so")
    members = [n for n in (node, *others) if "etcd" in n.roles]
    left = sum(1 for n in members if n is not node and n.ready == "True")
    if members and left < len(members) // 2 + 1:
        sentence = f"etcd loses its majority without {node.name}: {left} of {len(members)} members are left, and the API is gone {AWAY}"
        return Finding("reboot.etcd-majority", Weight.STOP, sentence, where, "bring the other members back first", Outlook.WOULD_HANG)
    sentence = f"{node.name} is a control plane, one of {len(up) + 1}: another answers for the API meanwhile"
    return Finding("reboot.control-plane", Weight.NOTE, sentence, where)


# ------------------------------------------------------------ databases


def _postgres(facts: RebootFacts) -> Iterator[Finding]:
    """Instances on the node. A primary is not handed over by a reboot: it is missed, and then replaced."""
    world = facts.cluster.world
    for pod in _here(facts):
        if not is_instance(pod.pod):
            continue
        cluster = cluster_of(world, pod.pod)
        if cluster is None and world.sources["pg_clusters"].freshness is Freshness.NOT_INSTALLED:
            continue
        if is_primary(cluster, pod.pod):
            name = cluster.key if cluster is not None else pod.pod.labels.get("cnpg.io/cluster", "")
            ready = cluster is not None and cluster.ready_instances > 1
            gap = "about 75 s, or until the node is back" if ready else AWAY
            sentence = f"{pod.pod.name} is the PRIMARY of {name}: it stops without a handover, and writes fail for {gap}"
            if not ready:
                sentence = f"{pod.pod.name} is the PRIMARY of {name}, and no other instance is ready: writes fail {AWAY}"
            yield Finding(
                "reboot.pg-primary", Weight.WARNING, sentence, pod.address, "switch over to a replica on another node first, or drain"
            )
        elif cluster is None:
            doubt = unsure(world, "pg_clusters") or "its cluster is not there"
            sentence = f"{pod.pod.name} is a PostgreSQL instance: not evaluated, {doubt}"
            yield Finding("reboot.pg-unknown", Weight.WARNING, sentence, pod.address, outlook=Outlook.NOT_EVALUATED)
        else:
            left = max(0, cluster.ready_instances - pod.pod.is_ready)
            sentence = f"{pod.pod.name} is a replica of {cluster.key}: {left} of {cluster.instances} instances are ready meanwhile"
            yield Finding("reboot.pg-replica", Weight.NOTE if left > 1 else Weight.WARNING, sentence, pod.address)


# ------------------------------------------------------------ volumes


def _volumes(facts: RebootFacts) -> Iterator[Finding]:
    world, name = facts.cluster.world, facts.cluster.name
    if not installed(world):
        return
    if doubt := unsure(world, "lh_volumes", "lh_replicas"):
        sentence = f"whether {name} has the last good copy of a volume: not evaluated, {doubt}"
        yield Finding("reboot.lh-unknown", Weight.WARNING, sentence, _where(facts), outlook=Outlook.NOT_EVALUATED)
        return
    copies = copies_on(facts.cluster)
    for found in copies:
        if found.last and (found.volume.node or found.volume.robustness == "degraded"):
            sentence = f"volume {title(found.volume)} has its last good copy on {name}: it cannot be read or written {AWAY}"
            remedy = "let a copy be made on another node first"
            yield Finding("reboot.lh-last-copy", Weight.STOP, sentence, str(found.volume.ref), remedy, Outlook.WOULD_HANG)
        elif found.volume.robustness in ("degraded", "faulted"):
            sentence = f"volume {title(found.volume)} is {found.volume.robustness} already: {len(found.elsewhere)} good elsewhere"
            yield Finding("reboot.lh-degraded", Weight.WARNING, sentence, str(found.volume.ref), "wait until it is healthy")
    yield from _kept(copies, name, _where(facts))


def _kept(copies: tuple[Copies, ...], name: str, where: str) -> Iterator[Finding]:
    kept = [c for c in copies if not c.last]
    if kept:
        least = min(len(c.elsewhere) for c in kept)
        sentence = (
            f"{counted(len(kept), 'volume')} with a copy on {name}: at least {least} good elsewhere; the copies here are rebuilt afterwards"
        )
        yield Finding("reboot.lh-copies", Weight.GOOD, sentence, where)


# ------------------------------------------------------------ addresses and pods


def _addresses(facts: RebootFacts) -> Iterator[Finding]:
    world, name = facts.cluster.world, facts.cluster.name
    if doubt := unsure(world, "services"):
        sentence = f"addresses of services: not evaluated, {doubt}"
        yield Finding("reboot.vip-unknown", Weight.WARNING, sentence, _where(facts), outlook=Outlook.NOT_EVALUATED)
        return
    for vip in vips(world):
        if vip.service is None or name not in vip.announcers:
            continue
        heir = (
            f"{vip.following.value} takes over within seconds"
            if isinstance(vip.following, Known)
            else f"who takes over: {vip.following.reason}"
        )
        sentence = f"VIP {vip.address} ({vip.service.name}) is announced by {name}: {heir}, and it comes back with the node"
        yield Finding("reboot.vip", Weight.WARNING, sentence, str(vip.service.ref))


def _here(facts: RebootFacts) -> tuple[DrainPod, ...]:
    pods = facts.cluster.pods
    return tuple(p for p in pods.value if not p.pod.finished) if not isinstance(pods, Unknown) else ()


def _pods(facts: RebootFacts) -> Iterator[Finding]:
    """Pods that stop, and workloads that have none elsewhere."""
    name, pods = facts.cluster.name, [p for p in _here(facts) if not p.of_daemon_set]
    if not pods:
        yield Finding("reboot.empty", Weight.GOOD, f"no pod stops but those of DaemonSets on {name}", _where(facts))
        return
    sentence = f"{counted(len(pods), 'pod')} on {name} stop without any budget being asked, and start again with it"
    yield Finding("reboot.pods", Weight.NOTE, sentence, _where(facts), f"coldtui node drain {name} moves them first")
    if isinstance(facts.cluster.every, Unknown):
        sentence = f"which workloads stand still meanwhile: not evaluated, {facts.cluster.every.reason}"
        yield Finding("reboot.single-unknown", Weight.WARNING, sentence, _where(facts), outlook=Outlook.NOT_EVALUATED)
        return
    still = _standing_still(facts, pods)
    if still:
        verb = "has" if len(still) == 1 else "have"
        sentence = f"{counted(len(still), 'workload')} {verb} no ready pod elsewhere and stand{'s' if len(still) == 1 else ''} still {AWAY}: {named(still)}"
        yield Finding("reboot.single", Weight.WARNING, sentence, _where(facts), f"coldtui node drain {name} moves them first")


def _standing_still(facts: RebootFacts, pods: list[DrainPod]) -> list[str]:
    """Owners whose ready pods are all on the node."""
    world, every = facts.cluster.world, facts.cluster.every
    assert not isinstance(every, Unknown)
    elsewhere, here = set[str](), dict[str, str]()
    for pod in every.value:
        owner = workload_of(world, pod.pod)
        if owner is not None and pod.pod.is_ready and pod.pod.deleted is None and pod.pod.node != facts.cluster.name:
            elsewhere.add(owner.uid or owner.key)
    for pod in pods:
        owner = workload_of(world, pod.pod)
        if owner is not None and pod.pod.is_ready and owner.scaled and not is_instance(pod.pod):
            here[owner.uid or owner.key] = owner.key
    return sorted(key for uid, key in here.items() if uid not in elsewhere)


def _unread(facts: RebootFacts, told: list[Finding]) -> Iterator[Finding]:
    """Each source that could not be read, unless a finding says it already."""
    for premise in facts.cluster.premises:
        if premise.as_of is None and not any(premise.reason in f.sentence for f in told if f.outlook is Outlook.NOT_EVALUATED):
            sentence = f"{premise.name}: not evaluated, {premise.reason}"
            yield Finding("reboot.unread", Weight.WARNING, sentence, _where(facts), outlook=Outlook.NOT_EVALUATED)
