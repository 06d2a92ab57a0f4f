"""The command line's tables say what kubectl's say, row by row, of a site in every kind of trouble, on both servers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.whole.ground import Ground, Json, command

PODS = "/api/v1/namespaces/trouble/pods"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "y": 86_400 * 365}


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def running(name: str = "app", *, restarts: int = 0, last: Json | None = None, ready: bool = True) -> Json:
    return {
        "name": name, "image": "r/app:1", "imageID": "", "ready": ready, "started": ready, "restartCount": restarts,
        "state": {"running": {"startedAt": ago(600)}}, "lastState": last or {},
    }  # fmt: skip


def waiting(reason: str, name: str = "app", *, restarts: int = 0, last: Json | None = None) -> Json:
    return {**running(name, restarts=restarts, last=last, ready=False), "state": {"waiting": {"reason": reason, "message": "told so"}}}


def ended(code: int, reason: str, seconds: float = 300, name: str = "app", **more: object) -> Json:
    state = {"terminated": {"exitCode": code, "reason": reason, "startedAt": ago(seconds + 60), "finishedAt": ago(seconds), **more}}
    return {**running(name, ready=False), "state": state}


def crash(seconds: float, code: int = 1) -> Json:
    return {"terminated": {"exitCode": code, "reason": "Error", "startedAt": ago(seconds + 5), "finishedAt": ago(seconds)}}


def pod_status(phase: str, *containers: Json, ready: bool = True, **more: object) -> Json:
    return {
        "phase": phase, "startTime": ago(900), "containerStatuses": list(containers), "podIP": "10.42.1.77", "podIPs": [{"ip": "10.42.1.77"}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": ago(600)}], **more,
    }  # fmt: skip


SIDECAR: Json = {"name": "proxy", "image": "r/proxy:1", "restartPolicy": "Always"}
INIT: Json = {"name": "setup", "image": "r/setup:1"}
INIT2: Json = {"name": "seed", "image": "r/seed:1"}
_UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/5 nodes",
    "lastTransitionTime": ago(600),
}

TROUBLE: dict[str, tuple[Json, Json | None]] = {
    "fine": ({}, pod_status("Running", running())),
    "crashes": ({}, pod_status("Running", waiting("CrashLoopBackOff", restarts=7, last=crash(150)), ready=False)),
    "pulls": ({}, pod_status("Pending", waiting("ImagePullBackOff"), ready=False)),
    "pending": ({"nodeName": None}, {"phase": "Pending", "conditions": [_UNSCHEDULABLE]}),
    "creating": ({}, pod_status("Pending", waiting("ContainerCreating"), ready=False)),
    "completed": ({"restartPolicy": "Never"}, pod_status("Succeeded", ended(0, "Completed"), ready=False)),
    "failed": ({"restartPolicy": "Never"}, pod_status("Failed", ended(3, "Error"), ready=False)),
    "killed": ({"restartPolicy": "Never"}, pod_status("Failed", ended(137, "OOMKilled"), ready=False)),
    "signalled": ({"restartPolicy": "Never"}, pod_status("Failed", ended(143, "", signal=15), ready=False)),
    "evicted": ({}, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.", "startTime": ago(900)}),
    "unready": ({}, pod_status("Running", running(ready=False), ready=False)),
    "restarted": ({}, pod_status("Running", running(restarts=2, last=crash(7200)))),
    "init": (
        {"initContainers": [INIT, INIT2]},
        pod_status("Pending", waiting("PodInitializing"), ready=False, initContainerStatuses=[ended(0, "Completed", name="setup"), running("seed", ready=False)]),
    ),
    "init-crash": (
        {"initContainers": [INIT]},
        pod_status("Pending", waiting("PodInitializing"), ready=False, initContainerStatuses=[waiting("CrashLoopBackOff", "setup", restarts=4, last=crash(90))]),
    ),
    "sidecar": ({"initContainers": [SIDECAR]}, pod_status("Running", running(), initContainerStatuses=[running("proxy", restarts=1, last=crash(3600))])),
    "sidecar-unready": ({"initContainers": [SIDECAR]}, pod_status("Running", running(), ready=False, initContainerStatuses=[running("proxy", ready=False)])),
    "gated": (
        {"nodeName": None, "schedulingGates": [{"name": "example.com/wait"}]},
        {"phase": "Pending", "conditions": [{**_UNSCHEDULABLE, "reason": "SchedulingGated"}]},
    ),
    "leaving": ({"terminationGracePeriodSeconds": 3600}, pod_status("Running", running())),
    "two": ({"containers": [{"name": "app", "image": "r/app:1"}, {"name": "web", "image": "r/web:1"}]},
            pod_status("Running", running(), waiting("CrashLoopBackOff", "web", restarts=3, last=crash(30)), ready=False)),
}  # fmt: skip
"""Name -> what differs in its spec, and its status."""


@pytest.fixture(scope="module")
def troubled(ground: Ground) -> Iterator[Ground]:
    """The site with a cordoned node, one that is not ready, one that is both and under pressure, and pods in every state."""
    if ground.program is None:
        pytest.skip("kubectl is not on this machine")
    admin = ground.admin
    admin.post("/api/v1/namespaces", {"metadata": {"name": "trouble"}})
    admin.post("/api/v1/namespaces/trouble/serviceaccounts", {"metadata": {"name": "quiet"}})
    for name, (spec, status) in TROUBLE.items():
        whole = {"nodeName": "k3s-worker-1", "containers": [{"name": "app", "image": "r/app:1"}], "serviceAccountName": "quiet",
                 "automountServiceAccountToken": False, "tolerations": [{"operator": "Exists"}], **spec}  # fmt: skip
        finalizers = ["example.com/stay"] if name == "leaving" else []
        admin.post(PODS, {"metadata": {"name": name, "finalizers": finalizers}, "spec": {k: v for k, v in whole.items() if v is not None}})
        if status is not None:
            ground.patch_status(f"{PODS}/{name}", status)
    assert admin.call("DELETE", f"{PODS}/leaving").code in (200, 202)
    ground.cordon(True, "k3s-worker-4")
    ground.cordon(True, "k3s-worker-3")
    for node in ("k3s-worker-3", "k3s-worker-2"):
        path = f"/api/v1/nodes/{node}"
        conditions = ground.get(path)["status"]["conditions"]
        for condition in conditions:
            if condition["type"] == "Ready":
                condition.update(status="Unknown" if node == "k3s-worker-3" else "False", reason="Test", message="told so")
        ground.patch_status(path, {"conditions": conditions})
    yield ground
    ground.cordon(False, "k3s-worker-4")
    ground.cordon(False, "k3s-worker-3")
    for node in ("k3s-worker-3", "k3s-worker-2"):
        path = f"/api/v1/nodes/{node}"
        conditions = ground.get(path)["status"]["conditions"]
        for condition in conditions:
            if condition["type"] == "Ready":
                condition.update(status="True")
        ground.patch_status(path, {"conditions": conditions})
    ground.patch(f"{PODS}/leaving", {"metadata": {"finalizers": None}})
    ground.delete("/api/v1/namespaces/trouble")


def rows(text: str, columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Those columns of a table, found by where their headings begin."""
    head, *lines = text.rstrip("\n").split("\n")
    starts = {found.group(): found.start() for found in re.finditer(r"\S+(?: \S+)*", head)}
    order = sorted(starts.values())
    ends = dict(zip(order, [*order[1:], None], strict=True))
    return [tuple(line[starts[c] : ends[starts[c]]].strip() for c in columns) for line in lines]


def seconds(text: str) -> int:
    """`3h12m` in seconds."""
    return sum(int(n) * _UNITS[u] for n, u in re.findall(r"(\d+)([smhdy])", text))


def near(one: str, other: str) -> bool:
    """Two ages, one taken a moment after the other: within one step of the smallest unit that is shown."""
    units = re.findall(r"\d+([smhdy])", one + other)
    step = min((_UNITS[u] for u in units), default=1)
    return abs(seconds(one) - seconds(other)) <= max(step, 5)


def _without_age(text: str) -> str:
    """The number before an age in brackets; empty for an age alone."""
    return text.partition(" (")[0] if "(" in text or text.isdigit() else ""


def disagreements(ground: Ground, home: Path, what: tuple[str, ...], columns: tuple[str, ...], ages: frozenset[str]) -> list[str]:
    """Rows that differ, in words."""
    theirs = rows(ground.kubectl("get", *what), columns)
    done = command(home, *what, kubeconfig=ground.kubeconfig)
    assert done.code == 0, done.err
    ours = rows(done.out, columns)
    found = []
    if [r[: 2 if "NAMESPACE" in columns else 1] for r in theirs] != [r[: 2 if "NAMESPACE" in columns else 1] for r in ours]:
        return [f"other rows or another order: {set(theirs) ^ set(ours)}"]
    for their, our in zip(theirs, ours, strict=True):
        for column, a, b in zip(columns, their, our, strict=True):
            if column in ages:  # "7 (2m ago)" is a number and an age
                if _without_age(a) != _without_age(b) or not near(a, b):
                    found.append(f"{their}: {column} {a!r} is {b!r} with us")
            elif a != b:
                found.append(f"{their}: {column} {a!r} is {b!r} with us")
    return found


def agree(ground: Ground, home: Path, what: tuple[str, ...], columns: tuple[str, ...], ages: frozenset[str]) -> int:
    """A control plane goes on changing things: the two must agree at one moment within 20 s. Returns how many rows there were."""
    end = time.monotonic() + 20
    while found := disagreements(ground, home, what, columns, ages):
        assert time.monotonic() < end, "\n".join(found)
    return len(rows(ground.kubectl("get", *what), columns))


def test_nodes(troubled: Ground, tmp_path: Path) -> None:
    """`coldtui nodes` has kubectl's NAME, STATUS, ROLES, VERSION and, within a step, AGE: of ready, cordoned, unready, unknown nodes."""
    table = ("NAME", "STATUS", "ROLES", "AGE", "VERSION")
    assert agree(troubled, tmp_path / "home", ("nodes",), table, frozenset({"AGE"})) == 5
    words = {r[1] for r in rows(troubled.kubectl("get", "nodes"), table)}
    assert words == {"Ready", "NotReady", "NotReady,SchedulingDisabled", "Ready,SchedulingDisabled"}, (
        "the site is not in the trouble that it was put in"
    )


def test_pods(troubled: Ground, tmp_path: Path) -> None:
    """`coldtui pods -A` has kubectl's NAMESPACE, NAME, READY, STATUS, RESTARTS with the last one's age, and AGE, of pods in every state."""
    table = ("NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE")
    assert agree(troubled, tmp_path / "home", ("pods", "-A"), table, frozenset({"AGE", "RESTARTS"})) > len(TROUBLE)
    words = {r[3] for r in rows(troubled.kubectl("get", "pods", "-A"), table) if r[0] == "trouble"}
    assert words >= {"Running", "CrashLoopBackOff", "Pending", "Completed", "Terminating", "Evicted", "Init:1/2", "Init:CrashLoopBackOff", "ImagePullBackOff",
                     "OOMKilled", "SchedulingGated"}  # fmt: skip


def test_deployments(troubled: Ground, tmp_path: Path) -> None:
    """`coldtui deployments -A` has kubectl's NAMESPACE, NAME, READY, UP-TO-DATE, AVAILABLE and AGE."""
    table = ("NAMESPACE", "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE")
    assert agree(troubled, tmp_path / "home", ("deployments", "-A"), table, frozenset({"AGE"})) > 10
