"""What a drain reads in more detail than the World does: pods with where they may run and what dies with them, budgets with their rules,
volumes with their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from .kinds import Kind
from .nodes import Node, Taint
from .pods import Pod
from .selectors import Selector
from .values import dataclass

DRAIN_PODS = Kind("drain_pods", "", "v1", "pods", True, "pods")
DRAIN_BUDGETS = Kind("drain_budgets", "policy", "v1", "poddisruptionbudgets", True, "disruption budgets")
DRAIN_VOLUMES = Kind("drain_volumes", "", "v1", "persistentvolumes", False, "persistent volumes")
LH_ATTACHMENTS = Kind("lh_attachments", "longhorn.io", "v1beta2", "volumeattachments", True, "Longhorn attachments", custom=True)
DRAIN_KINDS: dict[str, Kind] = {kind.name: kind for kind in (DRAIN_PODS, DRAIN_BUDGETS, DRAIN_VOLUMES, LH_ATTACHMENTS)}
"""Read for plans only, never watched."""

UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
"""What the node controller makes of a cordon."""
MANAGER_LABEL = ("longhorn.io/component", "instance-manager")
SHARE_LABEL = "longhorn.io/share-manager"
"""On the pod that serves a volume to many: the volume's name."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One rule about labels or fields of a node; besides the operators of a selector it knows Gt and Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt" if value is not None and _whole(value) and len(self.values) == 1 and _whole(self.values[0]):
                return int(value) > int(self.values[0]) if self.operator == "Gt" else int(value) < int(self.values[0])
        return False


def _whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 19


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One of several terms, one of which a node must match; all rules of a term must hold. A term without rules matches nothing."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()
    """The API knows `metadata.name` only."""

    def matches(self, node: Node) -> bool:
        if not self.labels and not self.fields:
            return False
        named = {"metadata.name": node.name}
        return all(r.matches(node.labels) for r in self.labels) and all(r.matches(named) for r in self.fields)


@dataclass(frozen=True, slots=True)
class Toleration:
    key: str = ""
    """Empty with Exists: every taint."""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    """Empty: every effect."""

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == taint.value)


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Which pods one wants to be beside, or apart from, within one domain of a topology."""

    topology: str
    """Label key of nodes; equal values are one domain."""
    selector: Selector | None = None
    """None selects nothing."""
    namespaces: tuple[str, ...] = ()
    everywhere: bool = False
    """Pods of all namespaces count. (A namespace selector with rules is taken so too: labels of namespaces are not read.)"""

    def selects(self, pod: Pod) -> bool:
        return self.selector is not None and (self.everywhere or pod.namespace in self.namespaces) and self.selector.matches(pod.labels)


@dataclass(frozen=True, slots=True)
class Spread:
    """A topologySpreadConstraint with DoNotSchedule."""

    topology: str
    max_skew: int
    selector: Selector
    heeds_taints: bool = False
    """nodeTaintsPolicy Honor. By default a cordoned node still counts, with the pods it has left."""
    heeds_affinity: bool = True


@dataclass(frozen=True, slots=True)
class EmptyDir:
    """A volume that dies with its pod."""

    name: str
    memory: bool = False
    limit_b: int | None = None

    def __str__(self) -> str:
        return f"{self.name} (memory)" if self.memory else self.name


@dataclass(frozen=True, slots=True)
class DrainPod:
    """A pod with all that a drain must know."""

    pod: Pod
    grace_s: int = 30
    """spec.terminationGracePeriodSeconds."""
    owner_api: str = ""
    """apiVersion of the controller."""
    finalizers: tuple[str, ...] = ()
    empty_dirs: tuple[EmptyDir, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    node_labels: dict[str, str] = field(default_factory=dict)
    """spec.nodeSelector."""
    node_terms: tuple[NodeTerm, ...] | None = None
    """Required node affinity, one of which must match; None: any node."""
    beside: tuple[PodTerm, ...] = ()
    """Required pod affinity."""
    apart: tuple[PodTerm, ...] = ()
    """Required pod anti-affinity."""
    spreads: tuple[Spread, ...] = ()
    host_ports: tuple[tuple[str, int], ...] = ()
    """(protocol, port) taken on its node."""
    serial: int | None = None
    """CloudNativePG's number of the instance (annotation cnpg.io/nodeSerial)."""

    @property
    def key(self) -> str:
        return self.pod.key

    @property
    def address(self) -> str:
        """`pods/namespace/name`."""
        return str(self.pod.ref)

    @property
    def of_daemon_set(self) -> bool:
        """By its controller, exactly as kubectl tells: kind and API version."""
        return self.pod.owner is not None and self.pod.owner.kind == "DaemonSet" and self.owner_api == "apps/v1"

    @property
    def ignores_budgets(self) -> bool:
        """The server then deletes it without asking any budget."""
        return self.pod.phase in ("Succeeded", "Failed", "Pending") or self.pod.deleted is not None

    def tolerates(self, taint: Taint) -> bool:
        return any(t.tolerates(taint) for t in self.tolerations)

    def wants_node(self, node: Node) -> bool:
        """Whether its node selector and required node affinity let it run there."""
        if any(node.labels.get(key) != value for key, value in self.node_labels.items()):
            return False
        return self.node_terms is None or any(term.matches(node) for term in self.node_terms)


@dataclass(frozen=True, slots=True)
class DrainBudget:
    """A PodDisruptionBudget with its rule, and whether its numbers are up to date."""

    namespace: str
    name: str
    created: datetime
    min_available: str = ""
    """A number, a percentage, or empty."""
    max_unavailable: str = ""
    selector: Selector | None = None
    """None selects nothing; an empty one every pod of the namespace."""
    generation: int = 0
    observed: int = 0
    policy: str = ""
    """unhealthyPodEvictionPolicy; empty is IfHealthyBudget."""
    allowed: int = 0
    healthy: int = 0
    desired: int = 0
    """Healthy pods that must be left."""
    expected: int = 0
    sync_error: str = ""
    """Why its controller cannot count at all (condition with reason SyncFailed); empty: it can."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def address(self) -> str:
        return f"budgets/{self.key}"

    @property
    def counted(self) -> bool:
        """Its numbers are those of its present rule."""
        return self.observed >= self.generation

    @property
    def counts_nobody(self) -> bool:
        """It expects no pod although there are healthy ones: maxUnavailable or a percentage over pods without a scale. Nothing is ever spared."""
        return self.expected == 0 and self.healthy > 0 and self.allowed == 0

    def selects(self, pod: Pod) -> bool:
        return pod.namespace == self.namespace and self.selector is not None and self.selector.matches(pod.labels)

    def lets_unready_go(self) -> bool:
        """Whether a pod that is not Ready is evicted without spending from it."""
        return self.policy == "AlwaysAllow" or self.healthy >= self.desired > 0

    @property
    def numbers(self) -> str:
        """`1 of 3 may go now; 3 healthy, 2 needed`."""
        return f"{self.allowed} of {self.expected} may go now; {self.healthy} healthy, {self.desired} needed"


@dataclass(frozen=True, slots=True)
class DrainVolume:
    """A PersistentVolume and where it can be used."""

    name: str
    claim: str = ""
    """`namespace/name`."""
    local: bool = False
    """On the disk of one node (local or hostPath)."""
    terms: tuple[NodeTerm, ...] | None = None
    """Required node affinity; None: everywhere."""
    capacity_b: int | None = None

    @property
    def key(self) -> str:
        return self.name

    def usable_on(self, node: Node) -> bool:
        return self.terms is None or any(term.matches(node) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Why Longhorn attaches a volume to a node."""

    id: str
    type: str
    """`csi-attacher`, `longhorn-api` (by hand), `backup-controller`, ..."""
    node: str


@dataclass(frozen=True, slots=True)
class LhAttachment:
    """A VolumeAttachment of Longhorn (not the one of Kubernetes)."""

    namespace: str
    name: str
    volume: str = ""
    tickets: tuple[Ticket, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"
