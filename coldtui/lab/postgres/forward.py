"""A TCP forwarder on loopback: what a Service's address is to its clients. Where it leads is asked at each new connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from coldtui.lab.postgres.server import HOST

CONNECT_S = 2.0
BUFFER_B = 1 << 18


class Forwarder:
    """Listens for good; leads to one port, or to none: then connections are refused (reset) or, when silent, never answered."""

    def __init__(self, target: Callable[[], int | None], port: int = 0) -> None:
        """``target`` says at each connection which port is meant; None: nobody is there."""
        self._target, self.port = target, port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.silent = False
        """Nobody announces the address: connections are taken and nothing comes; those that were open hang."""
        self._loud = asyncio.Event()
        self._loud.set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self.port, limit=BUFFER_B)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    def mute(self, silent: bool) -> None:
        """The announcer is gone, or there is one (again)."""
        self.silent = silent
        (self._loud.clear if silent else self._loud.set)()

    def cut(self) -> None:
        """Break what is open: another node announces the address and knows nothing of these connections."""
        for link in self._links:
            link.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._loud.wait()
            port = self._target()
            if port is not None:
                await self._join(reader, writer, port)
        except (OSError, TimeoutError):
            pass  # the server is not there: the client is told by a reset
        except asyncio.CancelledError:
            pass  # cut: this task is nobody else's
        finally:
            self._links.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        async with asyncio.timeout(CONNECT_S):
            far, out = await asyncio.open_connection(HOST, port, limit=BUFFER_B)
        pumps = [asyncio.create_task(self._pump(reader, out)), asyncio.create_task(self._pump(far, writer))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            out.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(BUFFER_B):
            await self._loud.wait()
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):  # the last words of a server must arrive before the end
            sink.write_eof()
            await asyncio.sleep(0.05)
