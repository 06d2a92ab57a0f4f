"""Failovers with three real servers: what each way does, what it proves before and after, and what it says was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from coldtui.domain.replication import lsn_text
from coldtui.lab.postgres.load import writing
from coldtui.operations.host_steps import kept
from tests.lab.conftest import until
from tests.lab.postgres.conftest import Place, Site
from tests.operations.postgres.failover_ground import Ground, ground

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def operator_down(at: Ground) -> AsyncIterator[None]:
    await at.faults.switch("operator-down", True, {})
    try:
        yield
    finally:
        await at.faults.switch("operator-down", False, {})


@asynccontextmanager
async def killed(on: Place, name: str) -> AsyncIterator[None]:
    """The server is killed with -9 and does not start again before the end."""
    orders = on.database.managers.orders
    orders.lost.add(name)
    await asyncio.to_thread(on.database.servers[name].kill)
    on.database.managers.by_name[name].wake()
    try:
        yield
    finally:
        orders.lost.discard(name)


async def until_down(on: Place, name: str) -> None:
    async def down() -> bool:
        pod = await on.pod(name)
        return any(c["type"] == "Ready" and c["status"] == "False" for c in pod["status"]["conditions"])

    await until(down)


def test_a_killed_primary_is_replaced_by_hand_while_the_operator_is_down(real: Site, tmp_path: Path) -> None:
    """The kubelet proves that it is stopped, the best replica is named and leads; the Service follows with the operator, and every row that it had is there."""

    async def scene(on: Place) -> None:
        old = (await on.status())["currentPrimary"]
        line = (await on.status())["timelineID"]
        async with ground(on, tmp_path) as at, writing(on.database.app_dsn, on.database.servers.passwords.app) as load:

            async def written() -> bool:
                return len(load.acknowledged) > 20

            await until(written)
            async with operator_down(at), killed(on, old):
                await until_down(on, old)
                plan = await at.plan()
                assert [step.name.partition(".")[2] for step in plan.steps] == ["prove-stopped", "promote", "verify-failover"]
                going = at.going(plan)
                task = asyncio.create_task(going.perform())

                async def missed() -> bool:
                    return any("cnpg-controller-manager back" in text for text in going.said)

                await until(missed)
            await task
            to = going.promotion["leads"]
            assert (to, going.promotion["line"]) == (plan.steps[-1].args["to"], line + 1)
            assert going.memo("postgres.prove-stopped")["proof"] == "container"
            assert any(f"{to} leads alone" in text for text in going.said)
            assert f"{old} is back and streams" in going.left
            assert kept(going.ctx, "outage_ms") > 0
        await on.until_whole()
        server = on.database.servers[(await on.status())["currentPrimary"]]
        beyond = server.sql(f"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '{lsn_text(going.promotion['switch'])}') > 0")
        assert beyond == [(True,)]
        assert await load.missing(server.dsn("app")) == []

    real.play(scene)
