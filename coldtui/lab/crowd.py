"""The crowd that makes a site big: many nodes, and many pods of about 6.9 kB, beside the ordinary small site.

The controllers do not look at the crowd one by one: a label keeps it out of their caches. Its heartbeats go through the embedded server's
bulk path, and one watch sees to it that evicted pods go.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from coldtui.domain.errors import Unreachable
from coldtui.lab.client import LEASES, NODES, PODS, ApiError, Json, Kind, KubeClient
from coldtui.lab.controllers.base import micro, stamp
from coldtui.lab.seeds.core import lease, node
from coldtui.lab.seeds.parts import Host, make

log = logging.getLogger(__name__)

LABEL = "lab.coldtui/crowd"
SELECTORS: dict[Kind, str] = dict.fromkeys((NODES, PODS, LEASES), f"!{LABEL}")
"""For `Informers`: everything but the crowd."""
BATCH = 2000
"""Pods a request: 14 MB."""
NAMESPACES, APPS = 50, 400
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def hosts(count: int) -> list[Host]:
    """The machines of the crowd: node-0001 ..., 10.1.x.y."""
    return [Host(f"node-{n:04d}", f"10.1.{n // 250}.{n % 250 + 1}", n % 250) for n in range(1, count + 1)]


def nodes(crowd: list[Host], version: str, now: datetime) -> Iterator[Json]:
    made, fresh = stamp(now), stamp(now)
    for host in crowd:
        obj = node(host, version, made, fresh)
        obj["metadata"]["labels"] |= {LABEL: "true", "topology.kubernetes.io/zone": f"zone-{host.number % 3}"}
        obj["status"] |= {
            "capacity": {**obj["status"]["capacity"], "cpu": "32"},
            "allocatable": {**obj["status"]["allocatable"], "cpu": "32"},
        }
        held = lease(obj, micro(now))
        held["metadata"]["labels"] = {LABEL: "true"}
        yield obj
        yield held


def pods(count: int, crowd: list[Host], now: datetime) -> Iterator[bytes]:
    """Encoded pods, filled into a template: encoding each by itself would take most of the time."""
    template = _template(stamp(now))
    dice = random.Random(1)
    for index in range(count):
        host = crowd[index % len(crowd)]
        app = f"app-{index % APPS}"
        values = {
            "name": f"{app}-{index:08x}-{index % 97:05d}", "set": f"{app}-{index:08x}", "namespace": f"ns-{index % NAMESPACES}", "app": app,
            "hash": f"{index:08x}", "uid": str(uuid.UUID(int=dice.getrandbits(128))), "owner": str(uuid.UUID(int=dice.getrandbits(128))),
            "sum": f"{dice.getrandbits(256):064x}", "node": host.name, "host": host.ip, "ip": f"10.{100 + index // 62500}.{index // 250 % 250}.{index % 250 + 1}",
            "tag": f"1.{index % 20}.0", "restarts": str(index % 3),
        }  # fmt: skip
        yield template % {key.encode(): value.encode() for key, value in values.items()}


def _template(now: str) -> bytes:
    def fields(*names: str) -> Json:
        return {f"f:{name}": {} for name in names}

    def container(name: str) -> Json:
        return {
            "name": name, "image": f"registry.example/@app@/{name}:@tag@", "imagePullPolicy": "IfNotPresent",
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "env": [{"name": f"VAR_{n}", "value": f"value-{n}-@hash@"} for n in range(8)],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1,
                              "successThreshold": 1, "failureThreshold": 3},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "volumeMounts": [{"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "kube-api-access-x", "readOnly": True}],
        }  # fmt: skip

    def status(name: str) -> Json:
        return {
            "name": name, "ready": True, "restartCount": "@restarts@", "started": True, "image": f"registry.example/@app@/{name}:@tag@",
            "imageID": f"registry.example/@app@/{name}@sha256:@sum@", "containerID": "containerd://@sum@", "lastState": {}, "state": {"running": {"startedAt": now}},
        }  # fmt: skip

    names = ("main", "sidecar")
    env = {".": {}, **{f'k:{{"name":"VAR_{n}"}}': {".": {}, **fields("name", "value")} for n in range(8)}}
    parts = ("image", "imagePullPolicy", "name", "resources", "terminationMessagePath", "terminationMessagePolicy")
    managed = [
        {
            "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "kube-controller-manager", "operation": "Update", "time": now,
            "fieldsV1": {
                "f:metadata": {"f:generateName": {}, "f:labels": {".": {}, **fields("app", "pod-template-hash")}, "f:ownerReferences": {".": {}, 'k:{"uid":"x"}': {}}},
                "f:spec": {
                    "f:containers": {f'k:{{"name":"{c}"}}': {".": {}, **fields(*parts), "f:env": env} for c in names},
                    **fields("dnsPolicy", "enableServiceLinks", "restartPolicy", "schedulerName", "securityContext", "terminationGracePeriodSeconds"),
                },
            },
        },
        {
            "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "k3s", "operation": "Update", "subresource": "status", "time": now,
            "fieldsV1": {
                "f:status": {
                    "f:conditions": {
                        f'k:{{"type":"{c}"}}': {".": {}, **fields("lastProbeTime", "lastTransitionTime", "status", "type")}
                        for c in ("ContainersReady", "Initialized", "Ready")
                    },
                    **fields("containerStatuses", "hostIP", "phase", "podIP", "podIPs", "startTime"),
                }
            },
        },
    ]  # fmt: skip
    owner = {
        "apiVersion": "apps/v1",
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": "ReplicaSet",
        "name": "@set@",
        "uid": "@owner@",
    }
    pod = make("v1", "Pod", "@name@", "@namespace@", created=now, annotations={"checksum/config": "@sum@"},
               labels={"app": "@app@", "pod-template-hash": "@hash@", "app.kubernetes.io/part-of": "load", LABEL: "true"})  # fmt: skip
    pod["metadata"] |= {"uid": "@uid@", "generateName": "@set@-", "ownerReferences": [owner], "managedFields": managed}
    pod["spec"] = {
        "containers": [container(c) for c in names], "nodeName": "@node@", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
        "tolerations": [
            {"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": 300}
            for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        ],
        "volumes": [{"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}],
    }  # fmt: skip
    pod["status"] = {
        "phase": "Running",
        "conditions": [
            {"lastProbeTime": None, "lastTransitionTime": now, "status": "True", "type": t} for t in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [status(c) for c in names], "hostIP": "@host@", "podIP": "@ip@", "podIPs": [{"ip": "@ip@"}], "qosClass": "Burstable", "startTime": now,
    }  # fmt: skip
    text: bytes = _encode(pod).replace(b"%", b"%%").replace(b'"@restarts@"', b"@restarts@")
    for word in ("name", "set", "namespace", "app", "hash", "uid", "owner", "sum", "node", "host", "ip", "tag", "restarts"):
        text = text.replace(f"@{word}@".encode(), f"%({word})b".encode())
    return text


async def load(client: KubeClient, crowd: list[Host], count: int, version: str) -> None:
    """Put the crowd into the embedded server. Raises ApiError, Unreachable."""
    now = datetime.now(UTC)
    await _send(client, b"\n".join(_encode(obj) for obj in nodes(crowd, version, now)))
    batch: list[bytes] = []
    for line in pods(count, crowd, now):
        batch.append(line)
        if len(batch) == BATCH:
            await _send(client, b"\n".join(batch))
            batch.clear()
    await _send(client, b"\n".join(batch))


async def _send(client: KubeClient, body: bytes) -> None:
    if body:
        await client.request("POST", "/lab/bulk", body=body, content_type="application/x-ndjson", deadline_s=60.0)


class Crowd:
    """Keeps the crowd alive."""

    def __init__(self, client: KubeClient, crowd: list[Host], heartbeat_s: float) -> None:
        self.client, self.heartbeat_s = client, heartbeat_s
        self._leases = [_lease_template(host) for host in crowd]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._beat(), name="crowd-heartbeats"), asyncio.create_task(self._bury(), name="crowd-kubelets")]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            try:
                now = micro(datetime.now(UTC)).encode()
                await _send(self.client, b"\n".join(template % now for template in self._leases))
            except (ApiError, Unreachable) as error:
                log.debug("heartbeats of the crowd: %s", error)
            await asyncio.sleep(self.heartbeat_s)

    async def _bury(self) -> None:
        """Remove evicted pods after a moment, as their kubelets would. Only deletions are decoded."""
        while True:
            try:
                page = await self.client.call("GET", PODS.path(), params={"labelSelector": LABEL, "limit": "1"})
                version = page["metadata"]["resourceVersion"]
                async for line in self.client.watch_lines(PODS, version, labels=LABEL):
                    if b'"deletionTimestamp"' in line and b'"type":"MODIFIED"' in line[:40]:
                        await self._remove(_decode(line)["object"])
            except (ApiError, Unreachable) as error:
                log.debug("kubelets of the crowd: %s", error)
            await asyncio.sleep(1.0)

    async def _remove(self, pod: Json) -> None:
        meta = pod["metadata"]
        if meta.get("deletionGracePeriodSeconds"):
            await self.client.delete(PODS, meta["name"], meta["namespace"], grace_s=0, uid=meta["uid"])


def _lease_template(host: Host) -> bytes:
    owner = make("v1", "Node", host.name)
    obj = lease(owner, "%b")
    obj["metadata"]["labels"] = {LABEL: "true"}
    obj["metadata"]["creationTimestamp"] = stamp(datetime.now(UTC))
    text: bytes = _encode(obj)
    return text
