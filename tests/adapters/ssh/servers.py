"""SSH servers for the contract: OpenSSH's sshd on loopback, a server of asyncssh that runs real processes, and a host of the lab.

All of them check keys, show a host key that can be changed, and can cut their connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncssh
import psutil
import pytest

from coldtui.adapters.ssh import SshShell, connect
from coldtui.config.settings import Config, NodeSection, SshSection
from coldtui.domain.secret import Secret
from coldtui.lab.hosts.server import HostServer
from coldtui.live.pace import SystemClock
from tests.lab.hosts.conftest import machine
from tests.ports import free_port

T = TypeVar("T")
NODE = "k3s-worker-3"
SSHD = "/usr/sbin/sshd"
need_sshd = pytest.mark.skipif(not os.path.exists(SSHD), reason="there is no OpenSSH server here: apt-get install openssh-server")


def write_key(path: Path, *, passphrase: str = "", comment: str = "test") -> Path:
    """A fresh ed25519 key pair."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment)
    path.touch(mode=0o600)
    path.write_bytes(key.export_private_key(passphrase=passphrase, rounds=50) if passphrase else key.export_private_key())
    path.with_name(path.name + ".pub").write_bytes(key.export_public_key())
    return path


def public_words(path: Path) -> str:
    """`ssh-ed25519 AAAA...` of a key pair."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


class Server(Protocol):
    """What the tests ask of a server."""

    user: str
    host_key: Path

    @property
    def port(self) -> int: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...

    def drop(self) -> None:
        """Cut every connection, as a power failure does."""
        ...


@dataclass
class Place:
    """A server and a client's means to reach it."""

    folder: Path
    server: Server
    key: Path
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def host(self) -> str:
        return f"[127.0.0.1]:{self.server.port}"

    def know(self) -> None:
        """Put the present host key into known_hosts."""
        self.known_hosts.write_text(f"{self.host} {public_words(self.server.host_key)}\n")

    def config(self, **more: Any) -> Config:
        given = {
            "user": self.server.user, "keys": (str(self.key),), "known_hosts": (str(self.known_hosts),), "agent": False, **self.settings, **more,
        }  # fmt: skip
        return Config(ssh=SshSection(**given), nodes={NODE: NodeSection(f"127.0.0.1:{self.server.port}")})

    def shell(self, *, writable: bool = True, **more: Any) -> SshShell:
        return connect(self.config(**more), writable=writable, secrets=self.secrets, clock=SystemClock(), environ=self.environ)

    def new_host_key(self) -> None:
        """The machine was installed anew."""
        self.server.stop()
        write_key(self.server.host_key)
        self.server.start()


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait for a condition outside of this process."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


# ------------------------------------------------------------ OpenSSH


@dataclass
class Sshd:
    """A real sshd of our own. `lines`: more of its configuration. `namespace`: commands of a private mount namespace, run before it."""

    folder: Path
    login: Path
    user: str = "root"
    lines: tuple[str, ...] = ()
    namespace: str = ""
    host_key: Path = field(init=False)
    port: int = field(init=False)
    _process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.host_key = write_key(self.folder / "ssh_host_ed25519_key")
        self.port = free_port()
        keys = self.folder / "authorized_keys"
        keys.write_text(public_words(self.login) + "\n")
        keys.chmod(0o644)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        else:
            import getpass

            self.user = getpass.getuser()
        (self.folder / "sshd_config").write_text("\n".join([
            "ListenAddress 127.0.0.1", f"Port {self.port}", f"HostKey {self.host_key}", f"AuthorizedKeysFile {keys}", "PidFile none",
            "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
            "MaxStartups 100", *self.lines, "",
        ]))  # fmt: skip

    def start(self) -> None:
        words = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if self.namespace:
            words = ["unshare", "-m", "--propagation", "private", "sh", "-c", f"{self.namespace} && exec {' '.join(words)}"]
        log = open(self.folder / "sshd.log", "ab")  # noqa: SIM115 - given to the process
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        log.close()
        try:
            until(self._listens)
        except AssertionError:
            pytest.fail((self.folder / "sshd.log").read_text())

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            pytest.fail((self.folder / "sshd.log").read_text())
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self._process is not None:
            self.drop()
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def drop(self) -> None:
        assert self._process is not None
        ours = psutil.Process(self._process.pid).children(recursive=True)
        for child in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


# ------------------------------------------------------------ asyncssh


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class _Run(asyncssh.SSHServerSession[bytes]):
    """A session that runs its command as a real process, in a process group of its own."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: list[bytes | None] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def exec_requested(self, command: str) -> bool:
        task = asyncio.get_running_loop().create_task(self._run(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _run(self, command: str) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env={**os.environ, **self._environ}
        )
        for data in self._waiting:
            self._give(data)
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(self._pump(process.stdout, None), self._pump(process.stderr, asyncssh.EXTENDED_DATA_STDERR))
        code = await process.wait()
        self._over = True
        with contextlib.suppress(OSError):
            if code < 0:
                self._chan.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
            else:
                self._chan.exit(code)

    async def _pump(self, reader: asyncio.StreamReader, datatype: int | None) -> None:
        while data := await reader.read(32_768):
            with contextlib.suppress(OSError):
                self._chan.write(data, datatype)
            while self._chan.get_write_buffer_size() > 1 << 20 and not self._chan.is_closing():  # noqa: ASYNC110 (nothing calls)
                await asyncio.sleep(0.005)

    def _give(self, data: bytes | None) -> None:
        if self._process is None:
            self._waiting.append(data)
            return
        assert self._process.stdin is not None
        if data is None:
            self._process.stdin.close()
        else:
            self._process.stdin.write(data)

    async def over(self, within_s: float) -> None:
        """End it at last."""
        self._kill("KILL")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        if self._process is not None:
            self._process._transport.close()  # type: ignore[attr-defined]  # its pipes would be closed by nobody
            await asyncio.sleep(0)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._give(data)

    def eof_received(self) -> bool:
        self._give(None)
        return True

    def signal_received(self, signal: str) -> None:
        self._kill(signal)

    def connection_lost(self, exc: Exception | None) -> None:
        self._kill("HUP")

    def _kill(self, name: str) -> None:
        if self._process is not None and not self._over:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.Signals[f"SIG{name}"])


@dataclass
class Simulated:
    """A server of asyncssh. `users`: who may log in with the key."""

    folder: Path
    login: Path
    user: str = "root"
    environ: dict[str, str] = field(default_factory=dict)
    host_key: Path = field(init=False)
    port: int = field(init=False)
    connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    runs: list[_Run] = field(default_factory=list)
    _loop: _Loop = field(default_factory=_Loop)
    _acceptor: asyncssh.SSHAcceptor | None = None

    def __post_init__(self) -> None:
        self.host_key = write_key(self.folder / "simulated_host_key")
        self.port = free_port()

    def start(self) -> None:
        self._acceptor = self._loop.run(self._listen())

    async def _listen(self) -> asyncssh.SSHAcceptor:
        allowed, outer = public_words(self.login), self

        class Login(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                self._conn = conn
                outer.connections.add(conn)

            def connection_lost(self, exc: Exception | None) -> None:
                outer.connections.discard(self._conn)

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return username == outer.user and " ".join(key.export_public_key().decode().split()[:2]) == allowed

            def session_requested(self) -> _Run:
                outer.runs.append(_Run(outer.environ))
                return outer.runs[-1]

        return await asyncssh.listen(
            "127.0.0.1", self.port, server_factory=Login, server_host_keys=[str(self.host_key)], encoding=None, reuse_address=True
        )

    def stop(self) -> None:
        if self._acceptor is not None:
            self.drop()
            self._loop.run(self._close(self._acceptor))
            self._acceptor = None

    @staticmethod
    async def _close(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        await acceptor.wait_closed()

    def drop(self) -> None:
        async def cut() -> None:
            for conn in list(self.connections):
                conn.abort()

        self._loop.run(cut())

    def close(self) -> None:
        self.stop()
        self._loop.run(self._reap())
        self._loop.close()

    async def _reap(self) -> None:
        """Wait for the processes, so that their pipes are closed while there is a loop."""
        for run in self.runs:
            await run.over(5.0)


# ------------------------------------------------------------ the lab's hosts


class LabHost:
    """One host of the lab, that stands still."""

    def __init__(self, folder: Path, login: Path, user: str = "lab") -> None:

        self.user = user
        self.host_key = write_key(folder / "lab_host_key")
        self._loop = _Loop()
        self._login = login
        self.machine = machine(NODE)

        async def make() -> HostServer:
            return HostServer(self.machine, 0, asyncssh.read_private_key(self.host_key), public_words(login))

        self.server = self._loop.run(make())

    @property
    def port(self) -> int:
        return self.server.port

    def start(self) -> None:
        self.server.host_key = asyncssh.read_private_key(self.host_key)
        self._loop.run(self.server.open())

    def stop(self) -> None:
        async def down() -> None:
            self.server.close()

        self._loop.run(down())

    def drop(self) -> None:
        async def cut() -> None:
            for conn in list(self.server.connections):
                conn.abort()

        self._loop.run(cut())

    def close(self) -> None:
        self._loop.run(self.server.aclose())
        self._loop.run(self.machine.aclose())
        self._loop.close()


# ------------------------------------------------------------ sudo


def sudo_namespace(folder: Path, user: str, password: str, *, rule: str) -> str:
    """Shell words that give a mount namespace a user who may use sudo, by files that only this namespace sees. `rule`: the line of sudoers."""
    hashed = (
        subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password.encode(), capture_output=True, check=True)
        .stdout.decode()
        .strip()
    )
    home = folder / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, 4242, 4242)
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + f"{user}:x:4242:4242::{home}:/bin/sh\n")
    (folder / "group").write_text(Path("/etc/group").read_text() + f"{user}:x:4242:\n")
    (folder / "shadow").write_text(Path("/etc/shadow").read_text() + f"{user}:{hashed}:19000:0:99999:7:::\n")
    (folder / "sudoers").write_text(f"Defaults env_reset\nDefaults passwd_tries=2\nroot ALL=(ALL) ALL\n{rule}\n")
    (folder / "shadow").chmod(0o640)
    (folder / "sudoers").chmod(0o440)
    return " && ".join(f"mount --bind {folder / name} /etc/{name}" for name in ("passwd", "group", "shadow", "sudoers"))


def may_unshare() -> str:
    """Why a private mount namespace with a sudo of its own cannot be had; empty: it can."""
    for program in ("unshare", "sudo", "openssl"):
        if shutil.which(program) is None:
            return f"there is no {program} here"
    if os.geteuid() != 0 or sys.platform != "linux":
        return "needs root, for a mount namespace in which a user and its rules for sudo are made"
    if subprocess.run(
        ["unshare", "-m", "--propagation", "private", "mount", "--bind", "/etc/passwd", "/etc/passwd"], capture_output=True
    ).returncode:
        return "mount namespaces are not allowed here"
    return ""
