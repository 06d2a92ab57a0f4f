"""Runs a whole lab in one process beside the API server's: seeds, controllers, control socket, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from coldtui.domain.errors import ColdError, UsageError
from coldtui.domain.text import plain
from coldtui.lab import crowd, site
from coldtui.lab.apiserver.process import ApiServerError, ApiServerProcess
from coldtui.lab.client import DEPLOYMENTS, Informers, Json, KubeClient
from coldtui.lab.control import ApiPower, ControlSocket, Faults
from coldtui.lab.controllers.base import Controller, Crew, Lab, Machines, Pace
from coldtui.lab.controllers.budgets import Budgets
from coldtui.lab.controllers.cnpg import Operator
from coldtui.lab.controllers.endpoints import Endpoints
from coldtui.lab.controllers.kubelet import FAIL
from coldtui.lab.controllers.murmur import Murmur
from coldtui.lab.controllers.nodes import NodeLifecycle
from coldtui.lab.controllers.protection import ClaimProtection
from coldtui.lab.controllers.scheduler import Scheduler
from coldtui.lab.controllers.workloads import WORKLOADS
from coldtui.lab.hosts.fleet import Fleet
from coldtui.lab.keeper import Keeper
from coldtui.lab.play import PLAYERS
from coldtui.lab.postgres.faults import PgFaults
from coldtui.lab.running import Running, announce, labs, withdraw
from coldtui.lab.seeds.parts import Host
from coldtui.lab.troubles import Troubles

if TYPE_CHECKING:
    from coldtui.lab.postgres.database import Database

ALL: tuple[type[Controller], ...] = (NodeLifecycle, Scheduler, *WORKLOADS, Budgets, ClaimProtection, Endpoints, *PLAYERS, Murmur)
SOCKET_PATH_BYTES = 100
"""Unix socket paths are limited to 107 bytes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A big site: nodes and pods in all."""

    nodes: int
    pods: int

    @classmethod
    def parse(cls, text: str) -> Scale:
        """``1000x20000``. UsageError for anything else."""
        nodes, cross, pods = text.lower().partition("x")
        if not cross or not nodes.isdigit() or not pods.isdigit() or int(nodes) <= len(site.HOSTS) or int(pods) < 100:
            raise UsageError(f"--scale {text} cannot be read", hint="NODESxPODS, such as 1000x20000; at least 6 nodes and 100 pods")
        return cls(int(nodes), int(pods))


@dataclass(frozen=True, slots=True)
class Options:
    """What kind of lab is wanted."""

    dir: Path | None = None
    """Where it lives; None: a temporary folder that is removed at the end."""
    scale: Scale | None = None
    churn: float = 0.0
    """Pod changes a second."""
    still: bool = False
    """Values do not move and nothing happens by itself; heartbeats go on."""
    scenario: str = ""
    version: str = site.VERSION
    tether: bool = False
    """End when stdin ends: the lab of a console goes with the console."""
    pace: Pace = field(default_factory=Pace)
    postgres: bool = False
    """Real servers behind the Cluster; only a site of ordinary size has them."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What is printed when everything is there."""

    config: str
    kubeconfig: str
    view_kubeconfig: str
    server: str
    s3_endpoint: str | None
    postgres_dsn: str | None
    """Of the VIP, without the password."""
    postgres_passfile: str | None
    """The passwords, for PGPASSFILE."""
    pid: int
    control: str
    dir: str
    ssh: dict[str, str]
    """Node -> where its SSH server listens."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something that is wrong from the start."""

    about: str
    fault: str = ""
    deployment: str = ""
    """In production; its first container gets ``image``, or its template the annotation ``fail``."""
    image: str = ""
    fail: str = ""


SCENARIOS: dict[str, Scenario] = {
    "calm": Scenario("nothing is wrong"),
    "node-lost": Scenario("a worker has lost power", fault="node-down"),
    "api-paused": Scenario("the API server is frozen", fault="api-paused"),
    "api-down": Scenario("the API server refuses connections", fault="api-down"),
    "metrics-down": Scenario("the metrics API is unavailable", fault="metrics-down"),
    "forbidden": Scenario("leases and metrics are refused", fault="forbidden"),
    "rollout-stuck": Scenario(
        "a rollout waits for an image that does not exist",
        deployment="customer-portal",
        image="registry.cold.example/customer-portal:nope-v2.2.0",
    ),
    "crash-loop": Scenario("the new release of the backend crashes", deployment="cold-backend", fail="CrashLoopBackOff"),
    "budget-blocks": Scenario("a budget on k3s-worker-3 allows no disruption for two minutes", fault="budget-blocks"),
    "budget-forever": Scenario("a budget on k3s-worker-3 can never allow a disruption", fault="budget-forever"),
    "two-budgets": Scenario("two budgets select one pod on k3s-worker-3", fault="two-budgets"),
    "slow-pod": Scenario("a pod on k3s-worker-3 takes 40 s to stop", fault="slow-pod"),
    "node-not-back": Scenario("the next machine that reboots does not come back", fault="node-not-back"),
    "pg-lagging": Scenario("a standby receives but does not replay, 16 MiB behind", fault="pg-lagging"),
    "pg-cut-off": Scenario("a standby receives no WAL any more, 16 MiB behind", fault="pg-cut-off"),
    "pg-held-back": Scenario("every standby lacks the newest 16 MiB of the primary", fault="pg-held-back"),
    "pg-standby-lost": Scenario("a standby crashes at each start", fault="pg-standby-lost"),
    "pg-diverged": Scenario("a standby crashes at each start until it is copied anew", fault="pg-diverged"),
    "pg-receiver-held": Scenario("nobody is elected when the primary dies: a WAL receiver still runs", fault="pg-receiver-held"),
    "pg-primary-killed": Scenario("the primary was killed under load", fault="pg-primary-killed"),
    "pg-primary-wedged": Scenario("the primary's server is frozen, and its lease is renewed", fault="pg-primary-wedged"),
    "pg-status-cut": Scenario("the status of the primary cannot be read", fault="pg-status-cut"),
    "pg-primary-unready": Scenario("the primary is not ready, though its server works", fault="pg-primary-unready"),
    "pg-split-brain": Scenario("two instances say that they are primary", fault="pg-split-brain"),
    "pg-blocking": Scenario("three sessions wait for each other in a chain", fault="pg-blocking"),
    "pg-load": Scenario("a client writes through the VIP", fault="pg-load"),
    "archiver-failing": Scenario("no WAL segment can be archived", fault="archiver-failing"),
    "switchover-ignored": Scenario("nobody acts when a switchover is asked for", fault="switchover-ignored"),
    "failover-stalls": Scenario("nobody is elected when the primary dies, as in CloudNativePG 1.30.0", fault="failover-stalls"),
    "failover-delay": Scenario("a failover begins only five minutes after the primary has failed", fault="failover-delay"),
    "quorum-lost": Scenario("failover quorum is on and cannot be met", fault="quorum-lost"),
    "operator-down": Scenario("the operator of CloudNativePG does not run", fault="operator-down"),
    "ssh-down": Scenario("SSH of k3s-worker-3 refuses connections", fault="ssh-down"),
    "ssh-hostkey": Scenario("k3s-worker-3 shows another host key", fault="ssh-hostkey"),
    "sudo-password": Scenario("sudo on k3s-worker-3 wants a password", fault="sudo-password"),
}


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for the one line."""
    sys.stderr.write(f"lab: {text}\n")
    sys.stderr.flush()


class Supervisor:
    """One lab from start to end."""

    def __init__(self, options: Options) -> None:
        if not site.is_version(options.version):
            raise UsageError(f"--k3s-version {plain(options.version)} is no version of K3s", hint=f"write it as {site.VERSION}")
        if options.scenario and options.scenario not in SCENARIOS:
            raise UsageError(f"unknown scenario {options.scenario}", hint="known: " + ", ".join(sorted(SCENARIOS)))
        self.options = options
        self.machines = Machines()
        self._made_dir = options.dir is None
        self.dir = options.dir.absolute() if options.dir is not None else Path(tempfile.mkdtemp(prefix="coldtui-demo-"))
        self._stack = contextlib.AsyncExitStack()
        self._stopped = asyncio.Event()
        self.faults: Faults
        self.lab: Lab
        self.hosts: Fleet
        self.database: Database | None = None

    async def run(self, ready: Callable[[Ready], None]) -> None:
        """Start, call ``ready``, and live until `stop`. Raises ColdError; then nothing is left behind."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        async with self._stack:
            starting = asyncio.create_task(self._start())
            stopping = asyncio.create_task(self._stopped.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return
            stopping.cancel()
            ready(starting.result())
            await self._stopped.wait()

    def stop(self) -> None:
        """End the lab soon."""
        self._stopped.set()

    async def _start(self) -> Ready:
        if (other := next((lab for lab in labs() if lab.dir == str(self.dir)), None)) is not None:
            raise ColdError(f"a lab already runs in {self.dir}", detail=f"pid {other.pid}", hint="end it, or choose another --dir")
        self.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        keeper = Keeper()
        self._stack.callback(keeper.close)
        if self._made_dir:
            keeper.remove(str(self.dir))
            self._stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self._tether()
        preparing = self._prepare_database(keeper)
        say("starting the API server")
        loading = asyncio.ensure_future(asyncio.to_thread(importlib.import_module, "coldtui.lab.hosts.server"))  # while the server starts
        server = await self._start_server(keeper)
        client = await self._stack.enter_async_context(KubeClient.from_kubeconfig(server.kubeconfig))
        people = await self._seed(client)
        self.lab = Lab(client, Informers(client, crowd.SELECTORS if people else {}), self.options.pace, self.machines, self.options.still)
        say("starting the controllers")
        await self._start_crew(preparing)
        if people:
            living = crowd.Crowd(client, people, self.options.pace.heartbeat)
            living.start()
            self._stack.push_async_callback(living.stop)
        if self.options.churn:
            await asyncio.to_thread(server.churn, self.options.churn)
        gc.freeze()  # what the site is made of stays; the collector need not look at it again
        await loading
        await self._start_hosts(server)
        control = await self._open_control()
        found = self._write_config(server, control)
        announce(Running(os.getpid(), str(self.dir), str(control), found.config))
        self._stack.callback(withdraw, os.getpid())
        await self._begin_scenario(client)
        return found

    def _prepare_database(self, keeper: Keeper) -> asyncio.Future[Database] | None:
        """Data directories for the servers, made while the API server starts."""
        if not self.options.postgres or self.options.scale is not None:
            return None

        def prepare() -> Database:
            from coldtui.lab.postgres.database import Database  # imports psycopg

            return Database.prepare(self.dir / "postgres", keeper)

        preparing = asyncio.ensure_future(asyncio.to_thread(prepare))

        async def end() -> None:
            with contextlib.suppress(ColdError):  # said by whoever waits for it
                await (await preparing).aclose()

        self._stack.push_async_callback(end)
        return preparing

    async def _start_crew(self, preparing: asyncio.Future[Database] | None) -> None:
        """The controllers and, where they are wanted, the servers; those start on."""
        if preparing is None:
            crew = await Crew.start(self.lab, ALL)
            self._stack.push_async_callback(crew.stop)
            return
        self.database = await preparing
        self.database.attach(self.lab)
        crew = await Crew.start(self.lab, [self.database.operator if made is Operator else made for made in ALL] + [self.database.vip])
        self._stack.push_async_callback(crew.stop)
        await self.database.start()

    async def _start_server(self, keeper: Keeper) -> ApiServerProcess:
        make = functools.partial(
            ApiServerProcess, self.dir / "apiserver", version=self.options.version, arguments=("--still",) if self.options.still else ()
        )
        starting = asyncio.ensure_future(asyncio.to_thread(make))
        try:
            server = await asyncio.shield(starting)
        except ApiServerError as error:
            raise ColdError("the API server did not start", detail=str(error)) from error
        except asyncio.CancelledError:
            (await starting).stop()  # told to stop in this moment: it must not be left behind
            raise
        keeper.add(server.pid)
        self._stack.callback(keeper.drop, server.pid)
        self._stack.callback(self._stop_server, server)
        return server

    async def _start_hosts(self, server: ApiServerProcess) -> None:
        power = ApiPower(server)
        self._stack.callback(power.close)
        self.hosts = Fleet(self.lab, self.dir / "ssh", power.host)
        self._stack.push_async_callback(self.hosts.aclose)
        await self.hosts.start()
        troubles = Troubles(self.lab)
        self._stack.callback(troubles.close)
        database = PgFaults(self.lab, self.database)
        self._stack.push_async_callback(database.aclose)
        self.faults = Faults(server, power, self.hosts, troubles, database)

    def _stop_server(self, server: ApiServerProcess) -> None:
        try:
            server.stop()
        except ApiServerError as error:
            say(str(error))

    async def _seed(self, client: KubeClient) -> list[Host]:
        """Load the site, and the crowd of a big one; returns the crowd's machines."""
        seed = site.build(version=self.options.version)
        await site.load(client, [*seed.objects, *seed.derived])
        scale = self.options.scale
        if scale is None:
            return []
        say(f"loading {scale.nodes} nodes and {scale.pods} pods")
        people = crowd.hosts(scale.nodes - len(site.HOSTS))
        here = sum(o["kind"] == "Pod" for o in [*seed.objects, *seed.derived])
        await crowd.load(client, people, scale.pods - here, self.options.version)
        return people

    def _tether(self) -> None:
        """With ``tether``, the end of stdin is the end of the lab."""
        if not self.options.tether:
            return
        loop = asyncio.get_running_loop()
        handle = sys.stdin.fileno()

        def readable() -> None:
            if not os.read(handle, 4096):
                loop.remove_reader(handle)
                self.stop()

        loop.add_reader(handle, readable)
        self._stack.callback(loop.remove_reader, handle)

    async def _open_control(self) -> Path:
        path = self.dir / "lab.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            short = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="coldtui-lab-"))
            path = Path(short) / "lab.sock"
        path.unlink(missing_ok=True)
        control = ControlSocket(path, self._answer)
        await control.start()
        self._stack.push_async_callback(control.stop)
        return path

    async def _answer(self, command: Json) -> Json:
        """``{"fault": NAME, "on": bool, ...options}``, ``{"status": true}`` or ``{"stop": true}``."""
        if "fault" in command:
            options = {k: v for k, v in command.items() if k not in ("fault", "on")}
            return {"said": await self.faults.switch(str(command["fault"]), bool(command.get("on", True)), options)}
        if command.get("stop"):
            self.stop()
            return {"said": "stopping"}
        return {"pid": os.getpid(), "dir": str(self.dir), "faults": sorted(self.faults.on)}

    def _write_config(self, server: ApiServerProcess, control: Path) -> Ready:
        """The console's ordinary configuration file."""
        context = yaml.safe_load(server.kubeconfig.read_text())["current-context"]
        config = {
            "site": {"name": "cold-site"},
            "kube": {"kubeconfig": str(server.kubeconfig), "context": context},
            "state_dir": str(self.dir / "state"),
            "postgres": {"cluster": "database/cold-postgres"},
            **(self.database.settings() if self.database is not None else {}),
            **self.hosts.settings(),
        }
        (self.dir / "state").mkdir(exist_ok=True, mode=0o700)
        path = self.dir / "config.yaml"
        path.write_text("# Written by the lab; gone with it.\n" + yaml.safe_dump(config, sort_keys=False))
        return Ready(
            str(path), str(server.kubeconfig), str(server.view_kubeconfig), server.url, None,
            self.database.dsn if self.database is not None else None, str(self.database.servers.passfile) if self.database is not None else None,
            os.getpid(), str(control), str(self.dir), self.hosts.addresses(),
        )  # fmt: skip

    async def _begin_scenario(self, client: KubeClient) -> None:
        chosen = SCENARIOS.get(self.options.scenario)
        if chosen is None:
            return
        say(f"scenario {self.options.scenario}: {chosen.about}")
        if chosen.deployment:
            obj = await client.get(DEPLOYMENTS, chosen.deployment, "production")
            first = obj["spec"]["template"]["spec"]["containers"][0]
            template: Json = {}
            if chosen.image:
                template["spec"] = {"containers": [{"name": first["name"], "image": chosen.image}]}
            if chosen.fail:
                template["metadata"] = {"annotations": {FAIL: chosen.fail}}
            await client.patch(DEPLOYMENTS, chosen.deployment, {"spec": {"template": template}}, "production", how="strategic")
        if chosen.fault:
            await self.faults.switch(chosen.fault, True, {})


def as_json(found: Ready) -> Json:
    return asdict(found)
