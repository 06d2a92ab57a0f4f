from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from coldtui.domain.objects import Owner
from coldtui.domain.pods import Namespace, PodUsage
from tests.adapters.kube.shapes import Json, decode, died, ended, false, meta, pod, running, true, waiting

SIDECAR: Json = {"name": "mesh", "image": "r/mesh:1", "restartPolicy": "Always"}
SETUP: Json = {"name": "setup", "image": "r/setup:1"}
SECOND: Json = {"name": "second", "image": "r/second:1"}
GONE: Json = {"deletionTimestamp": "2026-03-01T11:00:00Z", "deletionGracePeriodSeconds": 30}

TABLE: list[tuple[str, Json, str, str, int]] = [
    # what, object, READY, STATUS, RESTARTS
    ("runs", pod(statuses=(running(),), conditions=(true("Ready"),)), "1/1", "Running", 0),
    ("runs but is not ready", pod(statuses=(running(ready=False),)), "0/1", "Running", 0),
    ("not scheduled", pod(phase="Pending", conditions=(false("PodScheduled", reason="Unschedulable"),)), "0/1", "Pending", 0),
    ("gated", pod(phase="Pending", conditions=(false("PodScheduled", reason="SchedulingGated"),)), "0/1", "SchedulingGated", 0),
    ("starting", pod(phase="Pending", statuses=(waiting("ContainerCreating"),)), "0/1", "ContainerCreating", 0),
    ("no image", pod(phase="Pending", statuses=(waiting("ImagePullBackOff"),)), "0/1", "ImagePullBackOff", 0),
    ("crash loop", pod(statuses=(waiting("CrashLoopBackOff", restartCount=7),)), "0/1", "CrashLoopBackOff", 7),
    ("one of two crashes", pod(containers=("a", "b"), statuses=(running("a"), waiting("CrashLoopBackOff", "b"))), "1/2", "CrashLoopBackOff", 0),
    ("the first container wins", pod(containers=("a", "b"), statuses=(waiting("ErrImagePull", "a"), ended("Error", 1, "b"))), "0/2", "ErrImagePull", 0),
    ("done", pod(phase="Succeeded", statuses=(ended("Completed"),)), "0/1", "Completed", 0),
    ("failed", pod(phase="Failed", statuses=(ended("Error", 3),)), "0/1", "Error", 0),
    ("out of memory", pod(statuses=(ended("OOMKilled", 137),)), "0/1", "OOMKilled", 0),
    ("exit code", pod(phase="Failed", statuses=(ended("", 7),)), "0/1", "ExitCode:7", 0),
    ("signal", pod(phase="Failed", statuses=(ended("", 137, signal=9),)), "0/1", "Signal:9", 0),
    ("evicted", pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."), "0/1", "Evicted", 0),
    (
        "one done, one runs, ready",
        pod(containers=("a", "b"), statuses=(ended("Completed", name="a"), running("b")), conditions=(true("Ready"),)),
        "1/2", "Running", 0,
    ),
    ("one done, one runs, not ready", pod(containers=("a", "b"), statuses=(ended("Completed", name="a"), running("b"))), "1/2", "NotReady", 0),
    ("is deleted", pod(statuses=(running(),), metadata=GONE), "1/1", "Terminating", 0),
    ("is deleted but finished", pod(phase="Succeeded", statuses=(ended("Completed"),), metadata=GONE), "0/1", "Completed", 0),
    ("its node is lost", pod(statuses=(running(),), metadata=GONE, reason="NodeLost"), "1/1", "Unknown", 0),
    ("init runs", pod(phase="Pending", init=(SETUP, SECOND), init_statuses=(running("setup", ready=False), waiting("PodInitializing", "second"))), "0/1", "Init:0/2", 0),
    (
        "second init waits",
        pod(phase="Pending", init=(SETUP, SECOND), init_statuses=(ended("Completed", name="setup"), waiting("PodInitializing", "second"))),
        "0/1", "Init:1/2", 0,
    ),
    (
        "init crashes",
        pod(phase="Pending", init=(SETUP,), init_statuses=(waiting("CrashLoopBackOff", "setup", restartCount=4),), statuses=(waiting("PodInitializing"),)),
        "0/1", "Init:CrashLoopBackOff", 4,
    ),
    ("init failed", pod(phase="Pending", init=(SETUP,), init_statuses=(ended("Error", 1, "setup"),)), "0/1", "Init:Error", 0),
    ("init exit code", pod(phase="Pending", init=(SETUP,), init_statuses=(ended("", 2, "setup"),)), "0/1", "Init:ExitCode:2", 0),
    ("init signal", pod(phase="Pending", init=(SETUP,), init_statuses=(ended("", 137, "setup", 9),)), "0/1", "Init:Signal:9", 0),
    ("init is over", pod(phase="Pending", init=(SETUP,), init_statuses=(ended("Completed", name="setup", restartCount=2),), statuses=(waiting("PodInitializing"),)), "0/1", "PodInitializing", 0),
    ("sidecar counts", pod(init=(SIDECAR,), init_statuses=(running("mesh", started=True),), statuses=(running(),)), "2/2", "Running", 0),
    ("sidecar not ready", pod(init=(SIDECAR,), init_statuses=(running("mesh", ready=False, started=True),), statuses=(running(),)), "1/2", "Running", 0),
    ("sidecar has not started", pod(phase="Pending", init=(SIDECAR,), init_statuses=(running("mesh", ready=False, started=False),)), "0/2", "Init:0/1", 0),
    (
        "restarts of sidecars and containers, not of finished init containers",
        pod(
            init=(SETUP, SIDECAR),
            init_statuses=(ended("Completed", name="setup", restartCount=5), running("mesh", restarts=2, started=True)),
            statuses=(running(restarts=1),),
        ),
        "2/2", "Running", 3,
    ),
    (
        "initialized, yet an init container runs again",
        pod(
            init=(SETUP,), init_statuses=(running("setup", restarts=9),), statuses=(running(restarts=1),),
            conditions=(true("Initialized"), true("Ready")),
        ),
        "1/1", "Init:0/1", 1,
    ),
    ("nothing known yet", pod(phase=""), "0/1", "", 0),
]  # fmt: skip


@pytest.mark.parametrize(("item", "ready", "state", "restarts"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_columns_say_what_kubectl_says(item: Json, ready: str, state: str, restarts: int) -> None:
    """READY, STATUS and RESTARTS are those of kubectl 1.34 for each way a pod can be."""
    found = decode("pods", item)
    assert (f"{found.ready}/{found.total}", found.state, found.restarts) == (ready, state, restarts)


def test_the_last_restart_is_the_newest_end() -> None:
    """Of several containers that restarted, the latest end is the pod's last restart, with its reason kept at the container."""
    item = pod(
        containers=("a", "b"),
        statuses=(
            running("a", restarts=1, lastState=died("2026-03-01T09:00:00Z", "OOMKilled", 137)),
            running("b", restarts=1, lastState=died("2026-03-01T08:00:00Z")),
        ),
    )
    found = decode("pods", item)
    assert found.last_restart == datetime(2026, 3, 1, 9, tzinfo=UTC)
    first = found.containers[0]
    assert (first.last_reason, first.last_exit_code, first.last_finished) == ("OOMKilled", 137, found.last_restart)


def _resources(cpu: str, memory: str = "0") -> Json:
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}}


@pytest.mark.parametrize(
    ("spec", "cpu", "memory"),
    [
        ({"containers": [{"name": "a", **_resources("100m", "64Mi")}, {"name": "b", **_resources("1", "1Gi")}]}, 1100, 1088 * 2**20),
        ({"containers": [{"name": "a"}], "initContainers": [{"name": "i", **_resources("2")}]}, 2000, 0),
        ({"containers": [{"name": "a", **_resources("300m")}], "initContainers": [{**SIDECAR, **_resources("200m")}]}, 500, 0),
        (
            {"containers": [{"name": "a", **_resources("300m")}], "initContainers": [{**SIDECAR, **_resources("200m")}, {"name": "i", **_resources("1")}]},
            1200, 0,
        ),
        ({"containers": [{"name": "a", **_resources("300m")}], "resources": {"requests": {"cpu": "5"}}}, 5000, 0),
        ({"containers": [{"name": "a", **_resources("300m")}], "overhead": {"cpu": "50m", "memory": "1Mi"}}, 350, 2**20),
    ],
    ids=["sum", "hungry init", "sidecar", "init beside a sidecar", "whole pod", "overhead"],
)  # fmt: skip
def test_requests_are_counted_as_the_scheduler_counts(spec: Json, cpu: int, memory: int) -> None:
    """Containers and sidecars add up, the hungriest init container may exceed them, pod-level values win."""
    found = decode("pods", pod(spec=spec))
    assert (found.cpu_request_m, found.memory_request_b) == (cpu, memory)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (pod(phase="Failed", reason="Evicted", message="low on memory"), "low on memory"),
        (pod(phase="Pending", conditions=(false("PodScheduled", reason="Unschedulable", message="0/5 nodes"),)), "0/5 nodes"),
        (pod(phase="Pending", statuses=(waiting("ErrImagePull", message="no such tag"),)), "no such tag"),
        (pod(phase="Pending", statuses=(waiting("ContainerCreating"),)), ""),
        (pod(phase="Failed", statuses=(ended("Error", 2),)), "Error"),
        (pod(statuses=(running(ready=False),), conditions=(false("Ready", message="containers with unready status: [app]"),)), "containers with unready status: [app]"),
        (pod(statuses=(running(),), conditions=(true("Ready"),)), ""),
    ],
)  # fmt: skip
def test_the_message_explains_why_it_does_not_run(item: Json, words: str) -> None:
    """The most telling text of the object is taken, and none where nothing is wrong."""
    assert decode("pods", item).message == words


def test_the_rest_of_a_pod() -> None:
    """Address, owner, claims, labels, times and marks arrive."""
    item = pod(
        metadata={
            "labels": {"app": "web"},
            "annotations": {"kubernetes.io/config.mirror": "x", "other": "y"},
            "ownerReferences": [{"kind": "Other", "name": "o", "uid": "1"}, {"kind": "ReplicaSet", "name": "web-5d", "uid": "2", "controller": True}],
            **GONE,
        },
        spec={
            "priority": 1000,
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "pg-1"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "tmp", "emptyDir": {}},
            ],
        },
        podIP="10.42.0.7",
        qosClass="Burstable",
        conditions=(true("Ready"),),
    )  # fmt: skip
    found = decode("pods", item)
    assert found.key == "default/web-0"
    assert found.owner == Owner("ReplicaSet", "web-5d", "2")
    assert found.claims == ("pg-1", "web-0-scratch")
    assert (found.node, found.ip, found.labels, found.mirror, found.qos, found.priority) == (
        "node-1",
        "10.42.0.7",
        {"app": "web"},
        True,
        "Burstable",
        1000,
    )
    assert (found.deleted, found.grace_s) == (datetime(2026, 3, 1, 11, tzinfo=UTC), 30)
    assert (found.is_ready, found.ready_since) == (True, datetime(2026, 2, 28, 10, 0, 10, tzinfo=UTC))


@pytest.mark.parametrize("field", ["containers", "initContainers", "volumes"])
def test_null_instead_of_a_list_is_an_empty_list(field: str) -> None:
    """Go writes null for an empty list; such a pod is no garbage."""
    assert decode("pods", pod(spec={field: None})).name == "web-0"


def test_namespaces_and_usage() -> None:
    """Namespaces have their phase; a pod's usage is the sum of its containers."""
    created = datetime(2026, 2, 28, 10, tzinfo=UTC)
    assert decode("namespaces", {"metadata": meta("a"), "status": {"phase": "Active"}}) == Namespace("a", "Active", created)
    one: dict[str, Any] = {"name": "x", "usage": {"cpu": "1500000n", "memory": "10Ki"}}
    usage = {"metadata": meta("p"), "timestamp": "2026-03-01T12:00:00Z", "containers": [one, one]}
    assert decode("pod_usage", usage) == PodUsage("default", "p", 4, 20480, datetime(2026, 3, 1, 12, tzinfo=UTC))
