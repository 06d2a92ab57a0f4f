"""Rules of the built-in kinds that clients meet: names, containers, selectors, strategies. Not the whole of the real server's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from coldtui.lab.apiserver.errors import ApiError, Cause, invalid
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.selectors import match_labels
from coldtui.lab.apiserver.store import encode

Json = dict[str, Any]
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_PATH_NAMES = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")
_RFC1123 = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_WITH_TEMPLATE = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")
_FIXED_SELECTOR = _WITH_TEMPLATE


def check(resource: Resource, obj: Json, old: Json | None) -> None:
    """Raise 422 with every cause when an object breaks a rule; ``old`` is what it replaces, None on creation."""
    causes = list(_metadata(resource, obj["metadata"]))
    if not resource.custom:
        causes += _kind_rules(resource.kind, obj, old)
    if causes:
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)


def _bad(path: str, value: object, why: str) -> Cause:
    shown = encode(value).decode()
    return Cause("FieldValueInvalid", path, f"Invalid value: {shown}: {why}")


def _required(path: str) -> Cause:
    return Cause("FieldValueRequired", path, "Required value")


def _metadata(resource: Resource, meta: Json) -> Iterator[Cause]:
    name = meta.get("name")
    if not name:
        yield Cause("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")
    elif resource.kind in _PATH_NAMES:
        if "/" in name or "%" in name:
            yield _bad("metadata.name", name, "may not contain '/' or '%'")
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield _bad("metadata.name", name, _RFC1123)
    elif resource.kind in ("Namespace", "Service") and (len(name) > 63 or not _LABEL.fullmatch(name)):
        yield _bad("metadata.name", name, "must be a DNS label of at most 63 characters")
    for key, value in (meta.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key):
            yield _bad("metadata.labels", key, "name part must consist of alphanumeric characters, '-', '_' or '.'")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            yield _bad(
                "metadata.labels",
                value,
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            )
    for key in meta.get("annotations") or {}:
        if not _QUALIFIED.fullmatch(key.lower()) and not _QUALIFIED.fullmatch(key):
            yield _bad("metadata.annotations", key, "name part must consist of alphanumeric characters, '-', '_' or '.'")


def _kind_rules(kind: str, obj: Json, old: Json | None) -> Iterator[Cause]:
    spec: Json = obj.get("spec") or {}
    if kind == "Pod":
        yield from _pod_spec(spec, "spec")
        if old is not None:
            yield from _pod_fixed(spec, old.get("spec") or {})
    if kind in _WITH_TEMPLATE:
        yield from _workload(kind, spec, old)
    if kind == "Job":
        yield from _pod_spec((spec.get("template") or {}).get("spec") or {}, "spec.template.spec")
    if kind == "PodDisruptionBudget" and spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield _bad("spec", "", "minAvailable and maxUnavailable cannot be both set")
    if kind == "Service" and not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield _required("spec.ports")
    if kind == "Lease":
        yield from _lease(spec)
    if kind == "Node":
        seen: set[tuple[str, str]] = set()
        for i, taint in enumerate(spec.get("taints") or ()):
            if taint.get("effect") not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
                said = f'Unsupported value: "{taint.get("effect")}": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'
                # The real server validates an update twice, and names the path so.
                yield from [Cause("FieldValueNotSupported", f"metadata.taints[{i}].effect", said)] * (1 if old is None else 2)
            pair = (taint.get("key", ""), taint.get("effect", ""))
            if pair in seen:
                yield Cause("FieldValueDuplicate", f"metadata.taints[{i}]", "Duplicate value: taints must be unique by key and effect pair")
            seen.add(pair)


def _lease(spec: Json) -> Iterator[Cause]:
    duration, turns = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        yield _bad("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if turns is not None and turns < 0:
        yield _bad("spec.leaseTransitions", turns, "must be greater than or equal to 0")


def _pod_spec(spec: Json, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield _required(f"{path}.containers")
    seen: set[str] = set()
    for kind in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(kind) or ()):
            at = f"{path}.{kind}[{i}]"
            if not container.get("name"):
                yield _required(f"{at}.name")
            elif container["name"] in seen:
                yield Cause("FieldValueDuplicate", f"{at}.name", f'Duplicate value: "{container["name"]}"')
            elif not _LABEL.fullmatch(container["name"]):
                yield _bad(
                    f"{at}.name", container["name"], "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"
                )
            seen.add(container.get("name", ""))
            if not container.get("image"):
                yield _required(f"{at}.image")
    if spec.get("restartPolicy") not in (None, "Always", "OnFailure", "Never"):
        yield Cause(
            "FieldValueNotSupported",
            f"{path}.restartPolicy",
            f'Unsupported value: "{spec["restartPolicy"]}": supported values: "Always", "OnFailure", "Never"',
        )


def _pod_fixed(spec: Json, old: Json) -> Iterator[Cause]:
    """A pod's spec may change in its images, its deadline and its tolerations only."""

    def frozen(s: Json) -> Json:
        kept = {
            k: v
            for k, v in s.items()
            if k not in ("activeDeadlineSeconds", "tolerations", "containers", "initContainers", "schedulingGates")
        }
        for kind in ("containers", "initContainers"):
            kept[kind] = [{k: v for k, v in c.items() if k != "image"} for c in s.get(kind) or ()]
        return kept

    if frozen(spec) != frozen(old):
        fields = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds`"
        yield Cause("FieldValueForbidden", "spec", f"Forbidden: pod updates may not change fields other than {fields}")


def _workload(kind: str, spec: Json, old: Json | None) -> Iterator[Cause]:
    selector, template = spec.get("selector"), spec.get("template") or {}
    if not selector:
        yield _required("spec.selector")
    else:
        test = match_labels(selector)
        labels = (template.get("metadata") or {}).get("labels") or {}
        if test is not None and not test(labels):
            yield _bad("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")
    replicas = spec.get("replicas")
    if replicas is not None and (not isinstance(replicas, int) or replicas < 0):
        yield _bad("spec.replicas", replicas, "must be greater than or equal to 0")
    rolling = ((spec.get("strategy") or {}).get("rollingUpdate") or {}) if kind == "Deployment" else {}
    if rolling and rolling.get("maxSurge") in (0, "0%") and rolling.get("maxUnavailable") in (0, "0%"):
        yield _bad("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0")
    if old is not None and kind in _FIXED_SELECTOR and (old.get("spec") or {}).get("selector") != selector:
        yield _bad("spec.selector", selector, "field is immutable")


def check_new_finalizers(resource: Resource, obj: Json, old: Json) -> None:
    """Nothing may be held back anew once its deletion has begun."""
    if not old["metadata"].get("deletionTimestamp"):
        return
    held = old["metadata"].get("finalizers") or []
    fresh = [f for f in obj["metadata"].get("finalizers") or [] if f not in held]
    if fresh:
        message = f"Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers {fresh}"
        raise invalid(
            resource.kind, resource.group, obj["metadata"]["name"], [Cause("FieldValueForbidden", "metadata.finalizers", message)]
        )


def check_body_kind(resource: Resource, body: Json) -> ApiError | None:
    """400 when the body is of another kind than the address, or a lease has a time that is no MicroTime."""
    version, kind = body.get("apiVersion"), body.get("kind")
    spec = body.get("spec")
    if resource.kind == "Lease" and isinstance(spec, dict):
        for name in ("acquireTime", "renewTime"):
            if spec.get(name) is not None and not _MICRO_TIME.fullmatch(str(spec[name])):
                said = f'Lease in version "v1" cannot be handled as a Lease: parsing time "{spec[name]}": it needs six digits of a second'
                return ApiError(400, "BadRequest", said)
    if version not in (None, resource.group_version) or kind not in (None, resource.kind):
        said = f'{kind} in version "{version}" cannot be handled as a {resource.kind} ({resource.group_version})'
        return ApiError(400, "BadRequest", said)
    return None
