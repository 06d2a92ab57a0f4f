"""The write gate, request by request. (That nothing leaves the machine is proved at a relay, in test_acts.)"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from coldtui.adapters.kube.adapter import KubeAdapter, SystemClock
from coldtui.adapters.kube.credentials import Access, Fixed
from coldtui.adapters.kube.failures import Question
from coldtui.adapters.kube.gate import is_harmless
from coldtui.domain.errors import Refused
from coldtui.domain.troubles import LineTrouble
from tests.adapters.kube.scripted import Scripted, body, refuse

DRY = (("dryRun", "All"),)
NODE, POD = "/api/v1/nodes/n", "/api/v1/namespaces/a/pods/p"
EVICTION = f"{POD}/eviction"
CLUSTER = "/apis/postgresql.cnpg.io/v1/namespaces/a/clusters/c"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", NODE),
        ("HEAD", NODE),
        ("GET", f"{POD}/log"),
        ("GET", f"{NODE}/proxy/stats/summary"),
        ("GET", "/api/v1/namespaces/database/pods/https:postgres-1:8000/proxy/pg/status"),
        ("GET", "/api/v1/namespaces/proxy/pods/exec"),
        ("GET", "/api/v1/namespaces/pods/pods/proxy"),
        ("GET", "/apis/apps/v1/namespaces/a/deployments/exec"),
        ("GET", "/readyz"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
    ],
)
def test_what_passes_a_closed_gate(method: str, path: str) -> None:
    """Reading, and questions about oneself, whatever the objects are called."""
    assert is_harmless(method, path, (), b"{}")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, path) for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get") for path in (NODE, POD, EVICTION, CLUSTER)),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x"),
        ("GET", f"{POD}/exec"),
        ("GET", f"{POD}/attach"),
        ("GET", f"{POD}/portforward"),
        ("GET", f"{POD}/%65xec"),
        ("GET", f"{POD}/proxy"),
        ("GET", f"{POD}/proxy/shutdown"),
        ("GET", f"{POD}/proxy/pg/status/../failover"),
        ("GET", "/api/v1/namespaces/a/services/s/proxy/pg/status"),
        ("GET", "/api/v1/namespaces/a/services/s/proxy/reset"),
        ("GET", f"{NODE}/proxy"),
        ("GET", f"{NODE}/proxy/exec/a/p/c"),
        ("GET", f"{NODE}/proxy/stats/summary/../../exec"),
        ("GET", f"{NODE}/%70roxy/run"),
    ],
)
def test_what_a_closed_gate_refuses(method: str, path: str) -> None:
    """Every other verb, and a GET that would enter a container, a port or a kubelet, however it is written."""
    assert not is_harmless(method, path, (), b"{}")


OPTIONS: dict[str, Any] = {"kind": "DeleteOptions"}


@pytest.mark.parametrize(
    ("method", "path", "query", "sent", "harmless"),
    [
        ("PATCH", NODE, DRY, {"spec": {}}, True),
        ("POST", "/api/v1/namespaces/a/configmaps", DRY, {}, True),
        ("PUT", NODE, DRY, {}, True),
        ("PATCH", NODE, (("dryRun", ""),), {}, False),
        ("PATCH", NODE, (("dryRun", "all"),), {}, False),
        ("PATCH", NODE, (("DryRun", "All"),), {}, False),
        ("PATCH", NODE, (*DRY, ("dryRun", "")), {}, False),
        ("PATCH", f"{NODE}?dryRun=All", (), {}, False),
        ("PATCH", f"{NODE}?x=", DRY, {}, False),
        ("PATCH", NODE, (), {"dryRun": ["All"]}, False),
        ("DELETE", POD, DRY, None, True),
        ("DELETE", POD, DRY, OPTIONS, False),
        ("DELETE", POD, DRY, {**OPTIONS, "dryRun": []}, False),
        ("DELETE", POD, DRY, {**OPTIONS, "dryRun": ["All"]}, True),
        ("DELETE", POD, (), {**OPTIONS, "dryRun": ["All"]}, False),
        ("POST", EVICTION, DRY, {"deleteOptions": {"dryRun": ["All"]}}, True),
        ("POST", EVICTION, DRY, {"deleteOptions": {}}, False),
        ("POST", EVICTION, DRY, {}, False),
        ("POST", EVICTION, (), {"deleteOptions": {"dryRun": ["All"]}}, False),
        ("CONNECT", POD, DRY, {}, False),
    ],
)
def test_what_counts_as_a_dry_run(method: str, path: str, query: tuple[tuple[str, str], ...], sent: Any, harmless: bool) -> None:
    """It must say so where the server looks: a deletion with a body is carried out whatever its query says, as a real server shows."""
    assert is_harmless(method, path, query, None if sent is None else json.dumps(sent).encode()) is harmless


def test_a_body_that_is_no_object_is_no_dry_run() -> None:
    """Garbage does not open the gate."""
    for raw in (b"", b"[", b"[]", b'"All"', b'{"dryRun": "All"}', b'{"deleteOptions": []}'):
        assert not is_harmless("POST", EVICTION, DRY, raw)
    assert not is_harmless("DELETE", POD, DRY, b'{"dryRun": "All"}')


def test_pods_are_asked_only_what_is_known_to_be_harmless() -> None:
    """Through the API's proxy a closed gate lets PostgreSQL's state be read, and no other path of a pod."""
    with Scripted(body(b"{}")) as server:
        adapter = connect_to(server)
        assert asyncio.run(adapter.pod_get("database", "postgres-1", 8000, "/pg/status", scheme="https")) == b"{}"
        with pytest.raises(Refused):
            asyncio.run(adapter.pod_get("database", "postgres-1", 8000, "/pg/reload", scheme="https"))
        assert [r.path for r in server.requests] == ["/api/v1/namespaces/database/pods/https:postgres-1:8000/proxy/pg/status"]


def test_why_a_pod_is_not_reached_is_said_in_the_servers_words() -> None:
    """The proxy answers with a Status: its message is told, not its JSON; what a pod itself says is told as it is."""
    message = "error trying to reach service: dial tcp 10.42.1.3:8000: connect: connection refused"
    for answer, told in ((refuse(503, "ServiceUnavailable", message), message), (body(b"starting", 503), "starting")):
        with Scripted(answer) as server, pytest.raises(LineTrouble, match=r"does not answer on port 8000 \(503\)") as error:
            asyncio.run(connect_to(server).pod_get("database", "postgres-1", 8000, "/pg/status", scheme="https"))
        assert error.value.detail == told


def connect_to(server: Scripted) -> KubeAdapter:
    return KubeAdapter(Access(server.url, None, Fixed()), clock=SystemClock())


def test_a_closed_channel_sends_nothing() -> None:
    """The refusal names method and path, and no connection is opened; an open channel sends."""
    question = Question("patch", "nodes", name="n")
    with Scripted(body({})) as server:
        closed, opened = server.channel(), server.channel(writable=True)
        with pytest.raises(Refused, match="read-only") as caught:
            closed.ask("PATCH", NODE, body=b"{}")
        with pytest.raises(Refused):
            closed.open("DELETE", NODE, question)
        assert caught.value.detail == f"PATCH {NODE}"
        assert server.accepted == 0
        assert opened.ask("PATCH", NODE, body=b"{}").status == 200
        assert [r.method for r in server.requests] == ["PATCH"]
