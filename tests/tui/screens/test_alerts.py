"""Alerts: the list, where enter leads, and what an empty list may claim."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coldtui.domain.objects import Ref
from coldtui.domain.problems import problems
from coldtui.domain.world import World
from coldtui.tui.screens.alerts import UNWATCHED, AlertsScreen, nothing_wrong, unread_text
from coldtui.tui.screens.describe import DescribeScreen
from coldtui.tui.screens.pods import PodsScreen
from coldtui.tui.screens.storage import StorageScreen
from coldtui.tui.widgets.table import RowTable
from tests.tui import worlds
from tests.tui.consoles import console, run, snapshot_app
from tests.tui.screens import sites
from tests.tui.worlds import NOW


def calm_text(world: World) -> str:
    return "\n".join("".join(cell.text for cell in line) for line in nothing_wrong(world, NOW))


def test_six_lists_the_problems_worst_first() -> None:
    """6 shows the very problems that the second line counts, the worst first, with cause and what they hit."""

    async def check() -> None:
        world = sites.stored(sites.troubled())
        async with console(world) as c:
            await c.press("6")
            assert isinstance(c.app.screen, AlertsScreen)
            assert list(c.app.screen.query_one(RowTable).keys) == [p.key for p in problems(world, NOW)]
            assert "Alerts [4]" in c.text
            assert "1 of 4" in c.text
            await c.press("j")
            assert "Hits    deployment cold-prod/customer-portal" in c.text
            assert "Cause   back-off 5m0s restarting failed container=portal" in c.text
            assert UNWATCHED in c.text

    run(check())


def test_enter_lands_on_the_object() -> None:
    """Enter goes where the object is listed, with the cursor on it: a pod on Pods, a volume and a disk on Storage."""

    async def check() -> None:
        async with console(sites.stored(sites.troubled()), start="alerts") as c:
            await c.press("j", "enter")
            assert isinstance(c.app.screen, PodsScreen)
            assert c.app.top.subject() == Ref("pods", "customer-portal-5c4b-2k8", "cold-prod")
            await c.press("6", "j", "enter")
            assert isinstance(c.app.screen, StorageScreen)
            found = c.app.top.subject()
            assert found is not None
            assert found.kind == "lh_volumes"
            await c.press("6", "g", "enter")
            assert c.app.top.subject() == Ref("lh_nodes", "k3s-worker-4", "longhorn-system")

    run(check())


def test_describe_from_an_alert() -> None:
    """d describes the object of the alert under the cursor; an alert about a source says that there is none."""

    async def check() -> None:
        async with console(sites.troubled(), start="alerts") as c:
            await c.press("d")
            assert isinstance(c.app.screen, DescribeScreen)
            assert c.app.screen.ref == Ref("pods", "customer-portal-5c4b-2k8", "cold-prod")
        async with console(worlds.lost(worlds.healthy()), start="alerts") as c:
            await c.press("d")
            assert "not about an object" in c.text
            await c.press("enter")
            assert "connection refused by 127.0.0.1:6443 · is the K3s service runn" in c.lines()[-1]

    run(check())


def test_all_clear_only_when_everything_was_read() -> None:
    """The green words come with a whole World alone; what is loading, old or not permitted is named, what is not installed is not missing."""
    healthy = worlds.healthy()
    assert "● no problems in all that is read" in calm_text(healthy)
    assert "5 nodes, 15 pods, 2 deployments, 1 PostgreSQL cluster" in calm_text(healthy)
    absent = worlds.not_installed(healthy, "lh_volumes", "ip_pools")
    assert "● no problems" in calm_text(absent)
    assert "Longhorn volumes, address pools" in calm_text(absent)
    for world, said in (
        (worlds.partial(healthy, "pods"), "pods (loading, partial)"),
        (worlds.saved(healthy, "nodes"), "nodes (saved 12m)"),
        (worlds.forbidden(healthy, "events", "leases"), "node leases, events (not permitted)"),
        (worlds.failed(healthy, "claims"), "volume claims (failed: no answer from 127.0.0.1:6443 within 10 s)"),
    ):
        assert "●" not in calm_text(world)
        assert "? no problems among what could be read" in calm_text(world)
        assert said in calm_text(world)
    assert "? not known: nothing could be judged yet" in calm_text(worlds.loading())
    assert unread_text(worlds.loading(), NOW) == "everything (loading)"


def test_problems_come_and_go_under_the_cursor() -> None:
    """From calm to trouble and back: the list appears with the cursor in it and gives way again; keys work at once."""

    async def check() -> None:
        async with console(worlds.healthy(), start="alerts") as c:
            assert "no problems in all that is read" in c.text
            assert "enter Open" not in c.lines()[-1]
            await c.put(sites.troubled())
            assert "Alerts [1]" in c.text
            assert isinstance(c.app.focused, RowTable)
            await c.press("enter")
            assert isinstance(c.app.screen, PodsScreen)
            await c.press("6")
            await c.put(replace(worlds.healthy(), revision=77))
            assert "no problems in all that is read" in c.text

    run(check())


def test_what_was_not_judged_is_told_beside_problems() -> None:
    """With problems in the list the line below says what they do not cover."""

    async def check() -> None:
        async with console(worlds.forbidden(sites.troubled(), "lh_volumes"), start="alerts") as c:
            assert "not judged: Longhorn volumes (not permitted)" in c.text

    run(check())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (62, 16)])
def test_hostile_names(size: tuple[int, int]) -> None:
    """Problems of objects with hostile names are text, in list and pane."""

    async def check() -> None:
        pods = [worlds.pod(name, state="CrashLoopBackOff", message=name, created=worlds.ago(hours=1)) for name in worlds.HOSTILE]
        async with console(worlds.with_pods(worlds.healthy(), pods), size=size, start="alerts") as c:
            for _ in pods:
                await c.press("j")
            assert c.app.is_running
            assert len(c.lines()) == size[1]

    run(check())


def state(name: str) -> World:
    troubled = sites.stored(sites.troubled())
    made: dict[str, World] = {
        "calm": worlds.healthy(), "troubled": troubled, "loading": worlds.loading(), "stale": worlds.lost(troubled),
        "forbidden": worlds.forbidden(worlds.healthy(), "pods", "events"), "not installed": worlds.not_installed(worlds.healthy(), "lh_nodes", "lh_volumes"),
        "saved": worlds.saved(worlds.healthy()),
    }  # fmt: skip
    return made[name]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", ["calm", "troubled", "loading", "stale", "forbidden", "not installed", "saved"])
def test_alerts_picture(snap_compare: object, size: tuple[int, int], name: str) -> None:
    """How alerts look in each state of the sources."""
    assert snap_compare(snapshot_app(state(name), start="alerts"), terminal_size=size, press=("j",))  # type: ignore[operator]
