"""Servers that are none: silent, deaf, of another kind. Each is told apart, in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldtui.adapters.ssh import connect
from coldtui.config.settings import Config, NodeSection, SshSection
from coldtui.domain.troubles import LineTrouble
from coldtui.live.pace import SystemClock
from coldtui.ports import Command
from tests.adapters.ssh.servers import NODE, write_key


@contextlib.contextmanager
def listener(serve: Callable[[socket.socket], None] | None, backlog: int = 16) -> Iterator[int]:
    """A port; `serve` is given each connection, None: nobody accepts."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(backlog)
        lines: list[socket.socket] = []

        def accept() -> None:
            assert serve is not None
            with contextlib.suppress(OSError):
                while True:
                    line, _ = door.accept()
                    lines.append(line)
                    with contextlib.suppress(OSError):
                        serve(line)

        thread = threading.Thread(target=accept, daemon=True)
        if serve is not None:
            thread.start()
        try:
            yield door.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            if serve is not None:
                thread.join(5)
            for line in lines:
                line.close()


def trouble(folder: Path, host: str, connect_s: float = 1.0) -> LineTrouble:
    """What `run` says of this address."""
    key = write_key(folder / "key")
    config = Config(
        ssh=SshSection(user="root", keys=(str(key),), known_hosts=(str(folder / "known"),), agent=False), nodes={NODE: NodeSection(host)}
    )
    shell = connect(config, writable=False, secrets={}, clock=SystemClock(), environ={})

    async def act() -> LineTrouble:
        with pytest.raises(LineTrouble) as caught:
            await shell.run(NODE, Command(("hostname",), mutates=False), connect_s=connect_s)
        return caught.value

    return asyncio.run(asyncio.wait_for(act(), 20))


def test_a_listener_that_never_speaks(tmp_path: Path) -> None:
    """TCP opens and nothing comes: a timeout that says so, within the limit for connecting."""
    with listener(lambda line: None) as port:
        found = trouble(tmp_path, f"127.0.0.1:{port}")
    assert found.kind == "timeout"
    assert found.title == f"127.0.0.1:{port} accepts connections but did not speak SSH within 1 s"


def test_a_black_hole(tmp_path: Path) -> None:
    """Nobody answers at all: a timeout with the advice to look whether the machine is on."""
    with listener(None, backlog=0) as port, contextlib.ExitStack() as full:
        for _ in range(3):  # the queue of a listener that accepts nobody takes one or two; the next SYN is dropped
            line = full.enter_context(socket.socket())
            line.setblocking(False)
            line.connect_ex(("127.0.0.1", port))
        found = trouble(tmp_path, f"127.0.0.1:{port}")
    assert (found.kind, found.title) == ("timeout", f"127.0.0.1:{port} did not answer within 1 s")
    assert "is the machine on?" in found.hint


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", b"220 mail.cold.example ESMTP\r\n", b"\xff\xfd\x18" * 40]
)
def test_what_is_no_ssh(tmp_path: Path, answer: bytes) -> None:
    """A web, mail or other server on that port is told as what it is: no SSH."""

    def serve(line: socket.socket) -> None:
        line.settimeout(2)
        line.recv(64)
        line.sendall(answer)
        line.shutdown(socket.SHUT_RDWR)

    with listener(serve) as port:
        found = trouble(tmp_path, f"127.0.0.1:{port}", 5.0)
    assert (found.kind, found.title) == ("garbage", f"what 127.0.0.1:{port} answers is no SSH")


def test_a_door_that_closes_at_once(tmp_path: Path) -> None:
    """A server that ends the connection before its greeting (an overloaded sshd does) is told as lost, with where to look."""

    def serve(line: socket.socket) -> None:
        line.shutdown(socket.SHUT_RDWR)

    with listener(serve) as port:
        found = trouble(tmp_path, f"127.0.0.1:{port}", 5.0)
    assert found.kind == "lost"
    assert f"127.0.0.1:{port}" in found.title


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    """A host name without an address is told as DNS, with the node and the setting."""
    found = trouble(tmp_path, "no-such-host.invalid:22", 8.0)
    assert (found.kind, found.title) == ("dns", "name no-such-host.invalid of k3s-worker-3 cannot be resolved")
    assert "nodes.NAME.ssh" in found.hint
