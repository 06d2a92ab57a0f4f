"""A console over a hand-made World, without a terminal and in one: for every test of a screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from textual.message import Message
from textual.pilot import Pilot

from coldtui.domain.errors import HostKeyUnknown
from coldtui.domain.world import World
from coldtui.ports import Journal
from coldtui.tui.app import ColdApp
from coldtui.tui.picture import Picture
from coldtui.tui.site import Options
from tests.tui import harness
from tests.tui.worlds import NOW

harness.install()


class FixedLive:
    """A `Live` that shows what the test puts in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal: Journal | None = None
        self.refreshed = 0
        self.told: list[Callable[[World], None]] = []

    def subscribe(self, changed: Callable[[World], None]) -> Callable[[], None]:
        self.told.append(changed)
        return lambda: self.told.remove(changed)

    def refresh(self) -> None:
        self.refreshed += 1

    def put(self, world: World) -> None:
        """A newer World, as the site's builder would publish it."""
        from dataclasses import replace

        self.world = replace(world, revision=max(world.revision, self.world.revision + 1))
        for changed in list(self.told):
            changed(self.world)


@dataclass
class FixedSite:
    live: FixedLive
    kube: Any = None
    """Put a fake of the port here when the screen asks single questions."""
    desk: Any = None
    """Without one nothing can be changed."""
    trusted: list[str] = field(default_factory=list)
    stranger: HostKeyUnknown | None = None
    """What the host of a node shows that nobody accepted yet."""

    async def unknown_key(self, node: str, ip: str = "") -> HostKeyUnknown | None:
        return self.stranger

    def trust(self, line: str) -> str:
        self.trusted.append(line)
        return "/root/.ssh/known_hosts"


@dataclass
class Console:
    """A running console under test."""

    app: ColdApp
    pilot: Pilot[int]
    site: FixedSite
    messages: list[Message] = field(default_factory=list)
    moment: datetime = NOW

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def settle(self) -> None:
        await self.pilot.pause()
        await self.pilot.pause()

    async def put(self, world: World) -> None:
        """A newer World, shown at once."""
        self.site.live.put(world)
        self.app.publish(force=True)
        await self.settle()

    async def at(self, moment: datetime) -> None:
        """Time passes; the tick comes."""
        self.moment = moment
        self.app.publish(force=True)
        await self.settle()

    def lines(self) -> list[str]:
        """The screen as text."""
        screen = self.app.screen
        return [strip.text.rstrip() for strip in screen._compositor.render_strips(screen.size)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines())


@asynccontextmanager
async def console(
    world: World,
    *,
    size: tuple[int, int] = (80, 24),
    start: str = "",
    kube: Any = None,
    options: Options | None = None,
    picture: Picture | None = None,
    errors: int = 0,
    desk: Any = None,
) -> AsyncIterator[Console]:
    """A console over a World at the frozen moment. An internal error anywhere fails the test, unless it expects so many `errors`."""
    site = FixedSite(FixedLive(world), kube, desk)
    made: list[Console] = []
    from dataclasses import replace

    chosen = replace(options or Options(), start=start or (options.start if options else ""), now=lambda: made[0].moment if made else NOW)
    app = ColdApp(site, chosen, picture)
    messages: list[Message] = []
    async with app.run_test(size=size, notifications=True, message_hook=messages.append) as pilot:
        made.append(Console(app, pilot, site, messages))
        await made[0].settle()
        yield made[0]
        failures = list(app.failures)
    if len(failures) != errors:
        raise AssertionError(f"internal errors: {failures!r}") from (failures[0] if failures else None)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def snapshot_app(world: World, *, start: str = "", keys: tuple[str, ...] = (), theme: str = "cold", kube: Any = None) -> ColdApp:
    """An app for `snap_compare`; `keys` are pressed by `snap_compare(press=...)`."""
    options = Options(theme=theme, start=start, now=lambda: NOW, state_dir=Path("/nonexistent"))
    return ColdApp(FixedSite(FixedLive(world), kube), options)
