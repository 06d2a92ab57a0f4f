"""Pods: what state they are really in, said as kubectl says it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from .objects import Owner, Ref
from .problems import Problem, Severity
from .text import times
from .values import dataclass

if TYPE_CHECKING:
    from .world import World

PENDING_GRACE = timedelta(seconds=60)
"""A pod that is younger may still be starting."""
TERMINATING_GRACE = timedelta(seconds=60)
"""On top of its own grace period."""
RECENT_RESTART = timedelta(minutes=10)

CALM_EXITS = frozenset({0, 143, 255})
"""Ended by itself, by SIGTERM, or with its node (containerd reports 255 after a reboot): a single restart of this kind needs nobody."""

FINISHED = frozenset({"Succeeded", "Failed"})
FINE = frozenset({"Running", "Completed", "Succeeded"})
STARTING = frozenset({"Pending", "ContainerCreating", "PodInitializing", "Terminating"})
"""States that are fine for a while."""


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    image: str
    ready: bool
    restarts: int
    state: str
    """`running`, `waiting` or `terminated`; empty when there is no status yet."""
    reason: str = ""
    """Why it waits or why it ended, such as CrashLoopBackOff."""
    message: str = ""
    exit_code: int | None = None
    started: datetime | None = None
    last_reason: str = ""
    """Why the previous instance ended (OOMKilled, Error)."""
    last_exit_code: int | None = None
    last_finished: datetime | None = None
    init: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    namespace: str
    name: str
    uid: str
    created: datetime
    node: str
    """Empty while unscheduled."""
    phase: str
    state: str
    """The STATUS column of kubectl (printers/internalversion printPod)."""
    ready: int
    """Ready containers, of `total` (restartable init containers counted, as kubectl does)."""
    total: int
    restarts: int
    last_restart: datetime | None
    is_ready: bool
    """Condition Ready is True."""
    ready_since: datetime | None
    deleted: datetime | None
    """deletionTimestamp: when the grace period ends."""
    grace_s: int
    owner: Owner | None
    ip: str
    labels: dict[str, str]
    containers: tuple[Container, ...]
    """Init containers first."""
    cpu_request_m: int
    memory_request_b: int
    cpu_limit_m: int
    memory_limit_b: int
    claims: tuple[str, ...]
    """Names of the PersistentVolumeClaims it mounts."""
    message: str
    """Why it does not run, in the cluster's words (Unschedulable, Evicted, image errors)."""
    mirror: bool = False
    qos: str = ""
    priority: int = 0

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def ref(self) -> Ref:
        return Ref("pods", self.name, self.namespace)

    @property
    def finished(self) -> bool:
        return self.phase in FINISHED

    @property
    def calm(self) -> bool:
        """True when nothing about this pod can become a problem by the passing of time alone, so that 20,000 need not be looked at."""
        if self.deleted is not None or self.state not in FINE:
            return False
        return self.phase == "Succeeded" or (self.is_ready and self.last_restart is None)


@dataclass(frozen=True, slots=True)
class PodUsage:
    """metrics.k8s.io: the sum of the pod's containers."""

    namespace: str
    name: str
    cpu_m: int
    memory_b: int
    at: datetime

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    phase: str
    created: datetime

    @property
    def key(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class PodCounts:
    """How many pods are in which state; kept up to date by the builder of the World."""

    total: int = 0
    running: int = 0
    """Phase Running, not being deleted."""
    pending: int = 0
    finished: int = 0
    restless: int = 0
    """Pods that are not calm: the ones `problems` looks at."""


def trouble(world: World, pod: Pod, now: datetime) -> Problem | None:
    """What is wrong with one pod, or None."""
    if pod.deleted is not None:
        if now - pod.deleted > TERMINATING_GRACE:
            return Problem(
                pod.ref,
                Severity.WARNING,
                f"{pod.name} has been terminating past its grace period",
                pod.deleted,
                _hits(pod),
                _dead_node(world, pod),
            )
        return None
    if pod.state in FINE:
        if pod.phase == "Running" and not pod.is_ready and now - (pod.ready_since or pod.created) > PENDING_GRACE:
            return Problem(
                pod.ref,
                Severity.WARNING,
                f"{pod.name} runs but is not ready ({pod.ready}/{pod.total})",
                pod.ready_since,
                _hits(pod),
                pod.message,
            )
        if pod.last_restart is not None and now - pod.last_restart < RECENT_RESTART:
            why = next((c.last_reason for c in pod.containers if c.last_finished == pod.last_restart), "")
            code = next((c.last_exit_code for c in pod.containers if c.last_finished == pod.last_restart), None)
            if code in CALM_EXITS and why != "OOMKilled":
                return None
            cause = f"{why} exit {code}".strip() if code is not None else why
            severity = Severity.WARNING if why == "OOMKilled" or pod.restarts > 3 else Severity.NOTICE
            return Problem(pod.ref, severity, f"{pod.name} restarted ({times(pod.restarts)})", pod.last_restart, _hits(pod), cause)
        return None
    if pod.state in STARTING and now - pod.created < PENDING_GRACE:
        return None
    if pod.phase == "Failed" and pod.owner is not None and pod.owner.kind == "Job":
        return Problem(pod.ref, Severity.NOTICE, f"{pod.name} failed ({pod.state})", pod.created, _hits(pod), pod.message)
    if pod.phase == "Failed":
        return Problem(
            pod.ref,
            Severity.NOTICE,
            f"{pod.name} is left over as {pod.state}",
            pod.created,
            "nothing: its owner made a new one" if pod.owner else "",
            pod.message,
        )
    severity = Severity.WARNING
    since = pod.ready_since or pod.created
    return Problem(pod.ref, severity, f"{pod.name} is {pod.state}", since, _hits(pod), pod.message)


def _hits(pod: Pod) -> str:
    if pod.owner is None:
        return f"a pod without an owner in {pod.namespace}"
    name = pod.owner.name
    if pod.owner.kind == "ReplicaSet":
        return f"deployment {pod.namespace}/{name.rpartition('-')[0] or name}"
    return f"{pod.owner.kind} {pod.namespace}/{name}"


def silent_node(world: World, pod: Pod) -> str:
    """The node of a pod that the cluster still calls Running although its node does not report, or an empty string."""
    node = world.nodes.items.get(pod.node)
    return pod.node if node is not None and node.ready != "True" and not pod.finished else ""


def _dead_node(world: World, pod: Pod) -> str:
    node = world.nodes.items.get(pod.node)
    if node is not None and node.ready != "True":
        return f"its node {pod.node} cannot confirm"
    return "finalizer or kubelet holds it"


def problems(world: World, now: datetime) -> tuple[Problem, ...]:
    """Only pods that are not calm are looked at."""
    found = (trouble(world, pod, now) for pod in world.restless_pods.values())
    return tuple(p for p in found if p is not None)
