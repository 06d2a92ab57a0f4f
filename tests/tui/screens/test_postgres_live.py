"""The Postgres screen and its page over a Live that reads what somebody looks at, and lets go what nobody does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from coldtui.domain.readings import Known
from coldtui.domain.world import DATABASE, NOT_SHOWN, SESSIONS, SIZES, TABLES, World
from coldtui.live import Live
from coldtui.tui.app import ColdApp
from coldtui.tui.screens.postgres_page import PostgresPage
from coldtui.tui.site import Options
from tests.live.test_database import Servers, looking
from tests.live.test_database import site as kube_site
from tests.tui.consoles import Console, FixedSite, run
from tests.tui.worlds import NOW


@asynccontextmanager
async def postgres(servers: Servers) -> AsyncIterator[tuple[Console, Live]]:
    """The Postgres screen of a console over a running Live."""
    async with looking(kube_site(), servers) as live:
        site = FixedSite(cast(Any, live))
        app = ColdApp(site, Options(start="postgres", now=lambda: live.world.at))
        async with app.run_test(size=(120, 40)) as pilot:
            c = Console(app, pilot, site, [], NOW)
            await live.until(shown, 10)
            await refreshed(c)
            yield c, live
            assert not app.failures


def shown(world: World) -> bool:
    return isinstance(world.pg_sessions, Known) and isinstance(world.pg_progress, Known)


async def refreshed(c: Console) -> None:
    """What Live has now stands on the screen."""
    c.app.publish(force=True)
    await c.settle()


async def read_again(live: Live, servers: Servers, times: int = 4) -> None:
    """Whoever does not look would have been let go by now."""
    before = servers.count("sessions", "postgres-1")
    await live.until(lambda w: servers.count("sessions", "postgres-1") >= before + times or w.pg_sessions is NOT_SHOWN, 10)


def test_a_page_keeps_what_it_shows() -> None:
    """A page of a living session stays of it, with a dialog over it too; once neither the page nor its screen is looked at nothing is read."""

    async def check() -> None:
        servers = Servers()
        async with postgres(servers) as (c, live):
            await c.press("tab", "enter")
            assert isinstance(c.app.screen, PostgresPage)
            await read_again(live, servers)
            assert shown(live.world)
            await c.press("question_mark")
            assert c.app.screen.is_modal
            await read_again(live, servers)
            assert shown(live.world)
            await c.press("escape")
            await refreshed(c)
            assert isinstance(c.app.screen, PostgresPage)
            assert "session 7 is not there any more" not in c.text
            assert str(c.app.top.acts_on()) == "pg_sessions/7"
            await c.press("1")
            await live.until(lambda w: w.pg_sessions is NOT_SHOWN, 10)

    run(check())


@pytest.mark.parametrize(("tabs", "looks"), [(0, (DATABASE, SESSIONS)), (3, (DATABASE, SESSIONS, SIZES, TABLES))])
def test_a_page_looks_at_what_its_part_needs(tabs: int, looks: tuple[str, ...]) -> None:
    """Of an instance sessions and work in progress, of a database its tables too; the screen's own look has ended, and going back begins it again."""

    async def check() -> None:
        servers = Servers()
        async with postgres(servers) as (c, live):
            watch = live._database
            assert watch is not None
            await c.press(*("tab",) * tabs)
            await live.until(lambda w: tabs == 0 or isinstance(w.pg_databases, Known), 10)
            await refreshed(c)
            for keys in (("enter",), ("escape",)):
                await c.press(*keys)
                assert [set(what) for what in watch._looks.values()] == [set(looks)]

    run(check())
