"""Hosts as their clients see them: a machine made from the seed's node, and words to speak to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncssh

from coldtui.lab import site
from coldtui.lab.client import Json
from coldtui.lab.hosts import build, shell
from coldtui.lab.hosts.machine import Hooks, Machine, Timing
from coldtui.lab.hosts.server import HostServer, key_pair, public
from coldtui.lab.hosts.shell import Call

SITE = site.build(datetime.now(UTC))
NODES = {o["metadata"]["name"]: o for o in SITE.objects if (o["apiVersion"], o["kind"]) == ("v1", "Node")}
PODS = [o for o in [*SITE.objects, *SITE.derived] if o["kind"] == "Pod"]


def pods_of(name: str) -> list[Json]:
    return [pod for pod in PODS if pod["spec"].get("nodeName") == name]


def machine(name: str = "k3s-worker-3", hooks: Hooks | None = None) -> Machine:
    """A host of the seed that stands still."""
    timing = Timing(stop=0.05, start=0.1, retry=0.1)
    return build.machine(NODES[name], lambda: pods_of(name), hooks or Hooks(), timing, frozen=datetime.now(UTC))


@dataclass
class Said:
    """What a command wrote, and how it ended."""

    exit: int = -1
    out: str = ""
    err: str = ""
    stdin: list[str] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class _Io:
    def __init__(self, said: Said) -> None:
        self._said = said

    def out(self, text: str) -> None:
        self._said.out += text

    def err(self, text: str) -> None:
        self._said.err += text

    async def line(self) -> str:
        return self._said.stdin.pop(0) if self._said.stdin else ""

    async def flush(self) -> None:
        await asyncio.sleep(0)


async def ran(on: Machine, line: str, *, user: str = "lab", stdin: str = "", said: Said | None = None) -> Said:
    """Run a line on a host without any network. ``said`` is filled as it speaks."""
    said = said or Said(stdin=stdin.splitlines(keepends=True))
    said.exit = await shell.run_line(line, Call((), on, _Io(said), user, user))
    return said


def run(line: str, *, on: Machine | None = None, user: str = "lab", stdin: str = "") -> Said:
    return asyncio.run(ran(on or machine(), line, user=user, stdin=stdin))


@dataclass
class Served:
    """A host that listens, and a client's means to reach it."""

    server: HostServer
    machine: Machine
    key: Path
    known_hosts: Path

    async def connect(self, user: str = "lab", *, key: Path | None = None) -> asyncssh.SSHClientConnection:
        """An asyncssh connection that checks the host's key."""
        return await asyncssh.connect(
            "127.0.0.1", self.server.port, username=user, client_keys=[str(key or self.key)], known_hosts=str(self.known_hosts), config=None,
            agent_path=None,
        )  # fmt: skip


@asynccontextmanager
async def served(folder: Path, name: str = "k3s-worker-3", hooks: Hooks | None = None) -> AsyncIterator[Served]:
    """A host on a port of its own until the end of the block."""
    made = machine(name, hooks)
    login = key_pair(folder / "id_ed25519", "lab")
    server = HostServer(made, 0, key_pair(folder / f"{name}_ed25519", name), public(login))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public(server.host_key)}\n")
    await server.open()
    try:
        yield Served(server, made, folder / "id_ed25519", folder / "known_hosts")
    finally:
        await server.aclose()
        await made.aclose()


async def soon(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until a condition of this process holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (a value is looked at, nothing calls)
            await asyncio.sleep(0.01)
