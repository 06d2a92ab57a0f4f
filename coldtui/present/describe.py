"""One object described for a reader: what kubectl's `describe` says, for any kind, from the object as the API gives it.

The order follows kubectl (pkg/describe): identity, labels, what the kind is about, conditions, the rest of the spec, events last.
Kinds without a section of their own are described field by field, so that every custom resource can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from coldtui.domain.events import Event

from .rows import Cell, Tone
from .words import age, iso

Line = tuple[Cell, ...]

LABEL_WIDTH = 22
_IDENTITY = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_GOOD_WHEN_FALSE = ("Pressure", "Unavailable", "Failure", "Failed")


def describe(obj: Mapping[str, Any], events: Sequence[Event], now: datetime) -> tuple[Line, ...]:
    """Lines of cells; every text in `obj` must already be plain."""
    return tuple(_describe(obj, events, now))


def _describe(obj: Mapping[str, Any], events: Sequence[Event], now: datetime) -> Iterator[Line]:
    meta: Mapping[str, Any] = obj.get("metadata") or {}
    spec: Mapping[str, Any] = obj.get("spec") or {}
    status: Mapping[str, Any] = obj.get("status") or {}
    kind = str(obj.get("kind", ""))
    yield _pair("Name", str(meta.get("name", "")), Tone.STRONG)
    if meta.get("namespace"):
        yield _pair("Namespace", str(meta["namespace"]))
    yield _pair("Kind", f"{kind} ({obj.get('apiVersion', '')})")
    if created := _moment(meta.get("creationTimestamp")):
        yield _pair("Created", f"{iso(created)}  ({age(now - created)} ago)")
    if deleted := _moment(meta.get("deletionTimestamp")):
        words = f"since {iso(deleted)}" if deleted <= now else f"grace ends {iso(deleted)}"
        yield _pair("Terminating", words, Tone.WARN)
    yield from _mapping("Labels", meta.get("labels"))
    yield from _mapping("Annotations", meta.get("annotations"))
    owners = [o for o in meta.get("ownerReferences") or [] if o.get("controller")]
    if owners:
        yield _pair("Controlled By", f"{owners[0].get('kind')}/{owners[0].get('name')}")
    if kind == "Pod":
        yield from _pod(spec, status, now)
    elif kind == "Node":
        yield from _node(spec, status)
    elif kind in {"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"}:
        yield from _workload(spec, status, now)
    else:
        yield from _section("Spec", spec)
        yield from _section("Status", {k: v for k, v in status.items() if k != "conditions"})
        rest = {k: v for k, v in obj.items() if k not in _IDENTITY}
        if rest:
            yield from _section("Fields", rest)
    yield from _conditions(status.get("conditions"), now)
    yield from _events(events, now)


def _pair(label: str, value: str, tone: Tone = Tone.PLAIN, indent: int = 0) -> Line:
    return (Cell(" " * indent + f"{label}:".ljust(max(LABEL_WIDTH - indent, len(label) + 2)), Tone.MUTED), Cell(value, tone))


def _heading(text: str) -> Line:
    return (Cell(text, Tone.ACCENT),)


def _mapping(label: str, values: Mapping[str, Any] | None, indent: int = 0) -> Iterator[Line]:
    if not values:
        yield _pair(label, "<none>", Tone.MUTED, indent)
        return
    for position, (key, value) in enumerate(sorted(values.items())):
        text = f"{key}={value}"
        if position:
            yield (Cell(" " * LABEL_WIDTH), Cell(text))
        else:
            yield _pair(label, text, indent=indent)


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        found = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _pod(spec: Mapping[str, Any], status: Mapping[str, Any], now: datetime) -> Iterator[Line]:
    yield _pair("Node", f"{spec.get('nodeName') or '<none>'}" + (f"/{status['hostIP']}" if status.get("hostIP") else ""))
    phase = str(status.get("phase", "Unknown"))
    yield _pair(
        "Status",
        " ".join(str(x) for x in (phase, status.get("reason")) if x),
        Tone.PLAIN if phase in {"Running", "Succeeded"} else Tone.WARN,
    )
    if status.get("message"):
        yield _pair("Message", str(status["message"]), Tone.WARN)
    yield _pair("IP", str(status.get("podIP") or "<none>"))
    yield _pair("Service Account", str(spec.get("serviceAccountName", "default")))
    yield _pair("QoS Class", str(status.get("qosClass", "")))
    if spec.get("priorityClassName"):
        yield _pair("Priority", f"{spec.get('priority', '')} ({spec['priorityClassName']})")
    states = {s.get("name"): s for key in ("initContainerStatuses", "containerStatuses") for s in status.get(key) or []}
    for title, key in (("Init Containers", "initContainers"), ("Containers", "containers")):
        containers = spec.get(key) or []
        if containers:
            yield ()
            yield _heading(title)
        for container in containers:
            yield from _container(container, states.get(container.get("name"), {}), now)
    yield ()
    yield _heading("Volumes")
    for volume in spec.get("volumes") or []:
        source = next((k for k in volume if k != "name"), "")
        what = volume.get(source) or {}
        target = what.get("claimName") or what.get("secretName") or what.get("name") or what.get("path") or ""
        yield _pair(str(volume.get("name", "")), f"{source} {target}".strip(), indent=2)
    yield _pair("Node-Selectors", ", ".join(f"{k}={v}" for k, v in (spec.get("nodeSelector") or {}).items()) or "<none>")
    tolerations = [_toleration(t) for t in spec.get("tolerations") or []]
    yield _pair("Tolerations", "; ".join(tolerations) or "<none>")


def _toleration(t: Mapping[str, Any]) -> str:
    key = t.get("key") or "any taint"
    value = f"={t['value']}" if t.get("value") else ""
    effect = f":{t['effect']}" if t.get("effect") else ""
    seconds = f" for {t['tolerationSeconds']}s" if t.get("tolerationSeconds") is not None else ""
    return f"{key}{value}{effect}{seconds}"


def _container(container: Mapping[str, Any], state: Mapping[str, Any], now: datetime) -> Iterator[Line]:
    yield (Cell("  "), Cell(str(container.get("name", "")), Tone.STRONG))
    yield _pair("Image", str(container.get("image", "")), indent=4)
    if state.get("imageID"):
        yield _pair("Image ID", str(state["imageID"]), Tone.MUTED, indent=4)
    ports = [f"{p.get('containerPort')}/{p.get('protocol', 'TCP')}" for p in container.get("ports") or []]
    if ports:
        yield _pair("Ports", ", ".join(ports), indent=4)
    if container.get("command"):
        yield _pair("Command", " ".join(str(x) for x in container["command"]), indent=4)
    if container.get("args"):
        yield _pair("Args", " ".join(str(x) for x in container["args"]), indent=4)
    for label, key in (("State", "state"), ("Last State", "lastState")):
        for name, details in (state.get(key) or {}).items():
            yield _pair(label, _state(name, details or {}, now), _state_tone(name, details or {}), indent=4)
    if state:
        yield _pair("Ready", str(state.get("ready", False)), Tone.PLAIN if state.get("ready") else Tone.WARN, indent=4)
        yield _pair("Restart Count", str(state.get("restartCount", 0)), indent=4)
    resources = container.get("resources") or {}
    for label, key in (("Limits", "limits"), ("Requests", "requests")):
        if resources.get(key):
            yield _pair(label, "  ".join(f"{k} {v}" for k, v in resources[key].items()), indent=4)
    for label in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(label):
            yield _pair(label.removesuffix("Probe").capitalize(), _probe(container[label]), indent=4)
    variables = [str(e.get("name")) + ("" if "value" in e else " (from a reference)") for e in container.get("env") or []]
    if variables:
        yield _pair("Environment", ", ".join(variables), Tone.MUTED, indent=4)  # names only: values may be secrets
    for mount in container.get("volumeMounts") or []:
        yield _pair("Mount", f"{mount.get('mountPath')} from {mount.get('name')}" + (" (ro)" if mount.get("readOnly") else ""), indent=4)


def _state(name: str, details: Mapping[str, Any], now: datetime) -> str:
    parts = [name]
    if details.get("reason"):
        parts.append(str(details["reason"]))
    if "exitCode" in details:
        parts.append(f"exit {details['exitCode']}")
    if moment := _moment(details.get("finishedAt")) or _moment(details.get("startedAt")):
        parts.append(f"{age(now - moment)} ago")
    if details.get("message"):
        parts.append(str(details["message"]))
    return " · ".join(parts)


def _state_tone(name: str, details: Mapping[str, Any]) -> Tone:
    if name == "running" or (name == "terminated" and details.get("exitCode") == 0):
        return Tone.PLAIN
    return Tone.WARN


def _probe(probe: Mapping[str, Any]) -> str:
    if get := probe.get("httpGet"):
        what = f"http {get.get('path', '/')} port {get.get('port')}"
    elif socket := probe.get("tcpSocket"):
        what = f"tcp port {socket.get('port')}"
    elif probe.get("exec"):
        what = "exec " + " ".join(str(x) for x in probe["exec"].get("command") or [])
    else:
        what = "grpc" if probe.get("grpc") else "?"
    return f"{what}  every {probe.get('periodSeconds', 10)}s  timeout {probe.get('timeoutSeconds', 1)}s  fails after {probe.get('failureThreshold', 3)}"


def _node(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Line]:
    taints = [f"{t.get('key')}{'=' + str(t['value']) if t.get('value') else ''}:{t.get('effect')}" for t in spec.get("taints") or []]
    yield _pair("Taints", ", ".join(taints) or "<none>", Tone.WARN if taints else Tone.MUTED)
    yield _pair("Unschedulable", str(bool(spec.get("unschedulable"))).lower(), Tone.WARN if spec.get("unschedulable") else Tone.PLAIN)
    yield _pair("Addresses", ", ".join(f"{a.get('type')} {a.get('address')}" for a in status.get("addresses") or []))
    yield _pair("Pod CIDR", str(spec.get("podCIDR", "")))
    for label, key in (("Capacity", "capacity"), ("Allocatable", "allocatable")):
        yield ()
        yield _heading(label)
        for name, value in (status.get(key) or {}).items():
            yield _pair(str(name), str(value), indent=2)
    yield ()
    yield _heading("System")
    for name, value in (status.get("nodeInfo") or {}).items():
        yield _pair(str(name), str(value), indent=2)


def _workload(spec: Mapping[str, Any], status: Mapping[str, Any], now: datetime) -> Iterator[Line]:
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    yield _pair("Selector", ",".join(f"{k}={v}" for k, v in labels.items()) or "<none>")
    counts = {k: v for k, v in status.items() if isinstance(v, int) and k != "observedGeneration"}
    yield _pair("Replicas", f"{spec.get('replicas', '')} desired · " + " · ".join(f"{v} {k}" for k, v in counts.items()))
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    if strategy:
        rolling = strategy.get("rollingUpdate") or {}
        yield _pair("Strategy", " ".join([str(strategy.get("type", "")), *(f"{k}={v}" for k, v in rolling.items())]))
    if spec.get("paused"):
        yield _pair("Paused", "true", Tone.WARN)
    template = (spec.get("template") or {}).get("spec") or {}
    for title, key in (("Init Containers", "initContainers"), ("Containers", "containers")):
        if template.get(key):
            yield ()
            yield _heading(title)
            for container in template[key]:
                yield from _container(container, {}, now)


def _section(title: str, value: Mapping[str, Any]) -> Iterator[Line]:
    if not value:
        return
    yield ()
    yield _heading(title)
    yield from _tree(value, 2)


def _tree(value: Any, indent: int) -> Iterator[Line]:
    items: Iterable[tuple[str, Any]]
    items = value.items() if isinstance(value, Mapping) else ((f"{i}", x) for i, x in enumerate(value))
    for key, inner in items:
        if isinstance(inner, (Mapping, list)) and inner:
            yield (Cell(" " * indent + f"{key}:", Tone.MUTED),)
            yield from _tree(inner, indent + 2)
        else:
            text = "<none>" if inner in ({}, [], None) else str(inner).lower() if isinstance(inner, bool) else str(inner)
            yield _pair(str(key), text, indent=indent)


def _conditions(conditions: object, now: datetime) -> Iterator[Line]:
    if not isinstance(conditions, list) or not conditions:
        return
    yield ()
    yield _heading("Conditions")
    width = max(len(str(c.get("type", ""))) for c in conditions) + 2
    for c in conditions:
        kind, state = str(c.get("type", "")), str(c.get("status", ""))
        wanted = "False" if any(word in kind for word in _GOOD_WHEN_FALSE) else "True"
        since = _moment(c.get("lastTransitionTime"))
        rest = " · ".join(str(x) for x in (age(now - since) if since else "", c.get("reason"), c.get("message")) if x)
        yield (Cell("  " + kind.ljust(width), Tone.MUTED), Cell(state.ljust(8), Tone.PLAIN if state == wanted else Tone.WARN), Cell(rest))


def _events(events: Sequence[Event], now: datetime) -> Iterator[Line]:
    yield ()
    yield _heading("Events")
    if not events:
        yield (Cell("  <none>", Tone.MUTED),)
        return
    for event in events:
        times = f" (x{event.count})" if event.count > 1 else ""
        tone = Tone.WARN if event.type == "Warning" else Tone.PLAIN
        yield (
            Cell("  " + f"{age(now - event.last)}{times}".ljust(14), Tone.MUTED),
            Cell(event.type.ljust(9), tone),
            Cell(event.reason.ljust(22) + " ", tone),
            Cell(event.message),
            Cell(f"  {event.source}", Tone.MUTED),
        )
