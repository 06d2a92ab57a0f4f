"""A small asynchronous API client, all that the lab's controllers need: read, watch, write, follow.

It speaks to the embedded server and to a real kube-apiserver alike. Objects are plain decoded JSON. Every request has a deadline.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import logging
import os
import random
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec
import yaml

from coldtui.domain.errors import ColdError, Misconfigured, Unreachable

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster scope) and name."""
PatchType = Literal["merge", "strategic", "json"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

log = logging.getLogger(__name__)

DEADLINE_S = 10.0
"""For one answer. A watch has its own rules."""
PAGE = 500
WATCH_S = 300
"""How long the server shall keep a stream; each stream is asked for a little more or less, so that they do not end together."""
WATCH_SILENCE_S = 150.0
"""A stream without even a bookmark for so long is taken for dead."""
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.1, 5.0

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One served kind and where it lives."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = True
    """Its status is a subresource: a create drops it, and it is written apart."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            base = f"{base}/namespaces/{namespace}"
        return "/".join(part for part in (base, self.plural, name, sub) if part)


def _kinds(group_version: str, *rows: str) -> Iterator[Kind]:
    """Rows like ``Pod pods``; marks after them: ``cluster`` scope, ``plain`` (no status subresource)."""
    group, _, version = group_version.rpartition("/")
    for row in rows:
        kind, plural, *marks = row.split()
        yield Kind(group, version, plural, kind, "cluster" not in marks, "plain" not in marks)


(NODES, NAMESPACES, PODS, SERVICES, EVENTS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, VOLUMES, CLAIMS) = _kinds(
    "v1", "Node nodes cluster", "Namespace namespaces cluster", "Pod pods", "Service services", "Event events plain",
    "ConfigMap configmaps plain", "Secret secrets plain", "ServiceAccount serviceaccounts plain",
    "PersistentVolume persistentvolumes cluster", "PersistentVolumeClaim persistentvolumeclaims",
)  # fmt: skip
(DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, REVISIONS) = _kinds(
    "apps/v1", "Deployment deployments", "ReplicaSet replicasets", "StatefulSet statefulsets", "DaemonSet daemonsets",
    "ControllerRevision controllerrevisions plain",
)  # fmt: skip
(JOBS, CRON_JOBS) = _kinds("batch/v1", "Job jobs", "CronJob cronjobs")
(BUDGETS,) = _kinds("policy/v1", "PodDisruptionBudget poddisruptionbudgets")
(LEASES,) = _kinds("coordination.k8s.io/v1", "Lease leases plain")
(SLICES,) = _kinds("discovery.k8s.io/v1", "EndpointSlice endpointslices plain")
(STORAGE_CLASSES, ATTACHMENTS) = _kinds(
    "storage.k8s.io/v1", "StorageClass storageclasses cluster plain", "VolumeAttachment volumeattachments cluster"
)
(PRIORITY_CLASSES,) = _kinds("scheduling.k8s.io/v1", "PriorityClass priorityclasses cluster plain")
(CRDS,) = _kinds("apiextensions.k8s.io/v1", "CustomResourceDefinition customresourcedefinitions cluster")
(PG_CLUSTERS, PG_BACKUPS, PG_SCHEDULES, PG_QUORUMS) = _kinds(
    "postgresql.cnpg.io/v1", "Cluster clusters", "Backup backups", "ScheduledBackup scheduledbackups", "FailoverQuorum failoverquorums"
)
(OBJECT_STORES,) = _kinds("barmancloud.cnpg.io/v1", "ObjectStore objectstores")
(LH_NODES, LH_VOLUMES, LH_ENGINES, LH_REPLICAS, LH_SNAPSHOTS, LH_BACKUPS, LH_BACKUP_VOLUMES, LH_TARGETS, LH_JOBS, LH_SETTINGS, LH_SYSTEM_BACKUPS) = _kinds(
    "longhorn.io/v1beta2", "Node nodes", "Volume volumes", "Engine engines", "Replica replicas", "Snapshot snapshots", "Backup backups",
    "BackupVolume backupvolumes", "BackupTarget backuptargets", "RecurringJob recurringjobs", "Setting settings",
    "SystemBackup systembackups",
)  # fmt: skip
(POOLS, L2_ADVERTISEMENTS, L2_STATUSES) = _kinds(
    "metallb.io/v1beta1", "IPAddressPool ipaddresspools", "L2Advertisement l2advertisements", "ServiceL2Status servicel2statuses"
)
(PLANS,) = _kinds("upgrade.cattle.io/v1", "Plan plans")
(ETCD_SNAPSHOTS,) = _kinds("k3s.cattle.io/v1", "ETCDSnapshotFile etcdsnapshotfiles cluster")

KINDS: dict[tuple[str, str], Kind] = {
    (kind.api_version, kind.kind): kind for kind in list(globals().values()) if isinstance(kind, Kind)
}  # fmt: skip
"""Every kind above by apiVersion and kind."""


def kind_of(obj: Mapping[str, Any]) -> Kind:
    """The kind of an object with ``apiVersion`` and ``kind``; KeyError for one that the lab does not use."""
    return KINDS[obj["apiVersion"], obj["kind"]]


def key_of(obj: Mapping[str, Any]) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class ApiError(ColdError):
    """The server refused; ``code`` is the HTTP status, ``reason`` the machine-readable word of the Status object."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message or f"HTTP {code}", detail=f"{code} {reason}".strip())
        self.code, self.reason = code, reason

    @property
    def missing(self) -> bool:
        return self.code == 404

    @property
    def conflict(self) -> bool:
        return self.code == 409

    @property
    def expired(self) -> bool:
        """The asked version is of the past that was forgotten, or of a future that a restored datastore does not know: list again."""
        return self.code == 410 or "Too large resource version" in self.title


@dataclass(frozen=True, slots=True)
class Access:
    """What a kubeconfig says: where the server is and how to prove who we are."""

    server: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None

    @classmethod
    def load(cls, kubeconfig: Path, context: str = "") -> Access:
        """Read a kubeconfig with a client certificate, a token or neither. Raises Misconfigured."""
        try:
            config = yaml.safe_load(kubeconfig.read_text())
            name = context or config["current-context"]
            chosen = _named(config["contexts"], name)["context"]
            cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
            user = _named(config["users"], chosen["user"]).get("user") or {}
            base = kubeconfig.parent
            headers = {"Authorization": f"Bearer {token}"} if (token := _token(user, base)) else {}
            return cls(str(cluster["server"]).rstrip("/"), headers, _tls(cluster, user, base))
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise Misconfigured(f"{kubeconfig} cannot be used", detail=f"{type(error).__name__}: {error}") from error


def _named(entries: Iterable[Json], name: str) -> Json:
    found = next((e for e in entries if e["name"] == name), None)
    if found is None:
        raise KeyError(name)
    return found


def _token(user: Json, base: Path) -> str:
    if user.get("token"):
        return str(user["token"])
    return (base / user["tokenFile"]).read_text().strip() if user.get("tokenFile") else ""


def _tls(cluster: Json, user: Json, base: Path) -> ssl.SSLContext | None:
    if not str(cluster["server"]).startswith("https:"):
        return None
    authority = _material(cluster, "certificate-authority", base)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", base), _material(user, "client-key", base)
    if certificate and key:
        handle, name = tempfile.mkstemp(prefix="coldtui-lab-")  # ssl takes files only; 0600 by mkstemp, gone at once
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(certificate + b"\n" + key)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()
    return context


def _material(entry: Json, name: str, base: Path) -> bytes:
    if data := entry.get(f"{name}-data"):
        return base64.b64decode(data)
    return (base / entry[name]).read_bytes() if entry.get(name) else b""


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch."""

    type: EventType
    object: Json


class KubeClient:
    """Requests to one API server as one user.

    Everything raises ApiError when the server refuses, and Unreachable when it cannot be reached, is too slow or talks nonsense.
    """

    def __init__(self, access: Access, *, agent: str = "coldtui-lab", deadline_s: float = DEADLINE_S) -> None:
        self.access, self.deadline_s = access, deadline_s
        self._agent = agent
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str = "", *, agent: str = "coldtui-lab", deadline_s: float = DEADLINE_S) -> Self:
        return cls(Access.load(path, context), agent=agent, deadline_s=deadline_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=True if self.access.tls is None else self.access.tls)
            headers = {"User-Agent": self._agent, "Accept": "application/json", **self.access.headers}
            self._session = aiohttp.ClientSession(connector=connector, headers=headers, auto_decompress=True)
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        deadline_s: float | None = None,
    ) -> bytes:
        """One exchange; the bytes of a 2xx answer. ``body``: bytes as they are, all else as JSON."""
        data = None if body is None else body if isinstance(body, bytes) else _encode(body)
        headers = {"Content-Type": content_type} if data is not None else None
        timeout = aiohttp.ClientTimeout(total=deadline_s or self.deadline_s)
        try:
            url = self.access.server + path
            async with self.session.request(method, url, params=params, data=data, headers=headers, timeout=timeout) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{method} {path}: {error or 'timed out'}", detail=type(error).__name__) from error
        if answer.status >= 400:
            raise _refusal(answer.status, content)
        return content

    async def call(self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: object = None,
                   content_type: str = "application/json") -> Json:  # fmt: skip
        """`request`, decoded."""
        content = await self.request(method, path, params=params, body=body, content_type=content_type)
        try:
            found: Json = _decode(content)
        except msgspec.DecodeError as error:
            raise Unreachable(f"{method} {path}: the answer is no JSON") from error
        return found

    async def get(self, kind: Kind, name: str, namespace: str = "") -> Json:
        return await self.call("GET", kind.path(namespace, name))

    async def find(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """`get`, or None when there is no such object."""
        try:
            return await self.get(kind, name, namespace)
        except ApiError as error:
            if error.missing:
                return None
            raise

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> tuple[list[Json], str]:
        """All objects (in pages) and the version to watch from. Items get the apiVersion and kind that lists leave out."""
        params = _selectors(labels, fields) | {"limit": str(PAGE)}
        items: list[Json] = []
        while True:
            page = await self.call("GET", kind.path(namespace), params=params)
            for item in page.get("items") or ():
                item.setdefault("apiVersion", kind.api_version)
                item.setdefault("kind", kind.kind)
                items.append(item)
            token = page["metadata"].get("continue")
            if not token:
                return items, str(page["metadata"].get("resourceVersion", ""))
            params["continue"] = token

    async def create(self, kind: Kind, obj: Json, namespace: str = "") -> Json:
        namespace = namespace or obj["metadata"].get("namespace", "")
        return await self.call("POST", kind.path(namespace), body={"apiVersion": kind.api_version, "kind": kind.kind, **obj})

    async def replace(self, kind: Kind, obj: Json, sub: str = "") -> Json:
        namespace, name = key_of(obj)
        return await self.call("PUT", kind.path(namespace, name, sub), body=obj)

    async def patch(self, kind: Kind, name: str, patch: object, namespace: str = "", *, how: PatchType = "merge", sub: str = "") -> Json:
        """Change an object, or with ``sub`` (``status``, ``scale``) only that part of it."""
        return await self.call("PATCH", kind.path(namespace, name, sub), body=patch, content_type=_PATCH_TYPES[how])

    async def patch_status(self, kind: Kind, name: str, status: Json, namespace: str = "", *, how: PatchType = "merge") -> Json:
        return await self.patch(kind, name, {"status": status}, namespace, how=how, sub="status")

    async def delete(self, kind: Kind, name: str, namespace: str = "", *, grace_s: int | None = None, uid: str = "") -> None:
        """Ask for deletion; gone already is fine. ``uid`` guards against deleting a successor of the same name."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self.request("DELETE", kind.path(namespace, name), body=options)
        except ApiError as error:
            if not (error.missing or (uid and error.conflict)):
                raise

    async def watch(
        self, kind: Kind, version: str, namespace: str = "", *, labels: str = "", fields: str = "", seconds: int = WATCH_S
    ) -> AsyncGenerator[Change, None]:
        """One stream from ``version`` until the server ends it. Raises ApiError (410: list again) and Unreachable."""
        async with contextlib.aclosing(self.watch_lines(kind, version, namespace, labels=labels, fields=fields, seconds=seconds)) as stream:
            async for line in stream:
                try:
                    yield _change(line)
                except (msgspec.DecodeError, KeyError, TypeError) as error:
                    raise Unreachable(f"watch {kind.path(namespace)}: a line is no event", detail=type(error).__name__) from error

    async def watch_lines(
        self, kind: Kind, version: str, namespace: str = "", *, labels: str = "", fields: str = "", seconds: int = WATCH_S
    ) -> AsyncGenerator[bytes, None]:
        """`watch`, not decoded: ERROR events are lines like all others."""
        params = _selectors(labels, fields) | {
            "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(seconds),
        }  # fmt: skip
        timeout = aiohttp.ClientTimeout(total=None, connect=self.deadline_s, sock_read=WATCH_SILENCE_S)
        path = kind.path(namespace)
        try:
            async with self.session.get(self.access.server + path, params=params, timeout=timeout) as answer:
                if answer.status >= 400:
                    raise _refusal(answer.status, await answer.read())
                async for line in _lines(answer.content):
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"watch {path}: {error or 'silent'}", detail=type(error).__name__) from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; aiohttp's own readline gives up beyond its buffer."""
    rest = bytearray()
    async for chunk in content.iter_any():
        rest += chunk
        if b"\n" not in chunk:
            continue
        *whole, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        for line in whole:
            if line.strip():
                yield line


def _change(line: bytes) -> Change:
    event = _decode(line)
    obj = event["object"]
    if event["type"] == "ERROR":
        raise ApiError(int(obj.get("code", 500)), obj.get("reason", ""), obj.get("message", ""))
    return Change(event["type"], obj)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {name: text for name, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}


def _refusal(code: int, content: bytes) -> ApiError:
    try:
        status = _decode(content)
        return ApiError(code, str(status.get("reason", "")), str(status.get("message", "")))
    except (msgspec.DecodeError, AttributeError):
        return ApiError(code, "", content[:300].decode(errors="replace"))


Listener = Callable[[Json | None, Json | None], None]
"""Told of (before, after): before is None for a new object, after is None for one that is gone."""


class Informer:
    """A cache of one kind that follows the server: list, watch from there, resume, and list again after 410.

    Cached objects are shared: never change one, copy it. Listeners run in the event loop and must not block.
    """

    def __init__(self, client: KubeClient, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> None:
        self.client, self.kind, self.namespace, self.labels, self.fields = client, kind, namespace, labels, fields
        self.items: dict[Key, Json] = {}
        self.synced = asyncio.Event()
        self.lists = 0
        """How often the whole was listed; more than once means that history was lost."""
        self._listeners: list[Listener] = []
        self._version = ""

    def listen(self, listener: Listener) -> None:
        """Be told of every change from now on, and of what is known already."""
        self._listeners.append(listener)
        for obj in list(self.items.values()):
            listener(None, obj)

    def get(self, name: str, namespace: str = "") -> Json | None:
        return self.items.get((namespace, name))

    def values(self) -> list[Json]:
        return list(self.items.values())

    def offer(self, obj: Json) -> None:
        """Take over what a write of our own answered, so that the next look does not see the past."""
        known = self.items.get(key_of(obj))
        if known is None or _newer(obj, known):
            self._put(obj)

    def forget(self) -> None:
        """List again before the next watch; the cache stays until then."""
        self._version = ""

    async def run(self) -> None:
        """Follow until cancelled. Trouble is logged and retried with a growing, random pause of at most five seconds."""
        pause = BACKOFF_FIRST_S
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self._follow()
                pause = BACKOFF_FIRST_S
            except ApiError as error:
                if error.expired and asyncio.get_running_loop().time() - began > BACKOFF_FIRST_S:
                    self._version = ""
                    continue
                if error.expired:
                    self._version = ""
                log.warning("%s: %s", self.kind.plural, error)
            except Unreachable as error:
                log.debug("%s: %s", self.kind.plural, error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, BACKOFF_CAP_S)

    async def _follow(self) -> None:
        if not self._version:
            self._take(*await self.client.list(self.kind, self.namespace, labels=self.labels, fields=self.fields))
            self.synced.set()
        seconds = int(WATCH_S * random.uniform(1.0, 1.5))
        stream = self.client.watch(self.kind, self._version, self.namespace, labels=self.labels, fields=self.fields, seconds=seconds)
        async with contextlib.aclosing(stream) as changes:
            async for change in changes:
                version = change.object["metadata"]["resourceVersion"]
                if _before(version, self._version):
                    self._version = ""  # the server was set back: what is cached may never have been
                    return
                self._version = version
                if change.type == "DELETED":
                    self._drop(key_of(change.object))
                elif change.type != "BOOKMARK":
                    self._put(change.object)

    def _take(self, items: list[Json], version: str) -> None:
        self.lists += 1
        self._version = version
        present = {key_of(item) for item in items}
        for item in items:
            self._put(item)
        for key in [key for key in self.items if key not in present]:
            self._drop(key)

    def _put(self, obj: Json) -> None:
        key = key_of(obj)
        before = self.items.get(key)
        if before is not None and before["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return
        self.items[key] = obj
        for listener in self._listeners:
            listener(before, obj)

    def _drop(self, key: Key) -> None:
        before = self.items.pop(key, None)
        if before is not None:
            for listener in self._listeners:
                listener(before, None)


def _newer(one: Json, other: Json) -> bool:
    """Versions are opaque in principle; both servers of the lab count, and a wrong guess only costs one look at older state."""
    return _before(other["metadata"].get("resourceVersion", ""), one["metadata"].get("resourceVersion", ""))


def _before(version: str, other: str) -> bool:
    return version.isdigit() and other.isdigit() and int(version) < int(other)


@dataclass(slots=True)
class Informers:
    """One informer a kind, shared by all controllers of a process."""

    client: KubeClient
    selectors: Mapping[Kind, str] = dataclasses.field(default_factory=dict)
    """Label selectors that keep the crowd of a big site out of the controllers' memory."""
    _made: dict[Kind, Informer] = dataclasses.field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = dataclasses.field(default_factory=list)

    def of(self, kind: Kind) -> Informer:
        if kind not in self._made:
            self._made[kind] = Informer(self.client, kind, labels=self.selectors.get(kind, ""))
        return self._made[kind]

    def known(self, kind: Kind) -> Informer | None:
        """The informer of a kind that somebody else has asked for."""
        return self._made.get(kind)

    async def start(self, deadline_s: float = 30.0) -> None:
        """Follow every kind asked for so far, and wait until each was listed once. Raises Unreachable."""
        started = {task.get_name() for task in self._tasks}
        for kind, informer in self._made.items():
            if kind.path() not in started:
                self._tasks.append(asyncio.create_task(informer.run(), name=kind.path()))
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(informer.synced.wait() for informer in self._made.values()))
        except TimeoutError:
            late = ", ".join(kind.plural for kind, informer in self._made.items() if not informer.synced.is_set())
            raise Unreachable(f"not listed within {deadline_s:.0f} s: {late}") from None

    def reopen(self, *, anew: bool = False) -> None:
        """Give up all streams and open new ones from where each was, or ``anew`` from a fresh list: after faults that no stream shows."""
        for task in self._tasks:
            task.cancel()
        if anew:
            for informer in self._made.values():
                informer.forget()
        self._tasks = [asyncio.create_task(informer.run(), name=kind.path()) for kind, informer in self._made.items()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
