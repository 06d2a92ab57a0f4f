"""The servers as fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.ssh.servers import SSHD, LabHost, Place, Simulated, Sshd, need_sshd, write_key

REAL = [pytest.param("sshd", marks=need_sshd), "asyncssh"]


def _made(kind: str, folder: Path) -> Iterator[Place]:
    key = write_key(folder / "id_site")
    server: Sshd | Simulated | LabHost
    if kind == "sshd":
        server = Sshd(folder, key)
    elif kind == "asyncssh":
        server = Simulated(folder, key)
    else:
        server = LabHost(folder, key)
    place = Place(folder, server, key)
    try:
        server.start()
        place.know()
        yield place
    finally:
        if isinstance(server, Sshd):
            server.stop()
        else:
            server.close()


@pytest.fixture(params=[*REAL, "lab"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Each of the three servers: what they have in common."""
    yield from _made(request.param, tmp_path)


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """The two that run real processes."""
    yield from _made(request.param, tmp_path)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Place]:
    """The most real one that is here: for what does not depend on the server."""
    yield from _made("sshd" if os.path.exists(SSHD) else "asyncssh", tmp_path)


@pytest.fixture(params=[pytest.param("sshd", marks=need_sshd)])
def sshd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """OpenSSH's own."""
    yield from _made(request.param, tmp_path)
