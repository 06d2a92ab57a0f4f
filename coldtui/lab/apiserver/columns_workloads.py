"""The columns of nodes, pods and workloads, as the real server prints them."""

from __future__ import annotations

from datetime import datetime

from coldtui.lab.apiserver.clock import parse_time
from coldtui.lab.apiserver.printing import (
    NONE,
    UNKNOWN,
    Cells,
    Json,
    Printer,
    age,
    containers_of,
    human,
    labels_of,
    name_of,
    since,
    spec_of,
    status_of,
)
from coldtui.lab.apiserver.scale import selector_text


def _node(obj: Json, now: datetime) -> Cells:
    status, info = status_of(obj), status_of(obj).get("nodeInfo") or {}
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    text = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if spec_of(obj).get("unschedulable"):
        text += ",SchedulingDisabled"
    labels = obj["metadata"].get("labels") or {}
    roles = [k.removeprefix("node-role.kubernetes.io/") for k in sorted(labels) if k.startswith("node-role.kubernetes.io/")]
    addresses = {a.get("type"): a.get("address") for a in reversed(status.get("addresses") or [])}
    return [
        name_of(obj),
        text,
        ",".join(roles) or NONE,
        age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP") or NONE,
        addresses.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def pod_reason(obj: Json) -> str:
    """The STATUS column of a pod: its phase unless a container or a deletion says more."""
    status, meta = status_of(obj), obj["metadata"]
    reason = status.get("reason") or status.get("phase") or ""
    if any(c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in status.get("conditions") or ()):
        reason = "SchedulingGated"
    starting = False
    inits = status.get("initContainerStatuses") or []
    for i, c in enumerate(inits):
        state = c.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended and ended.get("exitCode") == 0:
            continue
        declared: Json = next((s for s in spec_of(obj).get("initContainers") or () if s.get("name") == c.get("name")), {})
        sidecar = declared.get("restartPolicy") == "Always"
        if sidecar and c.get("started"):
            continue
        if ended:
            reason = "Init:" + (
                ended.get("reason") or (f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode')}")
            )
        elif waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{waiting['reason']}"
        else:
            reason = f"Init:{i}/{len(spec_of(obj).get('initContainers') or inits)}"
        starting = True
        break
    if not starting:
        running = False
        for c in reversed(status.get("containerStatuses") or []):
            state = c.get("state") or {}
            ended, waiting = state.get("terminated"), state.get("waiting")
            if waiting and waiting.get("reason"):
                reason = waiting["reason"]
            elif ended:
                reason = ended.get("reason") or (
                    f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
                )
            elif c.get("ready") and state.get("running"):
                running = True
        if reason == "Completed" and running:
            ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or ())
            reason = "Running" if ready else "NotReady"
    if meta.get("deletionTimestamp"):
        reason = (
            "Unknown" if status.get("reason") == "NodeLost" else reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"
        )
    return str(reason)


def _sidecars(spec: Json) -> set[str]:
    return {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}


def _counted(spec: Json, status: Json) -> tuple[list[Json], int]:
    """The container statuses whose restarts count, and how many are ready: while a pod initialises, those of its init containers so far;
    afterwards sidecars and containers (printPod of Kubernetes 1.34)."""
    sidecars = _sidecars(spec)
    ready, so_far = 0, []
    initialized = any(c.get("type") == "Initialized" and c.get("status") == "True" for c in status.get("conditions") or ())
    for init in status.get("initContainerStatuses") or ():
        so_far.append(init)
        ended = (init.get("state") or {}).get("terminated")
        if ended is not None and not ended.get("exitCode"):
            continue
        if init.get("name") in sidecars and init.get("started"):
            ready += bool(init.get("ready"))
            continue
        if not initialized:
            return so_far, ready
        break
    held = status.get("containerStatuses") or []
    ready += sum(bool(c.get("ready")) and "running" in (c.get("state") or {}) for c in held)
    return [*(c for c in so_far if c.get("name") in sidecars), *held], ready


def _pod(obj: Json, now: datetime) -> Cells:
    status, spec = status_of(obj), spec_of(obj)
    counted, ready = _counted(spec, status)
    restarts = sum(int(c.get("restartCount") or 0) for c in counted)
    ended = [t for c in counted if (t := parse_time(((c.get("lastState") or {}).get("terminated") or {}).get("finishedAt")))]
    shown = f"{restarts} ({human((now - max(ended)).total_seconds())} ago)" if restarts and ended else str(restarts)
    gates = spec.get("readinessGates") or []
    true = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    gate = f"{sum(g.get('conditionType') in true for g in gates)}/{len(gates)}" if gates else NONE
    return [
        name_of(obj),
        f"{ready}/{len(spec.get('containers') or ()) + len(_sidecars(spec))}",
        pod_reason(obj),
        shown,
        age(obj, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        gate,
    ]


def _deployment(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    names, images = containers_of(spec)
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        names,
        images,
        selector_text(spec.get("selector")) or NONE,
    ]


def _replica_set(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    names, images = containers_of(spec)
    return [
        name_of(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        names,
        images,
        selector_text(spec.get("selector")) or NONE,
    ]


def _stateful_set(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    return [name_of(obj), f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}", age(obj, now), *containers_of(spec)]


def _daemon_set(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        name_of(obj),
        *(status.get(c, 0) for c in counts),
        labels_of(pod.get("nodeSelector")),
        age(obj, now),
        *containers_of(spec),
        selector_text(spec.get("selector")) or NONE,
    ]


def _job(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    held = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    word = next((w for w in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet") if w in held), "Running")
    begun, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    duration = human(((ended or now) - begun).total_seconds()) if begun else ""
    names, images = containers_of(spec)
    return [
        name_of(obj),
        word,
        f"{status.get('succeeded', 0)}/{spec.get('completions') or spec.get('parallelism') or 1}",
        duration,
        age(obj, now),
        names,
        images,
        selector_text(spec.get("selector")) or NONE,
    ]


def _cron_job(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    last = since(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else NONE
    suspended = "True" if spec.get("suspend") else "False"
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    names, images = containers_of(job)
    active = len(status.get("active") or ())
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        suspended,
        active,
        last,
        age(obj, now),
        names,
        images,
        selector_text(job.get("selector")) or NONE,
    ]


WORKLOADS: dict[str, Printer] = {
    "Node": Printer(
        ("Name", "Status", "Roles", "Age", "Version", "!Internal-IP", "!External-IP", "!OS-Image", "!Kernel-Version", "!Container-Runtime"),
        _node,
    ),
    "Pod": Printer(("Name", "Ready", "Status", "Restarts", "Age", "!IP", "!Node", "!Nominated Node", "!Readiness Gates"), _pod),
    "Deployment": Printer(("Name", "Ready", "#Up-to-date", "#Available", "Age", "!Containers", "!Images", "!Selector"), _deployment),
    "ReplicaSet": Printer(("Name", "#Desired", "#Current", "#Ready", "Age", "!Containers", "!Images", "!Selector"), _replica_set),
    "StatefulSet": Printer(("Name", "Ready", "Age", "!Containers", "!Images"), _stateful_set),
    "DaemonSet": Printer(
        (
            "Name",
            "#Desired",
            "#Current",
            "#Ready",
            "#Up-to-date",
            "#Available",
            "Node Selector",
            "Age",
            "!Containers",
            "!Images",
            "!Selector",
        ),
        _daemon_set,
    ),
    "Job": Printer(("Name", "Status", "Completions", "Duration", "Age", "!Containers", "!Images", "!Selector"), _job),
    "CronJob": Printer(
        ("Name", "Schedule", "Timezone", "?Suspend", "#Active", "Last Schedule", "Age", "!Containers", "!Images", "!Selector"), _cron_job
    ),
}
"""Printers of nodes, pods and what makes pods."""
