"""Plays a site at the pace of tests, in a process of its own that ends with its stdin: the whole lab, or the machines of a real control plane.

    python -m tests.whole.players lab FOLDER
    python -m tests.whole.players servers FOLDER             the lab with real PostgreSQL servers
    python -m tests.whole.players plane KUBECONFIG FOLDER

One JSON line on stdout when all is ready; faults are switched through the control socket that it names, as those of `coldtui demo`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from coldtui.domain.errors import UsageError
from coldtui.lab.control import ControlSocket
from coldtui.lab.controllers.base import Lab, Pace
from coldtui.lab.play import play
from coldtui.lab.supervisor import Options, Ready, Supervisor
from coldtui.lab.troubles import ABOUT, Troubles

Json = dict[str, Any]
PACE = dataclasses.replace(
    Pace(), pod_start=0.2, pod_stop=0.2, boot=0.5, unready=1.0, promotion=0.3, rejoin=0.3, rebuild=1.0, attach=0.2, job=0.5, murmur=3600.0
)
"""Pods come and go in moments. Heartbeats are as they are: nobody must look dead on a busy machine."""


def say(document: Json) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


SERVERS_PACE = dataclasses.replace(PACE, notice=0.2, lease=4.0, crash_backoff=3.0, renew=0.5, probe=1.0)
"""A dead primary stays dead for four seconds at least, so that what is shown meanwhile can be read."""


async def lab(folder: Path) -> None:
    """What `coldtui demo --headless` runs."""
    await Supervisor(Options(folder, still=True, tether=True, pace=PACE)).run(_told)


async def servers(folder: Path) -> None:
    """The same with three real servers."""
    await Supervisor(Options(folder, still=True, tether=True, pace=SERVERS_PACE, postgres=True)).run(_told)


def _told(found: Ready) -> None:
    say(dataclasses.asdict(found))


class Plane:
    """The machines of a real control plane: kubelets and operators."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._troubles = Troubles(lab)

    async def answer(self, command: Json) -> Json:
        name, on, node = str(command["fault"]), bool(command["on"]), str(command["node"])
        if name in ABOUT:
            return {"said": await self._troubles.switch(name, on, node, command.get("seconds"))}
        if name != "node-down":
            raise UsageError(f"no fault {name} here")
        (self._lab.machines.power_off if on else self._lab.machines.power_on)(node)
        return {"said": f"{node} is {'off' if on else 'on'}"}

    def close(self) -> None:
        self._troubles.close()


async def plane(kubeconfig: Path, folder: Path) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else ended.set())
    # Two evictions under one budget meet in the server, which tries the second again after half a second: no successor may be ready so soon.
    async with play(kubeconfig, pace=dataclasses.replace(PACE, pod_start=1.5), still=True) as made:
        machines = Plane(made)
        control = ControlSocket(folder / "s", machines.answer)
        await control.start()
        try:
            say({"kubeconfig": str(kubeconfig), "control": str(folder / "s")})
            await ended.wait()
        finally:
            await control.stop()
            machines.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    kind, *paths = sys.argv[1:]
    made = {"lab": lab, "servers": servers}.get(kind)
    asyncio.run(made(Path(paths[0])) if made is not None else plane(Path(paths[0]), Path(paths[1])))
