"""Where the pods of a node can go: the scheduler's filters over nodes, requests, volumes and affinity, one pod after another.

An estimate that says what it knows: other resources than CPU, memory, pods and host ports are not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...domain import values
from ...domain.drains import UNSCHEDULABLE, DrainPod, DrainVolume, PodTerm, Spread
from ...domain.nodes import Node
from ...domain.pods import FINISHED
from ...domain.text import counted

KEEPING_OUT = ("NoSchedule", "NoExecute")
GIB = 1 << 30


@values.dataclass(frozen=True, slots=True)
class Place:
    """Where one pod can go."""

    nodes: tuple[str, ...] = ()
    """Nodes with room for it, beside what this plan has placed there before it."""
    chosen: str = ""
    """Where it was placed; empty: nowhere."""
    why_not: str = ""
    """Why it fits nowhere, by reason: `2 nodes: not enough memory (needs 4.0 GiB)`."""
    pinned: str = ""
    """Name of the volume that ties it to the node that is drained; it stays Pending until that node is back."""


@dataclass
class _Room:
    """One node that may take pods."""

    node: Node
    pods: list[DrainPod] = field(default_factory=list)
    cpu_m: int = 0
    memory_b: int = 0

    def take(self, pod: DrainPod) -> None:
        self.pods.append(pod)
        self.cpu_m += pod.pod.cpu_request_m
        self.memory_b += pod.pod.memory_request_b

    def fill(self) -> float:
        """The fuller of CPU and memory, 0 to 1."""
        size = self.node.allocatable
        return max(self.cpu_m / max(1, size.cpu_m), self.memory_b / max(1, size.memory_b))


class Places:
    """The cluster without the moving pods; each `place` takes room from the next."""

    def __init__(
        self, drained: Node, nodes: Iterable[Node], pods: Iterable[DrainPod], volumes: Iterable[DrainVolume], moving: Iterable[str]
    ) -> None:
        """`moving`: keys of the pods that leave the drained node."""
        leaving = set(moving)
        self._drained = drained
        self._rooms = {node.name: _Room(node) for node in sorted((drained, *nodes), key=lambda n: n.name)}
        self._shy: list[tuple[DrainPod, Node]] = []
        """Pods that must keep apart from others, and where they are."""
        for pod in pods:
            room = self._rooms.get(pod.pod.node)
            if room is not None and pod.key not in leaving and pod.pod.phase not in FINISHED:
                self._take(room, pod)
        self._volumes: dict[str, DrainVolume] = {v.claim: v for v in volumes if v.claim}

    def _take(self, room: _Room, pod: DrainPod) -> None:
        room.take(pod)
        if pod.apart:
            self._shy.append((pod, room.node))

    def place(self, pod: DrainPod) -> Place:
        """Where a pod can go, and take the room there."""
        near = _Neighbours(pod, tuple(self._rooms.values()), self._shy)
        fits, reasons = [], Counter[str]()
        for name, room in self._rooms.items():
            if name == self._drained.name:
                continue
            why = _by_node(pod, room.node) or self._by_volume(pod, room.node) or _by_room(pod, room) or near.refusal(room.node)
            if why:
                reasons[why] += 1
            else:
                fits.append(room)
        if not fits:
            return Place(why_not=_told(reasons), pinned=self._pin(pod))
        best = min(fits, key=lambda room: (_siblings(pod, room), room.fill(), room.node.name))
        self._take(best, pod)
        return Place(tuple(room.node.name for room in fits), best.node.name)

    def _by_volume(self, pod: DrainPod, node: Node) -> str:
        for claim in pod.pod.claims:
            volume = self._volumes.get(f"{pod.pod.namespace}/{claim}")
            if volume is not None and not volume.usable_on(node):
                return f"volume of claim {claim} is not usable there"
        return ""

    def _pin(self, pod: DrainPod) -> str:
        """The claim of a volume that can be used on the drained node and on no other."""
        others = [room.node for name, room in self._rooms.items() if name != self._drained.name]
        for claim in pod.pod.claims:
            volume = self._volumes.get(f"{pod.pod.namespace}/{claim}")
            if volume is not None and volume.terms is not None and not any(volume.usable_on(node) for node in others):
                return claim
        return ""


class _Neighbours:
    """Affinity, anti-affinity and spreading of one pod, worked out once for all nodes."""

    def __init__(self, pod: DrainPod, rooms: Sequence[_Room], shy: Iterable[tuple[DrainPod, Node]]) -> None:
        self._pod = pod
        self._repels = [
            (term.topology, node, other.pod.name) for other, node in shy for term in other.apart if term.selects(pod.pod)
        ]  # fmt: skip
        self._apart = [(term.topology, _domains(term, rooms)) for term in pod.apart]
        # Where nobody matches yet but it does itself, it is the first of its kind and may go anywhere.
        beside = [(term, _domains(term, rooms)) for term in pod.beside]
        self._beside = [(term.topology, found) for term, found in beside if found or not term.selects(pod.pod)]
        self._spreads = [(spread, _counts(spread, pod, rooms)) for spread in pod.spreads]

    def refusal(self, node: Node) -> str:
        if any(node.labels.get(topology) in found for topology, found in self._apart):
            return "must keep apart from a pod there"
        for topology, there, name in self._repels:
            if topology in node.labels and node.labels[topology] == there.labels.get(topology):
                return f"{name} must keep apart from it"
        if any(node.labels.get(topology) not in found for topology, found in self._beside):
            return "must be beside a pod that is not there"
        return next((why for spread, counts in self._spreads if (why := self._skew(spread, counts, node))), "")

    def _skew(self, spread: Spread, counts: dict[str, int], node: Node) -> str:
        domain = node.labels.get(spread.topology)
        if domain is None:
            return f"has no label {spread.topology}, by which it spreads"
        mine = counts.get(domain, 0) + spread.selector.matches(self._pod.pod.labels)
        over = mine - min(counts.values(), default=0) > spread.max_skew
        return f"would spread unevenly over {spread.topology} (maxSkew {spread.max_skew})" if over else ""


def _domains(term: PodTerm, rooms: Iterable[_Room]) -> set[str]:
    """The values of the topology's label where a pod is that the term selects."""
    return {
        room.node.labels[term.topology]
        for room in rooms
        if term.topology in room.node.labels and any(term.selects(other.pod) for other in room.pods)
    }


def _counts(spread: Spread, pod: DrainPod, rooms: Iterable[_Room]) -> dict[str, int]:
    """Matching pods in each domain that counts."""
    counts: dict[str, int] = {}
    for room in rooms:
        there = room.node
        if spread.topology not in there.labels or (spread.heeds_affinity and not pod.wants_node(there)):
            continue
        if spread.heeds_taints and not _tolerates_all(pod, there):
            continue
        alike = sum(1 for o in room.pods if o.pod.namespace == pod.pod.namespace and spread.selector.matches(o.pod.labels))
        counts[there.labels[spread.topology]] = counts.get(there.labels[spread.topology], 0) + alike
    return counts


def _siblings(pod: DrainPod, room: _Room) -> int:
    owner = pod.pod.owner
    return sum(1 for other in room.pods if owner is not None and other.pod.owner is not None and other.pod.owner.uid == owner.uid)


def _by_node(pod: DrainPod, node: Node) -> str:
    if node.ready != "True":
        return "not Ready"
    if node.unschedulable and not pod.tolerates(UNSCHEDULABLE):
        return "cordoned"
    if not pod.wants_node(node):
        return "does not match its node selector or affinity"
    taint = next((t for t in node.taints if t.effect in KEEPING_OUT and not pod.tolerates(t)), None)
    return f"taint {taint}" if taint is not None else ""


def _tolerates_all(pod: DrainPod, node: Node) -> bool:
    """Whether it may be placed there as far as taints go; a cordon is one even before the controller has written it."""
    taints = (*node.taints, UNSCHEDULABLE) if node.unschedulable else node.taints
    return all(pod.tolerates(t) for t in taints if t.effect in KEEPING_OUT)


def _by_room(pod: DrainPod, room: _Room) -> str:
    size, wanted = room.node.allocatable, pod.pod
    taken = {port for other in room.pods for port in other.host_ports}
    if clash := next((port for port in pod.host_ports if port in taken), None):
        return f"host port {clash[1]} is taken"
    if size.pods and len(room.pods) >= size.pods:
        return "no room for another pod"
    if wanted.cpu_request_m and room.cpu_m + wanted.cpu_request_m > size.cpu_m:
        return f"not enough CPU (needs {wanted.cpu_request_m / 1000:.2g})"
    if wanted.memory_request_b and room.memory_b + wanted.memory_request_b > size.memory_b:
        return f"not enough memory (needs {wanted.memory_request_b / GIB:.2f} GiB)"
    return ""


def _told(reasons: Mapping[str, int]) -> str:
    """`2 nodes: cordoned; 1 node: not Ready`, the most frequent first."""
    if not reasons:
        return "there is no other node"
    ordered: Sequence[tuple[str, int]] = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return "; ".join(f"{counted(n, 'node')}: {why}" for why, n in ordered)
