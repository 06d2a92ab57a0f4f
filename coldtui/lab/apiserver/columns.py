"""The columns that ``kubectl get`` shows for each built-in kind, as the real server prints them."""

from __future__ import annotations

from datetime import datetime

from coldtui.lab.apiserver.columns_workloads import WORKLOADS
from coldtui.lab.apiserver.printing import (
    NONE,
    UNSET,
    Cells,
    Json,
    Printer,
    age,
    labels_of,
    name_of,
    since,
    spec_of,
    status_of,
)


def _external(spec: Json, status: Json) -> str:
    own = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        points = [i.get("ip") or i.get("hostname") or "" for i in (status.get("loadBalancer") or {}).get("ingress") or ()]
        return ",".join(dict.fromkeys([*points, *own])) or "<pending>"
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", ""))
    return ",".join(own) or NONE


def _service(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    ports = [
        f"{p.get('port')}{':' + str(p['nodePort']) if p.get('nodePort') else ''}/{p.get('protocol', 'TCP')}"
        for p in spec.get("ports") or ()
    ]
    return [
        name_of(obj),
        spec.get("type", ""),
        spec.get("clusterIP") or NONE,
        _external(spec, status),
        ",".join(ports) or NONE,
        age(obj, now),
        labels_of(spec.get("selector")),
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
        name_of(obj),
    ]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(spec_or_status: Json) -> str:
    return ",".join(_MODES.get(m, m) for m in spec_or_status.get("accessModes") or ())


def _volume(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    claim = spec.get("claimRef") or {}
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    return [
        name_of(obj),
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
    spec, status = spec_of(obj), status_of(obj)
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase", "")
    size = (status.get("capacity") or {}).get("storage", "") if bound else ""
    return [
        name_of(obj),
        phase,
        spec.get("volumeName", ""),
        size,
        _modes(status) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode", UNSET),
    ]


def _budget(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        name_of(obj),
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        status.get("disruptionsAllowed", 0),
        age(obj, now),
    ]


def _slice(obj: Json, now: datetime) -> Cells:
    ports = ",".join(str(p.get("port", "*")) for p in obj.get("ports") or ()) or UNSET
    points = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    shown = ",".join(points[:3]) + (f" + {len(points) - 3} more..." if len(points) > 3 else "")
    return [name_of(obj), obj.get("addressType", ""), ports, shown or UNSET, age(obj, now)]


def _endpoints(obj: Json, now: datetime) -> Cells:
    found = [
        f"{a.get('ip')}:{p.get('port')}" for s in obj.get("subsets") or () for p in s.get("ports") or () for a in s.get("addresses") or ()
    ]
    return [name_of(obj), ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "") or NONE, age(obj, now)]


def _class(obj: Json, now: datetime) -> Cells:
    default = (obj["metadata"].get("annotations") or {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    return [
        name_of(obj) + (" (default)" if default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _attachment(obj: Json, now: datetime) -> Cells:
    spec = spec_of(obj)
    return [
        name_of(obj),
        spec.get("attacher", ""),
        (spec.get("source") or {}).get("persistentVolumeName", ""),
        spec.get("nodeName", ""),
        bool(status_of(obj).get("attached")),
        age(obj, now),
    ]


def _binding(obj: Json, now: datetime) -> Cells:
    role, subjects = obj.get("roleRef") or {}, obj.get("subjects") or ()
    users = ", ".join(s["name"] for s in subjects if s.get("kind") == "User")
    groups = ", ".join(s["name"] for s in subjects if s.get("kind") == "Group")
    accounts = ", ".join(f"{s.get('namespace', '')}/{s['name']}" for s in subjects if s.get("kind") == "ServiceAccount")
    return [name_of(obj), f"{role.get('kind')}/{role.get('name')}", age(obj, now), users, groups, accounts]


def _driver(obj: Json, now: datetime) -> Cells:
    spec = spec_of(obj)
    tokens = ",".join(t.get("audience", "") for t in spec.get("tokenRequests") or ()) or UNSET
    flags = [bool(spec.get(k, k == "attachRequired")) for k in ("attachRequired", "podInfoOnMount", "storageCapacity")]
    modes = ",".join(spec.get("volumeLifecycleModes") or ["Persistent"])
    return [name_of(obj), *flags, tokens, bool(spec.get("requiresRepublish")), modes, age(obj, now)]


def _autoscaler(obj: Json, now: datetime) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    target = spec.get("scaleTargetRef") or {}
    reference = f"{target.get('kind', '')}/{target.get('name', '')}"
    low = spec.get("minReplicas")
    return [
        name_of(obj),
        reference,
        NONE,
        UNSET if low is None else str(low),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _ingress(obj: Json, now: datetime) -> Cells:
    spec = spec_of(obj)
    hosts = ",".join(r.get("host", "*") for r in spec.get("rules") or ()) or "*"
    points = [i.get("ip") or i.get("hostname") or "" for i in (status_of(obj).get("loadBalancer") or {}).get("ingress") or ()]
    return [
        name_of(obj),
        spec.get("ingressClassName") or NONE,
        hosts,
        ",".join(points),
        "80, 443" if spec.get("tls") else "80",
        age(obj, now),
    ]


def _api_service(obj: Json, now: datetime) -> Cells:
    service = spec_of(obj).get("service")
    held: Json = next((c for c in status_of(obj).get("conditions") or () if c.get("type") == "Available"), {})
    available = str(held.get("status", "Unknown"))
    if available != "True" and held.get("reason"):
        available += f" ({held['reason']})"
    return [name_of(obj), f"{service['namespace']}/{service['name']}" if service else "Local", available, age(obj, now)]


PRINTERS: dict[str, Printer] = WORKLOADS | {
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
    "Lease": Printer(("Name", "Holder", "Age"), lambda o, n: [name_of(o), spec_of(o).get("holderIdentity") or "", age(o, n)]),
    "CustomResourceDefinition": Printer(("Name", "@Created At"), lambda o, n: [name_of(o), o["metadata"].get("creationTimestamp")]),
    "Namespace": Printer(("Name", "Status", "Age"), lambda o, n: [name_of(o), status_of(o).get("phase", ""), age(o, n)]),
    "ConfigMap": Printer(
        ("Name", "Data", "Age"), lambda o, n: [name_of(o), len(o.get("data") or ()) + len(o.get("binaryData") or ()), age(o, n)]
    ),
    "Secret": Printer(("Name", "Type", "Data", "Age"), lambda o, n: [name_of(o), o.get("type", ""), len(o.get("data") or ()), age(o, n)]),
    "ServiceAccount": Printer(("Name", "Secrets", "Age"), lambda o, n: [name_of(o), len(o.get("secrets") or ()), age(o, n)]),
    "PodDisruptionBudget": Printer(("Name", "Min Available", "Max Unavailable", "#Allowed Disruptions", "Age"), _budget),
    "EndpointSlice": Printer(("Name", "AddressType", "Ports", "Endpoints", "Age"), _slice),
    "Endpoints": Printer(("Name", "Endpoints", "Age"), _endpoints),
    "StorageClass": Printer(("Name", "Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"), _class),
    "VolumeAttachment": Printer(("Name", "Attacher", "PV", "Node", "?Attached", "Age"), _attachment),
    "Role": Printer(("Name", "@Created At"), lambda o, n: [name_of(o), o["metadata"].get("creationTimestamp")]),
    "ClusterRole": Printer(("Name", "@Created At"), lambda o, n: [name_of(o), o["metadata"].get("creationTimestamp")]),
    "RoleBinding": Printer(("Name", "Role", "Age", "!Users", "!Groups", "!ServiceAccounts"), _binding),
    "ClusterRoleBinding": Printer(("Name", "Role", "Age", "!Users", "!Groups", "!ServiceAccounts"), _binding),
    "Ingress": Printer(("Name", "Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    "APIService": Printer(("Name", "Service", "Available", "Age"), _api_service),
    "ControllerRevision": Printer(
        ("Name", "Controller", "#Revision", "Age"),
        lambda o, n: [
            name_of(o),
            next(
                (f"{r['kind'].lower()}.apps/{r['name']}" for r in o["metadata"].get("ownerReferences") or () if r.get("controller")), NONE
            ),
            o.get("revision", 0),
            age(o, n),
        ],
    ),
    "PriorityClass": Printer(
        ("Name", "#Value", "?Global-Default", "Age", "PreemptionPolicy"),
        lambda o, n: [name_of(o), o.get("value", 0), bool(o.get("globalDefault")), age(o, n), o.get("preemptionPolicy", "")],
    ),
    "CSINode": Printer(("Name", "#Drivers", "Age"), lambda o, n: [name_of(o), len(spec_of(o).get("drivers") or ()), age(o, n)]),
    "CSIDriver": Printer(
        ("Name", "?AttachRequired", "?PodInfoOnMount", "?StorageCapacity", "TokenRequests", "?RequiresRepublish", "Modes", "Age"), _driver
    ),
    "HorizontalPodAutoscaler": Printer(("Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"), _autoscaler),
}
PLAIN = Printer(("Name", "Age"), lambda o, n: [name_of(o), age(o, n)])
