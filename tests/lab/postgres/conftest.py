"""One site with real servers for the tests of a module; each test waits until it is whole again before it begins."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coldtui.domain.errors import ColdError
from coldtui.lab import site
from coldtui.lab.apiserver.process import ApiServerProcess
from coldtui.lab.client import LEASES, PG_CLUSTERS, PODS, SLICES, ApiError, Informers, Json, KubeClient
from coldtui.lab.controllers.base import Crew, Lab, Pace, micro, pod_ready
from coldtui.lab.controllers.cnpg import HEALTHY, Operator
from coldtui.lab.postgres.database import Database
from coldtui.lab.postgres.programs import wheel
from coldtui.lab.supervisor import ALL
from tests.lab.conftest import FAST, until

T = TypeVar("T")
PACE = dataclasses.replace(
    FAST, unready=0.5, notice=0.2, crash_backoff=4.0, promotion=0.2, heartbeat=0.5, lease=1.5, grace=3.0, monitor=0.5
)
NS, NAME = "database", "cold-postgres"


class Place:
    """The site and the words to ask it. Coroutines run in the loop of `Site`."""

    def __init__(self, client: KubeClient, lab: Lab, database: Database, kubeconfig: Path) -> None:
        self.client, self.lab, self.database, self.kubeconfig = client, lab, database, kubeconfig

    async def status(self) -> Json:
        found: Json = (await self.client.get(PG_CLUSTERS, NAME, NS))["status"]
        return found

    async def promote(self, target: str) -> None:
        """As ``kubectl cnpg promote`` does; once more where the operator, who writes often, was quicker."""
        async with asyncio.timeout(30):
            while not await self._promoted(target):
                pass

    async def _promoted(self, target: str) -> bool:
        """False: the Cluster changed between look and patch."""
        cluster = await self.client.get(PG_CLUSTERS, NAME, NS)
        status = {
            "targetPrimary": target, "targetPrimaryTimestamp": micro(datetime.now(UTC)), "phase": "Switchover in progress",
            "phaseReason": f"Switching over to {target}",
        }  # fmt: skip
        body = {"metadata": {"resourceVersion": cluster["metadata"]["resourceVersion"]}, "status": status}
        try:
            await self.client.patch(PG_CLUSTERS, NAME, body, NS, sub="status")
        except ApiError as error:
            if not error.conflict:
                raise
            return False
        return True

    async def annotate(self, **annotations: str | None) -> None:
        marks = {f"cnpg.io/{key}": value for key, value in annotations.items()}
        await self.client.patch(PG_CLUSTERS, NAME, {"metadata": {"annotations": marks}}, NS)

    async def manager(self, name: str) -> Json:
        """``/pg/status`` through the API server."""
        return await self.client.call("GET", f"/api/v1/namespaces/{NS}/pods/https:{name}:8000/proxy/pg/status")

    async def endpoints(self, service: str) -> list[str]:
        slices = (await self.client.list(SLICES, NS, labels=f"kubernetes.io/service-name={NAME}-{service}"))[0]
        return sorted(e["targetRef"]["name"] for s in slices for e in s["endpoints"] if e["conditions"]["ready"])

    async def lease(self) -> str:
        return str((await self.client.get(LEASES, NAME, NS))["spec"].get("holderIdentity"))

    async def pod(self, name: str) -> Json:
        return await self.client.get(PODS, name, NS)

    def sql(self, name: str, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        return self.database.servers[name].sql(statement, database)

    async def whole(self) -> bool:
        """Healthy as the servers have it too: one primary, two standbys that stream."""
        status = await self.status()
        if status["phase"] != HEALTHY or status["readyInstances"] != 3 or status["currentPrimary"] != status["targetPrimary"]:
            return False
        try:
            rows = await asyncio.to_thread(
                self.sql,
                status["currentPrimary"],
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()",
            )
        except ColdError:
            return False
        pods = (await self.client.list(PODS, NS, labels="cnpg.io/podRole=instance"))[0]
        return rows == [(2,)] and len(pods) == 3 and all(map(pod_ready, pods))

    async def calm(self) -> None:
        """End every fault that is made of an order or of the Cluster's spec."""
        orders = self.database.managers.orders
        for name in list(orders.wedged):
            self.database.servers[name].thaw()
            self.database.managers.by_name[name].gauge.frozen = False
        for part in dataclasses.fields(orders):
            held = getattr(orders, part.name)
            setattr(orders, part.name, False) if isinstance(held, bool) else held.clear()
        for name in self.database.servers:
            self.database.servers.close_archive(False, name)
        for machine in list(self.lab.machines.down):
            self.lab.machines.power_on(machine)
        self.database.servers.fail_archiving(False)
        await self.client.patch(PG_CLUSTERS, NAME, {"spec": {"failoverDelay": 0, "postgresql": {"synchronous": None}}}, NS)
        await self.annotate(fencedInstances=None, hibernation=None)

    async def until_whole(self, seconds: float = 40.0) -> str:
        """Returns the primary."""
        await until(self.whole, seconds)
        return str((await self.status())["currentPrimary"])


@asynccontextmanager
async def place(folder: Path, pace: Pace = PACE) -> AsyncIterator[Place]:
    with ApiServerProcess(folder / "api") as server:
        async with KubeClient.from_kubeconfig(server.kubeconfig) as client, contextlib.AsyncExitStack() as stack:
            seed = site.build(datetime.now(UTC))
            await site.load(client, [*seed.objects, *seed.derived])
            database = await asyncio.to_thread(Database.prepare, folder / "postgres")
            stack.push_async_callback(database.aclose)
            lab = Lab(client, Informers(client), pace, still=True)
            database.attach(lab)
            crew = await Crew.start(lab, [database.operator if made is Operator else made for made in ALL] + [database.vip])
            stack.push_async_callback(crew.stop)
            await database.start()
            yield Place(client, lab, database, server.kubeconfig)


class Site:
    """Runs a `Place` in a thread."""

    def __init__(self, folder: Path, pace: Pace = PACE) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._stack = contextlib.AsyncExitStack()
        self.place: Place = self._do(self._stack.enter_async_context(place(folder, pace)))

    def _do(self, work: Coroutine[Any, Any, T], seconds: float = 120.0) -> T:
        """Raises TimeoutError. Whatever ends the wait, a test's own limit too, ends the work: it would go on under the tests after this one."""
        ended = threading.Event()

        async def watched() -> T:
            try:
                return await work
            finally:
                ended.set()

        asked = asyncio.run_coroutine_threadsafe(watched(), self.loop)
        try:
            return asked.result(seconds)
        except BaseException:
            if not ended.is_set() and asked.cancel():
                ended.wait(60)
            raise

    def play(self, scene: Callable[[Place], Awaitable[T]]) -> T:
        async def scened() -> T:
            await self.place.until_whole()
            try:
                return await scene(self.place)
            except BaseException:
                await self.place.calm()  # its failure is not to be that of the tests after it
                raise

        return self._do(scened(), 300.0)

    def close(self) -> None:
        self._do(self._stack.aclose())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


@contextlib.contextmanager
def site_in(folder: Path, pace: Pace = PACE) -> Iterator[Site]:
    """A site with three real servers, an operator and a VIP."""
    try:
        wheel()
    except ColdError as error:
        pytest.skip(str(error))
    made = Site(folder, pace)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("site")) as made:
        yield made
