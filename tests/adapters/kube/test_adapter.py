from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coldtui.adapters.kube import adapter as module
from coldtui.adapters.kube import kubelets
from coldtui.adapters.kube.adapter import KubeAdapter, SystemClock
from coldtui.adapters.kube.credentials import Access, Fixed
from coldtui.adapters.kube.kubeconfig import Places
from coldtui.domain.errors import Closed, ColdError, Forbidden, Misconfigured, NotFound, Unauthorized
from coldtui.domain.kinds import NODES, PODS, Kind
from coldtui.domain.troubles import LineTrouble
from coldtui.ports import Kube, KubeStreams, ServerFacts
from tests.adapters.kube.scripted import Scripted, body, kubeconfig, refuse, silent
from tests.adapters.kube.shapes import listing, meta
from tests.adapters.kube.test_nodes import SUMMARY
from tests.controlplane.certificates import Authority

T = TypeVar("T")
SECRETS = Kind("secrets", "", "v1", "secrets", True, "secrets")


def kube(server: Scripted) -> KubeAdapter:
    return KubeAdapter(Access(server.url, None, Fixed()), clock=SystemClock())


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 15))


def test_it_is_what_the_port_promises() -> None:
    """The adapter and its streams have the shapes of `ports` (the type checker reads this test too)."""
    with Scripted() as server:
        adapter: Kube = kube(server)
        streams: KubeStreams = adapter.streams
        assert adapter.server == server.url
        streams.close()


# --- the heartbeat


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (body(b"ok", Content_Type="text/plain"), "ok"),
        (
            body(b"[+]ping ok\n[-]etcd failed: reason withheld\n[-]informer-sync failed\nreadyz check failed\n", 500),
            "not ready: etcd, informer-sync",
        ),
        (refuse(403, "Forbidden"), "readiness unknown: needs get on /readyz"),
        (body(b"<html>", 502), "not ready (HTTP 502)"),
    ],
)
def test_any_answer_means_that_the_line_lives(answer: Any, words: str) -> None:
    """The status is another fact than the line."""
    with Scripted(answer) as server:
        assert run(kube(server).alive()) == words


@pytest.mark.parametrize(("ahead_s", "told"), [(90, 90), (-3600, -3600), (0, 0)])
def test_an_answer_tells_the_servers_clock(ahead_s: int, told: int) -> None:
    """The Date header of the heartbeat's answer gives how far the server's clock is off, to about a second."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)
    with Scripted(body(b"ok", Date=date)) as server:
        adapter = kube(server)
        assert adapter.clock_skew_s is None
        run(adapter.alive())
        assert adapter.clock_skew_s == pytest.approx(told, abs=1.5)


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}, {"Date": ""}])
def test_a_server_without_a_clock_tells_none(headers: dict[str, Any]) -> None:
    """No date, or one that is none, is not known, and no failure."""
    with Scripted(body(b"ok", **headers)) as server:
        adapter = kube(server)
        run(adapter.alive())
        assert adapter.clock_skew_s is None


def test_a_heartbeat_uses_one_connection_of_its_own() -> None:
    """It keeps its connection, and closing the streams does not touch it."""

    async def go(adapter: KubeAdapter) -> None:
        await adapter.alive()
        adapter.streams.shut()
        adapter.streams.close()
        await adapter.alive()

    with Scripted(body(b"ok"), body(b"ok")) as server:
        run(go(kube(server)))
        assert [r.connection for r in server.requests] == [0, 0]


def test_dead_lines() -> None:
    """A paused server is a timeout within the deadline, a refusal of the credentials is told as such."""
    with Scripted(silent, refuse(401)) as server:
        adapter = kube(server)
        with pytest.raises(LineTrouble, match=r"timed out|did not answer"):
            run(adapter.alive(deadline_s=0.3))
        with pytest.raises(Unauthorized):
            run(adapter.alive())


def test_a_call_ends_by_its_deadline_even_where_sockets_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name resolution or a plugin may block a thread for long; who asked is answered in time."""
    import threading

    over = threading.Event()
    with Scripted(body(b"ok")) as server:
        adapter = kube(server)
        monkeypatch.setattr(adapter, "_alive", lambda deadline_s: over.wait(10))
        with pytest.raises(LineTrouble, match="did not answer"):
            run(adapter.alive(deadline_s=0.1))
        over.set()


# --- facts and objects


def test_facts() -> None:
    """Version and identity; the identity is empty where it may not be read."""
    version = body({"gitVersion": "v1.34.4+k3s1"})
    with Scripted(version, body({"metadata": {"uid": "u-1"}}), version, refuse(403, "Forbidden")) as server:
        assert run(kube(server).facts()) == ServerFacts("v1.34.4+k3s1", "u-1")
        assert run(kube(server).facts()) == ServerFacts("v1.34.4+k3s1", "")


def test_a_whole_object() -> None:
    """Keys keep their order, managedFields go, text is harmless, line breaks of a text stay for YAML."""
    item = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {**meta("p"), "managedFields": [1], "annotations": {"z\x1b": "a\x1b[2J\nb\tc", "a": "x"}},
        "spec": {"n": [1, 2.5, None, True, "t\u202e"]},
    }
    with Scripted(body(item)) as server:
        found = run(kube(server).fetch(PODS, "p/../q", "a b"))
        assert server.requests[0].path == "/api/v1/namespaces/a%20b/pods/p%2F..%2Fq"
    assert list(found) == ["kind", "apiVersion", "metadata", "spec"]
    assert "managedFields" not in found["metadata"]
    assert list(found["metadata"]["annotations"].items()) == [("z\ufffd", "a\ufffd[2J\nb    c"), ("a", "x")]
    assert found["spec"]["n"] == [1, 2.5, None, True, "t\ufffd"]


def test_a_secret_keeps_its_values_to_itself() -> None:
    """Neither data nor the copy in kubectl's annotation is ever handed on."""
    notes = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"password": "aHVudGVyMg=="}}), "x": "y"}
    item = {
        "kind": "Secret",
        "metadata": {**meta("s"), "annotations": notes},
        "data": {"password": "aHVudGVyMg=="},
        "stringData": {"a": "b"},
        "type": "Opaque",
    }
    with Scripted(body(item)) as server:
        found = run(kube(server).fetch(SECRETS, "s", "default"))
    assert "aHVudGVyMg" not in json.dumps(found)
    assert (found["data"], found["stringData"], found["type"]) == ({"password": "•••"}, {"a": "•••"}, "Opaque")
    assert found["metadata"]["annotations"]["x"] == "y"


def test_an_object_that_is_gone() -> None:
    """404 on one object is NotFound, with its name."""
    with Scripted(refuse(404, "NotFound")) as server, pytest.raises(NotFound, match="pods web/p does not exist"):
        run(kube(server).fetch(PODS, "p", "web"))


def test_events_of_an_object() -> None:
    """Asked by kind and name, given oldest first."""
    new, old = (
        {"metadata": meta(n), "lastTimestamp": f"2026-03-01T0{h}:00:00Z", "involvedObject": {"kind": "Node", "name": "n1"}}
        for n, h in (("b", 9), ("a", 8))
    )
    with Scripted(body(listing(new, old)), body(listing())) as server:
        assert [e.name for e in run(kube(server).events_of("Node", "n1"))] == ["a", "b"]
        run(kube(server).events_of("Pod", "p", "web"))
        first, second = server.requests
    assert (first.path, first.query["fieldSelector"]) == ("/api/v1/events", "involvedObject.kind=Node,involvedObject.name=n1")
    assert second.path == "/api/v1/namespaces/web/events"
    assert second.query["fieldSelector"].endswith(",involvedObject.namespace=web")


# --- rights


@pytest.mark.parametrize(
    ("status", "allowed"), [({"allowed": True}, True), ({"allowed": False}, False), ({}, False), ({"allowed": "yes"}, False)]
)
def test_may(status: dict[str, Any], allowed: bool) -> None:
    """The review is asked as the API wants it, and only a clear yes is one."""
    with Scripted(body({"status": status}, 201)) as server:
        assert run(kube(server).may("get", "", "nodes", subresource="proxy")) is allowed
        assert json.loads(server.requests[0].body)["spec"] == {
            "resourceAttributes": {"verb": "get", "resource": "nodes", "subresource": "proxy"}
        }


# --- kubelets


def test_stats_through_the_api() -> None:
    """Without a token the summary comes through the API server."""
    with Scripted(body(SUMMARY)) as server:
        assert run(kube(server).node_stats("n1", "127.0.0.1")).disk_used_b == 400
        assert server.requests[0].path == "/api/v1/nodes/n1/proxy/stats/summary"


def test_missing_rights_for_stats_are_named() -> None:
    """Both ways are named, the lesser one recommended."""
    with Scripted(refuse(403, "Forbidden", "no")) as server, pytest.raises(Forbidden) as caught:
        run(kube(server).node_stats("n1", "127.0.0.1"))
    assert "nodes/stats (kubelet) or on nodes/proxy" in caught.value.title
    assert "nodes/proxy would allow far more" in caught.value.hint


def serving(authority: Authority, name: str) -> ssl.SSLContext:
    pair = authority.server(name, dns=(), addresses=("127.0.0.1",))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    return tls


@pytest.mark.parametrize("genuine", [True, False])
def test_our_token_goes_only_to_a_kubelet_of_this_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, genuine: bool) -> None:
    """A kubelet whose certificate verifies is asked itself; at any other the API server is asked, now and the next time."""
    cluster, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    api_tls, kubelet_tls = serving(cluster, "api"), serving(cluster if genuine else stranger, "kubelet")
    answers = (body(SUMMARY), body(SUMMARY))
    with Scripted(*answers, tls=api_tls) as api, Scripted(*answers, tls=kubelet_tls) as kubelet:
        monkeypatch.setattr(kubelets, "_PORT", kubelet.port)
        ca = base64.b64encode(cluster.certificate.read_bytes()).decode()
        adapter = module.connect(kubeconfig=kubeconfig(tmp_path / "c", api.url, {"token": "secret"}, **{"certificate-authority-data": ca}))
        for _ in range(2):
            assert run(adapter.node_stats("n1", "127.0.0.1")).disk_used_b == 400
        direct = [(r.path, r.headers["authorization"]) for r in kubelet.requests]
        assert direct == ([("/stats/summary", "Bearer secret")] * 2 if genuine else [])
        assert [r.path for r in api.requests] == ([] if genuine else ["/api/v1/nodes/n1/proxy/stats/summary"] * 2)
        assert kubelet.accepted == 1, "one connection is kept, or the refused kubelet is not asked again at once"
        run(adapter.aclose())


def test_garbage_of_a_kubelet() -> None:
    """A summary that is none is trouble, not zeros."""
    with Scripted(body({"node": {}})) as server, pytest.raises(LineTrouble, match="cannot be read"):
        run(kube(server).node_stats("n1", "127.0.0.1"))


# --- closing, connecting


def test_after_closing_nothing_works() -> None:
    """Calls after `aclose` say so at once."""

    async def go(adapter: KubeAdapter) -> None:
        await adapter.aclose()
        await adapter.alive()

    with Scripted(body(b"ok")) as server, pytest.raises((Closed, RuntimeError)):
        run(go(kube(server)))
    assert server.requests == []


def test_a_context_needs_a_kubeconfig(tmp_path: Any) -> None:
    """In a pod there are no contexts to choose from."""
    (tmp_path / "token").write_text("x")
    with pytest.raises(Misconfigured, match="context prod was asked for"):
        module.connect(context="prod", places=Places({"KUBERNETES_SERVICE_HOST": "x"}, tmp_path, tmp_path / "no", tmp_path))


def test_a_plain_refusal_of_a_node_list() -> None:
    """A 400 is none of the special cases, and still says what was asked."""
    with (
        Scripted(refuse(400, "BadRequest", "strange")) as server,
        pytest.raises(ColdError, match=r"refused get on nodes \(400 BadRequest\)"),
    ):
        run(kube(server).fetch(NODES, "n"))
