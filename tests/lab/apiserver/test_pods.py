"""Logs, summaries, metrics and bindings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.apiserver.site import PODS, Client, node, pod, running

Json = dict[str, Any]


@pytest.fixture(scope="module")
def site(client: Client) -> Client:
    """Two nodes, of which one is not ready, and pods in several states."""
    crash = running(pod("crash", on="w1"), ready=False)
    status = crash["status"]["containerStatuses"][0]
    ended = {"exitCode": 1, "reason": "Error", "startedAt": "2026-11-01T00:00:00Z", "finishedAt": "2026-11-01T00:01:00Z"}
    status.update(restartCount=3, state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended})
    young = running(pod("young", on="w1"), ready=False)
    young["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    claim = running(pod("claim", on="w1"))
    claim["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data-1"}}]
    bodies = [
        node("w1"),
        node("w2", ready=False),
        running(pod("web", on="w1")),
        running(pod("two", on="w1", containers=("a", "b"))),
        crash,
        young,
        claim,
    ]
    client.call("POST", "/lab/bulk", b"\n".join(json.dumps(b).encode() for b in bodies))
    return client


def _log(client: Client, name: str, **query: str | int) -> list[str]:
    answer = client.get(f"{PODS}/{name}/log", **query)
    assert answer.code == 200, answer.data
    return answer.data.decode().splitlines()


def test_logs_obey_their_options(site: Client) -> None:
    """tailLines, timestamps, sinceTime and limitBytes cut the same log, and asking twice gives the same lines."""
    tail = _log(site, "web", tailLines=5, timestamps="true")
    assert len(tail) == 5
    stamps = [line.split(" ", 1)[0] for line in tail]
    assert stamps == sorted(stamps)
    since = _log(site, "web", sinceTime=stamps[2], timestamps="true")
    assert since[:3] == tail[2:]
    assert len(site.get(f"{PODS}/web/log", limitBytes=100).data) == 100
    assert site.get(f"{PODS}/web/log", sinceTime=stamps[0], sinceSeconds=5).code == 400


def test_a_followed_log_goes_on(site: Client) -> None:
    """follow=true sends what there is and then new lines as they are written."""
    connection, response = site.open("GET", f"{PODS}/web/log?follow=true&tailLines=1&timestamps=true")
    first, second = response.readline().split(b" ", 1), response.readline().split(b" ", 1)
    assert first[0] < second[0]
    connection.close()


def test_a_crashed_container_says_why(site: Client) -> None:
    """The previous log ends in an error and at the time of the crash; the waiting container shows its last instance."""
    assert "panic" in _log(site, "crash", previous="true")[-1]
    assert _log(site, "crash", previous="true", timestamps="true")[-1].startswith("2026-11-01T00:01:00")
    assert "panic" in _log(site, "crash")[-1]


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("web", "previous=true", 'previous terminated container "main" in pod "web" not found'),
        ("young", "", 'container "main" in pod "young" is waiting to start: ContainerCreating'),
        ("two", "", "a container name must be specified for pod two, choose one of: [a b]"),
        ("two", "container=c", "container c is not valid for pod two"),
    ],
)
def test_logs_that_cannot_be_had_are_400(site: Client, name: str, query: str, words: str) -> None:
    """The refusals are those of the real server, word for word."""
    answer = site.call("GET", f"{PODS}/{name}/log?{query}")
    assert (answer.code, answer.json["message"]) == (400, words)


def test_a_log_can_come_from_a_file(site: Client, tmp_path: Path) -> None:
    """The annotation lab.coldtui/log-file gives the lines of a real program."""
    file = tmp_path / "real.log"
    file.write_text("2026-11-01T00:00:01Z first\nsecond\n")
    body = running(pod("filed", on="w1"))
    body["metadata"]["annotations"] = {"lab.coldtui/log-file": str(file)}
    site.call("POST", "/lab/bulk", json.dumps(body).encode())
    assert _log(site, "filed") == ["2026-11-01T00:00:01Z first", "second"]


def test_the_summary_of_a_node(site: Client) -> None:
    """The kubelet's summary has working set, file system, counters, the pods of the node and the fill level of claims."""
    found = site.get("/api/v1/nodes/w1/proxy/stats/summary").json
    assert 0 < found["node"]["memory"]["workingSetBytes"] < 8 * 2**30
    disk = found["node"]["fs"]
    assert disk["usedBytes"] + disk["availableBytes"] < disk["capacityBytes"]
    pods = {p["podRef"]["name"]: p for p in found["pods"]}
    assert {"web", "two", "claim"} <= set(pods)
    assert pods["claim"]["volume"][0]["pvcRef"] == {"name": "data-1", "namespace": "default"}
    assert site.get("/api/v1/nodes/w2/proxy/stats/summary").code == 503


def test_annotations_steer_the_numbers(site: Client) -> None:
    """A scenario can fill a disk or load a node by annotation."""
    site.patch("/api/v1/nodes/w1", {"metadata": {"annotations": {"lab.coldtui/disk": "0.93", "lab.coldtui/cpu": "0.5"}}})
    found = site.get("/api/v1/nodes/w1/proxy/stats/summary").json["node"]
    assert found["fs"]["usedBytes"] == int(80 * 2**30 * 0.93)
    assert found["cpu"]["usageNanoCores"] == 2_000_000_000


def test_metrics_have_no_sample_for_what_does_not_run(site: Client) -> None:
    """metrics.k8s.io gives nanocores and Ki for ready nodes and running pods, and leaves the others out."""
    nodes = site.get("/apis/metrics.k8s.io/v1beta1/nodes").json["items"]
    assert [n["metadata"]["name"] for n in nodes] == ["w1"]
    assert nodes[0]["usage"]["cpu"].endswith("n")
    assert nodes[0]["usage"]["memory"].endswith("Ki")
    two = site.get("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/two").json
    assert [c["name"] for c in two["containers"]] == ["a", "b"]
    assert site.get("/apis/metrics.k8s.io/v1beta1/nodes/w2").code == 404


def test_a_pod_is_bound_once(client: Client) -> None:
    """A binding assigns the node and says so in the conditions; a second one is 409."""
    client.post(PODS, pod("bound"))
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "w1"}}
    assert client.call("POST", f"{PODS}/bound/binding", body).code == 201
    found = client.get(f"{PODS}/bound").json
    assert found["spec"]["nodeName"] == "w1"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    assert client.call("POST", f"{PODS}/bound/binding", body).code == 409


def test_discovery_in_both_forms(client: Client) -> None:
    """The plain and the aggregated discovery name the same resources, with eviction, scale and status."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = client.call("GET", "/api", Accept=accept)
    assert answer.headers["Content-Type"].startswith(accept)
    listed = {
        r["resource"]: {s["subresource"] for s in r.get("subresources", [])} for r in answer.json["items"][0]["versions"][0]["resources"]
    }
    plain = {r["name"]: r for r in client.get("/api/v1").json["resources"]}
    assert {n.split("/")[0] for n in plain} == set(listed)
    assert {"eviction", "log", "status", "binding"} <= listed["pods"]
    assert (plain["pods/eviction"]["kind"], plain["pods/eviction"]["group"]) == ("Eviction", "policy")
    groups = {g["metadata"]["name"] for g in client.call("GET", "/apis", Accept=accept).json["items"]}
    assert groups == {g["name"] for g in client.get("/apis").json["groups"]} >= {"apps", "longhorn.io", "metrics.k8s.io"}


@pytest.mark.parametrize("path", ["/readyz", "/livez", "/healthz"])
def test_health(client: Client, path: str) -> None:
    """Health is a bare ok, and a list of checks when verbose."""
    assert client.get(path).data == b"ok"
    assert b"[+]etcd ok" in client.get(path, verbose="").data
