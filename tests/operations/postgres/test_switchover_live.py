"""Switchovers with three real servers under a writing client: what is done, measured, proven, and said when it does not go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldtui.lab.postgres.load import writing
from tests.lab.conftest import until
from tests.lab.postgres.conftest import Place, Site
from tests.operations.postgres.ground import ground

pytestmark = pytest.mark.timeout(240)


def other_than(name: str, names: list[str]) -> str:
    return next(n for n in sorted(names) if n != name)


def test_three_in_a_row_lose_no_acknowledged_row(real: Site, tmp_path: Path) -> None:
    """Under a writing client: each is proven, one timeline further, with its outage in ms; all standbys stream, and every acknowledged row is everywhere."""

    async def scene(on: Place) -> None:
        async with ground(on, tmp_path) as at, writing(on.database.app_dsn, on.database.servers.passwords.app) as load:

            async def written() -> bool:
                return len(load.acknowledged) > 20

            await until(written)
            for _ in range(3):
                before = await on.status()
                target = other_than(before["currentPrimary"], before["instanceNames"])
                going = await at.going(target)
                await going.perform()
                after = await on.status()
                assert (after["currentPrimary"], after["targetPrimary"]) == (target, target)
                assert after["timelineID"] == before["timelineID"] + 1
                assert await on.lease() == target
                assert await on.endpoints("rw") == [target]
                assert going.memo["outage_ms"] > 0
                assert f"timeline {before['timelineID']} -> {after['timelineID']}; writes through vip stopped for" in going.memo["outcome"]
                stages = [text.partition(" s: ")[2] for text in going.said if " s: " in text]
                assert f"currentPrimary is {target}" in stages
                assert abs(going.memo["outage_ms"] / 1000 - max(load.gaps[-3:])) < 1.5, (going.memo["outage_ms"], load.gaps)
                assert await on.whole() or await on.until_whole()
            count = len(load.acknowledged)

            async def more() -> bool:
                return len(load.acknowledged) > count + 10

            await until(more)
        await on.until_whole()
        for server in on.database.servers.values():
            assert await load.missing(server.dsn("app")) == []

    real.play(scene)
