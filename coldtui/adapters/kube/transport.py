"""Requests to one API server: connections, keep-alive, the write gate, renewal of credentials after a 401.

A `Channel` is a pool of connections for one purpose, so that waking the watches does not disturb a log, and the heartbeat has a line of
its own. All channels share TLS and credentials. Everything here blocks; all errors are `domain.errors`.
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from ...domain.errors import Closed
from ...domain.troubles import LineTrouble
from . import gate
from .credentials import Access
from .failures import LINE_ERRORS, Question, no_api, refusal, translate, unsure

CONNECT_S = 3.0
_BODY_LIMIT = 1 << 16
"""Of an error: more is not read."""
_TCP = socket.IPPROTO_TCP
SOCKET_OPTIONS: list[tuple[int, int, int]] = [  # urllib3 replaces its own list by this one, so TCP_NODELAY is named again
    (_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
]
Response = urllib3.BaseHTTPResponse


class _Lines:
    """The sockets of a channel, so that another thread can wake whoever reads from them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()

    def add(self, connection: Any) -> None:
        with self._lock:
            self._connections.add(connection)

    def cut(self) -> None:
        with self._lock:
            known = list(self._connections)
        for connection in known:
            line = connection.line
            if line is not None:
                try:
                    # The plain socket's own method: that of a TLS socket would first forget its TLS state under the reader's feet.
                    socket.socket.shutdown(line, socket.SHUT_RDWR)
                except OSError:
                    continue  # closed meanwhile, which is all we want


class _Attempt(threading.local):
    """The request that this thread is sending."""

    sent = False
    """Whether any byte of it may have left."""
    until: float | None = None
    """By `time.monotonic`: nothing is sent after that, since who asked has been told that it failed."""


_attempt = _Attempt()


class _Line:
    """A connection that can be cut from another thread, and knows whether it has begun to send."""

    lines: _Lines
    line: socket.socket | None
    sock: socket.socket | None

    def __init__(self, *args: Any, lines: _Lines, **kw: Any) -> None:
        self.lines, self.line = lines, None
        super().__init__(*args, **kw)

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # of the class beside this one
        self.line = self.sock  # kept, since http.client gives its own reference away when the server will close
        self.lines.add(self)
        _attempt.sent = False  # what a proxy was told does not count
        if _attempt.until is not None and time.monotonic() > _attempt.until:
            raise TimeoutError("connected too late")

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        _attempt.sent = True
        super().send(data)  # type: ignore[misc]


class _Http(_Line, HTTPConnection):
    pass


class _Https(_Line, HTTPSConnection):
    pass


def line_of(response: Response) -> socket.socket | None:
    """The socket under a response that is still being read."""
    return getattr(response.connection, "line", None)


class Channel:
    """A pool of connections to one server for one purpose. Thread-safe."""

    def __init__(self, access: Access, *, kept: int, writable: bool = False, connect_s: float = CONNECT_S) -> None:
        """`kept`: idle connections that stay open; more are made as needed."""
        parts = urlsplit(access.server)
        self.access = access
        self.where = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        # A proxy wants whole addresses, except inside a tunnel.
        self._prefix = access.server if access.proxy is not None and parts.scheme == "http" else parts.path.rstrip("/")
        self._writable = writable
        self._connect_s = connect_s
        self._lines = _Lines()
        self._new_pool = partial(self._make_pool, parts.scheme, parts.hostname or "", parts.port, kept)
        self._pool = self._new_pool()
        self.cuts = 0
        """How often `shut` was called: who began before must not go on."""
        self.closed = False

    def _make_pool(self, scheme: str, host: str, port: int | None, kept: int) -> urllib3.HTTPConnectionPool:
        access = self.access
        common: dict[str, Any] = {"maxsize": kept, "block": False, "retries": False, "socket_options": SOCKET_OPTIONS}
        if access.insecure:
            urllib3.disable_warnings(
                urllib3.exceptions.InsecureRequestWarning
            )  # the operator's choice; it would be written over the screen
        tls: dict[str, Any] = {"ssl_context": access.tls} if scheme == "https" else {}
        if scheme == "https" and access.tls_server_name:
            tls["server_hostname"] = access.tls_server_name
        pool: urllib3.HTTPConnectionPool
        if access.proxy is not None:
            manager = urllib3.ProxyManager(access.proxy.reveal(), num_pools=1, **common, **tls)
            pool = manager.connection_from_host(host, port, scheme)
        elif scheme == "https":
            pool = urllib3.HTTPSConnectionPool(host, port, **common, **tls)
        else:
            pool = urllib3.HTTPConnectionPool(host, port, **common)
        pool.ConnectionCls = partial(_Https if scheme == "https" else _Http, lines=self._lines)  # type: ignore[assignment]  # only ever called
        return pool

    def open(
        self,
        method: str,
        path: str,
        question: Question,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        accept: str = "application/json",
        gzip: bool = False,
        deadline_s: float | None = 10.0,
    ) -> Response:
        """One request; the answer (2xx) is unread: close it, or read it to its end. `deadline_s` is for its head; None waits.

        Raises domain.errors; Closed when `shut` or `close` came in between.
        """
        cuts = self.cuts
        response = self.ask(method, path, query=query, body=body, accept=accept, gzip=gzip, deadline_s=deadline_s)
        if 200 <= response.status < 300:
            return response
        data = self.read(response, 5.0, limit=_BODY_LIMIT)
        self.check(cuts)
        raise refusal(response.status, {k.lower(): v for k, v in response.headers.items()}, data, question, self.where)

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        accept: str = "application/json",
        content: str = "application/json",
        gzip: bool = False,
        deadline_s: float | None = 10.0,
    ) -> Response:
        """As `open`, but any status but 401 is an answer. `content` is the type of the body. Raises Refused at a closed gate."""
        acts = not gate.is_harmless(method, path, query, body)
        if acts and not self._writable:
            raise gate.refusal(method, path)
        cuts = self.cuts
        self.check(cuts)
        until = time.monotonic() + deadline_s if acts and deadline_s is not None else None
        url = f"{self._prefix}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "User-Agent": "coldtui", "Accept-Encoding": "gzip" if gzip else "identity"}
        if body is not None:
            headers["Content-Type"] = content
        response = self._send(method, url, headers, body, deadline_s, cuts, acts, until)
        if response.status == 401:
            response.close()
            if not self.access.auth.renew():
                raise self.access.refused()
            if self.access.certificate is not None:
                self._pool = self._new_pool()  # a plugin may have brought a new one; idle connections would still show the old
            response = self._send(method, url, headers, body, deadline_s, cuts, acts, until)
            if response.status == 401:
                response.close()
                raise self.access.refused()
        return response

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline_s: float | None,
        cuts: int,
        acts: bool,
        until: float | None,
    ) -> Response:
        """`acts`: it changes something and is sent once. `until`: by `time.monotonic`; what has not been sent by then is not sent at all."""
        connect_s = self._connect_s if deadline_s is None else min(self._connect_s, deadline_s)
        timeout = urllib3.Timeout(connect=connect_s, read=deadline_s)
        sent = urllib3.HTTPHeaderDict({**headers, **self.access.auth.headers()})
        for name, value in self.access.impersonate:
            sent.add(name, value)
        for attempt in (1, 2):
            begun = time.monotonic()
            if until is not None and begun > until:
                raise LineTrouble(f"credentials or a slow connection to {self.where} took all the time: not sent", kind="timeout")
            _attempt.sent, _attempt.until = False, until
            try:
                found = self._pool.urlopen(
                    method,
                    url,
                    body=body,
                    headers=sent,
                    timeout=timeout,
                    preload_content=False,
                    redirect=False,
                    retries=False,
                    assert_same_host=False,  # through a proxy the address is a whole one
                )
            except LINE_ERRORS as error:
                self.check(cuts)
                failure = translate(error, self.where, time.monotonic() - begun)
                # The server may close a kept connection just as we use it again. Then nothing was done, and a new one will tell.
                if attempt == 1 and not acts and isinstance(failure, LineTrouble) and failure.kind == "lost" and _stale(error):
                    continue
                # (Before an act urllib3 has looked whether the idle connection is still open; what closes after that is not known.)
                raise (unsure(failure) if acts and _attempt.sent else failure) from error
            if self.cuts != cuts or self.closed:
                found.close()
                self.check(cuts)
            return found
        raise AssertionError("unreachable")

    def read(self, response: Response, deadline_s: float, *, limit: int = 1 << 30) -> bytes:
        """The rest of an answer, within a time however slowly it drips. Then its connection is free, or closed if anything went wrong."""
        cuts, end, size, parts = self.cuts, time.monotonic() + deadline_s, 0, []
        line = line_of(response)
        try:
            while True:
                left = end - time.monotonic()
                if left <= 0:
                    raise LineTrouble(f"{self.where} did not finish its answer within {deadline_s:.0f} s", kind="timeout")
                if line is not None and response.connection is not None:
                    line.settimeout(left)
                part = response.read1(1 << 18)
                if not part:
                    break
                size += len(part)
                if size > limit:
                    break
                parts.append(part)
        except LINE_ERRORS as error:
            response.close()
            self.check(cuts)
            raise translate(error, self.where, deadline_s) from error
        except BaseException:
            response.close()
            raise
        if size > limit or response.connection is not None:
            response.close()
        else:
            response.release_conn()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def json(
        self, path: str, question: Question, *, query: Sequence[tuple[str, str]] = (), gzip: bool = False, deadline_s: float = 10.0
    ) -> bytes:
        """GET the whole of a JSON answer."""
        end = time.monotonic() + deadline_s
        response = self.open("GET", path, question, query=query, gzip=gzip, deadline_s=deadline_s)
        data = self.read(response, max(0.1, end - time.monotonic()))
        if not data.lstrip()[:1] == b"{":
            raise no_api(response.status, {k.lower(): v for k, v in response.headers.items()}, self.where)
        return data

    def check(self, cuts: int) -> None:
        """Raises Closed when the channel was cut since `cuts` was read."""
        if self.closed or self.cuts != cuts:
            raise Closed("the connection was closed by us")

    def shut(self) -> None:
        """Wake every reader: it ends with Closed. New requests work at once."""
        self.cuts += 1
        self._lines.cut()

    def close(self) -> None:
        """For good."""
        self.closed = True
        self.shut()
        self._pool.close()


def _stale(error: BaseException) -> bool:
    return isinstance(error, urllib3.exceptions.ProtocolError)
