"""Pictures of the Nodes screen in each state, at both designed sizes. Look at the report before taking a new one for right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.app import App

from coldtui.domain.world import World
from tests.tui import worlds
from tests.tui.consoles import snapshot_app

Compare = Callable[..., bool]


def _sick() -> World:
    world = worlds.healthy()
    others = [n for n in world.nodes.items.values() if n.name not in {"k3s-worker-2", "k3s-worker-4"}]
    return worlds.with_nodes(world, [*others, worlds.node("k3s-worker-2", ready="Unknown"), worlds.node("k3s-worker-4", cordoned=True)])


STATES: dict[str, Callable[[], World]] = {
    "healthy": worlds.healthy,
    "sick": _sick,
    "loading": worlds.loading,
    "stale": lambda: worlds.lost(worlds.healthy()),
    "forbidden": lambda: worlds.forbidden(worlds.healthy(), "nodes"),
    "not-installed": lambda: worlds.not_installed(worlds.healthy(), "node_usage"),
}


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("state", STATES)
def test_nodes(snap_compare: Compare, state: str, size: tuple[int, int]) -> None:
    """The Nodes screen looks as it did."""
    app: App[int] = snapshot_app(STATES[state](), start="nodes")
    assert snap_compare(app, terminal_size=size)


def test_node(snap_compare: Compare) -> None:
    """The screen of one node looks as it did."""
    assert snap_compare(snapshot_app(worlds.healthy(), start="nodes"), terminal_size=(120, 40), press=["j", "j", "enter"])


def test_hostile_names(snap_compare: Compare) -> None:
    """Wide, long and markup-like names stand in their columns."""
    world = worlds.with_nodes(worlds.healthy(), [worlds.node(name) for name in worlds.HOSTILE])
    assert snap_compare(snapshot_app(world, start="nodes"), terminal_size=(80, 24))
