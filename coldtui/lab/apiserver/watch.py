"""Watch streams: initial state, live events, bookmarks, 410, and the ways in which a stream can fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from coldtui.lab.apiserver.errors import ApiError, Cause, expired, invalid, too_large_version
from coldtui.lab.apiserver.faults import Faults
from coldtui.lab.apiserver.listing import CHUNK_BYTES, parse_version
from coldtui.lab.apiserver.resources import Resource
from coldtui.lab.apiserver.selectors import ItemTest, item_selector
from coldtui.lab.apiserver.store import ADDED, DELETED, MODIFIED, Collection, Event, Item, Subscription, encode

Json = dict[str, Any]
COALESCE_S = 0.02
"""Events that follow one another more closely leave in one write: 50 writes a second at most, however many events."""
LAST_BOOKMARK_S = 2.0
"""A bookmark is sent this long before ``timeoutSeconds`` ends, so that the client can resume without a list."""
GARBAGE = b'\x00\xff{"type":"MODIF\n'
_TRUE = ("1", "true", "True", "t", "T", "TRUE")


def is_true(query: Mapping[str, str], key: str) -> bool:
    return query.get(key, "") in _TRUE


@dataclass(eq=False, slots=True)
class Stream:
    """One open stream, so that faults can reach it."""

    poke: Callable[[], None]
    muted: bool = False
    """Half-open: nothing is sent any more, and nothing closes."""
    cutting: bool = False
    """To be ended in the middle of a line."""


@dataclass(slots=True)
class Streams:
    """All open streams of a server."""

    held: set[Stream] = field(default_factory=set)

    def mute(self) -> None:
        for stream in self.held:
            stream.muted = True

    def cut(self) -> None:
        for stream in self.held:
            stream.cutting = True
            stream.poke()


@dataclass(frozen=True, slots=True)
class Shape:
    """How objects are written into the stream."""

    convert: Callable[[bytes, bool], bytes]
    """Stored bytes and whether this is the first object of the stream -> the object as asked for (object, Table, metadata)."""
    bookmark: Callable[[int, Json], bytes]
    """Version and annotations -> the object of a bookmark."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked watch request."""

    since: int | None
    """Version to start from; None: begin with the present state."""
    initial_end: bool
    """Mark the end of the initial state by an annotated bookmark (WatchList)."""
    bookmarks: bool
    seconds: float
    test: ItemTest | None
    name: str


def check(query: Mapping[str, str], resource: Resource, current: int, default_seconds: float, *, watch_list: bool) -> Plan:
    """Read the options of a watch. 422 for combinations that the server refuses, 504 for an initial state from the future."""
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    initial = query.get("sendInitialEvents")
    if initial is not None:
        if not watch_list:
            raise _refused("sendInitialEvents", "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
        if match != "NotOlderThan":
            raise _refused("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    elif match:
        raise _refused("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
    test, name = item_selector(query.get("labelSelector", ""), query.get("fieldSelector", ""), resource)
    bookmarks = is_true(query, "allowWatchBookmarks")
    seconds = float(query.get("timeoutSeconds") or 0) or default_seconds
    wants_state = is_true(query, "sendInitialEvents") if initial is not None else version in ("", "0")
    if wants_state:
        if version not in ("", "0") and parse_version(version) > current:
            raise too_large_version(parse_version(version), current)
        return Plan(None, initial is not None and bookmarks, bookmarks, seconds, test, name)
    since = current if version in ("", "0") else parse_version(version)
    return Plan(since, False, bookmarks, seconds, test, name)


def _refused(name: str, why: str) -> ApiError:
    return invalid("ListOptions", "meta.k8s.io", "", [Cause("FieldValueForbidden", name, f"Forbidden: {why}")])


def _error_line(error: ApiError) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % encode(error.status())


def _line(kind: bytes, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (kind, raw)


def as_seen(event: Event, test: ItemTest | None, prefix: int) -> tuple[bytes, bytes] | None:
    """The type and bytes of an event for a selector: leaving the selection is a deletion, entering it an addition."""
    item, prev = event.item, event.prev
    if test is None:
        return event.type, item.raw
    was = prev is not None and test(prev)
    if event.type == DELETED:
        return (DELETED, item.raw) if was else None
    if test(item):
        return (MODIFIED if was else ADDED), item.raw
    if was and prev is not None:
        # The last state that matched, under the version of the change.
        return DELETED, b"%b%d%b" % (prev.raw[:prefix], event.rv, prev.raw[prefix + len(str(prev.rv)) :])
    return None


async def serve(
    request: web.Request,
    collection: Collection,
    namespace: str,
    plan: Plan,
    shape: Shape,
    faults: Faults,
    streams: Streams,
    bookmark_s: float,
) -> web.StreamResponse:
    """Answer a watch until it times out, fails or the client goes."""
    subscription = Subscription(namespace, plan.name)
    stream = Stream(subscription.poke, muted=faults.get("half-open") is not None)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    collection.subscribers.add(subscription)
    streams.held.add(stream)
    try:
        start = list(_start(collection, subscription, namespace, plan, faults))
        await response.prepare(request)
        await _Pump(request, response, collection, plan, shape, faults, stream, subscription, bookmark_s).run(start)
    finally:
        collection.subscribers.discard(subscription)
        streams.held.discard(stream)
    return response


def _start(collection: Collection, subscription: Subscription, namespace: str, plan: Plan, faults: Faults) -> Iterator[Item | Event]:
    """What the stream begins with, taken in the same moment as the subscription began."""
    if plan.since is None:
        items = collection.select(namespace)
        if plan.name:
            items = [i for i in items if i.key[1] == plan.name]
        yield from (i for i in items if plan.test is None or plan.test(i))
        return
    if plan.since < collection.floor or faults.get("expired") is not None:
        subscription.lost = True
        return
    for event in collection.since(plan.since):
        if (not namespace or event.item.key[0] == namespace) and (not plan.name or event.item.key[1] == plan.name):
            yield event


class _Pump:
    """Moves events from a subscription into a response."""

    def __init__(
        self,
        request: web.Request,
        response: web.StreamResponse,
        collection: Collection,
        plan: Plan,
        shape: Shape,
        faults: Faults,
        stream: Stream,
        subscription: Subscription,
        bookmark_s: float,
    ) -> None:
        self._request, self._response, self._collection = request, response, collection
        self._plan, self._shape, self._faults = plan, shape, faults
        self._stream, self._subscription, self._bookmark_s = stream, subscription, bookmark_s
        self._first = True
        self._prefix = len(collection.prefix)

    async def run(self, start: list[Item | Event]) -> None:
        plan, subscription = self._plan, self._subscription
        began = time.monotonic()
        end = began + plan.seconds
        next_bookmark = min(began + self._bookmark_s, end - LAST_BOOKMARK_S)
        state = (_line(ADDED, self._object(x.raw)) for x in start if isinstance(x, Item))
        await self._write_all(state)
        await self._write_all(self._lines(x for x in start if isinstance(x, Event)))
        if plan.initial_end:
            await self._write(
                _line(b"BOOKMARK", self._shape.bookmark(self._collection.store.version, {"k8s.io/initial-events-end": "true"}))
            )
        written = 0.0
        while True:
            now = time.monotonic()
            if self._stream.cutting or (self._faults.get("cut") is not None and subscription.queue):
                await self._cut()
                return
            if subscription.lost:
                await self._write(_error_line(expired(self._too_old())))
                return
            if now >= end:
                return
            if subscription.queue:
                if now - written < COALESCE_S:
                    await asyncio.sleep(COALESCE_S)
                await self._write_all(self._lines(subscription.take()))
                written = time.monotonic()
                continue
            if now >= next_bookmark:
                last = end - LAST_BOOKMARK_S
                next_bookmark = min(now + self._bookmark_s, last) if now < last else end + 1
                if plan.bookmarks:
                    await self._write(_line(b"BOOKMARK", self._shape.bookmark(self._collection.store.version, {})))
            await subscription.wait(max(0.001, min(end, next_bookmark) - time.monotonic()))

    def _too_old(self) -> str:
        return f"too old resource version: {self._plan.since or 0} ({self._collection.floor})"

    def _object(self, raw: bytes) -> bytes:
        first, self._first = self._first, False
        return self._shape.convert(raw, first)

    def _lines(self, events: Iterable[Event]) -> Iterator[bytes]:
        for event in events:
            seen = as_seen(event, self._plan.test, self._prefix)
            if seen is not None:
                yield _line(seen[0], self._object(seen[1]))

    async def _write_all(self, lines: Iterable[bytes]) -> None:
        parts: list[bytes] = []
        size = 0
        for line in lines:
            parts.append(line)
            size += len(line)
            if size > CHUNK_BYTES:
                await self._write(b"".join(parts))
                parts, size = [], 0
        if parts:
            await self._write(b"".join(parts))

    async def _write(self, data: bytes) -> None:
        if self._stream.muted:
            return
        if self._faults.get("garbage") is not None:
            data = GARBAGE + data
        await self._response.write(data)

    async def _cut(self) -> None:
        """Half a line, then the connection goes away without the end of the body."""
        line = _line(b"BOOKMARK", self._shape.bookmark(self._collection.store.version, {}))
        await self._response.write(line[: len(line) // 2])
        if self._request.transport is not None:
            self._request.transport.close()
