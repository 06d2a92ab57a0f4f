"""Describe and YAML: an object in, lines out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from coldtui.domain.events import Event
from coldtui.present.describe import describe
from coldtui.present.rows import Tone
from coldtui.present.yamltext import yaml_lines, yaml_text

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def pod() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1", "namespace": "prod", "creationTimestamp": "2026-11-24T11:00:00Z", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "k3s-worker-1",
            "containers": [
                {
                    "name": "main",
                    "image": "registry/x:[/b]",
                    "env": [{"name": "TOKEN", "value": "hunter2"}],
                    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
                }
            ],
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": "2026-11-24T11:59:00Z"}
            ],
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": False,
                    "restartCount": 3,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ],
        },
    }


def event() -> Event:
    return Event("prod", "e1", "Warning", "BackOff", "Back-off restarting", "Pod", "web-1", "prod", 4, NOW, NOW, "kubelet")


def text_of(lines: tuple[tuple[Any, ...], ...]) -> str:
    return "\n".join("".join(cell.text for cell in line) for line in lines)


def test_pod_is_described_with_what_an_operator_looks_for() -> None:
    """State, last exit, probes, conditions and events of a crashing pod all stand in its description."""
    said = text_of(describe(pod(), [event()], NOW))
    for part in (
        "k3s-worker-1",
        "CrashLoopBackOff",
        "OOMKilled · exit 137",
        "http /healthz port 8080",
        "ContainersNotReady",
        "Back-off restarting",
        "(x4)",
        "60m ago",
    ):
        assert part in said, part


def test_values_of_environment_variables_are_not_shown() -> None:
    """A password given as a plain environment variable never reaches the description."""
    said = text_of(describe(pod(), [], NOW))
    assert "TOKEN" in said
    assert "hunter2" not in said


def test_a_bad_condition_is_marked() -> None:
    """Ready=False carries the warning tone, DiskPressure=False does not."""
    obj = pod()
    obj["status"]["conditions"].append({"type": "DiskPressure", "status": "False"})
    cells = {line[0].text.strip(): line[1].tone for line in describe(obj, [], NOW) if len(line) == 3}
    assert cells["Ready"] is Tone.WARN
    assert cells["DiskPressure"] is Tone.PLAIN


def test_an_unknown_kind_is_described_field_by_field() -> None:
    """Every custom resource can be read, nested lists included."""
    obj = {"apiVersion": "x.y/v1", "kind": "Odd", "metadata": {"name": "o"}, "spec": {"parts": [{"size": 3}], "on": True}, "status": {}}
    said = text_of(describe(obj, [], NOW))
    assert "size:" in said
    assert "true" in said


def test_yaml_keeps_the_order_and_the_text() -> None:
    """The YAML view is what kubectl prints: API order, and joined cells give back the exact text."""
    obj = pod()
    assert yaml_text(obj).startswith("apiVersion: v1\nkind: Pod\nmetadata:\n")
    assert text_of(yaml_lines(obj)) == yaml_text(obj).rstrip("\n")
