"""The instance managers of the cluster together: their loops, their status ports, and the seam to the kubelet."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from coldtui.domain.errors import ColdError, Unreachable
from coldtui.lab.apiserver import pki
from coldtui.lab.apiserver.pod_api import PROXIED
from coldtui.lab.client import PG_CLUSTERS, PODS, ApiError, Json, Key
from coldtui.lab.controllers.base import Lab, Process, deleting, pod_ready
from coldtui.lab.postgres.manager import Manager
from coldtui.lab.postgres.orders import Orders
from coldtui.lab.postgres.server import HOST
from coldtui.lab.postgres.servers import Servers
from coldtui.lab.seeds.postgres import CLUSTER, NAMESPACE

log = logging.getLogger(__name__)

STATUS_PORT = 8000


@dataclass(slots=True)
class Managers:
    """`Processes` for the kubelets."""

    servers: Servers
    folder: Path
    """Certificates of the status ports."""
    cluster_key: Key = (NAMESPACE, CLUSTER)
    orders: Orders = field(default_factory=Orders)
    by_name: dict[str, Manager] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """Where the status of an instance is answered."""
    _lab: Lab | None = None
    _listeners: list[Callable[[Key], None]] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _runners: list[web.AppRunner] = field(default_factory=list)

    def attach(self, lab: Lab) -> None:
        """Before the controllers are built: ask for what we follow."""
        self._lab = lab
        lab.processes = self
        pods, clusters = lab.informers.of(PODS), lab.informers.of(PG_CLUSTERS)
        for name, server in self.servers.items():
            self.by_name[name] = Manager(
                lab, server, self.servers, pods, clusters, self.cluster_key, self.orders, lambda name=name: self._changed(name)  # type: ignore[misc]
            )  # fmt: skip
        pods.listen(self._pod_changed)
        clusters.listen(lambda before, after: self._wake())
        lab.machines.listen(lambda machine: self._wake())

    async def start(self) -> None:
        """Once the caches are filled: adopt the pods that run, answer for them, work."""
        for manager in self.by_name.values():
            if (pod := manager.pod) is not None and pod_ready(pod):
                manager.adopt(pod["metadata"]["uid"])
        await asyncio.to_thread(pki.prepare, self.folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(str(self.folder / "serving.crt"), str(self.folder / "serving.key"))
        for name, manager in self.by_name.items():
            self.ports[name] = await self._serve(manager, context)
            self._tasks.append(asyncio.create_task(self._point(manager), name=f"status port {name}"))

        self._tasks.append(asyncio.create_task(self._work(), name="instance-managers"))

    async def _work(self) -> None:
        """Fill the data directories, then run."""
        try:
            await asyncio.to_thread(self.servers.fill)
        except (ColdError, OSError) as error:
            log.error("the database has no data: %s", error)
            return
        async with asyncio.TaskGroup() as group:
            for name, manager in self.by_name.items():
                group.create_task(manager.run(), name=f"instance-manager {name}")

    async def aclose(self) -> None:
        """End the loops and the servers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for manager in self.by_name.values():
            await manager.aclose()
        for runner in self._runners:
            await runner.cleanup()
        await asyncio.to_thread(self.servers.close)

    # --- Processes

    def listen(self, listener: Callable[[Key], None]) -> None:
        self._listeners.append(listener)

    def state(self, pod: Json) -> Process | None:
        manager = self._of(pod)
        if manager is None:
            return None
        return manager.state if manager.uid == pod["metadata"]["uid"] else Process(ready=False)

    def begin(self, pod: Json) -> None:
        if (manager := self._of(pod)) is not None:
            manager.begin(pod["metadata"]["uid"])

    def _of(self, pod: Json) -> Manager | None:
        meta = pod["metadata"]
        labels = meta.get("labels") or {}
        ours = (meta["namespace"], labels.get("cnpg.io/cluster")) == self.cluster_key and labels.get("cnpg.io/podRole") == "instance"
        return self.by_name.get(meta["name"]) if ours else None

    # --- changes

    def _changed(self, name: str) -> None:
        for listener in self._listeners:
            listener((self.cluster_key[0], name))

    def _pod_changed(self, before: Json | None, after: Json | None) -> None:
        pod = after or before
        if pod is not None and self._of(pod) is not None:
            self._wake()

    def _wake(self) -> None:
        for manager in self.by_name.values():
            manager.wake()

    # --- status ports

    async def _serve(self, manager: Manager, context: ssl.SSLContext) -> int:
        app = web.Application()

        async def status(request: web.Request) -> web.StreamResponse:
            pod = manager.pod
            if pod is not None and self._lab is not None and pod["spec"].get("nodeName") in self._lab.machines.down:
                await asyncio.sleep(60)  # no route: nothing comes back, not even a refusal
            try:
                found = await manager.status()
            except Unreachable as error:
                return web.Response(text=error.detail or str(error), status=500)
            if found is None:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            return web.json_response(found)

        async def health(request: web.Request) -> web.Response:
            return web.Response(text="OK") if manager.state.ready else web.Response(text="not ready", status=500)

        app.router.add_get("/pg/status", status)
        app.router.add_get("/healthz", health)
        app.router.add_get("/readyz", health)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
        return int(runner.addresses[0][1])

    async def _point(self, manager: Manager) -> None:
        """Keep the mark on the pod by which the API server finds its status port."""
        assert self._lab is not None
        mark, place = f"{PROXIED}{STATUS_PORT}", f"{HOST}:{self.ports[manager.name]}"
        while True:
            pod = manager.pod
            if pod is not None and not deleting(pod) and (pod["metadata"].get("annotations") or {}).get(mark) != place:
                try:
                    patch = {"metadata": {"uid": pod["metadata"]["uid"], "annotations": {mark: place}}}
                    await self._lab.client.patch(PODS, manager.name, patch, self.cluster_key[0])
                except (ApiError, Unreachable):
                    pass  # asked again
            await asyncio.sleep(0.5)
