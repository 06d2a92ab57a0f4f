"""How long writes stopped, from the tries that were accepted and refused."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from coldtui.domain.errors import Unauthorized, Unreachable
from coldtui.operations.postgres.probe import WriteProbe
from coldtui.ports import Clock, Database


class Path:
    """A path on which each try ends as the script has it: (the time by then, the server or nothing)."""

    def __init__(self, *script: tuple[float, str]) -> None:
        self.script, self.now, self.over = list(script), 0.0, asyncio.Event()

    def monotonic(self) -> float:
        return self.now

    async def probe_write(self, target: str, *, deadline_s: float) -> str:
        if not self.script:
            self.over.set()
            await asyncio.Event().wait()
        self.now, where = self.script.pop(0)
        if where == "barred":
            raise Unauthorized(f"{target} does not let coldtui in")
        if not where:
            raise Unreachable(f"{target} refuses")
        return where


async def measured(path: Path) -> WriteProbe:
    async with WriteProbe(cast(Database, path), "vip", cast(Clock, cast(Any, path)), every_s=0.001) as probe:
        await path.over.wait()
    return probe


async def test_refused_writes_are_an_outage() -> None:
    """From the last accepted to the next one with refused ones in between."""
    probe = await measured(Path((1.0, "a"), (1.1, "a"), (1.2, ""), (1.5, ""), (1.9, "a"), (2.0, "a")))
    assert (probe.outage_ms, probe.words()) == (800, "writes through vip stopped for 800 ms")


async def test_a_path_that_nobody_tried_in_between_is_an_outage_all_the_same() -> None:
    """Where another server took the next write, nobody took one meanwhile: a busy machine may try too seldom to be refused."""
    probe = await measured(Path((1.0, "a"), (1.1, "a"), (1.7, "b"), (1.8, "b")))
    assert probe.outage_ms == 600


async def test_a_slow_path_is_no_outage() -> None:
    """Writes that took long and were all accepted by the same server."""
    probe = await measured(Path((1.0, "a"), (1.9, "a"), (2.9, "a")))
    assert (probe.outage_ms, probe.words()) == (0, "no write through vip was refused")


async def test_of_several_pauses_the_longest_is_the_outage() -> None:
    """It is what an application sees at once; all together stand beside it."""
    probe = await measured(Path((1.0, "a"), (1.2, ""), (1.3, ""), (1.4, "a"), (1.5, "a"), (1.6, ""), (1.7, ""), (2.3, "a"), (2.4, "a")))
    assert probe.words() == "writes through vip stopped for 800 ms at the longest, 1,200 ms in all in 2 pauses"
    assert probe.memo() == {"outage_ms": 800, "outage_total_ms": 1200, "pauses": 2}


async def test_an_outage_that_has_not_ended_is_told() -> None:
    """Until now, alone and after others."""
    probe = await measured(Path((1.0, "a"), (1.1, ""), (2.1, ""), (2.5, "")))
    assert probe.words() == "writes through vip stopped for 1,500 ms until now"
    probe = await measured(Path((1.0, "a"), (1.1, ""), (1.2, ""), (1.3, "a"), (1.4, ""), (2.0, ""), (2.3, "")))
    assert probe.words() == "writes through vip stopped for 1,000 ms at the longest, 1,300 ms in all in 2 pauses, the last until now"


async def test_a_refused_login_is_no_outage() -> None:
    """After three in a row nobody is asked any more, and nothing is claimed; one among accepted writes is nothing."""
    path = Path((1.0, "barred"), (1.1, "barred"), (1.2, "barred"), *[(1.3, "barred")] * 500)
    async with WriteProbe(cast(Database, path), "vip", cast(Clock, cast(Any, path)), every_s=0.001) as probe:
        assert probe._task is not None
        await asyncio.wait_for(probe._task, 5)
    assert len(path.script) > 490
    assert probe.words() == "the outage was not measured: vip does not let coldtui in"
    assert probe.memo()["outage_ms"] is None
    assert not (await measured(Path((1.0, "a"), (1.1, "barred"), (1.2, "a"), (1.3, "a")))).barred


async def test_an_outage_that_was_seen_before_counts_without_a_refused_try() -> None:
    """Writes that are back at the first try were away until then; the figures agree with each other."""
    path = Path((60.0, "a"), (60.1, "a"))
    async with WriteProbe(cast(Database, path), "vip", cast(Clock, cast(Any, path)), every_s=0.001, first=2.0, out=True) as probe:
        path.now = 5.0
        assert probe.memo() == {"outage_ms": 3000, "outage_total_ms": 3000, "pauses": 1}
        await path.over.wait()
    assert probe.memo() == {"outage_ms": 58000, "outage_total_ms": 58000, "pauses": 1}
    assert probe.words() == "writes through vip stopped for 58,000 ms"
