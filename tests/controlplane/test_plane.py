"""The control plane itself: that it is what the other tests take it for."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.controlplane.build import PROGRAMS, VERSION, BuildError, programs
from tests.controlplane.plane import ControlPlane, ControlPlaneError, lab_crds

pytestmark = pytest.mark.controlplane

_MAPS = "/api/v1/namespaces/default/configmaps"
_EVENTS = "/api/v1/namespaces/default/events"
_ROOT = Path(__file__).parents[2]


def _config_map(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"word": name}}


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def _first_watch_event(plane: ControlPlane, path: str, version: str) -> tuple[int, dict[str, object]]:
    """(HTTP status, first event) of a watch from `version`; the event is empty if none comes within a second."""
    answer = plane.request("GET", f"{path}?watch=1&timeoutSeconds=1&resourceVersion={version}")
    line = answer.body.split(b"\n", 1)[0]
    return answer.status, json.loads(line) if line else {}


def _gone(plane: ControlPlane, path: str, version: str) -> bool:
    """Whether a watch from `version` is refused as 410: as its HTTP status, or as an ERROR event under 200."""
    status, event = _first_watch_event(plane, path, version)
    if status == http.client.OK and event.get("type") == "ERROR":
        body = event["object"]
        return isinstance(body, dict) and body["code"] == http.client.GONE
    return status == http.client.GONE


def test_it_is_ready_and_says_the_version_of_the_cluster_it_stands_for(plane: ControlPlane) -> None:
    """A started control plane is ready, runs its four programs, and the stamped version reaches clients."""
    assert plane.request("GET", "/readyz").body == b"ok"
    assert set(plane.pids()) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert plane.request("GET", "/version").json()["gitVersion"] == VERSION


def test_every_crd_of_the_lab_is_established(plane: ControlPlane) -> None:
    """All CRD files of the lab, the 650 kB one too, are accepted by a real API server and established."""
    found = plane.request("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions").json()["items"]
    established = {
        crd["metadata"]["name"]
        for crd in found
        if any(each["type"] == "Established" and each["status"] == "True" for each in crd["status"]["conditions"])
    }
    wanted = {yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["metadata"]["name"] for path in lab_crds()}
    assert wanted == established
    assert plane.kubectl("get", "clusters.postgresql.cnpg.io", "-A", "-o", "name") == ""


def test_the_view_user_reads_but_is_refused_leases_secrets_and_changes(plane: ControlPlane) -> None:
    """The forbidden cases are forbidden by the real RBAC, and only they."""
    allowed = ("/api/v1/nodes", "/api/v1/pods", "/apis/longhorn.io/v1beta2/volumes", "/apis/apps/v1/deployments")
    refused = ("/apis/coordination.k8s.io/v1/leases", "/api/v1/secrets")
    assert {path: plane.request("GET", path, user="view").status for path in allowed} == dict.fromkeys(allowed, 200)
    assert {path: plane.request("GET", path, user="view").status for path in refused} == dict.fromkeys(refused, 403)
    assert plane.request("POST", _MAPS, _config_map("of-a-viewer"), user="view").status == http.client.FORBIDDEN


def test_each_kubeconfig_is_whom_it_says(plane: ControlPlane) -> None:
    """The three kubeconfigs work with kubectl and authenticate as three different users."""
    names = {user: plane.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", user=user) for user in plane.kubeconfigs}
    assert names == {"admin": "coldtui-admin", "view": "coldtui-viewer", "token": "system:serviceaccount:default:coldtui"}


def test_a_request_without_credentials_is_unauthorized(plane: ControlPlane) -> None:
    """Anonymous access is off, as in K3s: 401, not 403."""
    context = ssl.create_default_context(cafile=str(plane.ca))
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", plane.ports.api, timeout=10, context=context)) as connection:
        connection.request("GET", "/version")
        assert connection.getresponse().status == http.client.UNAUTHORIZED


def test_the_controllers_are_real(plane: ControlPlane) -> None:
    """A deployment gets its replica set and pods, and the scheduler says why a pod fits nowhere."""
    plane.kubectl("create", "deployment", "real", "--image=none.invalid/none", "--replicas=2")
    try:
        reason = "jsonpath={.items[*].status.conditions[?(@.type=='PodScheduled')].reason}"
        _until(lambda: plane.kubectl("get", "pods", "-l", "app=real", "-o", reason) == "Unschedulable Unschedulable")
    finally:
        plane.kubectl("delete", "deployment", "real", "--cascade=foreground")
    assert plane.kubectl("get", "pods", "-l", "app=real", "-o", "name") == ""


def test_a_paused_api_server_answers_nothing_until_it_is_resumed(plane: ControlPlane) -> None:
    """Paused, a request runs into its two seconds; resumed, the same request works."""
    plane.pause_api()
    try:
        with pytest.raises(TimeoutError):
            plane.request("GET", "/readyz", timeout=2)
    finally:
        plane.resume_api()
    assert plane.request("GET", "/readyz").status == http.client.OK


def test_the_audit_log_has_what_was_sent(plane: ControlPlane) -> None:
    """A change is in the audit log with its body and user, and the controllers' own requests are not."""
    plane.apply(_MAPS, _config_map("audited"))
    plane.kubectl("delete", "configmap", "audited")

    def seen() -> dict[str, object]:
        events = [event for event in plane.audit_events() if (event.get("objectRef") or {}).get("name") == "audited"]
        return {event["verb"]: (event["user"]["username"], (event.get("requestObject") or {}).get("data")) for event in events}

    _until(lambda: {"create", "delete"} <= seen().keys())
    assert seen()["create"] == ("coldtui-admin", {"word": "audited"})
    assert not [event for event in plane.audit_events() if event["user"].get("username", "").startswith("system:kube-")]


def test_two_control_planes_live_side_by_side_and_each_keeps_what_it_stored(plane: ControlPlane, own_plane: ControlPlane) -> None:
    """Killed, the API server refuses connections; started again on its port it has its data; the other plane notices nothing."""
    own_plane.apply(_MAPS, _config_map("kept"))
    before = own_plane.pids()["kube-apiserver"]
    own_plane.kill_api()
    with pytest.raises(ConnectionRefusedError):
        own_plane.request("GET", "/readyz")
    assert plane.request("GET", "/readyz").status == http.client.OK
    own_plane.start_api()
    assert own_plane.pids()["kube-apiserver"] != before
    assert own_plane.request("GET", f"{_MAPS}/kept").json()["data"] == {"word": "kept"}
    assert plane.request("GET", f"{_MAPS}/kept").status == http.client.NOT_FOUND


def test_compaction_makes_410_of_events_and_forgetting_of_everything(own_plane: ControlPlane) -> None:
    """Compaction alone ends old watches and pages of events, which go to etcd; `forget` ends those of kinds in the watch cache too."""
    about = {"kind": "ConfigMap", "name": "one", "namespace": "default"}
    for name in ("one", "two", "three"):
        own_plane.apply(_EVENTS, {"metadata": {"name": name}, "involvedObject": about})
    kinds = (_EVENTS, _MAPS)
    own_plane.apply(_MAPS, _config_map("zero"))
    old = own_plane.apply(_MAPS, _config_map("one"))["metadata"]["resourceVersion"]
    pages = {
        kind: f"{kind}?limit=1&continue={own_plane.request('GET', f'{kind}?limit=1').json()['metadata']['continue']}" for kind in kinds
    }
    own_plane.apply(_MAPS, _config_map("two"))
    own_plane.apply(_EVENTS, {"metadata": {"name": "four"}, "involvedObject": about})

    def gone() -> dict[str, tuple[bool, bool]]:
        return {kind: (_gone(own_plane, kind, old), own_plane.request("GET", pages[kind]).status == http.client.GONE) for kind in kinds}

    assert gone() == {_EVENTS: (False, False), _MAPS: (False, False)}
    own_plane.compact()
    assert gone() == {_EVENTS: (True, True), _MAPS: (False, False)}
    own_plane.forget()
    assert gone() == {_EVENTS: (True, True), _MAPS: (True, True)}
    now = own_plane.request("GET", _MAPS).json()["metadata"]["resourceVersion"]
    assert not _gone(own_plane, _MAPS, now)


def test_its_programs_end_with_the_process_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL on the process that started a control plane leaves no program behind."""
    command = [sys.executable, "-m", "tests.controlplane.plane", str(tmp_path / "plane"), "--no-crds"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pids = json.loads(process.stdout.readline())["pids"]
        process.kill()
    assert len(pids) == 4
    _until(lambda: not any(_alive(pid) for pid in pids.values()), 10)


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """The error of a start carries the tail of the log, here for a CRD that is none, and its programs are gone."""
    nonsense = tmp_path / "nonsense.yaml"
    nonsense.write_text("apiVersion: v1\nkind: Secret\n")
    before = _children()
    with pytest.raises(ControlPlaneError, match=r"POST /apis/apiextensions.k8s.io/.* 400 "):
        ControlPlane.start(tmp_path / "plane", crds=[nonsense])
    assert _children() == before


def test_without_go_the_build_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache and no `go` give a BuildError of one line, not a trace."""
    monkeypatch.setenv("COLDTUI_CONTROLPLANE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"^go 1\.\d+ or newer is needed .* there is no `go` in PATH$"):
        programs()


def test_an_old_go_is_refused_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `go` that is too old is named with its version before anything is downloaded."""
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.19.8\n")
    go.chmod(0o755)
    monkeypatch.setenv("COLDTUI_CONTROLPLANE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(BuildError, match=r"is go1\.19\.8$"):
        programs()


@pytest.mark.parametrize(("required", "outcome"), [("0", "SKIPPED"), ("1", "ERROR")])
def test_without_programs_a_test_is_skipped_or_where_required_fails(tmp_path: Path, required: str, outcome: str) -> None:
    """A machine without `go` skips with the reason; where a control plane is required the same is an error, not silence."""
    environment = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST")}
    environment |= {"COLDTUI_CONTROLPLANE_CACHE": str(tmp_path), "PATH": str(tmp_path), "COLDTUI_REQUIRE_CONTROLPLANE": required}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rsE", f"{__file__}::{test_the_controllers_are_real.__name__}"]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert outcome in done.stdout
    assert "there is no `go` in PATH" in done.stdout
    assert done.returncode == int(required)


def test_the_cache_has_every_program(plane: ControlPlane) -> None:
    """What was built is complete and can be executed, so a half-made cache is never taken for one."""
    assert all(os.access(programs() / name, os.X_OK) for name in PROGRAMS)


def _children() -> set[int]:
    """Processes that this one has started and not reaped."""
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def _alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
