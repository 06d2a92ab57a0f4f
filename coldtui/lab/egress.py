"""The way from a real API server to what the pods of the lab serve: there is no pod network, and it refuses to proxy to loopback.

It can be told to send all that goes to pods through a proxy (``--egress-selector-config-file``, `configuration`): this one, on a unix socket, which
answers ``CONNECT 10.42.1.7:8000`` with a line to the port that stands in the annotation ``lab.coldtui/proxy-8000`` of the pod of that address.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from coldtui.lab.apiserver.pod_api import PROXIED
from coldtui.lab.client import PODS, Json
from coldtui.lab.controllers.base import Lab, finished

CONNECT_S = 5.0
BUFFER_B = 1 << 16


def configuration(socket: Path) -> Json:
    """The file that the API server is given."""
    way = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": str(socket)}}}
    return {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": way}],
    }


class Egress:
    """Serves CONNECT while it is started."""

    def __init__(self, lab: Lab, socket: Path) -> None:
        self.socket = socket
        self._pods = lab.informers.of(PODS)
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.socket))

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def place(self, address: str) -> tuple[str, int] | None:
        """Where ``IP:PORT`` of a pod is served; None: nowhere."""
        ip, _, port = address.rpartition(":")
        for pod in self._pods.values():
            if (pod.get("status") or {}).get("podIP") == ip and not finished(pod):
                host, _, there = str((pod["metadata"].get("annotations") or {}).get(f"{PROXIED}{port}", "")).rpartition(":")
                if there.isdigit():
                    return host, int(there)
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._connect(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one of the two has gone: the other is told by the end of the line
        except asyncio.CancelledError:
            pass  # closed
        finally:
            self._links.discard(task)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_S):
            head = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace").split()
        found = self.place(head[1]) if head[:1] == ["CONNECT"] else None
        try:
            if found is None:
                raise ConnectionRefusedError
            async with asyncio.timeout(CONNECT_S):
                far, out = await asyncio.open_connection(*found)
        except (OSError, TimeoutError):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pumps = [asyncio.create_task(_pump(reader, out)), asyncio.create_task(_pump(far, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            out.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(BUFFER_B):
            sink.write(data)
            await sink.drain()
