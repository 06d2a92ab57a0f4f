"""`FakeKube`: a small API server that deals in domain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from threading import Condition
from typing import Any

from ...domain.errors import Closed, NotFound, Unreachable
from ...domain.kinds import Kind
from ...domain.replication import ManagerStatus
from ...domain.troubles import LineTrouble
from ...ports import Clock, LogLine, LogRequest, ServerFacts
from .acts import Acts
from .clock import START, FakeClock
from .state import EVERY, Fault, Log
from .streams import FakeStreams


class FakeKube(Acts):
    """Port `Kube`, and its streams."""

    def __init__(
        self,
        objects: Mapping[str, Iterable[Any]] | None = None,
        *,
        server: str = "https://127.0.0.1:6443",
        version: str = "v1.34.4+k3s1",
        uid: str = "00000000-0000-4000-8000-000000000001",
        page_size: int = 500,
        clock: Clock | None = None,
    ) -> None:
        """`objects`: domain values by name of their kind. `page_size` caps the pages of a list. `clock` dates deletions and leases."""
        self._server = server
        self.version = version
        self.uid = uid
        self.page_size = page_size
        self.skew_s: float | None = 0.0
        """How far the server's clock is ahead of ours."""
        self.ready = "ok"
        """What `/readyz` says."""
        self.streams: FakeStreams = FakeStreams(self)
        self.calls: list[tuple[str, str]] = []
        """(call, kind or object), in order."""
        self.stats: dict[str, Any] = {}
        """NodeStats by node; a node that is not here gives NotFound."""
        self.pod_answers: dict[tuple[str, str], bytes] = {}
        """What a pod (`namespace/name`) answers on a path; a pod that is not here does not answer."""
        self.managers: dict[str, ManagerStatus] = {}
        """What an instance manager (`namespace/name`) says; one that is not here does not answer."""
        self.log_lines: dict[str, list[str]] = {}
        """Lines by `namespace/pod`."""
        self.allowed: Callable[[str, str, str], bool] = lambda verb, group, resource: True
        """(verb, group, resource or `pods/eviction`): what `may` answers, and whether fresh reads and acts are Forbidden."""
        self._prepare_acts(clock or FakeClock())
        self._cond = Condition()
        self._rv = 1000
        self._kinds: dict[str, Log] = {}
        self._faults: list[Fault] = []
        self._dead = False
        self._paused = False
        self._cut = 0
        self._ended = 0
        self._broken = 0
        self._closed = False
        self._between: Callable[[str, int], None] | None = None
        for kind, values in (objects or {}).items():
            self.put(kind, *values)

    # The cluster

    @property
    def server(self) -> str:
        return self._server

    @property
    def clock_skew_s(self) -> float | None:
        return self.skew_s

    def put(self, kind: str, *values: Any) -> None:
        """Create or change objects."""
        with self._cond:
            log = self._log(kind)
            for value in values:
                self._rv += 1
                log.objects[value.key] = value
                log.events.append((self._rv, value.key, value))
            self._cond.notify_all()

    def remove(self, kind: str, *keys: str) -> None:
        """Somebody deletes objects."""
        with self._cond:
            log = self._log(kind)
            for key in keys:
                self._rv += 1
                del log.objects[key]
                log.events.append((self._rv, key, None))
            self._cond.notify_all()

    def bookmark(self, kind: str) -> None:
        """Tell the watches of a kind how far they are."""
        with self._cond:
            self._rv += 1
            self._log(kind).events.append((self._rv, None, None))
            self._cond.notify_all()

    def objects(self, kind: str) -> dict[str, Any]:
        """What the server holds now, by key."""
        with self._cond:
            return dict(self._log(kind).objects)

    def count(self, call: str, kind: str = EVERY) -> int:
        """How often something was called."""
        with self._cond:
            return sum(1 for c, k in self.calls if c == call and kind in (EVERY, k))

    # Faults

    def kill(self) -> None:
        """The process is gone: streams break, connections are refused."""
        with self._cond:
            self._dead = True
            self._cond.notify_all()

    def pause(self) -> None:
        """The process is stopped: connections are taken, nothing answers."""
        with self._cond:
            self._paused = True
            self._cond.notify_all()

    def revive(self) -> None:
        """It runs again, with the same data."""
        with self._cond:
            self._dead = self._paused = False
            self._cond.notify_all()

    def fail(self, call: str, make: Callable[[], Exception], kind: str = EVERY, *, times: int | None = 1) -> None:
        """Raise `make()` from the next `times` calls (None: until `heal`) of `call` (list, watch, poll, ...) for `kind` or node."""
        with self._cond:
            self._faults.append(Fault(call, kind, make, times))

    def heal(self) -> None:
        """No ordered failure any more."""
        with self._cond:
            self._faults.clear()

    def expire(self, kind: str) -> None:
        """Compact: open watches and old versions of this kind get 410."""
        with self._cond:
            log = self._log(kind)
            self._rv += 1
            log.oldest = self._rv
            log.events.clear()
            log.forgotten = dict(log.objects)
            self._cond.notify_all()

    def between_pages(self, hook: Callable[[str, int], None] | None) -> None:
        """Call `hook(kind, pages given)` before each further page of a list; it may change the cluster, or raise."""
        self._between = hook

    def garble(self, kind: str, lines: int = 1) -> None:
        """The open watches of a kind bring lines that are no objects."""
        with self._cond:
            self._log(kind).garbage += lines
            self._cond.notify_all()

    def undecodable(self, kind: str, count: int) -> None:
        """So many objects of each list cannot be decoded."""
        with self._cond:
            self._log(kind).skipped = count

    def end_watches(self) -> None:
        """Every open watch ends as its time-out would end it."""
        with self._cond:
            self._ended += 1
            self._cond.notify_all()

    def break_watches(self) -> None:
        """Every open watch breaks, as when something between us and the server was restarted."""
        with self._cond:
            self._broken += 1
            self._cond.notify_all()

    def restore(self, objects: Mapping[str, Iterable[Any]], version: int = 10) -> None:
        """The datastore is put back to an old state: versions go backwards, open watches end."""
        with self._cond:
            self._rv = version
            kinds = set(self._kinds) | set(objects)
            self._kinds = {kind: Log() for kind in kinds}
            self._ended += 1
            self._cond.notify_all()
        for kind, values in objects.items():
            self.put(kind, *values)

    # Port Kube

    async def alive(self, *, deadline_s: float = 3.0) -> str:
        await self._answer("alive", "", deadline_s)
        return self.ready

    async def facts(self, *, deadline_s: float = 5.0) -> ServerFacts:
        await self._answer("facts", "", deadline_s)
        return ServerFacts(self.version, self.uid)

    async def fetch(self, kind: Kind, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> Mapping[str, Any]:
        await self._answer("fetch", kind.name, deadline_s)
        key = f"{namespace}/{name}" if namespace else name
        if key not in self.objects(kind.name):
            raise NotFound(f"{kind.title} {key} not found")
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        return {"apiVersion": kind.group_version, "kind": kind.plural, "metadata": metadata}

    async def events_of(self, api_kind: str, name: str, namespace: str = "", *, deadline_s: float = 10.0) -> tuple[Any, ...]:
        await self._answer("events", name, deadline_s)
        found = [
            e for e in self.objects("events").values() if (e.object_kind, e.object_name, e.object_namespace) == (api_kind, name, namespace)
        ]
        return tuple(sorted(found, key=lambda e: e.last))

    async def node_stats(self, node: str, address: str, *, deadline_s: float = 5.0) -> Any:
        await self._answer("stats", node, deadline_s)
        if node not in self.stats:
            raise NotFound(f"node {node} not found")
        return self.stats[node]

    async def logs(
        self, request: LogRequest, *, deadline_s: float = 10.0, told: Callable[[str], None] | None = None
    ) -> AsyncIterator[tuple[LogLine, ...]]:
        key = f"{request.namespace}/{request.pod}"
        await self._answer("logs", key, deadline_s)
        given = 0
        lines = self.log_lines.get(key, [])
        if request.tail is not None:
            given = max(0, len(lines) - request.tail)
        while True:
            fresh = self.log_lines.get(key, [])[given:]
            given += len(fresh)
            if fresh:
                yield tuple(LogLine(START, line) for line in fresh)
            if not request.follow or self._closed:
                return
            await asyncio.sleep(0.01)

    async def pod_get(self, namespace: str, pod: str, port: int, path: str, *, scheme: str = "http", deadline_s: float = 2.0) -> bytes:
        await self._answer("pod_get", f"{namespace}/{pod}", deadline_s)
        found = self.pod_answers.get((f"{namespace}/{pod}", path))
        if found is None:
            raise LineTrouble(f"{pod} does not answer on port {port} (502)", kind="server")
        return found

    async def pg_status(self, namespace: str, pod: str, *, deadline_s: float = 2.0) -> ManagerStatus:
        await self._answer("pg_status", f"{namespace}/{pod}", deadline_s)
        found = self.managers.get(f"{namespace}/{pod}")
        if found is None:
            raise LineTrouble(f"{pod} does not answer on port 8000 (502)", kind="server")
        return found

    async def may(
        self, verb: str, group: str, resource: str, *, namespace: str = "", subresource: str = "", deadline_s: float = 5.0
    ) -> bool:
        await self._answer("may", f"{verb} {resource}", deadline_s)
        return self.allowed(verb, group, resource)

    async def aclose(self) -> None:
        self.streams.close()

    # Inside

    def _log(self, kind: str) -> Log:
        return self._kinds.setdefault(kind, Log())

    async def _answer(self, call: str, kind: str, deadline_s: float) -> None:
        """What stands between a question and its answer: the line, and ordered faults."""
        end = asyncio.get_running_loop().time() + deadline_s
        with self._cond:
            self.calls.append((call, kind))
        while self._paused and not self._dead:
            if asyncio.get_running_loop().time() >= end:
                raise Unreachable("no answer: timed out", detail=self._server)
            await asyncio.sleep(min(0.005, deadline_s))
        with self._cond:
            self._check(call, kind)

    def _check(self, call: str, kind: str) -> None:
        """Raise what this call has coming. Under the lock."""
        if self._closed:
            raise Closed("closed")
        if self._dead:
            raise Unreachable("connection refused", detail=self._server)
        for fault in self._faults:
            if fault.call in (call, EVERY) and fault.kind in (kind, EVERY):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                raise fault.make()

    def _hang(self, deadline_s: float) -> None:
        """While paused: wait as a blocked read does. Under the lock."""
        cut = self._cut
        back = self._cond.wait_for(lambda: not self._paused or self._dead or self._closed or cut != self._cut, timeout=deadline_s)
        if self._closed or cut != self._cut:
            raise Closed("shut")
        if not back:
            raise Unreachable("no answer: timed out", detail=self._server)
