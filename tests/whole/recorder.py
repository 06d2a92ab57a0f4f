"""A relay before an API server that remembers every request, so that a test can say "no mutating request was sent".

    with Recorder(kubeconfig, tmp_path / "recorder") as recorder:
        ...                                    # whatever uses recorder.kubeconfig
    assert recorder.mutating() == []

It ends the TLS of the client with a certificate of an authority of its own, and speaks to the server with the credentials of the kubeconfig
that it was given; the client needs none. Answers, watches and logs go through byte by byte as they come, upgraded connections both ways.
It has its own idea of what changes something, and shares no code with the program's write gate.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from coldtui.adapters.kube.credentials import Access, access
from coldtui.adapters.kube.kubeconfig import choose
from tests.controlplane.certificates import Authority

_HEAD_LIMIT = 1 << 20
_CHUNK = 1 << 16
_START_S, _END_S = 10.0, 2.0
_HOP = {"host", "authorization", "proxy-connection"}
_REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came."""

    method: str
    path: str
    """Without the query, decoded."""
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def dry(self) -> bool:
        """It asks for a dry run where the server looks for it: in the body of deletions that have one, else in the query."""
        if self.method == "DELETE" and self.body:
            return bool(self.json.get("dryRun") == ["All"])
        return [value for name, value in self.query if name == "dryRun"] == ["All"]

    @property
    def mutates(self) -> bool:
        """Whether it could change anything."""
        if "upgrade" in self.headers:
            return True  # exec, attach, port-forward: a GET with all power
        if self.method in {"GET", "HEAD", "OPTIONS"}:
            return False
        return not self.dry and self.path.rpartition("/")[2] not in _REVIEWS

    def __str__(self) -> str:
        return f"{self.method} {self.path} {dict(self.query)} {self.body[:200].decode(errors='replace')}"


class Recorder:
    """The relay; a context manager. `requests` may be read at any time, from any thread."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        """`kubeconfig`: of the server, with credentials. `folder`: for the relay's certificate and kubeconfig; made if need be."""
        self.requests: list[Recorded] = []
        """In the order in which they came; a request is here before the server has seen it."""
        self.kubeconfig = folder / "recorder.kubeconfig"
        """For the client."""
        self.server = ""
        """URL of the relay."""
        self._access: Access = access(choose((kubeconfig,), None), {})
        self._authority = Authority(folder / "pki")
        self._losing: Callable[[Recorded], bool] | None = None
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def mutating(self) -> list[Recorded]:
        """What could have changed anything, so far."""
        return [request for request in list(self.requests) if request.mutates]

    def matching(self, method: str, ending: str) -> list[Recorded]:
        """Requests of a method whose path ends so."""
        return [request for request in list(self.requests) if request.method == method and request.path.endswith(ending)]

    def lose_answers(self, of: Callable[[Recorded], bool] | None) -> None:
        """From now on the server does what `of` chooses, but its answer never arrives: the connection is closed instead. None: no more."""
        self._losing = of

    def drop(self) -> None:
        """Close all connections that are open now."""
        self._on_loop(self._end_tasks())

    # --- life

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(_START_S), "the recorder did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._on_loop(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_S)
        assert not self._thread.is_alive()
        self._loop.close()

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._listening = self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()

    async def _listen(self) -> asyncio.Server:
        pair = self._authority.server("recorder", dns=("localhost",), addresses=("127.0.0.1",))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.certificate, pair.key)
        made = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls, limit=_HEAD_LIMIT)
        self.server = f"https://127.0.0.1:{made.sockets[0].getsockname()[1]}"
        ca = base64.b64encode(self._authority.certificate.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "recorded", "cluster": {"server": self.server, "certificate-authority-data": ca}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "nobody"}}],
            "current-context": "recorded",
        }
        self.kubeconfig.write_text(json.dumps(config))  # JSON is YAML
        return made

    async def _close(self) -> None:
        self._listening.close()
        await self._end_tasks()

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one connection

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._relay(_Side(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, client: _Side) -> None:
        """One connection to the server for each of the client's, so that keeping alive and closing mean the same on both sides."""
        parts = urlsplit(self._access.server)
        server: _Side | None = None
        try:
            server = _Side(*await asyncio.open_connection(parts.hostname, parts.port, ssl=self._access.tls, limit=_HEAD_LIMIT))
            back = self._loop.create_task(_pump(server, client))
            try:
                await self._requests(client, server, back)
                await client.end()
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return  # either side went away: the other is told by closing
        finally:
            for side in (client, server):
                if side is not None:
                    side.writer.transport.abort()

    async def _requests(self, client: _Side, server: _Side, back: asyncio.Task[None]) -> None:
        while True:
            waiting = self._loop.create_task(client.reader.readuntil(b"\r\n\r\n"))
            try:
                await asyncio.wait({waiting, back}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    return  # the server has closed, and all that it said is through
                head = waiting.result()
            finally:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            recorded, raw_body = await _request(client.reader, head)
            self.requests.append(recorded)
            if self._losing is not None and self._losing(recorded):
                server.lost = True
            server.writer.write(self._forwarded(head) + raw_body)
            await server.writer.drain()
            if "upgrade" in recorded.headers:
                forth = self._loop.create_task(_pump(client, server))
                await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
                forth.cancel()
                return

    def _forwarded(self, head: bytes) -> bytes:
        """The head with our credentials in place of the client's."""
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        kept = [line for line in lines if line.partition(":")[0].strip().lower() not in _HOP]
        kept += [f"{name}: {value}" for name, value in self._access.auth.headers().items()]
        kept.append(f"Host: {urlsplit(self._access.server).netloc}")
        return "\r\n".join([first, *kept, "", ""]).encode("latin-1")


@dataclass
class _Side:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lost: bool = False
    """What comes from here next is thrown away, and the connections are closed."""

    async def end(self) -> None:
        """Close once all that was written has left."""
        self.writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), _END_S)


async def _pump(source: _Side, sink: _Side) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while part := await source.reader.read(_CHUNK):
            if source.lost:
                return
            sink.writer.write(part)
            await sink.writer.drain()


async def _request(reader: asyncio.StreamReader, head: bytes) -> tuple[Recorded, bytes]:
    """What was asked, and its body as it stood on the wire."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = body = await reader.readexactly(int(headers.get("content-length", "0")))
    if "chunked" in headers.get("transfer-encoding", "").lower():
        raw, body = await _chunks(reader)
    parts = urlsplit(target)
    return Recorded(method, unquote(parts.path), tuple(parse_qsl(parts.query, keep_blank_values=True)), headers, body), raw


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(as it stood, decoded)."""
    raw, body = b"", b""
    while True:
        size = await reader.readuntil(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        part = await reader.readexactly(length + 2)
        raw, body = raw + size + part, body + part[:length]
        if length == 0:
            return raw, body
