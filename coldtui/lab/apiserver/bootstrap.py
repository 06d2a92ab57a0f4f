"""What a fresh cluster holds before anybody writes: namespaces, the default roles, the aggregated metrics API, the packaged CRDs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coldtui.lab.apiserver import crds
from coldtui.lab.apiserver.objects import Objects, Write

Json = dict[str, Any]
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
METRICS = "v1beta1.metrics.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_VIEWED: list[tuple[str, list[str]]] = [
    (
        "",
        [
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "replicationcontrollers",
            "resourcequotas",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    (
        "apps",
        [
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    ("autoscaling", ["horizontalpodautoscalers"]),
    ("batch", ["cronjobs", "jobs"]),
    ("discovery.k8s.io", ["endpointslices"]),
    ("networking.k8s.io", ["ingresses", "networkpolicies"]),
    ("policy", ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    ("metrics.k8s.io", ["pods", "nodes"]),
]
_EDITED: list[tuple[str, list[str]]] = [
    ("", ["configmaps", "events", "persistentvolumeclaims", "pods", "pods/eviction", "secrets", "serviceaccounts", "services"]),
    ("apps", ["daemonsets", "deployments", "deployments/scale", "replicasets", "statefulsets", "statefulsets/scale"]),
    ("batch", ["cronjobs", "jobs"]),
    ("policy", ["poddisruptionbudgets"]),
]
_PUBLIC_PATHS = ["/healthz", "/livez", "/readyz", "/version", "/version/"]


def _rule(group: str, resources: list[str], verbs: list[str]) -> Json:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _role(name: str, rules: list[Json]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
        "rules": rules,
    }


def _bind(name: str, role: str, group: str) -> Json:
    subject = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "subjects": [subject],
        "roleRef": ref,
    }


def _objects() -> Iterator[Json]:
    for name in NAMESPACES:
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    view = [_rule(g, r, _READ) for g, r in _VIEWED]
    edit = [*view, *(_rule(g, r, [*_READ, *_WRITE]) for g, r in _EDITED)]
    yield _role("cluster-admin", [_rule("*", ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}])
    yield _role("admin", [*edit, _rule("rbac.authorization.k8s.io", ["roles", "rolebindings"], ["*"])])
    yield _role("edit", edit)
    yield _role("view", view)
    yield _role(
        "system:discovery",
        [{"nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_PUBLIC_PATHS], "verbs": ["get"]}],
    )
    reviews = [
        _rule("authorization.k8s.io", ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
        _rule("authentication.k8s.io", ["selfsubjectreviews"], ["create"]),
    ]
    yield _role("system:basic-user", reviews)
    yield _bind("cluster-admin", "cluster-admin", "system:masters")
    yield _bind("system:discovery", "system:discovery", "system:authenticated")
    yield _bind("system:basic-user", "system:basic-user", "system:authenticated")
    yield _bind("lab:viewers", "view", "lab:viewers")
    spec = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
    }
    service = {"name": "metrics-server", "namespace": "kube-system", "port": 443}
    yield {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": METRICS},
        "spec": {**spec, "service": service},
    }


def seed(objects: Objects, groups: frozenset[str] | None) -> None:
    """Create everything; ``groups`` are the API groups whose packaged CRDs are installed (None: all)."""
    write = Write("k3s")
    for body in [*_objects(), *crds.packaged(groups)]:
        resource = objects.registry.kind(body["apiVersion"], body["kind"])
        if resource is None:
            raise LookupError(f"no such kind: {body['apiVersion']} {body['kind']}")
        objects.create(resource, "", body, write)
    say_metrics(objects, available=True)


def say_metrics(objects: Objects, *, available: bool) -> None:
    """Keep the condition of the metrics APIService true to what it answers."""
    item = objects.store.find("apiregistration.k8s.io", "apiservices", "", METRICS)
    if item is None:
        return
    obj = item.decoded()
    condition = {"type": "Available", "status": "True" if available else "False", "lastTransitionTime": objects.clock.stamp()}
    condition["reason"] = "Passed" if available else "FailedDiscoveryCheck"
    condition["message"] = (
        "all checks passed" if available else "failing or missing response from https://10.43.0.99:443/apis/metrics.k8s.io/v1beta1"
    )
    obj["status"] = {"conditions": [condition]}
    objects.store.collections["apiregistration.k8s.io", "apiservices"].put(obj)
