"""Seeds the site on any API server and plays its machines: ``python -m coldtui.lab.play KUBECONFIG`` until SIGTERM.

On a real control plane its own scheduler and controllers do the rest, so only what it lacks runs here: kubelets, MetalLB, CloudNativePG,
Longhorn, backups. The CRDs must be installed. One JSON line on stdout says that the site is there. With ``--hosts DIR`` each node has a host
that SSH reaches; the line then has their addresses (``ssh``) and the console's settings for them (``settings``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

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
from coldtui.lab.hosts.fleet import Fleet

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
) -> AsyncIterator[Lab]:
    """The site on the API server of a kubeconfig, alive while the context lasts. Raises ColdError.

    Switch machines off and on through ``lab.machines``.
    """
    async with KubeClient.from_kubeconfig(kubeconfig, context, agent="coldtui-lab-play") as client:
        if seed:
            await site.seed_api(client, site.build())
        lab = Lab(client, Informers(client), pace or Pace(), machines or Machines(), still)
        crew = await Crew.start(lab, PLAYERS)
        try:
            yield lab
        finally:
            await crew.stop()


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


async def _run(kubeconfig: Path, seed: bool, still: bool, hosts: Path | None, pace: Pace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with play(kubeconfig, seed=seed, still=still, pace=pace) as lab, contextlib.AsyncExitStack() as stack:
        told: Json = {"server": lab.client.access.server, "kubeconfig": str(kubeconfig)}
        if hosts is not None:
            fleet = await stack.enter_async_context(serve_hosts(lab, hosts))
            told |= {"ssh": fleet.addresses(), "settings": fleet.settings()}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        sys.stdout.flush()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m coldtui.lab.play", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kubeconfig", type=Path)
    parser.add_argument("--no-seed", action="store_true", help="play what is there, create nothing")
    parser.add_argument("--still", action="store_true", help="sizes do not move")
    parser.add_argument("--hosts", type=Path, help="serve a host by SSH for each node; keys and known_hosts go into this folder")
    parser.add_argument("--reboot", type=float, default=Pace().reboot, help="seconds that a host is away when it reboots")
    given = parser.parse_args(arguments)
    try:
        pace = dataclasses.replace(Pace(), reboot=given.reboot)
        asyncio.run(_run(given.kubeconfig, not given.no_seed, given.still, given.hosts, pace))
    except ColdError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit)
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(main())
