"""What lies on the disk of a node, read over SSH: each part for itself, so that one that cannot be read holds no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from ...domain.errors import ColdError
from ...domain.nodes import Node
from ...domain.plans import Premise
from ...domain.readings import Unknown
from ...domain.text import counted
from ...domain.values import dataclass
from ...ports import Command, Means, Output, Self, Shell
from ..hosts import HostFacts, gather_host
from ..node_facts import nodes_with
from .items import AIRGAP, APT, DATA, JOURNALS, K3S, DiskItem, FileSystem, archives, file_systems, sizes, stale_releases, unused_images
from .params import CleanDisk

T = TypeVar("T")
READ_S = 20.0
"""For one look: du walks folders."""
DF = ("df", "-B1", "--output=size,used,avail,target", "/", K3S, "/var/log/journal", APT)


@dataclass(frozen=True, slots=True)
class DiskFacts:
    name: str
    at: datetime
    node: Node | None
    node_reason: str
    host: HostFacts
    items: tuple[DiskItem, ...]
    systems: Mapping[str, FileSystem]
    """By mount point; empty: not readable."""
    me: Self

    @property
    def premises(self) -> tuple[Premise, ...]:
        node = Premise(f"node {self.name}", None if self.node_reason else self.at, self.node_reason)
        parts = tuple(Premise(item.title, None if item.reason else self.at, item.reason) for item in self.items)
        return (node, self.host.premise(), *parts)


async def gather(params: CleanDisk, means: Means, deadline_s: float) -> DiskFacts:
    """Works without an API. Raises NotFound for a node that does not exist."""
    nodes = await nodes_with(params.node, means, deadline_s / 2)
    node = None if isinstance(nodes, Unknown) else next(n for n in nodes.value if n.name == params.node)
    ip, shell = node.internal_ip if node is not None else "", means.shell
    host = await gather_host(params.node, ip, means, deadline_s / 2)
    reached = host.reached and host.root is None
    items = await items_of(shell, params.node, ip, params.journal_mb) if reached else ()
    systems = await measure(shell, params.node, ip) if reached else {}
    return DiskFacts(
        params.node, means.clock.now(), node, nodes.reason if isinstance(nodes, Unknown) else "", host, items, systems, means.me
    )


async def items_of(shell: Shell, node: str, ip: str, journal_mb: int) -> tuple[DiskItem, ...]:
    """All that can be cleaned, in the order in which it is."""
    host = _Host(shell, node, ip)
    questions: tuple[tuple[str, str, Callable[[_Host], Awaitable[DiskItem]]], ...] = (
        ("images", "unused images", images_on),
        ("journal", "old journal", lambda h: journal_on(h, journal_mb)),
        ("apt", "package cache", apt_on),
        ("data", "stale K3s releases", releases_on),
        ("airgap", "archives with K3s images", archives_on),
    )
    return tuple(await asyncio.gather(*(_part(name, title, ask(host)) for name, title, ask in questions)))


async def _part(name: str, title: str, question: Awaitable[DiskItem]) -> DiskItem:
    try:
        return await question
    except ColdError as error:
        return DiskItem(name, title, reason=error.title)
    except ValueError as error:
        return DiskItem(name, title, reason=str(error))


async def measure(shell: Shell, node: str, ip: str) -> dict[str, FileSystem]:
    """File systems as they are now; empty: not readable."""
    try:
        return file_systems(await _Host(shell, node, ip).lines(*DF, strict=False))
    except (ColdError, ValueError):
        return {}


class _Host:
    def __init__(self, shell: Shell, node: str, ip: str) -> None:
        self.shell, self.node, self.ip = shell, node, ip

    async def lines(self, *argv: str, strict: bool = True) -> list[str]:
        """All lines of stdout, however many. Raises ValueError with the command's words when it fails."""
        found: list[str] = []

        def take(line: Output) -> None:
            if line.stream == "out":
                found.append(line.text)

        done = await self.shell.run(self.node, Command(argv, mutates=False, root=True), ip=self.ip, on_line=take, deadline_s=READ_S)
        if strict and not done.ok:
            raise ValueError((done.err or done.out or (f"{argv[0]} ended with {done.exit}",))[-1][:200])
        return found


async def images_on(host: _Host) -> DiskItem:
    images, containers = await asyncio.gather(
        host.lines("k3s", "crictl", "images", "-o", "json"), host.lines("k3s", "crictl", "ps", "-a", "-o", "json")
    )
    try:
        loose, every, frees = unused_images("\n".join(images), "\n".join(containers))
    except ValueError:
        raise ValueError("what crictl says cannot be understood") from None
    return DiskItem("images", "unused images", f"{loose} of {counted(every, 'image')}", frees)


async def journal_on(host: _Host, keep_mb: int) -> DiskItem:
    found = sizes(await host.lines("du", "-x", "-s", "-B1", *JOURNALS, strict=False))
    total = sum(found.values())
    return DiskItem("journal", "old journal", f"all but {keep_mb} MB", max(0, total - keep_mb * 1_000_000))


async def apt_on(host: _Host) -> DiskItem:
    found = sizes(await host.lines("du", "-x", "-s", "-B1", APT, strict=False))
    return DiskItem("apt", "package cache", "downloaded packages" if found else "this host has none", sum(found.values()))


async def releases_on(host: _Host) -> DiskItem:
    names = await host.lines("ls", "-1A", DATA)
    current, previous = (
        await real(host.shell, host.node, host.ip, f"{DATA}/current"),
        await real(host.shell, host.node, host.ip, f"{DATA}/previous"),
    )
    paths = stale_releases(names, current, previous)
    frees = sum(sizes(await host.lines("du", "-x", "-s", "-B1", *paths)).values()) if paths else 0
    return DiskItem("data", "stale K3s releases", f"{counted(len(paths), 'release')}", frees, paths=paths)


async def archives_on(host: _Host) -> DiskItem:
    try:
        paths = archives(await host.lines("ls", "-1A", AIRGAP))
    except ValueError:  # the folder is only there where somebody put archives into it
        paths = ()
    frees = sum(sizes(await host.lines("du", "-x", "-s", "-B1", *paths)).values()) if paths else 0
    return DiskItem("airgap", "archives with K3s images", counted(len(paths), "archive"), frees, paths=paths)


async def real(shell: Shell, node: str, ip: str, path: str) -> str:
    """The path with all links followed, as the host has it; empty: there is none."""
    done = await shell.run(node, Command(("readlink", "-f", path), mutates=False, root=True), ip=ip, deadline_s=READ_S)
    return done.out[0] if done.ok and done.out else ""
