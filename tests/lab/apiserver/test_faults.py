"""Faults: what goes wrong, looks to a client as it does in a real site, and ends again."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil
import pytest

from coldtui.lab.apiserver.process import ApiServerError, ApiServerProcess
from tests.lab.apiserver.site import PODS, Client, Stream, pod, running, wait_for

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProcess]:
    with ApiServerProcess(tmp_path_factory.mktemp("faulty"), arguments=("--crds", "none")) as process:
        yield process


@pytest.fixture
def faulty(shared: ApiServerProcess) -> Iterator[ApiServerProcess]:
    """A server on which every fault ends with the test."""
    yield shared
    for name in shared.stats()["faults"]:
        shared.control(name, False)


@pytest.fixture
def admin(faulty: ApiServerProcess) -> Client:
    return Client(faulty.kubeconfig)


def _make(client: Client, name: str) -> None:
    client.post(MAPS, {"metadata": {"name": name}})


def test_down_refuses_connections_and_keeps_the_state(faulty: ApiServerProcess, admin: Client) -> None:
    """Down closes the listener and breaks open streams; the way back leads over the control socket, to the same port and the same objects."""
    _make(admin, "kept")
    stream = admin.watch(MAPS, resourceVersion="0")
    stream.take(1)
    faulty.control("down")
    with pytest.raises(ConnectionRefusedError):
        admin.get("/readyz")
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        stream.response.read()
    faulty.control("down", False)
    assert admin.get(f"{MAPS}/kept").code == 200


def test_a_fault_can_end_by_itself(faulty: ApiServerProcess, admin: Client) -> None:
    """``seconds`` switches the fault off after a while."""
    assert admin.post("/lab/faults", {"name": "unauthorized", "on": True, "seconds": 0.2})["on"]
    assert admin.get("/readyz").code == 401
    wait_for(lambda: admin.get("/readyz").code == 200, "the fault ended")


def test_slow_answers_late(faulty: ApiServerProcess, admin: Client) -> None:
    """Latency is added to the matching paths only."""
    faulty.control("slow", ms=300, match="^/version")
    began = time.monotonic()
    admin.get("/version")
    late = time.monotonic() - began
    began = time.monotonic()
    admin.get("/readyz")
    assert late > 0.3 > time.monotonic() - began


def test_forbidden_takes_single_resources_away(faulty: ApiServerProcess, admin: Client) -> None:
    """Even an admin is refused the named resources and verbs, in the real words."""
    faulty.control("forbidden", resources=["nodes", "apps/deployments"], verbs=["list", "watch"])
    answer = admin.get("/api/v1/nodes")
    assert answer.code == 403
    assert 'nodes is forbidden: User "system:admin" cannot list resource "nodes"' in answer.json["message"]
    assert admin.get("/apis/apps/v1/deployments").code == 403
    assert admin.get("/api/v1/nodes/none").code == 404
    assert admin.get("/api/v1/pods").code == 200


@pytest.mark.parametrize("retry_after", [None, 3])
def test_too_many_requests(faulty: ApiServerProcess, admin: Client, retry_after: int | None) -> None:
    """429 carries the mark of flow control, and Retry-After only when asked to."""
    faulty.control("too-many", retry_after=retry_after)
    answer = admin.get("/api/v1/nodes")
    assert (answer.code, answer.json["reason"]) == (429, "TooManyRequests")
    assert answer.headers.get("Retry-After") == (str(retry_after) if retry_after else None)
    assert "X-Kubernetes-PF-FlowSchema-UID" in answer.headers


def test_expired_ends_watches_and_pages(faulty: ApiServerProcess, admin: Client) -> None:
    """Open watches get a 410 event and end, new ones from a version too, and continue tokens are 410."""
    for name in ("a", "b", "c"):
        _make(admin, name)
    first = admin.get(MAPS, limit=1).json
    stream = admin.watch(MAPS, resourceVersion=first["metadata"]["resourceVersion"])
    faulty.control("expired")
    (event,) = stream.take(1)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert stream.response.readline() == b""
    again = admin.get(MAPS, watch=1, resourceVersion=first["metadata"]["resourceVersion"])
    assert (again.code, again.json["object"]["reason"]) == (200, "Expired")
    assert admin.get(MAPS, limit=1, **{"continue": first["metadata"]["continue"]}).code == 410
    faulty.control("expired", False)
    assert admin.get(MAPS, limit=1).code == 200


def test_garbage_lines(faulty: ApiServerProcess, admin: Client) -> None:
    """A watch carries a line that is no JSON before each event, and the event itself is whole."""
    stream = admin.watch(MAPS, resourceVersion=admin.get(MAPS).json["metadata"]["resourceVersion"])
    faulty.control("garbage")
    _make(admin, "g")
    with pytest.raises(ValueError):
        json.loads(stream.response.readline())
    assert json.loads(stream.response.readline())["object"]["metadata"]["name"] == "g"
    stream.close()


def test_cut_breaks_streams_and_lists_in_the_middle(faulty: ApiServerProcess, admin: Client) -> None:
    """A cut stream ends in half a line without the end of its body; a list breaks off; ``once`` spares what comes later."""
    _make(admin, "cut-me")
    stream = admin.watch(MAPS, resourceVersion="0")
    stream.take(1)
    faulty.control("cut", once=True)
    with pytest.raises(http.client.IncompleteRead) as cut:
        stream.response.read()
    with pytest.raises(ValueError):
        json.loads(cut.value.partial)
    assert admin.get(MAPS).code == 200
    faulty.control("cut")
    with pytest.raises(http.client.IncompleteRead):
        admin.get(MAPS)


def test_half_open_streams_fall_silent(faulty: ApiServerProcess, admin: Client) -> None:
    """A half-open stream carries nothing more and does not close, even after the fault; a new one works again."""
    version = admin.get(MAPS).json["metadata"]["resourceVersion"]
    stream = Stream(*admin.open("GET", f"{MAPS}?watch=1&resourceVersion={version}", timeout=0.5))
    faulty.control("half-open")
    faulty.control("half-open", False)
    fresh = admin.watch(MAPS, resourceVersion=admin.get(MAPS).json["metadata"]["resourceVersion"])
    _make(admin, "h")
    assert fresh.take(1)[0]["object"]["metadata"]["name"] == "h"
    with pytest.raises(TimeoutError):
        stream.response.readline()
    fresh.close()
    stream.close()


def test_metrics_down_is_503_and_said_by_its_api_service(faulty: ApiServerProcess, admin: Client) -> None:
    """The aggregated API answers 503 while the rest works, and its APIService is no longer available."""
    service = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"
    assert admin.get("/apis/metrics.k8s.io/v1beta1/nodes").code == 200
    faulty.control("metrics-down")
    assert admin.get("/apis/metrics.k8s.io/v1beta1/nodes").code == 503
    assert admin.get("/api/v1/nodes").code == 200
    assert admin.get(service).json["status"]["conditions"][0]["status"] == "False"
    faulty.control("metrics-down", False)
    assert admin.get(service).json["status"]["conditions"][0]["status"] == "True"


def test_restored_takes_versions_back(own_server: ApiServerProcess) -> None:
    """After a restore the list's version is lower, what was made since is gone, and an old version is TooLarge."""
    admin = Client(own_server.kubeconfig)
    _make(admin, "old")
    before = int(admin.get(MAPS).json["metadata"]["resourceVersion"])
    for i in range(10):
        _make(admin, f"new-{i}")
    newest = admin.get(MAPS).json["metadata"]["resourceVersion"]
    own_server.control("restored", back=10)
    after = admin.get(MAPS).json
    assert int(after["metadata"]["resourceVersion"]) == before
    assert [i["metadata"]["name"] for i in after["items"]] == ["old"]
    answer = admin.get(MAPS, resourceVersion=newest)
    assert (answer.code, answer.headers["Retry-After"]) == (504, "1")


def test_clock_skew_shifts_dates(faulty: ApiServerProcess, admin: Client) -> None:
    """The Date header and new time stamps are off by the given seconds."""
    faulty.control("clock-skew", skew_seconds=-7200)
    answer = admin.call("POST", MAPS, {"metadata": {"name": "early"}})
    for moment in (parsedate_to_datetime(answer.headers["Date"]), datetime.fromisoformat(answer.json["metadata"]["creationTimestamp"])):
        assert abs((datetime.now(UTC) - moment).total_seconds() - 7200) < 30


def test_a_paused_server_accepts_and_does_not_answer(faulty: ApiServerProcess, admin: Client) -> None:
    """SIGSTOP leaves the port open: only a deadline notices; after SIGCONT everything is as before."""
    faulty.pause()
    with pytest.raises(TimeoutError):
        admin.open("GET", "/readyz", timeout=0.4)
    faulty.resume()
    assert admin.get("/readyz").code == 200


def test_commands_that_make_no_sense_are_refused(faulty: ApiServerProcess, admin: Client) -> None:
    """An unknown fault or command is an error with words, on the socket and over HTTP."""
    with pytest.raises(ApiServerError, match="unknown fault"):
        faulty.control("earthquake")
    with pytest.raises(ApiServerError, match="unknown command"):
        faulty.command({"what": 1})
    assert admin.call("POST", "/lab/faults", {"name": "earthquake"}).code == 400


def test_a_killed_server_leaves_a_folder_that_starts_again(own_server: ApiServerProcess) -> None:
    """After SIGKILL a new server on the same folder and port is trusted by the old kubeconfig."""
    admin = Client(own_server.kubeconfig)
    port = own_server.port
    own_server.kill()
    with pytest.raises(ConnectionRefusedError):
        admin.get("/readyz")
    with ApiServerProcess(own_server.folder, port=port, arguments=("--crds", "none")):
        assert admin.get("/readyz").code == 200


def test_logs_are_cut_too(faulty: ApiServerProcess, admin: Client) -> None:
    """A followed log ends in mid-stream when streams are cut."""
    admin.call("POST", "/lab/bulk", json.dumps(running(pod("log", on="w1"))).encode())
    connection, response = admin.open("GET", f"{PODS}/log/log?follow=true&tailLines=1")
    assert response.readline()
    faulty.control("cut", once=True)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()


def test_the_server_ends_with_its_parent(tmp_path: Path) -> None:
    """When the process that started the server dies without a word, the server ends too."""
    program = "import os,sys; from pathlib import Path; from coldtui.lab.apiserver.process import ApiServerProcess as P;"
    program += "p = P(Path(sys.argv[1]), arguments=('--crds', 'none')); print(p.pid, flush=True); os._exit(1)"
    said = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=20, check=False)
    child = int(said.stdout)
    # A zombie has ended too: here nobody may be there to reap it.
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, "the server has ended")
