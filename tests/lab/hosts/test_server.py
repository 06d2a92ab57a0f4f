"""A host over SSH, as asyncssh and the real `ssh` see it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

import asyncssh
import pytest

from coldtui.lab.hosts.server import HostServer, key_pair, public
from tests.lab.hosts.conftest import Served, machine, served, soon

need_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh here")


async def command(host: Served, line: str, stdin: str = "") -> asyncssh.SSHCompletedProcess:
    connection = await host.connect()
    try:
        return await connection.run(line, input=stdin)
    finally:
        connection.abort()


def test_a_command_and_how_it_ends(tmp_path: Path) -> None:
    """stdout, stderr and the exit code come apart; the host's key is checked and the lab's key lets in `lab` and root."""

    async def scene() -> None:
        async with served(tmp_path) as host:
            done = await command(host, "hostname; nonsense; exit 7")
            assert (done.stdout, done.stderr, done.exit_status) == ("k3s-worker-3\n", "bash: line 1: nonsense: command not found\n", 7)
            async with await host.connect("root") as line:
                assert (await line.run("id -un")).stdout == "root\n"

    asyncio.run(scene())


@pytest.mark.parametrize("user", ["lab", "root", "admin"])
def test_who_is_not_let_in(tmp_path: Path, user: str) -> None:
    """Another key than the lab's is refused for everybody, and the lab's for users that are not there."""

    async def scene() -> None:
        key_pair(tmp_path / "other", "other")
        async with served(tmp_path) as host:
            with pytest.raises(asyncssh.PermissionDenied):
                await host.connect(user, key=tmp_path / ("id_ed25519" if user == "admin" else "other"))

    asyncio.run(scene())


def test_output_comes_as_it_is_written(tmp_path: Path) -> None:
    """A followed journal is streamed line by line while the command runs, and ends with the signal that it is sent."""

    async def scene() -> None:
        async with served(tmp_path) as host, await host.connect() as line:
            process = await line.create_process("journalctl -n 0 -f -o cat")
            await soon(lambda: bool(host.machine.journal._followers))
            for number in range(3):
                host.machine.say("k3s", f"line {number}")
                assert await process.stdout.readline() == f"line {number}\n"
            process.send_signal("TERM")
            done = await process.wait()
            assert done.exit_signal is not None
            assert done.exit_signal[0] == "TERM"
            await soon(lambda: not host.machine.journal._followers)

    asyncio.run(scene())


def test_a_client_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    """What ran for a client ends with its connection, in the middle of its output too."""

    async def scene() -> None:
        async with served(tmp_path) as host:
            line = await host.connect()
            await line.create_process("journalctl -f")
            await soon(lambda: bool(host.machine.journal._followers))
            assert [s.user for s in host.machine.sessions] == ["lab"]
            line.abort()
            await soon(lambda: not host.machine.journal._followers and not host.machine.sessions)

    asyncio.run(scene())


def test_sudo_takes_its_password_from_stdin(tmp_path: Path) -> None:
    """`sudo -S -p ''` over SSH: the password is read, not echoed, and what follows reaches the command."""

    async def scene() -> None:
        async with served(tmp_path) as host:
            host.machine.sudo_password = "secret"
            done = await command(host, "sudo -S -p '' -- cat", "secret\nmine\n")
            assert (done.stdout, done.stderr, done.exit_status) == ("mine\n", "", 0)
            assert (await command(host, "sudo -n true")).exit_status == 1

    asyncio.run(scene())


def test_closed_and_opened_again(tmp_path: Path) -> None:
    """While it is closed the port refuses, every connection is gone in mid-output, and it is the same port and key afterwards."""

    async def scene() -> None:
        async with served(tmp_path) as host:
            line = await host.connect()
            process = await line.create_process("journalctl -n 1 -f")
            await process.stdout.readline()
            host.server.close()
            done = await asyncio.wait_for(process.wait(), 5)
            assert done.exit_status is None
            with pytest.raises(ConnectionRefusedError):
                await host.connect()
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", host.server.port))  # nobody takes the port meanwhile
            await host.server.open()
            assert (await command(host, "hostname")).stdout == "k3s-worker-3\n"

    asyncio.run(scene())


def test_another_key_is_seen(tmp_path: Path) -> None:
    """A host that shows another key than the known one is not trusted by a client that checks."""

    async def scene() -> None:
        async with served(tmp_path) as host:
            host.server.close()
            host.server.host_key = key_pair(tmp_path / "another", "x")
            await host.server.open()
            with pytest.raises(asyncssh.HostKeyNotVerifiable):
                await host.connect()

    asyncio.run(scene())


def test_keys_last(tmp_path: Path) -> None:
    """A key that is in its file is used again; its file is for its owner alone."""
    first, again = key_pair(tmp_path / "k", "c"), key_pair(tmp_path / "k", "c")
    assert public(first) == public(again)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


def test_a_port_that_is_taken_is_not_waited_for(tmp_path: Path) -> None:
    """When the port of last time is in use by another program, any free one serves."""

    async def scene() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            server = HostServer(machine(), other.getsockname()[1], key_pair(tmp_path / "k", "c"), "")
            assert server.port != other.getsockname()[1]
            await server.aclose()

    asyncio.run(scene())


@need_ssh
def test_the_real_ssh(tmp_path: Path) -> None:
    """OpenSSH's client logs in by key with strict checking, gets streams and exit code, a prompt without a command, and 255 when dropped."""

    async def scene() -> None:
        async with served(tmp_path) as host:
            options = [
                "-p", str(host.server.port), "-i", str(host.key), "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
                "-o", f"UserKnownHostsFile={host.known_hosts}", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
            ]  # fmt: skip

            async def ssh(*words: str, stdin: bytes = b"") -> tuple[int | None, bytes, bytes]:
                process = await asyncio.create_subprocess_exec(
                    "ssh", *options, "lab@127.0.0.1", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
                out, err = await asyncio.wait_for(process.communicate(stdin), 10)
                return process.returncode, out, err

            assert await ssh("hostname; exit 3") == (3, b"k3s-worker-3\n", b"")
            assert (await ssh("nonsense"))[::2] == (127, b"bash: line 1: nonsense: command not found\n")
            assert await ssh("cat", stdin=b"a\nb\n") == (0, b"a\nb\n", b"")
            assert (await ssh("-tt", stdin=b"id -un\nexit\n"))[1].decode().count("lab") >= 2
            following = asyncio.create_task(ssh("journalctl -f"))
            await soon(lambda: bool(host.machine.journal._followers))
            host.server.close()
            assert (await following)[0] == 255

    asyncio.run(scene())
