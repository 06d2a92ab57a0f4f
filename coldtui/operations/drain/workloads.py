"""Who owns the pods, how many they shall be, and who stands still while its pods move."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ...domain.drains import DrainPod
from ...domain.nodes import Node
from ...domain.pods import FINISHED, Pod
from ...domain.readings import Known, Reading, Unknown
from ...domain.values import dataclass
from ...domain.verdicts import unsure
from ...domain.world import World

COMING = timedelta(minutes=5)
"""A pod that is not Ready for longer than this is not expected to become so by itself."""
ON_ITS_WAY = frozenset({"Running", "NotReady", "ContainerCreating", "PodInitializing", "Pending", "Terminating"})
SAME_NAME = ("StatefulSet", "Cluster")
"""Owners whose new pod bears the old one's name, and so cannot come before that is gone."""
_KINDS = {"Deployment": "deployments", "ReplicaSet": "replicasets", "StatefulSet": "statefulsets"}


@dataclass(frozen=True, slots=True)
class Workload:
    """What makes pods anew."""

    kind: str
    """API kind: Deployment, StatefulSet, Cluster, Job, ..."""
    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def scaled(self) -> bool:
        """Whether it says how many pods it shall have, in a field that we read."""
        return self.kind in _KINDS or self.kind == "Cluster"

    def __str__(self) -> str:
        return f"{self.kind.lower() if self.kind in _KINDS else self.kind} {self.name}"


def workload_of(world: World, pod: Pod) -> Workload | None:
    """The topmost owner that is known: the Deployment behind a ReplicaSet. None: nobody owns it."""
    if pod.owner is None:
        return None
    if pod.owner.kind == "ReplicaSet":
        replica_set = world.replicasets.items.get(f"{pod.namespace}/{pod.owner.name}")
        if replica_set is not None and replica_set.owner is not None:
            above = replica_set.owner
            return Workload(above.kind, pod.namespace, above.name, above.uid)
    return Workload(pod.owner.kind, pod.namespace, pod.owner.name, pod.owner.uid)


def scale_of(world: World, workload: Workload, role: str = "") -> Reading[int]:
    """How many pods it shall have. `role`: for a CloudNativePG cluster only its `replica`s or its `primary` count."""
    if workload.kind == "Cluster":
        cluster = world.pg_clusters.items.get(workload.key)
        if cluster is None:
            return Unknown("pg_clusters", unsure(world, "pg_clusters") or f"no such cluster: {workload.name}")
        count = {"primary": 1, "replica": cluster.instances - 1}.get(role, cluster.instances)
        return Known(count, "pg_clusters", world.at)
    shelf = _KINDS.get(workload.kind)
    if shelf is None:
        return Unknown(workload.kind, f"the scale of {workload} is not known")
    found = world.shelf(shelf).items.get(workload.key)
    if found is None:
        return Unknown(shelf, unsure(world, shelf) or f"{workload} does not exist")
    return Known(found.desired, shelf, world.at)


def not_coming(pod: Pod, nodes: Mapping[str, Node], now: datetime) -> str:
    """Why a pod that is not Ready will not become so by itself; empty: it is on its way."""
    node = nodes.get(pod.node)
    if node is not None and node.ready != "True":
        return f"its node {node.name} is {node.status.partition(',')[0]}"
    if not pod.node:
        return f"is {pod.state}: {pod.message}" if pod.message else ""
    if pod.state not in ON_ITS_WAY:
        return f"is {pod.state}"
    if now - (pod.ready_since or pod.created) > COMING:
        return f"is {pod.state} and not Ready since {pod.ready_since or pod.created:%H:%M}Z"
    return ""


def makes_anew(pod: DrainPod) -> bool:
    """Whether somebody will make a replacement elsewhere for it."""
    owner = pod.pod.owner
    return owner is not None and pod.pod.phase not in FINISHED and owner.kind not in ("Node", "InstanceManager", "DaemonSet")
