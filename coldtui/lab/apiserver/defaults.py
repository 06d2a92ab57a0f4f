"""What the server fills in when a built-in object is created or changed: the defaults that clients rely on."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def _set(obj: Json, **values: Any) -> None:
    for key, value in values.items():
        if obj.get(key) is None:
            obj[key] = value


def _container(container: Json) -> None:
    image = str(container.get("image", ""))
    _, _, tag = image.rpartition("/")[2].partition(":")
    pull = "IfNotPresent" if "@" in image or (tag and tag != "latest") else "Always"
    _set(
        container,
        imagePullPolicy=pull,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    for port in container.get("ports") or ():
        _set(port, protocol="TCP")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _set(container[probe], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            if isinstance(container[probe].get("httpGet"), dict):
                _set(container[probe]["httpGet"], path="/", scheme="HTTP")


def pod_spec(spec: Json) -> None:
    """Defaults of a pod's spec, in place; shared by pods and templates."""
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            if isinstance(container, dict):
                _container(container)
    _set(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
        securityContext={},
    )
    for volume in spec.get("volumes") or ():
        for source in ("configMap", "secret", "projected"):
            if isinstance(volume.get(source), dict):
                _set(volume[source], defaultMode=420)


def _template(spec: Json) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))


def _quality(spec: Json) -> str:
    """QoS class from requests and limits."""
    guaranteed, nothing = True, True
    for container in spec.get("containers") or ():
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        nothing = nothing and not requests and not limits
        guaranteed = guaranteed and all(limits.get(r) and requests.get(r, limits.get(r)) == limits[r] for r in ("cpu", "memory"))
    return "BestEffort" if nothing else "Guaranteed" if guaranteed else "Burstable"


def _pod(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    _set(spec, serviceAccountName="default", enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority", priority=0)
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    held = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in (key, None) and t.get("effect") in ("NoExecute", None) for t in held):
            held.append({"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300})


def _deployment(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    _set(spec["strategy"], type="RollingUpdate")
    if spec["strategy"]["type"] == "RollingUpdate":
        _set(spec["strategy"], rollingUpdate={})
        _set(spec["strategy"]["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    _template(spec)


def _replica_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, replicas=1)
    _template(spec)


def _stateful_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10, updateStrategy={})
    _set(spec, persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={"partition": 0})
    _template(spec)


def _daemon_set(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, revisionHistoryLimit=10, updateStrategy={})
    _set(spec["updateStrategy"], type="RollingUpdate")
    if spec["updateStrategy"]["type"] == "RollingUpdate":
        _set(spec["updateStrategy"], rollingUpdate={"maxSurge": 0, "maxUnavailable": 1})
    _template(spec)


def _job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, parallelism=1, completions=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _set(spec, manualSelector=False, podReplacementPolicy="TerminatingOrFailed")
    _template(spec)
    uid = obj["metadata"].get("uid", "")
    if not spec.get("selector") and uid:
        labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": obj["metadata"]["name"]}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        held = spec["template"]["metadata"].setdefault("labels", {})
        held.update({**labels, "controller-uid": uid, "job-name": obj["metadata"]["name"]})


def _cron_job(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1)
    job = spec.setdefault("jobTemplate", {})
    job.setdefault("metadata", {})
    _template(job.setdefault("spec", {}))


def _service(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    _set(spec, type="ClusterIP", sessionAffinity="None")
    for port in spec.get("ports") or ():
        _set(port, protocol="TCP", targetPort=port.get("port"))
    if spec["type"] == "ExternalName":
        return
    _set(spec, internalTrafficPolicy="Cluster", ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    dice = random.Random(obj["metadata"].get("uid") or obj["metadata"].get("name"))
    if not spec.get("clusterIP"):
        spec["clusterIP"] = f"10.43.{dice.randrange(1, 255)}.{dice.randrange(1, 255)}"
    _set(spec, clusterIPs=[spec["clusterIP"]])
    if spec["type"] in ("LoadBalancer", "NodePort"):
        _set(spec, externalTrafficPolicy="Cluster")
        for port in spec.get("ports") or ():
            _set(port, nodePort=dice.randrange(30000, 32768))
        if spec["type"] == "LoadBalancer":
            _set(spec, allocateLoadBalancerNodePorts=True)


def _secret(obj: Json) -> None:
    _set(obj, type="Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        data.update({k: base64.b64encode(str(v).encode()).decode() for k, v in plain.items()})


def _namespace(obj: Json) -> None:
    _set(obj.setdefault("spec", {}), finalizers=["kubernetes"])
    labels = obj["metadata"].setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", obj["metadata"]["name"])


def _claim(obj: Json) -> None:
    _set(obj.setdefault("spec", {}), volumeMode="Filesystem")


def _volume(obj: Json) -> None:
    _set(obj.setdefault("spec", {}), volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain")
    if isinstance(obj["spec"].get("hostPath"), dict):
        _set(obj["spec"]["hostPath"], type="")


def _storage_class(obj: Json) -> None:
    _set(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


_DEFAULTS: dict[str, Callable[[Json], None]] = {
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "Secret": _secret,
    "Namespace": _namespace,
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "StorageClass": _storage_class,
}


def apply_defaults(kind: str, obj: Json) -> None:
    """Fill in the defaults of a built-in kind, in place."""
    found = _DEFAULTS.get(kind)
    if found:
        found(obj)


def first_status(kind: str, obj: Json) -> Json | None:
    """The status of a new object; None leaves what the client sent (nodes register with theirs)."""
    match kind:
        case "Pod":
            return {"phase": "Pending", "qosClass": _quality(obj.get("spec") or {})}
        case "Namespace":
            return {"phase": "Active"}
        case "PersistentVolumeClaim" | "PersistentVolume":
            return {"phase": "Pending"}
        case "Service":
            return {"loadBalancer": {}}
        case "Deployment" | "StatefulSet":
            return {"replicas": 0} if kind == "StatefulSet" else {}
        case "ReplicaSet":
            return {"replicas": 0}
        case "DaemonSet":
            zero = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
            return dict.fromkeys(zero, 0)
        case "PodDisruptionBudget":
            zero = ("currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods")
            return dict.fromkeys(zero, 0)
        case "Job" | "CronJob" | "Ingress" | "HorizontalPodAutoscaler" | "ResourceQuota" | "ReplicationController":
            return {}
        case _:
            return None
