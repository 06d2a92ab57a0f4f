"""The doctor's look at the hosts behind the nodes: reached over SSH, known by their key, logged in to, root to be had. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from coldtui.domain.values import dataclass

from ..domain.errors import ColdError, Exit, HostKeyChanged
from ..domain.text import counted, plain
from ..ports import Command
from .doctor import FAIL, OK, WARN, Check

if TYPE_CHECKING:
    from ..config.settings import Config
    from ..domain.world import World
    from ..ports import Shell
    from ..wiring import Site

CONNECT_S, ANSWER_S = 5.0, 10.0
AT_ONCE = 8
SHOWN = 5
"""Hosts with a trouble that get a line of their own; the rest are counted."""
NAME = "SSH"


@dataclass(frozen=True, slots=True)
class Target:
    """A node, its address by the API (empty: not told) and the host name that its kubelet reports."""

    node: str
    ip: str
    hostname: str


async def hosts(site: Site, world: World | None) -> list[Check]:
    """`world`: what the API told; None: nothing."""
    targets = list(_targets(site.config, world))
    if not _configured(site.config):
        return _not_set_up(targets)
    from ..wiring import open_shell

    shell, room = open_shell(site), asyncio.Semaphore(AT_ONCE)

    async def look(target: Target) -> Check:
        async with room:
            return await _look(shell, target)

    try:
        found = await asyncio.gather(*(look(target) for target in targets))
    finally:
        await shell.aclose()
    return list(_told(found))


def _configured(config: Config) -> bool:
    return any(key.startswith(("ssh.", "nodes.")) for key in config.origins)


def _targets(config: Config, world: World | None) -> Iterator[Target]:
    known = dict(world.nodes.items.items()) if world is not None else {}
    for name in sorted({*known, *config.nodes}):
        node = known.get(name)
        yield Target(name, node.internal_ip if node is not None else "", node.hostname if node is not None else "")


def _not_set_up(targets: list[Target]) -> list[Check]:
    if not targets:
        return []
    words = f"not set up: {counted(len(targets), 'node')} would be reached by address, as the user that runs coldtui"
    return [Check(NAME, OK, words, "set ssh.user and ssh.keys to reboot, restart K3s and clean disks from here")]


async def _look(shell: Shell, target: Target) -> Check:
    node = target.node
    try:
        address = shell.address(node, target.ip)
        said = await shell.run(node, Command(("hostname",), mutates=False), ip=target.ip, connect_s=CONNECT_S, deadline_s=ANSWER_S)
        name = said.out[0] if said.ok and said.out else ""
        if name and name.split(".")[0] not in {part.split(".")[0] for part in (node, target.hostname) if part}:
            return Check(
                NAME, WARN, f"{node}: the host at {address} calls itself {name}", f"does nodes.{plain(node)}.ssh lead to another machine?"
            )
        root = await shell.run(
            node, Command(("id", "-u"), mutates=False, root=True), ip=target.ip, connect_s=CONNECT_S, deadline_s=ANSWER_S
        )
        if root.out != ("0",):
            return Check(NAME, WARN, f"{node}: root cannot be had as {address.user}", "let that user run sudo, or set ssh.user: root")
        if leaves := shell.agent_only(node):
            return Check(NAME, WARN, f"{node}: {leaves}", "name a key file in ssh.keys for runs that go on without you")
    except HostKeyChanged as error:
        return Check(NAME, FAIL, f"{error.title} · {error.detail}", error.hint, Exit.NOT_PERMITTED)
    except ColdError as error:
        words = " · ".join(part for part in (error.title, error.detail) if part)
        return Check(NAME, WARN, words if node in words else f"{node}: {words}", error.hint, error.exit)
    return Check(NAME, OK, f"{node}: {address}" + ("" if address.user == "root" else ", root by sudo"))


def _told(checks: Iterable[Check]) -> Iterator[Check]:
    """What is well in one line; what is not, each by itself as long as they are few."""
    found = list(checks)
    well = [check for check in found if check.state == OK]
    odd = [check for check in found if check.state != OK]
    if len(well) == 1:
        yield well[0]
    elif well:
        yield Check(NAME, OK, f"logged in to {len(well)} of {counted(len(found), 'host')}, root can be had")
    yield from odd[:SHOWN]
    if len(odd) > SHOWN:
        rest = odd[SHOWN:]
        worst = FAIL if any(check.state == FAIL for check in rest) else WARN
        yield Check(NAME, worst, f"{counted(len(rest), 'more host')} with trouble", "mend these first", rest[0].exit)
