"""Objects of the API as JSON, as short as a test wants them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from coldtui.adapters.kube.decoders import DECODERS

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Json = dict[str, Any]


def decode(kind: str, item: Json) -> Any:
    """The domain value of one object."""
    return DECODERS[kind].item(json.dumps(item).encode(), NOW)


def meta(name: str = "it", namespace: str = "default", **more: Any) -> Json:
    return {"name": name, "namespace": namespace, "uid": f"uid-{name}", "creationTimestamp": "2026-02-28T10:00:00Z", **more}


def listing(*items: Json, version: str = "10", token: str = "", remaining: int | None = None) -> Json:
    about: Json = {"resourceVersion": version}
    if token:
        about["continue"] = token
    if remaining is not None:
        about["remainingItemCount"] = remaining
    return {"kind": "List", "apiVersion": "v1", "metadata": about, "items": list(items)}


def pod(
    name: str = "web-0",
    *,
    phase: str = "Running",
    containers: tuple[str, ...] = ("app",),
    init: tuple[Json, ...] = (),
    statuses: tuple[Json, ...] = (),
    init_statuses: tuple[Json, ...] = (),
    conditions: tuple[Json, ...] = (),
    metadata: Json | None = None,
    spec: Json | None = None,
    **status: Any,
) -> Json:
    return {
        "metadata": meta(name, **(metadata or {})),
        "spec": {"nodeName": "node-1", "containers": [{"name": c, "image": f"r/{c}:1"} for c in containers], "initContainers": list(init), **(spec or {})},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": list(statuses),
            "initContainerStatuses": list(init_statuses),
            **status,
        },
    }  # fmt: skip


def running(name: str = "app", *, ready: bool = True, restarts: int = 0, **more: Any) -> Json:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": {"running": {"startedAt": "2026-02-28T10:00:05Z"}}, **more}


def waiting(reason: str, name: str = "app", message: str = "", **more: Any) -> Json:
    return {"name": name, "ready": False, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def ended(reason: str = "", code: int = 0, name: str = "app", signal: int = 0, **more: Any) -> Json:
    state = {"exitCode": code, "reason": reason, "signal": signal, "finishedAt": "2026-02-28T11:00:00Z"}
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": state}, **more}


def died(at: str, reason: str = "Error", code: int = 1) -> Json:
    """lastState of a container that restarted."""
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}


def true(type_: str, **more: Any) -> Json:
    return {"type": type_, "status": "True", "lastTransitionTime": "2026-02-28T10:00:10Z", **more}


def false(type_: str, **more: Any) -> Json:
    return {"type": type_, "status": "False", "lastTransitionTime": "2026-02-28T10:00:10Z", **more}
