"""Lists and watches, read raw and decoded in the calling thread: bytes become domain values in one pass, and what is not used is never built."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from ...domain.errors import Closed, ColdError, Expired, Forbidden
from ...domain.kinds import Kind
from ...domain.troubles import LineTrouble
from ...ports import Batch, Clock, Page
from .decoding import UNDECODABLE, Listing, Wire
from .failures import LINE_ERRORS, Question, no_api, of_status, status_of, translate
from .reads import decoder_of
from .transport import Channel, Response, line_of

SILENCE_S = 150.0
"""A healthy watch says something (a bookmark) at least each 60 s, of some kinds each 120 s."""
_HEAD_S = 10.0
"""The API server answers the opening of a watch at once."""
_LONGEST_LINE = 32 << 20
"""An object is at most a few MB; a line that never ends is no watch."""
_FOLD_EVENTS, _FOLD_S = 2_000, 0.1
"""A batch is handed on after this much, though more may lie in the buffer."""


class _Head(Wire):
    """What of an object suffices for a deletion or a bookmark."""

    metadata: _HeadMeta


class _HeadMeta(Wire):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Event(Wire):
    type: str
    object: msgspec.Raw


_head = msgspec.json.Decoder(_Head).decode
_event = msgspec.json.Decoder(_Event).decode


class KubeStreams:
    """`ports.KubeStreams`. Thread-safe; each watch has a connection of its own, lists share a few."""

    def __init__(self, channel: Channel, clock: Clock, namespace: str = "", *, gzip: bool = True) -> None:
        """`namespace`: read when the whole cluster may not be read. `gzip`: ask for compressed lists."""
        self._channel = channel
        self._clock = clock
        self._namespace = namespace
        self._gzip = gzip
        self._narrow: set[str] = set()
        """Kinds of which we may only read `namespace`."""

    # --- lists

    def pages(self, kind: Kind, *, version: str | None, limit: int | None = 500, deadline_s: float = 30.0) -> Iterator[Page]:
        """`deadline_s` is for each page. See `ports.KubeStreams`."""
        query = [] if version is None else [("resourceVersion", version)]
        if version not in (None, "", "0"):
            query.append(("resourceVersionMatch", "NotOlderThan"))  # without it a paged list of an old version is exactly that old
        if limit is not None:
            query.append(("limit", str(limit)))
        token = ""
        while True:
            asked = [("limit", str(limit)), ("continue", token)] if token else query  # no version beside a token
            found = self._page(kind, asked, deadline_s, first=not token)
            token = found.meta.continue_
            yield Page(found.items, found.meta.resource_version, bool(token), found.meta.remaining_item_count, found.skipped)
            if not token:
                return

    def poll(self, kind: Kind, *, deadline_s: float) -> Page:
        """See `ports.KubeStreams`."""
        found = self._page(kind, [], deadline_s, first=True)
        return Page(found.items, found.meta.resource_version, False, None, found.skipped)

    def _page(self, kind: Kind, query: list[tuple[str, str]], deadline_s: float, *, first: bool) -> Listing[Any]:
        if first:
            self._narrow.discard(kind.name)  # rights may have been given meanwhile
        try:
            return self._fetch(kind, query, deadline_s)
        except Forbidden:
            if not first or not self._namespace or not kind.namespaced or kind.namespace:
                raise
        self._narrow.add(kind.name)
        return self._fetch(kind, query, deadline_s)

    def _fetch(self, kind: Kind, query: list[tuple[str, str]], deadline_s: float) -> Listing[Any]:
        end = time.monotonic() + deadline_s
        question = Question.of("list", kind, self._space(kind))
        response = self._channel.open("GET", self._path(kind), question, query=query, gzip=self._gzip, deadline_s=deadline_s)
        headers = {name.lower(): value for name, value in response.headers.items()}
        raw = self._channel.read(response, max(0.1, end - time.monotonic()))
        try:
            return decoder_of(kind).listing(raw, self._clock.now())
        except UNDECODABLE:
            raise no_api(200, headers, self._channel.where) from None

    def _space(self, kind: Kind) -> str:
        return self._namespace if kind.name in self._narrow else ""

    def _path(self, kind: Kind) -> str:
        return kind.path(quote(self._space(kind), safe=""))

    # --- watches

    def watch(self, kind: Kind, version: str, *, timeout_s: int) -> Iterator[Batch]:
        """See `ports.KubeStreams`."""
        channel, question = self._channel, Question.of("watch", kind, self._space(kind))
        query = [("watch", "1"), ("resourceVersion", version), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(timeout_s))]
        cuts = channel.cuts
        response = channel.open("GET", self._path(kind), question, query=query, deadline_s=_HEAD_S)
        try:
            yield Batch({}, frozenset(), "")  # accepted: a quiet kind is live from here, not from its first event
            yield from _Watch(kind, response, channel, cuts, self._clock, question).batches()
        finally:
            response.close()

    def shut(self) -> None:
        self._channel.shut()

    def close(self) -> None:
        self._channel.close()


@dataclass(slots=True)
class _Folded:
    """Events since the last batch, the newest of each key."""

    changed: dict[str, Any] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    version: str = ""
    last: msgspec.Raw | None = None
    """The newest object that was decoded; its version is looked up once a batch."""
    skipped: int = 0
    events: int = 0


class _Watch:
    """One open stream."""

    def __init__(self, kind: Kind, response: Response, channel: Channel, cuts: int, clock: Clock, question: Question) -> None:
        self._response, self._channel, self._cuts, self._clock, self._question = response, channel, cuts, clock, question
        self._decoder = decoder_of(kind)
        self._bare = not kind.namespaced or bool(kind.namespace)
        """Keys are names alone."""
        self._rest = b""
        self._failure: ColdError | None = None
        self._ended = False
        self._line = line_of(response)
        if self._line is not None:
            self._line.settimeout(SILENCE_S)

    def batches(self) -> Iterator[Batch]:
        """Until the stream ends; an error comes after what was read before it."""
        while not self._ended and self._failure is None:
            folded = self._next()
            if folded.events or folded.skipped:
                yield self._batch(folded)
        if self._failure is not None:
            raise self._failure

    def _next(self) -> _Folded:
        """Wait for something, then take what else is there already."""
        folded = _Folded()
        self._take(folded)
        until = time.monotonic() + _FOLD_S
        while (
            not self._ended
            and self._failure is None
            and folded.events < _FOLD_EVENTS
            and _readable(self._line)
            and time.monotonic() < until
        ):
            self._take(folded)
        return folded

    def _take(self, folded: _Folded) -> None:
        """One read. Sets `_ended` or `_failure` at the end of the stream."""
        try:
            chunk = self._response.read1(1 << 18)
            _end_chunk(self._response)
        except LINE_ERRORS as error:
            self._broken(error)
            return
        if self._channel.cuts != self._cuts or self._channel.closed:
            self._failure = Closed("the stream was closed by us")
            return
        if not chunk:
            self._ended = True  # a half line is lost with it; it comes again from the last version
            return
        if b"\n" not in chunk:
            self._rest += chunk
            if len(self._rest) > _LONGEST_LINE:
                self._failure = LineTrouble(f"{self._channel.where} sends a watch line without an end", kind="garbage")
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line and self._failure is None:
                self._event(line, folded)

    def _broken(self, error: BaseException) -> None:
        if self._channel.cuts != self._cuts or self._channel.closed:
            self._failure = Closed("the stream was closed by us")
            return
        failure = translate(error, self._channel.where, SILENCE_S)
        if isinstance(failure, LineTrouble) and failure.kind == "timeout":
            self._failure = LineTrouble(f"nothing heard from {self._channel.where} for {SILENCE_S:.0f} s", kind="timeout")
        elif isinstance(failure, LineTrouble) and failure.kind == "lost" and "broke off" in failure.title:
            self._ended = True  # the server went away between two events: nothing is lost, and what is next shows how it stands
        else:
            self._failure = failure

    def _event(self, line: bytes, folded: _Folded) -> None:
        try:
            event = _event(line)
            match event.type:
                case "MODIFIED" | "ADDED":
                    value = self._decoder.item(event.object, self._clock.now())
                    folded.changed[value.key] = value
                    folded.gone.discard(value.key)
                    folded.last = event.object
                case "DELETED":
                    meta = _head(event.object).metadata
                    key = meta.name if self._bare else f"{meta.namespace}/{meta.name}"
                    folded.changed.pop(key, None)
                    folded.gone.add(key)
                    folded.last = event.object
                case "BOOKMARK":
                    folded.last = event.object
                case "ERROR":
                    self._failure = self._refused(event.object)
                    return
                case _:
                    folded.skipped += 1
                    return
        except UNDECODABLE:
            folded.skipped += 1
            return
        folded.events += 1

    def _refused(self, raw: msgspec.Raw) -> ColdError:
        status = status_of(raw)
        if status.code == 410 or status.reason in {"Expired", "Gone"}:
            return Expired("the version is too old", detail=status.message)
        return of_status(status.code or 500, status, self._question, self._channel.where)

    def _batch(self, folded: _Folded) -> Batch:
        version = ""
        if folded.last is not None:
            with contextlib.suppress(*UNDECODABLE):
                version = _head(folded.last).metadata.resource_version
        return Batch(folded.changed, frozenset(folded.gone), version, folded.skipped, folded.events)


def _end_chunk(response: Response) -> None:
    """Take the line end behind a chunk that was read whole.

    A Go server sends it in a record of its own behind an object above 4 KiB. Left there, it would make the socket readable, and the read
    that follows would toss it and then wait for the next event, with what was read before still in hand.
    """
    inner = getattr(response, "_fp", None)
    if isinstance(inner, http.client.HTTPResponse) and inner.chunked and getattr(inner, "chunk_left", None) == 0:
        inner._safe_read(2)  # type: ignore[attr-defined]  # as its own next read would
        inner.chunk_left = None  # between two chunks


def _readable(line: socket.socket | None) -> bool:
    """Whether bytes wait in the kernel or in TLS. (What waits in the reader's own buffer alone comes with the next batch, at once.)"""
    if line is None:
        return False
    if isinstance(line, ssl.SSLSocket) and line.pending():
        return True
    try:
        poll = select.poll()
        poll.register(line, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return False  # closed meanwhile; the next read tells
