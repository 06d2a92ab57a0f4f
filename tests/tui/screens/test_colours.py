"""Pictures in the other themes and without colours: Status, Nodes in trouble, and one dialog over them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coldtui.domain.world import World
from coldtui.present.rows import Cell, Tone
from coldtui.tui import theme
from coldtui.tui.app import ColdApp
from coldtui.tui.dialogs.base import Dialog
from tests.tui import worlds
from tests.tui.screens.wholes import app_of, lost, whole

Compare = Callable[..., bool]
OTHERS = [name for name in theme.names() if name != theme.DEFAULT]


def sick() -> World:
    """A node that does not report, one that is cordoned."""
    world = whole()
    names = sorted(world.nodes.items)
    kept = [n for n in world.nodes.items.values() if n.name not in names[1:3]]
    return worlds.with_nodes(world, [*kept, worlds.node(names[1], ready="Unknown"), worlds.node(names[2], cordoned=True)])


def app(what: str, name: str) -> ColdApp:
    if what == "status":
        return app_of(lost(whole()), start="status", theme=name)
    return app_of(sick(), start="nodes", theme=name)


async def open_dialog(pilot: object) -> None:
    app = pilot.app  # type: ignore[attr-defined]
    app.push_screen(
        Dialog("Save", [(Cell("/tmp/pod.log", Tone.STRONG),), (Cell("is there already. Its text will be replaced."),)], "Replace it")
    )
    await pilot.pause()  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", ["status", "nodes", "dialog"])
@pytest.mark.parametrize("name", OTHERS)
def test_theme(snap_compare: Compare, name: str, what: str) -> None:
    """Trouble, staleness and the focus can be told in each theme."""
    assert snap_compare(app(what, name), terminal_size=(80, 24), run_before=open_dialog if what == "dialog" else None)


@pytest.mark.parametrize("what", ["status", "nodes", "dialog"])
def test_without_colours(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Under NO_COLOR words, glyphs, bold and reverse say what colours said."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(app(what, ""), terminal_size=(80, 24), run_before=open_dialog if what == "dialog" else None)
