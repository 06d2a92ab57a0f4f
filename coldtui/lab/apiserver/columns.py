"""The columns that ``kubectl get`` shows for each built-in kind, as the real server prints them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coldtui.lab.apiserver.clock import parse_time
from coldtui.lab.apiserver.scale import selector_text

Json = dict[str, Any]
Cells = list[Any]
NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"


@dataclass(frozen=True, slots=True)
class Printer:
    """Column names (``!`` in front: wide only; ``#``: a number) and the function that fills a row."""

    names: tuple[str, ...]
    row: Callable[[Json, datetime], Cells]


def human(seconds: float) -> str:
    """A duration as kubectl writes it: 59s, 5m3s, 3h12m, 2d5h, 40d, 3y20d."""
    s = int(seconds)
    if s < -1:
        return "<invalid>"
    s = max(s, 0)
    if s < 120:
        return f"{s}s"
    minutes, hours, days = s // 60, s // 3600, s // 86400
    if minutes < 10:
        return f"{minutes}m{s % 60}s" if s % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if years < 8 and days % 365:
        return f"{years}y{days % 365}d"
    return f"{years}y"


def since(text: Any, now: datetime) -> str:
    """The time since a time stamp."""
    moment = parse_time(text)
    return UNKNOWN if moment is None else human((now - moment).total_seconds())


def age(obj: Json, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def _name(obj: Json) -> str:
    return str(obj["metadata"].get("name", ""))


def _spec(obj: Json) -> Json:
    return obj.get("spec") or {}


def _status(obj: Json) -> Json:
    return obj.get("status") or {}


def _labels(labels: Json | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((labels or {}).items())) or NONE


def _containers(spec: Json) -> tuple[str, str]:
    held = (spec.get("template") or {}).get("spec", {}).get("containers") or []
    return ",".join(c.get("name", "") for c in held), ",".join(c.get("image", "") for c in held)


def _node(obj: Json, now: datetime) -> Cells:
    status, info = _status(obj), _status(obj).get("nodeInfo") or {}
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    text = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if _spec(obj).get("unschedulable"):
        text += ",SchedulingDisabled"
    labels = obj["metadata"].get("labels") or {}
    roles = [k.removeprefix("node-role.kubernetes.io/") for k in sorted(labels) if k.startswith("node-role.kubernetes.io/")]
    addresses = {a.get("type"): a.get("address") for a in reversed(status.get("addresses") or [])}
    return [
        _name(obj),
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
    status, meta = _status(obj), obj["metadata"]
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
        declared: Json = next((s for s in _spec(obj).get("initContainers") or () if s.get("name") == c.get("name")), {})
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
            reason = f"Init:{i}/{len(_spec(obj).get('initContainers') or inits)}"
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


def _pod(obj: Json, now: datetime) -> Cells:
    status, spec = _status(obj), _spec(obj)
    held = status.get("containerStatuses") or []
    restarts = sum(int(c.get("restartCount") or 0) for c in held)
    ended = [t for c in held if (t := parse_time(((c.get("lastState") or {}).get("terminated") or {}).get("finishedAt")))]
    shown = f"{restarts} ({human((now - max(ended)).total_seconds())} ago)" if restarts and ended else str(restarts)
    gates = spec.get("readinessGates") or []
    true = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    gate = f"{sum(g.get('conditionType') in true for g in gates)}/{len(gates)}" if gates else NONE
    ready = f"{sum(bool(c.get('ready')) for c in held)}/{len(spec.get('containers') or ())}"
    return [
        _name(obj),
        ready,
        pod_reason(obj),
        shown,
        age(obj, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        gate,
    ]


def _deployment(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(spec)
    return [
        _name(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        names,
        images,
        selector_text(spec.get("selector")) or NONE,
    ]


def _replica_set(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(spec)
    return [
        _name(obj),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        names,
        images,
        selector_text(spec.get("selector")) or NONE,
    ]


def _stateful_set(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    return [_name(obj), f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}", age(obj, now), *_containers(spec)]


def _daemon_set(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        _name(obj),
        *(status.get(c, 0) for c in counts),
        _labels(pod.get("nodeSelector")),
        age(obj, now),
        *_containers(spec),
        selector_text(spec.get("selector")) or NONE,
    ]


def _external(spec: Json, status: Json) -> str:
    own = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        points = [i.get("ip") or i.get("hostname") or "" for i in (status.get("loadBalancer") or {}).get("ingress") or ()]
        return ",".join(dict.fromkeys([*points, *own])) or "<pending>"
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    return ",".join(own) or NONE


def _service(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    ports = [
        f"{p.get('port')}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    ]
    return [
        _name(obj),
        spec.get("type", ""),
        spec.get("clusterIP") or NONE,
        _external(spec, status),
        ",".join(ports) or NONE,
        age(obj, now),
        _labels(spec.get("selector")),
    ]


def _event(obj: Json, now: datetime) -> Cells:
    thing, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    series = obj.get("series") or {}
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    count = series.get("count") or obj.get("count") or 1
    shown = ", ".join(x for x in (source.get("component") or obj.get("reportingComponent"), source.get("host")) if x)
    return [
        since(last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{thing.get('kind', '').lower()}/{thing.get('name', '')}",
        thing.get("fieldPath", ""),
        shown,
        str(obj.get("message", "")).strip(),
        since(first, now),
        count,
        _name(obj),
    ]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(spec_or_status: Json) -> str:
    return ",".join(_MODES.get(m, m) for m in spec_or_status.get("accessModes") or ())


def _volume(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    claim = spec.get("claimRef") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        _name(obj),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace', '')}/{claim['name']}" if claim.get("name") else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode", UNSET),
    ]


def _claim(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    size = (status.get("capacity") or {}).get("storage", "") if bound else ""
    return [
        _name(obj),
        phase,
        spec.get("volumeName", ""),
        size,
        _modes(status) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode", UNSET),
    ]


def _job(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    held = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
    word = next((w for w in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet") if w in held), "Running")
    begun, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    duration = human(((ended or now) - begun).total_seconds()) if begun else ""
    names, images = _containers(spec)
    return [
        _name(obj),
        word,
        f"{status.get('succeeded', 0)}/{spec.get('completions') or spec.get('parallelism') or 1}",
        duration,
        age(obj, now),
        names,
        images,
        selector_text(spec.get("selector")) or NONE,
    ]


def _cron_job(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    last = since(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else NONE
    suspended = "True" if spec.get("suspend") else "False"
    return [
        _name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        suspended,
        len(status.get("active") or ()),
        last,
        age(obj, now),
    ]


def _budget(obj: Json, now: datetime) -> Cells:
    spec, status = _spec(obj), _status(obj)
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        _name(obj),
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        status.get("disruptionsAllowed", 0),
        age(obj, now),
    ]


def _slice(obj: Json, now: datetime) -> Cells:
    ports = ",".join(str(p.get("port", "*")) for p in obj.get("ports") or ()) or UNSET
    points = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    shown = ",".join(points[:3]) + (f" + {len(points) - 3} more..." if len(points) > 3 else "")
    return [_name(obj), obj.get("addressType", ""), ports, shown or UNSET, age(obj, now)]


def _endpoints(obj: Json, now: datetime) -> Cells:
    found = [
        f"{a.get('ip')}:{p.get('port')}" for s in obj.get("subsets") or () for p in s.get("ports") or () for a in s.get("addresses") or ()
    ]
    return [_name(obj), ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "") or NONE, age(obj, now)]


def _class(obj: Json, now: datetime) -> Cells:
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    return [
        _name(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _attachment(obj: Json, now: datetime) -> Cells:
    spec = _spec(obj)
    return [
        _name(obj),
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""),
        str(bool(_status(obj).get("attached"))).lower(),
        age(obj, now),
    ]


def _binding(obj: Json, now: datetime) -> Cells:
    role = obj.get("roleRef") or {}
    return [_name(obj), f"{role.get('kind')}/{role.get('name')}", age(obj, now)]


def _ingress(obj: Json, now: datetime) -> Cells:
    spec = _spec(obj)
    hosts = ",".join(r.get("host", "*") for r in spec.get("rules") or ()) or "*"
    points = [i.get("ip") or i.get("hostname") or "" for i in (_status(obj).get("loadBalancer") or {}).get("ingress") or ()]
    return [
        _name(obj),
        spec.get("ingressClassName") or NONE,
        hosts,
        ",".join(points),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _api_service(obj: Json, now: datetime) -> Cells:
    service = _spec(obj).get("service")
    held: Json = next((c for c in _status(obj).get("conditions") or () if c.get("type") == "Available"), {})
    available = str(held.get("status", "Unknown"))
    if available != "True" and held.get("reason"):
        available += f" ({held['reason']})"
    return [_name(obj), f"{service['namespace']}/{service['name']}" if service else "Local", available, age(obj, now)]


PRINTERS: dict[str, Printer] = {
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
    "Service": Printer(("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "!Selector"), _service),
    "Event": Printer(
        ("Last Seen", "Type", "Reason", "Object", "!Subobject", "!Source", "Message", "!First Seen", "!Count", "!Name"), _event
    ),
    "PersistentVolume": Printer(
        (
            "Name",
            "Capacity",
            "Access Modes",
            "Reclaim Policy",
            "Status",
            "Claim",
            "StorageClass",
            "VolumeAttributesClass",
            "Reason",
            "Age",
            "!VolumeMode",
        ),
        _volume,
    ),
    "PersistentVolumeClaim": Printer(
        ("Name", "Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", "Age", "!VolumeMode"), _claim
    ),
    "Lease": Printer(("Name", "Holder", "Age"), lambda o, n: [_name(o), _spec(o).get("holderIdentity") or "", age(o, n)]),
    "CustomResourceDefinition": Printer(("Name", "Created At"), lambda o, n: [_name(o), o["metadata"].get("creationTimestamp")]),
    "Namespace": Printer(("Name", "Status", "Age"), lambda o, n: [_name(o), _status(o).get("phase", ""), age(o, n)]),
    "ConfigMap": Printer(
        ("Name", "#Data", "Age"), lambda o, n: [_name(o), len(o.get("data") or ()) + len(o.get("binaryData") or ()), age(o, n)]
    ),
    "Secret": Printer(("Name", "Type", "#Data", "Age"), lambda o, n: [_name(o), o.get("type", ""), len(o.get("data") or ()), age(o, n)]),
    "ServiceAccount": Printer(("Name", "#Secrets", "Age"), lambda o, n: [_name(o), len(o.get("secrets") or ()), age(o, n)]),
    "Job": Printer(("Name", "Status", "Completions", "Duration", "Age", "!Containers", "!Images", "!Selector"), _job),
    "CronJob": Printer(("Name", "Schedule", "Timezone", "Suspend", "#Active", "Last Schedule", "Age"), _cron_job),
    "PodDisruptionBudget": Printer(("Name", "Min Available", "Max Unavailable", "#Allowed Disruptions", "Age"), _budget),
    "EndpointSlice": Printer(("Name", "AddressType", "Ports", "Endpoints", "Age"), _slice),
    "Endpoints": Printer(("Name", "Endpoints", "Age"), _endpoints),
    "StorageClass": Printer(("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"), _class),
    "VolumeAttachment": Printer(("Name", "Attacher", "PV", "Node", "Attached", "Age"), _attachment),
    "Role": Printer(("Name", "Created At"), lambda o, n: [_name(o), o["metadata"].get("creationTimestamp")]),
    "ClusterRole": Printer(("Name", "Created At"), lambda o, n: [_name(o), o["metadata"].get("creationTimestamp")]),
    "RoleBinding": Printer(("Name", "Role", "Age"), _binding),
    "ClusterRoleBinding": Printer(("Name", "Role", "Age"), _binding),
    "Ingress": Printer(("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    "APIService": Printer(("Name", "Service", "Available", "Age"), _api_service),
    "ControllerRevision": Printer(
        ("Name", "Controller", "#Revision", "Age"),
        lambda o, n: [
            _name(o),
            next(
                (f"{r['kind'].lower()}.apps/{r['name']}" for r in o["metadata"].get("ownerReferences") or () if r.get("controller")), NONE
            ),
            o.get("revision", 0),
            age(o, n),
        ],
    ),
    "PriorityClass": Printer(
        ("Name", "#Value", "Global-Default", "Age"), lambda o, n: [_name(o), o.get("value", 0), bool(o.get("globalDefault")), age(o, n)]
    ),
}
PLAIN = Printer(("Name", "Age"), lambda o, n: [_name(o), age(o, n)])
CREATED = Printer(("Name", "Created At"), lambda o, n: [_name(o), o["metadata"].get("creationTimestamp")])
