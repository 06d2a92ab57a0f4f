"""`ports.Kube` on an API server: single questions, read only. The entrance is `connect`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from ...domain.errors import ColdError, Forbidden, Misconfigured, Unauthorized
from ...domain.events import Event
from ...domain.kinds import EVENTS, Kind
from ...domain.nodes import NodeStats
from ...domain.text import plain, plain_lines
from ...domain.troubles import LineTrouble
from ...ports import Clock, LogLine, LogRequest, ServerFacts
from . import kubeconfig as kubeconfigs
from .credentials import Access, access, in_cluster
from .decoders import DECODERS
from .decoding import UNDECODABLE
from .failures import Question, no_api
from .kubeconfig import Places
from .logs import Reader
from .nodes import node_stats
from .streams import KubeStreams
from .transport import CONNECT_S, Channel

T = TypeVar("T")

_KUBELET_PORT = 10250
_KUBELET_AGAIN_S = 300.0
"""After a kubelet refused us it is asked through the API for this long."""
_CALLS = 8
_LOG_BATCHES = 16
"""That may wait to be looked at."""
_HIDDEN = "•••"
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class SystemClock:
    """`ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def connect(
    *,
    kubeconfig: Path | None = None,
    context: str | None = None,
    namespace: str = "",
    clock: Clock | None = None,
    writable: bool = False,
    places: Places | None = None,
    connect_s: float = CONNECT_S,
) -> KubeAdapter:
    """The adapter for the cluster of a kubeconfig. Reads files, opens no connection. Raises domain.errors.Misconfigured.

    `namespace` is read where the whole cluster may not be. `writable` opens the write gate; nothing here needs it.
    """
    places = places or Places()
    paths = kubeconfigs.files(kubeconfig, places)
    if paths:
        found = access(kubeconfigs.choose(paths, context), places.environ)
    elif context:
        raise Misconfigured(f"context {context} was asked for, but there is no kubeconfig", hint="give --kubeconfig")
    else:
        found = in_cluster(places)
    return KubeAdapter(found, clock=clock or SystemClock(), namespace=namespace, writable=writable, connect_s=connect_s)


class KubeAdapter:
    """`ports.Kube`. Calls run in a few threads of its own; each ends by its deadline."""

    def __init__(self, access: Access, *, clock: Clock, namespace: str = "", writable: bool = False, connect_s: float = CONNECT_S) -> None:
        self._access = access
        self._clock = clock
        make = functools.partial(Channel, access, writable=writable, connect_s=connect_s)
        self._flow, self._single, self._probe = make(kept=8), make(kept=4), make(kept=1)
        self._streams = KubeStreams(self._flow, clock, namespace, gzip=not _is_near(access.server))
        self._workers = ThreadPoolExecutor(_CALLS, "kube-call")
        self._prober = ThreadPoolExecutor(1, "kube-probe")
        self._kubelets: dict[str, Channel] = {}
        self._kubelet_refused: dict[str, tuple[float, ColdError]] = {}
        self._logs: set[tuple[threading.Event, Channel]] = set()
        self._skew_s: float | None = None

    @property
    def server(self) -> str:
        return self._access.server

    @property
    def context(self) -> str:
        """Name of the context in the kubeconfig, or `in-cluster`."""
        return self._access.context

    @property
    def namespace(self) -> str:
        """The namespace that the context names, if any."""
        return self._access.namespace

    @property
    def streams(self) -> KubeStreams:
        return self._streams

    async def _call(self, work: Callable[[], T], deadline_s: float, *, pool: ThreadPoolExecutor | None = None) -> T:
        """`work` in a thread, given up after the deadline even where a socket timeout cannot reach (name resolution, a plugin)."""
        future = asyncio.get_running_loop().run_in_executor(pool or self._workers, work)
        try:
            return await asyncio.wait_for(future, deadline_s + 0.25)
        except TimeoutError:
            raise LineTrouble(f"{self._single.where} did not answer within {deadline_s:.0f} s", kind="timeout") from None

    # --- the line

    @property
    def clock_skew_s(self) -> float | None:
        return self._skew_s

    async def alive(self, *, deadline_s: float = 3.0) -> str:
        return await self._call(functools.partial(self._alive, deadline_s), deadline_s, pool=self._prober)

    def _alive(self, deadline_s: float) -> str:
        begun, asked = time.monotonic(), self._clock.now()
        response = self._probe.ask("GET", "/readyz", accept="*/*", deadline_s=deadline_s)
        self._skew_s = _skew_s(response.headers.get("Date"), asked, self._clock.now())
        body = self._probe.read(response, max(0.1, deadline_s - (time.monotonic() - begun)), limit=1 << 16)
        if response.status == 200:
            return plain(body.decode(errors="replace").strip()[:200]) or "ok"
        if response.status == 403:
            return "readiness unknown: needs get on /readyz"
        failed = [line[3:].partition(" ")[0] for line in plain_lines(body.decode(errors="replace")) if line.startswith("[-]")]
        return f"not ready: {', '.join(failed)}" if failed else f"not ready (HTTP {response.status})"

    async def facts(self, *, deadline_s: float = 5.0) -> ServerFacts:
        return await self._call(functools.partial(self._facts, deadline_s), deadline_s)

    def _facts(self, deadline_s: float) -> ServerFacts:
        end = time.monotonic() + deadline_s
        version = _object(self._single, self._single.json("/version", Question("get", "/version"), deadline_s=deadline_s))
        try:
            question = Question("get", "namespaces", name="kube-system")
            left = max(0.1, end - time.monotonic())
            namespace = _object(self._single, self._single.json("/api/v1/namespaces/kube-system", question, deadline_s=left))
            uid = str(namespace.get("metadata", {}).get("uid", ""))
        except Forbidden:
            uid = ""
        return ServerFacts(plain(str(version.get("gitVersion", ""))), plain(uid))

    # --- objects

    async def fetch(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Mapping[str, Any]:
        """Line breaks inside a string stay, since YAML shows them; values of a Secret become bullets."""
        return await self._call(functools.partial(self._fetch, kind, name, namespace, deadline_s), deadline_s)

    def _fetch(self, kind: Kind, name: str, namespace: str, deadline_s: float) -> Mapping[str, Any]:
        path = kind.path(quote(namespace, safe=""), quote(name, safe=""))
        found = _object(self._single, self._single.json(path, Question.of("get", kind, namespace, name), deadline_s=deadline_s))
        meta = found.get("metadata")
        if isinstance(meta, dict):
            meta.pop("managedFields", None)
        if found.get("kind") == "Secret":
            _hide(found)
        plained: Mapping[str, Any] = _plain(found)
        return plained

    async def events_of(self, api_kind: str, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> tuple[Event, ...]:
        return await self._call(functools.partial(self._events_of, api_kind, name, namespace, deadline_s), deadline_s)

    def _events_of(self, api_kind: str, name: str, namespace: str, deadline_s: float) -> tuple[Event, ...]:
        selector = f"involvedObject.kind={api_kind},involvedObject.name={name}"
        if namespace:
            selector += f",involvedObject.namespace={namespace}"
        path, question = EVENTS.path(quote(namespace, safe="")), Question.of("list", EVENTS, namespace)
        raw = self._single.json(path, question, query=[("fieldSelector", selector), ("limit", "500")], deadline_s=deadline_s)
        try:
            found = DECODERS[EVENTS.name].listing(raw, self._clock.now()).items
        except UNDECODABLE:
            raise no_api(200, {}, self._single.where) from None
        return tuple(sorted(found, key=lambda event: event.last))

    # --- kubelets

    async def node_stats(self, node: str, address: str, *, deadline_s: float = 5.0) -> NodeStats:
        return await self._call(functools.partial(self._node_stats, node, address, deadline_s), deadline_s)

    def _node_stats(self, node: str, address: str, deadline_s: float) -> NodeStats:
        end = time.monotonic() + deadline_s
        direct = self._from_kubelet(node, address, deadline_s / 2)
        if isinstance(direct, NodeStats):
            return direct
        question = Question("get", "nodes/proxy", name=node)
        path = f"/api/v1/nodes/{quote(node, safe='')}/proxy/stats/summary"
        try:
            raw = self._single.json(path, question, deadline_s=max(0.1, end - time.monotonic()))
        except Forbidden as error:
            if isinstance(direct, Forbidden | Unauthorized) or direct is None:
                raise Forbidden(
                    "needs get on nodes/stats (kubelet) or on nodes/proxy",
                    verb="get",
                    resource="nodes/stats",
                    detail=error.detail,
                    hint="grant get on nodes/stats to a service account and use its token: nodes/proxy would allow far more",
                ) from error
            raise Forbidden(
                f"{direct.title}, and the way around needs get on nodes/proxy",
                verb="get",
                resource="nodes/proxy",
                hint="let this machine reach port 10250 of the nodes",
            ) from error
        return self._summary(raw, self._single)

    def _from_kubelet(self, node: str, address: str, deadline_s: float) -> NodeStats | ColdError | None:
        """Straight from the node, with our token. None: that was not possible to try; an error: it was tried and refused."""
        tls = self._access.tls
        if tls is None or self._access.insecure or self._access.proxy is not None or not address or not self._access.has_token:
            return None  # the token goes only to who proves to be of this cluster
        since, error = self._kubelet_refused.get(address, (float("-inf"), None))
        if error is not None and time.monotonic() - since < _KUBELET_AGAIN_S:
            return error
        channel = self._kubelets.get(address)
        if channel is None:
            channel = self._kubelets.setdefault(
                address, Channel(_at_kubelet(self._access, address), kept=1, connect_s=min(1.0, deadline_s))
            )
        try:
            raw = channel.json("/stats/summary", Question("get", "nodes/stats", name=node), deadline_s=deadline_s)
            return self._summary(raw, channel)
        except ColdError as error:
            self._kubelet_refused[address] = (time.monotonic(), error)
            return error

    def _summary(self, raw: bytes, channel: Channel) -> NodeStats:
        try:
            return node_stats(raw, self._clock.now())
        except UNDECODABLE:
            raise LineTrouble(f"the summary of {channel.where} cannot be read", kind="garbage") from None

    # --- rights

    async def may(
        self, verb: str, group: str, resource: str, *, namespace: str = "", subresource: str = "", deadline_s: float = 5.0
    ) -> bool:
        return await self._call(functools.partial(self._may, verb, group, resource, namespace, subresource, deadline_s), deadline_s)

    def _may(self, verb: str, group: str, resource: str, namespace: str, subresource: str, deadline_s: float) -> bool:
        asked = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "subresource": subresource}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
        question = Question("create", "selfsubjectaccessreviews", "authorization.k8s.io")
        end = time.monotonic() + deadline_s
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        response = self._single.open("POST", path, question, body=json.dumps(review).encode(), deadline_s=deadline_s)
        answer = _object(self._single, self._single.read(response, max(0.1, end - time.monotonic())))
        status = answer.get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    # --- logs

    async def logs(
        self, request: LogRequest, *, deadline_s: float = 10.0, told: Callable[[str], None] | None = None
    ) -> AsyncIterator[tuple[LogLine, ...]]:
        """Each log has a thread and a connection of its own. A follow is taken up again after a broken line, from the last timestamp.

        `deadline_s` holds for a log that is not followed: a followed one has no answer before its first line.
        """
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[LogLine, ...] | ColdError | None]()
        stop, room = threading.Event(), threading.Semaphore(_LOG_BATCHES)
        channel = Channel(self._access, kept=1)
        reader = Reader(channel, request, deadline_s, stop, told)

        def read() -> None:
            last: ColdError | None = None
            try:
                for batch in reader.batches():
                    room.acquire()  # a reader must not run ahead of who looks
                    if stop.is_set():
                        break
                    loop.call_soon_threadsafe(queue.put_nowait, batch)
            except ColdError as error:
                last = error
            except Exception as error:  # noqa: BLE001  # told to who reads: a thread has no other way to say it
                last = ColdError(f"reading the log failed ({type(error).__name__})", detail=plain(str(error))[:200])
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who looked
                loop.call_soon_threadsafe(queue.put_nowait, last)

        handle = (stop, channel)
        self._logs.add(handle)
        threading.Thread(target=read, name="kube-log", daemon=True).start()
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, ColdError):
                    raise item
                room.release()
                yield item
        finally:
            self._logs.discard(handle)
            _end_log(handle)
            room.release()  # for the batch that the thread may still hold

    async def aclose(self) -> None:
        for handle in tuple(self._logs):
            _end_log(handle)
        for channel in (self._flow, self._single, self._probe, *self._kubelets.values()):
            channel.close()
        self._workers.shutdown(wait=False, cancel_futures=True)
        self._prober.shutdown(wait=False, cancel_futures=True)


def _end_log(handle: tuple[threading.Event, Channel]) -> None:
    stop, channel = handle
    stop.set()
    channel.close()


def _at_kubelet(access: Access, address: str) -> Access:
    """The same credentials at a node's address."""
    host = f"[{address}]" if ":" in address else address
    return Access(f"https://{host}:{_KUBELET_PORT}", access.tls, access.auth, impersonate=access.impersonate, source=access.source)


def _skew_s(date: str | None, asked: datetime, answered: datetime) -> float | None:
    """The server's clock minus ours. Its date has whole seconds and was written somewhere between question and answer: the middle of each is taken."""
    try:
        told = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    if told.tzinfo is None:
        return None
    return (told + timedelta(seconds=0.5) - (asked + (answered - asked) / 2)).total_seconds()


def _is_near(server: str) -> bool:
    """Loopback: compressing would only cost both sides time."""
    host = urlsplit(server).hostname or ""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _object(channel: Channel, raw: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(raw)
    except UNDECODABLE:
        found = None
    if not isinstance(found, dict):
        raise no_api(200, {}, channel.where)
    return found


def _hide(secret: dict[str, Any]) -> None:
    """The values of a Secret, and the copy of them that `kubectl apply` leaves in an annotation."""
    for key in ("data", "stringData"):
        if isinstance(secret.get(key), dict):
            secret[key] = dict.fromkeys(secret[key], _HIDDEN)
    meta = secret.get("metadata")
    notes = meta.get("annotations") if isinstance(meta, dict) else None
    if isinstance(notes, dict) and _APPLIED in notes:
        notes[_APPLIED] = _HIDDEN


def _plain(value: Any) -> Any:
    match value:
        case str():
            return plain(value) if "\n" not in value else "\n".join(plain_lines(value))
        case dict():
            return {plain(key): _plain(inner) for key, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case _:
            return value
