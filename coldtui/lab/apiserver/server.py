"""The server: listener, TLS, background tasks, and the faults that concern the process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from coldtui.lab.apiserver import bootstrap, pki
from coldtui.lab.apiserver.admin import Admin
from coldtui.lab.apiserver.auth import Authenticator
from coldtui.lab.apiserver.clock import Clock
from coldtui.lab.apiserver.collect import Collector
from coldtui.lab.apiserver.crds import CustomKinds
from coldtui.lab.apiserver.faults import Faults
from coldtui.lab.apiserver.handler import Handler
from coldtui.lab.apiserver.kubelet import Kubelet
from coldtui.lab.apiserver.objects import Objects
from coldtui.lab.apiserver.pod_api import PodApi
from coldtui.lab.apiserver.rbac import Rbac
from coldtui.lab.apiserver.resource_api import ResourceApi
from coldtui.lab.apiserver.resources import Registry
from coldtui.lab.apiserver.simulated import SimulatedKubelet
from coldtui.lab.apiserver.store import Store, encode
from coldtui.lab.apiserver.watch import Streams

Json = dict[str, Any]
_log = logging.getLogger(__name__)
VERSION = "v1.34.4+k3s1"
HISTORY = 8192
BOOKMARK_S = 60.0
MAX_BODY_BYTES = 1 << 30
"""Bulk loads come in one body; a site of 20,000 pods is 140 MB."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is to run."""

    folder: Path
    """Certificates, tokens, kubeconfig files."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    version: str = VERSION
    control: Path | None = None
    """A unix socket for commands; it answers even when the listener is down."""
    history: int = HISTORY
    """Events a resource remembers; a watch from before gets 410."""
    bookmark_s: float = BOOKMARK_S
    still: bool = False
    """Freeze the simulated numbers."""
    crd_groups: frozenset[str] | None = None
    """API groups whose packaged CRDs are installed; None: all."""

    @property
    def minor(self) -> int:
        return int(self.version.lstrip("v").split(".")[1])


class ApiServer:
    """An API server in this process. ``load`` fills it before or while it runs."""

    def __init__(self, options: Options, kubelet: Kubelet | None = None) -> None:
        self.options = options
        self.clock = Clock()
        self.store = Store(options.history)
        self.registry = Registry.built_in()
        self.faults = Faults()
        self.streams = Streams()
        kinds = CustomKinds(self.store, self.registry)
        self.objects = Objects(self.store, self.registry, kinds, self.clock)
        self.rbac = Rbac(self.store)
        self.collector = Collector(self.objects)
        self.admin = Admin(self.objects, self.faults, self.clock, self.streams)
        self.port = options.port
        self._kubelet = kubelet or SimulatedKubelet(self.clock, still=options.still)
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._control: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self.faults.hooks.update(
            {
                "down": self._down,
                "cut": self._cut,
                "expired": self._expire,
                "restored": self._restore,
                "clock-skew": self._skew,
                "metrics-down": self._metrics,
                "half-open": self._half_open,
            }
        )

    @property
    def url(self) -> str:
        return f"https://{self.options.host}:{self.port}"

    def load(self, objects: list[Json]) -> int:
        """Store many objects as they are; returns how many."""
        return self.admin.load(objects)

    async def start(self) -> None:
        """Listen; the kubeconfig files are there when this returns."""
        credentials = pki.prepare(self.options.folder)
        bootstrap.seed(self.objects, self.options.crd_groups)
        # One that asks for a past before the start gets 410, as from a server whose log begins there.
        self.store.compact()
        watch_list = self.options.minor not in (33,) and self.options.minor >= 32
        resources = ResourceApi(
            self.objects, self.faults, self.clock, self.streams, watch_list=watch_list, bookmark_s=self.options.bookmark_s
        )
        handler = Handler(
            objects=self.objects,
            registry=self.registry,
            rbac=self.rbac,
            authenticator=Authenticator(credentials.tokens),
            faults=self.faults,
            clock=self.clock,
            resources=resources,
            pods=PodApi(self.objects, self._kubelet, self.faults, self.clock, self.streams),
            admin=self.admin,
            version=self.options.version,
            ca=credentials.ca.read_bytes(),
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", handler.handle)
        app.on_response_prepare.append(self._stamp)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, keepalive_timeout=300, shutdown_timeout=0.5)
        await self._runner.setup()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(credentials.ca))
        self._tls.load_cert_chain(*map(str, credentials.serving))
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        await self._listen()
        pki.write_kubeconfigs(credentials, self.url)
        self._tasks.append(asyncio.create_task(self.collector.run()))
        if self.options.control is not None:
            self.options.control.unlink(missing_ok=True)
            self._control = await asyncio.start_unix_server(self._command, str(self.options.control))

    async def stop(self) -> None:
        """End everything."""
        self.admin.churn.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._abort()
        if self._control is not None:
            self._control.close()
            if self.options.control is not None:
                self.options.control.unlink(missing_ok=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = self.clock.http_date()
        response.headers.setdefault("Cache-Control", "no-cache, private")

    async def _listen(self) -> None:
        if self._runner is None:
            raise RuntimeError("the server was not started")
        self._site = web.TCPSite(self._runner, self.options.host, self.port, ssl_context=self._tls, reuse_address=True, backlog=512)
        await self._site.start()
        if not self.port:
            self.port = self._runner.addresses[0][1]

    async def _command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(encode(await self.admin.command(line)) + b"\n")
                await writer.drain()
        writer.close()

    # --- faults

    def _abort(self) -> None:
        """Break every connection at once."""
        server = self._runner.server if self._runner is not None else None
        for connection in list(server.connections) if server is not None else []:
            transport = connection.transport
            if transport is not None:
                transport.abort()

    async def _down(self, on: bool, options: Json) -> None:
        if on and self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            self._abort()
        elif not on and self._site is None:
            await self._listen()

    def _cut(self, on: bool, options: Json) -> None:
        if on:
            self.streams.cut()

    def _half_open(self, on: bool, options: Json) -> None:
        if on:
            self.streams.mute()

    def _expire(self, on: bool, options: Json) -> None:
        if on:
            self.store.compact()

    def _restore(self, on: bool, options: Json) -> None:
        if on:
            self.store.rewind(int(options.get("back", 1000)))
            self._abort()

    def _skew(self, on: bool, options: Json) -> None:
        self.clock.skew_seconds = float(options.get("skew_seconds", 3600)) if on else 0.0

    def _metrics(self, on: bool, options: Json) -> None:
        bootstrap.say_metrics(self.objects, available=not on)
