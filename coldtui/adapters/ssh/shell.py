"""The port `Shell`: one kept connection a node, the gate before it. asyncssh is imported by the modules that this one imports when it first dials."""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from ...config import logs
from ...config.settings import Config
from ...domain.errors import ColdError, NotFound
from ...domain.hosts import host_address
from ...domain.logkeys import Key
from ...domain.secret import Secret
from ...domain.text import plain
from ...ports import Clock, Command, Finished, Output, ShellAddress
from . import sudo, table
from .lines import NotSent

if TYPE_CHECKING:
    from .dial import Link

STALE_S = 5.0
"""For a kept connection to take a command; else it is dead and a new one is made."""
log = logs.get("coldtui.adapters.ssh")


def connect(
    config: Config, *, writable: bool, secrets: Mapping[str, Secret], clock: Clock, environ: Mapping[str, str] = os.environ
) -> SshShell:
    """The port for one site. Nothing is reached and asyncssh is not imported before the first command."""
    return SshShell(config, writable=writable, secrets=secrets, clock=clock, environ=environ)


class SshShell:
    """Commands on nodes. For one event loop at a time."""

    def __init__(
        self, config: Config, *, writable: bool, secrets: Mapping[str, Secret], clock: Clock, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._config = config
        self._writable = writable
        self._secrets = secrets
        self._clock = clock
        self._environ = environ
        self._links: dict[str, Link] = {}
        self._dialling: dict[str, asyncio.Lock] = {}

    # --- where

    def address(self, node: str, ip: str = "") -> ShellAddress:
        settings = self._config.ssh
        section = self._config.nodes.get(node)
        user, port = settings.user or _me(), settings.port
        if section is not None and section.ssh:
            found = host_address(section.ssh)
            return ShellAddress(node, found.host, found.port or port, found.user or user)
        if not ip:
            raise NotFound(
                f"no address is known for node {plain(node)}", detail="it is neither configured nor told by Kubernetes",
                hint=f"set nodes.{plain(node)}.ssh: [user@]host[:port]",
            )  # fmt: skip
        return ShellAddress(node, ip, port, user)

    # --- what

    async def run(
        self,
        node: str,
        command: Command,
        *,
        ip: str = "",
        on_line: Callable[[Output], None] | None = None,
        deadline_s: float = 30.0,
        connect_s: float = 10.0,
    ) -> Finished:
        table.check(command, writable=self._writable)
        address = self.address(node, ip)
        what = plain(" ".join(command.argv[:2]))[:60]
        left_s = deadline_s

        async def say(words: str, stdin: bytes, told: Callable[[Output], None] | None, prefix: str = "", given: bytes = b"") -> Finished:
            nonlocal left_s
            for again in (False, True):
                link, kept = await self._link(address, connect_s)
                open_s, begun = min(STALE_S, connect_s) if kept else connect_s, self._clock.monotonic()
                try:
                    return await link.execute(
                        words, what=what, clock=self._clock, told=told, stdin=stdin, open_s=open_s, deadline_s=max(0.1, left_s),
                        via=(prefix, given),
                    )  # fmt: skip
                except NotSent as dead:
                    self._drop(address.node, link)
                    if not kept or again:
                        raise dead.trouble from None
                finally:
                    left_s -= self._clock.monotonic() - begun
            raise AssertionError("the second try ends the loop")

        if command.root:
            return await sudo.as_root(say, address, command, self._secrets, on_line)
        return await say(shlex.join(command.argv), command.stdin, on_line)

    def agent_only(self, node: str) -> str:
        link = self._links.get(node)
        return link.agent_only if link is not None and link.usable else ""

    def login(self, node: str) -> str:
        """With which key we are logged in; empty: there is no connection."""
        link = self._links.get(node)
        return link.login.label if link is not None and link.usable and link.login is not None else ""

    def trust(self, line: str) -> str:
        """Accept a host key that the operator has confirmed (`HostKeyUnknown.line`). Returns the file that it was added to."""
        from .hostkeys import trust

        path = trust(line, self._config.ssh.known_hosts)
        log.info("host key accepted", {Key.PATH: path, Key.DETAIL: line})
        return path

    # --- connections

    async def _link(self, address: ShellAddress, connect_s: float) -> tuple[Link, bool]:
        """(the connection, whether it was there before)."""
        lock = self._dialling.setdefault(address.node, asyncio.Lock())
        async with lock:
            link = self._links.get(address.node)
            loop = asyncio.get_running_loop()
            if link is not None and link.usable and link.address == address and link.loop is loop:
                return link, True
            if link is not None:
                self._drop(address.node, link)
            dial = await asyncio.to_thread(_dialler)  # half a second of imports, the first time
            begun = self._clock.monotonic()
            try:
                link = await dial(address, self._config.ssh, self._secrets, self._environ, connect_s)
            except ColdError as error:
                log.warning(
                    "not connected", {Key.NODE: address.node, Key.SERVER: str(address), Key.ERROR: error.title, Key.DETAIL: error.detail}
                )
                raise
            took = self._clock.monotonic() - begun
            log.info("connected", {Key.NODE: address.node, Key.SERVER: str(address), Key.TOOK_S: round(took, 3)})
            self._links[address.node] = link
            return link, False

    def _drop(self, node: str, link: Link) -> None:
        if self._links.get(node) is link:
            del self._links[node]
        if link.loop is asyncio.get_running_loop():
            link.abandon()

    async def hang_up(self, node: str) -> None:
        link = self._links.pop(node, None)
        if link is not None and link.loop is asyncio.get_running_loop():
            await link.close()

    async def aclose(self) -> None:
        links = [link for link in self._links.values() if link.loop is asyncio.get_running_loop()]
        self._links.clear()
        await asyncio.gather(*(link.close() for link in links))


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return "root"


def _dialler() -> Callable[..., Awaitable[Link]]:
    from .dial import dial

    return dial
