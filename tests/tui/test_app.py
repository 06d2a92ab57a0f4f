"""The console: keys, commands, notices, errors, the tick, and what small or hostile surroundings do to it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from textual.widgets import Input

from coldtui.domain.objects import Ref
from coldtui.domain.world import World
from coldtui.tui import commands, keymap, theme
from coldtui.tui.app import ColdApp, plain_letters_only, refusal, wants_mouse
from coldtui.tui.dialogs.help import HelpScreen, Palette, live_keys
from coldtui.tui.keyed import STUCK_S
from coldtui.tui.screens import SCREENS
from coldtui.tui.screens.node import NodeScreen
from coldtui.tui.screens.nodes import NodesScreen
from coldtui.tui.site import Options
from coldtui.tui.widgets.table import RowTable
from tests.tui import worlds
from tests.tui.acts import hand
from tests.tui.consoles import console, run
from tests.tui.screens.waiting import until
from tests.tui.worlds import NOW


def test_enter_opens_and_esc_comes_back_to_the_same_row() -> None:
    """Enter on a node opens it with its pods; esc returns to the list with the cursor where it was."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            await c.press("j", "j", "enter")
            assert isinstance(c.app.screen, NodeScreen)
            assert "Node k3s-worker-2" in c.text
            assert "cold-backend-7d9f6c-1x2" in c.text
            await c.press("escape")
            assert isinstance(c.app.screen, NodesScreen)
            assert c.app.screen.query_one(RowTable).key == "k3s-worker-2"
            assert c.app.screen.subject() == Ref("nodes", "k3s-worker-2")

    run(check())


def test_filter_prompt_narrows_while_typing_and_esc_clears() -> None:
    """`/` narrows at each key, enter keeps the filter, esc clears it; a wrong pattern is said beside the prompt."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            await c.press("slash", *"worker-3")
            assert "[1 of 5] /worker-3" in c.text
            await c.press("enter")
            assert isinstance(c.app.focused, RowTable)
            await c.press("escape")
            assert "Nodes [5]" in c.text
            await c.press("slash", "w", "left_parenthesis")
            assert "not a regular expression" in c.text
            await c.press("escape")
            assert "Nodes [5]" in c.text

    run(check())


def test_a_quick_key_is_not_held_back_where_nothing_has_the_focus() -> None:
    """Two keys typed at once on the home screen, where no widget wants the focus, have both done their work at once."""

    async def check() -> None:
        async with console(worlds.healthy(), start="status") as c:
            assert c.app.focused is None
            began = time.monotonic()
            await c.press("colon", "escape", "2")
            while c.app.current_mode != "nodes":
                await c.settle()
                assert time.monotonic() - began < STUCK_S / 2

    run(check())


def test_commands_open_screens_with_an_argument_and_guess() -> None:
    """`:no /worker` opens and filters, `:-` repeats, an unknown command offers the nearest, tab completes."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            await c.press("colon", *"no /worker", "enter")
            assert "[4 of 5] /worker" in c.text
            await c.press("escape", "colon", "minus", "enter")
            assert "[4 of 5] /worker" in c.text
            await c.press("colon", *"nodez", "enter")
            assert "no command nodez; did you mean :nodes?" in c.text
            await c.press("colon", *"them", "tab")
            assert c.app.screen.query_one(Input).value == "theme"
            await c.press("space", *"li", "tab", "enter")
            assert c.app.theme == "light"
            await c.press("colon", "up")
            assert c.app.screen.query_one(Input).value == "theme light"
            await c.press("escape", "colon", *"nodes tier=control", "enter")
            assert "[1 of 5] /-l tier=control" in c.text

    run(check())


def test_every_command_has_one_name_and_every_screen_loads() -> None:
    """No name or alias means two commands; every registered screen can be imported; unknown words find a neighbour."""
    words = [word for c in commands.catalogue() for word in (c.name, *c.aliases)]
    assert len(words) == len(set(words))
    digits = [entry.number for entry in SCREENS if entry.number]
    assert digits == sorted(set(digits))
    for entry in SCREENS:
        assert entry.load().__name__.endswith("Screen")
    assert commands.nearest("refrsh") == "refresh"


def test_help_and_hints_come_from_the_live_bindings() -> None:
    """Help lists what the keys do here with their tooltips; a remapped key shows in help and hints, and works."""

    async def check() -> None:
        options = Options(keymap={"table.open": "ctrl+o", "table.down": "ctrl+n"})
        async with console(worlds.healthy(), size=(120, 50), start="nodes", options=options) as c:
            assert "ctrl-o Open" in c.lines()[-1]
            await c.press("ctrl+n", "question_mark")
            assert isinstance(c.app.screen, HelpScreen)
            assert "ctrl-n" in c.text
            assert "Next row" in c.text
            await c.press("escape")
            keys = {k.action: k.keys for k in live_keys(c.app.screen)}
            assert keys["choose"] == "ctrl-o"
            assert keys["trouble"] == "ctrl-z"
            await c.press("ctrl+o")
            assert isinstance(c.app.screen, NodeScreen)
            assert c.app.screen.node == "k3s-worker-1"

    run(check())


def test_keymap_conflicts_are_sentences_and_are_shown() -> None:
    """A key that would mean two things, and a binding that does not exist, are told in the last line and to doctor."""
    found = keymap.conflicts({"table.down": "slash", "tabel.up": "u"})
    assert any("slash means filter and table.down" in sentence for sentence in found)
    assert any("there is no binding tabel.up; did you mean table.up?" in sentence for sentence in found)
    assert keymap.conflicts({"table.down": "ctrl+n"}) == []

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes", options=Options(keymap={"table.down": "slash"})) as c:
            await c.settle()
            assert "keymap:" in c.lines()[-1]
            await c.press("escape")
            assert "keymap:" not in c.lines()[-1]

    run(check())


def test_palette_finds_by_any_word_and_runs() -> None:
    """ctrl-p offers the commands and the keys of this screen; typing narrows; enter runs."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            await c.press("ctrl+p")
            assert isinstance(c.app.screen, Palette)
            await c.press(*"only rows trouble", "enter")
            assert isinstance(c.app.screen, NodesScreen)
            assert "trouble only" in c.text
            await c.press("ctrl+p", *"theme ansi", "enter")
            assert c.app.theme == "ansi"

    run(check())


def test_the_worst_problem_is_on_the_second_line_and_opens() -> None:
    """The worst problem is shown with its count; `!` opens its object, again the next."""

    async def check() -> None:
        world = worlds.healthy()
        others = [n for n in world.nodes.items.values() if n.name not in {"k3s-worker-2", "k3s-worker-4"}]
        sick = [worlds.node("k3s-worker-2", ready="Unknown"), worlds.node("k3s-worker-4", cordoned=True)]
        async with console(worlds.with_nodes(world, [*others, *sick]), start="nodes") as c:
            assert "▲ CRITICAL  k3s-worker-2 does not report" in c.lines()[1]
            assert "! open · 1 of 2" in c.lines()[1]
            await c.press("exclamation_mark")
            table = c.app.screen.query_one(RowTable)
            assert table.key == "k3s-worker-2"
            await c.press("exclamation_mark")
            assert table.key == "k3s-worker-4"
            assert "2 of 2" in c.lines()[1]

    run(check())


def test_a_lost_api_and_its_return_are_seen_without_a_key() -> None:
    """When every source goes stale the title, the second line and the table say so; when they come back it goes away."""

    async def check() -> None:
        world = worlds.healthy()
        async with console(world, size=(120, 30), start="nodes") as c:
            await c.put(worlds.lost(world))
            assert "kube stale 30s" in c.lines()[0]
            assert "Kubernetes API: connection refused" in c.lines()[1]
            assert "k3s-worker-4" in c.text
            await c.put(world)
            assert "stale" not in c.text
            assert "no problems known" in c.lines()[1]

    run(check())


def test_worlds_are_shown_at_most_four_times_a_second_and_the_newest_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred Worlds in a burst cost a few paints, and the last one is what is seen."""

    async def check() -> None:
        world = worlds.healthy()
        async with console(world, start="nodes") as c:
            shown: list[int] = []
            real = c.app.top.show

            def noted(world: World, now: datetime) -> None:
                shown.append(world.revision)
                real(world, now)

            monkeypatch.setattr(c.app.top, "show", noted)
            for i in range(100):
                c.site.live.put(worlds.with_nodes(world, [worlds.node(f"n{i}")]))
            await until(c, lambda: "n99" in c.text, "n99")
            assert len(shown) <= 3

    run(check())


def test_an_error_in_a_handler_is_shown_and_the_console_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a screen's handler stays as a line until esc, is kept with its traceback, and the next key works."""

    async def check() -> None:
        def broken(world: World, now: datetime) -> None:
            raise ValueError("[/b] boom")

        async with console(worlds.healthy(), start="nodes", options=Options(log="/var/log/cold.log"), errors=1) as c:
            table = c.app.screen.query_one(RowTable)
            monkeypatch.setattr(c.app.top, "show", broken)
            await c.put(worlds.with_nodes(worlds.healthy(), [worlds.node("x")]))
            assert "internal error: ValueError: [/b] boom · see /var/log/cold.log" in c.lines()[-1]
            await c.press("j")
            assert table.key == "k3s-worker-1"
            assert "internal error" in c.lines()[-1]
            await c.press("escape")
            assert "internal error" not in c.lines()[-1]

    run(check())


def test_tiny_terminals_get_the_worst_problem_and_grow_back() -> None:
    """At 40x10 only the worst problem and the needed size are shown; at 80x24 all is back, and so is the cursor."""

    async def check() -> None:
        world = worlds.with_nodes(worlds.healthy(), [worlds.node("k3s-worker-2", ready="Unknown"), worlds.node("b")])
        async with console(world, start="nodes") as c:
            await c.press("j")
            for size in ((40, 10), (20, 5), (59, 24), (100, 14), (1, 1)):
                await c.pilot.resize_terminal(*size)
                await c.settle()
                if size[0] >= 40:
                    assert "k3s-worker-2 does not report" in " ".join(c.text.split())
                    assert "needs 60x15" in " ".join(c.text.split())
            await c.pilot.resize_terminal(80, 24)
            await c.settle()
            assert "Nodes [2]" in c.text
            assert c.app.screen.query_one(RowTable).key == "k3s-worker-2"
            await c.pilot.resize_terminal(200, 60)
            await c.settle()
            assert "CONDITION" in c.text

    run(check())


def test_a_sticky_notice_stays_and_ages_move_in_steps() -> None:
    """A notice marked sticky survives keys; ages in cells follow the clock on the tick."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            c.app.say("something broke", sticky=True)
            await c.press("j", "k")
            assert "something broke" in c.lines()[-1]
            await c.press("escape")
            assert "something broke" not in c.lines()[-1]
            assert "41d" in c.text
            await c.at(NOW + timedelta(days=1, minutes=3))
            assert "42d" in c.text
            assert "14:05Z" in c.lines()[0]

    run(check())


def test_a_link_to_an_object_opens_its_screen_or_says_that_there_is_none() -> None:
    """open_ref shows a listed object through whatever filter hides it; a kind without a screen is said, not ignored."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            table = c.app.screen.query_one(RowTable)
            table.set_filter("master")
            assert c.app.open_ref(Ref("nodes", "k3s-worker-3"))
            await c.settle()
            assert table.key == "k3s-worker-3"
            assert not c.app.open_ref(Ref("widgets", "x"))
            await c.settle()
            assert "widgets/x has no screen of its own" in c.lines()[-1]
            c.app.open_ref(Ref("nodes", "gone"))
            await c.settle()
            assert "nodes/gone is not listed" in c.lines()[-1]

    run(check())


def test_copy_and_refresh() -> None:
    """`c` copies the name under the cursor, ctrl-r asks the sources to read anew."""

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            await c.press("j", "c")
            assert c.app.clipboard == "k3s-worker-1"
            await c.press("ctrl+r")
            assert c.site.live.refreshed == 1

    run(check())


def test_every_theme_is_whole_and_legible() -> None:
    """Each theme file has all variables; text, muted text and the three states can be read on their ground (ansi is the terminal's own)."""
    assert theme.names()[0] == "cold"
    for name in theme.names():
        found = theme.load(name)
        assert set(theme.DEFAULTS) <= set(found.colours), name
        if found.theme.ansi:
            continue
        for ground in ("background", "panel", "cursor"):
            for ink in ("foreground", "strong", "healthy", "degraded", "critical", "accent"):
                assert _contrast(found.colours[ink], found.colours[ground]) >= 4.0, (name, ink, ground)
        assert _contrast(found.colours["muted"], found.colours["background"]) >= 4.5, name


def _contrast(one: str, other: str) -> float:
    from textual.color import Color

    def luminance(text: str) -> float:
        parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in Color.parse(text).normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_where_there_can_be_no_console_one_line_says_what_to_use() -> None:
    """No terminal and TERM=dumb are refused with the remedy; a good terminal is not."""
    assert "coldtui status" in refusal({"TERM": "xterm"}, ttys=False)
    assert "TERM=dumb" in refusal({"TERM": "dumb"}, ttys=True)
    assert refusal({"TERM": "xterm-256color"}, ttys=True) == ""


def test_surroundings_decide_mouse_and_letters() -> None:
    """The mouse is off over SSH unless asked for; TERM=linux and other encodings get ASCII."""
    assert wants_mouse(Options(), {})
    assert not wants_mouse(Options(), {"SSH_CONNECTION": "1 2 3 4"})
    assert wants_mouse(Options(mouse=True), {"SSH_TTY": "/dev/pts/1"})
    assert plain_letters_only({"TERM": "linux"}, "utf-8")
    assert plain_letters_only({"TERM": "xterm"}, "ISO-8859-1")
    assert not plain_letters_only({"TERM": "xterm"}, "UTF-8")


def test_no_color_counts_only_when_it_is_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR= (empty) keeps colours, NO_COLOR=1 takes them all: the palette reverses the cursor instead."""
    from tests.tui.consoles import FixedLive, FixedSite

    site = FixedSite(FixedLive(worlds.healthy()))
    monkeypatch.setenv("NO_COLOR", "")
    assert not ColdApp(site).palette.mono
    monkeypatch.setenv("NO_COLOR", "1")
    app = ColdApp(site)
    assert app.palette.mono
    style = app.palette.style("healthy", "cursor")
    assert style.color is None
    assert style.bgcolor is None
    assert style.reverse


def test_saving_asks_before_it_replaces(tmp_path: Path) -> None:
    """A text is saved under a dated name; when the file is there, the dialog has focus on Cancel, and early keys do not pass."""

    async def check() -> None:
        from coldtui.tui.dialogs.base import Dialog

        async with console(worlds.healthy(), start="nodes", options=Options(state_dir=tmp_path)) as c:
            c.app.top.take("pod x", ["one", "two"], to_file=True)
            await c.settle()
            path = tmp_path / "saved" / "pod-x-20261025-1402.txt"
            assert path.read_text() == "one\ntwo\n"
            assert path.stat().st_mode & 0o777 == 0o600
            c.app.top.take("pod x", ["three"], to_file=True)
            await c.settle()
            dialog = c.app.screen
            assert isinstance(dialog, Dialog)
            assert c.app.focused is not None
            assert c.app.focused.id == "cancel"
            await c.press("tab", "enter")  # sooner than a person could have read it
            assert len(c.app.screen_stack) == 2
            await hand(c, "enter")
            assert len(c.app.screen_stack) == 1
            assert path.read_text() == "one\ntwo\n"
            c.app.top.take("pod x", ["three"], to_file=True)
            await c.settle()
            await hand(c, "tab", "enter")
            await until(c, lambda: len(c.app.screen_stack) == 1)
            assert path.read_text() == "three\n"

    run(check())


def test_a_widget_that_cannot_be_drawn_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """When drawing a table raises, its place says so, the last line tells, and the other widgets are painted."""

    def broken(y: int) -> None:
        raise KeyError("no such column")

    async def check() -> None:
        async with console(worlds.healthy(), start="nodes") as c:
            table = c.app.screen.query_one(RowTable)
            with monkeypatch.context() as patch:
                patch.setattr(table, "render_line", broken)
                table.refresh()
                await c.settle()
                assert "cannot be drawn: KeyError" in c.text
                assert "internal error: KeyError" in c.lines()[-1]
                assert "cold-site" in c.lines()[0]
            assert c.app.failures
            c.app.failures.clear()
            table.refresh()
            await c.press("escape")
            assert "k3s-worker-4" in c.text

    run(check())


def test_typed_ahead_keys_reach_what_the_keys_before_opened() -> None:
    """Keys that arrive in one burst are read as a person typed them: the d of `:doctor` is no describe, the j after enter moves in the new list."""

    async def check() -> None:
        from textual import events

        async with console(worlds.healthy(), start="nodes") as c:
            for key in ("colon", *"theme", "space", *"light", "enter", "j", "j", "enter", "j"):
                character = " " if key == "space" else key if len(key) == 1 else None
                c.app.post_message(events.Key(key, character))
            await until(
                c,
                lambda: isinstance(c.app.screen, NodeScreen) and any(table.cursor == 1 for table in c.app.screen.query(RowTable)),
                "the second row",
            )
            assert c.app.theme == "light"
            assert isinstance(c.app.screen, NodeScreen)
            assert c.app.screen.node == "k3s-worker-2"
            assert c.app.screen.query_one(RowTable).cursor == 1

    run(check())


def test_screens_are_hinted_without_holes() -> None:
    """The hint names the digits that open something, and no others."""
    from coldtui.tui.widgets.bars import ranges

    assert ranges(["1", "2", "3", "4", "5", "6", "9"]) == "1-6 9"
    assert ranges(["1", "2", "9"]) == "1 2 9"
    assert ranges([]) == ""
