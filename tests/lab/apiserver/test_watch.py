"""Lists and watches over HTTP: what a client sees."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coldtui.lab.apiserver.process import ApiServerProcess
from tests.lab.apiserver.site import PODS, Client, Stream, pod, running, wait_for

Json = dict[str, Any]
MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class PageMeta(msgspec.Struct):
    next: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """What a pager reads of a list."""

    metadata: PageMeta
    items: list[msgspec.Raw]


def _map(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {}}


def _seen(stream: Stream, count: int) -> list[tuple[str, str]]:
    return [(e["type"], e["object"]["metadata"]["name"]) for e in stream.take(count)]


def test_a_watch_resumes_from_a_version(client: Client) -> None:
    """From the version of a list a watch carries every later change in order, and nothing else."""
    version = client.get(MAPS).json["metadata"]["resourceVersion"]
    client.post(MAPS, _map("w-1"))
    client.patch(f"{MAPS}/w-1", {"data": {"a": "b"}})
    stream = client.watch(MAPS, resourceVersion=version)
    assert _seen(stream, 2) == [("ADDED", "w-1"), ("MODIFIED", "w-1")]
    client.call("DELETE", f"{MAPS}/w-1")
    (event,) = stream.take(1)
    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(version) + 2
    stream.close()


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_without_a_version_begins_with_what_is_there(client: Client, version: str) -> None:
    """Unset and 0 begin with synthetic ADDED events, filtered by the selector."""
    client.post(MAPS, _map(f"s-{version or 'unset'}", mark=f"m{version}"))
    stream = client.watch(MAPS, labelSelector=f"mark=m{version}", **({"resourceVersion": version} if version else {}))
    assert _seen(stream, 1) == [("ADDED", f"s-{version or 'unset'}")]
    stream.close()


def test_watch_list_marks_the_end_of_the_initial_state(client: Client) -> None:
    """sendInitialEvents ends the initial objects with the annotated bookmark; without resourceVersionMatch it is 422."""
    client.post(MAPS, _map("wl", mark="wl"))
    query: dict[str, str | int] = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "labelSelector": "mark=wl"}
    stream = client.watch(MAPS, resourceVersionMatch="NotOlderThan", **query)
    added, end = stream.take(2)
    assert (added["type"], end["type"]) == ("ADDED", "BOOKMARK")
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    client.patch(f"{MAPS}/wl", {"data": {"a": "b"}})
    assert next(e for e in stream.lines() if e["type"] != "BOOKMARK")["type"] == "MODIFIED"
    stream.close()
    assert client.get(MAPS, watch=1, **query).code == 422


def test_watching_one_object(client: Client) -> None:
    """A field selector on metadata.name carries that object's events only."""
    version = client.get(MAPS).json["metadata"]["resourceVersion"]
    for name in ("one", "other"):
        client.post(MAPS, _map(name))
    client.patch(f"{MAPS}/one", {"data": {"a": "b"}})
    stream = client.watch(MAPS, resourceVersion=version, fieldSelector="metadata.name=one")
    assert _seen(stream, 2) == [("ADDED", "one"), ("MODIFIED", "one")]
    stream.close()


def test_bookmarks_come_regularly_and_before_the_end(client: Client) -> None:
    """A quiet stream carries bookmarks with the newest version, and ends cleanly at its timeout."""
    stream = client.watch(
        MAPS, resourceVersion=client.get(MAPS).json["metadata"]["resourceVersion"], allowWatchBookmarks="true", timeoutSeconds=1
    )
    events = list(stream.lines())
    assert events
    assert {e["type"] for e in events} == {"BOOKMARK"}
    assert events[-1]["object"]["kind"] == "ConfigMap"
    assert int(events[-1]["object"]["metadata"]["resourceVersion"]) > 1
    stream.close()


def test_an_old_version_is_410_inside_a_200(own_server: ApiServerProcess) -> None:
    """A watch from before the log answers HTTP 200 with an ERROR event that holds the Status of 410 Expired."""
    client = Client(own_server.kubeconfig)
    old = client.get(MAPS).json["metadata"]["resourceVersion"]
    client.post(MAPS, _map("a"))
    for i in range(60):
        client.patch(f"{MAPS}/a", {"data": {"n": str(i)}})
    answer = client.get(MAPS, watch=1, resourceVersion=old)
    assert answer.code == 200
    assert (answer.json["type"], answer.json["object"]["code"], answer.json["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_tables_have_kubectls_columns_and_may_leave_the_objects_out(client: Client) -> None:
    """A Table has the real columns; includeObject=None leaves rows of cells; Metadata is the default; a watch sends the header once."""
    client.post(PODS, pod("t-1"))
    client.patch(f"{PODS}/t-1/status", {"status": running(pod("t-1"))["status"]})
    table = client.call("GET", f"{PODS}?fieldSelector=metadata.name%3Dt-1", Accept=TABLE).json
    names = [c["name"] for c in table["columnDefinitions"]]
    assert names == ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]
    assert table["rows"][0]["cells"][:4] == ["t-1", "1/1", "Running", "0"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    bare = client.call("GET", f"{PODS}?includeObject=None&fieldSelector=metadata.name%3Dt-1", Accept=TABLE).json
    assert set(bare["rows"][0]) == {"cells"}
    connection, response = client.open("GET", f"{PODS}?watch=1&fieldSelector=metadata.name%3Dt-1", Accept=TABLE)
    stream = Stream(connection, response)
    (first,) = stream.take(1)
    client.patch(f"{PODS}/t-1", {"metadata": {"labels": {"x": "y"}}})
    (second,) = stream.take(1)
    assert (len(first["object"]["columnDefinitions"]), len(second["object"]["columnDefinitions"])) == (9, 0)
    assert second["object"]["rows"][0]["cells"][0] == "t-1"
    stream.close()


def test_metadata_only(client: Client) -> None:
    """PartialObjectMetadataList holds no spec."""
    client.post(MAPS, _map("meta", mark="meta"))
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    found = client.call("GET", f"{MAPS}?labelSelector=mark%3Dmeta", Accept=accept).json
    assert found["kind"] == "PartialObjectMetadataList"
    assert set(found["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_large_answers_are_compressed_when_asked(client: Client) -> None:
    """With Accept-Encoding gzip a large list comes compressed and is the same list; a small one comes plain."""
    client.call(
        "POST",
        "/lab/bulk",
        b"\n".join(
            b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"z-%d","namespace":"zip"},"data":{"x":"%b"}}' % (i, b"y" * 4000)
            for i in range(400)
        ),
    )
    path = "/api/v1/namespaces/zip/configmaps"
    packed = client.call("GET", path, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == client.get(path).data
    assert "Content-Encoding" not in client.call("GET", f"{path}?limit=1", Accept_Encoding="gzip").headers


def test_churn_changes_pods_and_nothing_but_restarts(client: Client, server: ApiServerProcess) -> None:
    """Churn makes status updates at about the asked rate, seen by a watch as MODIFIED, and stops."""
    client.post("/api/v1/namespaces", {"metadata": {"name": "load"}})
    client.call("POST", "/lab/bulk", b"\n".join(json.dumps(running(pod(f"c-{i}", "load", on="w1"))).encode() for i in range(20)))
    stream = client.watch("/api/v1/namespaces/load/pods", resourceVersion=client.get("/api/v1/pods").json["metadata"]["resourceVersion"])
    server.churn(200)
    events = stream.take(20)
    server.churn(0)
    assert {e["type"] for e in events} == {"MODIFIED"}
    assert any(e["object"]["status"]["containerStatuses"][0]["restartCount"] for e in events)
    made = server.stats()["churned"]
    assert made >= 20
    stream.close()


def test_a_closed_watch_is_forgotten(client: Client, server: ApiServerProcess) -> None:
    """When a client goes away its stream is dropped, so that a console that reconnects all day costs nothing."""
    before = server.stats()["streams"]
    stream = client.watch(MAPS, resourceVersion="0")
    wait_for(lambda: server.stats()["streams"] == before + 1, "the stream is open")
    stream.close()
    stream.response.close()
    wait_for(lambda: server.stats()["streams"] == before, "the stream is gone")


def test_a_collection_is_deleted_by_selector(client: Client) -> None:
    """DELETE on a list removes what the selector matches, and nothing else."""
    for name, kind in (("d-1", "x"), ("d-2", "x"), ("d-3", "y")):
        client.post(MAPS, _map(name, kind=kind))
    assert client.call("DELETE", f"{MAPS}?labelSelector=kind%3Dx").json["status"] == "Success"
    assert [i["metadata"]["name"] for i in client.get(MAPS, labelSelector="kind").json["items"]] == ["d-3"]


def test_twenty_thousand_pods_are_cheap(tmp_path: Path) -> None:
    """A big site loads in seconds, lists in one go and by pages alike, and stays under 500 MB."""
    body = json.dumps(running(pod("NAME", "big", on="w1")), separators=(",", ":")).replace('"spec"', '"pad":"%s","spec"' % ("x" * 6000), 1)
    data = "\n".join(body.replace("NAME", f"p-{i:05}") for i in range(20_000)).encode()
    with ApiServerProcess(tmp_path / "api", arguments=("--crds", "none")) as process:
        big = Client(process.kubeconfig)
        assert big.call("POST", "/lab/bulk", data).json == {"loaded": 20_000}
        assert big.get("/api/v1/pods").data.count(b'"resourceVersion"') == 20_001
        token, seen = "", list[int]()
        while not seen or token:
            page = msgspec.json.decode(big.get("/api/v1/pods", limit=5000, **{"continue": token}).data, type=Page)
            token, seen = page.metadata.next, [*seen, len(page.items)]
        assert seen == [5000] * 4
        stats = process.stats()
    assert stats["maxRssBytes"] < 500e6
    assert stats["cpuSeconds"] < 8
