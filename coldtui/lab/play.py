"""Seeds the site on any API server and plays its machines: ``python -m coldtui.lab.play KUBECONFIG`` until SIGTERM.

On a real control plane its own scheduler and controllers do the rest, so only what it lacks runs here: kubelets, MetalLB, CloudNativePG,
Longhorn, backups. The CRDs must be installed. One JSON line on stdout says that the site is there. With ``--hosts DIR`` each node has a host
that SSH reaches; the line then has their addresses (``ssh``) and the console's settings for them (``settings``). With ``--postgres DIR`` real
servers are behind the Cluster, and with ``--egress SOCKET`` an API server that was told of that socket reaches their status ports.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from coldtui.domain.errors import ColdError
from coldtui.lab import site
from coldtui.lab.client import Informers, Json, KubeClient
from coldtui.lab.controllers.backups import BACKUPS
from coldtui.lab.controllers.base import Controller, Crew, Lab, Machines, Pace
from coldtui.lab.controllers.cnpg import Operator
from coldtui.lab.controllers.kubelet import Kubelet
from coldtui.lab.controllers.longhorn import LONGHORN
from coldtui.lab.controllers.metallb import MetalLB
from coldtui.lab.controllers.nodes import NodeHeartbeats
from coldtui.lab.egress import Egress
from coldtui.lab.hosts.fleet import Fleet

if TYPE_CHECKING:
    from coldtui.lab.postgres.database import Database

PLAYERS: tuple[type[Controller], ...] = (NodeHeartbeats, Kubelet, MetalLB, Operator, *LONGHORN, *BACKUPS)
"""What no control plane brings along."""


@asynccontextmanager
async def play(
    kubeconfig: Path,
    *,
    seed: bool = True,
    pace: Pace | None = None,
    machines: Machines | None = None,
    still: bool = False,
    context: str = "",
    database: Database | None = None,
) -> AsyncIterator[Lab]:
    """The site on the API server of a kubeconfig, alive while the context lasts. Raises ColdError.

    Switch machines off and on through ``lab.machines``. With ``database`` (from `Database.prepare`) real servers are behind its Cluster; they end
    with the context.
    """
    async with contextlib.AsyncExitStack() as stack:
        if database is not None:
            stack.push_async_callback(database.aclose)
        client = await stack.enter_async_context(KubeClient.from_kubeconfig(kubeconfig, context, agent="coldtui-lab-play"))
        if seed:
            await site.seed_api(client, site.build())
        lab = Lab(client, Informers(client), pace or Pace(), machines or Machines(), still)
        players: list[Callable[[Lab], Controller]] = list(PLAYERS)
        if database is not None:
            database.attach(lab)
            players[:] = [database.operator if made is Operator else made for made in PLAYERS] + [database.vip]
        crew = await Crew.start(lab, players)
        stack.push_async_callback(crew.stop)
        if database is not None:
            await database.start()
        yield lab


@asynccontextmanager
async def serve_hosts(lab: Lab, folder: Path) -> AsyncIterator[Fleet]:
    """SSH hosts for every node of a lab that plays, reachable while the context lasts; keys and known_hosts lie in the folder. Raises ColdError.

    The API server is not ours: it goes on when the host of the control plane reboots.
    """
    fleet = Fleet(lab, folder)
    try:
        await fleet.start()
        yield fleet
    finally:
        await fleet.aclose()


async def _run(kubeconfig: Path, given: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    pace = dataclasses.replace(Pace(), reboot=given.reboot)
    database = await _prepare(given.postgres) if given.postgres is not None else None
    async with (
        play(kubeconfig, seed=not given.no_seed, still=given.still, pace=pace, database=database) as lab,
        contextlib.AsyncExitStack() as stack,
    ):
        told: Json = {"server": lab.client.access.server, "kubeconfig": str(kubeconfig)}
        if given.hosts is not None:
            fleet = await stack.enter_async_context(serve_hosts(lab, given.hosts))
            told |= {"ssh": fleet.addresses(), "settings": fleet.settings()}
        if database is not None:
            told |= {"postgres_dsn": database.dsn, "postgres_passfile": str(database.servers.passfile)}
            told["settings"] = told.get("settings", {}) | database.settings()
        if given.egress is not None:
            egress = Egress(lab, given.egress)
            await egress.start()
            stack.push_async_callback(egress.aclose)
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        sys.stdout.flush()
        await stopped.wait()


async def _prepare(folder: Path) -> Database:
    from coldtui.lab.postgres.database import Database  # imports psycopg

    return await asyncio.to_thread(Database.prepare, folder)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m coldtui.lab.play", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--no-seed", action="store_true", help="play what is there, create nothing")
    parser.add_argument("--still", action="store_true", help="sizes do not move")
    parser.add_argument("--hosts", type=Path, help="serve a host by SSH for each node; keys and known_hosts go into this folder")
    parser.add_argument("--reboot", type=float, default=Pace().reboot, help="seconds that a host is away when it reboots")
    parser.add_argument("--postgres", type=Path, help="real PostgreSQL servers behind the Cluster; their passwords go into this folder")
    parser.add_argument("--egress", type=Path, help="unix socket on which the API server is let through to the pods (coldtui.lab.egress)")
    given = parser.parse_args(arguments)
    try:
        asyncio.run(_run(given.kubeconfig, given))
    except ColdError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit)
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(main())
