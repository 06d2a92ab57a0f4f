"""What a real standby tells of its timeline after a role change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coldtui.adapters.postgres import PostgresAdapter
from coldtui.adapters.postgres.lines import Lines
from coldtui.config.settings import PostgresSection
from coldtui.domain.errors import ColdError
from coldtui.domain.secret import Secret
from coldtui.lab.postgres.programs import Programs
from coldtui.lab.postgres.server import Server
from coldtui.lab.postgres.servers import Servers, running, slot
from tests.lab.conftest import until

pytestmark = pytest.mark.timeout(120)
CONTROL_FILE = "SELECT timeline_id FROM pg_control_checkpoint()"


def test_a_standby_that_lost_its_primary_after_a_switchover(tmp_path: Path) -> None:
    """Its control file is on the old timeline, for minutes; what it has received is on the new one, and that is what is told, with and without
    a receiver."""
    try:
        programs = Programs()
    except ColdError as error:
        pytest.skip(str(error))
    with running(tmp_path / "site", programs) as servers:
        first, second, third = servers["postgres-1"], servers["postgres-2"], servers["postgres-3"]
        first.stop()
        second.promote()
        second.sql(f"SELECT pg_create_physical_replication_slot('{slot('postgres-3')}', true)")
        third.follow(second.port, servers.passwords.streaming_replica, slot("postgres-3"))
        third.reload()
        asyncio.run(_scene(servers, second, third))


async def _scene(servers: Servers, leader: Server, standby: Server) -> None:
    adapter = PostgresAdapter(Lines(PostgresSection(), {"postgres": Secret(servers.passwords.coldtui)}, {}), writable=False)
    adapter.at("postgres-3", "127.0.0.1", standby.port)

    async def follows() -> bool:
        found = await adapter.status("postgres-3")
        return found.receiver is not None and found.receiver.status == "streaming" and (found.timeline, found.timeline_sure) == (8, True)

    async def alone() -> bool:
        return (await adapter.status("postgres-3")).receiver is None

    try:
        await until(follows)
        assert standby.sql(CONTROL_FILE) == [(7,)]
        await asyncio.to_thread(leader.kill)
        await until(alone)
        left = await adapter.status("postgres-3")
        assert (left.timeline, left.timeline_sure) == (8, True)
        assert standby.sql(CONTROL_FILE) == [(7,)]
    finally:
        await adapter.aclose()
