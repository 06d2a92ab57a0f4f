"""Storage: three tables in one screen, their details, and the storage of one node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coldtui.domain.objects import Ref
from coldtui.domain.storage import Claim
from coldtui.domain.world import World
from coldtui.present import storage as storage_words
from coldtui.present.lines import plain_text
from coldtui.tui.screens.storage import StorageScreen, StoredScreen
from coldtui.tui.widgets.table import RowTable
from tests.tui import worlds
from tests.tui.consoles import console, run, snapshot_app
from tests.tui.screens import sites
from tests.tui.worlds import NOW

DEGRADED = "longhorn-system/pvc-7f311c22-5f0e-4a9c-9f51-1d2f6f0e8a11"


def test_command_opens_volumes_nodes_and_claims() -> None:
    """`:storage` has no digit; it shows the sum, the volumes, the nodes and the claims at 80x24, and tab gives room to the next."""

    async def check() -> None:
        async with console(sites.stored()) as c:
            c.app.run_command("storage")
            await c.settle()
            assert isinstance(c.app.screen, StorageScreen)
            for words in (
                "510 GiB of 800 GiB",
                "Longhorn volumes [3]",
                "Longhorn nodes [4]",
                "Volume claims (all namespaces) [4]",
                "◐ rebuild 40%",
            ):
                assert words in c.text
            assert "k3s-worker-3" not in c.text
            await c.press("tab")
            assert "k3s-worker-3" in c.text
            await c.press("tab")
            assert "cold-postgres-2" in c.text.partition("Volume claims")[2]
            assert c.app.top.subject() == Ref("claims", "portal-data", "cold-prod")

    run(check())


def test_enter_shows_the_copies_of_a_volume() -> None:
    """Enter opens the volume with each copy and its node, live; esc comes back; d describes it."""

    async def check() -> None:
        async with console(sites.stored(), start="storage") as c:
            assert c.app.top.reveal(Ref("lh_volumes", DEGRADED.partition("/")[2], "longhorn-system"))
            await c.press("enter")
            assert isinstance(c.app.screen, StoredScreen)
            for words in ("◐ rebuild 40%", "2/3 good", "◐ rebuilding", "has 2 of 3 copies"):
                assert words in c.text
            assert c.app.top.subject() == Ref("lh_volumes", DEGRADED.partition("/")[2], "longhorn-system")
            await c.put(worlds.without(sites.stored(), "lh_volumes"))
            assert "no longer in the cluster" in c.text
            await c.put(worlds.stale(sites.stored(), "lh_volumes"))
            assert "stale 30s" in c.text
            await c.press("escape")
            assert isinstance(c.app.screen, StorageScreen)

    run(check())


def test_links_reveal() -> None:
    """A copy is found at its volume, a node and a claim in their own tables; what is not there is not claimed to be."""

    async def check() -> None:
        async with console(sites.stored(), start="storage") as c:
            screen = c.app.top
            assert screen.reveal(Ref("lh_replicas", f"{DEGRADED.partition('/')[2]}-r-1", "longhorn-system"))
            assert screen.subject() == Ref("lh_volumes", DEGRADED.partition("/")[2], "longhorn-system")
            assert screen.reveal(Ref("lh_nodes", "k3s-worker-3", "longhorn-system"))
            await c.settle()
            assert screen.subject() == Ref("lh_nodes", "k3s-worker-3", "longhorn-system")
            assert screen.reveal(Ref("claims", "scratch", "cold-prod"))
            await c.settle()
            assert screen.subject() == Ref("claims", "scratch", "cold-prod")
            assert not screen.reveal(Ref("claims", "nothing", "cold-prod"))

    run(check())


def test_without_longhorn_the_claims_come_first() -> None:
    """Another kind of storage: Longhorn is said to be not installed, and the claims have the room and the cursor."""

    async def check() -> None:
        world = worlds.not_installed(sites.stored(), "lh_volumes", "lh_nodes", "lh_replicas", "lh_engines")
        async with console(world, start="storage") as c:
            assert "Longhorn volumes: not installed on this cluster" in c.text
            assert isinstance(c.app.focused, RowTable)
            assert c.app.focused.id == "claims"
            assert "scratch" in c.text

    run(check())


def test_storage_of_one_node() -> None:
    """A node's storage: its disks, what is attached, and every copy with how many good ones there are elsewhere; bad copies first."""
    world = sites.stored()
    failed = next(r for r in world.lh_replicas.items.values() if r.node == "k3s-worker-2")
    broken = worlds.with_shelf(
        world, "lh_replicas", [*(r for r in world.lh_replicas.items.values() if r.key != failed.key), replace(failed, failed_at=NOW)]
    )
    text = plain_text(storage_words.on_node(broken, "k3s-worker-2", NOW))
    for words in ("/var/lib/longhorn/", "41%", "ATTACHED", "postgres/cold-postgres-2", "▲ failed"):
        assert words in text
    assert text.index("failed") < text.rindex("good")
    assert "1 not good" in plain_text([storage_words.node_line(broken, "k3s-worker-2", NOW)])
    assert "not installed" in plain_text([storage_words.node_line(worlds.not_installed(world, "lh_nodes"), "k3s-worker-2", NOW)])
    stale = plain_text([storage_words.node_line(worlds.stale(world), "k3s-worker-2", NOW)])
    assert "●" not in stale


def test_node_screen_shows_its_storage() -> None:
    """In a line at 80x24, with disks and copies where there is room."""

    async def check() -> None:
        async with console(sites.stored(), start="nodes") as c:
            await c.press("j", "j", "enter")
            assert "Storage         ● ready  41% full · 2 copies · 1 attached" in c.text
        async with console(sites.stored(), size=(120, 40), start="nodes") as c:
            await c.press("j", "j", "enter")
            for words in ("ATTACHED", "/var/lib/longhorn/", "postgres/cold-postgres-2"):
                assert words in c.text

    run(check())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (62, 16)])
def test_hostile_names(size: tuple[int, int]) -> None:
    """Claims with hostile names are text in the list, the pane and their own screen."""

    async def check() -> None:
        claims = [Claim("ns", name, phase="Bound", storage_class=name, volume=name) for name in worlds.HOSTILE]
        async with console(worlds.with_shelf(sites.stored(), "claims", claims), size=size, start="storage") as c:
            await c.press("tab", "tab")
            for _ in claims:
                await c.press("enter")
                assert isinstance(c.app.screen, StoredScreen)
                await c.press("escape", "j")
            assert c.app.is_running

    run(check())


def state(name: str) -> World:
    world = sites.stored()
    longhorn = ("lh_volumes", "lh_nodes", "lh_replicas", "lh_engines")
    made: dict[str, World] = {
        "healthy": world, "loading": worlds.loading(), "stale": worlds.stale(world), "forbidden": worlds.forbidden(world, *longhorn, "claims"),
        "not installed": worlds.not_installed(world, *longhorn),
    }  # fmt: skip
    return made[name]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", ["healthy", "loading", "stale", "forbidden", "not installed"])
def test_storage_picture(snap_compare: object, size: tuple[int, int], name: str) -> None:
    """How storage looks in each state of its sources."""
    assert snap_compare(snapshot_app(state(name), start="storage"), terminal_size=size, press=("j", "j"))  # type: ignore[operator]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_volume_picture(snap_compare: object, size: tuple[int, int]) -> None:
    """How one degraded volume looks."""
    assert snap_compare(snapshot_app(sites.stored(), start="storage"), terminal_size=size, press=("j", "j", "enter"))  # type: ignore[operator]
