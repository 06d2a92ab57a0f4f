"""One host's SSH server. The only module of the lab that imports asyncssh."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path
from typing import Any

import asyncssh

from coldtui.lab.hosts import shell
from coldtui.lab.hosts.machine import Machine, Session
from coldtui.lab.hosts.shell import Call

log = logging.getLogger(__name__)
USERS = ("lab", "root")
LOGIN_S = 20.0
LOOPBACK = "127.0.0.1"
SIGNAL_S = 0.1
"""Between looks for a signal once the input of a command has ended."""


def key_pair(path: Path, comment: str) -> asyncssh.SSHKey:
    """The ed25519 key in a file; made, with its `.pub` beside it, when there is none."""
    if path.exists():
        return asyncssh.read_private_key(path)
    key = asyncssh.generate_private_key("ssh-ed25519", comment)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key())
    path.with_name(path.name + ".pub").write_bytes(key.export_public_key())
    return key


def public(key: asyncssh.SSHKey) -> str:
    """`ssh-ed25519 AAAA...`."""
    return " ".join(key.export_public_key().decode().split()[:2])


class _Login(asyncssh.SSHServer):
    """Lets the lab's key in as `lab` and as root; nobody else, and by no password."""

    def __init__(self, host: HostServer) -> None:
        self._host = host
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._host.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._host.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username in USERS and public(key) == self._host.login_key


class HostServer:
    """Listens for one machine on a port that is its own as long as the lab lives, also while the machine is off."""

    def __init__(self, machine: Machine, port: int, host_key: asyncssh.SSHKey, login_key: str) -> None:
        """``port`` 0 or one that is taken: any free one. ``login_key``: the public key that is let in."""
        self.machine, self.host_key, self.login_key = machine, host_key, login_key
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._socket: socket.socket | None = _bound(port) or _bound(0)
        if self._socket is None:
            raise OSError("no port is free on 127.0.0.1")
        self.port: int = self._socket.getsockname()[1]
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._lock = asyncio.Lock()
        self._wanted = False

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    async def open(self) -> None:
        """Listen, unless it does."""
        self._wanted = True
        async with self._lock:
            if self._acceptor is not None or not self._wanted:
                return
            bound, self._socket = self._socket or _bound(self.port), None
            if bound is None:
                log.error("%s: port %s was taken while the machine was off", self.machine.name, self.port)
                return
            self._acceptor = await asyncssh.listen(
                sock=bound, server_factory=lambda: _Login(self), process_factory=self._serve, server_host_keys=[self.host_key],
                login_timeout=LOGIN_S, errors="replace", agent_forwarding=False, x11_forwarding=False, line_history=100,
            )  # fmt: skip

    def close(self) -> None:
        """Drop every connection and listen no more; the port is kept, and refuses."""
        self._wanted = False
        for connection in list(self.connections):
            connection.abort()
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
            self._socket = _bound(self.port)

    async def aclose(self) -> None:
        self.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        user = str(process.get_extra_info("username"))
        terminal = f"pts/{len(self.machine.sessions)}" if process.get_terminal_type() is not None else ""
        session = Session(user, terminal, self.machine.now(), str(process.get_extra_info("peername")[0]))
        self.machine.sessions.append(session)
        io = _Streams(process)
        work = asyncio.ensure_future(_work(process, io, self.machine, user))
        others = [
            asyncio.ensure_future(io.pump()),
            asyncio.ensure_future(io.signalled.wait()),
            asyncio.ensure_future(process.wait_closed()),
        ]
        try:
            await asyncio.wait({work, *others[1:]}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                process.exit(work.result())
            elif io.signalled.is_set():
                process.exit_with_signal(io.signal)
        except (OSError, asyncssh.Error):
            log.debug("%s: the client has gone", self.machine.name)
        finally:
            with contextlib.suppress(ValueError):  # a boot has ended all sessions
                self.machine.sessions.remove(session)
            await _end(work, *others)


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception) and not isinstance(ended, (OSError, asyncssh.Error)):
            log.error("a command failed by a fault of the lab", exc_info=ended)


async def _work(process: asyncssh.SSHServerProcess[str], io: _Streams, machine: Machine, user: str) -> int:
    """Run the command of a session, or a prompt when there is none. Returns the exit status."""
    call = Call((), machine, io, user, user)
    if process.command is not None:
        status = await shell.run_line(process.command, call)
        await io.flush()
        return status
    return await _prompt(call, io, process.get_terminal_type() is not None)


async def _prompt(call: Call, io: _Streams, terminal: bool) -> int:
    """Read lines and run them until `exit` or the end of input."""
    sign = "#" if call.root else "$"
    status = 0
    while True:
        if terminal:
            io.out(f"{call.user}@{call.machine.name}:~{sign} ")
        line = await io.line()
        if not line or line.split()[:1] in (["exit"], ["logout"]):
            return status
        if line.strip():
            status = await shell.run_line(line, call)


class _Streams:
    """stdin, stdout and stderr of a session. What comes in is always read, so that a signal is seen while a command is at work."""

    def __init__(self, process: asyncssh.SSHServerProcess[str]) -> None:
        self._process = process
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._ended = False
        self.signal = ""
        """The last one that the client sent to its command, such as `TERM`."""
        self.signalled = asyncio.Event()

    def out(self, text: str) -> None:
        self._process.stdout.write(text)

    def err(self, text: str) -> None:
        self._process.stderr.write(text)

    async def line(self) -> str:
        if self._ended and self._lines.empty():
            return ""
        return await self._lines.get()

    async def flush(self) -> None:
        await self._process.stdout.drain()

    async def pump(self) -> None:
        """Take what comes in as long as the command runs."""
        while True:
            try:
                line = await self._process.stdin.readline()
            except asyncssh.SignalReceived as received:
                self.signal = received.signal
                self.signalled.set()
                continue
            except asyncssh.BreakReceived:  # ctrl-c at a terminal
                self.signal = "INT"
                self.signalled.set()
                continue
            except asyncssh.TerminalSizeChanged:
                continue
            except (OSError, asyncssh.Error):
                line = ""
            if not self._ended:
                self._lines.put_nowait(line)
            if not line:  # the end of input; a signal may still come
                self._ended = True
                await asyncio.sleep(SIGNAL_S)


def _bound(port: int) -> socket.socket | None:
    """A socket that holds a port without listening on it; None when the port is taken."""
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOOPBACK, port))
    except OSError:
        made.close()
        return None
    return made
