"""The servers that the tests of this folder share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import DEBIAN, Server, running, wheel


@pytest.fixture(scope="package", params=["18", "15"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """In a folder of its own: pytest closes its root to the servers' user whenever a session of it begins."""
    if request.param == "15" and not (DEBIAN / "postgres").exists():
        pytest.skip(f"PostgreSQL 15 is not installed in {DEBIAN}")
    programs = DEBIAN if request.param == "15" else wheel()
    with tempfile.TemporaryDirectory(prefix="coldtui-pg-") as folder, running(programs, Path(folder) / "server") as made:
        yield made


@pytest.fixture
def monitor(server: Server) -> Iterator[Server]:
    server.super("GRANT pg_monitor TO coldtui")
    yield server
    server.super("REVOKE pg_monitor FROM coldtui")
