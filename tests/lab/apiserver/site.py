"""What the tests of the API server share: a plain HTTP client, sample objects, and a stand-in for the kubelet."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

Json = dict[str, Any]
DEADLINE_S = 10.0
MERGE, STRATEGIC, JSON_PATCH = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json"
PODS = "/api/v1/namespaces/default/pods"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    code: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.data)
        return found


class Client:
    """One kubeconfig's view of the server; a connection a request."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._address = urlsplit(cluster["server"])
        self._tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self._headers: dict[str, str] = {}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        else:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
                pair.flush()
                self._tls.load_cert_chain(pair.name)

    def open(
        self, method: str, path: str, body: Any = None, media: str = "application/json", timeout: float = DEADLINE_S, **headers: str
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        """Send a request; the caller reads the response and closes the connection."""
        connection = http.client.HTTPSConnection(self._address.hostname or "", self._address.port, context=self._tls, timeout=timeout)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {
            **self._headers,
            **({"Content-Type": media} if data is not None else {}),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        connection.request(method, path, data, sent)
        return connection, connection.getresponse()

    def call(self, method: str, path: str, body: Any = None, media: str = "application/json", **headers: str) -> Answer:
        connection, response = self.open(method, path, body, media, DEADLINE_S, **headers)
        try:
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def get(self, path: str, **query: str | int) -> Answer:
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: Any) -> Json:
        """Create; fails the test when the server refuses."""
        answer = self.call("POST", path, body)
        assert answer.code in (200, 201), answer.data
        return answer.json

    def patch(self, path: str, body: Any, media: str = MERGE) -> Answer:
        return self.call("PATCH", path, body, media)

    def watch(self, path: str, **query: str | int) -> Stream:
        connection, response = self.open("GET", f"{path}?{urlencode({'watch': 1, **query})}")
        return Stream(connection, response)


@dataclass(slots=True)
class Stream:
    """An open watch."""

    connection: http.client.HTTPSConnection
    response: http.client.HTTPResponse

    def lines(self) -> Iterator[Json]:
        while line := self.response.readline():
            yield json.loads(line)

    def take(self, count: int) -> list[Json]:
        """The next events; the read deadline fails the test when they do not come."""
        events = self.lines()
        return [next(events) for _ in range(count)]

    def close(self) -> None:
        self.connection.close()


def wait_for(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition holds; fail with words when it does not in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        threading.Event().wait(0.02)


# --- samples


def node(name: str, *, ready: bool = True, roles: tuple[str, ...] = ()) -> Json:
    labels = {"kubernetes.io/hostname": name, **{f"node-role.kubernetes.io/{r}": "true" for r in roles}}
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "reason": "KubeletReady",
        "lastTransitionTime": "2026-11-01T00:00:00Z",
    }
    info = {"kubeletVersion": "v1.34.4+k3s1", "osImage": "Debian GNU/Linux 13", "kernelVersion": "6.12.0", "containerRuntimeVersion": "containerd://2.1",
            "architecture": "amd64", "operatingSystem": "linux", "bootID": "b", "machineID": "m", "systemUUID": "s", "kubeProxyVersion": ""}  # fmt: skip
    size = {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "80Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": {
            "capacity": size,
            "allocatable": size,
            "nodeInfo": info,
            "conditions": [condition],
            "addresses": [{"type": "InternalIP", "address": "192.168.15.111"}],
        },
    }


def container(name: str = "main", image: str = "registry.example/web:1.2") -> Json:
    return {"name": name, "image": image, "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}


def pod(
    name: str,
    namespace: str = "default",
    *,
    app: str = "web",
    on: str = "",
    containers: tuple[str, ...] = ("main",),
    owner: Json | None = None,
) -> Json:
    meta: Json = {"name": name, "namespace": namespace, "labels": {"app": app}}
    if owner:
        meta["ownerReferences"] = [owner]
    spec: Json = {"containers": [container(c) for c in containers], "terminationGracePeriodSeconds": 5}
    if on:
        spec["nodeName"] = on
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def running(body: Json, *, ready: bool = True) -> Json:
    """A pod with the status of one that runs."""
    names = [c["name"] for c in body["spec"]["containers"]]
    state = {"running": {"startedAt": "2026-11-01T00:00:00Z"}}
    statuses = [{"name": n, "ready": ready, "restartCount": 0, "image": "i", "imageID": "", "state": state, "lastState": {}} for n in names]
    conditions = [{"type": t, "status": "True" if ready else "False"} for t in ("Ready", "ContainersReady")]
    status = {
        "phase": "Running",
        "podIP": "10.42.1.7",
        "startTime": "2026-11-01T00:00:00Z",
        "containerStatuses": statuses,
        "conditions": conditions,
    }
    return {**body, "status": status}


def deployment(name: str, *, replicas: int = 2, app: str = "web") -> Json:
    template = {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container()]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def budget(name: str, *, app: str, allowed: int, needs: int = 1, has: int = 1, **spec: Any) -> Json:
    status = {"disruptionsAllowed": allowed, "desiredHealthy": needs, "currentHealthy": has, "expectedPods": has, "observedGeneration": 1}
    selector = {"matchLabels": {"app": app}}
    meta = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {"selector": selector, "minAvailable": needs, **spec},
        "status": status,
    }


# --- the kubelet's part


@dataclass(slots=True)
class Reaper:
    """Does what kubelets do at the end of a pod: deletes terminating ones with grace 0."""

    client: Client
    reaped: list[str] = field(default_factory=list)
    _stream: Stream | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._stream = self.client.watch("/api/v1/pods", timeoutSeconds=300)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        assert self._stream is not None
        try:
            for event in self._stream.lines():
                meta = event["object"]["metadata"]
                if event["type"] == "MODIFIED" and meta.get("deletionTimestamp"):
                    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}?gracePeriodSeconds=0"
                    self.client.call("DELETE", path)
                    self.reaped.append(meta["name"])
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            return  # the stream was closed by stop(), or the server ended

    def stop(self) -> None:
        if self._stream is not None and self._stream.connection.sock is not None:
            self._stream.connection.sock.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(2)


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None, deadline_s: float = 20.0) -> subprocess.CompletedProcess[str]:
    """Run kubectl with a discovery cache of its own."""
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "--cache-dir", str(kubeconfig.parent / "kube-cache"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=deadline_s, check=False)
