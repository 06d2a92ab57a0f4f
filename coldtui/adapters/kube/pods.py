"""Pods as kubectl sums them up, namespaces, and pods' usage (metrics.k8s.io)."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ...domain.pods import Container, Namespace, Pod, PodUsage
from ...domain.text import plain
from .decoding import EPOCH, Decoder, Meta, Present, Time, Wire, WireCondition, owner, word, words
from .quantity import amount, milli

Quantities = dict[str, str | int | float]
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons to wait that explain nothing."""


class _Annotations(Wire):
    mirror: str | None = msgspec.field(name="kubernetes.io/config.mirror", default=None)


class _Meta(Meta):
    annotations: _Annotations | None = None


class _Resources(Wire):
    requests: Quantities | None = None
    limits: Quantities | None = None


class _Container(Wire):
    name: str
    image: str = ""
    restart_policy: str = ""
    """`Always` on an init container: a sidecar."""
    resources: _Resources | None = None


class _ClaimSource(Wire):
    claim_name: str = ""


class _Volume(Wire):
    name: str = ""
    persistent_volume_claim: _ClaimSource | None = None
    ephemeral: Present | None = None


class _Spec(Wire):
    node_name: str = ""
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    volumes: list[_Volume] | None = None
    overhead: Quantities | None = None
    resources: _Resources | None = None
    """Of the pod as a whole (1.34)."""
    priority: int = 0


class _Running(Wire):
    started_at: Time | None = None


class _Waiting(Wire):
    reason: str = ""
    message: str = ""


class _Terminated(Wire):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: Time | None = None
    finished_at: Time | None = None


class _State(msgspec.Struct, rename="camel", gc=False, frozen=True):
    running: _Running | None = None
    waiting: _Waiting | None = None
    terminated: _Terminated | None = None


_NO_STATE = _State()


class _ContainerStatus(Wire):
    name: str
    image: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: _State = _NO_STATE
    last_state: _State = _NO_STATE


class _Status(Wire):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    qos_class: str = ""
    conditions: list[WireCondition] | None = None
    container_statuses: list[_ContainerStatus] | None = None
    init_container_statuses: list[_ContainerStatus] | None = None


class _Pod(Wire):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


# --- what kubectl shows ----------------------------------------------------------------------------------------------------------------


def _later(known: datetime | None, status: _ContainerStatus) -> datetime | None:
    ended = status.last_state.terminated
    if ended is None or ended.finished_at is None or (known is not None and known >= ended.finished_at):
        return known
    return ended.finished_at


def _end(ended: _Terminated) -> str:
    if ended.reason:
        return ended.reason
    return f"Signal:{ended.signal}" if ended.signal else f"ExitCode:{ended.exit_code}"


class _Summary:
    """kubectl's printPod (Kubernetes 1.34, pkg/printers/internalversion/printers.go), step by step."""

    __slots__ = ("last_restart", "ready", "restarts", "state", "total")

    def __init__(self, meta: Meta, spec: _Spec, status: _Status, ready: bool, initialized: bool, gated: bool) -> None:
        self.ready, self.total, self.restarts = 0, len(spec.containers or ()), 0
        self.last_restart: datetime | None = None
        self.state = "SchedulingGated" if gated else status.reason or status.phase
        initializing = bool(spec.init_containers) and self._init(spec.init_containers or [], status.init_container_statuses or [])
        if not initializing or initialized:
            self._main(spec, status, ready)
        if meta.deletion_timestamp is not None:
            if status.reason == "NodeLost":
                self.state = "Unknown"
            elif status.phase not in {"Succeeded", "Failed"}:
                self.state = "Terminating"

    def _init(self, containers: list[_Container], statuses: list[_ContainerStatus]) -> bool:
        """Whether an init container still holds the pod up; then `state` says how."""
        sidecars = {c.name for c in containers if c.restart_policy == "Always"}
        self.total += len(sidecars)
        for index, status in enumerate(statuses):
            self.restarts += status.restart_count
            self.last_restart = _later(self.last_restart, status)
            ended, waiting = status.state.terminated, status.state.waiting
            if ended is not None and ended.exit_code == 0:
                continue
            if status.name in sidecars and status.started:
                self.ready += status.ready
                continue
            if ended is not None:
                self.state = f"Init:{_end(ended)}"
            elif waiting is not None and waiting.reason not in {"", "PodInitializing"}:
                self.state = f"Init:{waiting.reason}"
            else:
                self.state = f"Init:{index}/{len(containers)}"
            return True
        return False

    def _main(self, spec: _Spec, status: _Status, ready: bool) -> None:
        """From here on only the restarts of sidecars and of the containers themselves count."""
        self.restarts, self.last_restart = 0, None
        if spec.init_containers:
            sidecars = {c.name for c in spec.init_containers if c.restart_policy == "Always"}
            for one in status.init_container_statuses or ():
                if one.name in sidecars:
                    self.restarts += one.restart_count
                    self.last_restart = _later(self.last_restart, one)
        running = False
        for one in reversed(status.container_statuses or ()):
            self.restarts += one.restart_count
            self.last_restart = _later(self.last_restart, one)
            state = one.state
            if state.waiting is not None and state.waiting.reason:
                self.state = state.waiting.reason
            elif state.terminated is not None:
                self.state = _end(state.terminated)
            elif one.ready and state.running is not None:
                running = True
                self.ready += 1
        if self.state == "Completed" and running:
            self.state = "Running" if ready else "NotReady"


# --- containers, resources, words ------------------------------------------------------------------------------------------------------


def _container(spec: _Container, status: _ContainerStatus | None, init: bool) -> Container:
    if status is None:
        return Container(word(spec.name), word(spec.image), False, 0, "", init=init)
    state, last = status.state, status.last_state.terminated
    name, reason, message, code, started = "", "", "", None, None
    if state.running is not None:
        name, started = "running", state.running.started_at
    elif state.terminated is not None:
        ended = state.terminated
        name, reason, message, code, started = "terminated", word(ended.reason), plain(ended.message), ended.exit_code, ended.started_at
    elif state.waiting is not None:
        name, reason, message = "waiting", word(state.waiting.reason), plain(state.waiting.message)
    if last is None:
        return Container(
            word(spec.name), word(spec.image), status.ready, status.restart_count, name, reason, message, code, started, init=init
        )
    return Container(
        word(spec.name),
        word(spec.image),
        status.ready,
        status.restart_count,
        name,
        reason,
        message,
        code,
        started,
        word(last.reason),
        last.exit_code,
        last.finished_at,
        init,
    )


def _containers(spec: _Spec, status: _Status) -> tuple[Container, ...]:
    states = {s.name: s for s in status.container_statuses or ()}.get
    found = [_container(c, states(c.name), False) for c in spec.containers or ()]
    if spec.init_containers:
        states = {s.name: s for s in status.init_container_statuses or ()}.get
        found = [_container(c, states(c.name), True) for c in spec.init_containers] + found
    return tuple(found)


def _pair(found: Quantities | None) -> tuple[int, int]:
    if not found:
        return 0, 0
    return milli(found.get("cpu", 0)), amount(found.get("memory", 0))


def _wanted(spec: _Spec, field: str) -> tuple[int, int]:
    """Requests or limits of a pod (CPU m, memory bytes), as the scheduler counts: what runs together, or the hungriest moment of the start."""
    cpu = memory = 0
    for container in spec.containers or ():
        if container.resources is not None:
            c, m = _pair(getattr(container.resources, field))
            cpu, memory = cpu + c, memory + m
    if spec.init_containers:
        side_cpu = side_memory = top_cpu = top_memory = 0
        for container in spec.init_containers:
            c, m = _pair(getattr(container.resources, field)) if container.resources is not None else (0, 0)
            if container.restart_policy == "Always":
                side_cpu, side_memory = side_cpu + c, side_memory + m
                c, m = 0, 0  # it is in the sum already
            top_cpu, top_memory = max(top_cpu, side_cpu + c), max(top_memory, side_memory + m)
        cpu, memory = max(cpu + side_cpu, top_cpu), max(memory + side_memory, top_memory)
    if spec.resources is not None and (whole := getattr(spec.resources, field)):
        cpu = milli(whole["cpu"]) if "cpu" in whole else cpu
        memory = amount(whole["memory"]) if "memory" in whole else memory
    if spec.overhead and (field == "requests" or cpu or memory):
        c, m = _pair(spec.overhead)
        cpu, memory = cpu + c, memory + m
    return cpu, memory


def _claims(name: str, volumes: list[_Volume] | None) -> tuple[str, ...]:
    found = []
    for volume in volumes or ():
        if volume.persistent_volume_claim is not None:
            found.append(word(volume.persistent_volume_claim.claim_name))
        elif volume.ephemeral is not None:
            found.append(plain(f"{name}-{volume.name}"))  # the claim that Kubernetes makes for it
    return tuple(found)


def _message(status: _Status, ready: WireCondition | None, scheduled: WireCondition | None) -> str:
    """Why the pod does not run, the most telling first."""
    if status.message:
        return plain(status.message)
    if scheduled is not None and scheduled.status == "False":
        return plain(scheduled.message or scheduled.reason)
    for one in (*(status.init_container_statuses or ()), *(status.container_statuses or ())):
        waiting, ended = one.state.waiting, one.state.terminated
        if waiting is not None and waiting.reason not in _STARTING:
            return plain(waiting.message or waiting.reason)
        if ended is not None and ended.exit_code != 0 and (ended.message or ended.reason):
            return plain(ended.message or ended.reason)
    if ready is not None and ready.status != "True" and status.phase == "Running":
        return plain(ready.message)
    return ""


def _pod(item: _Pod, now: datetime) -> Pod:
    meta, spec, status = item.metadata, item.spec, item.status
    ready = scheduled = None
    initialized = gated = False
    for condition in status.conditions or ():
        match condition.type:
            case "Ready":
                ready = condition
            case "PodScheduled":
                scheduled = condition
                gated = condition.reason == "SchedulingGated"
            case "Initialized":
                initialized = condition.status == "True"
    is_ready = ready is not None and ready.status == "True"
    shown = _Summary(meta, spec, status, is_ready, initialized, gated)
    cpu_request, memory_request = _wanted(spec, "requests")
    cpu_limit, memory_limit = _wanted(spec, "limits")
    name = plain(meta.name)
    return Pod(
        namespace=word(meta.namespace),
        name=name,
        uid=plain(meta.uid),
        created=meta.creation_timestamp or EPOCH,
        node=word(spec.node_name),
        phase=word(status.phase),
        state=word(shown.state),
        ready=shown.ready,
        total=shown.total,
        restarts=shown.restarts,
        last_restart=shown.last_restart,
        is_ready=is_ready,
        ready_since=ready.last_transition_time if ready is not None else None,
        deleted=meta.deletion_timestamp,
        grace_s=meta.deletion_grace_period_seconds or 0,
        owner=owner(meta) if meta.owner_references else None,
        ip=plain(status.pod_ip),
        labels=words(meta.labels),
        containers=_containers(spec, status),
        cpu_request_m=cpu_request,
        memory_request_b=memory_request,
        cpu_limit_m=cpu_limit,
        memory_limit_b=memory_limit,
        claims=_claims(name, spec.volumes) if spec.volumes else (),
        message=_message(status, ready, scheduled),
        mirror=meta.annotations is not None and meta.annotations.mirror is not None,
        qos=word(status.qos_class),
        priority=spec.priority,
    )


PODS = Decoder(_Pod, _pod)


# --- namespaces, usage -----------------------------------------------------------------------------------------------------------------


class _NamespaceStatus(Wire):
    phase: str = ""


class _Namespace(Wire):
    metadata: Meta
    status: _NamespaceStatus = msgspec.field(default_factory=_NamespaceStatus)


def _namespace(item: _Namespace, now: datetime) -> Namespace:
    return Namespace(word(item.metadata.name), word(item.status.phase), item.metadata.created)


NAMESPACES = Decoder(_Namespace, _namespace)


class _ContainerUsage(Wire):
    usage: Quantities


class _PodUsage(Wire):
    metadata: Meta
    timestamp: Time
    containers: list[_ContainerUsage] | None = None


def _pod_usage(item: _PodUsage, now: datetime) -> PodUsage:
    pairs = [_pair(c.usage) for c in item.containers or ()]
    cpu, memory = sum(c for c, _ in pairs), sum(m for _, m in pairs)
    return PodUsage(word(item.metadata.namespace), plain(item.metadata.name), cpu, memory, item.timestamp)


POD_USAGE = Decoder(_PodUsage, _pod_usage)
