"""How runs and the audit look: in the list, one opened, lost, waiting, without a readable journal; at both sizes and without colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from coldtui.adapters.journal import SqliteJournal
from coldtui.domain.readings import Trouble
from coldtui.domain.runs import What
from coldtui.tui.app import ColdApp
from coldtui.tui.screens.audit import AuditScreen
from coldtui.tui.screens.run import RunScreen
from coldtui.tui.screens.runs import RunsScreen
from coldtui.tui.site import Options
from tests.journals import Wall, write
from tests.tui.consoles import FixedLive, FixedSite
from tests.tui.screens.journaled import none_yet, running, with_board, world_of
from tests.tui.worlds import NOW

ID = "20261025-140000-7f3a"
SIZES = [(80, 24), (120, 40)]
TROUBLE = Trouble("journal", "the journal cannot be read: database disk image is malformed", "coldtui doctor")


def scene(name: str, folder: Path) -> tuple[ColdApp, SqliteJournal | None]:
    """A console in this state, frozen at its moment."""
    clock, at = Wall(NOW), NOW
    journal = running(folder, clock)
    write(journal, journal.run(ID), *(f"pods/production/redis-{n}: evicted, stops: {n} of 30 s" for n in range(30)), at=NOW)
    write(journal, journal.run(ID), "error: cannot reach production/redis-1", stream="err", at=NOW)
    if name == "lost":
        at = NOW + timedelta(seconds=40)
    if name == "waiting":
        clock.time = NOW - timedelta(seconds=75)
        journal.record(ID, What.WAITING, step=1, text="the Kubernetes API: connection refused by 127.0.0.1:6443")
        clock.time = NOW
        journal.beat(ID)
    world = none_yet() if name == "none" else world_of(journal, at=at)
    if name == "trouble":
        world = with_board(world, replace(world.runs, trouble=TROUBLE, since=NOW - timedelta(seconds=20)))
    start = "audit" if name == "audit" else "status" if name == "status" else "runs"
    site = FixedSite(FixedLive(world))
    site.live.journal = None if name in ("trouble", "none") else journal
    moment: datetime = at
    return ColdApp(site, Options(start=start, now=lambda: moment, state_dir=Path("/nonexistent"))), journal


async def until(pilot: Pilot[Any], test: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if test():
            await pilot.pause()
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never ready for its picture")


def ready(name: str) -> Callable[[Pilot[Any]], Any]:
    """Wait until everything that is read has been read."""

    async def prepare(pilot: Pilot[Any]) -> None:
        app = pilot.app
        assert isinstance(app, ColdApp)
        await pilot.pause()
        top = app.top
        if name in ("status", "none"):
            return
        if name == "audit":
            assert isinstance(top, AuditScreen)
            top._look()
            await until(pilot, lambda: not top._reading and bool(top._rows))
            await pilot.press("V")
            await until(pilot, lambda: "the chain holds" in "".join(str(line) for line in top.query_one("#chain").lines))  # type: ignore[attr-defined]
            return
        assert isinstance(top, RunsScreen)
        if name == "trouble":
            await until(pilot, lambda: bool(top.feed.trouble))
            return
        await until(pilot, lambda: top.feed.run is not None)
        if name in ("run", "things"):
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.top, RunScreen) and app.top.feed.run is not None)
        if name == "things":
            await pilot.press("tab")
        await pilot.pause(0.3)

    return prepare


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("name", ["none", "list", "run", "things", "lost", "waiting", "trouble", "audit", "status"])
def test_picture(snap_compare: Any, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    """Nothing is cut that must be read, and what is wrong is seen first."""
    app, journal = scene(name, tmp_path)
    try:
        assert snap_compare(app, terminal_size=size, run_before=ready(name))
    finally:
        if journal is not None:
            journal.close()


def test_picture_without_colours(snap_compare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR every state is still told by its glyph and its word."""
    monkeypatch.setenv("NO_COLOR", "1")
    app, journal = scene("lost", tmp_path)
    try:
        assert snap_compare(app, terminal_size=(80, 24), run_before=ready("lost"))
    finally:
        if journal is not None:
            journal.close()
