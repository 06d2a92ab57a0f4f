"""The ``scale`` subresource of workloads and of custom kinds that declare one."""

from __future__ import annotations

from typing import Any

from coldtui.lab.apiserver.errors import Cause, invalid
from coldtui.lab.apiserver.resources import Resource

Json = dict[str, Any]


def _at(obj: Json, path: str) -> Any:
    found: Any = obj
    for part in path.strip(".").split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def selector_text(selector: Json | None) -> str:
    """A LabelSelector object in the text form of ``labelSelector=``."""
    if not selector:
        return ""
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        key, values = rule["key"], ",".join(rule.get("values") or ())
        parts.append({"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}.get(rule["operator"], f"!{key}"))
    return ",".join(parts)


def scale_of(resource: Resource, obj: Json) -> Json:
    """The Scale object of a workload."""
    meta = obj["metadata"]
    kept = {k: meta[k] for k in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if k in meta}
    if resource.custom:
        wanted, actual, selector = resource.scale_paths
        text = str(_at(obj, selector) or "") if selector else ""
        spec, status = _at(obj, wanted), _at(obj, actual)
    else:
        spec, status = _at(obj, "spec.replicas"), _at(obj, "status.replicas")
        text = selector_text(_at(obj, "spec.selector"))
    shown: Json = {"replicas": int(status or 0)}
    if text:
        shown["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": kept,
        "spec": {"replicas": int(spec)} if spec else {},
        "status": shown,
    }


def apply_scale(resource: Resource, obj: Json, scale: Json) -> Json:
    """The workload with the replicas that a Scale object asks for. 422 for a negative or missing number."""
    wanted = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(wanted, int) or wanted < 0:
        cause = Cause("FieldValueInvalid", "spec.replicas", f"Invalid value: {wanted}: must be greater than or equal to 0")
        raise invalid("Scale", "autoscaling", obj["metadata"]["name"], [cause])
    *path, last = (resource.scale_paths[0] if resource.custom else "spec.replicas").strip(".").split(".")
    target = obj
    for part in path:
        target = target.setdefault(part, {})
    target[last] = wanted
    return obj
