"""The ways of a failover, from the gentlest to the hardest, and why each is open or not; and what proves that the old primary is stopped. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...domain.failover import Prospect
from ...domain.pods import Pod
from ...domain.readings import Known, Unknown
from ...domain.values import dataclass
from .failover_facts import FailoverFacts
from .hosted import CONTAINER

if TYPE_CHECKING:
    from .failover_case import Case

AUTO, WAIT, POWER, PATCH, DELETE = "auto", "wait", "out-of-service", "patch", "delete-pod"
WAYS = (WAIT, POWER, PATCH, DELETE)
"""In the order in which they are tried (reference of CloudNativePG's emergencies: waiting is the gentlest)."""
WORDS = {
    WAIT: "let the operator fail over",
    POWER: "declare the node of the old primary out of service",
    PATCH: "name the new primary by hand",
    DELETE: "delete the pod of the old primary without grace",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for, beside the cluster."""

    to: str = ""
    way: str = AUTO
    worse: bool = False
    """A replica that has received less than another is accepted."""
    off: bool = False
    """Whoever asks answers for it that the old primary is off."""
    primary_lsn: str = ""
    emergency: bool = False
    """What the operator would do by itself is not waited for."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That the old primary is stopped."""

    kind: str
    """`container`, `gone`, `released`, `host`, `declared`; `lease` once it was seen to be left alone for its whole duration."""
    sentence: str
    hard: bool = True
    """Its server cannot be running. A Lease that is not renewed proves only that its manager does not reach the API."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What will be done, and why nothing else."""

    to: str
    """Empty: nobody can lead."""
    way: str
    """Empty: no way is open."""
    by_hand: bool
    """The new primary is named by us and not elected by the operator."""
    closed: Mapping[str, str]
    """way -> why it is not open."""


# ------------------------------------------------------------ whether the old primary is stopped


def proof_of(facts: FailoverFacts, off: bool) -> Proof | None:
    """What proves now that the server of the old primary does not run; None: nothing yet."""
    return _by_kubelet(facts) or _by_host(facts) or _by_lease(facts) or _declared(facts, off)


def _by_kubelet(facts: FailoverFacts) -> Proof | None:
    name, pod, nodes = facts.primary, facts.pod, facts.pg.nodes
    if not facts.pods_read or isinstance(nodes, Unknown) or facts.node_trouble:
        return None
    if pod is None:
        away = [n.name for n in nodes.value.values() if n.ready != "True"]
        return None if away else Proof("gone", f"{name} has no pod, and every kubelet answers")
    node = nodes.value.get(pod.node)
    stopped = container_stopped(pod)
    if node is None or node.ready != "True" or not stopped:
        return None
    return Proof("container", f"the kubelet of {pod.node} says that container {CONTAINER} of {name} {stopped}")


def container_stopped(pod: Pod) -> str:
    """`is terminated (137)`, `waits: CrashLoopBackOff`; empty: it runs, or nothing is said of it."""
    one = next((c for c in pod.containers if c.name == CONTAINER and not c.init), None)
    if one is None or one.state not in ("terminated", "waiting"):
        return ""
    if one.state == "terminated":
        return f"is terminated ({one.reason or one.exit_code})"
    return f"does not run: {one.reason or 'waiting'}"


def _by_host(facts: FailoverFacts) -> Proof | None:
    if not isinstance(facts.host, Known) or facts.host.value or facts.pod is None:
        return None
    return Proof("host", f"no container {CONTAINER} of {facts.primary} runs on {facts.pod.node}, by its container runtime over SSH")


def _by_lease(facts: FailoverFacts) -> Proof | None:
    lease = facts.lease
    if lease is None or lease.holder:
        return None
    return Proof("released", f"{facts.primary} has given the lease back, which it does once its server is down")


def _declared(facts: FailoverFacts, off: bool) -> Proof | None:
    return Proof("declared", f"whoever confirms answers for it that {facts.primary} is off") if off else None


def choose(case: Case) -> Chosen:
    """The first way that is open, or the one asked for. In an emergency waiting is the last one."""
    closed = {way: why for way in WAYS if (why := _closed(case, way))}
    wanted = case.asked.way
    if wanted == AUTO:
        order = (*WAYS[1:], WAIT) if case.asked.emergency else WAYS
        way = next((w for w in order if w not in closed), "")
    else:
        way = wanted if wanted not in closed else ""
    by_hand = way == PATCH or (way in (POWER, DELETE) and bool(_no_election(case)))
    return Chosen(case.to, way, by_hand, closed)


def _closed(case: Case, way: str) -> str:
    """Why a way is not open; empty: it is."""
    return {WAIT: _no_waiting, POWER: _no_power, PATCH: _no_patch, DELETE: _no_delete}[way](case)


def _no_election(case: Case) -> str:
    """Why the operator would not elect the one that is to lead, even with the old primary gone; empty: it would."""
    if not case.operator_runs:
        return case.without_operator
    waits = [c for c in case.prospect.causes if c.code == "unready" and not c.sentence.startswith(f"{case.primary} ")]
    if waits:
        return waits[0].sentence
    held = case.codes & {"disabled", "hibernated", "phase", "quorum", "two-primaries", "no-replica", "fenced", "stalled"}
    if held:
        return next(cause.sentence for cause in case.prospect.causes if cause.code in held)
    if case.ranked and case.to != case.ranked[0]:
        return f"it would elect {case.ranked[0]}"
    return ""


def _no_waiting(case: Case) -> str:
    if why := _no_election(case):
        return why
    if case.codes:
        return next(cause.sentence for cause in case.prospect.causes if cause.until is None)
    if case.prospect.expected_s is None:
        return "nobody can tell how long it would take"
    if case.prospect.overdue(case.now):
        since = case.prospect.since
        had = int((case.now - since).total_seconds()) if since is not None else 0
        return f"the operator has had {had:,} s and needs {span(case.prospect)}"
    return ""


def _no_power(case: Case) -> str:
    facts, pod = case.facts, case.facts.pod
    if pod is None or not pod.node:
        return f"the node of {case.primary} is not known"
    if not facts.node_trouble:
        return f"{pod.node} is Ready: declaring a living node out of service corrupts data"
    if _no_election(case) and not facts.rights.patch_status:
        return f"{_no_election(case)}, and naming one needs patch on clusters/status (RBAC)"
    if not facts.rights.patch_nodes:
        return "it needs patch on nodes (RBAC)"
    if case.proof is None or case.proof.kind not in ("host", "declared"):
        told = facts.host.reason if isinstance(facts.host, Unknown) else f"{CONTAINER} of {case.primary} still runs there"
        return f"nothing proves that {pod.node} is off: {told}"
    return ""


def _no_patch(case: Case) -> str:
    if not case.facts.rights.patch_status:
        return "it needs patch on clusters/status (RBAC)"
    if case.renews:
        return f"{case.renews}: {case.to or 'the new primary'} would wait for it, without end if it is renewed again"
    server = case.facts.pg.status(case.primary)
    if server is not None and not server.in_recovery:
        return f"the server of {case.primary} still runs: it answers SQL as the primary"
    if case.proof is None and not _lease_will_tell(case):
        return f"nothing proves that {case.primary} is stopped"
    return ""


def _lease_will_tell(case: Case) -> bool:
    """A Lease of the old primary that was not renewed between two looks: the run watches it for its whole duration."""
    lease = case.facts.lease
    return lease is not None and lease.holder == case.primary and not case.renews and isinstance(case.facts.renews, Known)


def _no_delete(case: Case) -> str:
    facts, pod, node = case.facts, case.facts.pod, case.facts.node
    if pod is None:
        return f"{case.primary} has no pod" if facts.pods_read else "the pods of the instances could not be read"
    if facts.node_trouble or node is None or node.ready != "True":
        where = facts.node_trouble or f"whether {pod.node or 'its node'} is Ready is not known"
        return f"{where}: deleting a pod stops nothing there"
    if not facts.rights.delete_pods:
        return "it needs delete on pods (RBAC)"
    if why := _no_election(case):
        return "" if facts.rights.patch_status else f"{why}, and naming one needs patch on clusters/status (RBAC)"
    return ""


def span(found: Prospect) -> str:
    least, most = found.expected_s or (0, 0)
    return f"{least:,} to {most:,} s"
