"""Status and the screens that are tables with a pane: pictures in each state, and where keys lead."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coldtui.domain.kinds import WATCHED
from coldtui.domain.objects import Ref
from coldtui.domain.world import World
from coldtui.tui.screens.deployments import DeploymentScreen, DeploymentsScreen
from coldtui.tui.screens.listings import ListingsScreen
from coldtui.tui.screens.nodes import NodesScreen
from coldtui.tui.screens.postgres import PostgresScreen
from coldtui.tui.widgets.table import RowTable
from tests.tui import worlds
from tests.tui.consoles import console, run
from tests.tui.screens.wholes import app_of, lost, whole

Compare = Callable[..., bool]
SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]
CUSTOM = tuple(kind.name for kind in WATCHED if kind.custom)
KINDS_OF = {
    "status": ("nodes", "pods", "deployments"),
    "postgres": ("pg_clusters",),
    "backups": ("pg_backups", "lh_backups", "etcd_snapshots", "pg_schedules", "lh_jobs"),
    "deployments": ("deployments", "statefulsets", "daemonsets"),
    "events": ("events",),
    "vips": ("services", "l2_statuses"),
    "k3s": ("upgrade_plans", "etcd_snapshots"),
}
STATES: dict[str, Callable[[World, str], World]] = {
    "healthy": lambda world, screen: world,
    "loading": lambda world, screen: worlds.loading(world),
    "stale": lambda world, screen: lost(world),
    "forbidden": lambda world, screen: worlds.forbidden(world, *KINDS_OF[screen]),
    "not-installed": lambda world, screen: worlds.not_installed(world, *CUSTOM, "node_usage"),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("screen", KINDS_OF)
def test_picture(snap_compare: Compare, screen: str, state: str, size: tuple[int, int]) -> None:
    """Each screen in each state looks as it did when a person last judged it."""
    assert snap_compare(app_of(STATES[state](whole(), screen), start=screen), terminal_size=size)


@pytest.mark.parametrize("theme", ["light", "high-contrast", "blue-orange", "ansi"])
def test_status_in_other_themes(snap_compare: Compare, theme: str) -> None:
    """The home screen in each theme that is not the default."""
    assert snap_compare(app_of(lost(whole()), start="status", theme=theme), terminal_size=(120, 40))


def test_enter_on_home_lands_on_the_worst_problem_and_on_a_card_opens_its_screen() -> None:
    """Without a focused card enter goes to the object of the worst problem; tab and enter go to what the card is about."""

    async def check() -> None:
        world = worlds.healthy()
        sick = worlds.with_nodes(
            world, [worlds.node("k3s-worker-2", ready="Unknown"), *(n for n in world.nodes.items.values() if n.name != "k3s-worker-2")]
        )
        async with console(sick, start="status") as c:
            await c.press("enter")
            assert isinstance(c.app.screen, NodesScreen)
            assert c.app.top.subject() == Ref("nodes", "k3s-worker-2")
            await c.press("1", "tab", "tab", "tab", "tab", "enter")
            assert isinstance(c.app.screen, PostgresScreen)

    run(check())


def test_the_pane_follows_the_focused_table() -> None:
    """Shift-tab goes to the last part, and the pane and what d describes go with it."""

    async def check() -> None:
        async with console(whole(), start="postgres", size=(120, 40)) as c:
            assert c.app.top.subject() == Ref("pods", "postgres-1", "cold")
            await c.press("shift+tab")
            assert c.app.top.subject() == Ref("pg_clusters", "cold-postgres", "cold")
            assert "cold-postgres" in c.text

    run(check())


def test_enter_on_a_deployment_opens_its_rollout_tree() -> None:
    """The tree shows the deployment first; esc goes back to the list with the cursor where it was."""

    async def check() -> None:
        async with console(whole(), start="deployments") as c:
            await c.press("j", "enter")
            assert isinstance(c.app.screen, DeploymentScreen)
            tree = c.app.screen.query_one(RowTable)
            assert tree.keys[0] == "deployments/cold-prod/cold-backend"
            await c.press("escape")
            assert isinstance(c.app.screen, DeploymentsScreen)
            assert c.app.top.subject() == Ref("deployments", "cold-backend", "cold-prod")

    run(check())


@pytest.mark.parametrize("screen", [s for s in KINDS_OF if s != "status"])
def test_every_listed_object_can_be_revealed(screen: str) -> None:
    """What describe is about on a row is found again by its address: links and the worst line land on it."""

    async def check() -> None:
        async with console(whole(), start=screen) as c:
            top = c.app.top
            assert isinstance(top, ListingsScreen)
            for part in top.PARTS:
                table = top.query_one(f"#{part.id}", RowTable)
                for key in table.keys:
                    assert table.select(key)
                    assert table.item is not None
                    ref = part.ref(table.item)
                    if ref is not None:
                        assert top.reveal(ref), ref
                        assert part.ref(table.item) == ref

    run(check())
