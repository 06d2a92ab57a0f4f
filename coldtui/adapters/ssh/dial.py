"""A connection to one host: dialled, the host judged, logged in, kept alive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import asyncssh

from ...config.settings import SshSection
from ...domain.errors import ColdError
from ...domain.secret import Secret
from ...domain.text import plain
from ...ports import Clock, Finished, ShellAddress
from . import auth, failures, hostkeys
from .lines import Told
from .run import Line, Via, execute

KEEPALIVE_S, KEEPALIVE_MISSES = 5.0, 3
AT_ONCE = 8
"""Commands side by side on one connection: sshd's MaxSessions is 10 unless told."""

# asyncssh tells every packet at its lower levels; without any handler Python would write its warnings to the terminal.
logging.getLogger("asyncssh").addHandler(logging.NullHandler())
asyncssh.set_log_level(logging.WARNING)


class _Caller(asyncssh.SSHClient):
    """Our side of the handshake."""

    def __init__(self, ring: auth.Ring) -> None:
        self._left = list(ring.offers)
        self.tried: list[auth.Offer] = []
        self.shown: asyncssh.SSHKey | None = None
        """The host key that was not among the trusted ones."""
        self.spoke = False
        """TCP is open."""
        self.banner = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.spoke = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.shown = key
        return False

    def auth_banner_received(self, msg: str, lang: str) -> None:
        self.banner = plain(msg.strip())[:200]

    def public_key_auth_requested(self) -> asyncssh.public_key.SSHKeyPair | None:
        if not self._left:
            return None
        self.tried.append(self._left.pop(0))
        return self.tried[-1].pair


@dataclass
class Link:
    """An open connection."""

    address: ShellAddress
    conn: asyncssh.SSHClientConnection
    login: auth.Offer | None
    agent_only: str
    """See `ports.Shell.agent_only`."""
    loop: asyncio.AbstractEventLoop
    busy: int = 0
    given_up: bool = False

    def __post_init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._later: set[asyncio.Task[object]] = set()

    @property
    def usable(self) -> bool:
        return not self.given_up and not self.conn.is_closed()

    def abandon(self) -> None:
        self.given_up = True
        if self.busy <= 1:
            self.conn.abort()

    def later(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def execute(
        self,
        words: str,
        *,
        what: str,
        clock: Clock,
        told: Told | None,
        stdin: bytes,
        open_s: float,
        deadline_s: float,
        via: tuple[str, bytes],
    ) -> Finished:
        line = Line(self.conn, self.address.node, clock, self.abandon, lambda: self.busy <= 1, self.later)
        async with self._room:
            self.busy += 1
            try:
                return await execute(line, words, what=what, told=told, stdin=stdin, open_s=open_s, deadline_s=deadline_s, via=Via(*via))
            finally:
                self.busy -= 1
                if self.given_up and not self.busy:
                    self.conn.abort()

    async def close(self, within_s: float = 1.0) -> None:
        self.given_up = True
        if self._later:
            await asyncio.wait(self._later, timeout=4 * within_s)
            for task in self._later:
                task.cancel()
        self.conn.close()
        try:
            async with asyncio.timeout(within_s):
                await self.conn.wait_closed()
        except (TimeoutError, OSError, asyncssh.Error):
            self.conn.abort()


async def dial(
    address: ShellAddress, settings: SshSection, secrets: Mapping[str, Secret], environ: Mapping[str, str], deadline_s: float
) -> Link:
    """Raises Unreachable, Unauthorized, SecretWanted, HostKeyUnknown, HostKeyChanged, Misconfigured."""
    known = await asyncio.to_thread(hostkeys.KnownHosts, hostkeys.files(settings.known_hosts))
    check = await asyncio.to_thread(hostkeys.HostCheck, known, address)
    ring = await auth.gather(settings, secrets, environ)
    caller = _Caller(ring)
    try:
        async with asyncio.timeout(deadline_s):
            conn = await _connect(address, check, caller)
    except TimeoutError:
        raise failures.late(address, deadline_s, spoke=caller.spoke) from None
    except (asyncssh.Error, OSError) as error:
        raise await _judged(error, address, check, ring, caller) from None
    finally:
        ring.close()
    login = caller.tried[-1] if caller.tried else None
    return Link(address, conn, login, _agent_only(login, ring), asyncio.get_running_loop())


async def _connect(address: ShellAddress, check: hostkeys.HostCheck, caller: _Caller) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        address.host,
        address.port,
        username=address.user,
        client_factory=lambda: caller,
        config=None,  # what counts stands in our own configuration, so that a run does the same as the console
        known_hosts=check.lists,
        server_host_key_algs=check.algorithms(),
        client_keys=None,  # the caller offers them, one by one
        agent_path=None,
        preferred_auth="publickey",
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_auth=False,
        gss_kex=False,
        x509_trusted_certs=None,
        keepalive_interval=KEEPALIVE_S,
        keepalive_count_max=KEEPALIVE_MISSES,
    )


async def _judged(
    error: asyncssh.Error | OSError, address: ShellAddress, check: hostkeys.HostCheck, ring: auth.Ring, caller: _Caller
) -> ColdError:
    """What a failed handshake means."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return check.verdict(caller.shown)
    if isinstance(error, asyncssh.PermissionDenied):
        return auth.refused(address, ring, caller.tried, caller.banner)
    if isinstance(error, asyncssh.DisconnectError) and caller.tried and "too many" in str(error).lower():
        return auth.refused(address, ring, caller.tried, plain(error.reason)[:100])
    if isinstance(error, asyncssh.ConnectionLost) and caller.spoke and not await failures.speaks_ssh(address):
        return failures.garbage(address)
    return failures.translate(error, address)


def _agent_only(login: auth.Offer | None, ring: auth.Ring) -> str:
    if login is None or not ring.forwarded or login.in_file:
        return ""
    return f"key {login.label.removesuffix(' (agent)')} is only in the agent that your SSH session forwards: it is gone when you log out"
