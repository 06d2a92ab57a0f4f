"""`ports.Kube` on an API server: single questions, fresh reads, acts behind the write gate. The entrance is `connect`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from ...domain.errors import ColdError, Forbidden, Misconfigured
from ...domain.events import Event
from ...domain.kinds import EVENTS, Kind
from ...domain.nodes import NodeStats
from ...domain.replication import ManagerStatus
from ...domain.text import plain, plain_lines
from ...domain.troubles import LineTrouble
from ...ports import Clock, HeldLease, LogLine, LogRequest, PatchForm, ServerFacts
from . import kubeconfig as kubeconfigs
from . import objects
from .credentials import Access, access, in_cluster
from .decoders import DECODERS
from .decoding import UNDECODABLE
from .failures import Question, no_api, unsure
from .kubeconfig import Places
from .kubelets import Kubelets
from .leases import Leases
from .logs import Reader
from .reads import Reads
from .streams import KubeStreams
from .transport import CONNECT_S, Channel
from .writes import Writes

T = TypeVar("T")

_CALLS, _ACTS = 8, 8
"""Threads, each with one call at a time."""
_LEAST_LEFT = 0.25
"""Share of an act's time that must be left when it is sent."""
_WARNINGS = 100
_LOG_BATCHES = 16
"""That may wait to be looked at."""


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

    `namespace` is read where the whole cluster may not be. `writable` opens the write gate; reading never needs it.
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
        make = functools.partial(Channel, access, connect_s=connect_s)
        self._flow, self._single, self._probe = make(kept=8), make(kept=_CALLS), make(kept=1)
        self._acts = make(kept=_ACTS, writable=writable)  # nothing else of this program ever writes, so no other channel has an open gate
        far = not _is_near(access.server)
        self._streams = KubeStreams(self._flow, clock, namespace, gzip=far)
        self._reads = Reads(self._single, clock, gzip=far)
        self._warnings = deque[str](maxlen=_WARNINGS)
        self._writes = Writes(self._acts, self._warnings)
        self._leases = Leases(self._single, self._writes, clock)
        self._kubelets = Kubelets(access, self._single, clock)
        self._workers = ThreadPoolExecutor(_CALLS, "kube-call")
        self._actors = ThreadPoolExecutor(_ACTS, "kube-act")  # a drain's evictions do not queue behind reads, nor they behind them
        self._prober = ThreadPoolExecutor(1, "kube-probe")
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
            async with asyncio.timeout(deadline_s + 0.25):  # wait_for would lose a cancellation that comes together with the answer
                return await future
        except TimeoutError:
            raise LineTrouble(f"{self._single.where} did not answer within {deadline_s:.0f} s", kind="timeout") from None

    async def _act(self, work: Callable[[float], T], deadline_s: float) -> T:
        """As `_call`, for what changes something; `work` is told how many seconds are left when a thread takes it.

        What waited for a thread for most of its time is not sent any more: it could only end with an outcome that nobody knows.
        """
        end = time.monotonic() + deadline_s
        unsent = LineTrouble(f"{self._acts.where} is busy with earlier acts: not sent", kind="timeout")
        began = threading.Event()

        def begun() -> T:
            left = end - time.monotonic()
            if left < deadline_s * _LEAST_LEFT:
                raise unsent
            began.set()
            return work(left)

        future = asyncio.get_running_loop().run_in_executor(self._actors, begun)
        try:
            async with asyncio.timeout(deadline_s + 0.25):
                return await future
        except TimeoutError:
            if not began.is_set():
                raise unsent from None
            raise unsure(LineTrouble(f"{self._acts.where} did not answer within {deadline_s:.0f} s", kind="timeout")) from None

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
        version = objects.decoded(self._single.json("/version", Question("get", "/version"), deadline_s=deadline_s), self._single.where)
        try:
            question = Question("get", "namespaces", name="kube-system")
            left = max(0.1, end - time.monotonic())
            namespace = objects.decoded(self._single.json("/api/v1/namespaces/kube-system", question, deadline_s=left), self._single.where)
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
        raw = self._single.json(path, Question.of("get", kind, namespace, name), deadline_s=deadline_s)
        return objects.shown(raw, self._single.where)

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
        return await self._call(functools.partial(self._kubelets.stats, node, address, deadline_s), deadline_s)

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
        answer = objects.decoded(self._single.read(response, max(0.1, end - time.monotonic())), self._single.where)
        status = answer.get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    # --- fresh reads

    async def read(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Any:
        return await self._call(functools.partial(self._reads.one, kind, name, namespace, deadline_s), deadline_s)

    async def read_all(
        self, kind: Kind, *, namespace: str = "", fields: str = "", labels: str = "", deadline_s: float = 10.0
    ) -> tuple[Any, ...]:
        return await self._call(functools.partial(self._reads.every, kind, namespace, fields, labels, deadline_s), deadline_s)

    async def pod_get(self, namespace: str, pod: str, port: int, path: str, *, scheme: str = "http", deadline_s: float = 2.0) -> bytes:
        work = functools.partial(self._reads.pod_get, namespace, pod, port, path, scheme, deadline_s)
        return await self._call(work, deadline_s)

    async def pg_status(self, namespace: str, pod: str, *, deadline_s: float = 2.0) -> ManagerStatus:
        work = functools.partial(self._reads.pg_status, namespace, pod, deadline_s)
        return await self._call(work, deadline_s)

    # --- acts

    @property
    def warnings(self) -> deque[str]:
        return self._warnings

    async def patch(
        self,
        kind: Kind,
        name: str,
        body: Any,
        namespace: str = "",
        *,
        form: PatchForm = PatchForm.MERGE,
        subresource: str = "",
        dry_run: bool = False,
        deadline_s: float = 10.0,
    ) -> Mapping[str, Any]:
        work = functools.partial(self._writes.patch, kind, name, body, namespace, form, subresource, dry_run)
        return await self._act(work, deadline_s)

    async def create(
        self, kind: Kind, body: Mapping[str, Any], namespace: str = "", *, dry_run: bool = False, deadline_s: float = 10.0
    ) -> Mapping[str, Any]:
        return await self._act(functools.partial(self._writes.create, kind, body, namespace, dry_run), deadline_s)

    async def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        grace_s: int | None = None,
        dry_run: bool = False,
        deadline_s: float = 10.0,
    ) -> None:
        work = functools.partial(self._writes.delete, kind, name, namespace, uid, grace_s, dry_run)
        await self._act(work, deadline_s)

    async def evict(
        self, namespace: str, pod: str, *, uid: str = "", grace_s: int | None = None, dry_run: bool = False, deadline_s: float = 10.0
    ) -> None:
        await self._act(functools.partial(self._writes.evict, namespace, pod, uid, grace_s, dry_run), deadline_s)

    async def lease(self, namespace: str, name: str, *, deadline_s: float = 5.0) -> HeldLease | None:
        return await self._call(functools.partial(self._leases.get, namespace, name, deadline_s), deadline_s)

    async def put_lease(self, lease: HeldLease, *, acquired: bool, deadline_s: float = 5.0) -> HeldLease:
        return await self._act(functools.partial(self._leases.put, lease, acquired), deadline_s)

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
        for channel in (self._flow, self._single, self._probe, self._acts):
            channel.close()
        self._kubelets.close()
        for pool in (self._workers, self._actors, self._prober):
            pool.shutdown(wait=False, cancel_futures=True)


def _end_log(handle: tuple[threading.Event, Channel]) -> None:
    stop, channel = handle
    stop.set()
    channel.close()


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
