"""An HTTP server that does exactly what a test says, byte for byte, on loopback."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from coldtui.adapters.kube.credentials import Access, Fixed
from coldtui.adapters.kube.transport import Channel


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int
    """Which connection it came by, counted from 0."""


Answer = Callable[[socket.socket], bool]
"""Writes an answer. True: the connection is kept for the next request."""


class Scripted:
    """Gives its answers in order, whoever asks; `requests` tells what was asked. Without answers left it hangs up."""

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.answers = deque(answers)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        """Connections, whether or not a request came by them."""
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def channel(self, **more: Any) -> Channel:
        """A channel to it, without credentials."""
        return Channel(Access(self.url, None, Fixed()), kept=2, **more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(raw)
            thread = threading.Thread(target=self._serve, args=(raw, self.accepted), daemon=True)
            self.accepted += 1
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            line = self._tls.wrap_socket(raw, server_side=True) if self._tls else raw
            self._connections.append(line)
            with line, line.makefile("rb") as reader:
                try:
                    while (head := self._head(reader, number)) is not None:
                        self.requests.append(head)
                        if not self.answers or not self.answers.popleft()(line):
                            return
                except ValueError:
                    line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    @staticmethod
    def _head(reader: Any, number: int) -> Request | None:
        first = reader.readline().decode("latin-1")
        if not first:
            return None
        method, target, _ = first.split()
        headers = {}
        while (field := reader.readline().decode("latin-1").strip()) != "":
            name, _, value = field.partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        return Request(method, parts.path, dict(parse_qsl(parts.query)), headers, body, number)


# --- answers ---------------------------------------------------------------------------------------------------------------------------


def body(content: bytes | dict[str, Any], code: int = 200, *, keep: bool = True, zipped: bool = False, **headers: Any) -> Answer:
    """A whole answer; keywords are header fields, with `_` for `-`."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    if zipped:
        raw, headers = gzip.compress(raw), {**headers, "Content_Encoding": "gzip"}
    fields = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = f"HTTP/1.1 {code} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"

    def answer(line: socket.socket) -> bool:
        line.sendall(head.encode() + raw)
        return keep

    return answer


def refuse(code: int, reason: str = "", message: str = "no", *, details: dict[str, Any] | None = None, **headers: Any) -> Answer:
    """A Status."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details or {},
    }
    return body(status, code, **headers)


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(raw: bytes) -> bytes:
    return f"{len(raw):x}\r\n".encode() + raw + b"\r\n"


def stream(*parts: bytes, end: bool = True, hold: bool = False) -> Answer:
    """A chunked answer, a part a chunk. `hold`: then silent until either side closes."""

    def answer(line: socket.socket) -> bool:
        line.sendall(CHUNKED + b"".join(chunk(part) for part in parts) + (b"0\r\n\r\n" if end and not hold else b""))
        if hold:
            line.recv(1)
        return end and not hold

    return answer


def bytes_(raw: bytes) -> Answer:
    """These bytes, then the end of the connection."""

    def answer(line: socket.socket) -> bool:
        line.sendall(raw)
        return False

    return answer


def silent(line: socket.socket) -> bool:
    """No answer at all, until either side closes."""
    line.recv(1)
    return False


def event(type_: str, item: dict[str, Any]) -> bytes:
    """A line of a watch."""
    return json.dumps({"type": type_, "object": item}).encode() + b"\n"


def kubeconfig(path: Path, server: str, user: Any = None, **cluster: Any) -> Path:
    """A kubeconfig with one context named `it`."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "it", "user": user or {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    path.write_text(json.dumps(document, indent=1))  # JSON is YAML
    return path
